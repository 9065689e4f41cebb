//! Buffers, their contents and their places in the GPU's address space.

use super::device::Device;
use super::uapi::{self, GemClose, GemCreate, GemMmap, GemUserptr, GemVa};
use crate::ioctl::{self, Error, Mapping};

/// Where a buffer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The system's memory.
    Gtt,
    /// The card's memory.
    Vram,
}

/// A buffer that the processor can reach.
#[derive(Debug)]
pub struct Buffer<'a> {
    device: &'a Device,
    pub(super) handle: u32,
    size: u64,
    mapping: Mapping,
}

impl<'a> Buffer<'a> {
    /// Makes a buffer.
    pub fn new(device: &'a Device, domain: Domain, size: u64) -> Result<Self, Error> {
        let (domains, flags) = match domain {
            Domain::Gtt => (uapi::DOMAIN_GTT, 0),
            Domain::Vram => (uapi::DOMAIN_VRAM, uapi::CREATE_CPU_ACCESS_REQUIRED),
        };
        Self::create(device, domains, size, flags)
    }

    /// Makes a buffer in the card's memory that the driver is asked to clear.
    pub fn cleared(device: &'a Device, size: u64) -> Result<Self, Error> {
        let flags = uapi::CREATE_CPU_ACCESS_REQUIRED | uapi::CREATE_VRAM_CLEARED;
        Self::create(device, uapi::DOMAIN_VRAM, size, flags)
    }

    fn create(device: &'a Device, domains: u64, size: u64, flags: u64) -> Result<Self, Error> {
        let mut create = GemCreate {
            size,
            alignment: 0,
            domains,
            flags,
        };
        let arguments = format!("domains {domains:#x}, {size:#x} bytes, flags {flags:#x}");
        ioctl::send(&device.file, &mut create, &arguments)?;
        let handle = create.handle();
        let mapping = map(device, handle, size).inspect_err(|_| close(device, handle))?;
        Ok(Self {
            device,
            handle,
            size,
            mapping,
        })
    }

    /// Makes a buffer of memory of this process, whose pages lie anywhere: no two neighbours are asked for one after the
    /// other, and pages that others get lie between.
    ///
    /// Pages of a buffer that the driver makes come in whole blocks as long as memory is not short, and it describes a
    /// block by its start. Only of scattered pages does it list the addresses one by one (amdgpu_vm.c,
    /// `amdgpu_vm_update_range`, `pages_addr`).
    pub fn scattered(device: &'a Device, pages: usize) -> Result<Self, String> {
        const PAGE: usize = 0x1000;
        /// Odd, so that it takes every page of a power of two in turn, and far from one.
        const STRIDE: usize = 29;
        let memory = |bytes: usize| {
            Mapping::anonymous(bytes).map_err(|error| format!("mmap of {bytes:#x} bytes of memory: {error}"))
        };
        let touch = |mapping: &Mapping, page: usize| {
            mapping
                .write(page * PAGE, &[1])
                .ok_or_else(|| format!("page {page} is not there"))
        };
        if !pages.is_power_of_two() {
            return Err(format!("{pages} scattered pages: not a power of two"));
        }
        let mapping = memory(pages * PAGE)?;
        let throw_away = memory(pages * PAGE)?;
        for step in 0..pages {
            touch(&mapping, step * STRIDE % pages)?;
            if step % 3 == 0 {
                touch(&throw_away, step)?;
            }
        }
        let size = u64::try_from(pages * PAGE).map_err(|_| "a buffer is too large".to_owned())?;
        let mut request = GemUserptr {
            address: mapping.address(),
            size,
            flags: uapi::USERPTR_ANONYMOUS_ONLY | uapi::USERPTR_VALIDATE | uapi::USERPTR_REGISTER,
            handle: 0,
        };
        let arguments = format!("{size:#x} bytes, flags {:#x}", request.flags);
        ioctl::send(&device.file, &mut request, &arguments)?;
        Ok(Self {
            device,
            handle: request.handle,
            size,
            mapping,
        })
    }

    /// Unmaps the memory of this process that the buffer is made of, and touches as much elsewhere, to which its pages may go.
    ///
    /// What is written and read through the buffer is the new memory from then on; what the GPU sees of it is the driver's business.
    pub fn replace_memory(&mut self, bytes: &[u8]) -> Result<(), String> {
        let fresh = Mapping::anonymous(bytes.len())
            .map_err(|error| format!("mmap of {:#x} bytes of memory: {error}", bytes.len()))?;
        // The new one has its addresses already, so that it gets other ones than the old.
        drop(std::mem::replace(&mut self.mapping, fresh));
        self.write(0, bytes)
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes bytes through the processor.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        usize::try_from(offset)
            .ok()
            .and_then(|offset| self.mapping.write(offset, bytes))
            .ok_or_else(|| {
                format!(
                    "writing {} bytes at {offset:#x} of a buffer of {:#x}",
                    bytes.len(),
                    self.size
                )
            })
    }

    /// Reads all of it through the processor.
    pub fn read_all(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; usize::try_from(self.size).map_err(|_| "a buffer is too large".to_owned())?];
        self.mapping
            .read(0, &mut bytes)
            .ok_or_else(|| format!("reading a buffer of {:#x}", self.size))?;
        Ok(bytes)
    }

    /// Gives all of it an address.
    pub fn map_at(&self, address: u64) -> Result<(), Error> {
        self.map_part(address, 0, self.size)
    }

    /// Gives a part of it an address.
    pub fn map_part(&self, address: u64, offset: u64, size: u64) -> Result<(), Error> {
        self.change_address(uapi::VA_MAP, "map", address, offset, size)
    }

    /// Takes an address away.
    pub fn unmap_part(&self, address: u64, offset: u64, size: u64) -> Result<(), Error> {
        self.change_address(uapi::VA_UNMAP, "unmap", address, offset, size)
    }

    /// Takes the address of all of it away.
    pub fn unmap_at(&self, address: u64) -> Result<(), Error> {
        self.unmap_part(address, 0, self.size)
    }

    fn change_address(
        &self,
        operation: u32,
        name: &str,
        address: u64,
        offset: u64,
        size: u64,
    ) -> Result<(), Error> {
        let mut va = GemVa {
            handle: self.handle,
            pad: 0,
            operation,
            flags: uapi::VA_READ_WRITE,
            address,
            offset,
            size,
        };
        let arguments = format!(
            "{name}, handle {}, {size:#x} bytes from {offset:#x} at {address:#x}",
            self.handle
        );
        ioctl::send(&self.device.file, &mut va, &arguments)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        close(self.device, self.handle);
    }
}

fn map(device: &Device, handle: u32, size: u64) -> Result<Mapping, Error> {
    let mut request = GemMmap {
        handle: handle.into(),
    };
    ioctl::send(&device.file, &mut request, &format!("handle {handle}"))?;
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    device.map(request.offset(), length).map_err(|source| {
        let arguments = format!("{size:#x} bytes at {:#x}", request.offset());
        Error::new("mmap", &arguments, source)
    })
}

fn close(device: &Device, handle: u32) {
    // The handle is ours; a failure would change nothing for us.
    let _ = ioctl::send(&device.file, &mut GemClose { handle, pad: 0 }, "");
}
