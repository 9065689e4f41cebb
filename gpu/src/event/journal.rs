//! The events so far, the latest of them, and what they add up to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Event, LossSummary, Record, ResetSummary};
use protocol::loss::LossMode;

/// Records that are kept unless somebody wants less: some 10 MB, and several seconds of the busiest guest.
pub const KEPT: usize = 1 << 16;
/// How long a page-table update waits for another that it can be told together with.
const COALESCE: Duration = Duration::from_millis(5);
/// Kinds of page-table updates that wait at once: 6.1 writes every table and then its shadow, in turns.
const WAITING: usize = 8;

/// What the records add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The latest reset of more than one engine or queue.
    pub last_reset: Option<ResetSummary>,
    /// The latest reset of one engine or queue. A driver makes some whenever it starts.
    pub last_engine_reset: Option<ResetSummary>,
    /// The latest loss.
    pub last_loss: Option<LossSummary>,
    /// Contents have become poison at least once.
    pub poisoned: bool,
    /// When the daemon started, in microseconds since 1970, UTC.
    pub began_unix_us: Option<u64>,
}

/// An update of page tables that others may join.
#[derive(Debug)]
struct Pending {
    event: Event,
    began: Duration,
}

/// The events so far, the latest of them.
#[derive(Debug)]
pub struct Journal {
    records: VecDeque<Arc<Record>>,
    /// How many records are kept.
    capacity: usize,
    /// In the order of their beginnings.
    pending: Vec<Pending>,
    next: u64,
    now: Duration,
    generation: u64,
    summary: Summary,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            capacity: KEPT,
            pending: Vec::new(),
            next: 0,
            now: Duration::ZERO,
            generation: 0,
            summary: Summary::default(),
        }
    }
}

impl Journal {
    /// Keeps this many records, and at least one. What is there too much goes with the next ones.
    pub fn keep(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    /// Tells the time since the daemon started.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
        if self.due().is_some_and(|due| due <= now) {
            self.flush();
        }
    }

    /// Everything from now on is of a new generation.
    pub fn begin_generation(&mut self) {
        self.flush();
        self.generation = self.generation.saturating_add(1);
    }

    /// The present generation.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// A time since the daemon started as one since 1970, if it is known when that was.
    pub fn unix_us(&self, us: u64) -> Option<u64> {
        Some(self.summary.began_unix_us?.saturating_add(us))
    }

    /// What the records add up to.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes an event down. A page-table update is taken down together with others of the same kind, if nothing but updates came in
    /// between.
    pub fn record(&mut self, event: Event) {
        if matches!(event, Event::PageTableUpdate { .. }) {
            let joined = self
                .pending
                .iter_mut()
                .any(|pending| join(&mut pending.event, &event));
            if !joined {
                if self.pending.len() >= WAITING {
                    self.flush();
                }
                let began = self.now;
                self.pending.push(Pending { event, began });
            }
            return;
        }
        self.flush();
        self.push(self.now, event);
    }

    /// Takes down what waits for more of its kind.
    pub fn flush(&mut self) {
        for Pending { event, began } in std::mem::take(&mut self.pending) {
            self.push(began, event);
        }
    }

    /// When [`flush`](Self::flush) has to be called at the latest, or the time be told.
    pub fn due(&self) -> Option<Duration> {
        let pending = self.pending.first()?;
        Some(pending.began.saturating_add(COALESCE))
    }

    fn push(&mut self, at: Duration, event: Event) {
        let us = micros(at);
        self.add_up(us, &event);
        while self.records.len() >= self.capacity {
            self.records.pop_front();
        }
        self.records.push_back(Arc::new(Record {
            seq: self.next,
            us,
            generation: self.generation,
            event,
        }));
        self.next = self.next.saturating_add(1);
    }

    fn add_up(&mut self, us: u64, event: &Event) {
        let Summary {
            last_reset,
            last_engine_reset,
            last_loss,
            poisoned,
            began_unix_us,
        } = &mut self.summary;
        match event {
            Event::Started { unix_us, .. } => *began_unix_us = Some(*unix_us),
            Event::ResetBegin { kind, target } => {
                let last = if target.is_some() {
                    last_engine_reset
                } else {
                    last_reset
                };
                *last = Some(ResetSummary {
                    kind: *kind,
                    target: target.clone(),
                    generation: self.generation,
                    began_us: us,
                    ended_us: None,
                });
            }
            Event::ResetEnd { kind, target } => {
                let last = if target.is_some() {
                    last_engine_reset
                } else {
                    last_reset
                };
                if let Some(last) = last
                    .as_mut()
                    .filter(|last| last.kind == *kind && last.target == *target)
                {
                    last.ended_us = Some(us);
                }
            }
            Event::LossBegin {
                mode,
                offset,
                length,
                cause,
            } => {
                *poisoned |= *mode == LossMode::Poison;
                *last_loss = Some(LossSummary {
                    mode: *mode,
                    cause: *cause,
                    offset: *offset,
                    length: *length,
                    began_us: us,
                    ended_us: None,
                    bytes: 0,
                });
            }
            Event::LossEnd { bytes, .. } => {
                if let Some(last) = last_loss {
                    last.ended_us = Some(us);
                    last.bytes = *bytes;
                }
            }
            _ => {}
        }
    }

