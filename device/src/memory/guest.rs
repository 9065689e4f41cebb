//! Guest memory, as far as the front end lets the device reach it.

use std::cell::Cell;
use std::io;

use rustix::fs::SealFlags;
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use super::PAGE_SIZE;
use crate::transport::{DmaRange, RequestError};

/// What an access does with the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Read,
    Write,
    ReadWrite,
}

#[derive(Debug)]
struct Range {
    start: u64,
    size: u64,
    readable: bool,
    writable: bool,
    /// `None`: out of reach, see [`DmaRange::backing`].
    mapping: Option<MmapRegion>,
}

impl Range {
    const fn allows(&self, intent: Intent) -> bool {
        match intent {
            Intent::Read => self.readable,
            Intent::Write => self.writable,
            Intent::ReadWrite => self.readable && self.writable,
        }
    }

    /// The part of the access that lies in this range: at most `len` bytes from `address`.
    fn piece(&self, address: u64, len: u64, intent: Intent) -> Option<VolatileSlice<'_>> {
        let offset = address.checked_sub(self.start)?;
        let len = len.min(self.size.checked_sub(offset)?);
        if len == 0 || !self.allows(intent) {
            return None;
        }
        let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        self.mapping.as_ref()?.get_slice(offset, len).ok()
    }
}

/// The DMA ranges of a front end, and the gate of the bus-master bit before them.
///
/// One thread owns it; a lookup remembers where it succeeded, because accesses come in runs.
#[derive(Debug, Default)]
pub struct GuestMemory {
    /// Sorted by start, without overlaps.
    ranges: Vec<Range>,
    /// Where each of them ends: what is searched, in as few cache lines as possible.
    ends: Vec<u64>,
    last: Cell<usize>,
    bus_master: bool,
}

impl GuestMemory {
    /// No memory, bus mastering off: the state of a function after reset.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the device reach guest memory, or shuts it off (Command.BME).
    pub const fn set_bus_master(&mut self, enabled: bool) {
        self.bus_master = enabled;
    }

    /// Whether the device may reach guest memory.
    pub const fn bus_master(&self) -> bool {
        self.bus_master
    }

    /// How many ranges there are, reachable or not.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no range.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether memory that the device may read is mapped at this bus address, whatever the bus-master gate says.
    pub fn is_reachable(&self, address: u64) -> bool {
        self.piece(address, 1, Intent::Read).is_some()
    }

    /// Index of the first range that ends after `address`.
    fn first_after(&self, address: u64) -> usize {
        self.ends.partition_point(|end| *end <= address)
    }

