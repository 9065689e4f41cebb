//! When something wants to run.

use std::time::Duration;

/// When an engine wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Duration),
    None,
}

/// Whether the engines have more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Run again at once.
    Busy,
    /// Nothing to do for this long, unless something is written.
    Wait(Duration),
    /// Nothing to do until something is written.
    Idle,
}
