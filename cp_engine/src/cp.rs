//! The command processor: queues, their order, their life.

use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};

use super::gate::QueueGate;
use super::pm4::{Header, Place};
use super::spec::fields::hqd;
use super::state::Queue;
use super::{
    Budget, CpCommand, CpConfig, CpEvent, CpStats, CpStep, HaltReason, HqdImage, QueueChange, QueueId,
    QueueKind, QueueState, QueueView,
};

/// Packets that one queue may execute before the others get their turn.
const SLICE: u32 = 64;

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
    /// tables that are gone. Returns which.
    pub fn context_disabled(&mut self, vmid: Vmid) -> Vec<QueueId> {
        let mut stopped = Vec::new();
        for queue in self.slots.iter_mut().flatten() {
            let blocked = matches!(queue.state, QueueState::Waiting(_)) || queue.transfer.is_some();
            if blocked && (queue.vmid() == vmid || queue.setup.vmid == vmid) {
                queue.state = QueueState::Halted(HaltReason::ContextDisabled);
                queue.transfer = None;
                queue.frames.clear();
                stopped.push(queue.id);
            }
        }
        stopped
    }

    /// Makes the mapped queues for which this holds stand still where they are, until they are mapped again or reset. Returns how many.
    pub fn hang(&mut self, which: impl Fn(QueueId) -> bool) -> usize {
        let mut count = 0;
        for queue in self.slots.iter_mut().flatten().filter(|queue| which(queue.id)) {
            queue.state = QueueState::Halted(HaltReason::Hung);
            count += 1;
        }
        count
    }

    /// Whether a queue hangs.
    pub fn is_hung(&self) -> bool {
        let hung = QueueState::Halted(HaltReason::Hung);
        self.slots.iter().flatten().any(|queue| queue.state == hung)
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
    /// Register writes of the streams go through `bus`; what effects they have is for the caller to apply when this returns, and if
    /// there were any, another step may get on where this one said that it waits.
    pub fn step<B: VirtualMemory + RegisterBus + QueueGate>(
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
    fn round<B: VirtualMemory + RegisterBus + QueueGate>(
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
        let at = queue.setup.rptr_report;
        if at != GpuVa::default() && bench.bus.store_u32(queue.setup.vmid, at, queue.rptr).is_err() {
            self.stats.faults += 1;
            // Once is enough: each report would raise the fault again.
            queue.setup.rptr_report = GpuVa::default();
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
        let mut outcome = if config.wptr_poll && self.slots.iter().flatten().next().is_some() {
            CpStep::Waiting
        } else {
            CpStep::Idle
        };
        for queue in self
            .slots
            .iter()
            .flatten()
            .filter(|queue| !config.halted(queue.id))
        {
            match queue.state {
                QueueState::Running if queue.has_work() => return CpStep::Progress,
                QueueState::Waiting(wait) if !wait.faulted => outcome = CpStep::Waiting,
                QueueState::Delayed(_) => outcome = CpStep::Waiting,
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
        self.changes.retain(|change| change.queue() != image.queue);
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
