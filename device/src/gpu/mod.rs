//! The GPU: register blocks and memory (the fabric), engines that execute, and what one asks of the other.
//!
//! Plain state. No threads, no descriptors, no clock: whoever owns it passes the time in, steps it, and asks whether an interrupt is
//! due. The order of what a guest can see is a contract: data, then the fence, then the entry in the interrupt ring, then that
//! ring's write pointer, then the interrupt.

mod bus;
mod fabric;
mod pages;
mod report;
mod reset;

pub use pages::{PageTableUpdates, UpdateCounts};
pub use report::{BlockRegisters, Stats, TableReport, UnmodelledRegister};

use std::time::Duration;

use gart::{ClientId, FaultInterrupt, FaultSink, HubEffect, Vmid};
use mmio::{Overlap, RegOffset};
use sdma_engine::{Budget, Engine, EngineEvent, SdmaEffect, Step, Wait, WaitTarget};
use thiserror::Error;

use crate::asic::AsicProfile;
use crate::gfx::{self, CommandProcessor, CpEvent, CpStep, GfxEffect};
use crate::ih::{IhEffect, IvEntry};
use crate::limited::limited;
use crate::memory::DeviceMemory;
use crate::psp::{PspEffect, PspRequest};
use crate::smu::SmuEffect;
use bus::{EngineBus, mm_space};
use fabric::{Effect, Fabric};
use reset::ResetKind;

/// What one engine may do before the next one, and before the front end's messages, get a turn: some 50 us.
const BUDGET: Budget = Budget {
    packets: 256,
    bytes: 512 << 10,
};
/// The same for the command processor.
const CP_BUDGET: gfx::Budget = gfx::Budget {
    packets: 256,
    bytes: 512 << 10,
};
/// Shortest pause before a poll is looked at again, and the longest: between them a poll that has waited for long is looked at
/// less often.
const POLL_PAUSE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));
/// A wait that is worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// IH source of an SDMA trap (`ivsrcid/sdma0/irqsrcs_sdma0_5_0.h`).
const IH_SOURCE_SDMA_TRAP: u8 = 224;

/// What a GPU is made of.
#[derive(Debug, Clone, Copy)]
pub struct GpuConfig {
    /// The part.
    pub asic: &'static AsicProfile,
    /// SDMA engines, at least 1 and at most what the part has.
    pub sdma_instances: usize,
}

/// A GPU that cannot be built.
#[derive(Debug, Error)]
pub enum GpuError {
    /// Two blocks of the profile claim one register.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

/// Whether the engines have more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Run again at once.
    Busy,
    /// Nothing to do for this long, unless something is written.
    Wait(Duration),
    /// Nothing to do until something is written.
    Idle,
}

/// When an engine wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    At(Duration),
    None,
}

/// The GPU.
#[derive(Debug)]
pub struct Gpu {
    config: GpuConfig,
    fabric: Fabric,
    sdma: Vec<SdmaSlot>,
    cp: CommandProcessor,
    cp_turn: Turn,
    cp_waits_since: Option<Duration>,
    now: Duration,
    interrupt: bool,
    pending_reset: Option<ResetKind>,
    page_tables: PageTableUpdates,
    resets: reset::ResetCounts,
}

#[derive(Debug)]
struct SdmaSlot {
    engine: Engine,
    turn: Turn,
    /// What it waits for, if it does.
    wait: Option<Wait>,
    /// Start of the wait that was logged last.
    logged: Option<Duration>,
}

impl SdmaSlot {
    /// Drops the work in flight.
    fn stop(&mut self) {
        self.engine.reset();
        self.turn = Turn::None;
        self.wait = None;
    }
}

impl Gpu {
    /// The GPU after power-on, its discovery binary in place.
    ///
    /// # Errors
    /// [`GpuError`] if the profile contradicts itself.
    pub fn new(config: GpuConfig, memory: DeviceMemory) -> Result<Self, GpuError> {
        let fabric = Fabric::new(config.asic, config.sdma_instances, memory)?;
        let sdma = fabric
            .sdma
            .iter()
            .map(|_| SdmaSlot {
                engine: Engine::new(reset::invalidate_registers(config.asic)),
                turn: Turn::None,
                wait: None,
                logged: None,
            })
            .collect();
        let mut gpu = Self {
            config,
            fabric,
            sdma,
            cp: CommandProcessor::new(),
            cp_turn: Turn::None,
            cp_waits_since: None,
            now: Duration::ZERO,
            interrupt: false,
            pending_reset: None,
            page_tables: PageTableUpdates::default(),
            resets: reset::ResetCounts::default(),
        };
        gpu.boot();
        Ok(gpu)
    }

