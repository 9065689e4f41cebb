//! What a context maps, kept compactly: for looking at it again when its tables have changed.

use crate::context::{PAGE_SHIFT, PAGE_SIZE};
use crate::tables::walk_entries;
use crate::{Context, EntryKind, GpuVa, Level, Location, PhysicalMemory, Pte, VisitedEntry, WalkBudget};

/// What [`Mappings::collect`] may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectBudget {
    /// The walk.
    pub walk: WalkBudget,
    /// Runs that may be kept.
    pub runs: usize,
}

/// What a leaf entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// It maps memory.
    Memory,
    /// It maps a partially resident page that is not resident.
    Prt,
    /// It is what a loss left behind.
    Poison,
}

/// How the addresses in a run's entries go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// Each entry points behind what the one before it covers.
    Linear,
    /// All entries are the same.
    Same,
}

/// Leaf entries of one level that follow each other and differ, if at all, in addresses that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    va: u64,
    first: u64,
    entries: u32,
    /// log2 of the bytes that an entry covers.
    shift: u8,
    level: Level,
    kind: LeafKind,
    shape: Shape,
}

impl Run {
    /// First address.
    pub const fn va(&self) -> GpuVa {
        GpuVa::new(self.va)
    }

    /// How many entries.
    pub const fn entries(&self) -> u64 {
        self.entries as u64
    }

    /// The kind of table that holds them.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What they are.
    pub const fn kind(&self) -> LeafKind {
        self.kind
    }

    /// Bytes that one entry covers.
    pub(crate) const fn size(&self) -> u64 {
        1_u64.wrapping_shl(self.shift as u32)
    }

    pub(crate) const fn start(&self) -> u64 {
        self.va
    }

    /// The first address behind it.
    pub(crate) const fn end(&self) -> u64 {
        self.va.saturating_add(self.entries().saturating_mul(self.size()))
    }

    /// The entry that covers an address in the run.
    pub(crate) const fn entry_at(&self, va: u64) -> Pte {
        let first = Pte::from_bits(self.first);
        match self.shape {
            Shape::Same => first,
            Shape::Linear => {
                let before = va.wrapping_sub(self.va) & !self.size().wrapping_sub(1);
                first.with_address(first.address().wrapping_add(before))
            }
        }
    }

    /// Where the entry that covers an address in the run leads from that address.
    pub(crate) const fn target_at(&self, va: u64) -> u64 {
        let inside = va.wrapping_sub(self.va) & self.size().wrapping_sub(1);
        self.entry_at(va).address().wrapping_add(inside)
    }

    /// Whether everything in it can be compared by one look at one address: addresses go on, or do not matter.
    pub(crate) const fn is_uniform(&self) -> bool {
        matches!(self.shape, Shape::Linear) || self.entries <= 1 || !matches!(self.kind, LeafKind::Memory)
    }

    /// Takes up the next entry, if it goes on from here.
    fn extend(&mut self, next: &Self) -> bool {
        let alike = next.level == self.level && next.kind == self.kind && next.va == self.end();
        if !alike || self.entries == u32::MAX {
            return false;
        }
        let same = next.first == self.first;
        let linear = self.first != next.first && {
            let first = Pte::from_bits(self.first);
            let distance = next.va.wrapping_sub(self.va);
            first
                .with_address(first.address().wrapping_add(distance))
                .into_bits()
                == next.first
        };
        let shape = match (same, linear) {
            (true, _) => Shape::Same,
            (false, true) => Shape::Linear,
            (false, false) => return false,
        };
        if self.entries > 1 && shape != self.shape {
            return false;
        }
        self.shape = shape;
        self.entries = self.entries.saturating_add(1);
        true
    }

    /// The part of the run that begins at entry number `skip` and has `entries` entries.
    fn part(&self, skip: u64, entries: u64) -> Self {
        let va = self.va.saturating_add(skip.saturating_mul(self.size()));
        Self {
            va,
            first: self.entry_at(va).into_bits(),
            entries: u32::try_from(entries).unwrap_or(u32::MAX),
            ..*self
        }
    }
}

/// A table that a walk opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table {
    /// Where it begins.
    pub at: Location,
    /// Bytes of its entries, as far as the context reaches.
    pub bytes: u64,
    /// Its kind.
    pub level: Level,
}

impl Table {
    /// The table that a directory entry points at.
    pub fn below(entry: &VisitedEntry, block_bits: u32) -> Option<Self> {
        let EntryKind::Directory { location, .. } = entry.kind else {
            return None;
        };
        let level = entry.level.below()?;
        Some(Self {
            at: location,
            bytes: level.last_index(block_bits).saturating_add(1).saturating_mul(8),
            level,
        })
    }

    /// The root of a context.
    pub fn root(context: &Context, fb_offset: u64) -> Self {
        let covers = 1_u64
            << context
                .root_level
                .entry_shift(context.block_bits)
                .min(GpuVa::BITS);
        let pages = context
            .end_page
            .saturating_add(1)
            .saturating_sub(context.start_page);
        Self {
            at: context.root.location(fb_offset),
            bytes: pages.saturating_mul(PAGE_SIZE).div_ceil(covers).saturating_mul(8),
            level: context.root_level,
        }
    }
}

