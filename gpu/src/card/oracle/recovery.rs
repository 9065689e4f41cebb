//! How page tables come back, seen from the packets.
//!
//! 6.1 copies each table from a shadow in system memory inside the reset (`amdgpu_device_recover_vram`); later drivers write entries again
//! with the first submission of an address space (`amdgpu_vm_validate`). Both kinds of packets also do other things, so a packet counts
//! only if it restores: a copy out of system memory that fills a known table from its start, and entries that map something and go into
//! a table that was lost and did not come back by a copy.

use std::time::Duration;

use gart::{EntryKind, Level, Location, Pde, PhysicalMemory, Table, VisitedEntry, VramOffset};

use super::spaces::{Space, SpaceId, Spaces};
use super::tables::{State, TableIndex};
use super::{Oracle, micros};

/// Packets since the present generation began, or since the last snapshot that was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovery {
    /// When that was, in microseconds since the daemon started.
    pub(super) since_us: u64,
    /// Whether contents of VRAM were lost since.
    pub(super) lost: bool,
    pub(super) copies: u64,
    pub(super) copied_bytes: u64,
    pub(super) rewrites: u64,
    pub(super) rewritten_entries: u64,
    /// When the first packet came, and the last.
    pub(super) times: Option<(u64, u64)>,
}

impl Recovery {
    fn seen(&mut self, now: Duration) {
        let us = micros(now);
        let (first, _) = self.times.unwrap_or((us, us));
        self.times = Some((first, us));
    }
}

/// Whose table something was written into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::card) struct Hit {
    /// The VMID that its space had last.
    pub(in crate::card) vmid: u8,
    /// Its level.
    pub(in crate::card) level: Level,
}

/// Entries that are looked at after an update: what a table of the usual size has.
const LOOK: u64 = 512;

impl Oracle {
    /// Entries have been written at an offset in VRAM. Says whose table it is, if that is known.
    pub(in crate::card) fn updated<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        at: VramOffset,
        entries: u64,
        now: Duration,
    ) -> Option<Hit> {
        // What the packet should have written may not be there: it faulted, or was made to fail.
        let maps = |index: u64| {
            let at = Location::Vram(at.plus(index << 3));
            memory.load_u64(at).ok().map(|bits| {
                let entry = Pde::from_bits(bits);
                let present = entry.valid() || entry.as_pte().is_unmapped_prt();
                (present, present && !self.is_poison(at, bits))
            })
        };
        let ends = [maps(0), maps(entries.saturating_sub(1))];
        let restores = entries > 0 && ends.contains(&Some((true, true)));
        let empty = entries > 0 && ends == [Some((false, false)); 2];
        let (start, known) = self.tables.find(at.get())?;
        let (space, level) = (known.space, known.level);
        let within = known.bytes.saturating_sub(at.get().saturating_sub(start)) >> 3;
        // `amdgpu_vm_pt_clear`: all of a new table, in one packet.
        let emptied = empty && at.get() == start && entries << 3 >= known.bytes;
        let own = |space: &Space| matches!(space.root, Location::Vram(root) if root.get() == start);
        if emptied && self.spaces.get(space).is_some_and(own) {
            // The driver makes another address space here; the one before is no more, however it ended.
            self.spaces.forget(space);
            self.tables.forget(space);
            return None;
        }
        match known.state {
            State::Lost | State::Rewritten if restores => {
                known.state = State::Rewritten;
                self.recovery.rewrites = self.recovery.rewrites.saturating_add(1);
                self.recovery.rewritten_entries = self.recovery.rewritten_entries.saturating_add(entries);
                self.recovery.seen(now);
            }
            State::Lost | State::Copied | State::Rewritten if emptied => known.state = State::Recycled,
            _ => {}
        }
        if known.state != State::Kept {
            self.note_restored(memory, at, entries.min(within), micros(now));
        }
        self.learn(memory, space, level, at, entries);
        self.hit(space, level)
    }

    /// Bytes have been copied from system memory to an offset in VRAM. If that filled a table, says whose.
    pub(in crate::card) fn copied<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        at: VramOffset,
        bytes: u64,
        now: Duration,
    ) -> Option<Hit> {
        let place = Location::Vram(at);
        let unchanged = memory
            .load_u64(place)
            .is_ok_and(|bits| self.is_poison(place, bits));
        let (start, known) = self.tables.find(at.get())?;
        if start != at.get() || bytes > known.bytes || unchanged {
            return None;
        }
        let kept = known.state == State::Kept;
        known.state = State::Copied;
        let (space, level) = (known.space, known.level);
        self.recovery.copies = self.recovery.copies.saturating_add(1);
        self.recovery.copied_bytes = self.recovery.copied_bytes.saturating_add(bytes);
        self.recovery.seen(now);
        if !kept {
            self.note_restored(memory, at, bytes >> 3, micros(now));
        }
        self.learn(memory, space, level, at, bytes >> 3);
        self.hit(space, level)
    }

    /// Whether a table begins at an offset: all that an ordinary copy is asked.
    pub(in crate::card) fn begins_table(&self, at: VramOffset) -> bool {
        self.tables.at(at.get()).is_some()
    }

    fn hit(&self, space: SpaceId, level: Level) -> Option<Hit> {
        let space = self.spaces.get(space)?;
        Some(Hit {
            vmid: space.vmid.get(),
            level,
        })
    }

    /// Entries of a directory name tables that may be new.
    fn learn<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        space: SpaceId,
        level: Level,
        at: VramOffset,
        entries: u64,
    ) {
        let Some((context, fb_offset)) = self
            .spaces
            .get(space)
            .map(|space| (space.context, space.fb_offset))
        else {
            return;
        };
        if level == Level::Ptb {
            return;
        }
        for index in 0..entries.min(LOOK) {
            let at = Location::Vram(at.plus(index << 3));
            let entry = match memory.load_u64(at) {
                Ok(bits) => Pde::from_bits(bits),
                Err(_) => return,
            };
            if !entry.valid() || entry.pde_pte() {
                continue;
            }
            let visited = VisitedEntry {
                at,
                level,
                va: gart::GpuVa::new(0),
                len: 0,
                kind: EntryKind::Directory {
                    location: entry.location(fb_offset),
                    entry,
                },
            };
            if let Some(table) = Table::below(&visited, context.block_bits) {
                know(&mut self.tables, &mut self.spaces, &table, space);
            }
        }
    }
}

/// Takes up a table of a space. If it was another space's root, that space is no more: its driver has given the memory away.
pub(super) fn know(index: &mut TableIndex, spaces: &mut Spaces, table: &Table, space: SpaceId) {
    let Location::Vram(at) = table.at else { return };
    let stale = spaces
        .all()
        .iter()
        .find(|other| other.root == table.at && other.id != space && !other.is_gart())
        .map(|other| other.id);
    if let Some(stale) = stale {
        spaces.forget(stale);
        index.forget(stale);
    }
    index.insert(at.get(), table, space);
}
