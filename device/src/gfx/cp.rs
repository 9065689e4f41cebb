//! The command processor: queues, their order, their life.

use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use super::pm4::{Compare, Header, Place};
use super::spec::fields::hqd;
use super::{CpEvent, CpStats, HqdImage, QueueId, QueueKind, QueueSetup};

/// Deepest nesting of indirect buffers: IB1, IB2 and two more.
pub(super) const MAX_DEPTH: usize = 4;
/// Packets that one queue may execute before the others get their turn.
const SLICE: u32 = 64;

/// How much work a step may do.
///
/// Packets are never exceeded. Bytes (packet bodies and copies) are checked before each packet, so a step may go over by the body of
/// its last packet, 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Packets and polls.
    pub packets: u32,
    /// Bytes.
    pub bytes: u64,
}

impl Budget {
    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.packets == 0 || self.bytes == 0
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpStep {
    /// There is more to do.
    Progress,
    /// All that is left are polls that were not met: try again after an interval or a register write.
    Waiting,
    /// Nothing to do until a doorbell or a register write.
    Idle,
}

/// What the command processor has to know of the registers, taken with
/// [`GfxRegisters::cp_config`](super::GfxRegisters::cp_config) before each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpConfig {
    /// CP_INT_CNTL_RINGn.
    pub gfx_int_cntl: [u32; 2],
    /// CP_MEn_PIPEm_INT_CNTL, by MEC and pipe.
    pub mec_int_cntl: [[u32; 4]; 2],
    /// CP_ME_CNTL halts PFP, ME or CE.
    pub gfx_halted: bool,
    /// CP_MEC_CNTL halts MEC1, MEC2.
    pub mec_halted: [bool; 2],
    /// CP_PQ_WPTR_POLL_CNTL.EN: write pointers are read from memory without a doorbell.
    pub wptr_poll: bool,
    /// Scheduler 0 of RLC_CP_SCHEDULERS.
    pub kiq: Option<QueueId>,
    /// See [`GfxRegisters::set_per_queue_reset`](super::GfxRegisters::set_per_queue_reset).
    pub per_queue_reset: bool,
}

impl CpConfig {
    /// The interrupt enables of a queue's pipe.
    pub fn int_cntl(&self, queue: QueueId) -> u32 {
        let pipe = usize::from(queue.pipe());
        match queue.me() {
            0 => self.gfx_int_cntl.get(pipe).copied(),
            me => self
                .mec_int_cntl
                .get(usize::from(me) - 1)
                .and_then(|pipes| pipes.get(pipe))
                .copied(),
        }
        .unwrap_or(0)
    }

    fn halted(&self, queue: QueueId) -> bool {
        match queue.me() {
            0 => self.gfx_halted,
            me => self.mec_halted.get(usize::from(me) - 1).copied().unwrap_or(true),
        }
    }
}

/// What register writes ask of the command processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpCommand {
    /// CP_HQD_ACTIVE was set: start this queue.
    Activate(Box<HqdImage>),
    /// CP_HQD_ACTIVE was cleared, or the queue dequeued: forget it.
    Deactivate(QueueId),
    /// The queue's write pointer was written.
    SetWptr {
        /// The queue.
        queue: QueueId,
        /// The pointer, in dwords.
        wptr: u64,
    },
    /// CP_PQ_WPTR_POLL_CNTL1: read the write pointers of these MEC1 queues (bit 8 * pipe + queue) from memory.
    PollWptrs(u32),
    /// CP_VMID_RESET: forget this queue and mark its MQD inactive.
    Reset(QueueId),
    /// GRBM_SOFT_RESET: forget all queues of these kinds.
    SoftReset {
        /// Graphics queues.
        graphics: bool,
        /// Compute queues.
        compute: bool,
    },
}

/// What the command processor has changed that registers show, for [`GfxRegisters::publish`](super::GfxRegisters::publish).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueChange {
    /// MAP_QUEUES loaded this descriptor.
    Mapped(Box<HqdImage>),
    /// UNMAP_QUEUES took the queue off.
    Unmapped(QueueId),
    /// The queue's pointers have moved.
    Pointers {
        /// The queue.
        queue: QueueId,
        /// Read pointer, in dwords within the ring.
        rptr: u32,
        /// Write pointer as it was rung.
        wptr: u64,
    },
}

