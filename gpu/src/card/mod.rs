//! The GPU: register blocks and memory (the fabric), engines that execute, and what one asks of the other.
//!
//! Plain state. No threads, no descriptors, no clock: whoever owns it passes the time in, steps it, and asks whether an interrupt is
//! due. The order of what a guest can see is a contract: data, then the fence, then the entry in the interrupt ring, then that
//! ring's write pointer, then the interrupt.

mod accesses;
mod blocks;
mod bus;
mod config;
mod effects;
mod engines;
mod fabric;
mod faults;
mod gate;
mod gpu;
mod host;
mod inject;
mod interrupts;
mod losing;
mod loss;
mod observe;
mod observers;
mod oracle;
mod pages;
mod power;
mod presence;
mod report;
mod reset;
mod run;
mod sriov;
mod state;
mod turn;

pub use config::{GpuConfig, GpuError, VfConfig, VfRegisters};
pub use gpu::Gpu;
pub use inject::{ArmedView, EngineName, Fault, HangWhen, InjectError, InterruptPart, Order, ResetFailure};
pub use losing::{Loss, LossMode, POISON};
pub use oracle::{Answer, OracleReport, Outcome, Question, SnapshotReport, Ticket};
pub use protocol::oracle::{By, SpaceReport, Sums};
pub use protocol::state::{ContextState, Doing, IndirectState, QueueReport, SdmaState, SriovState, State};
pub use protocol::stats::{AccessCount, RegisterAccesses};
pub use protocol::stats::{PageTableUpdates, ResetCounts, SriovStats, Stats, UpdateCounts};
pub use protocol::tables::{TableReport, UnmodelledRegister};
pub use report::BlockRegisters;
pub use turn::Work;
