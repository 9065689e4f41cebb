//! Two looks at one address space: what is the same, and what is not.

use std::borrow::Cow;

use crate::mappings::{LeafKind, Mappings, Run, Sieve};
use crate::{GpuVa, Level, Pte};

/// What became of a mapping. Each leaf entry that there was before is of one of the first four classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All its addresses lead where they led, with the same flags.
    Same,
    /// Some of its addresses lead elsewhere, or with other flags.
    Different,
    /// Some of its addresses lead nowhere.
    Missing,
    /// Some of its addresses are reached through an entry that a loss left behind.
    Poisoned,
    /// An entry that a loss left behind, where nothing was mapped before.
    PoisonedUnmapped,
    /// A mapping that reaches where nothing was mapped before.
    Added,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Same,
        Self::Different,
        Self::Missing,
        Self::Poisoned,
        Self::PoisonedUnmapped,
        Self::Added,
    ];
}

/// How many leaf entries are of which class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// [`Class::Same`].
    pub same: u64,
    /// Those of the same that are of another level, or fragment, than before.
    pub reshaped: u64,
    /// [`Class::Different`].
    pub different: u64,
    /// [`Class::Missing`].
    pub missing: u64,
    /// [`Class::Poisoned`].
    pub poisoned: u64,
    /// [`Class::PoisonedUnmapped`]: entries as they are now.
    pub poisoned_unmapped: u64,
    /// [`Class::Added`]: entries as they are now.
    pub added: u64,
}

impl Counts {
    fn add(&mut self, class: Class, entries: u64) {
        let count = match class {
            Class::Same => &mut self.same,
            Class::Different => &mut self.different,
            Class::Missing => &mut self.missing,
            Class::Poisoned => &mut self.poisoned,
            Class::PoisonedUnmapped => &mut self.poisoned_unmapped,
            Class::Added => &mut self.added,
        };
        *count = count.saturating_add(entries);
    }

    /// All entries that there were before.
    pub const fn before(&self) -> u64 {
        self.same
            .saturating_add(self.different)
            .saturating_add(self.missing)
            .saturating_add(self.poisoned)
    }
}

/// A leaf entry as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The kind of table that holds it.
    pub level: Level,
    /// The entry.
    pub entry: Pte,
}

/// One entry to look at, for all those behind it of which the same is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Example {
    /// What became of it.
    pub class: Class,
    /// The address at which that shows.
    pub va: GpuVa,
    /// How many entries in a row it stands for.
    pub entries: u64,
    /// What was there before.
    pub before: Option<Seen>,
    /// What is there now.
    pub after: Option<Seen>,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Counts by class.
    pub counts: Counts,
    /// The first few entries of each class but [`Class::Same`].
    pub examples: Vec<Example>,
    /// One of the two walks was given up: what it did not reach is not compared.
    pub truncated: bool,
}

impl Comparison {
    /// Examples that are kept of each class.
    pub const EXAMPLES: usize = 8;

    fn take(&mut self, verdict: &Verdict, entries: u64) {
        self.counts.add(verdict.class, entries);
        if verdict.reshaped && verdict.class == Class::Same {
            self.counts.reshaped = self.counts.reshaped.saturating_add(entries);
        }
        let known = self
            .examples
            .iter()
            .filter(|known| known.class == verdict.class)
            .count();
        if verdict.class != Class::Same && known < Self::EXAMPLES {
            self.examples.push(Example {
                class: verdict.class,
                va: GpuVa::new(verdict.va),
                entries,
                before: verdict.before,
                after: verdict.after,
            });
        }
    }
}

/// Compares what a context maps now with what it mapped before. Poison in `before` maps nothing.
///
/// The count is of leaf entries, but what is compared is what addresses lead to: an entry of a directory that now stands for 512 pages
/// is the same as those pages were. FRAG and P only tell the shape and do not count as a difference.
pub fn compare(before: &Mappings, after: &Mappings) -> Comparison {
    let mut left = u64::MAX;
    let mut before = Cow::Borrowed(before);
    if before.has_poison() {
        before.to_mut().drop_poison(&mut Sieve::default(), &mut left);
    }
    let mut comparer = Comparer::default();
    while !comparer.step(&before, after, &mut left) {}
    comparer.finish()
}

/// [`compare`], interrupted. There must be no poison in what was before ([`Mappings::drop_poison`]).
#[derive(Debug, Default)]
pub struct Comparer {
    comparison: Comparison,
    /// What was there before has been gone through; now it is the turn of what is there now.
    turned: bool,
    sweep: Sweep,
}

