//! The small values that registers, command processor and device exchange.

use super::{HqdImage, QueueId, QueueKind};

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
    /// All that is left are polls, of streams that wait or of write pointers: try again after an interval, or when a stream's
    /// register writes have had effects.
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
    /// For graphics and compute, see [`GfxRegisters::set_queue_reset`](super::GfxRegisters::set_queue_reset).
    pub queue_reset: [bool; 2],
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

    pub(super) const fn resets(&self, kind: QueueKind) -> bool {
        let [graphics, compute] = self.queue_reset;
        match kind {
            QueueKind::Graphics => graphics,
            QueueKind::Compute => compute,
        }
    }

    /// Whether a queue's micro engine is halted.
    pub fn halted(&self, queue: QueueId) -> bool {
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
    pub(super) fn queue(&self) -> QueueId {
        match self {
            Self::Mapped(image) => image.queue,
            Self::Unmapped(queue) | Self::Pointers { queue, .. } => *queue,
        }
    }
}
