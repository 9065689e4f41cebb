//! Interrupt vector entries.

use gart::Vmid;

/// Bytes of an entry in the ring.
pub const ENTRY_BYTES: u32 = 32;

/// One interrupt, as a client hands it to the interrupt handler.
///
/// Layout in the ring: Linux 6.1 `amdgpu_ih_decode_iv_helper`. Client ids: `include/soc15_ih_clientid.h`; source ids:
/// `include/ivsrcid/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IvEntry {
    /// Who raised it.
    pub client: u8,
    /// Why, as that client numbers it.
    pub source: u8,
    /// Which of the client's rings or queues.
    pub ring: u8,
    /// On whose behalf.
    pub vmid: Vmid,
    /// Whether the VMID is the multimedia hub's.
    pub mm_hub: bool,
    /// Process address space of the VMID; filled in when the entry is raised.
    pub pasid: u16,
    /// Four dwords of the client's.
    pub data: [u32; 4],
}

impl IvEntry {
    /// The 32 bytes in the ring.
    pub fn encode(&self, timestamp: u64) -> [u8; ENTRY_BYTES as usize] {
        let [time_lo, time_hi] = [
            (timestamp & 0xffff_ffff) as u32,
            (timestamp >> 32 & 0xffff) as u32,
        ];
        let header = u32::from(self.client)
            | u32::from(self.source) << 8
            | u32::from(self.ring) << 16
            | u32::from(self.vmid.get()) << 24
            | u32::from(self.mm_hub) << 31;
        let [data0, data1, data2, data3] = self.data;
        let dwords = [
            header,
            time_lo,
            time_hi,
            u32::from(self.pasid),
            data0,
            data1,
            data2,
            data3,
        ];
        let mut bytes = [0; ENTRY_BYTES as usize];
        for (slot, dword) in bytes.chunks_exact_mut(4).zip(dwords) {
            slot.copy_from_slice(&dword.to_le_bytes());
        }
        bytes
    }
}
