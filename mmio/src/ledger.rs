//! What a guest touched that is not modelled, and what it spins on.

use std::collections::HashMap;

use crate::RegOffset;

/// Distinct unmodelled registers that are told apart; what comes after is only counted in [`Ledger::untracked`].
const TRACKED: usize = 4096;
/// Reads of one register in a row, with one value, from which the guest counts as spinning.
const SPIN_THRESHOLD: u64 = 1000;

/// Read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The guest read.
    Read,
    /// The guest wrote this value.
    Write(u32),
}

/// An unmodelled register and how often it was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Where.
    pub offset: RegOffset,
    /// Reads so far.
    pub reads: u64,
    /// Writes so far.
    pub writes: u64,
    /// The last value written.
    pub last_write: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    reads: u64,
    writes: u64,
    last_write: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    offset: RegOffset,
    value: u32,
    length: u64,
    report_at: u64,
}

/// Counts accesses to registers that no block claims, and notices a guest that polls one register without end.
#[derive(Debug, Default)]
pub struct Ledger {
    touched: HashMap<RegOffset, Counts>,
    untracked: u64,
    run: Option<Run>,
}

impl Ledger {
    /// Notes an access to an unmodelled register. Returns whether it is the first to this register, and so worth a log line.
    pub fn unmodelled(&mut self, offset: RegOffset, direction: Direction) -> bool {
        let new = !self.touched.contains_key(&offset);
        if new && self.touched.len() >= TRACKED {
            self.untracked += 1;
            return false;
        }
        let counts = self.touched.entry(offset).or_default();
        match direction {
            Direction::Read => counts.reads += 1,
            Direction::Write(value) => {
                counts.writes += 1;
                counts.last_write = Some(value);
            }
        }
        new
    }

    /// Notes a read of any register. Returns the length of the run of equal reads each time it passes the threshold and then each
    /// time it has grown tenfold.
    pub fn read(&mut self, offset: RegOffset, value: u32) -> Option<u64> {
        match &mut self.run {
            Some(run) if run.offset == offset && run.value == value => {
                run.length += 1;
                if run.length == run.report_at {
                    run.report_at = run.report_at.saturating_mul(10);
                    return Some(run.length);
                }
            }
            run => {
                *run = Some(Run {
                    offset,
                    value,
                    length: 1,
                    report_at: SPIN_THRESHOLD,
                });
            }
        }
        None
    }

    /// Notes a write: whatever the guest polled, it has gone on.
    pub fn write(&mut self) {
        self.run = None;
    }

    /// Unmodelled registers, most frequently touched first.
    pub fn touched(&self) -> Vec<Touch> {
        let mut touched: Vec<Touch> = self
            .touched
            .iter()
            .map(
                |(
                    &offset,
                    &Counts {
                        reads,
                        writes,
                        last_write,
                    },
                )| Touch {
                    offset,
                    reads,
                    writes,
                    last_write,
                },
            )
            .collect();
        touched.sort_by_key(|touch| (std::cmp::Reverse(touch.reads + touch.writes), touch.offset));
        touched
    }

    /// Accesses to further registers after the table was full.
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RegOffset = RegOffset::from_byte(0x10);
    const B: RegOffset = RegOffset::from_byte(0x20);

    #[test]
    fn each_register_is_new_once_and_the_list_is_sorted_by_frequency() {
        let mut ledger = Ledger::default();
        assert!(ledger.unmodelled(A, Direction::Read));
        assert!(ledger.unmodelled(B, Direction::Write(7)));
        assert!(!ledger.unmodelled(B, Direction::Read));
        let touched = ledger.touched();
        assert_eq!(
            touched[0],
            Touch {
                offset: B,
                reads: 1,
                writes: 1,
                last_write: Some(7)
            }
        );
        assert_eq!(touched[1].offset, A);
    }

    #[test]
    fn a_guest_cannot_make_the_ledger_grow_without_bound() {
        let mut ledger = Ledger::default();
        for dword in 0..10_000 {
            ledger.unmodelled(RegOffset::from_dword(dword), Direction::Read);
        }
        assert_eq!(ledger.touched().len(), TRACKED);
        assert_eq!(ledger.untracked(), 10_000 - TRACKED as u64);
    }

    #[test]
    fn spinning_is_reported_at_the_threshold_and_then_tenfold() {
        let mut ledger = Ledger::default();
        let reports: Vec<u64> = (0..20_000).filter_map(|_| ledger.read(A, 0)).collect();
        assert_eq!(reports, [1_000, 10_000]);
    }

    #[test]
    fn a_changed_value_or_a_write_ends_the_run() {
        let mut ledger = Ledger::default();
        for step in 0..5_000_u32 {
            assert_eq!(ledger.read(A, step), None);
        }
        for _ in 0..5 {
            assert!((0..999).all(|_| ledger.read(B, 1).is_none()));
            ledger.write();
        }
    }
}
