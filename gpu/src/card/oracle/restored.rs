//! Since when the entries of lost tables are what they are.
//!
//! Every entry that a packet writes into a table that was lost is taken down with its time, unless it had that value already. So the
//! latest time over the entries that lead to what a space mapped before is the time of the packet that made the space whole. Whether it
//! *is* whole is for a comparison to say.

use std::collections::HashMap;

use gart::{
    Context, EntryKind, GpuVa, Location, Mappings, Pde, PhysicalMemory, TableWalk, VisitedEntry, VramOffset,
    WalkBudget, WalkDepth,
};

use super::Oracle;
use super::spaces::Space;
use super::tables::State;

/// Entries that are taken down: those of 4 GiB of 4 KiB pages.
pub(super) const LIMIT: usize = 1 << 20;

/// Entries written into lost tables since the present generation began.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Bits by the place in VRAM, with the time of the packet that wrote them in microseconds since the daemon started.
    entries: HashMap<u64, (u64, u64)>,
    /// There were more.
    full: bool,
}

impl Restored {
    /// An entry has these bits now; none if it maps nothing.
    fn note(&mut self, at: u64, bits: Option<u64>, us: u64) {
        let Some(bits) = bits else {
            self.entries.remove(&at);
            return;
        };
        let is_full = self.entries.len() >= LIMIT;
        match self.entries.get_mut(&at) {
            Some((known, _)) if *known == bits => {}
            Some(entry) => *entry = (bits, us),
            None if is_full => self.full = true,
            None => {
                self.entries.insert(at, (bits, us));
            }
        }
    }
}

/// What the entries that were looked at say.
#[derive(Debug, Clone, Copy)]
enum Since {
    /// None of them was written by a packet.
    Ever,
    /// Microseconds since the daemon started.
    At(u64),
    /// One was written by something else, or too many were.
    Unknown,
}

/// A walk for the time of the packet that wrote the last of the entries that lead to what a space mapped before, if packets wrote all of
/// those that were lost. Only for a space that is as it was.
#[derive(Debug)]
pub(super) struct WholeWalk {
    walk: TableWalk,
    since: Since,
}

impl WholeWalk {
    /// `None` if nothing was lost, or too much was restored to know of each entry.
    pub(super) fn new(oracle: &Oracle, space: &Space, budget: WalkBudget) -> Option<Self> {
        if !space.lost || space.reference.is_none() || oracle.restored.full {
            return None;
        }
        let context = Context {
            enabled: true,
            ..space.context
        };
        Some(Self {
            walk: TableWalk::new(&context, space.fb_offset, budget, WalkDepth::Entries),
            since: Since::Ever,
        })
    }

    /// Goes on for as many entries as are left. Gives the time, if there is one, when it is over.
    pub(super) fn step<M: PhysicalMemory>(
        &mut self,
        oracle: &Oracle,
        memory: &M,
        space: &Space,
        left: &mut u64,
    ) -> Option<Option<u64>> {
        let Some(reference) = &space.reference else {
            return Some(None);
        };
        let Self { walk, since } = self;
        let over = walk.step(memory, left, &mut |entry| {
            *since = oracle.later(*since, &reference.mappings, entry);
        });
        match *since {
            Since::Unknown => Some(None),
            _ if !over => None,
            Since::At(us) if !walk.summary().truncated => Some(Some(us)),
            _ => Some(None),
        }
    }
}

impl Oracle {
    /// A packet has written entries into a table that was lost.
    pub(super) fn note_restored<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        at: VramOffset,
        entries: u64,
        us: u64,
    ) {
        for index in 0..entries {
            let at = at.plus(index << 3);
            let place = Location::Vram(at);
            let Ok(bits) = memory.load_u64(place) else { return };
            let entry = Pde::from_bits(bits);
            let maps = (entry.valid() || entry.as_pte().is_unmapped_prt()) && !self.is_poison(place, bits);
            self.restored.note(at.get(), maps.then_some(bits), us);
        }
    }

    fn later(&self, since: Since, before: &Mappings, entry: &VisitedEntry) -> Since {
        let Location::Vram(at) = entry.at else {
            return since;
        };
        if matches!(since, Since::Unknown) || !before.maps_in(GpuVa::new(entry.va.get()), entry.len) {
            return since;
        }
        let bits = match entry.kind {
            EntryKind::Directory { entry, .. } => entry.into_bits(),
            EntryKind::Page { entry, .. } | EntryKind::Prt { entry } => entry.into_bits(),
        };
        match self.restored.entries.get(&at.get()) {
            Some((known, us)) if *known == bits => match since {
                Since::At(latest) => Since::At(latest.max(*us)),
                _ => Since::At(*us),
            },
            Some(_) => Since::Unknown,
            None if self.tables.state_at(at.get()) == Some(State::Lost) => Since::Unknown,
            // It was not lost.
            None => since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_time_at_which_it_became_what_it_is() {
        let mut restored = Restored::default();
        restored.note(8, Some(3), 10);
        restored.note(8, Some(3), 20);
        assert_eq!(restored.entries.get(&8), Some(&(3, 10)));
        restored.note(8, Some(5), 30);
        assert_eq!(restored.entries.get(&8), Some(&(5, 30)));
        // Taken away in between: it was not there all the time.
        restored.note(8, None, 40);
        restored.note(8, Some(5), 50);
        assert_eq!(restored.entries.get(&8), Some(&(5, 50)));
        assert!(!restored.full);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut restored = Restored::default();
        for at in 0..LIMIT as u64 + 1 {
            restored.note(at << 3, Some(1), 0);
        }
        assert_eq!((restored.entries.len(), restored.full), (LIMIT, true));
    }
}
