//! Counters. They saturate, and no reset of the guest's clears them.

use crate::packet::PacketKind;

/// What an engine has done since it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    packets: [u64; PacketKind::ALL.len()],
    /// Page-table work of VMID 0.
    pub page_tables: PageTableStats,
    /// Bytes of COPY_LINEAR packets other than [`PageTableStats::copy_bytes`].
    pub copy_bytes: u64,
    /// Bytes of CONST_FILL packets.
    pub fill_bytes: u64,
    /// TRAP packets that raised an interrupt.
    pub traps: u64,
    /// POLL_REGMEM packets that gave up.
    pub poll_timeouts: u64,
    /// Accesses that faulted. The memory has reported each of them.
    pub faults: u64,
    /// Times that a packet stopped the engine.
    pub halts: u64,
    /// Packets that were begun and dropped: halt, ring disable, reset.
    pub dropped: u64,
}

/// Page-table work in VMID 0, by the packets that `amdgpu_vm_sdma.c` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageTableStats {
    /// PTEPDE packets.
    pub set_packets: u64,
    /// Entries written by them.
    pub set_entries: u64,
    /// WRITE_LINEAR packets. A ring test is one of them.
    pub write_packets: u64,
    /// Whole 64-bit words written by them.
    pub write_qwords: u64,
    /// COPY_LINEAR packets with a source in the allocation of the indirect buffer that they are in.
    pub copy_packets: u64,
    /// Bytes copied by them.
    pub copy_bytes: u64,
}

impl Stats {
    /// Packets of a kind that were begun.
    pub fn packets(&self, kind: PacketKind) -> u64 {
        self.packets.get(kind as usize).copied().unwrap_or(0)
    }

    /// Packets of all kinds that were begun.
    pub fn all_packets(&self) -> u64 {
        self.packets
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    #[inline]
    pub(crate) fn count(&mut self, kind: PacketKind) {
        if let Some(count) = self.packets.get_mut(kind as usize) {
            bump(count);
        }
    }
}

/// Adds one.
#[inline]
pub(crate) fn bump(counter: &mut u64) {
    add(counter, 1);
}

/// Adds `amount`.
#[inline]
pub(crate) fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}
