//! What happened to the device, in order and with times: resets, losses, faults, page-table updates, fences, interrupts.
//!
//! [`Journal`] is plain state. Whoever owns the device tells it the time. Its memory is bounded: the oldest records go first, and the
//! numbers of the records show that some are gone.

mod journal;
mod kind;

pub use journal::{Journal, KEPT, Summary, first_at};
pub use kind::{
    EngineName, Event, Fate, Hex, Hub, LossCause, ResetKind, Side, TableLevel, UpdateKind, UpdateTarget,
    engine_of_queue,
};
pub use protocol::event::Record;
pub use protocol::state::{LossSummary, ResetSummary};
