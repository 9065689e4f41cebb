//! The answers, as values that serialise.

use gart::{Counts, Example, Location, Seen};
use serde::Serialize;

use super::spaces::Space;
use super::{Class, Comparison, Gpu, Level, Mappings, Moment, Oracle, State, micros};
use crate::event::Event;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotReport {
    /// The generation.
    pub generation: u64,
    /// Microseconds since the daemon started.
    pub us: u64,
    /// Address spaces.
    pub spaces: usize,
    /// Leaf entries that map something.
    pub entries: u64,
    /// Runs that they take.
    pub runs: usize,
    /// Tables that hold them.
    pub tables: usize,
    /// A walk was given up, or what it found was too much.
    pub truncated: bool,
}

/// What became of every address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OracleReport {
    /// The present generation.
    pub generation: u64,
    /// Contents are being lost at this moment: the numbers are of a state in between.
    pub losing: bool,
    /// One for each space, those in use first.
    pub spaces: Vec<SpaceReport>,
    /// Sums over the spaces that are in use.
    pub in_use: Sums,
    /// Sums over all spaces.
    pub all: Sums,
    /// How tables came back, from packets.
    pub recovery: RecoveryReport,
}

/// Leaf entries by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Spaces.
    pub spaces: u64,
    /// Entries that there were before; the sum of the next four.
    pub before: u64,
    /// See [`gart::Class::Same`].
    pub same: u64,
    /// See [`gart::Class::Missing`].
    pub missing: u64,
    /// See [`gart::Class::Different`].
    pub different: u64,
    /// See [`gart::Class::Poisoned`].
    pub poisoned: u64,
    /// See [`gart::Class::PoisonedUnmapped`].
    pub poisoned_unmapped: u64,
    /// See [`gart::Class::Added`].
    pub added: u64,
}

impl Sums {
    const fn add(&mut self, counts: &Classes) {
        self.spaces = self.spaces.saturating_add(1);
        self.before = self.before.saturating_add(
            counts
                .same
                .saturating_add(counts.missing)
                .saturating_add(counts.different)
                .saturating_add(counts.poisoned),
        );
        self.same = self.same.saturating_add(counts.same);
        self.missing = self.missing.saturating_add(counts.missing);
        self.different = self.different.saturating_add(counts.different);
        self.poisoned = self.poisoned.saturating_add(counts.poisoned);
        self.poisoned_unmapped = self.poisoned_unmapped.saturating_add(counts.poisoned_unmapped);
        self.added = self.added.saturating_add(counts.added);
    }
}

/// One address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpaceReport {
    /// Where its root table is: what it is known by.
    pub root: String,
    /// `user`, or `gart`: the kernel's window into system memory.
    pub kind: &'static str,
    /// Its VMID when the reference was taken.
    pub vmid_before: Option<u8>,
    /// The VMID that points at it now.
    pub vmid_now: Option<u8>,
    /// A VMID was pointed at it, or work ran in it, in the present generation.
    pub in_use: bool,
    /// The same, in the generation of the reference.
    pub used_before: bool,
    /// The reference.
    pub before: Before,
    /// Tables of it were lost since.
    pub lost: bool,
    /// When the packet came that brought the last lost entry back of those that lead to what there was before, in microseconds since the
    /// daemon started. `null` if nothing was lost, if not everything is as it was, and if something else than packets had a part in it.
    pub whole_us: Option<u64>,
    /// Its entries.
    #[serde(flatten)]
    pub counts: Classes,
    /// Of the GART: entries that packets write before each buffer move. No driver restores them, and they are not in the counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Classes>,
    /// Its tables.
    pub tables: Tables,
    /// Up to eight entries of each class but the same.
    pub examples: Vec<ExampleReport>,
    /// A walk was given up: what it did not reach was not compared.
    pub truncated: bool,
}

/// What a space mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Before {
    /// The generation in which it did; `null` if the space is new since.
    pub generation: Option<u64>,
    /// Microseconds since the daemon started.
    pub us: Option<u64>,
    /// Leaf entries.
    pub entries: u64,
    /// Bytes that they cover.
    pub bytes: u64,
}

