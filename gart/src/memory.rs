//! Memory as the GPU core sees it: a physical side that the shell implements, and a virtual side that engines use.

use std::fmt;

use thiserror::Error;

use crate::{BusAddr, Fault, GpuVa, Vmid, VramOffset};

/// A physical place: the end of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// In the GPU's own memory.
    Vram(VramOffset),
    /// On the bus: guest memory, or another function.
    System(BusAddr),
}

impl Location {
    /// The place `bytes` further on, in the same memory.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        match self {
            Self::Vram(offset) => Self::Vram(offset.plus(bytes)),
            Self::System(address) => Self::System(address.plus(bytes)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vram(offset) => write!(f, "vram+{offset}"),
            Self::System(address) => write!(f, "bus {address}"),
        }
    }
}

/// A physical access that reached nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// Beyond the end of VRAM.
    #[error("{len} bytes at VRAM offset {at} lie outside the {size:#x} bytes of VRAM")]
    OutsideVram {
        /// Where the access began.
        at: VramOffset,
        /// Its length in bytes.
        len: u64,
        /// Size of VRAM in bytes.
        size: u64,
    },
    /// No memory answers at this bus address.
    #[error("{len} bytes at bus address {at} are not in guest memory")]
    Unmapped {
        /// Where the access began.
        at: BusAddr,
        /// Its length in bytes.
        len: u64,
    },
    /// The PCI function may not master the bus (Command.BME is clear).
    #[error("bus address {at} is out of reach while bus mastering is off")]
    BusMasterOff {
        /// Where the access began.
        at: BusAddr,
    },
}

/// 64-bit words in a row, each `step` more than the one before it, all with the bits of `flags` set: page-table entries as an engine
/// generates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Series {
    /// The first word, before `flags`.
    pub first: u64,
    /// What each word is more than the one before it; wraps around.
    pub step: u64,
    /// Bits that are set in every word.
    pub flags: u64,
}

impl Series {
    /// The word number `index`, from 0.
    #[inline]
    pub const fn word(self, index: u64) -> u64 {
        self.first.wrapping_add(self.step.wrapping_mul(index)) | self.flags
    }

    /// Fills `data` with the bytes of the series, little endian, from its byte number `skip` on.
    pub fn bytes(self, skip: u64, data: &mut [u8]) {
        for (distance, byte) in (0..).zip(data) {
            let at = skip.wrapping_add(distance);
            [*byte, ..] = (self.word(at >> 3) >> ((at & 7) << 3)).to_le_bytes();
        }
    }
}

/// The two physical memories behind every translation: VRAM and the bus.
///
/// Interior mutability is the implementation's: the guest's CPUs change the same bytes at any time. No access may panic, whatever
/// the address and length. An access that is partly outside does nothing. Little endian throughout.
pub trait PhysicalMemory {
    /// Size of VRAM in bytes.
    fn vram_size(&self) -> u64;

    /// Whether all `len` bytes at `at` are in reach of reads, found out without touching them.
    fn reaches(&self, at: Location, len: u64) -> bool;

    /// Fills `data` from `at`.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    fn read(&self, at: Location, data: &mut [u8]) -> Result<(), MemoryError>;

    /// Writes `data` at `at`.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    fn write(&self, at: Location, data: &[u8]) -> Result<(), MemoryError>;

    /// Copies `len` bytes; overlapping ranges behave as `memmove`.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    fn copy(&self, from: Location, to: Location, len: u64) -> Result<(), MemoryError>;

    /// Repeats the 32-bit `pattern` over `len` bytes; the last repetition may be cut short.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    fn fill(&self, at: Location, pattern: u32, len: u64) -> Result<(), MemoryError>;

    /// Writes `len` bytes of `series`, from its byte number `skip` on. A word that is aligned in memory and wholly written is never
    /// seen half written.
    ///
    /// # Errors
    /// [`MemoryError`] if any byte is out of reach.
    fn write_series(&self, at: Location, series: Series, skip: u64, len: u64) -> Result<(), MemoryError>;

    /// Reads an aligned 64-bit word in one access (page-table entries).
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    fn load_u64(&self, at: Location) -> Result<u64, MemoryError>;

    /// Writes an aligned 32-bit word with release order: what was written before is visible to whoever sees it (fences, pointers).
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    fn store_u32(&self, at: Location, value: u32) -> Result<(), MemoryError>;

    /// Writes an aligned 64-bit word with release order.
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    fn store_u64(&self, at: Location, value: u64) -> Result<(), MemoryError>;

    /// Atomically replaces the aligned 32-bit word by `update(old)`; returns the old value.
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    fn update_u32(&self, at: Location, update: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemoryError>;

    /// Atomically replaces the aligned 64-bit word by `update(old)`; returns the old value.
    ///
    /// # Errors
    /// [`MemoryError`] if it is out of reach.
    fn update_u64(&self, at: Location, update: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemoryError>;
}

/// Memory as an engine addresses it, through a VMID.
///
/// A fault has been reported (status registers, interrupt) when it is returned: engines go on as hardware does, reads give zeros,
/// writes are dropped from the faulting page on. Accesses may cross pages.
pub trait VirtualMemory {
    /// Fills `data` from `va`. On a fault the rest of `data` is zeroed.
    ///
    /// # Errors
    /// The first [`Fault`].
    fn read(&mut self, vmid: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `va`, page by page up to the first fault.
    ///
    /// # Errors
    /// The first [`Fault`].
    fn write(&mut self, vmid: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault>;

    /// Copies `len` bytes between two addresses of one context, ascending.
    ///
    /// # Errors
    /// The first [`Fault`].
    fn copy(&mut self, vmid: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault>;

    /// Repeats a 32-bit pattern over `len` bytes.
    ///
    /// # Errors
    /// The first [`Fault`].
    fn fill(&mut self, vmid: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault>;

    /// Writes the first `len` bytes of a series.
    ///
    /// # Errors
    /// The first [`Fault`].
    fn write_series(&mut self, vmid: Vmid, va: GpuVa, series: Series, len: u64) -> Result<(), Fault> {
        const BUFFER: usize = 64;
        let mut buffer = [0; BUFFER];
        let mut done: u64 = 0;
        while done < len {
            let left = usize::try_from(len.saturating_sub(done)).unwrap_or(BUFFER);
            let (data, _) = buffer.split_at_mut(left.min(BUFFER));
            series.bytes(done, data);
            self.write(vmid, va.plus(done), data)?;
            done = done.saturating_add(data.len() as u64);
        }
        Ok(())
    }

    /// Writes an aligned 32-bit fence or pointer with release order.
    ///
    /// # Errors
    /// The [`Fault`].
    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault>;

    /// Writes an aligned 64-bit fence or pointer with release order.
    ///
    /// # Errors
    /// The [`Fault`].
    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault>;

    /// Atomically replaces an aligned 32-bit word by `update(old)`; returns the old value.
    ///
    /// # Errors
    /// The [`Fault`].
    fn update_u32(&mut self, vmid: Vmid, va: GpuVa, update: &mut dyn FnMut(u32) -> u32)
    -> Result<u32, Fault>;

    /// Atomically replaces an aligned 64-bit word by `update(old)`; returns the old value.
    ///
    /// # Errors
    /// The [`Fault`].
    fn update_u64(&mut self, vmid: Vmid, va: GpuVa, update: &mut dyn FnMut(u64) -> u64)
    -> Result<u64, Fault>;
}
