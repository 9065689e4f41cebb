//! The answers, as values that serialise.

use gart::{Counts, Example, Hub, Location, Seen};
use protocol::oracle::{
    Before, By, Classes, EntryReport, ExampleReport, OracleReport, RecoveryReport, Rewritten, ShadowCopies,
    SnapshotReport, SpaceReport, Sums, Tables,
};

use super::spaces::Space;
use super::{Class, Comparison, Level, Mappings, Moment, Oracle, State, micros};
use crate::event::{Event, Journal};

const fn classes(counts: Counts) -> Classes {
    let Counts {
        same,
        reshaped,
        different,
        missing,
        poisoned,
        poisoned_unmapped,
        added,
    } = counts;
    Classes {
        same,
        reshaped,
        missing,
        different,
        poisoned,
        poisoned_unmapped,
        added,
    }
}

const fn count_table(tables: &mut Tables, state: State) {
    let count = match state {
        State::Kept => &mut tables.kept,
        State::Lost => &mut tables.lost,
        State::Copied => &mut tables.copied,
        State::Rewritten => &mut tables.rewritten,
        State::Recycled => &mut tables.recycled,
    };
    *count = count.saturating_add(1);
}

pub(in crate::card) fn snapshot(oracle: &Oracle, moment: Moment) -> SnapshotReport {
    let references = || {
        oracle
            .spaces
            .all()
            .iter()
            .filter_map(|space| space.reference.as_ref())
    };
    let mappings = || references().map(|reference| &reference.mappings);
    SnapshotReport {
        generation: moment.generation,
        us: micros(moment.now),
        spaces: references().count(),
        entries: mappings().map(Mappings::entries).fold(0, u64::saturating_add),
        runs: mappings().map(|mappings| mappings.runs().len()).sum(),
        tables: mappings().map(|mappings| mappings.tables().len()).sum(),
        truncated: mappings().any(Mappings::truncated),
    }
}

/// From the reports of all spaces, the most recently used first.
pub(in crate::card) fn comparison(
    oracle: &Oracle,
    journal: &Journal,
    hub: &Hub,
    losing: bool,
    mut spaces: Vec<SpaceReport>,
) -> OracleReport {
    let generation = journal.generation();
    for report in &mut spaces {
        let root = |space: &&Space| space.root.to_string() == report.root;
        let kind = |space: &&Space| space.is_gart() == (report.kind == GART);
        let space = oracle.spaces.all().iter().filter(kind).find(root);
        report.vmid_now = space.and_then(|space| vmid_now(hub, space));
    }
    spaces.sort_by_key(|space| !space.in_use);
    let mut report = OracleReport {
        generation,
        losing,
        in_use: Sums::default(),
        all: Sums::default(),
        recovery: recovery_report(oracle, generation),
        spaces,
    };
    let whole_us = (!report.losing).then(|| whole_us(&report.spaces)).flatten();
    report.recovery.whole_us = whole_us;
    report.recovery.whole_unix_us = whole_us.and_then(|us| journal.unix_us(us));
    for space in &report.spaces {
        report.all.add(&space.counts);
        if space.in_use {
            report.in_use.add(&space.counts);
        }
    }
    report
}

/// What of a comparison is an event.
pub(in crate::card) const fn event(report: &OracleReport) -> Event {
    Event::Oracle {
        by: report.recovery.by,
        in_use: report.in_use,
        all: report.all,
        whole_us: report.recovery.whole_us,
    }
}

/// Since when the spaces that are in use are whole. The CPU brings the GART back before any work can begin: its time is not known, and not
/// asked for.
fn whole_us(spaces: &[SpaceReport]) -> Option<u64> {
    let in_use = || spaces.iter().filter(|space| space.in_use);
    if !in_use().all(SpaceReport::is_as_before) {
        return None;
    }
    let lost = in_use().filter(|space| space.lost && space.kind == USER);
    let times: Option<Vec<u64>> = lost.map(|space| space.whole_us).collect();
    times?.into_iter().max()
}

/// Tables whose place is told.
const SHOWN: usize = 8;
const USER: &str = "user";
const GART: &str = "gart";

/// Without `vmid_now` and `whole_us`.
/// Whether it is worth asking since when a space is as it was.
pub(super) const fn may_be_whole(report: &SpaceReport) -> bool {
    report.is_as_before() && report.windows.is_none()
}

