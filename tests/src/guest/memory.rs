//! The guest's memory as its CPUs see it: the frame-buffer BAR and RAM, in mappings of their own.

use std::fs::File;
use std::sync::atomic::Ordering;

use gart::{BusAddr, GpuVa, Location, VramOffset};
use rustix::fs::{MemfdFlags, SealFlags};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use super::Failure;

/// Size of a page.
pub const PAGE: u64 = 4096;
/// Bus address of RAM's first byte. Not 0: a device that takes offsets into the file for bus addresses fails.
pub const RAM_BASE: u64 = 0x4000_0000;

/// VRAM and RAM, mapped a second time. Threads may share it: it is how another CPU sees what the device does.
#[derive(Debug)]
pub struct CpuMemory {
    vram: MmapRegion,
    ram: MmapRegion,
}

impl CpuMemory {
    /// Maps both files.
    pub(super) fn new(vram: (File, u64), ram: (File, u64)) -> Result<Self, Failure> {
        Ok(Self {
            vram: map(vram)?,
            ram: map(ram)?,
        })
    }

    fn slice(&self, at: Location, len: usize) -> Result<VolatileSlice<'_>, Failure> {
        let (region, offset) = match at {
            Location::Vram(offset) => (&self.vram, Some(offset.get())),
            Location::System(address) => (&self.ram, address.get().checked_sub(RAM_BASE)),
        };
        offset
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|offset| region.get_slice(offset, len).ok())
            .ok_or(Failure::NoMemory { at, len })
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`Failure::NoMemory`] outside both memories.
    pub fn read(&self, at: Location, data: &mut [u8]) -> Result<(), Failure> {
        self.slice(at, data.len())?.copy_to(data);
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`Failure::NoMemory`] outside both memories.
    pub fn write(&self, at: Location, data: &[u8]) -> Result<(), Failure> {
        self.slice(at, data.len())?.copy_from(data);
        Ok(())
    }

    /// Reads a dword with acquire order: whatever was written before it is seen by later reads.
    ///
    /// # Errors
    /// [`Failure::NoMemory`] outside both memories.
    pub fn load(&self, at: Location) -> Result<u32, Failure> {
        let load = self.slice(at, 4)?.load::<u32>(0, Ordering::Acquire);
        load.map(u32::from_le)
            .map_err(|_| Failure::NoMemory { at, len: 4 })
    }

    /// Writes a dword with release order.
    ///
    /// # Errors
    /// [`Failure::NoMemory`] outside both memories.
    pub fn store(&self, at: Location, value: u32) -> Result<(), Failure> {
        let store = self.slice(at, 4)?.store(value.to_le(), 0, Ordering::Release);
        store.map_err(|_| Failure::NoMemory { at, len: 4 })
    }
}

fn map((file, size): (File, u64)) -> Result<MmapRegion, Failure> {
    let length =
        usize::try_from(size).map_err(|_| Failure::Host("a memory file is too large to be mapped"))?;
    MmapRegion::from_file(FileOffset::new(file, 0), length)
        .map_err(|_| Failure::Host("a memory file cannot be mapped"))
}

/// A sealed memory file, as QEMU's `memory-backend-memfd` makes one.
pub(super) fn memory_file(size: u64) -> Result<File, Failure> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let refused = |_| Failure::Host("guest memory cannot be created");
    let file = rustix::fs::memfd_create("guest-ram", flags).map_err(refused)?;
    rustix::fs::ftruncate(&file, size).map_err(refused)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK).map_err(refused)?;
    Ok(File::from(file))
}

/// Where a buffer's bytes are.
#[derive(Debug, Clone)]
enum Backing {
    Vram(VramOffset),
    /// One bus address per page, in no order.
    Ram(Vec<BusAddr>),
}

/// A buffer that the driver has allocated: one range for the GPU, somewhere in memory for the CPU.
#[derive(Debug, Clone)]
pub struct Buffer {
    mc: GpuVa,
    size: u64,
    backing: Backing,
}

impl Buffer {
    /// A buffer in VRAM, whose MC address is `mc`.
    pub const fn in_vram(at: VramOffset, mc: GpuVa, size: u64) -> Self {
        Self {
            mc,
            size,
            backing: Backing::Vram(at),
        }
    }

    /// A buffer in RAM, bound into the GART at `mc`.
    pub const fn in_ram(pages: Vec<BusAddr>, mc: GpuVa, size: u64) -> Self {
        Self {
            mc,
            size,
            backing: Backing::Ram(pages),
        }
    }

    /// Its MC address: what VMID 0 uses.
    pub const fn mc(&self) -> GpuVa {
        self.mc
    }

    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its pages in RAM; none if it is in VRAM.
    pub fn pages(&self) -> &[BusAddr] {
        match &self.backing {
            Backing::Vram(_) => &[],
            Backing::Ram(pages) => pages,
        }
    }

    /// Where the byte at `offset` is.
    ///
    /// # Errors
    /// [`Failure::OutsideBuffer`] beyond its end.
    pub fn at(&self, offset: u64) -> Result<Location, Failure> {
        let outside = Failure::OutsideBuffer {
            offset,
            size: self.size,
        };
        if offset >= self.size {
            return Err(outside);
        }
        match &self.backing {
            Backing::Vram(start) => Ok(Location::Vram(start.plus(offset))),
            Backing::Ram(pages) => {
                let page = usize::try_from(offset / PAGE)
                    .ok()
                    .and_then(|page| pages.get(page))
                    .ok_or(outside)?;
                Ok(Location::System(page.plus(offset % PAGE)))
            }
        }
    }

    /// Calls `each` for the pieces of `len` bytes at `offset` that lie in one page each: where, first byte, length.
    pub(super) fn pieces(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(Location, usize, usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < len {
            let here = offset + done as u64;
            let room = usize::try_from(PAGE - here % PAGE).unwrap_or(len);
            let count = room.min(len - done);
            each(self.at(here)?, done, count)?;
            done += count;
        }
        Ok(())
    }
}