/// How far a comparison has come.
#[derive(Debug, Clone, Copy, Default)]
struct Sweep {
    /// The run, and where in it.
    run: usize,
    va: Option<u64>,
    /// The first run of the other side that is not behind us.
    other: usize,
}

impl Comparer {
    /// Goes on for as many parts of runs as are left. Returns whether that was all. Always to be called with the same two.
    pub fn step(&mut self, before: &Mappings, after: &Mappings, left: &mut u64) -> bool {
        let limit = before
            .complete_to()
            .into_iter()
            .chain(after.complete_to())
            .min()
            .unwrap_or(u64::MAX);
        let (mapped, now) = (below(before.runs(), limit), below(after.runs(), limit));
        let Self {
            comparison,
            turned,
            sweep,
        } = self;
        comparison.truncated = before.truncated() || after.truncated();
        if !*turned {
            let over = sweep.step(mapped, now, limit, left, |part| {
                let (verdict, entries) = judge(&part);
                comparison.take(&verdict, entries);
                entries
            });
            if !over {
                return false;
            }
            *turned = true;
            *sweep = Sweep::default();
        }
        sweep.step(now, mapped, limit, left, |part| {
            let (verdict, entries) = judge_new(&part);
            if let Some(verdict) = verdict {
                comparison.take(&verdict, entries);
            }
            entries
        })
    }

    /// The outcome.
    pub fn finish(self) -> Comparison {
        self.comparison
    }
}

/// The runs that begin below an address.
fn below(runs: &[Run], limit: u64) -> &[Run] {
    let reached = runs.partition_point(|run| run.start() < limit);
    runs.get(..reached).unwrap_or_default()
}

/// Entries of a run that all meet the same run of the other side, or none, or, for a single entry, several.
struct Part<'a> {
    run: &'a Run,
    /// First address of the first entry.
    va: u64,
    entries: u64,
    meets: Meets<'a>,
}

enum Meets<'a> {
    Nothing,
    /// All their addresses lie in this run.
    One(&'a Run),
    /// Some of the only entry's addresses lie in these runs, ascending.
    Several(&'a [Run]),
}

impl Meets<'_> {
    /// How much work it is to look at them.
    const fn count(&self) -> u64 {
        match self {
            Self::Nothing | Self::One(_) => 1,
            Self::Several(others) => others.len() as u64,
        }
    }
}

