//! What a context maps, kept compactly: for looking at it again when its tables have changed.

use bitfield_struct::bitfield;

use crate::context::{PAGE_SHIFT, PAGE_SIZE};
use crate::tables::{TableWalk, WalkDepth};
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

/// Where a run is, and of what: all in one word, since there may be millions of runs.
#[bitfield(u64)]
#[derive(PartialEq, Eq, Hash)]
struct Place {
    /// First address, in pages.
    #[bits(36)]
    page: u64,
    /// log2 of the bytes that an entry covers.
    #[bits(6)]
    shift: u32,
    /// [`Level::index`].
    #[bits(2)]
    level: u8,
    /// [`LeafKind`].
    #[bits(2)]
    kind: u8,
    /// Each entry points behind what the one before it covers. Otherwise all are the same.
    linear: bool,
    /// How many entries follow the first.
    #[bits(17)]
    more: u32,
}

const MOST_MORE: u32 = (1 << 17) - 1;

/// Leaf entries of one level that follow each other and differ, if at all, in addresses that go on. 16 bytes, 131072 entries at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    place: Place,
    first: u64,
}

impl Run {
    /// Bytes that one takes.
    pub const BYTES: usize = size_of::<Self>();

    /// First address.
    pub const fn va(&self) -> GpuVa {
        GpuVa::new(self.start())
    }

    /// How many entries.
    pub const fn entries(&self) -> u64 {
        (self.place.more() as u64).saturating_add(1)
    }

    /// The kind of table that holds them.
    pub const fn level(&self) -> Level {
        match self.place.level() {
            0 => Level::Ptb,
            1 => Level::Pdb0,
            2 => Level::Pdb1,
            _ => Level::Pdb2,
        }
    }

    /// What they are.
    pub const fn kind(&self) -> LeafKind {
        match self.place.kind() {
            0 => LeafKind::Memory,
            1 => LeafKind::Prt,
            _ => LeafKind::Poison,
        }
    }

    /// Bytes that one entry covers.
    pub(crate) const fn size(&self) -> u64 {
        1_u64.wrapping_shl(self.place.shift())
    }

    pub(crate) const fn start(&self) -> u64 {
        self.place.page() << PAGE_SHIFT
    }

    /// The first address behind it.
    pub(crate) const fn end(&self) -> u64 {
        self.start()
            .saturating_add(self.entries().saturating_mul(self.size()))
    }

    /// The entry that covers an address in the run.
    pub(crate) const fn entry_at(&self, va: u64) -> Pte {
        let first = Pte::from_bits(self.first);
        if !self.place.linear() {
            return first;
        }
        let before = va.wrapping_sub(self.start()) & !self.size().wrapping_sub(1);
        first.with_address(first.address().wrapping_add(before))
    }

    /// Where the entry that covers an address in the run leads from that address.
    pub(crate) const fn target_at(&self, va: u64) -> u64 {
        let inside = va.wrapping_sub(self.start()) & self.size().wrapping_sub(1);
        self.entry_at(va).address().wrapping_add(inside)
    }

    /// Whether everything in it can be compared by one look at one address: addresses go on, or do not matter.
    pub(crate) const fn is_uniform(&self) -> bool {
        self.place.linear() || self.place.more() == 0 || !matches!(self.kind(), LeafKind::Memory)
    }

    /// Takes up the next entry, if it goes on from here.
    fn extend(&mut self, next: &Self) -> bool {
        let alike = next.place.level() == self.place.level()
            && next.place.kind() == self.place.kind()
            && next.start() == self.end();
        let more = self.place.more();
        if !alike || more == MOST_MORE {
            return false;
        }
        let same = next.first == self.first;
        let linear = !same && {
            let first = Pte::from_bits(self.first);
            let distance = next.start().wrapping_sub(self.start());
            first
                .with_address(first.address().wrapping_add(distance))
                .into_bits()
                == next.first
        };
        if !same && !linear || more > 0 && linear != self.place.linear() {
            return false;
        }
        self.place = self.place.with_linear(linear).with_more(more.saturating_add(1));
        true
    }

