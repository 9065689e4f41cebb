//! The enumerating walk: everything that a context maps, within a budget.

use crate::context::{PAGE_SHIFT, PAGE_SIZE};
use crate::{Context, GpuVa, Level, Location, Pde, PhysicalMemory, Pte};

/// How much an enumerating walk may do. Tables are guest memory: they can point at themselves or at garbage, so that a tree of
/// four levels has up to 2^36 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkBudget {
    /// Tables that may be opened, over all levels.
    pub tables: u64,
    /// Entries that may be loaded, present or not, over all tables.
    pub entries: u64,
}

impl Default for WalkBudget {
    /// Enough for 32 GiB of 4 KiB pages; some tens of milliseconds of work.
    fn default() -> Self {
        Self {
            tables: 1 << 15,
            entries: 1 << 23,
        }
    }
}

/// What a present entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// It points at a table.
    Directory {
        /// Where the table begins.
        location: Location,
        /// The entry.
        entry: Pde,
    },
    /// It maps memory.
    Page {
        /// Where the page begins.
        location: Location,
        /// The entry.
        entry: Pte,
    },
    /// It maps a partially resident page that is not resident.
    Prt {
        /// The entry.
        entry: Pte,
    },
}

/// A present entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VisitedEntry {
    /// Where it lies.
    pub at: Location,
    /// The kind of table that holds it.
    pub level: Level,
    /// First address that it covers.
    pub va: GpuVa,
    /// Bytes that it covers, cut off at the end of the context.
    pub len: u64,
    /// What it is.
    pub kind: EntryKind,
}

/// The count of an enumerating walk. Arrays are indexed by [`Level::index`]; `Eq` is meant for comparing two walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSummary {
    /// Tables opened.
    pub tables: [u64; Level::COUNT],
    /// Present entries, directories included.
    pub entries: [u64; Level::COUNT],
    /// Leaves, of any size, that map VRAM.
    pub vram_pages: u64,
    /// Leaves, of any size, that map the bus.
    pub system_pages: u64,
    /// Leaves, of any size, of partially resident pages.
    pub prt_pages: u64,
    /// Bytes mapped to VRAM.
    pub vram_bytes: u64,
    /// Bytes mapped to the bus.
    pub system_bytes: u64,
    /// Bytes covered by partially resident pages.
    pub prt_bytes: u64,
    /// Directory entries (and the root) whose table is, wholly or from some entry on, in no memory.
    pub tables_out_of_memory: u64,
    /// Leaves that are not wholly in memory.
    pub pages_out_of_memory: u64,
    /// The budget ran out: all other numbers are lower bounds.
    pub truncated: bool,
}

impl TableSummary {
    /// All bytes mapped to memory.
    pub const fn mapped_bytes(&self) -> u64 {
        self.vram_bytes.saturating_add(self.system_bytes)
    }
}

/// How deep an enumerating walk looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkDepth {
    /// Everything, and whether pages are in memory.
    Pages,
    /// Everything.
    Entries,
    /// Directories only: page tables are not opened.
    Directories,
}

/// Visits every present entry of a context, parents before children, addresses ascending. `fb_offset` is FB_OFFSET in bytes.
/// A disabled context, and one whose base register is not valid, has no entries.
pub fn walk_tables<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    walk(context, fb_offset, memory, budget, WalkDepth::Pages, visitor)
}

/// Visits the present entries of directories alone, so that every table is met and no page table is read.
pub fn walk_directories<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    walk(
        context,
        fb_offset,
        memory,
        budget,
        WalkDepth::Directories,
        visitor,
    )
}

fn walk<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    depth: WalkDepth,
    mut visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    let mut walk = TableWalk::new(context, fb_offset, budget, depth);
    let mut left = u64::MAX;
    while !walk.step(memory, &mut left, &mut visitor) {}
    walk.summary
}

