//! Page-table updates, attributed to the tables that they hit.

use gart::{GpuVa, Location, Vmid};
use sdma_engine::PtePacket;
use serde::Serialize;

use super::fabric::Fabric;

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
    pub(super) fn record(&mut self, fabric: &Fabric, kind: PtePacket, vmid: Vmid, dst: GpuVa, entries: u64) {
        let by_target = match kind {
            PtePacket::SetPtePde => &mut self.set_pte_pde,
            PtePacket::Write => &mut self.write,
            PtePacket::Copy => &mut self.copy,
        };
        let counts = match fabric.locate(vmid, dst) {
            Some(place) if fabric.is_gart_table(place) => &mut by_target.gart,
            Some(Location::Vram(_)) => &mut by_target.vram,
            Some(Location::System(_)) => &mut by_target.system,
            None => &mut by_target.faulted,
        };
        counts.add(entries);
    }
}
