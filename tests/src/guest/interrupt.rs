//! The interrupt ring as `navi10_ih.c` and `amdgpu_ih.c` consume it.

use super::{Buffer, Failure, FakeGuest};

/// An interrupt vector entry, decoded as `amdgpu_ih_decode_iv_helper` does (6.1 `amdgpu_ih.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupt {
    /// Who raised it (`soc15_ih_clientid.h`).
    pub client: u8,
    /// Why.
    pub source: u8,
    /// Which of the client's rings.
    pub ring: u8,
    /// On whose behalf.
    pub vmid: u8,
    /// The VMID is the multimedia hub's.
    pub mm_hub: bool,
    /// 48 bits of the reference clock.
    pub timestamp: u64,
    /// Process address space.
    pub pasid: u16,
    /// The client's own dwords.
    pub data: [u32; 4],
}

impl Interrupt {
    /// Bytes of an entry.
    pub const BYTES: u32 = 32;

    fn decode(dwords: [u32; 8]) -> Self {
        let [header, time_lo, time_hi, pasid, data @ ..] = dwords;
        let byte = |shift: u32| (header >> shift & 0xff) as u8;
        Self {
            client: byte(0),
            source: byte(8),
            ring: byte(16),
            vmid: byte(24) & 0xf,
            mm_hub: header >> 31 != 0,
            timestamp: u64::from(time_hi & 0xffff) << 32 | u64::from(time_lo),
            pasid: (pasid & 0xffff) as u16,
            data,
        }
    }
}

/// Where the driver has put ring 0, and how far it has read.
#[derive(Debug, Clone)]
pub struct InterruptRing {
    /// The ring; its size is a power of two.
    pub ring: Buffer,
    /// Buffer and offset of the write pointer's copy in memory.
    pub wptr: (Buffer, u64),
    /// Dword index of the read pointer's doorbell.
    pub doorbell: u32,
    /// Bytes consumed, modulo the ring's size.
    pub rptr: u32,
}

impl InterruptRing {
    /// `navi10_ih_get_wptr`.
    fn read_wptr(&self, guest: &FakeGuest) -> Result<u32, Failure> {
        const RB_OVERFLOW: u32 = 1;
        let (buffer, offset) = &self.wptr;
        let wptr = guest.load(buffer, *offset)?;
        if wptr & RB_OVERFLOW != 0 {
            return Err(Failure::Invalid("the interrupt ring has overflowed"));
        }
        Ok(wptr)
    }

    /// `amdgpu_ih_process`: takes entries until the pointers meet, and tells the device so.
    pub(super) fn process(&mut self, guest: &mut FakeGuest) -> Result<Vec<Interrupt>, Failure> {
        let mask =
            u32::try_from(self.ring.size() - 1).map_err(|_| Failure::Invalid("interrupt ring too large"))?;
        let mut taken = Vec::new();
        loop {
            let wptr = self.read_wptr(guest)? & mask;
            if wptr == self.rptr {
                return Ok(taken);
            }
            // Whatever the pointer says, a ring holds no more than this.
            for _ in 0..=mask / Interrupt::BYTES {
                if self.rptr == wptr {
                    break;
                }
                let mut dwords = [0; 8];
                for (dword, index) in dwords.iter_mut().zip(0_u64..) {
                    *dword = guest.load(&self.ring, u64::from(self.rptr) + 4 * index)?;
                }
                taken.push(Interrupt::decode(dwords));
                self.rptr = (self.rptr + Interrupt::BYTES) & mask;
            }
            guest.doorbell(self.doorbell, u64::from(self.rptr));
        }
    }
}