/// The entry of `counts` that belongs to `level`, plus `n`.
fn count(counts: &mut [u64; Level::COUNT], level: Level) {
    if let Some(count) = counts.get_mut(level.index()) {
        *count = count.saturating_add(1);
    }
}

fn spend(budget: &mut u64) -> bool {
    match budget.checked_sub(1) {
        Some(left) => {
            *budget = left;
            true
        }
        None => false,
    }
}

/// Entries that are read from memory at once: what a page holds.
const CHUNK: usize = 512;

/// Entries that have been read ahead.
#[derive(Debug)]
struct Chunk {
    bytes: [u8; CHUNK * 8],
    next: usize,
    end: usize,
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            bytes: [0; CHUNK * 8],
            next: 0,
            end: 0,
        }
    }
}

impl Chunk {
    /// Nothing is read ahead.
    const fn forget(&mut self) {
        self.next = 0;
        self.end = 0;
    }

    /// The next entry. `fill` reads more, where it can, and says how many bytes.
    fn next(&mut self, fill: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<u64> {
        if self.next >= self.end {
            self.end = fill(&mut self.bytes)?;
            self.next = 0;
        }
        let entry = self.bytes.get(self.next..)?.first_chunk()?;
        self.next = self.next.saturating_add(8);
        Some(u64::from_le_bytes(*entry))
    }
}

/// Room for so many entries, as far as there is room.
fn first_entries(bytes: &mut [u8], count: u64) -> Option<&mut [u8]> {
    let wanted = usize::try_from(count.saturating_mul(8)).unwrap_or(usize::MAX);
    let len = wanted.min(bytes.len());
    bytes.get_mut(..len)
}

/// A table that is being gone through.
#[derive(Debug)]
struct Opened {
    level: Level,
    location: Location,
    /// The next entry, and the last one.
    index: u64,
    last: u64,
    /// What the next entry covers begins so many bytes from the context's start; an entry covers so many.
    offset: u64,
    covers: u64,
    chunk: Chunk,
}

/// An enumerating walk that can be interrupted. It holds a table for each level at most.
#[derive(Debug)]
pub struct TableWalk {
    context: Context,
    fb_offset: u64,
    budget: WalkBudget,
    depth: WalkDepth,
    /// Bytes from the context's start to its end.
    size: u64,
    /// From the root down.
    open: Vec<Opened>,
    summary: TableSummary,
}

impl TableWalk {
    /// Begins at the root.
    pub fn new(context: &Context, fb_offset: u64, budget: WalkBudget, depth: WalkDepth) -> Self {
        let pages = context
            .end_page
            .saturating_add(1)
            .saturating_sub(context.start_page);
        let mut walk = Self {
            context: *context,
            fb_offset,
            budget,
            depth,
            size: pages.saturating_mul(PAGE_SIZE),
            open: Vec::with_capacity(Level::COUNT),
            summary: TableSummary::default(),
        };
        if context.enabled && context.root.valid() && pages > 0 {
            walk.open(context.root_level, context.root, 0);
        }
        walk
    }

    /// What was found so far.
    pub const fn summary(&self) -> &TableSummary {
        &self.summary
    }

    /// Goes on for as many entries as are left, present or not. Returns whether the walk is over.
    pub fn step<M: PhysicalMemory + ?Sized>(
        &mut self,
        memory: &M,
        left: &mut u64,
        visitor: &mut impl FnMut(&VisitedEntry),
    ) -> bool {
        // What was read ahead may have changed since.
        for table in &mut self.open {
            table.chunk.forget();
        }
        while let Some(table) = self.open.last_mut() {
            if table.index > table.last || table.offset >= self.size {
                self.open.pop();
                continue;
            }
            if !spend(left) {
                return false;
            }
            if !spend(&mut self.budget.entries) {
                self.cut_off();
                return true;
            }
            let (level, offset, covers) = (table.level, table.offset, table.covers);
            let at = table.location.plus(table.index << 3);
            let end = table.last.saturating_sub(table.index).saturating_add(1);
            let count = end.min(self.size.saturating_sub(offset).div_ceil(covers));
            let loaded = table.chunk.next(|bytes| {
                let bytes = first_entries(bytes, count)?;
                memory.read(at, bytes).ok()?;
                Some(bytes.len())
            });
            table.index = table.index.saturating_add(1);
            table.offset = offset.saturating_add(covers);
            let Some(raw) = loaded.or_else(|| memory.load_u64(at).ok()) else {
                self.summary.tables_out_of_memory = self.summary.tables_out_of_memory.saturating_add(1);
                self.open.pop();
                continue;
            };
            if raw != 0 {
                self.entry(memory, level, at, Pde::from_bits(raw), offset, covers, visitor);
            }
        }
        true
    }