    /// The physical memories.
    pub const fn memory(&self) -> &DeviceMemory {
        &self.fabric.memory
    }

    /// The physical memories, to map and unmap guest memory.
    pub const fn memory_mut(&mut self) -> &mut DeviceMemory {
        &mut self.fabric.memory
    }

    /// Tells the time since some fixed moment. Never goes back.
    pub fn set_time(&mut self, since_start: Duration) {
        self.now = since_start.max(self.now);
        // The reference clock runs at 100 MHz.
        self.fabric
            .set_clock(u64::try_from(self.now.as_nanos() / 10).unwrap_or(u64::MAX));
    }

    /// Reads a register of BAR 5.
    pub fn read_register(&mut self, offset: RegOffset) -> u32 {
        let value = self.fabric.read(offset);
        if let Some(times) = self.fabric.ledger.read(offset, value) {
            let name = self.fabric.name(offset);
            limited!(Warn, target: "amdgpu::mmio", "guest spins on {name} ({offset}): read {times} times, always {value:#x}");
        }
        self.settle();
        value
    }

    /// Writes a register of BAR 5.
    pub fn write_register(&mut self, offset: RegOffset, value: u32) {
        self.fabric.ledger.write();
        self.fabric.write(offset, value);
        self.settle();
    }

    /// Writes a doorbell of BAR 2. `index` counts dwords; a 64-bit doorbell is written through its low dword's index.
    pub fn write_doorbell(&mut self, index: u32, value: u64) {
        self.fabric.ledger.write();
        if self.fabric.ih.doorbell_index() == Some(index) {
            let mut effects = mmio::Effects::default();
            self.fabric
                .ih
                .set_rptr((value & 0xffff_ffff) as u32, &mut effects);
            for effect in effects.take() {
                self.fabric.effects.push(Effect::Ih(effect));
            }
            self.settle();
            return;
        }
        let slots = self.fabric.sdma.iter_mut().zip(&mut self.sdma);
        for (registers, slot) in slots {
            if registers.doorbell_index() == Some(index) {
                registers.ring_doorbell(value);
                slot.turn = Turn::Now;
                return;
            }
        }
        if self.cp.doorbell(index, value) {
            self.cp_turn = Turn::Now;
        } else {
            log::debug!(target: "amdgpu::doorbell", "guest error: doorbell {index:#x} belongs to no queue");
        }
    }

    /// Whether an interrupt has become due since the last call.
    pub const fn take_interrupt(&mut self) -> bool {
        std::mem::replace(&mut self.interrupt, false)
    }

    /// Gives every engine that has something to do one budget.
    pub fn run(&mut self) -> Work {
        if let Some(kind) = self.pending_reset.take() {
            self.carry_out(kind);
        }
        for index in 0..self.sdma.len() {
            if self.sdma.get(index).is_some_and(|slot| self.is_due(slot.turn)) {
                self.step_sdma(index);
                self.settle();
            }
        }
        if self.is_due(self.cp_turn) {
            self.step_cp();
            self.settle();
        }
        self.work()
    }

    fn is_due(&self, turn: Turn) -> bool {
        match turn {
            Turn::Now => true,
            Turn::At(time) => time <= self.now,
            Turn::None => false,
        }
    }

    fn work(&self) -> Work {
        let turns = self.sdma.iter().map(|slot| slot.turn).chain([self.cp_turn]);
        let mut next: Option<Duration> = None;
        for turn in turns {
            match turn {
                Turn::Now => return Work::Busy,
                Turn::At(time) => next = Some(next.map_or(time, |earliest| earliest.min(time))),
                Turn::None => {}
            }
        }
        if self.pending_reset.is_some() {
            return Work::Busy;
        }
        next.map_or(Work::Idle, |time| Work::Wait(time.saturating_sub(self.now)))
    }

    /// When to look again at something that is polled every `interval` since `since`.
    fn poll_turn(&self, interval: Duration, since: Duration) -> Turn {
        let (shortest, longest) = POLL_PAUSE;
        let patience = (self.now.saturating_sub(since) / 8).min(longest);
        Turn::At(self.now + interval.max(shortest).max(patience))
    }

