//! Interrupts that are due, and those that are late.

use super::inject::Late;

/// What is left of interrupts when they have been raised.
#[derive(Debug, Default)]
pub(super) struct Interrupts {
    /// A message is due.
    pub(super) due: bool,
    /// Those that come late on command.
    pub(super) late: Late,
}
