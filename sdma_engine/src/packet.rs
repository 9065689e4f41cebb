//! What a ring or an indirect buffer says, parsed.

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

/// One packet. Names follow `navi10_sdma_pkt_open.h`; counts are plain (the `- 1` of the wire format is gone).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// NOP: `skip` dwords follow that mean nothing.
    Nop {
        /// Dwords after the header.
        skip: u32,
    },
    /// COPY / COPY_LINEAR.
    CopyLinear(CopyLinear),
    /// WRITE / WRITE_LINEAR (WRITE_UNTILED).
    WriteLinear(WriteLinear),
    /// INDIRECT.
    Indirect(Indirect),
    /// FENCE.
    Fence {
        /// Where the value goes.
        dst: GpuVa,
        /// The value.
        value: u32,
    },
    /// TRAP.
    Trap {
        /// INT_CONTEXT, 28 bits: goes into the interrupt ring's entry.
        context: u32,
    },
    /// POLL_REGMEM.
    PollRegMem(PollRegMem),
    /// POLL_REGMEM / VM_INVALIDATION.
    VmInvalidation(VmInvalidation),
    /// COND_EXE.
    CondExe {
        /// The dword that decides.
        at: GpuVa,
        /// What it must be for the following dwords to be executed.
        reference: u32,
        /// Dwords that are skipped otherwise.
        skip: u32,
    },
    /// ATOMIC.
    Atomic(Atomic),
    /// CONST_FILL.
    ConstFill(ConstFill),
    /// PTEPDE / PTEPDE_GEN (WRITE_INCR).
    PtePde(PtePde),
    /// TIMESTAMP.
    Timestamp(Timestamp),
    /// SRBM_WRITE.
    SrbmWrite(SrbmWrite),
    /// GCR_REQ: a cache operation, and so nothing but a point in the order of things.
    GcrReq,
    /// Anything else, and forms of the above that are not modelled.
    Unknown {
        /// Its header.
        header: u32,
    },
}

/// COPY_LINEAR: bytes from one address to another, both in the packet's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLinear {
    /// From.
    pub src: GpuVa,
    /// To.
    pub dst: GpuVa,
    /// How many bytes; 1 to 1 GiB.
    pub bytes: u64,
}

/// WRITE_LINEAR: the data follow the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteLinear {
    /// To.
    pub dst: GpuVa,
    /// Dwords of data; 1 to 2^20.
    pub dwords: u32,
}

/// INDIRECT: executes a buffer of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indirect {
    /// Context of the buffer and of every address in it.
    pub vmid: Vmid,
    /// Its address, aligned to 32 bytes.
    pub base: GpuVa,
    /// Its size in dwords.
    pub dwords: u32,
}

/// POLL_REGMEM: waits until memory or a register holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollRegMem {
    /// What is looked at.
    pub target: PollTarget,
    /// How it is compared.
    pub function: PollFunction,
    /// What the masked value is compared with.
    pub reference: u32,
    /// Which bits take part.
    pub mask: u32,
    /// Time between polls, in units of [`POLL_UNIT`](crate::POLL_UNIT).
    pub interval: u16,
    /// How often it may fail.
    pub retries: Retries,
}

/// What POLL_REGMEM looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollTarget {
    /// A dword of memory.
    Memory(GpuVa),
    /// A register.
    Register(RegOffset),
    /// The HDP flush handshake: the reference is written to one register, then the other is polled.
    HdpFlush {
        /// GPU_HDP_FLUSH_REQ.
        request: RegOffset,
        /// GPU_HDP_FLUSH_DONE.
        done: RegOffset,
    },
}

/// How POLL_REGMEM compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFunction {
    /// 0: passes at once.
    Always,
    /// 1: value < reference.
    Less,
    /// 2: value <= reference.
    LessOrEqual,
    /// 3: value == reference.
    Equal,
    /// 4: value != reference.
    NotEqual,
    /// 5: value >= reference.
    GreaterOrEqual,
    /// 6: value > reference.
    Greater,
    /// 7: never passes. The number is reserved.
    Reserved,
}

