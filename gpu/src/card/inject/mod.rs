//! Faults on command.
//!
//! A fault is armed by a request, waits in the [`Armory`] for its moment, and happens there as a broken part would make it happen: the
//! block in question is not told why it stands still or what became of its packet. The blocks have neutral places where they ask
//! whether they may go on ([`sdma_engine::Gate`], [`QueueGate`](cp_engine::QueueGate)); while nothing is armed, asking is one branch.
//!
//! * `fault`: the kinds and their parameters
//! * `armory`: which are armed, how often they happen, what is told about it
//! * `packets`: engines: what becomes of a packet
//! * `interrupts`: what becomes of interrupts, and of the acknowledgements of invalidations
//! * `processors`: what becomes of commands and messages to the security processor and the management unit
//! * `host`: what becomes of messages to the host of a virtual function, and of what it leaves in VRAM
//! * `resets`: what becomes of resets
//!
//! Nothing here recognises a driver, a client or a test: an opportunity is a packet, an entry, an interrupt or a command like any other.

mod armory;
mod fault;
mod host;
mod interrupts;
mod packets;
mod processors;
mod resets;
#[cfg(test)]
mod tests;

pub use protocol::state::ArmedView;

pub use armory::{Armory, InjectError, Order};
pub use fault::{EngineName, Fault, HangWhen, InterruptPart, ResetFailure};
pub(super) use host::HostVerdict;
pub(super) use interrupts::{InterruptVerdict, Late};
pub(super) use packets::Facts;
