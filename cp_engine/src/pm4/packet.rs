//! Packets as values.

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

use crate::QueueId;

/// Where a poll or a copy reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A register.
    Register(RegOffset),
    /// Memory, in the stream's context.
    Memory(GpuVa),
}

/// Where a packet writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A register or a run of them.
    Register(RegOffset),
    /// Memory, in the stream's context.
    Memory(GpuVa),
    /// GDS, performance counters, preemption state: nothing of it exists here.
    Nowhere,
}

/// The comparison of a poll: register or memory, masked, against the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Met at once.
    Always,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterEqual,
    /// `>`
    Greater,
}

impl Compare {
    /// From FUNCTION, bits 2:0.
    pub const fn from_field(field: u32) -> Self {
        match field & 7 {
            1 => Self::Less,
            2 => Self::LessEqual,
            3 => Self::Equal,
            4 => Self::NotEqual,
            5 => Self::GreaterEqual,
            6 => Self::Greater,
            _ => Self::Always,
        }
    }

    /// Whether `value` meets the condition.
    pub const fn met(self, value: u64, mask: u64, reference: u64) -> bool {
        let value = value & mask;
        match self {
            Self::Always => true,
            Self::Less => value < reference,
            Self::LessEqual => value <= reference,
            Self::Equal => value == reference,
            Self::NotEqual => value != reference,
            Self::GreaterEqual => value >= reference,
            Self::Greater => value > reference,
        }
    }
}

/// SRC_SEL of COPY_DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopySource {
    /// Register or memory.
    Place(Place),
    /// The packet itself.
    Immediate(u64),
    /// The GPU clock counter.
    Clock,
    /// GDS, performance counters: reads 0 here.
    Nowhere,
}

/// SRC_SEL of DMA_DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaSource {
    /// Memory, in the stream's context.
    Memory(GpuVa),
    /// A 32-bit pattern.
    Data(u32),
    /// GDS or registers: the packet does nothing here.
    Nowhere,
}

/// DATA_SEL of RELEASE_MEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseData {
    /// Nothing is written.
    None,
    /// The low half of the data.
    Low(u32),
    /// The data.
    Full(u64),
    /// The GPU or system clock counter.
    Clock,
}

/// ACTION of UNMAP_QUEUES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmapAction {
    /// Take the queues off, keeping their state in the MQD.
    Preempt,
    /// Kill what runs and take the queues off.
    Reset,
    /// Take a process's queues off for good.
    Disable,
    /// Preempt what runs, write a fence, keep the queue.
    PreemptNoUnmap {
        /// Where the fence goes.
        fence: GpuVa,
        /// Its value.
        value: u32,
    },
}

/// QUEUE_SEL of UNMAP_QUEUES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueSelection {
    /// The queues with these doorbells (dword indices); the first `count` count.
    Doorbells {
        /// Up to four.
        doorbells: [u32; 4],
        /// How many.
        count: u8,
    },
    /// The queues of a process; none is known by process here.
    Pasid(u16),
    /// All queues but KIQ and HIQ.
    All,
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Nothing, rightly.
    NoEffect,
    /// Something that this model leaves out.
    Unmodelled,
    /// SET_CONFIG_REG, SET_CONTEXT_REG, SET_SH_REG, SET_UCONFIG_REG and their `_INDEX` forms.
    SetRegisters {
        /// The first register.
        start: RegOffset,
        /// End of the packet's range: what lies beyond is dropped.
        end: RegOffset,
        /// Consecutive values.
        values: &'a [u32],
    },
    /// WRITE_DATA.
    WriteData {
        /// Where to.
        destination: Destination,
        /// All dwords go to the first place.
        one_address: bool,
        /// The dwords.
        data: &'a [u32],
    },
    /// COPY_DATA.
    CopyData {
        /// Where from.
        source: CopySource,
        /// Where to.
        destination: Destination,
        /// 64 bits instead of 32.
        wide: bool,
    },
    /// WAIT_REG_MEM and WAIT_REG_MEM64.
    Wait {
        /// Register that gets the reference first (operation 1).
        write: Option<RegOffset>,
        /// What is polled.
        poll: Place,
        /// 64 bits instead of 32.
        wide: bool,
        /// The comparison.
        compare: Compare,
        /// Its right-hand side.
        reference: u64,
        /// Bits that take part.
        mask: u64,
    },
    /// INDIRECT_BUFFER and INDIRECT_BUFFER_CNST.
    IndirectBuffer {
        /// First byte.
        address: GpuVa,
        /// Length.
        dwords: u32,
        /// Context, if the stream that calls is the kernel's.
        vmid: Vmid,
        /// Replaces the buffer it stands in.
        chain: bool,
    },
    /// COND_EXEC: skip dwords if a dword in memory is 0.
    CondExec {
        /// The dword.
        address: GpuVa,
        /// Dwords to skip.
        skip: u32,
    },
    /// RELEASE_MEM.
    ReleaseMem {
        /// Where the fence goes.
        address: GpuVa,
        /// The fence.
        data: ReleaseData,
        /// Interrupt when it is visible.
        interrupt: bool,
        /// INT_CTXID.
        context_id: u32,
    },
    /// DMA_DATA.
    DmaData {
        /// Where from.
        source: DmaSource,
        /// Where to; `None`: GDS, registers or a mere prefetch.
        destination: Option<GpuVa>,
        /// Length.
        bytes: u32,
    },
    /// SET_RESOURCES: what the scheduler may hand out. Kept for inspection.
    SetResources {
        /// Contexts.
        vmid_mask: u16,
        /// Queues.
        queue_mask: u64,
    },
    /// MAP_QUEUES.
    MapQueue {
        /// Which hardware queue to use; `None`: an engine that is not the CP's.
        queue: Option<QueueId>,
        /// Its descriptor.
        mqd: GpuVa,
        /// Where its write pointer is kept.
        wptr: GpuVa,
    },
    /// UNMAP_QUEUES.
    UnmapQueues {
        /// How.
        action: UnmapAction,
        /// Which.
        selection: QueueSelection,
    },
    /// QUERY_STATUS: a fence behind everything before it.
    QueryStatus {
        /// Where the fence goes.
        address: GpuVa,
        /// Its value.
        value: u64,
    },
    /// INVALIDATE_TLBS.
    InvalidateTlbs {
        /// Whose.
        pasid: u16,
        /// In all hubs.
        all_hubs: bool,
        /// How thoroughly.
        flush_type: u8,
    },
    /// No such opcode, or too short for what it says it is.
    Illegal,
}