    fn cut_off(&mut self) {
        self.summary.truncated = true;
        self.open.clear();
    }

    /// Opens a table whose first entry covers `start` (bytes from the context's start). There are never more open than there are levels.
    fn open(&mut self, level: Level, table: Pde, start: u64) {
        if !spend(&mut self.budget.tables) {
            return self.cut_off();
        }
        count(&mut self.summary.tables, level);
        if level == Level::Ptb && self.depth == WalkDepth::Directories {
            return;
        }
        self.open.push(Opened {
            level,
            location: table.location(self.fb_offset),
            index: 0,
            last: if level == self.context.root_level {
                u64::MAX
            } else {
                level.last_index(self.context.block_bits)
            },
            offset: start,
            covers: 1_u64 << level.entry_shift(self.context.block_bits).min(GpuVa::BITS),
            chunk: Chunk::default(),
        });
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is known where an entry is loaded"
    )]
    fn entry<M: PhysicalMemory + ?Sized>(
        &mut self,
        memory: &M,
        level: Level,
        at: Location,
        entry: Pde,
        offset: u64,
        covers: u64,
        visitor: &mut impl FnMut(&VisitedEntry),
    ) {
        let len = covers.min(self.size.saturating_sub(offset));
        let below = level.below().filter(|_| !entry.pde_pte());
        let leaf = entry.as_pte();
        let kind = match below {
            Some(_) if entry.valid() => EntryKind::Directory {
                location: entry.location(self.fb_offset),
                entry,
            },
            None if leaf.valid() => EntryKind::Page {
                location: leaf.location(self.fb_offset),
                entry: leaf,
            },
            None if leaf.is_unmapped_prt() => EntryKind::Prt { entry: leaf },
            _ => return,
        };
        count(&mut self.summary.entries, level);
        self.tally(memory, kind, len);
        let va = GpuVa::new(self.context.start_page << PAGE_SHIFT).plus(offset);
        visitor(&VisitedEntry {
            at,
            level,
            va,
            len,
            kind,
        });
        if let (Some(below), EntryKind::Directory { entry, .. }) = (below, kind) {
            self.open(below, entry, offset);
        }
    }

    fn tally<M: PhysicalMemory + ?Sized>(&mut self, memory: &M, kind: EntryKind, len: u64) {
        let summary = &mut self.summary;
        let add = |pages: &mut u64, bytes: &mut u64| {
            *pages = pages.saturating_add(1);
            *bytes = bytes.saturating_add(len);
        };
        match kind {
            EntryKind::Directory { .. } => return,
            EntryKind::Prt { .. } => return add(&mut summary.prt_pages, &mut summary.prt_bytes),
            EntryKind::Page {
                location: Location::Vram(_),
                ..
            } => add(&mut summary.vram_pages, &mut summary.vram_bytes),
            EntryKind::Page {
                location: Location::System(_),
                ..
            } => {
                add(&mut summary.system_pages, &mut summary.system_bytes);
            }
        }
        if self.depth == WalkDepth::Pages
            && let EntryKind::Page { location, .. } = kind
            && !memory.reaches(location, len)
        {
            summary.pages_out_of_memory = summary.pages_out_of_memory.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
