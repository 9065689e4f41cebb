#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cp;
mod event;
mod exchange;
mod exec;
mod fetch;
mod gate;
mod kiq;
pub mod pm4;
mod queue;
mod registers;
pub mod spec;
mod state;
mod stats;

#[cfg(test)]
mod tests;

pub use cp::CommandProcessor;
pub use event::{
    CpEvent, CpInterrupt, IH_CLIENT_GRBM_CP, IH_SOURCE_BAD_OPCODE, IH_SOURCE_EOP, IH_SOURCE_KIQ,
    IH_SOURCE_PRIV_INSTR, IH_SOURCE_PRIV_REG, LONG_WAIT,
};
pub use exchange::{Budget, CpCommand, CpConfig, CpStep, QueueChange};
pub use gate::{QueueAhead, QueueGate, QueueVerdict};
pub use queue::{HqdImage, QueueId, QueueKind, QueueSetup};
pub use registers::{GfxEffect, GfxRegisters, RlcgRequest};
pub use spec::GfxLayout;
pub use state::{HaltReason, QueueState, QueueView, Wait};
pub use stats::CpStats;
