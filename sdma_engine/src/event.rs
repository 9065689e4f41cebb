//! What a step returns and what it tells the device.

use std::time::Duration;

use gart::{GpuVa, Vmid};
use mmio::RegOffset;
use thiserror::Error;

/// How much one step may do. The device gives a fresh one to every step; what is left tells what was used.
///
/// Work that is bounded by itself (a fence, a register write) costs a packet; data cost their bytes as well. A step that begins with
/// less than [`MIN_BYTES`](Self::MIN_BYTES) may get nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Packets that may be begun.
    pub packets: u32,
    /// Bytes that may be copied, filled or written.
    pub bytes: u64,
}

impl Budget {
    /// What a transfer needs to move on: one page-table entry.
    pub const MIN_BYTES: u64 = 8;
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The budget is used up, or registers were written whose effects have to happen first: step again.
    Progress,
    /// Nothing to do until a register is written or a doorbell rings: no packet, half a packet, or an INDIRECT while IB_ENABLE is clear.
    Idle,
    /// The packet in flight waits: step again after the interval, or earlier if what it waits for may have happened.
    Waiting(Wait),
    /// A packet stopped the engine. Only [`Engine::reset`](crate::Engine::reset) helps.
    Halted(HaltReason),
    /// The engine hangs, as it was told to. Only [`Engine::reset`](crate::Engine::reset) helps.
    Hung,
}

/// What an engine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Time until the next look.
    pub interval: Duration,
    /// When the wait began, on the clock of the steps.
    pub since: Duration,
    /// What is looked at.
    pub target: WaitTarget,
}

/// What an engine looks at while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitTarget {
    /// Memory: POLL_REGMEM, or an ATOMIC that repeats.
    Memory {
        /// Context of the address.
        vmid: Vmid,
        /// The address.
        at: GpuVa,
    },
    /// A register: POLL_REGMEM, or the acknowledgement of an invalidation.
    Register(RegOffset),
    /// The write pointer's shadow in memory.
    WritePointer(GpuVa),
    /// Nothing but time: the packet is [delayed](crate::Verdict::Delay).
    Delay,
}

/// Why an engine stopped for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HaltReason {
    /// An INDIRECT packet in an indirect buffer.
    #[error("INDIRECT inside an indirect buffer in VMID {vmid}")]
    NestedIndirect {
        /// Context of the buffer.
        vmid: Vmid,
    },
    /// An indirect buffer ends inside a packet.
    #[error("the indirect buffer in VMID {vmid} ends inside the packet {header:#010x}")]
    TruncatedIb {
        /// Header of the packet.
        header: u32,
        /// Context of the buffer.
        vmid: Vmid,
    },
    /// A packet that the engine does not know.
    #[error("unknown packet {header:#010x} in VMID {vmid}")]
    UnknownPacket {
        /// Its header.
        header: u32,
        /// Its context.
        vmid: Vmid,
    },
}

/// What the device has to know about, in the order of execution. Memory that a packet wrote is written when its event is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineEvent {
    /// TRAP, with CNTL.TRAP_ENABLE: an interrupt, source 224 (`irqsrcs_sdma0_5_0.h`).
    Trap {
        /// INT_CONTEXT.
        context: u32,
        /// Context of the packet.
        vmid: Vmid,
    },
    /// FENCE. For observers: the value is in memory.
    Fence {
        /// Where.
        at: GpuVa,
        /// The value.
        value: u32,
        /// Context of the packet.
        vmid: Vmid,
    },
    /// A packet wrote what may be page-table entries. For observers: it has happened.
    PageTableUpdate {
        /// How they were written.
        kind: PtePacket,
        /// Where the first one lies.
        dst: GpuVa,
        /// How many.
        entries: u64,
        /// Context of the packet: 0.
        vmid: Vmid,
    },
    /// COPY_LINEAR copied bytes that could be a page table: in VMID 0, not out of an indirect buffer, whole entries, and no more than
    /// [`Self::LARGEST_TABLE`]. For observers: it has happened.
    Copied {
        /// Where they were.
        src: GpuVa,
        /// Where they are now too.
        dst: GpuVa,
        /// How many.
        bytes: u64,
        /// Context of the packet: 0.
        vmid: Vmid,
    },
    /// POLL_REGMEM gave up: an interrupt of source 246 on hardware. No driver asks for it.
    PollTimeout {
        /// Context of the packet.
        vmid: Vmid,
    },
    /// A packet stopped the engine. Pushed once.
    Halted(HaltReason),
}

impl EngineEvent {
    /// Bytes of the largest page table that a copy is told of; the driver's usual ones have 4 KiB. Buffers are moved in pieces of up to
    /// 4 MiB, of which nothing needs to be told.
    pub const LARGEST_TABLE: u64 = 64 << 10;
}

/// A packet that writes what may be page-table entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PteUpdate {
    /// How they are written.
    pub kind: PtePacket,
    /// Where the first one lies.
    pub dst: GpuVa,
    /// How many.
    pub entries: u64,
}

/// The three ways in which `amdgpu_vm_sdma.c` writes page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PtePacket {
    /// PTEPDE: `amdgpu_vm_set_pte_pde`.
    SetPtePde,
    /// WRITE_LINEAR: `amdgpu_vm_write_pte`.
    Write,
    /// COPY_LINEAR out of the indirect buffer: `amdgpu_vm_copy_pte`.
    Copy,
}