impl QueueChange {
    fn queue(&self) -> QueueId {
        match self {
            Self::Mapped(image) => image.queue,
            Self::Unmapped(queue) | Self::Pointers { queue, .. } => *queue,
        }
    }
}

/// Why a queue does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltReason {
    /// A bad opcode.
    BadOpcode,
    /// A user stream touched a register that is not its.
    PrivilegedRegister,
    /// The ring itself could not be read.
    RingFault,
    /// It was blocked when its context was disabled.
    ContextDisabled,
}

/// A poll that has not been met yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Context of a memory poll.
    pub vmid: Vmid,
    /// What is polled.
    pub poll: Place,
    /// 64 bits.
    pub wide: bool,
    /// The comparison.
    pub compare: Compare,
    /// Its right-hand side.
    pub reference: u64,
    /// Bits that take part.
    pub mask: u64,
    /// The poll has faulted. It is not repeated, or each try would raise another fault.
    pub faulted: bool,
}

/// Whether a queue executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// It executes what its ring holds.
    Running,
    /// It polls, for as long as it takes.
    Waiting(Wait),
    /// It has stopped, until it is mapped anew.
    Halted(HaltReason),
}

/// An indirect buffer being executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) vmid: Vmid,
    pub(super) base: GpuVa,
    pub(super) next: u32,
    pub(super) len: u32,
    pub(super) skip: u32,
}

/// What a copy reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum TransferSource {
    Memory(GpuVa),
    Pattern(u32),
}

/// A DMA_DATA being executed in slices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) vmid: Vmid,
    pub(super) source: TransferSource,
    pub(super) destination: GpuVa,
    pub(super) remaining: u64,
}

/// A queue that is on a pipe.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: QueueId,
    pub(super) setup: QueueSetup,
    pub(super) rptr: u32,
    pub(super) wptr: u64,
    pub(super) state: QueueState,
    pub(super) skip: u32,
    pub(super) frames: Vec<Frame>,
    pub(super) transfer: Option<Transfer>,
    /// The ring ends within a packet.
    pub(super) starved: bool,
    pub(super) poll_wptr: bool,
    /// UNMAP_QUEUES has hit this queue while it executes.
    pub(super) unmapped: bool,
    reported: u32,
    dirty: bool,
}

impl Queue {
    pub(super) fn new(id: QueueId, setup: QueueSetup, rptr: u32, wptr: u64) -> Self {
        let rptr = rptr & setup.mask;
        Self {
            id,
            setup,
            rptr,
            wptr,
            state: QueueState::Running,
            skip: 0,
            frames: Vec::with_capacity(MAX_DEPTH),
            transfer: None,
            starved: false,
            poll_wptr: false,
            unmapped: false,
            reported: rptr,
            dirty: false,
        }
    }

    fn set_wptr(&mut self, wptr: u64) {
        self.dirty |= self.wptr != wptr;
        self.wptr = wptr;
        self.starved = false;
    }

    /// Dwords in the ring that are yet to be read. Pointers are compared within the ring, as hardware does.
    pub(super) const fn pending(&self) -> u32 {
        let wptr = (self.wptr & 0xffff_ffff) as u32;
        wptr.wrapping_sub(self.rptr) & self.setup.mask
    }

    /// Context of what is being executed.
    pub(super) fn vmid(&self) -> Vmid {
        self.frames.last().map_or(self.setup.vmid, |frame| frame.vmid)
    }

    pub(super) fn has_work(&self) -> bool {
        self.transfer.is_some() || !self.frames.is_empty() || (self.pending() != 0 && !self.starved)
    }

    fn polls(&self) -> bool {
        matches!(self.state, QueueState::Waiting(wait) if !wait.faulted)
    }
}

/// What inspection shows of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Which.
    pub queue: QueueId,
    /// Its ring.
    pub setup: QueueSetup,
    /// Read pointer, in dwords within the ring.
    pub rptr: u32,
    /// Write pointer.
    pub wptr: u64,
    /// What it does.
    pub state: QueueState,
    /// Contexts of the indirect buffers it is in, outermost first.
    pub indirect: Vec<Vmid>,
}

