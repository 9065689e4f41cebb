//! What happened to the device, in order and with times: resets, losses, faults, page-table updates, fences, interrupts.
//!
//! The journal is plain state: whoever owns the device tells it the time, and takes from it what is to be written to a file or sent to
//! those who follow. Its memory is bounded. The oldest records go first, and the numbers of the records show that some are gone.

mod kind;

pub use kind::{Event, LossCause, ResetKind, TableLevel, UpdateKind, UpdateTarget};

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// Records that are kept.
const KEPT: usize = 1 << 14;

/// One event with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Counts from 0 without gaps.
    pub seq: u64,
    /// Microseconds since the daemon started.
    pub us: u64,
    /// How many resets that stop engines, and losses, came before: what was in VRAM or in flight earlier is of an older generation.
    pub generation: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The events so far, the latest of them.
#[derive(Debug, Default)]
pub struct Journal {
    records: VecDeque<Record>,
    next: u64,
    now: Duration,
    generation: u64,
}

impl Journal {
    /// Tells the time since the daemon started.
    pub(crate) const fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// Everything from now on is of a new generation.
    pub(crate) const fn begin_generation(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// The present generation.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes an event down.
    pub(crate) fn record(&mut self, event: Event) {
        if self.records.len() >= KEPT {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            seq: self.next,
            us: u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX),
            generation: self.generation,
            event,
        });
        self.next = self.next.saturating_add(1);
    }

    /// The records from number `seq` on that are still there, oldest first.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Record> {
        self.records.iter().skip_while(move |record| record.seq < seq)
    }

    /// The number that the next record will have.
    pub const fn next_seq(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_numbers_times_and_generations() {
        let mut journal = Journal::default();
        journal.record(Event::FrontEnd { connected: true });
        journal.set_time(Duration::from_micros(7));
        journal.begin_generation();
        journal.record(Event::FrontEnd { connected: false });
        let lines: Vec<_> = journal
            .since(0)
            .map(|record| serde_json::to_string(record).unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                r#"{"seq":0,"us":0,"generation":0,"event":"front-end","connected":true}"#,
                r#"{"seq":1,"us":7,"generation":1,"event":"front-end","connected":false}"#
            ]
        );
        assert_eq!(journal.since(1).count(), 1);
    }

    #[test]
    fn the_oldest_records_go_first() {
        let mut journal = Journal::default();
        for _ in 0..KEPT + 3 {
            journal.record(Event::FrontEnd { connected: true });
        }
        assert_eq!(journal.since(0).count(), KEPT);
        assert_eq!(journal.since(0).next().map(|record| record.seq), Some(3));
        assert_eq!(journal.next_seq(), KEPT as u64 + 3);
    }
}
