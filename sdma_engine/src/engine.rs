//! The engine: one ring, at most one indirect buffer, at most one packet in flight.

use std::time::Duration;

use gart::{VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use crate::decode::decode;
use crate::gate::{Delay, Gate};
use crate::stats::{add, bump};
use crate::stream::Stream;
use crate::transfer::Transfer;
use crate::wait::{Look, Waiter};
use crate::{
    Budget, CopyLinear, EngineEvent, EngineStatus, HaltReason, IbStatus, Indirect, Packet, PteUpdate,
    QueueConfig, Stats, Step, Wait, WaitTarget,
};

/// Where the graphics hub has its invalidation engines. They belong to the hub; VM_INVALIDATION uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidateRegisters {
    /// REQ of engine 0.
    pub gfx_req: RegOffset,
    /// ACK of engine 0.
    pub gfx_ack: RegOffset,
    /// Bytes from one engine's register to the next one's.
    pub stride: u32,
}

impl InvalidateRegisters {
    fn of(&self, first: RegOffset, engine: u8) -> RegOffset {
        first.plus(self.stride.wrapping_mul(u32::from(engine)))
    }

    pub(crate) fn request(&self, engine: u8) -> RegOffset {
        self.of(self.gfx_req, engine)
    }

    pub(crate) fn acknowledgement(&self, engine: u8) -> RegOffset {
        self.of(self.gfx_ack, engine)
    }
}

/// An indirect buffer that is being executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ib {
    /// The packet that led here.
    pub(crate) packet: Indirect,
    /// Next byte.
    position: u64,
}

impl Ib {
    fn bytes(&self) -> u64 {
        u64::from(self.packet.dwords).saturating_mul(4)
    }
}

/// A packet that has been begun and not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    /// Bytes of the stream that it takes up.
    pub(crate) length: u64,
    /// What is left of it.
    pub(crate) work: Work,
}

/// What a packet in flight does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Moves data; then tells observers, if it wrote page tables.
    Transfer(Transfer, Option<Notice>),
    /// Waits for something.
    Wait(Waiter),
    /// Skips what follows it, as soon as the ring has it.
    Skip,
}

/// What an observer of page tables is told when the packet is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice {
    /// Entries were written.
    Entries(PteUpdate),
    /// Bytes were copied.
    Copy(CopyLinear),
}

/// What beginning a packet, or going on with one, led to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// The packet is over: it took up this many bytes.
    Done(u64),
    /// The packet goes on: it is in flight now.
    Begun,
    /// An indirect buffer begins.
    Enter(Indirect),
    /// Nothing until the ring holds more.
    Empty,
    /// Nothing in this step.
    OutOfBudget,
    /// Nothing until something happens.
    Waiting(Wait),
    /// Nothing ever.
    Halt(HaltReason),
    /// The same without a packet's fault.
    Hang,
}

/// What a step works with.
#[derive(Debug)]
pub(crate) struct Context<'a, B> {
    pub(crate) config: &'a QueueConfig,
    pub(crate) bus: &'a mut B,
    pub(crate) now: Duration,
    pub(crate) budget: &'a mut Budget,
    pub(crate) events: &'a mut Vec<EngineEvent>,
    /// A register was written: its effects come before the next packet.
    pub(crate) registers_written: bool,
    /// The write pointer of this step.
    wptr: u64,
}

/// One SDMA engine with its kernel queue.
#[derive(Debug)]
pub struct Engine {
    pub(crate) invalidate: InvalidateRegisters,
    pub(crate) stats: Stats,
    /// What the counter of TIMESTAMP_GET is ahead of the GPU's.
    pub(crate) local_time: u64,
    /// Read pointer: the ring's packet in flight, or the next one.
    rptr: u64,
    /// The generation that `rptr` goes on from; `None` before the first step.
    rptr_generation: Option<u32>,
    stop_generation: u32,
    ib: Option<Ib>,
    flight: Option<Flight>,
    halted: Option<HaltReason>,
    /// It stands still without having been stopped by a packet.
    hung: bool,
    pub(crate) delay: Delay,
    header: u32,
    vmid: Vmid,
    status: EngineStatus,
}