    /// Adds a range. One without memory behind it is recorded and stays out of reach: QEMU also maps this function's own
    /// frame-buffer BAR, and memory that has no descriptor.
    ///
    /// # Errors
    /// [`RequestError::DmaOverlap`] if it overlaps another, [`RequestError::Invalid`] if it is empty, not in whole pages, wraps
    /// around or lies beyond the end of its file, [`RequestError::Host`] if it cannot be mapped.
    pub fn add(&mut self, range: DmaRange) -> Result<(), RequestError> {
        let DmaRange {
            address,
            size,
            readable,
            writable,
            backing,
        } = range;
        if size == 0 {
            return Err(RequestError::Invalid("DMA range of no bytes"));
        }
        // The very last byte of the address space stays outside, so that an end is always a number.
        let Some(end) = address.checked_add(size) else {
            return Err(RequestError::Invalid("DMA range wraps around"));
        };
        if !address.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(RequestError::Invalid("DMA range is not in whole pages"));
        }
        let index = self.first_after(address);
        if self.ranges.get(index).is_some_and(|next| next.start < end) {
            return Err(RequestError::DmaOverlap { address, size });
        }
        let mapping = match backing {
            Some((file, offset)) if readable || writable => {
                Some(map(FileOffset::new(file, offset), size, readable, writable)?)
            }
            _ => None,
        };
        let range = Range {
            start: address,
            size,
            readable,
            writable,
            mapping,
        };
        self.ranges.insert(index, range);
        self.ends.insert(index, end);
        Ok(())
    }

    /// Takes away every range inside `address..address + size`; when it returns nothing of them is mapped any more.
    ///
    /// # Errors
    /// [`RequestError::DmaNotMapped`] if there is none, [`RequestError::Invalid`] if one is only partly inside; then nothing changes.
    pub fn remove(&mut self, address: u64, size: u64) -> Result<(), RequestError> {
        let end = address
            .checked_add(size)
            .ok_or(RequestError::Invalid("DMA range wraps around"))?;
        let first = self.first_after(address);
        let last = self.ranges.partition_point(|range| range.start < end);
        let inside = self.ranges.get(first..last).unwrap_or_default();
        if inside.is_empty() {
            return Err(RequestError::DmaNotMapped { address, size });
        }
        if inside
            .iter()
            .any(|range| range.start < address || range.start.saturating_add(range.size) > end)
        {
            return Err(RequestError::Invalid("part of a DMA range cannot be unmapped"));
        }
        self.ranges.drain(first..last);
        self.ends.drain(first..last);
        Ok(())
    }

    /// Takes every range away; the gate stays as it is.
    pub fn remove_all(&mut self) {
        self.ranges.clear();
        self.ends.clear();
    }

    /// Back to [`Self::new`]: the front end is gone.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The mapped piece at `address`: `len` bytes, or fewer if the range ends before. `None` if no memory that allows the access is
    /// there.
    pub(super) fn piece(&self, address: u64, len: u64, intent: Intent) -> Option<VolatileSlice<'_>> {
        let last = self.last.get();
        if let Some(range) = self.ranges.get(last)
            && let Some(piece) = range.piece(address, len, intent)
        {
            return Some(piece);
        }
        let index = self.first_after(address);
        let piece = self.ranges.get(index)?.piece(address, len, intent)?;
        self.last.set(index);
        Some(piece)
    }
}

/// Maps `size` bytes with no more rights than the range grants: a write to a read-only range must be impossible.
fn map(file: FileOffset, size: u64, readable: bool, writable: bool) -> Result<MmapRegion, RequestError> {
    let host = |what, source| RequestError::Host { what, source };
    let metadata = file
        .file()
        .metadata()
        .map_err(|source| host("cannot look at the file of a DMA range", source))?;
    if !file.start().is_multiple_of(PAGE_SIZE) {
        return Err(RequestError::Invalid(
            "file offset of a DMA range is not in whole pages",
        ));
    }
    if !metadata.is_file() {
        return Err(RequestError::Invalid(
            "descriptor of a DMA range is no regular or memory file",
        ));
    }
    if file
        .start()
        .checked_add(size)
        .is_none_or(|end| end > metadata.len())
    {
        return Err(RequestError::Invalid("DMA range lies beyond the end of its file"));
    }
    let sealed =
        rustix::fs::fcntl_get_seals(file.file()).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    if !sealed {
        log::debug!(target: "amdgpu::vfio", "DMA range of {size:#x} bytes: its file could be truncated (not sealed)");
    }
    let length = usize::try_from(size).map_err(|_| RequestError::Invalid("DMA range is too large"))?;
    let mut protection = 0;
    if readable {
        protection |= libc::PROT_READ;
    }
    if writable {
        protection |= libc::PROT_WRITE;
    }
    MmapRegionBuilder::new(length)
        .with_file_offset(file)
        .with_mmap_prot(protection)
        .with_mmap_flags(libc::MAP_SHARED | libc::MAP_NORESERVE)
        .build()
        .map_err(|error| match error {
            MmapRegionError::Mmap(source) => host("cannot map a DMA range", source),
            other => host("cannot map a DMA range", io::Error::other(other.to_string())),
        })
}