    /// The part of the run that begins at entry number `skip` and has `entries` entries.
    fn part(&self, skip: u64, entries: u64) -> Self {
        let va = self.start().saturating_add(skip.saturating_mul(self.size()));
        let more = u32::try_from(entries.saturating_sub(1)).unwrap_or(MOST_MORE);
        Self {
            place: self
                .place
                .with_page(va >> PAGE_SHIFT)
                .with_more(more.min(MOST_MORE)),
            first: self.entry_at(va).into_bits(),
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
    /// Leaf entries that map something, and the bytes that they cover.
    entries: u64,
    bytes: u64,
    /// Runs that are poison.
    poison: usize,
    /// Everything below this address is there.
    complete_to: Option<u64>,
}

/// A walk that collects [`Mappings`], and can be interrupted.
#[derive(Debug)]
pub struct Collector {
    walk: TableWalk,
    mappings: Mappings,
    runs: usize,
    block_bits: u32,
    /// The last address that was met.
    last: u64,
}

impl Collector {
    /// Entries that are loaded before what they cost is counted.
    const PIECE: u64 = 4096;
    /// What it costs to keep a run, in entries that are loaded: memory that is new to the process.
    const RUN_COST: u64 = 4;

    /// Begins to walk a context, within a budget.
    pub fn new(context: &Context, fb_offset: u64, budget: CollectBudget) -> Self {
        let mut mappings = Mappings::default();
        if context.enabled && context.root.valid() {
            mappings.tables.push(Table::root(context, fb_offset));
        }
        Self {
            walk: TableWalk::new(context, fb_offset, budget.walk, WalkDepth::Entries),
            mappings,
            runs: budget.runs,
            block_bits: context.block_bits,
            last: context.start_page << PAGE_SHIFT,
        }
    }

    /// Goes on for as many entries as are left, present or not; a run that is kept counts as some more. `poisoned` tells, by its place and its bits, whether an entry is what a loss left
    /// behind. Returns whether that was all.
    pub fn step<M: PhysicalMemory + ?Sized>(
        &mut self,
        memory: &M,
        left: &mut u64,
        mut poisoned: impl FnMut(Location, u64) -> bool,
    ) -> bool {
        let Self {
            walk,
            mappings,
            runs,
            block_bits,
            last,
        } = self;
        while *left > 0 {
            let given = Self::PIECE.min(*left);
            let (mut rest, before) = (given, mappings.runs.len());
            let over = walk.step(memory, &mut rest, &mut |entry| {
                *last = entry.va.get();
                mappings.tables.extend(Table::below(entry, *block_bits));
                if let Some(run) = leaf(entry, *block_bits, &mut poisoned) {
                    mappings.push(run, *runs);
                }
            });
            let new = mappings.runs.len().saturating_sub(before) as u64;
            let cost = given
                .saturating_sub(rest)
                .saturating_add(new.saturating_mul(Self::RUN_COST));
            *left = left.saturating_sub(cost);
            if over {
                if walk.summary().truncated {
                    mappings.cut_off(*last);
                }
                return true;
            }
        }
        false
    }

    /// What was collected.
    pub fn finish(self) -> Mappings {
        self.mappings
    }
}

/// How far [`Mappings::drop_poison`] has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sieve {
    read: usize,
    write: usize,
}

/// [`Mappings::split`], interrupted.
#[derive(Debug, Default)]
pub struct Splitter {
    run: usize,
    /// Entries of that run that are dealt with.
    skip: u64,
    inside: Mappings,
    outside: Mappings,
}

impl Splitter {
    /// Goes on for as many parts of runs as are left. Returns whether that was all.
    pub fn step(&mut self, of: &Mappings, ranges: &[(u64, u64)], left: &mut u64) -> bool {
        while let Some(run) = of.runs.get(self.run) {
            while self.skip < run.entries() {
                let Some(fewer) = left.checked_sub(1) else {
                    return false;
                };
                *left = fewer;
                let va = run.start().saturating_add(self.skip.saturating_mul(run.size()));
                let next = ranges.get(ranges.partition_point(|(_, end)| *end <= va)..);
                let (within, limit) = match next.and_then(<[_]>::first) {
                    Some((start, end)) if *start <= va => (true, *end),
                    Some((start, _)) => (false, *start),
                    None => (false, u64::MAX),
                };
                let rest = run.entries().saturating_sub(self.skip);
                let count = limit.saturating_sub(va).div_ceil(run.size()).clamp(1, rest);
                let target = if within {
                    &mut self.inside
                } else {
                    &mut self.outside
                };
                target.count_in(&run.part(self.skip, count));
                target.runs.push(run.part(self.skip, count));
                self.skip = self.skip.saturating_add(count);
            }
            self.skip = 0;
            self.run = self.run.saturating_add(1);
        }
        self.inside.complete_to = of.complete_to;
        self.outside.complete_to = of.complete_to;
        true
    }