impl Engine {
    /// An engine that has done nothing yet.
    pub fn new(invalidate: InvalidateRegisters) -> Self {
        Self {
            invalidate,
            stats: Stats::default(),
            local_time: 0,
            rptr: 0,
            rptr_generation: None,
            stop_generation: 0,
            ib: None,
            flight: None,
            halted: None,
            hung: false,
            delay: Delay::None,
            header: 0,
            vmid: Vmid::KERNEL,
            status: EngineStatus::default(),
        }
    }

    /// Drops everything but the counters: a soft reset or a greater one. The next step takes its read pointer from the registers.
    pub fn reset(&mut self) {
        self.drop_flight();
        let Self {
            invalidate: _,
            stats: _,
            local_time,
            rptr,
            rptr_generation,
            stop_generation: _,
            ib: _,
            flight: _,
            halted,
            hung,
            delay: _,
            header,
            vmid,
            status,
        } = self;
        *local_time = 0;
        *rptr = 0;
        *rptr_generation = None;
        *halted = None;
        *hung = false;
        *header = 0;
        *vmid = Vmid::KERNEL;
        *status = EngineStatus {
            rptr_generation: status.rptr_generation,
            ..EngineStatus::default()
        };
    }

    /// Makes the engine stand still where it is, until [`reset`](Self::reset): it looks busy, its read pointer does not move, and
    /// whatever it was in the middle of stays half done.
    pub const fn hang(&mut self) {
        self.hung = true;
    }

