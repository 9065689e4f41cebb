//! The write-back page (`amdgpu_device_wb_get`): one page in the GART for pointers and fences.

use gart::GpuVa;

use super::gmc::Gmc;
use crate::guest::{Buffer, Failure, FakeGuest, PAGE, hi, lo};

/// Bytes of a slot: eight dwords, so that two never share a cache line's half.
const SLOT_BYTES: u64 = 32;

/// The page.
#[derive(Debug)]
pub struct WriteBack {
    page: Buffer,
    next: u64,
}

/// A place in the page.
#[derive(Debug, Clone)]
pub struct Slot {
    page: Buffer,
    offset: u64,
}

impl WriteBack {
    /// Allocates the page.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn new(guest: &mut FakeGuest, gmc: &mut Gmc) -> Result<Self, Failure> {
        Ok(Self {
            page: gmc.gtt(guest, PAGE, PAGE)?,
            next: 0,
        })
    }

    /// Allocates a slot.
    ///
    /// # Errors
    /// [`Failure::Exhausted`].
    pub fn slot(&mut self) -> Result<Slot, Failure> {
        let offset = self.next;
        self.next += SLOT_BYTES;
        if self.next > self.page.size() {
            return Err(Failure::Exhausted("write-back slots"));
        }
        Ok(Slot {
            page: self.page.clone(),
            offset,
        })
    }
}

impl Slot {
    /// Its MC address.
    pub const fn mc(&self) -> GpuVa {
        self.page.mc().plus(self.offset)
    }

    /// The page and the offset in it.
    pub fn place(&self) -> (Buffer, u64) {
        (self.page.clone(), self.offset)
    }

    /// Its first dword.
    ///
    /// # Errors
    /// [`Failure`] if the page is not there.
    pub fn load(&self, guest: &FakeGuest) -> Result<u32, Failure> {
        guest.load(&self.page, self.offset)
    }

    /// Its first two dwords.
    ///
    /// # Errors
    /// [`Failure`] if the page is not there.
    pub fn load_u64(&self, guest: &FakeGuest) -> Result<u64, Failure> {
        Ok(u64::from(guest.load(&self.page, self.offset + 4)?) << 32 | u64::from(self.load(guest)?))
    }

    /// Sets its first dword.
    ///
    /// # Errors
    /// [`Failure`] if the page is not there.
    pub fn store(&self, guest: &FakeGuest, value: u32) -> Result<(), Failure> {
        guest.store(&self.page, self.offset, value)
    }

    /// Sets its first two dwords, as one 64-bit pointer.
    ///
    /// # Errors
    /// [`Failure`] if the page is not there.
    pub fn store_u64(&self, guest: &FakeGuest, value: u64) -> Result<(), Failure> {
        guest.store(&self.page, self.offset + 4, hi(value))?;
        guest.store(&self.page, self.offset, lo(value))
    }

    /// Steps the device until the first dword has a value.
    ///
    /// # Errors
    /// [`Failure::Stalled`] if it never has.
    pub fn wait_for(&self, guest: &mut FakeGuest, what: &'static str, value: u32) -> Result<(), Failure> {
        guest.wait_for(what, &self.page, self.offset, value)
    }
}