/// What a step works with.
pub(super) struct Bench<'a, B> {
    pub(super) bus: &'a mut B,
    pub(super) now: u64,
    pub(super) config: &'a CpConfig,
    pub(super) budget: &'a mut Budget,
    pub(super) events: &'a mut Vec<CpEvent>,
    /// The step shall end here, so that the device can act on an event.
    pub(super) end: bool,
}

/// Space for one packet, allocated once.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) bytes: Vec<u8>,
    pub(super) words: Vec<u32>,
}

/// Executes PM4 streams.
///
/// Synchronous: [`step`](Self::step) does a budget of work and returns. Registers are not its own; see [`CpConfig`], [`CpCommand`] and
/// [`QueueChange`] for what goes to and fro.
#[derive(Debug)]
pub struct CommandProcessor {
    pub(super) slots: Vec<Option<Box<Queue>>>,
    next: usize,
    pub(super) changes: Vec<QueueChange>,
    inactive_mqds: Vec<GpuVa>,
    pub(super) queue_mask: u64,
    pub(super) stats: CpStats,
    scratch: Scratch,
}

impl Default for CommandProcessor {
    fn default() -> Self {
        Self::new()
    }
}

impl CommandProcessor {
    /// A command processor without queues.
    pub fn new() -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(QueueId::COUNT).collect(),
            next: 0,
            changes: Vec::new(),
            inactive_mqds: Vec::new(),
            queue_mask: 0,
            stats: CpStats::default(),
            scratch: Scratch {
                bytes: vec![0; Header::MAX_BODY as usize * 4],
                words: vec![0; Header::MAX_BODY as usize],
            },
        }
    }

    /// Back to the state after power-on; only the statistics stay.
    pub fn reset(&mut self) {
        let Self {
            slots,
            next,
            changes,
            inactive_mqds,
            queue_mask,
            stats: _,
            scratch: _,
        } = self;
        slots.fill_with(|| None);
        *next = 0;
        changes.clear();
        inactive_mqds.clear();
        *queue_mask = 0;
    }

    /// Forgets all queues of these kinds.
    pub fn soft_reset(&mut self, graphics: bool, compute: bool) {
        for slot in &mut self.slots {
            let kind = slot.as_ref().map(|queue| queue.id.kind());
            if kind == Some(QueueKind::Graphics) && graphics || kind == Some(QueueKind::Compute) && compute {
                *slot = None;
                self.stats.queues_unmapped += 1;
            }
        }
        self.changes.clear();
    }

    /// A context has been disabled. Queues that are blocked in it, or whose ring is in it, stop for good: another try would only walk
    /// tables that are gone.
    pub fn context_disabled(&mut self, vmid: Vmid) {
        for queue in self.slots.iter_mut().flatten() {
            let blocked = matches!(queue.state, QueueState::Waiting(_)) || queue.transfer.is_some();
            if blocked && (queue.vmid() == vmid || queue.setup.vmid == vmid) {
                queue.state = QueueState::Halted(HaltReason::ContextDisabled);
                queue.transfer = None;
                queue.frames.clear();
            }
        }
    }

    /// Carries out what a register write asked for.
    pub fn apply(&mut self, command: CpCommand) {
        match command {
            CpCommand::Activate(image) => self.install(&image, image.wptr()),
            CpCommand::Deactivate(queue) => {
                self.remove(queue);
            }
            CpCommand::SetWptr { queue, wptr } => {
                if let Some(queue) = self.slot_mut(queue) {
                    queue.set_wptr(wptr);
                }
            }
            CpCommand::PollWptrs(mask) => {
                for bit in (0..32).filter(|bit| mask >> bit & 1 != 0) {
                    if let Some(queue) = self.slot_mut(QueueId::new(1, bit >> 3, bit)) {
                        queue.poll_wptr = true;
                    }
                }
            }
            CpCommand::Reset(queue) => {
                let mqd = self.remove(queue).map(|queue| queue.setup.mqd);
                if let Some(mqd) =
                    mqd.filter(|mqd| *mqd != GpuVa::default() && !self.inactive_mqds.contains(mqd))
                {
                    self.inactive_mqds.push(mqd);
                }
            }
            CpCommand::SoftReset { graphics, compute } => self.soft_reset(graphics, compute),
        }
    }

    /// A store to the doorbell aperture, at a dword index. The value is a write pointer in dwords. Returns whether it rang a queue.
    pub fn doorbell(&mut self, index: u32, value: u64) -> bool {
        let mut rang = false;
        for queue in self.slots.iter_mut().flatten() {
            if queue.setup.doorbell == Some(index) {
                queue.set_wptr(value);
                rang = true;
            }
        }
        rang
    }

    /// What registers have to show since the last call. Apply pending [`CpCommand`]s first: they are older.
    pub fn take_changes(&mut self) -> Vec<QueueChange> {
        let mut changes = std::mem::take(&mut self.changes);
        for queue in self.slots.iter_mut().flatten().filter(|queue| queue.dirty) {
            queue.dirty = false;
            changes.push(QueueChange::Pointers {
                queue: queue.id,
                rptr: queue.rptr,
                wptr: queue.wptr,
            });
        }
        changes
    }

    /// The queues that are mapped.
    pub fn queues(&self) -> impl Iterator<Item = QueueView> + '_ {
        self.slots.iter().flatten().map(|queue| QueueView {
            queue: queue.id,
            setup: queue.setup,
            rptr: queue.rptr,
            wptr: queue.wptr,
            state: queue.state,
            indirect: queue.frames.iter().map(|frame| frame.vmid).collect(),
        })
    }

    /// One queue, if it is mapped.
    pub fn queue(&self, id: QueueId) -> Option<QueueView> {
        self.queues().find(|view| view.queue == id)
    }

    /// Counters.
    pub const fn stats(&self) -> &CpStats {
        &self.stats
    }

    /// The queue mask of the last SET_RESOURCES.
    pub const fn queue_mask(&self) -> u64 {
        self.queue_mask
    }

    /// Executes up to `budget` of what the rings hold. `now` is the reference clock, in ticks.
    ///
    /// Register writes of the streams go through `bus`; what effects they have is for the caller to apply when this returns.
    pub fn step<B: VirtualMemory + RegisterBus>(
        &mut self,
        bus: &mut B,
        now: u64,
        config: &CpConfig,
        budget: &mut Budget,
        events: &mut Vec<CpEvent>,
    ) -> CpStep {
        let mut bench = Bench {
            bus,
            now,
            config,
            budget,
            events,
            end: false,
        };
        for mqd in std::mem::take(&mut self.inactive_mqds) {
            self.store_mqd(&mut bench, mqd, hqd::ACTIVE as u64, 0);
        }
        self.poll_wptrs(&mut bench);
        let mut scratch = std::mem::take(&mut self.scratch);
        while !bench.end && !bench.budget.is_empty() {
            if !self.round(&mut bench, &mut scratch) {
                break;
            }
        }
        self.scratch = scratch;
        self.outcome(config)
    }

    /// Gives each queue one slice. Returns whether any executed something.
    fn round<B: VirtualMemory + RegisterBus>(
        &mut self,
        bench: &mut Bench<'_, B>,
        scratch: &mut Scratch,
    ) -> bool {
        let mut progress = false;
        for offset in 0..QueueId::COUNT {
            let index = (self.next + offset) % QueueId::COUNT;
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            let runs = slot
                .as_ref()
                .is_some_and(|queue| !bench.config.halted(queue.id) && (queue.polls() || queue.has_work()));
            if !runs {
                continue;
            }
            let Some(mut queue) = slot.take() else { continue };
            for _ in 0..SLICE {
                if bench.end
                    || bench.budget.is_empty()
                    || queue.unmapped
                    || !self.advance(&mut queue, bench, scratch)
                {
                    break;
                }
                progress = true;
            }
            self.report_rptr(&mut queue, bench);
            if queue.unmapped {
                self.stats.queues_unmapped += 1;
                self.note(QueueChange::Unmapped(queue.id));
            } else if let Some(slot) = self.slots.get_mut(index) {
                *slot = Some(queue);
            }
            if bench.end || bench.budget.is_empty() {
                self.next = index + 1;
                break;
            }
        }
        progress
    }

    fn report_rptr<B: VirtualMemory>(&mut self, queue: &mut Queue, bench: &mut Bench<'_, B>) {
        if queue.reported == queue.rptr {
            return;
        }
        queue.reported = queue.rptr;
        queue.dirty = true;
        let setup = &queue.setup;
        if setup.rptr_report != GpuVa::default() {
            let stored = bench.bus.store_u32(setup.vmid, setup.rptr_report, queue.rptr);
            self.stats.faults += u64::from(stored.is_err());
        }
    }

    fn poll_wptrs<B: VirtualMemory>(&mut self, bench: &mut Bench<'_, B>) {
        for queue in self.slots.iter_mut().flatten() {
            if !std::mem::take(&mut queue.poll_wptr) && !bench.config.wptr_poll {
                continue;
            }
            if queue.setup.wptr_poll == GpuVa::default() || bench.config.halted(queue.id) {
                continue;
            }
            let mut bytes = [0; 8];
            match bench
                .bus
                .read(queue.setup.vmid, queue.setup.wptr_poll, &mut bytes)
            {
                Ok(()) if queue.wptr != u64::from_le_bytes(bytes) => {
                    queue.set_wptr(u64::from_le_bytes(bytes));
                }
                Ok(()) => {}
                Err(_) => {
                    self.stats.faults += 1;
                    // Once is enough: each poll would raise the fault again.
                    queue.setup.wptr_poll = GpuVa::default();
                }
            }
        }
    }

    fn outcome(&self, config: &CpConfig) -> CpStep {
        let mut outcome = CpStep::Idle;
        for queue in self
            .slots
            .iter()
            .flatten()
            .filter(|queue| !config.halted(queue.id))
        {
            match queue.state {
                QueueState::Running if queue.has_work() => return CpStep::Progress,
                QueueState::Waiting(wait) if !wait.faulted => outcome = CpStep::Waiting,
                _ => {}
            }
        }
        outcome
    }

    fn slot_mut(&mut self, queue: QueueId) -> Option<&mut Queue> {
        self.slots.get_mut(queue.index())?.as_deref_mut()
    }

    fn remove(&mut self, queue: QueueId) -> Option<Box<Queue>> {
        let removed = self.slots.get_mut(queue.index())?.take()?;
        self.changes.retain(|change| change.queue() != queue);
        self.stats.queues_unmapped += 1;
        Some(removed)
    }

    pub(super) fn install(&mut self, image: &HqdImage, wptr: u64) {
        if let Some(slot) = self.slots.get_mut(image.queue.index()) {
            *slot = Some(Box::new(Queue::new(
                image.queue,
                image.setup(),
                image.rptr(),
                wptr,
            )));
            self.stats.queues_mapped += 1;
        }
    }

    /// Keeps only the newest change of each queue, so that the list cannot grow.
    pub(super) fn note(&mut self, change: QueueChange) {
        self.changes.retain(|other| other.queue() != change.queue());
        self.changes.push(change);
    }

    /// Writes a dword of an MQD, counted from its HQD part.
    pub(super) fn store_mqd<B: VirtualMemory>(
        &mut self,
        bench: &mut Bench<'_, B>,
        mqd: GpuVa,
        index: u64,
        value: u32,
    ) {
        let at = mqd.plus((hqd::MQD_START + index) * 4);
        self.stats.faults += u64::from(bench.bus.store_u32(Vmid::KERNEL, at, value).is_err());
    }

    /// Reads the register or memory of a poll.
    pub(super) fn sample<B: VirtualMemory + RegisterBus>(
        &mut self,
        bench: &mut Bench<'_, B>,
        vmid: Vmid,
        place: Place,
        wide: bool,
    ) -> Option<u64> {
        match place {
            Place::Register(offset) => {
                let low = u64::from(bench.bus.read_register(offset));
                let high = if wide {
                    bench.bus.read_register(next(offset))
                } else {
                    0
                };
                Some(u64::from(high) << 32 | low)
            }
            Place::Memory(at) => {
                let mut bytes = [0; 8];
                let part = bytes.get_mut(..if wide { 8 } else { 4 })?;
                if bench.bus.read(vmid, at, part).is_err() {
                    self.stats.faults += 1;
                    return None;
                }
                Some(u64::from_le_bytes(bytes))
            }
        }
    }
}

pub(super) const fn next(offset: RegOffset) -> RegOffset {
    offset.plus(4)
}
