//! The GPU's own memory.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use thiserror::Error;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use super::huge::{self, HugeError};
use super::{PAGE_SIZE, stream};

/// VRAM could not be provided.
#[derive(Debug, Error)]
pub enum VramError {
    /// The kernel refused.
    #[error("VRAM of {size:#x} bytes: {what}")]
    Host {
        /// Size asked for, in bytes.
        size: u64,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is no file of huge pages to be had.
    #[error("VRAM of {size:#x} bytes in huge pages")]
    Huge {
        /// Size asked for, in bytes.
        size: u64,
        /// What is in the way.
        #[source]
        source: HugeError,
    },
    /// The address space of this process cannot hold it.
    #[error("VRAM of {size:#x} bytes cannot be mapped")]
    Map {
        /// Size asked for, in bytes.
        size: u64,
        /// Why it failed.
        #[source]
        source: vm_memory::mmap::MmapRegionError,
    },
    /// The size is no multiple of the page size, or none at all.
    #[error("VRAM of {size:#x} bytes: the size must be a multiple of {PAGE_SIZE:#x} above zero")]
    Size {
        /// Size asked for, in bytes.
        size: u64,
    },
}

/// The file that VRAM is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backing {
    /// Of huge pages where that is possible, otherwise a memfd.
    #[default]
    Auto,
    /// A memfd: of the host's usual pages, unless its settings say otherwise, and sealed at its size.
    Memfd,
    /// Of huge pages.
    Huge,
}

/// VRAM: a memory file that this process and the front end map at the same time.
///
/// Sparse: a page costs host memory from the first access to it through a mapping (a read counts too). A memfd is sealed at its size, so
/// no process that holds the descriptor can take the memory from under the others; a file of huge pages cannot be.
#[derive(Debug)]
pub struct Vram {
    file: File,
    mapping: MmapRegion,
    size: u64,
    page: u64,
}

impl Vram {
    /// Provides `size` bytes of VRAM, all zero, as a memfd.
    ///
    /// # Errors
    /// [`VramError`] if the size is unsuitable or the host refuses.
    pub fn new(size: u64) -> Result<Self, VramError> {
        Self::backed(size, Backing::Memfd)
    }

    /// Provides `size` bytes of VRAM, all zero. The log says what file they are.
    ///
    /// # Errors
    /// [`VramError`] if the size is unsuitable or the host refuses.
    pub fn backed(size: u64, backing: Backing) -> Result<Self, VramError> {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) {
            return Err(VramError::Size { size });
        }
        let huge = || {
            let made = huge::create(size);
            if let Ok((_, page)) = &made {
                log::info!(target: "amdgpu::vram", "VRAM is a file of pages of {} KiB", page >> 10);
            }
            made
        };
        let (file, page) = match backing {
            Backing::Memfd => (memfd(size)?, PAGE_SIZE),
            Backing::Huge => huge().map_err(|source| VramError::Huge { size, source })?,
            Backing::Auto => match huge() {
                Ok(made) => made,
                Err(error) => {
                    log::info!(
                        target: "amdgpu::vram",
                        "VRAM is a memfd of small pages, which takes longer to lose: {error}"
                    );
                    (memfd(size)?, PAGE_SIZE)
                }
            },
        };
        Self::map(file, size, page)
    }

    /// The kernel aligns a mapping of a file of huge pages to them by itself (`shmem_get_unmapped_area`), the front end's as well.
    fn map(file: File, size: u64, page: u64) -> Result<Self, VramError> {
        let length = usize::try_from(size).map_err(|_| VramError::Size { size })?;
        let mapped = file.try_clone().map_err(|source| VramError::Host {
            size,
            what: "cannot duplicate the memory file",
            source,
        })?;
        let mapping = MmapRegion::from_file(FileOffset::new(mapped, 0), length)
            .map_err(|source| VramError::Map { size, source })?;
        Ok(Self {
            file,
            mapping,
            size,
            page,
        })
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are populated at a time: those of a huge page, or [`PAGE_SIZE`]. Where the host has no huge page left it populates smaller
    /// ones.
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// Another descriptor of the file behind it, for the front end to map as the frame-buffer BAR.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Throws the contents of a range away: it reads as zero in every mapping at once, and its memory goes back to the host. What lies
    /// beyond the end of VRAM is left out.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = len.min(self.size.saturating_sub(offset));
        if len == 0 {
            return Ok(());
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, mode, offset, len)?)
    }

    /// Writes one pattern over a range, from its first byte on. What lies beyond the end of VRAM is left out.
    ///
    /// Huge pages are written through the mapping. Small ones are written through the file: so a page that only another process has
    /// touched costs no fault here (`docs/adr/0005-losing-vram.md`).
    ///
    /// # Errors
    /// If the host refuses.
    pub fn overwrite(&self, offset: u64, len: u64, pattern: u32) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        const CHUNK: u64 = 1 << 20;
        let end = offset.saturating_add(len).min(self.size);
        let len = end.saturating_sub(offset);
        if self.page > PAGE_SIZE {
            if let Some(piece) = self.piece(offset, len) {
                stream::fill(&piece, pattern);
            }
            return Ok(());
        }
        let words = usize::try_from(CHUNK.min(len).div_ceil(4)).unwrap_or(0);
        let chunk = pattern.to_le_bytes().repeat(words);
        let mut at = offset;
        while at < end {
            let part = chunk
                .get(..usize::try_from(end - at).unwrap_or(usize::MAX))
                .unwrap_or(&chunk);
            self.file.write_all_at(part, at)?;
            at = at.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    /// The first populated byte at or after `from`. Everything before it from there on was never touched, or was discarded, and reads as
    /// zero.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn populated_from(&self, from: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(from)) {
            Ok(start) => Ok(Some(start)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the populated range ends that `from` is in. The host goes through all its pages for that: 16 GiB of small ones take it tens of
    /// milliseconds.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn populated_to(&self, from: u64) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.file, SeekFrom::Hole(from))?)
    }

    /// How much host memory it takes, in bytes.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn resident(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        const BLOCK: u64 = 512; // the unit of st_blocks, whatever the file system's own
        Ok(self.file.metadata()?.blocks().saturating_mul(BLOCK))
    }

    /// The mapped bytes of a range; `None` if any is outside.
    #[inline]
    pub(super) fn piece(&self, offset: u64, len: u64) -> Option<VolatileSlice<'_>> {
        let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        self.mapping.get_slice(offset, len).ok()
    }
}

/// A sealed file of the host's usual pages.
fn memfd(size: u64) -> Result<File, VramError> {
    let host = |what| {
        move |source: Errno| VramError::Host {
            size,
            what,
            source: source.into(),
        }
    };
    let file = rustix::fs::memfd_create("amdgpu-vram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(host("cannot create a memory file"))?;
    rustix::fs::ftruncate(&file, size).map_err(host("cannot size the memory file"))?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)
        .map_err(host("cannot seal the memory file"))?;
    Ok(File::from(file))
}