impl PollFunction {
    /// Whether a masked value satisfies the comparison.
    pub const fn holds(self, value: u32, reference: u32) -> bool {
        match self {
            Self::Always => true,
            Self::Less => value < reference,
            Self::LessOrEqual => value <= reference,
            Self::Equal => value == reference,
            Self::NotEqual => value != reference,
            Self::GreaterOrEqual => value >= reference,
            Self::Greater => value > reference,
            Self::Reserved => false,
        }
    }
}

/// How often POLL_REGMEM looks again after its first look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// RETRY_COUNT 0xFFF. The driver's waits (`sdma_v5_2_ring_emit_pipeline_sync`) last as long as another ring's work does.
    Forever,
    /// Any other count.
    Times(u16),
}

/// VM_INVALIDATION (7.3 `sdma_v5_2_ring_emit_vm_flush`): asks an invalidation engine of the hub for a flush and waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmInvalidation {
    /// Invalidation engine of the graphics hub; `None` for 0x1F.
    pub gfx_engine: Option<u8>,
    /// Invalidation engine of the multimedia hub; `None` for 0x1F.
    pub mm_engine: Option<u8>,
    /// What the engine's REQ register is given.
    pub request: u32,
    /// Bits that ACK must show.
    pub ack: u16,
}

/// ATOMIC: read, modify, write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Atomic {
    /// What is done.
    pub op: AtomicOp,
    /// To how much.
    pub width: AtomicWidth,
    /// Where, aligned to the width.
    pub at: GpuVa,
    /// SRC_DATA.
    pub operand: u64,
    /// CMP_DATA, for [`AtomicOp::CompareSwap`].
    pub compare: u64,
    /// Try a [`AtomicOp::CompareSwap`] again until it succeeds, this often (in units of [`POLL_UNIT`](crate::POLL_UNIT)).
    pub repeat: Option<u16>,
}

/// Width of an atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicWidth {
    /// 32 bits.
    Dword,
    /// 64 bits.
    Qword,
}

/// The integer atomics (`TC_OP_ATOMIC_*` in `navi10_enum.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    /// Takes the operand's place.
    Swap,
    /// As [`Swap`](Self::Swap), if the old value is the compare value.
    CompareSwap,
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Smaller one, signed.
    SignedMin,
    /// Smaller one, unsigned.
    UnsignedMin,
    /// Greater one, signed.
    SignedMax,
    /// Greater one, unsigned.
    UnsignedMax,
    /// Bits in both.
    And,
    /// Bits in either.
    Or,
    /// Bits in one.
    Xor,
    /// One more, 0 after the operand.
    Increment,
    /// One less, the operand after 0.
    Decrement,
}

/// CONST_FILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstFill {
    /// To.
    pub dst: GpuVa,
    /// Repeated, whatever FILLSIZE says.
    pub pattern: u32,
    /// How many bytes; 1 to 1 GiB.
    pub bytes: u64,
}

/// PTEPDE: a run of page-table entries. Entry `i` is `(addr + i * increment) | flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtePde {
    /// Address of the first entry.
    pub dst: GpuVa,
    /// Bits set in every entry.
    pub flags: u64,
    /// What the first entry points at.
    pub addr: u64,
    /// From one entry to the next.
    pub increment: u64,
    /// How many entries; 1 to 2^19.
    pub entries: u32,
}

/// TIMESTAMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// TIMESTAMP_SET: gives the engine's own counter a value.
    Set(u64),
    /// TIMESTAMP_GET: writes the engine's own counter, 64 bits, aligned to 8.
    Get(GpuVa),
    /// TIMESTAMP_GET_GLOBAL: writes the GPU's counter, 64 bits, aligned to 8.
    GetGlobal(GpuVa),
}

/// SRBM_WRITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrbmWrite {
    /// The register.
    pub register: RegOffset,
    /// Its new value.
    pub value: u32,
    /// Bits of the value that are written: BYTE_EN, a byte for each bit.
    pub lanes: u32,
}

