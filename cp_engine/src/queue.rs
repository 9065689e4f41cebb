//! Queues: who they are, and how a queue descriptor in registers or in memory becomes a ring.

use std::fmt;

use gart::{GpuVa, Vmid};

use super::spec::fields::{DOORBELL_EN, DOORBELL_OFFSET, QUEUE_SIZE, hqd};

/// Largest ring the model takes, as log2 of dwords: 1 GiB of ring, far more than any driver asks for.
const MAX_RING_LOG2: u32 = 28;

/// The address of a hardware queue. Graphics is me 0, MEC1 and MEC2 are me 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    me: u8,
    pipe: u8,
    queue: u8,
}

impl QueueId {
    /// How many there can be: 4 micro engines, 4 pipes, 8 queues.
    pub const COUNT: usize = 4 * 4 * 8;

    /// From field values; bits beyond the fields are dropped.
    pub const fn new(me: u32, pipe: u32, queue: u32) -> Self {
        Self {
            me: (me & 3) as u8,
            pipe: (pipe & 3) as u8,
            queue: (queue & 7) as u8,
        }
    }

    /// From GRBM_GFX_CNTL.
    pub const fn from_gfx_cntl(value: u32) -> Self {
        Self::new(value >> 2, value, value >> 8)
    }

    /// From a byte of RLC_CP_SCHEDULERS.
    pub const fn from_scheduler(value: u32) -> Self {
        Self::new(value >> 5, value >> 3, value)
    }

    /// Micro engine.
    pub const fn me(self) -> u8 {
        self.me
    }

    /// Pipe of the micro engine.
    pub const fn pipe(self) -> u8 {
        self.pipe
    }

    /// Queue of the pipe.
    pub const fn queue(self) -> u8 {
        self.queue
    }

    /// Graphics or compute.
    pub const fn kind(self) -> QueueKind {
        if self.me == 0 {
            QueueKind::Graphics
        } else {
            QueueKind::Compute
        }
    }

    /// A number below [`Self::COUNT`].
    pub const fn index(self) -> usize {
        (self.me as usize) << 5 | (self.pipe as usize) << 3 | self.queue as usize
    }

    /// The ring id of this queue's interrupts: pipe in bits 1:0, me in 3:2, queue in 6:4 (`gfx_v10_0_eop_irq`).
    pub const fn ring_id(self) -> u8 {
        self.pipe | self.me << 2 | self.queue << 4
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.me, self.pipe, self.queue)
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueId({self})")
    }
}

/// What a queue feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// The graphics pipe: PFP, ME, CE.
    Graphics,
    /// A MEC.
    Compute,
}

/// A hardware queue descriptor: the values of a queue window's registers, in the order of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HqdImage {
    /// Whose.
    pub queue: QueueId,
    words: [u32; hqd::WORDS],
}

impl HqdImage {
    /// Takes the registers of a window.
    pub fn from_window(queue: QueueId, mut register: impl FnMut(usize) -> u32) -> Self {
        Self {
            queue,
            words: std::array::from_fn(&mut register),
        }
    }

    /// Takes the HQD part of an MQD, which begins [`hqd::MQD_START`] dwords into it.
    pub fn from_mqd(queue: QueueId, mqd: &[u32; hqd::WORDS]) -> Self {
        let words = match queue.kind() {
            QueueKind::Compute => *mqd,
            QueueKind::Graphics => std::array::from_fn(|index| {
                let from = if index < hqd::GFX_COMMON {
                    index
                } else if index == hqd::GFX_WPTR || index == hqd::GFX_WPTR + 1 {
                    index - hqd::GFX_WPTR + hqd::GFX_MQD_WPTR
                } else {
                    return 0;
                };
                mqd.get(from).copied().unwrap_or(0)
            }),
        };
        Self { queue, words }
    }

    /// One dword of the window.
    pub fn word(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// The words, in the order of the window.
    pub const fn words(&self) -> &[u32; hqd::WORDS] {
        &self.words
    }

    fn pair(&self, index: usize) -> u64 {
        u64::from(self.word(index + 1)) << 32 | u64::from(self.word(index))
    }

    const fn wptr_index(&self) -> usize {
        match self.queue.kind() {
            QueueKind::Graphics => hqd::GFX_WPTR,
            QueueKind::Compute => hqd::WPTR,
        }
    }

    /// The write pointer, in dwords.
    pub fn wptr(&self) -> u64 {
        self.pair(self.wptr_index())
    }

    /// The read pointer, in dwords.
    pub fn rptr(&self) -> u32 {
        self.word(hqd::RPTR)
    }

    /// What the words mean.
    pub fn setup(&self) -> QueueSetup {
        let doorbell = self.word(hqd::DOORBELL);
        let size_log2 = (self.word(hqd::CONTROL) & QUEUE_SIZE)
            .saturating_add(1)
            .min(MAX_RING_LOG2);
        QueueSetup {
            vmid: Vmid::from_field(self.word(hqd::VMID)),
            base: GpuVa::new(self.pair(hqd::BASE) << 8).canonical(),
            mask: (1 << size_log2) - 1,
            rptr_report: GpuVa::new(self.pair(hqd::RPTR_REPORT) & !3).canonical(),
            wptr_poll: GpuVa::new(self.pair(hqd::WPTR_POLL) & !7).canonical(),
            mqd: GpuVa::new(self.pair(hqd::MQD_BASE) & !3).canonical(),
            doorbell: (doorbell & DOORBELL_EN != 0).then_some((doorbell & DOORBELL_OFFSET) >> 2),
        }
    }
}

/// Where a queue's ring and pointers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSetup {
    /// Context of the ring.
    pub vmid: Vmid,
    /// First byte of the ring.
    pub base: GpuVa,
    /// Ring size in dwords, less one.
    pub mask: u32,
    /// Where the read pointer is written back; null for nowhere.
    pub rptr_report: GpuVa,
    /// Where the driver keeps its copy of the write pointer; null for nowhere.
    pub wptr_poll: GpuVa,
    /// The queue's MQD; null if it has none.
    pub mqd: GpuVa,
    /// Doorbell, as a dword index into the doorbell aperture.
    pub doorbell: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_ids_are_those_of_the_drivers_decoder() {
        assert_eq!(QueueId::new(1, 2, 3).ring_id(), 0x36);
        assert_eq!(QueueId::new(0, 1, 0).ring_id(), 0x01);
        assert_eq!(QueueId::from_scheduler(2 << 5 | 1 << 3), QueueId::new(2, 1, 0));
    }

    #[test]
    fn a_graphics_mqd_keeps_its_write_pointer_elsewhere_than_the_window() {
        let mut mqd = [0; hqd::WORDS];
        mqd[0x15] = 7;
        mqd[0x16] = 1;
        mqd[hqd::CONTROL] = 9;
        let image = HqdImage::from_mqd(QueueId::new(0, 0, 0), &mqd);
        assert_eq!(image.wptr(), 1 << 32 | 7);
        assert_eq!(image.setup().mask, 0x3ff);
        assert_eq!(image.word(hqd::GFX_DEQUEUE), 0);
    }

    #[test]
    fn absurd_sizes_and_addresses_are_cut_to_what_exists() {
        let image = HqdImage::from_window(QueueId::new(1, 0, 0), |_| u32::MAX);
        let setup = image.setup();
        assert_eq!(setup.mask, (1 << MAX_RING_LOG2) - 1);
        assert!(setup.base.get() < 1 << 48);
    }
}
