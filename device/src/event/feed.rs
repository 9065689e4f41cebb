//! Records on their way from the device's thread to those who read them.
//!
//! One ring for all readers, each with a place of its own in it: what a reader costs does not grow with how slow it is. The device's
//! thread gives records away once a turn, and does not wait for the ring either: what it cannot give away now goes with the next
//! turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::{Journal, KEPT, Record};
use gpu::event::first_at;

/// Records that a reader gets at once, so that it keeps the ring for microseconds only.
const BATCH: usize = 512;

#[derive(Debug)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    /// How many records are kept.
    capacity: usize,
    /// Number of the record that comes next.
    next: u64,
    /// No more will come.
    closed: bool,
    /// Readers that sleep.
    sleeping: usize,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    news: Condvar,
}

impl Shared {
    /// A thread that panicked here left whole records behind.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records for other threads.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

impl Default for Feed {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

impl Feed {
    /// A feed that keeps this many records for those who fall behind.
    pub fn new(capacity: usize) -> Self {
        let ring = Ring {
            records: VecDeque::new(),
            capacity,
            next: 0,
            closed: false,
            sleeping: 0,
        };
        Self(Arc::new(Shared {
            ring: Mutex::new(ring),
            news: Condvar::new(),
        }))
    }

    /// Gives the readers what is new in the journal. Returns whether nothing is left to be given: the ring may be in use at this
    /// moment.
    pub fn publish(&self, journal: &Journal) -> bool {
        let mut ring = match self.0.ring.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.give(&mut ring, journal);
        true
    }

    /// The same, and no more will come. Waits for the ring, but for nobody who reads.
    pub fn close(&self, journal: &Journal) {
        let mut ring = self.0.lock();
        ring.closed = true;
        self.give(&mut ring, journal);
        self.0.news.notify_all();
    }

    fn give(&self, ring: &mut Ring, journal: &Journal) {
        for record in journal.since(ring.next) {
            if ring.records.len() >= ring.capacity {
                ring.records.pop_front();
            }
            // A gap: numbers have to be without, so that a place in the ring follows from them.
            if record.seq != ring.next {
                ring.records.clear();
            }
            ring.next = record.seq.saturating_add(1);
            ring.records.push_back(Arc::clone(record));
        }
        if ring.sleeping > 0 {
            self.0.news.notify_all();
        }
    }

    /// Someone who reads from number `since` on, or from the oldest that is there.
    pub fn reader(&self, since: Option<u64>) -> Reader {
        Reader {
            shared: Arc::clone(&self.0),
            next: since.unwrap_or(0),
            counts: since.is_some(),
        }
    }
}

/// What a reader gets at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many records were gone before it could read them. They come before `records`.
    pub missed: u64,
    /// The records, oldest first.
    pub records: Vec<Arc<Record>>,
    /// No more will ever come.
    pub closed: bool,
}

/// A place in the feed.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
    /// Whether what is gone before `next` is missed.
    counts: bool,
}

impl Reader {
    /// The next records. Waits for the first of them for `patience`, after which there may be none.
    pub fn next(&mut self, patience: Duration) -> Batch {
        let deadline = Instant::now() + patience;
        let shared = Arc::clone(&self.shared);
        let mut ring = shared.lock();
        loop {
            let batch = self.take(&ring);
            let left = deadline.saturating_duration_since(Instant::now());
            if !batch.records.is_empty() || batch.closed || left.is_zero() {
                return batch;
            }
            ring.sleeping += 1;
            let woken = shared.news.wait_timeout(ring, left);
            ring = woken.unwrap_or_else(PoisonError::into_inner).0;
            ring.sleeping -= 1;
        }
    }