/// Leaf entries by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Classes {
    /// See [`gart::Class::Same`].
    pub same: u64,
    /// Those of the same that another level, or fragment, holds now.
    pub reshaped: u64,
    /// See [`gart::Class::Missing`].
    pub missing: u64,
    /// See [`gart::Class::Different`].
    pub different: u64,
    /// See [`gart::Class::Poisoned`].
    pub poisoned: u64,
    /// See [`gart::Class::PoisonedUnmapped`].
    pub poisoned_unmapped: u64,
    /// See [`gart::Class::Added`].
    pub added: u64,
}

impl From<Counts> for Classes {
    fn from(counts: Counts) -> Self {
        let Counts {
            same,
            reshaped,
            different,
            missing,
            poisoned,
            poisoned_unmapped,
            added,
        } = counts;
        Self {
            same,
            reshaped,
            missing,
            different,
            poisoned,
            poisoned_unmapped,
            added,
        }
    }
}

/// A space's tables, by how they stand since the present generation began, or since a snapshot that was asked for in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// Not lost.
    pub kept: u64,
    /// Lost, and nothing was written into them since.
    pub lost: u64,
    /// Their shadows were copied into them.
    pub copied: u64,
    /// Entries were written into them again.
    pub rewritten: u64,
    /// Lost, then emptied: the driver made other tables of them.
    pub recycled: u64,
}

impl Tables {
    const fn add(&mut self, state: State) {
        let count = match state {
            State::Kept => &mut self.kept,
            State::Lost => &mut self.lost,
            State::Copied => &mut self.copied,
            State::Rewritten => &mut self.rewritten,
            State::Recycled => &mut self.recycled,
        };
        *count = count.saturating_add(1);
    }
}

/// One entry, to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleReport {
    /// What became of it.
    pub class: &'static str,
    /// The address at which that shows.
    pub va: String,
    /// How many entries in a row it stands for.
    pub entries: u64,
    /// What was there.
    pub before: Option<EntryReport>,
    /// What is there.
    pub after: Option<EntryReport>,
}

/// A leaf entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryReport {
    /// The kind of table that holds it.
    pub level: &'static str,
    /// Its bits.
    pub bits: String,
    /// Where it leads.
    pub target: String,
}

/// How tables came back since the present generation began, or since a snapshot that was asked for in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecoveryReport {
    /// The generation.
    pub generation: u64,
    /// Whether contents of VRAM were lost in it, or tables that were lost before have not come back.
    pub lost: bool,
    /// Which way.
    pub by: By,
    /// Copies of shadows.
    pub shadow_copies: ShadowCopies,
    /// Entries written again.
    pub rewritten: Rewritten,
    /// Since when packets are counted, in microseconds since the daemon started: when the generation began, or when a snapshot was asked
    /// for in it.
    pub since_us: u64,
    /// When the first packet had been executed.
    pub first_us: Option<u64>,
    /// When the last one had.
    pub last_us: Option<u64>,
    /// Since when all spaces in use have everything back that they had: the latest of their [`whole_us`](SpaceReport::whole_us). `null` if
    /// one has not.
    pub whole_us: Option<u64>,
    /// The same in microseconds since 1970, UTC.
    pub whole_unix_us: Option<u64>,
}

/// How tables came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Their shadows were copied from system memory.
    ShadowCopies,
    /// Their entries were written again.
    Rewritten,
    /// Some each way.
    Both,
    /// They did not.
    None,
}

/// COPY_LINEAR in VMID 0 from system memory into known tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ShadowCopies {
    /// Packets.
    pub packets: u64,
    /// Different tables.
    pub tables: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Entries that map something, written into tables that were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Packets.
    pub packets: u64,
    /// Entries.
    pub entries: u64,
    /// Different tables.
    pub tables: u64,
}

impl SnapshotReport {
    pub(super) fn new(oracle: &Oracle, moment: Moment) -> Self {
        let references = || {
            oracle
                .spaces
                .all()
                .iter()
                .filter_map(|space| space.reference.as_ref())
        };
        let mappings = || references().map(|reference| &reference.mappings);
        Self {
            generation: moment.generation,
            us: micros(moment.now),
            spaces: references().count(),
            entries: mappings().map(Mappings::entries).fold(0, u64::saturating_add),
            runs: mappings().map(|mappings| mappings.runs().len()).sum(),
            tables: mappings().map(|mappings| mappings.tables().len()).sum(),
            truncated: mappings().any(Mappings::truncated),
        }
    }
}

