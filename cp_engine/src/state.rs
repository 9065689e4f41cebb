//! The execution state of a queue.

use std::fmt;

use gart::{GpuVa, Vmid};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::pm4::{Compare, Place};
use super::{QueueId, QueueSetup};

/// Deepest nesting of indirect buffers: IB1, IB2 and two more.
pub(super) const MAX_DEPTH: usize = 4;

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
    /// It hangs, as it was told to.
    Hung,
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
    /// When it began, in ticks of the reference clock.
    pub since: u64,
    /// It has been told that it lasts.
    pub told: bool,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.poll {
            Place::Register(register) => write!(f, "register {register}")?,
            Place::Memory(va) => write!(f, "VMID {} memory {va}", self.vmid)?,
        }
        write!(f, " & {:#x} {:?} {:#x}", self.mask, self.compare, self.reference)?;
        f.write_str(if self.faulted { ", which faults" } else { "" })
    }
}

/// Whether a queue executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// It executes what its ring holds.
    Running,
    /// It polls, for as long as it takes.
    Waiting(Wait),
    /// Its next packet has to wait until the reference clock shows this.
    Delayed(u64),
    /// It has stopped, until it is mapped again.
    Halted(HaltReason),
}

impl fmt::Display for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Delayed(until) => write!(f, "delayed until tick {until}"),
            Self::Halted(reason) => write!(f, "halted: {reason:?}"),
            Self::Waiting(wait) => write!(f, "waiting: {wait}"),
        }
    }
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
    /// The next packet has been delayed already.
    pub(super) delay_over: bool,
    /// UNMAP_QUEUES has hit this queue while it executes.
    pub(super) unmapped: bool,
    pub(super) reported: u32,
    pub(super) dirty: bool,
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
            delay_over: false,
            unmapped: false,
            reported: rptr,
            dirty: false,
        }
    }

    pub(super) fn set_wptr(&mut self, wptr: u64) {
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

    pub(super) fn polls(&self) -> bool {
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

impl Serialize for QueueView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("QueueView", 9)?;
        fields.serialize_field("queue", &self.queue.to_string())?;
        fields.serialize_field("vmid", &self.setup.vmid.get())?;
        fields.serialize_field("ring", &self.setup.base.get())?;
        fields.serialize_field("ring_dwords", &(u64::from(self.setup.mask) + 1))?;
        fields.serialize_field("doorbell", &self.setup.doorbell)?;
        fields.serialize_field("rptr", &self.rptr)?;
        fields.serialize_field("wptr", &self.wptr)?;
        fields.serialize_field("state", &self.state.to_string())?;
        let indirect: Vec<u8> = self.indirect.iter().map(|vmid| vmid.get()).collect();
        fields.serialize_field("indirect", &indirect)?;
        fields.end()
    }
}
