//! `amdgpu_ring.c`: a ring in memory, its pointers in the write-back page, its doorbell.

use super::wb::Slot;
use crate::guest::{Buffer, Failure, FakeGuest};

/// A ring of either engine family.
#[derive(Debug, Clone)]
pub struct Ring {
    /// The ring's memory, in the GART.
    pub buffer: Buffer,
    /// Dword index of its doorbell.
    pub doorbell: u32,
    /// Where the device writes the read pointer.
    pub rptr: Slot,
    /// Where the driver keeps the write pointer for the device to read.
    pub wptr_shadow: Slot,
    /// Where fences of jobs go.
    pub fence: Slot,
    /// Number of the last job.
    pub seq: u32,
    /// Write pointer in dwords, never wrapped.
    pub wptr: u64,
    align: u64,
    nop: u32,
}

impl Ring {
    /// A ring; `commit` fills up to multiples of `align` dwords with `nop`.
    pub fn new(buffer: Buffer, doorbell: u32, slots: [Slot; 3], align: u64, nop: u32) -> Self {
        let [rptr, wptr_shadow, fence] = slots;
        Self {
            buffer,
            doorbell,
            rptr,
            wptr_shadow,
            fence,
            seq: 0,
            wptr: 0,
            align,
            nop,
        }
    }

    /// log2 of the ring's dwords.
    pub fn log2_dwords(&self) -> u32 {
        (self.buffer.size() / 4).ilog2()
    }

    /// Puts dwords behind the write pointer and moves it, without telling the device.
    ///
    /// # Errors
    /// [`Failure`] if the ring's memory is not there.
    pub fn write(&mut self, guest: &FakeGuest, dwords: &[u32]) -> Result<(), Failure> {
        for dword in dwords {
            let at = self.wptr * 4 % self.buffer.size();
            guest.store(&self.buffer, at, *dword)?;
            self.wptr += 1;
        }
        Ok(())
    }

    /// `amdgpu_ring_commit` up to the doorbell: fills up.
    ///
    /// # Errors
    /// [`Failure`] if the ring's memory is not there.
    pub fn pad(&mut self, guest: &FakeGuest) -> Result<(), Failure> {
        while !self.wptr.is_multiple_of(self.align) {
            self.write(guest, &[self.nop])?;
        }
        Ok(())
    }

    /// `amdgpu_ring_clear_ring` and empty pointers, before the queue is started anew.
    ///
    /// # Errors
    /// [`Failure`] if the ring's memory is not there.
    pub fn clear(&mut self, guest: &FakeGuest) -> Result<(), Failure> {
        let dwords = usize::try_from(self.buffer.size() / 4).unwrap_or(0);
        guest.write_dwords(&self.buffer, 0, &vec![self.nop; dwords])?;
        self.wptr = 0;
        for slot in [&self.rptr, &self.wptr_shadow] {
            slot.store_u64(guest, 0)?;
        }
        // The fence keeps its number: `amdgpu_fence_driver_force_completion`.
        self.fence.store(guest, self.seq)
    }
}
