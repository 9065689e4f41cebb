//! What happened to the device, in order and with times: resets, losses, faults, page-table updates, fences, interrupts.
//!
//! * [`Journal`]: plain state. Whoever owns the device tells it the time. Its memory is bounded: the oldest records go first, and the
//!   numbers of the records show that some are gone.
//! * [`Feed`]: the same records for other threads. The device never waits for those who read; who falls behind learns how many
//!   records it missed.
//! * [`EventLog`]: one of these threads, which writes a file.
//!
//! `docs/events.md` is the reference of what is written.

mod feed;
mod file;
mod journal;
mod kind;

pub use feed::{Batch, Feed, Reader};
pub(crate) use file::lagged;
pub use file::{EventLog, EventLogError};
pub use journal::{Journal, KEPT, Summary};
pub use kind::{
    EngineName, Event, Fate, Hex, Hub, LossCause, ResetKind, Side, TableLevel, UpdateKind, UpdateTarget,
    engine_of_queue,
};
pub use protocol::event::Record;
pub use protocol::state::{LossSummary, ResetSummary};