    fn take(&mut self, ring: &Ring) -> Batch {
        let from = first_at(&ring.records, self.next);
        let records: Vec<_> = ring.records.range(from..).take(BATCH).cloned().collect();
        let mut batch = Batch {
            missed: 0,
            closed: ring.closed && from + records.len() == ring.records.len(),
            records,
        };
        if let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) {
            if self.counts {
                batch.missed = first.seq.saturating_sub(self.next);
            }
            self.counts = true;
            self.next = last.seq.saturating_add(1);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;

    fn note(journal: &mut Journal, count: usize) {
        for _ in 0..count {
            journal.record(Event::FrontEnd { connected: true });
        }
    }

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn every_reader_gets_every_record_in_order() {
        let (feed, mut journal) = (Feed::default(), Journal::default());
        note(&mut journal, 2);
        assert!(feed.publish(&journal));
        let (mut all, mut later) = (feed.reader(None), feed.reader(Some(1)));
        assert_eq!(seqs(&all.next(Duration::ZERO)), [0, 1]);
        assert_eq!(seqs(&later.next(Duration::ZERO)), [1]);
        assert!(all.next(Duration::ZERO).records.is_empty());
        note(&mut journal, 1);
        feed.close(&journal);
        let last = all.next(Duration::ZERO);
        assert_eq!((seqs(&last), last.closed), (vec![2], true));
        assert!(all.next(Duration::from_secs(60)).closed, "and does not wait");
    }

    #[test]
    fn a_reader_sleeps_until_something_comes() {
        let (feed, mut journal) = (Feed::default(), Journal::default());
        let mut reader = feed.reader(None);
        let waits = thread::spawn(move || seqs(&reader.next(Duration::from_secs(60))));
        note(&mut journal, 1);
        assert!(feed.publish(&journal) || feed.publish(&journal));
        assert_eq!(waits.join().unwrap(), [0]);
    }

    #[test]
    fn the_device_does_not_wait_for_a_ring_that_is_in_use() {
        let (feed, mut journal) = (Feed::default(), Journal::default());
        note(&mut journal, 1);
        let in_use = feed.0.lock();
        assert!(!feed.publish(&journal), "nothing was given away");
        drop(in_use);
        assert!(feed.publish(&journal));
        assert_eq!(seqs(&feed.reader(None).next(Duration::ZERO)), [0]);
    }

    #[test]
    fn who_falls_behind_learns_how_many_records_it_missed() {
        let (feed, mut journal) = (Feed::new(100), Journal::default());
        note(&mut journal, 1);
        feed.publish(&journal);
        let mut reader = feed.reader(None);
        assert_eq!(reader.next(Duration::ZERO).missed, 0);
        note(&mut journal, 110);
        feed.publish(&journal);
        let batch = reader.next(Duration::ZERO);
        assert_eq!((batch.missed, batch.records.len()), (10, 100));
        assert_eq!(batch.records[0].seq, 11);
    }

    #[test]
    fn who_comes_late_has_missed_nothing() {
        let (feed, mut journal) = (Feed::new(100), Journal::default());
        note(&mut journal, 110);
        feed.publish(&journal);
        let batch = feed.reader(None).next(Duration::ZERO);
        assert_eq!((batch.missed, batch.records[0].seq), (0, 10));
        let batch = feed.reader(Some(3)).next(Duration::ZERO);
        assert_eq!((batch.missed, batch.records[0].seq), (7, 10), "it asked for them");
    }

    #[test]
    fn records_that_the_journal_itself_lost_count_as_missed() {
        let (feed, mut journal) = (Feed::default(), Journal::default());
        note(&mut journal, 1);
        feed.publish(&journal);
        let mut reader = feed.reader(None);
        reader.next(Duration::ZERO);
        note(&mut journal, KEPT + 5);
        feed.publish(&journal);
        let batch = reader.next(Duration::ZERO);
        assert_eq!((batch.missed, batch.records[0].seq), (5, 6));
    }

    proptest! {
        /// However fast records come and are read: those read and those missed are all, and the ring does not grow beyond its bound.
        #[test]
        fn nothing_goes_unaccounted(steps in prop::collection::vec((0usize..40, 0usize..3), 1..60)) {
            let (feed, mut journal) = (Feed::new(50), Journal::default());
            let mut reader = feed.reader(None);
            note(&mut journal, 1);
            feed.publish(&journal);
            let mut accounted = reader.next(Duration::ZERO).records.len() as u64;
            for (written, read) in steps {
                note(&mut journal, written);
                feed.publish(&journal);
                prop_assert!(feed.0.lock().records.len() <= 50);
                for _ in 0..read {
                    let batch = reader.next(Duration::ZERO);
                    if let Some(first) = batch.records.first() {
                        prop_assert_eq!(first.seq, accounted + batch.missed);
                    }
                    accounted += batch.missed + batch.records.len() as u64;
                }
            }
            feed.close(&journal);
            loop {
                let batch = reader.next(Duration::ZERO);
                accounted += batch.missed + batch.records.len() as u64;
                if batch.closed { break; }
            }
            prop_assert_eq!(accounted, journal.next_seq());
        }
    }
}