    fn step_sdma(&mut self, index: usize) {
        let Some(slot) = self.sdma.get_mut(index) else {
            return;
        };
        let Some(config) = self
            .fabric
            .sdma
            .get(index)
            .map(sdma_engine::SdmaRegisters::queue_config)
        else {
            return;
        };
        let client = self
            .config
            .asic
            .sdma
            .get(index)
            .map_or(ClientId::SDMA0, |instance| instance.hub_client);
        let mut events = Vec::new();
        let mut budget = BUDGET;
        let mut bus = EngineBus::new(&mut self.fabric, client);
        let step = slot
            .engine
            .step(&config, &mut bus, self.now, &mut budget, &mut events);
        let status = slot.engine.status();
        if let Some(registers) = self.fabric.sdma.get_mut(index) {
            registers.publish(status);
        }
        let turn = match step {
            Step::Progress => Turn::Now,
            Step::Idle | Step::Halted(_) => Turn::None,
            Step::Waiting(wait) => self.poll_turn(wait.interval, wait.since),
        };
        if let Some(slot) = self.sdma.get_mut(index) {
            slot.turn = turn;
            slot.wait = if let Step::Waiting(wait) = step {
                Some(wait)
            } else {
                None
            };
        }
        self.notice_long_wait(index);
        // Effects of the packets' own register writes come before what the packets announce.
        self.settle();
        for event in events {
            self.sdma_event(index, event);
        }
    }

    /// Says once per wait that an engine has stood still for long: the driver is about to notice too.
    fn notice_long_wait(&mut self, index: usize) {
        let now = self.now;
        let Some(slot) = self.sdma.get_mut(index) else {
            return;
        };
        let Some(wait) = slot
            .wait
            .filter(|wait| now.saturating_sub(wait.since) >= LONG_WAIT)
        else {
            return;
        };
        if slot.logged != Some(wait.since) {
            slot.logged = Some(wait.since);
            limited!(Warn, target: "amdgpu::sdma",
                "SDMA{index} has waited for {} s: {}", LONG_WAIT.as_secs(), self.describe(&wait.target)
            );
        }
    }

    /// What an engine looks at, in words.
    fn describe(&self, target: &WaitTarget) -> String {
        match target {
            WaitTarget::Register(offset) => format!("register {} ({offset})", self.fabric.name(*offset)),
            WaitTarget::Memory { vmid, at } => format!("memory at {at} in VMID {vmid}"),
            WaitTarget::WritePointer(at) => format!("write pointer at {at}"),
        }
    }

    fn sdma_event(&mut self, index: usize, event: EngineEvent) {
        match event {
            EngineEvent::Trap { context, vmid } => {
                let client = self
                    .config
                    .asic
                    .sdma
                    .get(index)
                    .map_or(0, |instance| instance.ih_client);
                self.raise(&IvEntry {
                    client,
                    source: IH_SOURCE_SDMA_TRAP,
                    vmid,
                    data: [context, 0, 0, 0],
                    ..IvEntry::default()
                });
            }
            EngineEvent::PageTableUpdate {
                kind,
                dst,
                entries,
                vmid,
            } => {
                self.page_tables.record(&self.fabric, kind, vmid, dst, entries);
            }
            EngineEvent::PollTimeout { vmid } => {
                limited!(Info, target: "amdgpu::sdma", "SDMA{index}: a poll in VMID {vmid} gave up");
            }
            EngineEvent::Halted(reason) => {
                limited!(Warn, target: "amdgpu::sdma", "guest error: SDMA{index} stopped: {reason}");
            }
        }
    }

    fn step_cp(&mut self) {
        let mut events = Vec::new();
        let mut budget = CP_BUDGET;
        let config = self.fabric.gfx.cp_config();
        let clock = self.fabric.clock();
        let mut bus = EngineBus::new(&mut self.fabric, ClientId::CPG);
        let step = self.cp.step(&mut bus, clock, &config, &mut budget, &mut events);
        self.cp_turn = match step {
            CpStep::Progress => Turn::Now,
            CpStep::Waiting => {
                let since = *self.cp_waits_since.get_or_insert(self.now);
                self.poll_turn(Duration::ZERO, since)
            }
            CpStep::Idle => Turn::None,
        };
        if step != CpStep::Waiting {
            self.cp_waits_since = None;
        }
        // Commands from the packets' own register writes are older than what the processor changed itself; both come before what
        // the packets announce. If there were any, a queue that waits may have been waiting for them.
        if !self.fabric.effects.is_empty() {
            self.cp_turn = Turn::Now;
        }
        self.settle();
        for change in self.cp.take_changes() {
            self.fabric.gfx.publish(&change);
        }
        for event in events {
            self.cp_event(&event);
        }
    }

