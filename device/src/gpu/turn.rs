//! When something wants to run.

use std::time::Duration;

/// When an engine wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Duration),
    None,
}
