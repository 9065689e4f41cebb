//! Looks at every address space, and comparisons with what they mapped before, in turns.
//!
//! Page tables of a gigabyte of VRAM can hold millions of entries, and the front end must not wait for all of them. So a look is a state
//! that is taken further between two messages. Engines stand still meanwhile, and contents that are to be lost are not lost before a look
//! is over, so that all of it is of one moment as far as packets can tell.

use std::time::Duration;

use gart::{
    CollectBudget, Collector, Comparer, Comparison, Context, Mappings, PhysicalMemory, Sieve, Splitter,
    WalkBudget,
};

use protocol::oracle::SpaceReport;

use super::report;
use super::restored::WholeWalk;
use super::spaces::{Space, SpaceId};
use super::{Moment, Oracle};

/// Entries that are loaded, or runs that are looked at, between two looks at the front end: about a millisecond, some where memory is first touched.
const TURN: u64 = 1 << 16;
/// What a run costs that is compared, in entries that are loaded.
const COMPARE_COST: u64 = 4;
/// What an entry of [`WholeWalk`] costs: a search in the reference, and in what was restored.
const WHOLE_COST: u64 = 8;

/// Does something of which a unit costs more than an entry that is loaded.
fn at_cost<T>(cost: u64, left: &mut u64, work: impl FnOnce(&mut u64) -> T) -> T {
    // One unit at least, so that a turn that is nearly over ends.
    let given = (*left / cost).max(1);
    let mut rest = given;
    let outcome = work(&mut rest);
    *left = if rest == 0 {
        0
    } else {
        left.saturating_sub(given.saturating_sub(rest).saturating_mul(cost))
    };
    outcome
}

/// What a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::card) enum Purpose {
    /// The present generation ends. Spaces that are still to come back keep the reference that they have.
    Generation,
    /// Somebody asked for a snapshot: every space gets a new reference.
    Snapshot,
    /// Somebody asked for a comparison.
    Comparison,
}

/// What all looks of one survey may do, and keep: as much as page tables in an eighth of VRAM hold, up to those of 64 GiB of 4 KiB pages.
pub(super) fn budget(vram_size: u64) -> CollectBudget {
    let runs = (vram_size / 64).min(1 << 24);
    CollectBudget {
        walk: WalkBudget {
            // A table of the usual size for 512 entries, and whatever large ones there are.
            tables: (runs / 256).max(1 << 14),
            entries: runs.saturating_mul(2),
        },
        runs: usize::try_from(runs).unwrap_or(usize::MAX),
    }
}

/// A survey of all spaces that is under way.
#[derive(Debug)]
pub(in crate::card) struct Survey {
    pub(in crate::card) purpose: Purpose,
    pub(in crate::card) moment: Moment,
    /// Since when packets count that come after it.
    pub(super) since: Duration,
    /// Spaces that are still to be looked at, the most recently used last.
    rest: Vec<SpaceId>,
    budget: CollectBudget,
    /// What is left of it.
    left: WalkBudget,
    stage: Stage,
    /// Spaces that have a new reference, the most recently used first.
    pub(super) taken: Vec<SpaceId>,
    pub(in crate::card) reports: Vec<SpaceReport>,
}

#[derive(Debug, Default)]
enum Stage {
    /// The next space.
    #[default]
    Next,
    Walk(SpaceId, Box<Collector>),
    Compare(SpaceId, Box<(Mappings, Comparing)>),
    /// What a space maps becomes its reference.
    Keep(SpaceId, Box<(Mappings, Sieve)>),
    Whole(SpaceId, Box<(SpaceReport, WholeWalk, Mappings)>),
    /// What is not needed any more goes.
    Release(Mappings),
}

