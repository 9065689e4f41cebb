//! The answers to `oracle`: what page tables map, before a loss and after it.

use schemars::JsonSchema;
use serde::Serialize;

use super::event::TableLevel;
use super::words::{EntryClass, SpaceKind};

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sums {
    /// Spaces.
    pub spaces: u64,
    /// Entries that there were before; the sum of the next four.
    pub before: u64,
    /// See `gart::Class::Same`.
    pub same: u64,
    /// See `gart::Class::Missing`.
    pub missing: u64,
    /// See `gart::Class::Different`.
    pub different: u64,
    /// See `gart::Class::Poisoned`.
    pub poisoned: u64,
    /// See `gart::Class::PoisonedUnmapped`.
    pub poisoned_unmapped: u64,
    /// See `gart::Class::Added`.
    pub added: u64,
}

/// One address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpaceReport {
    /// Where its root table is: what it is known by.
    pub root: String,
    /// `user`, or `gart`: the kernel's window into system memory.
    #[schemars(with = "SpaceKind")]
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
    /// Where tables of leaf entries (PTB) are in VRAM: byte offsets, lowest first, up to eight.
    pub leaf_tables: Vec<u64>,
    /// Up to eight entries of each class but the same.
    pub examples: Vec<ExampleReport>,
    /// A walk was given up: what it did not reach was not compared.
    pub truncated: bool,
}

/// What a space mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Classes {
    /// See `gart::Class::Same`.
    pub same: u64,
    /// Those of the same that another level, or fragment, holds now.
    pub reshaped: u64,
    /// See `gart::Class::Missing`.
    pub missing: u64,
    /// See `gart::Class::Different`.
    pub different: u64,
    /// See `gart::Class::Poisoned`.
    pub poisoned: u64,
    /// See `gart::Class::PoisonedUnmapped`.
    pub poisoned_unmapped: u64,
    /// See `gart::Class::Added`.
    pub added: u64,
}

/// A space's tables, by how they stand since the present generation began, or since a snapshot that was asked for in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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

/// One entry, to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExampleReport {
    /// What became of it.
    #[schemars(with = "EntryClass")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EntryReport {
    /// The kind of table that holds it.
    #[schemars(with = "TableLevel")]
    pub level: &'static str,
    /// Its bits.
    pub bits: String,
    /// Where it leads.
    pub target: String,
}

/// How tables came back since the present generation began, or since a snapshot that was asked for in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// Since when all spaces in use have everything back that they had: the latest of their [`whole_us`(SpaceReport::whole_us). `null` if
    /// one has not.
    pub whole_us: Option<u64>,
    /// The same in microseconds since 1970, UTC.
    pub whole_unix_us: Option<u64>,
}

/// How tables came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShadowCopies {
    /// Packets.
    pub packets: u64,
    /// Different tables.
    pub tables: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Entries that map something, written into tables that were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rewritten {
    /// Packets.
    pub packets: u64,
    /// Entries.
    pub entries: u64,
    /// Different tables.
    pub tables: u64,
}

impl Sums {
    /// One more space.
    pub const fn add(&mut self, counts: &Classes) {
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

impl SpaceReport {
    /// Whether all that was mapped before is mapped now, and in the same way.
    pub const fn is_as_before(&self) -> bool {
        let counts = self.counts;
        counts.missing == 0 && counts.different == 0 && counts.poisoned == 0 && !self.truncated
    }
}
