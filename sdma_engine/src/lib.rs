#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod decode;
mod engine;
mod event;
mod exec;
mod fields;
mod gate;
mod packet;
mod queue;
mod registers;
mod stats;
mod stream;
mod table;
mod transfer;
mod wait;
mod wire;

use std::time::Duration;

pub use decode::{Incomplete, MAX_DWORDS, decode};
pub use engine::{Engine, InvalidateRegisters};
pub use event::{Budget, EngineEvent, HaltReason, PtePacket, PteUpdate, Step, Wait, WaitTarget};
pub use gate::{Ahead, Gate, Verdict};
pub use packet::{
    Atomic, AtomicOp, AtomicWidth, ConstFill, CopyLinear, Indirect, Packet, PacketKind, PollFunction,
    PollRegMem, PollTarget, PtePde, Retries, SrbmWrite, Timestamp, VmInvalidation, WriteLinear,
};
pub use queue::{EngineStatus, IbStatus, QueueConfig, WptrShadow};
pub use registers::{NAVI12, NAVI21, Placement, SdmaEffect, SdmaRegisters, StartedBy};
pub use stats::{PageTableStats, Stats};
pub use table::{Generation, SDMA_5_0, SDMA_5_2, offset};

/// The unit of the intervals in POLL_REGMEM, ATOMIC and RB_WPTR_POLL_CNTL. Hardware's is not documented; a microsecond keeps the
/// driver's usual 4 and 10 short beside a job and long beside a poll.
pub const POLL_UNIT: Duration = Duration::from_micros(1);

/// Bytes that a transfer moves at a time.
pub const SLICE: u64 = 256 << 10;

/// Ticks per second of the counters that TIMESTAMP reads: the reference clock of 100 MHz (6.1 `nv_get_xclk`).
pub const TIMESTAMP_HZ: u32 = 100_000_000;

#[cfg(test)]
mod tests;