    /// Whether it hangs.
    pub const fn is_hung(&self) -> bool {
        self.hung
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the registers are to show after the latest step.
    pub fn status(&self) -> EngineStatus {
        self.status
    }

    /// Executes packets until there are none, one waits, the budget is used up or a register was written.
    ///
    /// `now` is the time since power-on, for intervals and TIMESTAMP; it must not go backwards. Events are appended in the order of
    /// execution, at most one per packet begun or ended. The caller publishes [`status`](Self::status) and then carries out the effects
    /// of the registers that the bus has written.
    pub fn step<B: VirtualMemory + RegisterBus + Gate>(
        &mut self,
        config: &QueueConfig,
        bus: &mut B,
        now: Duration,
        budget: &mut Budget,
        events: &mut Vec<EngineEvent>,
    ) -> Step {
        self.adopt(config);
        let before = self.rptr;
        let runs =
            config.ring_enabled && !config.halted && !config.frozen && self.halted.is_none() && !self.hung;
        let shadow = self.read_shadow(config, bus, runs);
        let mut cx = Context {
            config,
            bus,
            now,
            budget,
            events,
            registers_written: false,
            wptr: shadow.unwrap_or(config.wptr),
        };
        let step = self.run(&mut cx, runs);
        let wptr = cx.wptr;
        if self.rptr != before {
            self.write_back(config, bus);
        }
        self.status = self.describe(config, wptr, shadow);
        step
    }

    /// Takes over what was written to the registers since the latest step.
    fn adopt(&mut self, config: &QueueConfig) {
        if self.rptr_generation != Some(config.rptr_generation) {
            self.drop_flight();
            self.rptr = config.rptr & !3;
            self.rptr_generation = Some(config.rptr_generation);
        }
        if self.stop_generation != config.stop_generation {
            self.drop_flight();
            self.stop_generation = config.stop_generation;
        }
    }

    /// Forgets the packet in flight. The read pointer stays at it: an engine that is set going again begins it anew.
    fn drop_flight(&mut self) {
        self.delay = Delay::None;
        let flight = self.flight.take().is_some();
        let ib = self.ib.take().is_some();
        if flight || ib {
            bump(&mut self.stats.dropped);
        }
    }

    fn read_shadow<B: VirtualMemory>(
        &mut self,
        config: &QueueConfig,
        bus: &mut B,
        runs: bool,
    ) -> Option<u64> {
        let shadow = config.wptr_shadow.filter(|_| runs)?;
        let mut data = [0; 8];
        if bus.read(config.ring_vmid, shadow.at, &mut data).is_err() {
            bump(&mut self.stats.faults);
            return None;
        }
        Some(u64::from_le_bytes(data))
    }

    fn write_back<B: VirtualMemory>(&mut self, config: &QueueConfig, bus: &mut B) {
        let Some(at) = config.rptr_writeback else {
            return;
        };
        let result = match at.get() & 7 {
            0 => bus.store_u64(config.ring_vmid, at, self.rptr),
            _ => bus.write(config.ring_vmid, at, &self.rptr.to_le_bytes()),
        };
        if result.is_err() {
            bump(&mut self.stats.faults);
        }
    }

    fn run<B: VirtualMemory + RegisterBus + Gate>(&mut self, cx: &mut Context<'_, B>, runs: bool) -> Step {
        if let Some(reason) = self.halted {
            return Step::Halted(reason);
        }
        if self.hung {
            return Step::Hung;
        }
        if !runs {
            return Step::Idle;
        }
        loop {
            if cx.registers_written {
                return Step::Progress;
            }
            let turn = match self.flight {
                Some(_) => self.go_on(cx),
                None => self.next_packet(cx),
            };
            match turn {
                Turn::Done(length) => self.retire(length),
                Turn::Begun => {}
                Turn::Enter(packet) => self.ib = Some(Ib { packet, position: 0 }),
                Turn::Empty => return Self::empty(cx),
                Turn::OutOfBudget => return Step::Progress,
                Turn::Waiting(wait) => return Step::Waiting(wait),
                Turn::Hang => {
                    self.hung = true;
                    return Step::Hung;
                }
                Turn::Halt(reason) => {
                    log::debug!(target: "amdgpu::sdma", "guest error: engine stopped: {reason}");
                    self.halted = Some(reason);
                    bump(&mut self.stats.halts);
                    cx.events.push(EngineEvent::Halted(reason));
                    return Step::Halted(reason);
                }
            }
        }
    }

    fn empty<B>(cx: &Context<'_, B>) -> Step {
        match cx.config.wptr_shadow {
            Some(shadow) => Step::Waiting(Wait {
                interval: shadow.interval,
                since: cx.now,
                target: WaitTarget::WritePointer(shadow.at),
            }),
            None => Step::Idle,
        }
    }

    /// Bytes of the ring that hold packets. The pointers are compared inside the ring, as hardware does: so it does not matter that a
    /// write pointer arrives in two halves, or restarts at 0.
    #[inline]
    fn pending(&self, config: &QueueConfig, wptr: u64) -> u64 {
        wptr.wrapping_sub(self.rptr) & config.ring_bytes.wrapping_sub(1) & !3
    }

    fn stream<B>(&self, cx: &Context<'_, B>) -> Stream {
        match &self.ib {
            Some(ib) => Stream {
                vmid: ib.packet.vmid,
                base: ib.packet.base,
                mask: u64::MAX,
                position: ib.position,
                available: ib.bytes().saturating_sub(ib.position),
            },
            None => Stream {
                vmid: cx.config.ring_vmid,
                base: cx.config.ring_base,
                mask: cx.config.ring_bytes.wrapping_sub(1),
                position: self.rptr,
                available: self.pending(cx.config, cx.wptr),
            },
        }
    }

    /// Moves behind a packet, and out of an indirect buffer at its end.
    #[inline]
    fn retire(&mut self, length: u64) {
        let Some(ib) = &mut self.ib else {
            self.rptr = self.rptr.wrapping_add(length);
            return;
        };
        add(&mut ib.position, length);
    }

    /// Leaves an indirect buffer whose end is reached. Returns the length of the INDIRECT packet.
    #[inline]
    fn leave_ib(&mut self) -> Option<u64> {
        let ib = self.ib.filter(|ib| ib.position >= ib.bytes())?;
        self.ib = None;
        Some(u64::from(Packet::Indirect(ib.packet).dwords()).saturating_mul(4))
    }

    fn next_packet<B: VirtualMemory + RegisterBus + Gate>(&mut self, cx: &mut Context<'_, B>) -> Turn {
        if let Some(length) = self.leave_ib() {
            return Turn::Done(length);
        }
        let stream = self.stream(cx);
        if stream.available == 0 {
            return Turn::Empty;
        }
        if let Delay::Until { since, time } = self.delay
            && cx.now < time
        {
            return Turn::Waiting(Wait {
                interval: time.saturating_sub(cx.now),
                since,
                target: WaitTarget::Delay,
            });
        }
        if cx.budget.packets == 0 {
            return Turn::OutOfBudget;
        }
        let mut window = match stream.head(cx.bus) {
            Ok(window) => window,
            Err(hole) => {
                bump(&mut self.stats.faults);
                cx.budget.packets = cx.budget.packets.saturating_sub(1);
                return Turn::Done(hole);
            }
        };
        let header = window.header();
        let mut decoded = decode(window.dwords());
        if let Err(incomplete) = decoded {
            let Some(longer) = stream.longer_head(cx.bus, &window, incomplete.needed) else {
                return self.cut_off(header, stream.vmid);
            };
            window = longer;
            add(&mut self.stats.faults, window.faults);
            decoded = decode(window.dwords());
        }
        let Ok(packet) = &decoded else {
            return self.cut_off(header, stream.vmid);
        };
        self.header = header;
        self.vmid = stream.vmid;
        self.begin(packet, header, &stream, cx)
    }

    /// A packet goes on behind the end of its stream: the rest of the ring may come yet, that of a buffer never does.
    pub(crate) fn cut_off(&self, header: u32, vmid: Vmid) -> Turn {
        match self.ib {
            Some(_) => Turn::Halt(HaltReason::TruncatedIb { header, vmid }),
            None => Turn::Empty,
        }
    }

    /// The indirect buffer that is being executed.
    pub(crate) const fn ib(&self) -> Option<&Ib> {
        self.ib.as_ref()
    }

    /// Puts a packet into flight.
    #[inline]
    pub(crate) fn launch(&mut self, length: u64, work: Work) -> Turn {
        self.flight = Some(Flight { length, work });
        Turn::Begun
    }

    /// Goes on with the packet in flight, which stays where it is: it is large, and most end at once.
    fn go_on<B: VirtualMemory + RegisterBus>(&mut self, cx: &mut Context<'_, B>) -> Turn {
        let Some(flight) = &mut self.flight else {
            return Turn::Begun;
        };
        let turn = match &mut flight.work {
            Work::Transfer(transfer, notice) => {
                if transfer.advance(cx.bus, cx.budget, &mut self.stats) {
                    if transfer.is_cut_short() {
                        return Turn::Hang;
                    }
                    let vmid = transfer.vmid;
                    match *notice {
                        Some(Notice::Entries(PteUpdate { kind, dst, entries })) => {
                            cx.events.push(EngineEvent::PageTableUpdate {
                                kind,
                                dst,
                                entries,
                                vmid,
                            });
                        }
                        Some(Notice::Copy(CopyLinear { src, dst, bytes })) if transfer.is_complete() => {
                            cx.events.push(EngineEvent::Copied {
                                src,
                                dst,
                                bytes,
                                vmid,
                            });
                        }
                        Some(Notice::Copy(_)) | None => {}
                    }
                    Turn::Done(flight.length)
                } else {
                    Turn::OutOfBudget
                }
            }
            Work::Wait(waiter) => match waiter.look(cx.bus, cx.now, &mut self.stats) {
                Look::Passed => Turn::Done(flight.length),
                Look::Waiting(wait) => Turn::Waiting(wait),
                Look::TimedOut => {
                    bump(&mut self.stats.poll_timeouts);
                    cx.events.push(EngineEvent::PollTimeout { vmid: self.vmid });
                    Turn::Done(flight.length)
                }
            },
            Work::Skip => {
                let length = flight.length;
                if self.ib.is_none() && self.pending(cx.config, cx.wptr) < length {
                    Turn::Empty
                } else {
                    Turn::Done(length)
                }
            }
        };
        if matches!(turn, Turn::Done(_)) {
            self.flight = None;
        }
        turn
    }

    fn describe(&self, config: &QueueConfig, wptr: u64, shadow: Option<u64>) -> EngineStatus {
        let in_flight = self.flight.is_some() || self.ib.is_some();
        let runs = config.ring_enabled && !config.halted;
        EngineStatus {
            rptr: self.rptr,
            rptr_generation: config.rptr_generation,
            wptr: shadow,
            busy: in_flight || self.halted.is_some() || self.hung || runs && self.pending(config, wptr) != 0,
            in_flight,
            transferring: matches!(
                self.flight,
                Some(Flight {
                    work: Work::Transfer(..),
                    ..
                })
            ),
            frozen: config.frozen,
            halted: self.halted,
            ib: self.ib.map(|ib| IbStatus {
                vmid: ib.packet.vmid,
                base: ib.packet.base,
                dwords: ib.packet.dwords,
                position: ib.position,
            }),
            header: self.header,
            vmid: self.vmid,
        }
    }
}