    /// The leaf entries whose first address is in one of the ranges, and the others.
    pub fn finish(self) -> (Mappings, Mappings) {
        (self.inside, self.outside)
    }
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
        let mut collector = Collector::new(context, fb_offset, budget);
        let mut left = u64::MAX;
        while !collector.step(memory, &mut left, &mut poisoned) {}
        collector.finish()
    }

    /// Runs from which on there is room for all that may come: 2 MiB of them.
    const MANY: usize = 1 << 17;

    fn push(&mut self, run: Run, limit: usize) {
        let extended = self.runs.last_mut().is_some_and(|last| last.extend(&run));
        if !extended && self.runs.len() >= limit {
            return self.cut_off(run.start());
        }
        if self.runs.len() == Self::MANY {
            // From here on a list that grows would have to be moved, by its page tables at best. Room that is not used takes no memory.
            let _ = self.runs.try_reserve_exact(limit.saturating_sub(Self::MANY));
        }
        if !extended {
            self.runs.push(run);
            self.poison = self
                .poison
                .saturating_add(usize::from(run.kind() == LeafKind::Poison));
        }
        if run.kind() != LeafKind::Poison {
            self.entries = self.entries.saturating_add(run.entries());
            self.bytes = self
                .bytes
                .saturating_add(run.entries().saturating_mul(run.size()));
        }
    }

    fn count_in(&mut self, run: &Run) {
        if run.kind() == LeafKind::Poison {
            self.poison = self.poison.saturating_add(1);
        } else {
            self.entries = self.entries.saturating_add(run.entries());
            self.bytes = self
                .bytes
                .saturating_add(run.entries().saturating_mul(run.size()));
        }
    }

    /// Whether some of it is poison.
    pub(crate) const fn has_poison(&self) -> bool {
        self.poison > 0
    }

    /// Forgets the runs that are poison, which maps nothing, as far as there are runs left to look at. Returns whether that was all. Until
    /// then they are in no order.
    pub fn drop_poison(&mut self, sieve: &mut Sieve, left: &mut u64) -> bool {
        if self.poison == 0 {
            return true;
        }
        while let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            let Some(run) = self.runs.get(sieve.read).copied() else {
                self.runs.truncate(sieve.write);
                self.poison = 0;
                return true;
            };
            sieve.read = sieve.read.saturating_add(1);
            if run.kind() == LeafKind::Poison {
                continue;
            }
            if let Some(place) = self.runs.get_mut(sieve.write) {
                *place = run;
            }
            sieve.write = sieve.write.saturating_add(1);
        }
        false
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
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes that they cover.
    pub const fn bytes(&self) -> u64 {
        self.bytes
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
            .any(|run| run.kind() != LeafKind::Poison)
    }

    /// Forgets everything in pieces: to give a hundred megabytes back to the host takes it some time. Goes on for as many runs as are left;
    /// one costs a fourth. Returns whether that was all.
    pub fn release(&mut self, left: &mut u64) -> bool {
        const PIECE: usize = 1 << 16;
        while !self.runs.is_empty() {
            if *left == 0 {
                return false;
            }
            let keep = self.runs.len().saturating_sub(PIECE);
            self.runs.truncate(keep);
            self.runs.shrink_to(keep);
            *left = left.saturating_sub((PIECE / 4) as u64);
        }
        true
    }

    /// Gives back the memory that was set aside for more.
    pub fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.tables.shrink_to_fit();
    }

    /// The leaf entries whose first address is in one of the ranges (start, end), and the others. Ranges ascend and do not overlap.
    #[must_use]
    pub fn split(&self, ranges: &[(u64, u64)]) -> (Self, Self) {
        let mut splitter = Splitter::default();
        let mut left = u64::MAX;
        while !splitter.step(self, ranges, &mut left) {}
        splitter.finish()
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
        place: Place::new()
            .with_page(entry.va.get() >> PAGE_SHIFT)
            .with_shift(shift)
            .with_level(u8::try_from(entry.level.index()).unwrap_or(0))
            .with_kind(match kind {
                LeafKind::Memory => 0,
                LeafKind::Prt => 1,
                LeafKind::Poison => 2,
            }),
        first: bits.into_bits(),
    })
}
