//! Which pages of VRAM are page tables, whose, and how they came back after a loss.
//!
//! Filled by a walk of directories when a new root turns up, by what packets write into directories that are known, and anew from every
//! snapshot. So a table that is being filled before its parent points at it is not known yet.

use std::collections::BTreeMap;

use gart::{Level, Table};

use super::spaces::SpaceId;

/// Tables that are known at a time: those of 128 GiB of 4 KiB pages.
pub(super) const LIMIT: usize = 1 << 16;

/// How a table stands since the present generation began, or since the last snapshot that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It was not lost.
    Kept,
    /// It was, and nothing was written into it since.
    Lost,
    /// Its shadow was copied into it.
    Copied,
    /// Entries that map something were written into it.
    Rewritten,
    /// It was lost, and then emptied, whether it had come back in between or not: the driver has made another table of it.
    Recycled,
}

/// A page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) space: SpaceId,
    pub(super) level: Level,
    pub(super) bytes: u64,
    pub(super) state: State,
}

/// Page tables by their offset in VRAM.
#[derive(Debug, Default)]
pub(super) struct TableIndex {
    tables: BTreeMap<u64, Known>,
}

impl TableIndex {
    /// The table that an offset lies in, and where it begins.
    pub(super) fn find(&mut self, offset: u64) -> Option<(u64, &mut Known)> {
        let (start, known) = self.tables.range_mut(..=offset).next_back()?;
        (offset.saturating_sub(*start) < known.bytes).then_some((*start, known))
    }

    /// How the table that an offset lies in stands.
    pub(super) fn state_at(&self, offset: u64) -> Option<State> {
        let (start, known) = self.tables.range(..=offset).next_back()?;
        (offset.saturating_sub(*start) < known.bytes).then_some(known.state)
    }

    pub(super) fn at(&self, start: u64) -> Option<&Known> {
        self.tables.get(&start)
    }

    /// Takes up a table that begins at an offset.
    pub(super) fn insert(&mut self, start: u64, table: &Table, space: SpaceId) {
        let state = match self.tables.get(&start) {
            Some(known) if known.space == space && known.level == table.level => return,
            Some(known) if known.state == State::Kept => State::Kept,
            // What was lost there was something else.
            Some(_) => State::Recycled,
            None if self.tables.len() >= LIMIT => return,
            None => State::Kept,
        };
        self.tables.insert(
            start,
            Known {
                space,
                level: table.level,
                bytes: table.bytes,
                state,
            },
        );
    }

    pub(super) fn forget(&mut self, space: SpaceId) {
        self.tables.retain(|_, known| known.space != space);
    }

    /// What is in a range of VRAM is lost; calls `each` with every space that has a table there.
    pub(super) fn lose(&mut self, start: u64, end: u64, mut each: impl FnMut(SpaceId)) {
        for (at, known) in &mut self.tables {
            if *at < end && at.saturating_add(known.bytes) > start {
                known.state = State::Lost;
                each(known.space);
            }
        }
    }

    /// Counting starts over: what was lost and did not come back is still lost.
    pub(super) fn start_over(&mut self) {
        self.tables.retain(|_, known| known.state != State::Recycled);
        for known in self.tables.values_mut() {
            if known.state != State::Lost {
                known.state = State::Kept;
            }
        }
    }

    /// Where tables of leaf entries of a space begin, lowest first.
    pub(super) fn leaves(&self, space: SpaceId) -> impl Iterator<Item = u64> {
        self.tables
            .iter()
            .filter(move |(_, known)| known.space == space && known.level == Level::Ptb)
            .map(|(start, _)| *start)
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Known> {
        self.tables.values()
    }
}

#[cfg(test)]
mod tests {
    use gart::{Location, VramOffset};

    use super::super::spaces::Spaces;
    use super::*;

    fn table(at: u64) -> Table {
        Table {
            at: Location::Vram(VramOffset::new(at)),
            bytes: 4096,
            level: Level::Ptb,
        }
    }

    /// Two spaces' numbers.
    fn two() -> (SpaceId, SpaceId) {
        let tables = gart::testing::TestTables::four_levels();
        let other = gart::testing::TestTables::new(3, 0, 0, 1 << 30, VramOffset::new(1 << 20));
        let mut spaces = Spaces::default();
        let mut point = |context| spaces.point(gart::Vmid::from_field(1), context, 0, 0).0;
        (point(tables.context()), point(other.context()))
    }

    #[test]
    fn a_table_is_found_by_any_of_its_bytes() {
        let (space, _) = two();
        let mut index = TableIndex::default();
        index.insert(0x3000, &table(0x3000), space);
        for (offset, found) in [(0x2fff, false), (0x3000, true), (0x3ff8, true), (0x4000, false)] {
            assert_eq!(index.find(offset).is_some(), found, "{offset:#x}");
        }
    }

    #[test]
    fn tables_of_leaf_entries_are_told_by_space_and_in_order() {
        let (space, other) = two();
        let mut index = TableIndex::default();
        for (at, of) in [(0x5000, space), (0x2000, space), (0x3000, other)] {
            index.insert(at, &table(at), of);
        }
        let directory = Table {
            level: Level::Pdb0,
            ..table(0x1000)
        };
        index.insert(0x1000, &directory, space);
        assert_eq!(index.leaves(space).collect::<Vec<_>>(), [0x2000, 0x5000]);
    }

    #[test]
    fn what_was_lost_stays_lost_until_it_comes_back() {
        let (space, other) = two();
        let mut index = TableIndex::default();
        for at in [0x1000, 0x2000, 0x3000] {
            index.insert(at, &table(at), space);
        }
        let mut hit = Vec::new();
        index.lose(0x1800, 0x2800, |space| hit.push(space));
        assert_eq!(hit, [space, space]);
        // Its parent's entry is written again: the same table, still lost.
        index.insert(0x1000, &table(0x1000), space);
        // Another space's table now.
        index.insert(0x2000, &table(0x2000), other);
        let states: Vec<_> = index.all().map(|known| known.state).collect();
        assert_eq!(states, [State::Lost, State::Recycled, State::Kept]);
        index.start_over();
        let states: Vec<_> = index.all().map(|known| known.state).collect();
        assert_eq!(states, [State::Lost, State::Kept]);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let (space, _) = two();
        let mut index = TableIndex::default();
        for page in 0..LIMIT as u64 + 10 {
            index.insert(page << 12, &table(page << 12), space);
        }
        assert_eq!(index.all().count(), LIMIT);
    }
}