    fn cp_event(&mut self, event: &CpEvent) {
        if let CpEvent::BadOpcode { queue, header, .. } = event {
            limited!(Warn, target: "amdgpu::cp", "guest error: queue {queue} stopped at the packet {header:#010x}");
        }
        if let Some(interrupt) = event.interrupt() {
            self.raise(&IvEntry {
                client: interrupt.client,
                source: interrupt.source,
                ring: interrupt.ring_id,
                vmid: interrupt.vmid,
                data: [interrupt.data, 0, 0, 0],
                ..IvEntry::default()
            });
        }
    }

    /// Carries out what register writes asked for, until nothing is left. Bounded: effects of effects only ever kick an engine or
    /// raise an interrupt.
    fn settle(&mut self) {
        while !self.fabric.effects.is_empty() {
            for effect in self.fabric.effects.take() {
                self.apply(effect);
            }
        }
        self.report_faults();
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Ih(IhEffect::Interrupt) => self.interrupt = true,
            Effect::Hub(HubEffect::Invalidate { .. }) => {}
            Effect::Hub(HubEffect::ContextDisabled { vmid, .. }) => {
                if vmid == Vmid::KERNEL {
                    self.drop_blocked_work();
                }
            }
            Effect::Psp(PspEffect::Kick) => self.run_psp(),
            Effect::Psp(PspEffect::Mode1Reset) | Effect::Smu(SmuEffect::Mode1Reset) => {
                self.pending_reset = Some(ResetKind::Mode1);
            }
            Effect::Smu(SmuEffect::Mode2Reset) => self.pending_reset = Some(ResetKind::Mode2),
            Effect::Gfx(effect) => self.apply_gfx(effect),
            Effect::Sdma(index, SdmaEffect::Kick | SdmaEffect::Stop) => {
                if let Some(slot) = self.sdma.get_mut(index) {
                    slot.turn = Turn::Now;
                }
            }
        }
    }

    fn apply_gfx(&mut self, effect: GfxEffect) {
        match effect {
            GfxEffect::Cp(command) => {
                self.cp.apply(command);
                self.cp_turn = Turn::Now;
            }
            GfxEffect::Event(event) => self.cp_event(&event),
            GfxEffect::ResetSdma(mask) => {
                for (index, registers) in self.fabric.sdma.iter_mut().enumerate() {
                    if mask >> index & 1 != 0 {
                        registers.soft_reset();
                        if let Some(slot) = self.sdma.get_mut(index) {
                            slot.stop();
                            // One step, so that its registers show that it stands still.
                            slot.turn = Turn::Now;
                        }
                    }
                }
            }
            // Only a virtual function's driver asks the RLC firmware for registers.
            GfxEffect::Rlcg(request) => {
                limited!(Info, target: "amdgpu::mmio", "unimplemented: register access through RLCG, {request:x?}");
            }
        }
    }

    /// Context 0 is gone: what waits for memory through it would wait for ever, or walk a table that is no longer one.
    fn drop_blocked_work(&mut self) {
        self.cp.context_disabled(Vmid::KERNEL);
        for slot in &mut self.sdma {
            if matches!(slot.turn, Turn::At(_)) {
                slot.stop();
            }
        }
    }

    fn run_psp(&mut self) {
        let Fabric {
            psp,
            mmhub,
            memory,
            faults,
            ..
        } = &mut self.fabric;
        let requests = psp.process(&mut mm_space(mmhub, memory, ClientId::MP0, faults));
        for request in requests {
            match request {
                PspRequest::RlcRunning => self.fabric.gfx.set_bootload_complete(),
            }
        }
    }

    /// Puts an entry into the interrupt ring.
    fn raise(&mut self, entry: &IvEntry) {
        // A ring that does not translate cannot report that it does not: its own faults go nowhere but into its counters.
        let mut unreported = FaultSink::default();
        let clock = self.fabric.clock();
        let Fabric {
            ih, mmhub, memory, ..
        } = &mut self.fabric;
        let mut space = mm_space(mmhub, memory, ClientId::OSS, &mut unreported);
        self.interrupt |= ih.raise(entry, clock, &mut space);
    }

    fn report_faults(&mut self) {
        for fault in self.fabric.faults.take() {
            let pasid = self.fabric.ih.pasid(fault.vmid, fault.vmid_src());
            log::debug!(
                target: "amdgpu::gart",
                "{:?} fault: VMID {} {:?} at {}", fault.hub, fault.vmid, fault.access, fault.va
            );
            self.raise(&IvEntry {
                client: fault.client_id(),
                source: FaultInterrupt::SOURCE_ID,
                ring: fault.ring_id(),
                vmid: fault.vmid,
                mm_hub: fault.vmid_src(),
                pasid,
                data: fault.source_data(),
            });
        }
    }
}
