//! The packets by which kernel queues (KIQ, HIQ) map and unmap others.

use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::RegisterBus;

use super::cp::{Bench, CommandProcessor};
use super::pm4::{Place, QueueSelection, ReleaseData, UnmapAction};
use super::spec::fields::hqd;
use super::state::Queue;
use super::{CpEvent, HqdImage, QueueChange, QueueId, QueueKind, QueueState};

impl CommandProcessor {
    /// MAP_QUEUES: loads the queue's descriptor from its MQD, and its write pointer from where the driver keeps it.
    pub(super) fn map_queue<B: VirtualMemory + RegisterBus>(
        &mut self,
        current: &Queue,
        bench: &mut Bench<'_, B>,
        target: Option<QueueId>,
        mqd: GpuVa,
        wptr: GpuVa,
    ) {
        // An engine that is not the CP's, or the queue that executes this.
        let Some(target) = target.filter(|target| *target != current.id) else {
            self.stats.unmodelled += 1;
            return;
        };
        let mut bytes = [0; hqd::WORDS * 4];
        if bench
            .bus
            .read(Vmid::KERNEL, mqd.plus(hqd::MQD_START * 4), &mut bytes)
            .is_err()
        {
            self.stats.faults += 1;
            return;
        }
        let mut words = [0; hqd::WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let image = HqdImage::from_mqd(target, &words);
        let kept = if wptr == GpuVa::default() {
            None
        } else {
            self.sample(bench, Vmid::KERNEL, Place::Memory(wptr), true)
        };
        let start = kept.unwrap_or_else(|| image.wptr());
        log::debug!(target: "amdgpu::cp", "queue {target} mapped from MQD {mqd}");
        self.install(&image, start);
        self.note(QueueChange::Mapped(Box::new(image)));
    }

    /// UNMAP_QUEUES. Nothing of a stream survives: preemption saves pointers only, at a packet's boundary.
    pub(super) fn unmap_queues<B: VirtualMemory>(
        &mut self,
        current: &mut Queue,
        bench: &mut Bench<'_, B>,
        action: UnmapAction,
        selection: QueueSelection,
    ) {
        if let UnmapAction::PreemptNoUnmap { fence, value } = action {
            // Nothing is preempted: what runs goes on, and the fence says that it was.
            return self.release(current.id, bench, Vmid::KERNEL, fence, ReleaseData::Low(value));
        }
        let reset = action == UnmapAction::Reset;
        let config = bench.config;
        let stays = |queue: &Queue| reset && !config.resets(queue.id.kind()) && is_hung(queue);
        current.unmapped = is_selected(current, &selection);
        let mut removed = Vec::new();
        for queue in self.slots.iter().flatten() {
            if is_selected(queue, &selection) && stays(queue) {
                bench.events.push(CpEvent::QueueNotReset { queue: queue.id });
            }
        }
        for slot in &mut self.slots {
            removed.extend(slot.take_if(|queue| is_selected(queue, &selection) && !stays(queue)));
        }
        for queue in &removed {
            self.stats.queues_unmapped += 1;
            // A driver also takes idle queues off this way: then nothing is lost, and nothing is reset.
            if action == UnmapAction::Reset && is_hung(queue) {
                bench.events.push(CpEvent::QueueReset { queue: queue.id });
            }
            log::debug!(target: "amdgpu::cp", "queue {} unmapped", queue.id);
            self.save(bench, queue);
            self.note(QueueChange::Unmapped(queue.id));
        }
    }

    /// Writes back to the MQD what a later MAP_QUEUES reads.
    fn save<B: VirtualMemory>(&mut self, bench: &mut Bench<'_, B>, queue: &Queue) {
        let mqd = queue.setup.mqd;
        if mqd == GpuVa::default() {
            return;
        }
        let wptr = match queue.id.kind() {
            QueueKind::Graphics => hqd::GFX_MQD_WPTR,
            QueueKind::Compute => hqd::WPTR,
        };
        let words = [
            (hqd::ACTIVE, 0),
            (hqd::RPTR, queue.rptr),
            (wptr, (queue.wptr & 0xffff_ffff) as u32),
            (wptr + 1, (queue.wptr >> 32) as u32),
        ];
        for (index, value) in words {
            self.store_mqd(bench, mqd, index as u64, value);
        }
    }
}

/// A kernel's queue is only ever named by its doorbell; "all" and a process's queues mean users' queues.
fn is_selected(queue: &Queue, selection: &QueueSelection) -> bool {
    match selection {
        QueueSelection::Doorbells { doorbells, count } => doorbells
            .iter()
            .take(usize::from(*count))
            .any(|doorbell| queue.setup.doorbell == Some(*doorbell)),
        QueueSelection::Pasid(_) | QueueSelection::All => queue.setup.vmid != Vmid::KERNEL,
    }
}

fn is_hung(queue: &Queue) -> bool {
    queue.state != QueueState::Running || queue.has_work()
}
