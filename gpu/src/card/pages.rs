//! Page-table updates, attributed to the tables that they hit.

use gart::{GpuVa, Level, Location, Vmid};
use protocol::stats::PageTableUpdates;
use sdma_engine::PtePacket;

use super::gpu::Gpu;
use super::oracle::Hit;
use crate::event::{Event, TableLevel, UpdateKind, UpdateTarget};
use crate::memory::CardMemory;

fn count(updates: &mut PageTableUpdates, kind: PtePacket, target: UpdateTarget, entries: u64) {
    let by_target = match kind {
        PtePacket::SetPtePde => &mut updates.set_pte_pde,
        PtePacket::Write => &mut updates.write,
        PtePacket::Copy => &mut updates.copy,
    };
    let counts = match target {
        UpdateTarget::Vram => &mut by_target.vram,
        UpdateTarget::Gart => &mut by_target.gart,
        UpdateTarget::System => &mut by_target.system,
        UpdateTarget::Faulted => &mut by_target.faulted,
    };
    counts.add(entries);
}

impl<M: CardMemory> Gpu<M> {
    /// A packet wrote what may be page-table entries.
    pub(super) fn page_tables_updated(&mut self, kind: PtePacket, vmid: Vmid, dst: GpuVa, entries: u64) {
        let place = self.fabric.locate(vmid, dst);
        let mut hit = None;
        let target = match place {
            Some(Location::Vram(at)) if self.fabric.is_gart_table(Location::Vram(at)) => {
                self.observers.oracle.window_written(at, entries);
                UpdateTarget::Gart
            }
            Some(Location::Vram(at)) => {
                hit = self
                    .observers
                    .oracle
                    .updated(&self.fabric.memory, at, entries, self.now);
                UpdateTarget::Vram
            }
            Some(Location::System(_)) => UpdateTarget::System,
            None => UpdateTarget::Faulted,
        };
        count(&mut self.observers.page_tables, kind, target, entries);
        let kind = match kind {
            PtePacket::SetPtePde => UpdateKind::SetPtePde,
            PtePacket::Write => UpdateKind::Write,
            PtePacket::Copy => UpdateKind::Copy,
        };
        self.record_update(kind, target, hit, entries);
    }

    /// A packet copied bytes in VMID 0. If they came from system memory and fill a table, they are its shadow.
    pub(super) fn copied(&mut self, vmid: Vmid, src: GpuVa, dst: GpuVa, bytes: u64) {
        let Some(Location::Vram(at)) = self.fabric.locate(vmid, dst) else {
            return;
        };
        if !self.observers.oracle.begins_table(at)
            || !matches!(self.fabric.locate(vmid, src), Some(Location::System(_)))
        {
            return;
        }
        let hit = self
            .observers
            .oracle
            .copied(&self.fabric.memory, at, bytes, self.now);
        if hit.is_some() {
            self.record_update(UpdateKind::ShadowCopy, UpdateTarget::Vram, hit, bytes >> 3);
        }
    }

    fn record_update(&mut self, kind: UpdateKind, target: UpdateTarget, hit: Option<Hit>, entries: u64) {
        self.observers.journal.record(Event::PageTableUpdate {
            kind,
            target,
            vmid: hit.map(|hit| hit.vmid),
            level: hit.map(|hit| match hit.level {
                Level::Pdb2 => TableLevel::Pdb2,
                Level::Pdb1 => TableLevel::Pdb1,
                Level::Pdb0 => TableLevel::Pdb0,
                Level::Ptb => TableLevel::Ptb,
            }),
            packets: 1,
            entries,
        });
    }
}
