//! Page-table updates, attributed to the tables that they hit.

use gart::{GpuVa, Level, Location, Vmid};
use sdma_engine::PtePacket;
use serde::Serialize;

use super::Gpu;
use super::oracle::Hit;
use crate::event::{Event, TableLevel, UpdateKind, UpdateTarget};

/// Updates of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UpdateCounts {
    /// Packets.
    pub packets: u64,
    /// Entries that they wrote.
    pub entries: u64,
}

impl UpdateCounts {
    const fn add(&mut self, entries: u64) {
        self.packets = self.packets.saturating_add(1);
        self.entries = self.entries.saturating_add(entries);
    }
}

/// Updates of one kind, by where they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ByTarget {
    /// Into VRAM: page tables of VMIDs.
    pub vram: UpdateCounts,
    /// Into the table of context 0: transfer windows of the memory manager.
    pub gart: UpdateCounts,
    /// Into system memory: shadows (6.1), and everything else that a driver writes with these packets.
    pub system: UpdateCounts,
    /// Addresses that do not translate.
    pub faulted: UpdateCounts,
}

/// Everything that looked like a page-table update, counted by kind of packet and by target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PageTableUpdates {
    /// PTEPDE packets.
    pub set_pte_pde: ByTarget,
    /// WRITE_LINEAR packets in VMID 0.
    pub write: ByTarget,
    /// COPY_LINEAR packets in VMID 0 whose source is their own indirect buffer.
    pub copy: ByTarget,
}

impl PageTableUpdates {
    fn count(&mut self, kind: PtePacket, target: UpdateTarget, entries: u64) {
        let by_target = match kind {
            PtePacket::SetPtePde => &mut self.set_pte_pde,
            PtePacket::Write => &mut self.write,
            PtePacket::Copy => &mut self.copy,
        };
        let counts = match target {
            UpdateTarget::Vram => &mut by_target.vram,
            UpdateTarget::Gart => &mut by_target.gart,
            UpdateTarget::System => &mut by_target.system,
            UpdateTarget::Faulted => &mut by_target.faulted,
        };
        counts.add(entries);
    }
}

impl Gpu {
    /// A packet wrote what may be page-table entries.
    pub(super) fn page_tables_updated(&mut self, kind: PtePacket, vmid: Vmid, dst: GpuVa, entries: u64) {
        let place = self.fabric.locate(vmid, dst);
        let mut hit = None;
        let target = match place {
            Some(Location::Vram(at)) if self.fabric.is_gart_table(Location::Vram(at)) => {
                self.oracle.window_written(at, entries);
                UpdateTarget::Gart
            }
            Some(Location::Vram(at)) => {
                hit = self.oracle.updated(&self.fabric.memory, at, entries, self.now);
                UpdateTarget::Vram
            }
            Some(Location::System(_)) => UpdateTarget::System,
            None => UpdateTarget::Faulted,
        };
        self.page_tables.count(kind, target, entries);
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
        if !self.oracle.begins_table(at)
            || !matches!(self.fabric.locate(vmid, src), Some(Location::System(_)))
        {
            return;
        }
        let hit = self.oracle.copied(&self.fabric.memory, at, bytes, self.now);
        if hit.is_some() {
            self.record_update(UpdateKind::ShadowCopy, UpdateTarget::Vram, hit, bytes >> 3);
        }
    }

    fn record_update(&mut self, kind: UpdateKind, target: UpdateTarget, hit: Option<Hit>, entries: u64) {
        self.journal.record(Event::PageTableUpdate {
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