impl OracleReport {
    /// From the reports of all spaces, the most recently used first.
    pub(super) fn new(gpu: &Gpu, mut spaces: Vec<SpaceReport>) -> Self {
        let generation = gpu.journal.generation();
        let oracle = &gpu.oracle;
        for report in &mut spaces {
            let root = |space: &&Space| space.root.to_string() == report.root;
            let kind = |space: &&Space| space.is_gart() == (report.kind == GART);
            let space = oracle.spaces.all().iter().filter(kind).find(root);
            report.vmid_now = space.and_then(|space| vmid_now(gpu, space));
        }
        spaces.sort_by_key(|space| !space.in_use);
        let mut report = Self {
            generation,
            losing: gpu.losing.is_some(),
            in_use: Sums::default(),
            all: Sums::default(),
            recovery: RecoveryReport::new(oracle, generation),
            spaces,
        };
        let whole_us = (!report.losing).then(|| whole_us(&report.spaces)).flatten();
        report.recovery.whole_us = whole_us;
        report.recovery.whole_unix_us = whole_us.and_then(|us| gpu.journal.unix_us(us));
        for space in &report.spaces {
            report.all.add(&space.counts);
            if space.in_use {
                report.in_use.add(&space.counts);
            }
        }
        report
    }

    pub(super) const fn event(&self) -> Event {
        Event::Oracle {
            by: self.recovery.by,
            in_use: self.in_use,
            all: self.all,
            whole_us: self.recovery.whole_us,
        }
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

const USER: &str = "user";
const GART: &str = "gart";

impl SpaceReport {
    const fn is_as_before(&self) -> bool {
        let counts = self.counts;
        counts.missing == 0 && counts.different == 0 && counts.poisoned == 0 && !self.truncated
    }

    /// Whether it is worth asking since when it is.
    pub(super) const fn may_be_whole(&self) -> bool {
        self.is_as_before() && self.windows.is_none()
    }

    /// Without [`vmid_now`](Self::vmid_now) and [`whole_us`](Self::whole_us).
    pub(super) fn new(
        oracle: &Oracle,
        space: &Space,
        comparison: Comparison,
        windows: Option<Comparison>,
        generation: u64,
    ) -> Self {
        let Comparison {
            counts,
            examples,
            truncated,
        } = comparison;
        let mut tables = Tables::default();
        for known in oracle.tables.all().filter(|known| known.space == space.id) {
            tables.add(known.state);
        }
        let reference = space.reference.as_ref();
        Self {
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
            counts: counts.into(),
            windows: windows.map(|windows| windows.counts.into()),
            tables,
            examples: examples
                .iter()
                .map(|example| ExampleReport::new(example, space))
                .collect(),
            truncated,
        }
    }
}

/// The VMID whose registers point at a space.
fn vmid_now(gpu: &Gpu, space: &Space) -> Option<u8> {
    let hub = &gpu.fabric.gfxhub;
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

impl ExampleReport {
    fn new(example: &Example, space: &Space) -> Self {
        Self {
            class: class_name(example.class),
            va: example.va.to_string(),
            entries: example.entries,
            before: example.before.map(|seen| EntryReport::new(seen, space)),
            after: example.after.map(|seen| EntryReport::new(seen, space)),
        }
    }
}

impl EntryReport {
    fn new(seen: Seen, space: &Space) -> Self {
        let target = if seen.entry.valid() {
            let location: Location = seen.entry.location(space.fb_offset);
            location.to_string()
        } else {
            "not resident".to_owned()
        };
        Self {
            level: level_name(seen.level),
            bits: format!("{:#018x}", seen.entry.into_bits()),
            target,
        }
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

impl RecoveryReport {
    fn new(oracle: &Oracle, generation: u64) -> Self {
        let recovery = oracle.recovery;
        let tables = |state| {
            let of_it = oracle.tables.all().filter(|known| known.state == state);
            of_it.count() as u64
        };
        Self {
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
}
