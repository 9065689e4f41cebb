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
enum Depth {
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
    walk(context, fb_offset, memory, budget, Depth::Pages, visitor)
}

/// [`walk_tables`] without a look at whether pages are in memory: `pages_out_of_memory` stays 0.
pub(crate) fn walk_entries<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    walk(context, fb_offset, memory, budget, Depth::Entries, visitor)
}

/// Visits the present entries of directories alone, so that every table is met and no page table is read.
pub fn walk_directories<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    walk(context, fb_offset, memory, budget, Depth::Directories, visitor)
}

fn walk<M: PhysicalMemory + ?Sized>(
    context: &Context,
    fb_offset: u64,
    memory: &M,
    budget: WalkBudget,
    depth: Depth,
    visitor: impl FnMut(&VisitedEntry),
) -> TableSummary {
    let pages = context
        .end_page
        .saturating_add(1)
        .saturating_sub(context.start_page);
    let mut walk = Walk {
        context,
        fb_offset,
        memory,
        budget,
        depth,
        size: pages.saturating_mul(PAGE_SIZE),
        visitor,
        summary: TableSummary::default(),
    };
    if context.enabled && context.root.valid() && pages > 0 {
        walk.table(context.root_level, context.root, 0);
    }
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

struct Walk<'a, M: ?Sized, V> {
    context: &'a Context,
    fb_offset: u64,
    memory: &'a M,
    budget: WalkBudget,
    depth: Depth,
    /// Bytes from the context's start to its end.
    size: u64,
    visitor: V,
    summary: TableSummary,
}

impl<M: PhysicalMemory + ?Sized, V: FnMut(&VisitedEntry)> Walk<'_, M, V> {
    /// Walks one table whose first entry covers `start` (bytes from the context's start). Recursion ends with the levels.
    fn table(&mut self, level: Level, table: Pde, start: u64) {
        if !spend(&mut self.budget.tables) {
            self.summary.truncated = true;
            return;
        }
        count(&mut self.summary.tables, level);
        let location = table.location(self.fb_offset);
        let covers = 1_u64 << level.entry_shift(self.context.block_bits).min(GpuVa::BITS);
        let last = if level == self.context.root_level {
            u64::MAX
        } else {
            level.last_index(self.context.block_bits)
        };

        if level == Level::Ptb && self.depth == Depth::Directories {
            return;
        }
        let mut index: u64 = 0;
        let mut offset = start;
        let mut chunk = Chunk::default();
        while index <= last && offset < self.size {
            if !spend(&mut self.budget.entries) {
                self.summary.truncated = true;
                return;
            }
            let at = location.plus(index << 3);
            let loaded = chunk.next(|bytes| {
                let left = self.size.saturating_sub(offset).div_ceil(covers);
                let count = last.saturating_sub(index).saturating_add(1).min(left);
                let bytes = first_entries(bytes, count)?;
                self.memory.read(at, bytes).ok()?;
                Some(bytes.len())
            });
            let Some(raw) = loaded.or_else(|| self.memory.load_u64(at).ok()) else {
                self.summary.tables_out_of_memory = self.summary.tables_out_of_memory.saturating_add(1);
                return;
            };
            if raw != 0 {
                self.entry(level, at, Pde::from_bits(raw), offset, covers);
            }
            if self.summary.truncated {
                return;
            }
            index = index.saturating_add(1);
            offset = offset.saturating_add(covers);
        }
    }

    fn entry(&mut self, level: Level, at: Location, entry: Pde, offset: u64, covers: u64) {
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
        self.tally(kind, len);
        let va = GpuVa::new(self.context.start_page << PAGE_SHIFT).plus(offset);
        (self.visitor)(&VisitedEntry {
            at,
            level,
            va,
            len,
            kind,
        });
        if let (Some(below), EntryKind::Directory { entry, .. }) = (below, kind) {
            self.table(below, entry, offset);
        }
    }

    fn tally(&mut self, kind: EntryKind, len: u64) {
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
        if self.depth == Depth::Pages
            && let EntryKind::Page { location, .. } = kind
            && !self.memory.reaches(location, len)
        {
            summary.pages_out_of_memory = summary.pages_out_of_memory.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
