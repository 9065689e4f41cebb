//! What page tables mapped before contents of VRAM were lost, what they map now, and how they came back.
//!
//! An address space is known by its root table. Just before every reset and every loss, and when somebody asks, each space is walked and
//! what it maps is kept as its *reference*: the state to which later ones are compared. A space that was lost and has not come back keeps
//! the reference that it has, so the reference is always of a good generation.
//!
//! Fidelity: this is an observer. Nothing here changes what the guest sees, but for the host memory that walks of untouched pages take and
//! the time that they take; both are bounded.
//!
//! What it does not do: spaces of the multimedia hub, updates by the CPU (`vm_update_mode`, the GART): a walk sees their outcome, but no
//! packet tells of them.

mod ranges;
mod recovery;
pub(super) mod report;
mod restored;
mod spaces;
mod tables;

use std::time::Duration;

use gart::{
    Class, CollectBudget, Comparison, Context, GpuVa, HubId, Level, Location, Mappings, PhysicalMemory,
    Table, VisitedEntry, Vmid, VramOffset, WalkBudget, compare, deciding_entry, walk_directories,
};

use super::Gpu;
use super::fabric::Fabric;
use super::loss::{Loss, LossMode, POISON};
use ranges::Ranges;
pub(super) use recovery::Hit;
use recovery::Recovery;
pub use report::{OracleReport, SnapshotReport};
use restored::Restored;
use spaces::{Reference, Space, SpaceId, Spaces};
use tables::{State, TableIndex};

/// What all walks of one snapshot may do: some 10 ms, during which a guest's access waits.
const SNAPSHOT: CollectBudget = CollectBudget {
    walk: WalkBudget {
        tables: 1 << 14,
        entries: 1 << 22,
    },
    runs: RUNS,
};
/// Runs that are kept over all references, 24 bytes each.
const RUNS: usize = 1 << 20;
/// What the walk of a new root's directories may do.
const DIRECTORIES: WalkBudget = WalkBudget {
    tables: 1 << 12,
    entries: 1 << 17,
};
/// The poison as an entry.
const POISONED_ENTRY: u64 = (POISON as u64) << 32 | POISON as u64;

/// When a look is taken.
#[derive(Debug, Clone, Copy)]
struct Moment {
    generation: u64,
    now: Duration,
    /// Contents are being lost.
    losing: bool,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The observer.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    spaces: Spaces,
    tables: TableIndex,
    recovery: Recovery,
    restored: Restored,
    /// Bytes of VRAM that a loss has poisoned at some time, and no loss zeroed after that.
    poisoned: Ranges,
    /// Entries of the GART's table that packets wrote, rather than the CPU: transfer windows.
    windows: Ranges,
}

impl Oracle {
    /// A VMID of the graphics hub was pointed at a root.
    pub(super) fn context_set<M: PhysicalMemory>(
        &mut self,
        memory: &M,
        vmid: Vmid,
        context: Context,
        fb_offset: u64,
        generation: u64,
    ) {
        let old_gart = self.spaces.gart().map(|space| space.id);
        let (id, new, gone) = self.spaces.point(vmid, context, fb_offset, generation);
        if let Some(gone) = gone {
            self.tables.forget(gone);
        }
        if !new {
            return;
        }
        let Self { spaces, tables, .. } = self;
        if vmid == Vmid::KERNEL {
            self.windows = Ranges::default();
            if let Some(old) = old_gart {
                spaces.forget(old);
                tables.forget(old);
            }
            return;
        }
        recovery::know(tables, spaces, &Table::root(&context, fb_offset), id);
        walk_directories(
            &context,
            fb_offset,
            memory,
            DIRECTORIES,
            |entry: &VisitedEntry| {
                if let Some(table) = Table::below(entry, context.block_bits) {
                    recovery::know(tables, spaces, &table, id);
                }
            },
        );
    }

    /// A packet wrote entries into the GART's table.
    pub(super) fn window_written(&mut self, at: VramOffset, entries: u64) {
        let Some(Location::Vram(table)) = self.spaces.gart().map(|space| space.root) else {
            return;
        };
        let first = at.get().wrapping_sub(table.get()) >> 3;
        self.windows.insert(first, first.saturating_add(entries));
    }

    /// Contents are about to be lost.
    pub(super) fn lose(&mut self, loss: Loss, vram_size: u64) {
        let end = loss.offset.saturating_add(loss.length).min(vram_size);
        match loss.mode {
            LossMode::Keep => return,
            LossMode::Zero => self.poisoned.remove(loss.offset, end),
            LossMode::Poison => self.poisoned.insert(loss.offset, end),
        }
        self.recovery.lost = true;
        let Self { spaces, tables, .. } = self;
        let mut hit = Vec::new();
        tables.lose(loss.offset, end, |space| {
            if hit.last() != Some(&space) {
                hit.push(space);
            }
        });
        for space in spaces.all_mut() {
            let root_lost =
                matches!(space.root, Location::Vram(root) if (loss.offset..end).contains(&root.get()));
            space.lost |= root_lost || hit.contains(&space.id);
        }
    }

