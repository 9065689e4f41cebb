//! The graphics block (GC 10.1.2 and 10.3.0) without shaders: GRBM, RLC, the command processor with its graphics, compute and kernel interface
//! queues, and as much of PM4 as kernels need to come up, schedule, synchronise and recover.
//!
//! * [`spec`]: register tables, offsets and fields; the only place with numbers of one ASIC
//! * [`GfxRegisters`]: the registers and what they do at once
//! * [`HqdImage`], [`QueueSetup`]: a queue descriptor, from registers or from an MQD in memory
//! * [`pm4`]: packets as values
//! * [`CommandProcessor`]: queues and the execution of packets, in steps with a [`Budget`]
//! * [`CpEvent`]: what becomes an interrupt or an invalidation
//!
//! # How the two halves meet
//!
//! Command streams write and poll registers, so execution and registers are separate values, and the device wires them:
//!
//! ```text
//! MMIO write -> GfxRegisters::write -> GfxEffect::Cp(command) -> CommandProcessor::apply
//!                                   -> GfxEffect::{Event, ResetSdma, Rlcg} -> the device
//! doorbell   -> CommandProcessor::doorbell
//! run        -> GfxRegisters::cp_config -> CommandProcessor::step(bus: memory + all registers)
//!               then apply the effects of the stream's own register writes, in order,
//!               then GfxRegisters::publish each of CommandProcessor::take_changes, then deliver the events
//! ```
//!
//! Fences are in memory when their event is returned. INVALIDATE_TLBS ends the step, so that the fence behind it is written only after
//! the device has invalidated.
//!
//! # What it does not do
//!
//! * Draw, dispatch, or anything else that needs a shader, the GDS or a performance counter. Such packets are skipped by their length
//!   and counted ([`CpStats::unmodelled`]); the fences behind them come.
//! * Preempt within a stream: UNMAP_QUEUES takes a queue off between two packets and forgets what it was in.
//! * KFD's run lists (RUN_LIST, MAP_PROCESS): the HIQ is mapped and answers QUERY_STATUS, user queues never run. AQL neither.
//! * Queue priorities, quanta, several contexts in flight, the separation of PFP, ME and CE: a queue executes in order.
//! * The legacy ring registers CP_RB0_* and CP_RB1_*: stored (`amdgpu.async_gfx_ring=0` is not supported).
//! * Doorbell ranges (CP_MEC_DOORBELL_RANGE_*): a queue's own doorbell is enough.
//! * Firmware: the RLC is done when the PSP says so, and nothing is checked. Clock and power gating: stored.
//! * Registers per shader engine: GRBM_GFX_INDEX is stored and selects nothing; all engines have the same configuration.
//! * SQ_CMD and wave state: there are no waves, SQ_IND_DATA reads 0.
//!
//! # Judgement
//!
//! An indirect buffer that cannot be read is left and its fence comes; a bad opcode, or a user stream's
//! access to a register that is not its, stops the queue until it is mapped anew. CP_VMID_RESET acts on the queues it names and not on
//! its VMID mask. The value of GB_ADDR_CONFIG was not read from a card; kernels only hand
//! it on to user space, for tiling.

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