pub(super) fn space(
    oracle: &Oracle,
    space: &Space,
    comparison: Comparison,
    windows: Option<Comparison>,
    generation: u64,
) -> SpaceReport {
    let Comparison {
        counts,
        examples,
        truncated,
    } = comparison;
    let mut tables = Tables::default();
    for known in oracle.tables.all().filter(|known| known.space == space.id) {
        count_table(&mut tables, known.state);
    }
    let reference = space.reference.as_ref();
    SpaceReport {
        root: space.root.to_string(),
        kind: if space.is_gart() { GART } else { USER },
        vmid_before: reference.map(|reference| reference.vmid.get()),
        vmid_now: None,
        in_use: space.used == generation,
        used_before: reference.is_some_and(|reference| reference.used),
        before: reference.map_or_else(Before::default, |reference| Before {
            generation: Some(reference.generation),
            us: Some(reference.us),
            entries: reference.mappings.entries(),
            bytes: reference.mappings.bytes(),
        }),
        lost: space.lost,
        whole_us: None,
        counts: classes(counts),
        windows: windows.map(|windows| classes(windows.counts)),
        tables,
        leaf_tables: oracle.tables.leaves(space.id).take(SHOWN).collect(),
        examples: examples
            .iter()
            .map(|example| example_report(example, space))
            .collect(),
        truncated,
    }
}

/// The VMID whose registers point at a space.
fn vmid_now(hub: &Hub, space: &Space) -> Option<u8> {
    let fb_offset = hub.space().apertures.fb_offset;
    gart::Vmid::all()
        .filter(|vmid| space.is_gart() == (*vmid == gart::Vmid::KERNEL))
        .find(|vmid| {
            hub.context(*vmid).is_some_and(|context| {
                context.enabled && context.root.valid() && context.root.location(fb_offset) == space.root
            })
        })
        .map(gart::Vmid::get)
}

fn example_report(example: &Example, space: &Space) -> ExampleReport {
    ExampleReport {
        class: class_name(example.class),
        va: example.va.to_string(),
        entries: example.entries,
        before: example.before.map(|seen| entry_report(seen, space)),
        after: example.after.map(|seen| entry_report(seen, space)),
    }
}

fn entry_report(seen: Seen, space: &Space) -> EntryReport {
    let target = if seen.entry.valid() {
        let location: Location = seen.entry.location(space.fb_offset);
        location.to_string()
    } else {
        "not resident".to_owned()
    };
    EntryReport {
        level: level_name(seen.level),
        bits: format!("{:#018x}", seen.entry.into_bits()),
        target,
    }
}

const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Same => "same",
        Class::Different => "different",
        Class::Missing => "missing",
        Class::Poisoned => "poisoned",
        Class::PoisonedUnmapped => "poisoned-unmapped",
        Class::Added => "added",
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Ptb => "PTB",
        Level::Pdb0 => "PDB0",
        Level::Pdb1 => "PDB1",
        Level::Pdb2 => "PDB2",
    }
}

fn recovery_report(oracle: &Oracle, generation: u64) -> RecoveryReport {
    let recovery = oracle.recovery;
    let tables = |state| {
        let of_it = oracle.tables.all().filter(|known| known.state == state);
        of_it.count() as u64
    };
    RecoveryReport {
        generation,
        lost: recovery.lost,
        by: match (recovery.copies > 0, recovery.rewrites > 0) {
            (true, true) => By::Both,
            (true, false) => By::ShadowCopies,
            (false, true) => By::Rewritten,
            (false, false) => By::None,
        },
        shadow_copies: ShadowCopies {
            packets: recovery.copies,
            tables: tables(State::Copied),
            bytes: recovery.copied_bytes,
        },
        rewritten: Rewritten {
            packets: recovery.rewrites,
            entries: recovery.rewritten_entries,
            tables: tables(State::Rewritten),
        },
        since_us: recovery.since_us,
        first_us: recovery.times.map(|(first, _)| first),
        last_us: recovery.times.map(|(_, last)| last),
        whole_us: None,
        whole_unix_us: None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::words::{EntryClass, LevelName};

    use super::*;

    #[test]
    fn words_of_reports_are_those_that_are_described() {
        let classes = [
            Class::Same,
            Class::Different,
            Class::Missing,
            Class::Poisoned,
            Class::PoisonedUnmapped,
            Class::Added,
        ];
        assert_eq!(EntryClass::ALL, classes.map(class_name));
        let levels = [Level::Pdb2, Level::Pdb1, Level::Pdb0, Level::Ptb];
        assert_eq!(LevelName::ALL, levels.map(level_name));
        assert_eq!(protocol::words::SpaceKind::ALL, [USER, GART]);
    }
}