impl Survey {
    pub(super) fn new(purpose: Purpose, moment: Moment, oracle: &Oracle, vram_size: u64) -> Self {
        let budget = budget(vram_size);
        let mut rest = oracle.spaces.by_use();
        rest.reverse();
        Self {
            purpose,
            moment,
            since: moment.now,
            rest,
            budget,
            left: budget.walk,
            stage: Stage::Next,
            taken: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// Takes one turn. Returns whether the survey is over.
    pub(super) fn advance<M: PhysicalMemory>(&mut self, oracle: &mut Oracle, memory: &M) -> bool {
        let mut left = TURN;
        while left > 0 {
            self.stage = match std::mem::take(&mut self.stage) {
                Stage::Next => match self.rest.pop() {
                    Some(id) => self.begin(oracle, id),
                    // What comes of it is work too: the next turn's, if there was much in this one.
                    None => return left > TURN / 8,
                },
                Stage::Walk(id, mut collector) => {
                    let poisoned = |at, bits| oracle.is_poison(at, bits);
                    if collector.step(memory, &mut left, poisoned) {
                        self.walked(oracle, id, collector.finish())
                    } else {
                        Stage::Walk(id, collector)
                    }
                }
                Stage::Compare(id, work) => self.compare(oracle, id, work, &mut left),
                Stage::Keep(id, mut work) => {
                    if work.0.drop_poison(&mut work.1, &mut left) {
                        let used = oracle.spaces.get(id).is_some_and(|space| self.uses(space));
                        self.taken.push(id);
                        Stage::Release(oracle.take_reference(id, work.0, self.moment, used))
                    } else {
                        Stage::Keep(id, work)
                    }
                }
                Stage::Whole(id, work) => self.whole(oracle, memory, id, work, &mut left),
                Stage::Release(mut mappings) => {
                    if mappings.release(&mut left) {
                        Stage::Next
                    } else {
                        Stage::Release(mappings)
                    }
                }
            };
        }
        false
    }

    const fn uses(&self, space: &Space) -> bool {
        space.used == self.moment.generation
    }

    fn begin(&self, oracle: &Oracle, id: SpaceId) -> Stage {
        let Some(space) = oracle.spaces.get(id) else {
            return Stage::Next;
        };
        let kept = match self.purpose {
            Purpose::Comparison => 0,
            Purpose::Generation | Purpose::Snapshot => oracle.runs_of_others(id),
        };
        let context = Context {
            enabled: true,
            ..space.context
        };
        let budget = CollectBudget {
            walk: self.left,
            runs: self.budget.runs.saturating_sub(kept),
        };
        Stage::Walk(id, Box::new(Collector::new(&context, space.fb_offset, budget)))
    }

    /// What a space maps is known.
    fn walked(&mut self, oracle: &mut Oracle, id: SpaceId, mut now: Mappings) -> Stage {
        let tables = now.tables();
        self.left.tables = self.left.tables.saturating_sub(tables.len() as u64);
        let entries = tables.iter().map(|table| table.bytes >> 3);
        let entries = entries.fold(0, u64::saturating_add);
        self.left.entries = self.left.entries.saturating_sub(entries);
        let Some(space) = oracle.spaces.get(id) else {
            return Stage::Next;
        };
        let comparing = |now| Stage::Compare(id, Box::new((now, Comparing::new(oracle, space))));
        if self.purpose == Purpose::Comparison {
            return comparing(now);
        }
        now.shrink();
        if !self.uses(space) && now.entries() == 0 && space.reference.is_none() {
            oracle.forget(id);
            return Stage::Next;
        }
        if self.purpose == Purpose::Snapshot || !space.lost || space.reference.is_none() {
            return Stage::Keep(id, Box::new((now, Sieve::default())));
        }
        if self.moment.losing {
            return Stage::Release(now);
        }
        comparing(now)
    }

    fn compare(
        &mut self,
        oracle: &Oracle,
        id: SpaceId,
        mut work: Box<(Mappings, Comparing)>,
        left: &mut u64,
    ) -> Stage {
        let Some(space) = oracle.spaces.get(id) else {
            return Stage::Next;
        };
        let (now, comparing) = &mut *work;
        let outcome = at_cost(COMPARE_COST, left, |left| comparing.step(space, now, left));
        let Some((comparison, windows)) = outcome else {
            return Stage::Compare(id, work);
        };
        let now = work.0;
        if self.purpose != Purpose::Comparison {
            return if oracle.is_unrecovered(space, &comparison.counts, self.moment) {
                Stage::Release(now)
            } else {
                Stage::Keep(id, Box::new((now, Sieve::default())))
            };
        }
        // The report counts the space's tables among all that are known.
        *left = left.saturating_sub(oracle.tables.all().len() as u64);
        let report = report::space(oracle, space, comparison, windows, self.moment.generation);
        match WholeWalk::new(oracle, space, self.budget.walk).filter(|_| report::may_be_whole(&report)) {
            Some(walk) => Stage::Whole(id, Box::new((report, walk, now))),
            None => {
                self.reports.push(report);
                Stage::Release(now)
            }
        }
    }

    fn whole<M: PhysicalMemory>(
        &mut self,
        oracle: &Oracle,
        memory: &M,
        id: SpaceId,
        mut work: Box<(SpaceReport, WholeWalk, Mappings)>,
        left: &mut u64,
    ) -> Stage {
        let Some(space) = oracle.spaces.get(id) else {
            return Stage::Next;
        };
        let over = at_cost(WHOLE_COST, left, |left| work.1.step(oracle, memory, space, left));
        match over {
            Some(whole_us) => {
                let (mut report, _, now) = *work;
                report.whole_us = whole_us;
                self.reports.push(report);
                Stage::Release(now)
            }
            None => Stage::Whole(id, work),
        }
    }
}

/// A space that is being compared with its reference, the GART without and with its transfer windows.
#[derive(Debug)]
pub(super) enum Comparing {
    Whole(Comparer),
    Split {
        windows: Vec<(u64, u64)>,
        before: Splitter,
        now: Splitter,
    },
    Parts {
        /// Windows, and the rest.
        before: (Mappings, Mappings),
        now: (Mappings, Mappings),
        windows: Comparer,
        rest: Comparer,
    },
}

impl Comparing {
    fn new(oracle: &Oracle, space: &Space) -> Self {
        if space.is_gart() {
            Self::Split {
                windows: oracle.window_addresses(space),
                before: Splitter::default(),
                now: Splitter::default(),
            }
        } else {
            Self::Whole(Comparer::default())
        }
    }

    /// Goes on for so many runs. Gives the outcome for the space, and for its windows, when it is there.
    fn step(
        &mut self,
        space: &Space,
        after: &Mappings,
        left: &mut u64,
    ) -> Option<(Comparison, Option<Comparison>)> {
        let nothing = Mappings::default();
        let reference = space
            .reference
            .as_ref()
            .map_or(&nothing, |reference| &reference.mappings);
        if let Self::Split { windows, before, now } = self {
            if !before.step(reference, windows, left) || !now.step(after, windows, left) {
                return None;
            }
            *self = Self::Parts {
                before: std::mem::take(before).finish(),
                now: std::mem::take(now).finish(),
                windows: Comparer::default(),
                rest: Comparer::default(),
            };
        }
        match self {
            Self::Whole(comparer) => {
                (comparer.step(reference, after, left)).then(|| (std::mem::take(comparer).finish(), None))
            }
            Self::Parts {
                before,
                now,
                windows,
                rest,
            } => (windows.step(&before.0, &now.0, left) && rest.step(&before.1, &now.1, left)).then(|| {
                let windows = std::mem::take(windows).finish();
                (std::mem::take(rest).finish(), Some(windows))
            }),
            Self::Split { .. } => None,
        }
    }
}
