//! What happened to the device, for other threads.
//!
//! * [`Journal`]: the records themselves, which the GPU takes down.
//! * [`Feed`]: the same records for other threads. The device never waits for those who read; who falls behind learns how many
//!   records it missed.
//! * [`EventLog`]: one of these threads, which writes a file.
//!
//! `docs/events.md` is the reference of what is written.

mod feed;
mod file;

pub use feed::{Batch, Feed, Reader};
pub(crate) use file::lagged;
pub use file::{EventLog, EventLogError};
pub use gpu::event::{
    EngineName, Event, Fate, Hex, Hub, Journal, KEPT, LossCause, LossSummary, Record, ResetKind,
    ResetSummary, Side, Summary, TableLevel, UpdateKind, UpdateTarget, engine_of_queue,
};