    /// Whether an entry is what a loss left behind.
    fn is_poison(&self, at: Location, bits: u64) -> bool {
        bits == POISONED_ENTRY && matches!(at, Location::Vram(at) if self.poisoned.contains(at.get()))
    }

    /// What a space maps now.
    fn look<M: PhysicalMemory>(&self, memory: &M, space: &Space, budget: CollectBudget) -> Mappings {
        let context = Context {
            enabled: true,
            ..space.context
        };
        Mappings::collect(&context, space.fb_offset, memory, budget, |at, bits| {
            self.is_poison(at, bits)
        })
    }

    /// The addresses of the GART that are transfer windows.
    fn window_addresses(&self, gart: &Space) -> Vec<(u64, u64)> {
        let start = gart.context.start_page;
        let address = |entry: u64| start.saturating_add(entry) << 12;
        self.windows
            .as_slice()
            .iter()
            .map(|(first, end)| (address(*first), address(*end)))
            .collect()
    }

    /// Whether a space that was lost is not yet what it was, so that it is nothing to compare with.
    fn is_unrecovered(&self, space: &Space, now: &Mappings, moment: Moment) -> bool {
        let Some(reference) = space.reference.as_ref().filter(|_| space.lost) else {
            return false;
        };
        if moment.losing {
            return true;
        }
        // The CPU writes the GART before it points context 0 at it. But work in context 0 is also what a driver tries in vain that does
        // not know of the loss.
        if space.is_gart() {
            let counts = self.compare(space, now).0.counts;
            let gone = counts.poisoned > 0 || counts.same == 0 && counts.missing > 0;
            return gone || space.used != moment.generation;
        }
        let counts = compare(&reference.mappings, now).counts;
        let root = match space.root {
            Location::Vram(at) => self.tables.at(at.get()).map(|known| known.state),
            Location::System(_) => None,
        };
        // What is missing may have been unmapped, or zeroed by the loss.
        let back = matches!(root, Some(State::Copied | State::Rewritten));
        counts.poisoned > 0 || counts.missing > 0 && !back
    }

    /// Takes a look at every space as in [`snapshot`](Self::snapshot), and counts from now on what brings tables back.
    fn start_over<M: PhysicalMemory>(&mut self, memory: &M, moment: Moment, always: bool) {
        let looked_at = self.snapshot(memory, moment, always);
        self.tables.start_over();
        // Only now: a table that took a lost one's place has just been dropped with that, and is taken up as what it is.
        self.take_up_tables(&looked_at);
        self.restored = Restored::default();
        self.recovery = Recovery {
            since_us: micros(moment.now),
            // What was lost and did not come back is still lost.
            lost: self.tables.all().any(|known| known.state == State::Lost),
            ..Recovery::default()
        };
    }

    /// Takes a look at every space. Each becomes its space's reference, unless that space is still to come back; `always` takes it in any
    /// case. Gives the spaces that have a new reference, the most recently used first.
    fn snapshot<M: PhysicalMemory>(&mut self, memory: &M, moment: Moment, always: bool) -> Vec<SpaceId> {
        let mut left = SNAPSHOT;
        let mut taken = Vec::new();
        for id in self.spaces.by_use() {
            let Some(space) = self.spaces.get(id) else {
                continue;
            };
            let kept: usize = self
                .spaces
                .all()
                .iter()
                .filter(|other| other.id != id)
                .filter_map(|other| other.reference.as_ref())
                .map(|reference| reference.mappings.runs().len())
                .sum();
            left.runs = RUNS.saturating_sub(kept);
            let mut mappings = self.look(memory, space, left);
            mappings.shrink();
            let tables = mappings.tables();
            left.walk.tables = left.walk.tables.saturating_sub(tables.len() as u64);
            let entries = tables.iter().map(|table| table.bytes >> 3);
            left.walk.entries = left
                .walk
                .entries
                .saturating_sub(entries.fold(0, u64::saturating_add));
            let used = space.used == moment.generation;
            if !used && mappings.entries() == 0 && space.reference.is_none() {
                self.forget(id);
            } else if always || !self.is_unrecovered(space, &mappings, moment) {
                self.take_reference(id, mappings, moment, used);
                taken.push(id);
            }
        }
        taken
    }

    fn take_reference(&mut self, id: SpaceId, mappings: Mappings, moment: Moment, used: bool) {
        if let Some(space) = self.spaces.get_mut(id) {
            space.lost = false;
            space.reference = Some(Reference {
                generation: moment.generation,
                us: micros(moment.now),
                vmid: space.vmid,
                used,
                mappings,
            });
        }
    }