    /// The records from number `seq` on that are still there, oldest first.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Arc<Record>> {
        self.records.range(first_at(&self.records, seq)..)
    }

    /// The number that the next record will have.
    pub const fn next_seq(&self) -> u64 {
        self.next
    }
}

/// Where in `records`, whose numbers have no gaps, those from number `seq` on begin; their length if there are none.
pub fn first_at(records: &VecDeque<Arc<Record>>, seq: u64) -> usize {
    let oldest = records.front().map_or(0, |record| record.seq);
    usize::try_from(seq.saturating_sub(oldest))
        .unwrap_or(usize::MAX)
        .min(records.len())
}

/// Adds an update to another of the same kind. Returns whether it is.
fn join(before: &mut Event, more: &Event) -> bool {
    let Event::PageTableUpdate {
        kind,
        target,
        vmid,
        level,
        packets,
        entries,
    } = before
    else {
        return false;
    };
    let Event::PageTableUpdate {
        kind: more_kind,
        target: more_target,
        vmid: more_vmid,
        level: more_level,
        packets: more_packets,
        entries: more_entries,
    } = more
    else {
        return false;
    };
    let same = (&*kind, &*target, &*vmid, &*level) == (more_kind, more_target, more_vmid, more_level);
    if same {
        *packets = packets.saturating_add(*more_packets);
        *entries = entries.saturating_add(*more_entries);
    }
    same
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{LossCause, ResetKind, TableLevel, UpdateKind, UpdateTarget};

    fn update(vmid: u8, entries: u64) -> Event {
        Event::PageTableUpdate {
            kind: UpdateKind::Write,
            target: UpdateTarget::Vram,
            vmid: Some(vmid),
            level: Some(TableLevel::Ptb),
            packets: 1,
            entries,
        }
    }

    fn lines(journal: &Journal) -> Vec<String> {
        journal
            .since(0)
            .map(|record| serde_json::to_string(record).unwrap())
            .collect()
    }

    #[test]
    fn records_have_numbers_times_and_generations() {
        let mut journal = Journal::default();
        journal.record(Event::FrontEnd { connected: true });
        journal.set_time(Duration::from_micros(7));
        journal.begin_generation();
        journal.record(Event::FrontEnd { connected: false });
        assert_eq!(
            lines(&journal),
            [
                r#"{"seq":0,"us":0,"generation":0,"event":"front-end","connected":true}"#,
                r#"{"seq":1,"us":7,"generation":1,"event":"front-end","connected":false}"#
            ]
        );
        assert_eq!(journal.since(1).count(), 1);
        assert_eq!(journal.since(2).count(), 0);
    }

    #[test]
    fn times_are_put_on_the_clock_that_the_first_record_names() {
        let mut journal = Journal::default();
        assert_eq!(journal.unix_us(7), None);
        journal.record(Event::Started {
            unix_us: 1000,
            asic: "navi21",
            personality: "bare-metal",
            vram_size: 0,
        });
        assert_eq!(journal.unix_us(7), Some(1007));
        assert_eq!(journal.since(u64::MAX).count(), 0);
    }

    #[test]
    fn the_oldest_records_go_first() {
        let mut journal = Journal::default();
        for _ in 0..KEPT + 3 {
            journal.record(Event::FrontEnd { connected: true });
        }
        assert_eq!(journal.since(0).count(), KEPT);
        assert_eq!(journal.since(0).next().map(|record| record.seq), Some(3));
        assert_eq!(journal.since(5).next().map(|record| record.seq), Some(5));
        assert_eq!(journal.next_seq(), KEPT as u64 + 3);
    }

    #[test]
    fn updates_of_one_kind_are_one_record_with_the_time_of_the_first() {
        let mut journal = Journal::default();
        journal.record(update(1, 10));
        journal.set_time(Duration::from_millis(1));
        journal.record(update(2, 1));
        journal.record(update(1, 5));
        assert_eq!(journal.since(0).count(), 0, "both kinds wait for more");
        journal.record(Event::FrontEnd { connected: true });
        assert_eq!(
            lines(&journal),
            [
                r#"{"seq":0,"us":0,"generation":0,"event":"page-table-update","kind":"write","target":"vram","vmid":1,"level":"PTB","packets":2,"entries":15}"#,
                r#"{"seq":1,"us":1000,"generation":0,"event":"page-table-update","kind":"write","target":"vram","vmid":2,"level":"PTB","packets":1,"entries":1}"#,
                r#"{"seq":2,"us":1000,"generation":0,"event":"front-end","connected":true}"#,
            ]
        );
    }

    #[test]
    fn so_many_kinds_wait_and_no_more() {
        let mut journal = Journal::default();
        for (vmid, _) in (0..).zip(0..=WAITING) {
            assert_eq!(journal.since(0).count(), 0);
            journal.record(update(vmid, 1));
        }
        assert_eq!(journal.since(0).count(), WAITING);
    }

    #[test]
    fn an_update_waits_for_others_for_5_ms_at_most() {
        let mut journal = Journal::default();
        journal.record(update(1, 1));
        assert_eq!(journal.due(), Some(Duration::from_millis(5)));
        journal.set_time(Duration::from_micros(4999));
        journal.record(update(1, 1));
        assert_eq!(journal.since(0).count(), 0);
        journal.set_time(Duration::from_millis(5));
        assert_eq!(journal.since(0).count(), 1);
        assert_eq!(journal.due(), None);
        journal.record(update(1, 1));
        journal.flush();
        assert_eq!(journal.since(0).count(), 2);
    }

    #[test]
    fn an_update_before_a_reset_is_of_the_old_generation() {
        let mut journal = Journal::default();
        journal.record(update(1, 1));
        journal.begin_generation();
        journal.record(update(1, 1));
        journal.flush();
        let generations: Vec<_> = journal.since(0).map(|record| record.generation).collect();
        assert_eq!(generations, [0, 1]);
    }

    fn note(journal: &mut Journal, count: usize) {
        for _ in 0..count {
            journal.record(Event::FrontEnd { connected: true });
        }
    }

    #[test]
    fn no_more_records_are_kept_than_there_is_room_for() {
        let mut journal = Journal::default();
        note(&mut journal, 4);
        journal.keep(3);
        note(&mut journal, 1);
        let seqs: Vec<_> = journal.since(0).map(|record| record.seq).collect();
        assert_eq!((seqs, journal.next_seq()), (vec![2, 3, 4], 5));
    }

    #[test]
    fn the_summary_knows_the_latest_reset_and_loss() {
        let mut journal = Journal::default();
        journal.begin_generation();
        let (kind, target) = (ResetKind::Mode1Smu, None);
        journal.record(Event::ResetBegin { kind, target: None });
        journal.record(Event::LossBegin {
            mode: LossMode::Poison,
            offset: 0,
            length: 4096,
            cause: LossCause::Reset,
        });
        let open = journal.summary().clone();
        assert_eq!(open.last_reset.and_then(|reset| reset.ended_us), None);
        assert_eq!(open.last_loss.and_then(|loss| loss.ended_us), None);
        assert!(open.poisoned);
        journal.set_time(Duration::from_micros(9));
        journal.record(Event::LossEnd {
            mode: LossMode::Poison,
            cause: LossCause::Reset,
            bytes: 100,
            us_taken: 9,
        });
        journal.record(Event::ResetEnd { kind, target });
        let target = Some("sdma0".to_owned());
        let kind = ResetKind::SoftSdma;
        journal.record(Event::ResetBegin { kind, target });
        let summary = journal.summary();
        assert!(summary.last_engine_reset.is_some());
        let reset = summary.last_reset.as_ref().unwrap();
        assert_eq!(
            (reset.generation, reset.began_us, reset.ended_us),
            (1, 0, Some(9))
        );
        let loss = summary.last_loss.as_ref().unwrap();
        assert_eq!((loss.ended_us, loss.bytes), (Some(9), 100));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Update(u8, u64),
        Other,
        Wait(u64),
        Generation,
    }

    proptest! {
        /// However updates and other events come, nothing is lost or told out of order, and numbers have no gaps.
        #[test]
        fn coalescing_loses_nothing(acts in prop::collection::vec(prop_oneof![
            4 => (0u8..12, 1u64..9).prop_map(|(vmid, entries)| Act::Update(vmid, entries)),
            1 => Just(Act::Other),
            1 => (0u64..4000).prop_map(Act::Wait),
            1 => Just(Act::Generation),
        ], 0..200)) {
            let mut journal = Journal::default();
            let (mut now, mut entries, mut packets, mut others) = (Duration::ZERO, 0, 0, 0);
            for act in acts {
                match act {
                    Act::Update(vmid, count) => {
                        journal.record(update(vmid, count));
                        entries += count;
                        packets += 1;
                    }
                    Act::Other => {
                        journal.record(Event::FrontEnd { connected: true });
                        others += 1;
                    }
                    Act::Wait(us) => {
                        now += Duration::from_micros(us);
                        journal.set_time(now);
                        prop_assert!(journal.due().is_none_or(|due| due > now));
                    }
                    Act::Generation => journal.begin_generation(),
                }
            }
            journal.flush();
            let (mut told_entries, mut told_packets, mut told_others) = (0, 0, 0);
            let mut before = (0, 0);
            for (expected, record) in (0..).zip(journal.since(0)) {
                prop_assert_eq!(record.seq, expected);
                prop_assert!((record.us, record.generation) >= before || record.us >= before.0 && record.generation >= before.1);
                before = (record.us, record.generation);
                match record.event {
                    Event::PageTableUpdate { packets, entries, .. } => {
                        told_packets += packets;
                        told_entries += entries;
                    }
                    _ => told_others += 1,
                }
            }
            prop_assert_eq!((told_packets, told_entries, told_others), (packets, entries, others));
        }
    }
}
