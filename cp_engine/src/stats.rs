//! What the command processor has done, for inspection.

use std::collections::BTreeMap;

use gart::Vmid;
use serde::{Serialize, Serializer};

use super::pm4;

/// Counters since power-on; resets of the device do not clear them.
#[derive(Debug, Clone, Serialize)]
pub struct CpStats {
    #[serde(serialize_with = "by_name")]
    opcodes: Vec<u64>,
    indirect_buffers: [u64; Vmid::COUNT],
    /// Packets executed or skipped.
    pub packets: u64,
    /// Dwords behind packet headers and bytes of copies, in bytes.
    pub bytes: u64,
    /// Fences: RELEASE_MEM with data, QUERY_STATUS and UNMAP_QUEUES with a fence.
    pub fences: u64,
    /// Fences with an interrupt, and of them those that the pipe's enable let through.
    pub end_of_pipe: (u64, u64),
    /// Packets that hardware would have acted on and this model did not: draws, dispatches, ...
    pub unmodelled: u64,
    /// Packets that were none.
    pub bad_opcodes: u64,
    /// Accesses of user streams to registers out of their reach.
    pub privileged: u64,
    /// Memory accesses that faulted.
    pub faults: u64,
    /// Polls that were not met.
    pub polls_unmet: u64,
    /// Queues mapped, by MMIO and by MAP_QUEUES.
    pub queues_mapped: u64,
    /// Queues taken off, by any means short of a reset of the device.
    pub queues_unmapped: u64,
}

impl Default for CpStats {
    fn default() -> Self {
        Self {
            opcodes: vec![0; 256],
            indirect_buffers: [0; Vmid::COUNT],
            packets: 0,
            bytes: 0,
            fences: 0,
            end_of_pipe: (0, 0),
            unmodelled: 0,
            bad_opcodes: 0,
            privileged: 0,
            faults: 0,
            polls_unmet: 0,
            queues_mapped: 0,
            queues_unmapped: 0,
        }
    }
}

impl CpStats {
    pub(super) fn count_packet(&mut self, header: pm4::Header) {
        self.packets += 1;
        if header.kind() == 3
            && let Some(count) = self.opcodes.get_mut(usize::from(header.opcode()))
        {
            *count += 1;
        }
    }

    pub(super) fn count_indirect_buffer(&mut self, vmid: Vmid) {
        if let Some(count) = self.indirect_buffers.get_mut(vmid.index()) {
            *count += 1;
        }
    }

    /// Packets by opcode name, those that occurred.
    pub fn opcodes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        occurred(&self.opcodes)
    }

    /// Indirect buffers started in a context.
    pub fn indirect_buffers(&self, vmid: Vmid) -> u64 {
        self.indirect_buffers.get(vmid.index()).copied().unwrap_or(0)
    }
}

fn occurred(opcodes: &[u64]) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    (0..=u8::MAX)
        .zip(opcodes)
        .filter(|(_, count)| **count != 0)
        .map(|(opcode, count)| (pm4::opcode_name(opcode).unwrap_or("illegal"), *count))
}

fn by_name<S: Serializer>(opcodes: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut names = BTreeMap::<_, u64>::new();
    for (name, count) in occurred(opcodes) {
        *names.entry(name).or_default() += count;
    }
    serializer.collect_map(names)
}