impl Packet {
    /// Dwords of the packet itself, with its header and without what follows it.
    #[inline]
    pub const fn dwords(&self) -> u32 {
        match self {
            Self::Nop { .. } | Self::Unknown { .. } => 1,
            Self::Trap { .. } => 2,
            Self::Timestamp(_) | Self::SrbmWrite(_) => 3,
            Self::WriteLinear(_) | Self::Fence { .. } | Self::VmInvalidation(_) => 4,
            Self::CondExe { .. } | Self::ConstFill(_) | Self::GcrReq => 5,
            Self::Indirect(_) | Self::PollRegMem(_) => 6,
            Self::CopyLinear(_) => 7,
            Self::Atomic(_) => 8,
            Self::PtePde(_) => 10,
        }
    }

    /// Dwords behind the packet that belong to it.
    #[inline]
    pub const fn payload_dwords(&self) -> u32 {
        match self {
            Self::Nop { skip } => *skip,
            Self::WriteLinear(write) => write.dwords,
            _ => 0,
        }
    }

    /// Which counter it is counted by.
    #[inline]
    pub const fn kind(&self) -> PacketKind {
        match self {
            Self::Nop { .. } => PacketKind::Nop,
            Self::CopyLinear(_) => PacketKind::CopyLinear,
            Self::WriteLinear(_) => PacketKind::WriteLinear,
            Self::Indirect(_) => PacketKind::Indirect,
            Self::Fence { .. } => PacketKind::Fence,
            Self::Trap { .. } => PacketKind::Trap,
            Self::PollRegMem(_) => PacketKind::PollRegMem,
            Self::VmInvalidation(_) => PacketKind::VmInvalidation,
            Self::CondExe { .. } => PacketKind::CondExe,
            Self::Atomic(_) => PacketKind::Atomic,
            Self::ConstFill(_) => PacketKind::ConstFill,
            Self::PtePde(_) => PacketKind::PtePde,
            Self::Timestamp(_) => PacketKind::Timestamp,
            Self::SrbmWrite(_) => PacketKind::SrbmWrite,
            Self::GcrReq => PacketKind::GcrReq,
            Self::Unknown { .. } => PacketKind::Unknown,
        }
    }
}

/// The kinds of [`Packet`], for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the variant of Packet with its name")]
pub enum PacketKind {
    Nop,
    CopyLinear,
    WriteLinear,
    Indirect,
    Fence,
    Trap,
    PollRegMem,
    VmInvalidation,
    CondExe,
    Atomic,
    ConstFill,
    PtePde,
    Timestamp,
    SrbmWrite,
    GcrReq,
    Unknown,
}

impl PacketKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Nop,
        Self::CopyLinear,
        Self::WriteLinear,
        Self::Indirect,
        Self::Fence,
        Self::Trap,
        Self::PollRegMem,
        Self::VmInvalidation,
        Self::CondExe,
        Self::Atomic,
        Self::ConstFill,
        Self::PtePde,
        Self::Timestamp,
        Self::SrbmWrite,
        Self::GcrReq,
        Self::Unknown,
    ];

    /// AMD's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nop => "NOP",
            Self::CopyLinear => "COPY_LINEAR",
            Self::WriteLinear => "WRITE_LINEAR",
            Self::Indirect => "INDIRECT",
            Self::Fence => "FENCE",
            Self::Trap => "TRAP",
            Self::PollRegMem => "POLL_REGMEM",
            Self::VmInvalidation => "VM_INVALIDATION",
            Self::CondExe => "COND_EXE",
            Self::Atomic => "ATOMIC",
            Self::ConstFill => "CONST_FILL",
            Self::PtePde => "PTEPDE",
            Self::Timestamp => "TIMESTAMP",
            Self::SrbmWrite => "SRBM_WRITE",
            Self::GcrReq => "GCR_REQ",
            Self::Unknown => "unknown",
        }
    }
}