/// Everything that a context maps at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mappings {
    runs: Vec<Run>,
    tables: Vec<Table>,
    /// Everything below this address is there.
    complete_to: Option<u64>,
}

impl Mappings {
    /// Walks a context, within a budget. `poisoned` tells, by its place and its bits, whether an entry is what a loss left behind.
    pub fn collect<M: PhysicalMemory + ?Sized>(
        context: &Context,
        fb_offset: u64,
        memory: &M,
        budget: CollectBudget,
        mut poisoned: impl FnMut(Location, u64) -> bool,
    ) -> Self {
        let mut mappings = Self::default();
        let mut last = context.start_page << PAGE_SHIFT;
        if context.enabled && context.root.valid() {
            mappings.tables.push(Table::root(context, fb_offset));
        }
        let summary = walk_entries(context, fb_offset, memory, budget.walk, |entry| {
            last = entry.va.get();
            mappings.tables.extend(Table::below(entry, context.block_bits));
            if let Some(run) = leaf(entry, context.block_bits, &mut poisoned) {
                mappings.push(run, budget.runs);
            }
        });
        if summary.truncated {
            mappings.cut_off(last);
        }
        mappings
    }

    fn push(&mut self, run: Run, limit: usize) {
        if self.runs.last_mut().is_some_and(|last| last.extend(&run)) {
            return;
        }
        if self.runs.len() < limit {
            self.runs.push(run);
        } else {
            self.cut_off(run.va);
        }
    }

    /// From this address on something may be missing.
    fn cut_off(&mut self, va: u64) {
        self.complete_to = Some(self.complete_to.map_or(va, |earlier| earlier.min(va)));
    }

    /// The leaf entries, addresses ascending.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The tables, parents before children.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Whether the budget ran out.
    pub const fn truncated(&self) -> bool {
        self.complete_to.is_some()
    }

    pub(crate) const fn complete_to(&self) -> Option<u64> {
        self.complete_to
    }

    /// Leaf entries that map something: poison does not.
    pub fn entries(&self) -> u64 {
        self.mapping().map(Run::entries).fold(0, u64::saturating_add)
    }

    /// Bytes that they cover.
    pub fn bytes(&self) -> u64 {
        self.mapping()
            .map(|run| run.entries().saturating_mul(run.size()))
            .fold(0, u64::saturating_add)
    }

    fn mapping(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.kind != LeafKind::Poison)
    }

    /// Whether something is mapped in a range of addresses.
    pub fn maps_in(&self, start: GpuVa, bytes: u64) -> bool {
        let start = start.get();
        let end = start.saturating_add(bytes);
        let first = self.runs.partition_point(|run| run.end() <= start);
        let within = self.runs.get(first..).unwrap_or_default();
        within
            .iter()
            .take_while(|run| run.start() < end)
            .any(|run| run.kind != LeafKind::Poison)
    }

    /// Gives back the memory that was set aside for more.
    pub fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.tables.shrink_to_fit();
    }

    /// The leaf entries whose first address is in one of the ranges (start, end), and the others. Ranges ascend and do not overlap.
    #[must_use]
    pub fn split(&self, ranges: &[(u64, u64)]) -> (Self, Self) {
        let empty = || Self {
            runs: Vec::new(),
            tables: Vec::new(),
            complete_to: self.complete_to,
        };
        let (mut inside, mut outside) = (empty(), empty());
        for run in &self.runs {
            let mut skip: u64 = 0;
            while skip < run.entries() {
                let va = run.va.saturating_add(skip.saturating_mul(run.size()));
                let next = ranges.get(ranges.partition_point(|(_, end)| *end <= va)..);
                let (within, limit) = match next.and_then(<[_]>::first) {
                    Some((start, end)) if *start <= va => (true, *end),
                    Some((start, _)) => (false, *start),
                    None => (false, u64::MAX),
                };
                let left = run.entries().saturating_sub(skip);
                let count = limit.saturating_sub(va).div_ceil(run.size()).clamp(1, left);
                let target = if within { &mut inside } else { &mut outside };
                target.runs.push(run.part(skip, count));
                skip = skip.saturating_add(count);
            }
        }
        (inside, outside)
    }
}

/// A leaf as a run of its own.
fn leaf(
    entry: &VisitedEntry,
    block_bits: u32,
    poisoned: &mut impl FnMut(Location, u64) -> bool,
) -> Option<Run> {
    let (bits, kind) = match entry.kind {
        EntryKind::Directory { .. } => return None,
        EntryKind::Page { entry: page, .. } if poisoned(entry.at, page.into_bits()) => {
            (page, LeafKind::Poison)
        }
        EntryKind::Page { entry, .. } => (entry, LeafKind::Memory),
        EntryKind::Prt { entry } => (entry, LeafKind::Prt),
    };
    let shift = entry.level.entry_shift(block_bits).min(GpuVa::BITS);
    Some(Run {
        va: entry.va.get(),
        first: bits.into_bits(),
        entries: 1,
        shift: u8::try_from(shift).unwrap_or(0),
        level: entry.level,
        kind,
        shape: Shape::Same,
    })
}
