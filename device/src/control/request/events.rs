//! What happened.

use std::sync::Arc;

use super::{Fields, RequestError};
use crate::event::{KEPT, Record};
use crate::function::GpuFunction;

/// How many events are told if nobody says.
const LIMIT: usize = 1000;

/// A list of events, or a stream of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Go on with those that happen from now on, one a line.
    pub follow: bool,
    /// The first of them.
    pub since: Option<u64>,
    /// How many at most.
    pub limit: Option<u64>,
}

impl Events {
    pub(super) fn parse(fields: &mut Fields) -> Result<Self, RequestError> {
        Ok(Self {
            follow: fields.word("follow", "true or false")?.unwrap_or(false),
            since: fields.number("since", "an event")?,
            limit: fields.number("limit", "events")?,
        })
    }

    /// The list, on the device thread: from `since` on the oldest, without it the latest.
    pub fn list(self, function: &mut GpuFunction) -> Vec<Arc<Record>> {
        function.gpu_mut().flush_journal();
        let journal = function.gpu().journal();
        let limit = self.limit.map_or(LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX).min(KEPT)
        });
        let since = self
            .since
            .unwrap_or_else(|| journal.next_seq().saturating_sub(limit as u64));
        journal.since(since).take(limit).cloned().collect()
    }
}