impl Sweep {
    /// Goes through `runs` in parts until `left` is used up; `each` says how many entries of the part it has dealt with, at least one.
    /// Returns whether that was all.
    fn step(
        &mut self,
        runs: &[Run],
        others: &[Run],
        limit: u64,
        left: &mut u64,
        mut each: impl FnMut(Part<'_>) -> u64,
    ) -> bool {
        while let Some(run) = runs.get(self.run) {
            let mut va = self.va.unwrap_or(run.start());
            loop {
                // An entry that reaches beyond the limit would be judged by half of it.
                let entries = run.end().min(limit).saturating_sub(va) >> run.size().trailing_zeros();
                if entries == 0 {
                    break;
                }
                if *left == 0 {
                    self.va = Some(va);
                    return false;
                }
                while others.get(self.other).is_some_and(|other| other.end() <= va) {
                    self.other = self.other.saturating_add(1);
                }
                let rest = others.get(self.other..).unwrap_or_default();
                let part = part(run, va, entries, rest);
                *left = left.saturating_sub(part.meets.count());
                let done = each(part).max(1);
                va = va.saturating_add(done.saturating_mul(run.size()));
            }
            self.run = self.run.saturating_add(1);
            self.va = None;
        }
        true
    }
}

/// The part of a run that begins at an address and has at most so many entries; `rest` are the other side's runs that are not behind it.
fn part<'a>(run: &'a Run, va: u64, left: u64, rest: &'a [Run]) -> Part<'a> {
    let entry_end = va.saturating_add(run.size());
    match rest.first() {
        Some(other) if other.start() <= va && other.end() >= entry_end => Part {
            run,
            va,
            entries: (other.end().saturating_sub(va) >> run.size().trailing_zeros()).min(left),
            meets: Meets::One(other),
        },
        Some(other) if other.start() < entry_end => Part {
            run,
            va,
            entries: 1,
            meets: Meets::Several(
                rest.get(..rest.partition_point(|other| other.start() < entry_end))
                    .unwrap_or_default(),
            ),
        },
        Some(other) => Part {
            run,
            va,
            entries: (other.start().saturating_sub(va) >> run.size().trailing_zeros()).clamp(1, left),
            meets: Meets::Nothing,
        },
        None => Part {
            run,
            va,
            entries: left,
            meets: Meets::Nothing,
        },
    }
}

/// What is found about an entry.
struct Verdict {
    class: Class,
    reshaped: bool,
    va: u64,
    before: Option<Seen>,
    after: Option<Seen>,
}

fn seen(run: &Run, va: u64) -> Option<Seen> {
    Some(Seen {
        level: run.level(),
        entry: run.entry_at(va),
    })
}

/// Without what only tells the shape, and without the address.
const fn flags(entry: Pte) -> u64 {
    entry
        .with_address(0)
        .with_fragment(0)
        .with_pde_pte(false)
        .into_bits()
}

/// What became of an address that `before` maps and `after` covers.
fn at_address(before: &Run, after: &Run, va: u64) -> Verdict {
    let (old, new) = (before.entry_at(va), after.entry_at(va));
    let leads_to = |run: &Run| match run.kind() {
        LeafKind::Memory => Some(run.target_at(va)),
        LeafKind::Prt | LeafKind::Poison => None,
    };
    let class = if after.kind() == LeafKind::Poison {
        Class::Poisoned
    } else if before.kind() == after.kind() && flags(old) == flags(new) && leads_to(before) == leads_to(after)
    {
        Class::Same
    } else {
        Class::Different
    };
    Verdict {
        class,
        reshaped: before.level() != after.level() || old.fragment() != new.fragment(),
        va,
        before: seen(before, va),
        after: seen(after, va),
    }
}

/// What became of entries that were there before, and of how many of the part this is true.
fn judge(part: &Part<'_>) -> (Verdict, u64) {
    let Part { run, va, entries, .. } = *part;
    let missing = |va| Verdict {
        class: Class::Missing,
        reshaped: false,
        va,
        before: seen(run, va),
        after: None,
    };
    match part.meets {
        Meets::Nothing => (missing(va), entries),
        Meets::One(other) => {
            let uniform = run.is_uniform() && other.is_uniform() || other.kind() == LeafKind::Poison;
            let verdict = at_address(run, other, va);
            // The entry may be larger than the other side's entries: it is uniform only if those go on.
            if uniform {
                (verdict, entries)
            } else {
                (inside(run, other, va), 1)
            }
        }
        Meets::Several(others) => {
            let end = va.saturating_add(run.size());
            let mut worst: Option<Verdict> = None;
            let mut next = va;
            let mut keep = |verdict: Verdict| {
                let reshaped = worst.as_ref().is_some_and(|worst| worst.reshaped) || verdict.reshaped;
                if worst.as_ref().is_none_or(|worst| verdict.class > worst.class) {
                    worst = Some(verdict);
                }
                if let Some(worst) = &mut worst {
                    worst.reshaped = reshaped;
                }
            };
            for other in others {
                let first = other.start().max(va);
                if first > next {
                    keep(missing(next));
                }
                if other.is_uniform() {
                    keep(at_address(run, other, first));
                } else {
                    let mut at = first;
                    while at < other.end().min(end) {
                        keep(at_address(run, other, at));
                        at = at.saturating_add(other.size());
                    }
                }
                next = other.end();
            }
            if next < end {
                keep(missing(next));
            }
            (worst.unwrap_or_else(|| missing(va)), 1)
        }
    }
}

/// One entry inside a run of the other side whose addresses do not go on.
fn inside(run: &Run, other: &Run, va: u64) -> Verdict {
    let first = at_address(run, other, va);
    if first.class == Class::Same && other.size() < run.size() && !other.is_uniform() {
        // All the smaller entries lead to one place, so that the second of them cannot be right.
        return at_address(run, other, va.saturating_add(other.size()));
    }
    first
}

/// What entries that are there now are, if they are new, and of how many of the part this is true.
fn judge_new(part: &Part<'_>) -> (Option<Verdict>, u64) {
    let Part { run, va, entries, .. } = *part;
    let new = |class, va| {
        Some(Verdict {
            class,
            reshaped: false,
            va,
            before: None,
            after: seen(run, va),
        })
    };
    let poison = run.kind() == LeafKind::Poison;
    match part.meets {
        Meets::Nothing if poison => (new(Class::PoisonedUnmapped, va), entries),
        Meets::Nothing => (new(Class::Added, va), entries),
        Meets::One(_) => (None, entries),
        // It counts among those that were there before.
        Meets::Several(_) if poison => (None, 1),
        Meets::Several(others) => {
            let end = va.saturating_add(run.size());
            let mut next = va;
            for other in others {
                if other.start() > next {
                    break;
                }
                next = other.end();
            }
            (if next < end { new(Class::Added, next) } else { None }, 1)
        }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