    /// Takes up the tables that looks at these spaces have found.
    ///
    /// A space whose process has ended is looked at as well, and its directories name memory that may be another's by now. So a look
    /// takes no table away from the space that has it, and makes no table of another space's root: who has a table is decided by the
    /// packets that link it.
    fn take_up_tables(&mut self, ids: &[SpaceId]) {
        let Self { spaces, tables, .. } = self;
        let users = || spaces.all().iter().filter(|space| !space.is_gart());
        for space in ids.iter().filter_map(|id| users().find(|space| space.id == *id)) {
            let found = space
                .reference
                .iter()
                .flat_map(|reference| reference.mappings.tables());
            for table in found {
                let Location::Vram(at) = table.at else { continue };
                let anothers = users().any(|other| other.root == table.at && other.id != space.id);
                if !anothers && tables.at(at.get()).is_none() {
                    tables.insert(at.get(), table, space.id);
                }
            }
        }
    }

    fn forget(&mut self, id: SpaceId) {
        self.spaces.forget(id);
        self.tables.forget(id);
    }

    /// A space compared with its reference, without and with its transfer windows.
    fn compare(&self, space: &Space, now: &Mappings) -> (Comparison, Option<Comparison>) {
        let nothing = Mappings::default();
        let before = space
            .reference
            .as_ref()
            .map_or(&nothing, |reference| &reference.mappings);
        if !space.is_gart() {
            return (compare(before, now), None);
        }
        let windows = self.window_addresses(space);
        let (old_windows, old) = before.split(&windows);
        let (new_windows, new) = now.split(&windows);
        (compare(&old, &new), Some(compare(&old_windows, &new_windows)))
    }
}

impl Gpu {
    /// Everything from now on is of a new generation: engines were stopped, or contents are about to be lost. What page tables map is
    /// kept as it is at this moment.
    pub(super) fn begin_generation(&mut self) {
        self.observe_use();
        let moment = self.moment();
        let Self { oracle, fabric, .. } = self;
        oracle.start_over(&fabric.memory, moment, false);
        self.journal.begin_generation();
    }

    const fn moment(&self) -> Moment {
        Moment {
            generation: self.journal.generation(),
            now: self.now,
            losing: self.losing.is_some(),
        }
    }

    /// Work in a VMID is use of the space that it is pointed at.
    pub(super) fn observe_use(&mut self) {
        let used = std::mem::take(&mut self.fabric.used_vmids);
        let generation = self.journal.generation();
        let hub = &self.fabric.gfxhub;
        let fb_offset = hub.space().apertures.fb_offset;
        for vmid in Vmid::all().filter(|vmid| used >> vmid.get() & 1 != 0) {
            if let Some(context) = hub.context(vmid) {
                self.oracle
                    .spaces
                    .work(vmid, context.root.location(fb_offset), generation);
            }
        }
    }

    pub(super) fn context_set(&mut self, vmid: Vmid, context: Context) {
        self.observe_use();
        let generation = self.journal.generation();
        let Fabric { gfxhub, memory, .. } = &self.fabric;
        let fb_offset = gfxhub.space().apertures.fb_offset;
        self.oracle
            .context_set(memory, vmid, context, fb_offset, generation);
    }

    /// Keeps what page tables map at this moment, whatever state they are in, as what later ones are compared with. What brought tables
    /// back until now does not count any more.
    pub fn take_snapshot(&mut self) -> SnapshotReport {
        self.observe_use();
        let moment = self.moment();
        let Self { oracle, fabric, .. } = self;
        oracle.start_over(&fabric.memory, moment, true);
        SnapshotReport::new(oracle, moment)
    }

    /// Compares what page tables map at this moment with what they mapped before.
    pub fn compare_tables(&mut self) -> OracleReport {
        self.observe_use();
        let report = OracleReport::new(self);
        self.journal.record(report.event());
        report
    }

    /// Whether a walk for this address ends at what a loss left behind: at an entry that reads as the poison, in memory that was
    /// poisoned.
    pub fn meets_poison(&self, hub: HubId, vmid: Vmid, va: GpuVa) -> bool {
        let Fabric {
            gfxhub,
            mmhub,
            memory,
            ..
        } = &self.fabric;
        let hub = match hub {
            HubId::Gfx => gfxhub,
            HubId::Mm => mmhub,
        };
        let fb_offset = hub.space().apertures.fb_offset;
        hub.context(vmid)
            .and_then(|context| deciding_entry(context, fb_offset, memory, va))
            .is_some_and(|(at, bits)| self.oracle.is_poison(at, bits))
    }
}

#[cfg(test)]
mod tests;
