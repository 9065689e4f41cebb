//! What registers tell the engine, and what the engine tells the registers.

use std::time::Duration;

use gart::{GpuVa, Vmid};

use crate::HaltReason;

/// A write pointer that has to be read from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WptrShadow {
    /// Where it lies, in the ring's context. A 64-bit byte count.
    pub at: GpuVa,
    /// How often to look.
    pub interval: Duration,
}

/// A snapshot of the kernel queue's registers, taken by [`SdmaRegisters::queue_config`](crate::SdmaRegisters::queue_config) before
/// each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// F32_CNTL.HALT or RESET: nothing runs.
    pub halted: bool,
    /// FREEZE.FREEZE: nothing runs, but everything is kept.
    pub frozen: bool,
    /// RB_CNTL.RB_ENABLE.
    pub ring_enabled: bool,
    /// IB_CNTL.IB_ENABLE.
    pub ib_enabled: bool,
    /// CNTL.TRAP_ENABLE.
    pub trap_enabled: bool,
    /// Address of the ring.
    pub ring_base: GpuVa,
    /// Size of the ring in bytes: a power of two.
    pub ring_bytes: u64,
    /// Context of the ring, of its write-back and of its shadow.
    pub ring_vmid: Vmid,
    /// RB_RPTR in bytes: what the driver wrote, or what the engine published.
    pub rptr: u64,
    /// Counts writes to RB_RPTR from outside. A new value makes the engine take [`rptr`](Self::rptr).
    pub rptr_generation: u32,
    /// Counts events that make the engine drop the packet in flight: halt, ring disable, another ring, soft reset.
    pub stop_generation: u32,
    /// RB_WPTR in bytes.
    pub wptr: u64,
    /// Where the write pointer lies in memory, if it comes from there.
    pub wptr_shadow: Option<WptrShadow>,
    /// Where the read pointer is written back, if it is.
    pub rptr_writeback: Option<GpuVa>,
}

/// Where the engine is inside an indirect buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IbStatus {
    /// Context of the buffer.
    pub vmid: Vmid,
    /// Its address.
    pub base: GpuVa,
    /// Its size in dwords.
    pub dwords: u32,
    /// The packet being executed, as a distance in bytes from the base.
    pub position: u64,
}

/// What the engine shows in its registers, published by [`SdmaRegisters::publish`](crate::SdmaRegisters::publish) after each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStatus {
    /// Read pointer in bytes: start of the ring's packet in flight, or of the next one.
    pub rptr: u64,
    /// The [`QueueConfig::rptr_generation`] that `rptr` goes on from.
    pub rptr_generation: u32,
    /// The write pointer found in memory, if it comes from there.
    pub wptr: Option<u64>,
    /// A packet has been begun and not ended, or the ring has unread packets that the engine may execute.
    pub busy: bool,
    /// A packet has been begun and not ended.
    pub in_flight: bool,
    /// The packet in flight moves data.
    pub transferring: bool,
    /// The engine has seen FREEZE and stands still.
    pub frozen: bool,
    /// Why the engine stopped for good.
    pub halted: Option<HaltReason>,
    /// The indirect buffer, while inside one.
    pub ib: Option<IbStatus>,
    /// Header of the latest packet.
    pub header: u32,
    /// Context of the latest packet.
    pub vmid: Vmid,
}
