//! VRAM and guest memory as the GPU core sees them.

use std::io;

use gart::{BusAddr, Location, MemoryError, PhysicalMemory, Series, VramOffset};
use gpu::memory::CardMemory;
use vm_memory::VolatileSlice;

use super::bytes::{self, Word};
use super::guest::{GuestMemory, Intent};
use super::vram::Vram;

/// Both physical memories of the device.
///
/// An aligned word inside one range is one access; a word that is not aligned, or that straddles two ranges, is handled byte by byte
/// and is not atomic. Where a copy crosses from one DMA range to the next, `memmove` holds for bus addresses: ranges that show the
/// same file pages twice are not recognised as overlapping.
#[derive(Debug)]
pub struct DeviceMemory {
    /// The GPU's own memory.
    pub vram: Vram,
    /// What the front end lets the device reach.
    pub guest: GuestMemory,
}

impl DeviceMemory {
    /// `vram` beside no guest memory, bus mastering off.
    pub fn new(vram: Vram) -> Self {
        Self {
            vram,
            guest: GuestMemory::new(),
        }
    }

    /// The mapped bytes at `at`: all `len`, or in guest memory those up to the end of the range. Never empty.
    #[inline]
    fn piece(&self, at: Location, len: u64, intent: Intent) -> Option<VolatileSlice<'_>> {
        let piece = match at {
            Location::Vram(offset) => self.vram.piece(offset.get(), len),
            Location::System(address) if self.guest.bus_master() => {
                self.guest.piece(address.get(), len, intent)
            }
            Location::System(_) => None,
        };
        piece.filter(|piece| !piece.is_empty())
    }

    /// The mapped bytes at `at` if they are in one piece.
    #[inline]
    fn whole(&self, at: Location, len: u64, intent: Intent) -> Option<VolatileSlice<'_>> {
        self.piece(at, len, intent)
            .filter(|piece| piece.len() as u64 == len)
    }

    #[cold]
    fn error(&self, at: Location, len: u64) -> MemoryError {
        match at {
            Location::Vram(at) => MemoryError::OutsideVram {
                at,
                len,
                size: self.vram.size(),
            },
            Location::System(at) if self.guest.bus_master() => MemoryError::Unmapped { at, len },
            Location::System(at) => MemoryError::BusMasterOff { at },
        }
    }

    /// Calls `each` with every piece of the access and the piece's offset in it.
    fn walk<'a>(
        &'a self,
        at: Location,
        len: u64,
        intent: Intent,
        mut each: impl FnMut(VolatileSlice<'a>, usize),
    ) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < len {
            let piece = step(at, done)
                .and_then(|here| self.piece(here, len - done, intent))
                .ok_or_else(|| self.error(at, len))?;
            let offset = usize::try_from(done).map_err(|_| self.error(at, len))?;
            done += piece.len() as u64;
            each(piece, offset);
        }
        Ok(())
    }

    /// Like [`Self::walk`], but nothing is called unless everything is in reach.
    fn access<'a>(
        &'a self,
        at: Location,
        len: u64,
        intent: Intent,
        mut each: impl FnMut(VolatileSlice<'a>, usize),
    ) -> Result<(), MemoryError> {
        if let Some(piece) = self.whole(at, len, intent) {
            each(piece, 0);
            return Ok(());
        }
        self.walk(at, len, intent, |_, _| {})?;
        self.walk(at, len, intent, each)
    }

    /// Reads a word of `N` bytes that is not in one aligned piece.
    fn read_bytes<const N: usize>(&self, at: Location) -> Result<[u8; N], MemoryError> {
        let mut data = [0; N];
        self.read(at, &mut data)?;
        Ok(data)
    }
}

/// `at` moved on, unless that wraps around.
fn step(at: Location, bytes: u64) -> Option<Location> {
    Some(match at {
        Location::Vram(offset) => Location::Vram(VramOffset::new(offset.get().checked_add(bytes)?)),
        Location::System(address) => Location::System(BusAddr::new(address.get().checked_add(bytes)?)),
    })
}

/// Whether copying upwards from `from` would overwrite bytes of the source that are still to be read.
fn must_descend(from: Location, to: Location, len: u64) -> bool {
    match (from, to) {
        (Location::Vram(from), Location::Vram(to)) => to > from && to.get() - from.get() < len,
        (Location::System(from), Location::System(to)) => to > from && to.get() - from.get() < len,
        _ => false,
    }
}

impl CardMemory for DeviceMemory {
    fn page(&self) -> u64 {
        self.vram.page()
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.vram.discard(offset, len)
    }

    fn overwrite(&self, offset: u64, len: u64, pattern: u32) -> io::Result<()> {
        self.vram.overwrite(offset, len, pattern)
    }

