//! Those who look on: what happens to the part is taken down, and nothing of it changes what the part does.

use std::time::Duration;

use protocol::stats::{PageTableUpdates, RegisterAccesses};

use super::oracle::{Moment, Oracle};
use crate::event::Journal;

/// The observers.
#[derive(Debug, Default)]
pub(super) struct Observers {
    pub(super) journal: Journal,
    pub(super) oracle: Oracle,
    /// Accesses of the guest's CPUs to BAR 5.
    pub(super) accesses: RegisterAccesses,
    pub(super) page_tables: PageTableUpdates,
}

impl Observers {
    /// When a look is taken that is taken now.
    pub(super) const fn moment(&self, now: Duration, losing: bool) -> Moment {
        Moment {
            generation: self.journal.generation(),
            now,
            losing,
        }
    }
}