    fn populated_from(&self, from: u64) -> io::Result<Option<u64>> {
        self.vram.populated_from(from)
    }

    fn populated_to(&self, from: u64) -> io::Result<u64> {
        self.vram.populated_to(from)
    }

    fn resident(&self) -> io::Result<u64> {
        self.vram.resident()
    }
}

impl PhysicalMemory for DeviceMemory {
    fn vram_size(&self) -> u64 {
        self.vram.size()
    }

    fn reaches(&self, at: Location, len: u64) -> bool {
        self.walk(at, len, Intent::Read, |_, _| {}).is_ok()
    }

    fn read(&self, at: Location, data: &mut [u8]) -> Result<(), MemoryError> {
        self.access(at, data.len() as u64, Intent::Read, |piece, offset| {
            if let Some(rest) = data.get_mut(offset..) {
                piece.copy_to(rest);
            }
        })
    }

    fn write(&self, at: Location, data: &[u8]) -> Result<(), MemoryError> {
        self.access(at, data.len() as u64, Intent::Write, |piece, offset| {
            if let Some(rest) = data.get(offset..) {
                piece.copy_from(rest);
            }
        })
    }

    fn copy(&self, from: Location, to: Location, len: u64) -> Result<(), MemoryError> {
        if let (Some(source), Some(target)) = (
            self.whole(from, len, Intent::Read),
            self.whole(to, len, Intent::Write),
        ) {
            source.copy_to_volatile_slice(target);
            return Ok(());
        }
        // Pieces of both sides, cut where either side changes its range.
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let source = step(from, done)
                .and_then(|at| self.piece(at, len - done, Intent::Read))
                .ok_or_else(|| self.error(from, len))?;
            let target = step(to, done)
                .and_then(|at| self.piece(at, source.len() as u64, Intent::Write))
                .ok_or_else(|| self.error(to, len))?;
            done += target.len() as u64; // never longer than the source
            pieces.push((source, target));
        }
        let copy = |(source, target): (VolatileSlice<'_>, VolatileSlice<'_>)| {
            source.copy_to_volatile_slice(target);
        };
        if must_descend(from, to, len) {
            pieces.into_iter().rev().for_each(copy);
        } else {
            pieces.into_iter().for_each(copy);
        }
        Ok(())
    }

    fn fill(&self, at: Location, pattern: u32, len: u64) -> Result<(), MemoryError> {
        self.access(at, len, Intent::Write, |piece, offset| {
            bytes::fill(&piece, pattern, offset);
        })
    }

    fn write_series(&self, at: Location, series: Series, skip: u64, len: u64) -> Result<(), MemoryError> {
        self.access(at, len, Intent::Write, |piece, offset| {
            bytes::write_series(&piece, series, skip.wrapping_add(offset as u64));
        })
    }

    #[inline]
    fn load_u64(&self, at: Location) -> Result<u64, MemoryError> {
        match self
            .whole(at, 8, Intent::Read)
            .and_then(|piece| u64::load(&piece))
        {
            Some(value) => Ok(value),
            None => self.read_bytes(at).map(u64::from_le_bytes),
        }
    }

    fn store_u32(&self, at: Location, value: u32) -> Result<(), MemoryError> {
        match self
            .whole(at, 4, Intent::Write)
            .and_then(|piece| value.store(&piece))
        {
            Some(()) => Ok(()),
            None => self.write(at, &value.to_le_bytes()),
        }
    }

    fn store_u64(&self, at: Location, value: u64) -> Result<(), MemoryError> {
        match self
            .whole(at, 8, Intent::Write)
            .and_then(|piece| value.store(&piece))
        {
            Some(()) => Ok(()),
            None => self.write(at, &value.to_le_bytes()),
        }
    }

    fn update_u32(&self, at: Location, update: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemoryError> {
        if let Some(piece) = self.whole(at, 4, Intent::ReadWrite)
            && let Some(old) = u32::update(&piece, update)
        {
            return Ok(old);
        }
        self.walk(at, 4, Intent::ReadWrite, |_, _| {})?;
        let old = u32::from_le_bytes(self.read_bytes(at)?);
        self.write(at, &update(old).to_le_bytes())?;
        Ok(old)
    }

    fn update_u64(&self, at: Location, update: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemoryError> {
        if let Some(piece) = self.whole(at, 8, Intent::ReadWrite)
            && let Some(old) = u64::update(&piece, update)
        {
            return Ok(old);
        }
        self.walk(at, 8, Intent::ReadWrite, |_, _| {})?;
        let old = u64::from_le_bytes(self.read_bytes(at)?);
        self.write(at, &update(old).to_le_bytes())?;
        Ok(old)
    }
}
