//! Buffers, their contents and their places in the GPU's address space.

use super::device::Device;
use super::ioctl::{self, Mapping};
use super::uapi::{self, GemClose, GemCreate, GemMmap, GemVa};

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
    pub fn new(device: &'a Device, domain: Domain, size: u64) -> Result<Self, String> {
        let (domains, flags) = match domain {
            Domain::Gtt => (uapi::DOMAIN_GTT, 0),
            Domain::Vram => (uapi::DOMAIN_VRAM, uapi::CREATE_CPU_ACCESS_REQUIRED),
        };
        let mut create = GemCreate {
            size,
            alignment: 0,
            domains,
            flags,
        };
        let arguments = format!("{domain:?}, {size:#x} bytes, flags {flags:#x}");
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
    pub fn map_at(&self, address: u64) -> Result<(), String> {
        self.map_part(address, 0, self.size)
    }

    /// Gives a part of it an address.
    pub fn map_part(&self, address: u64, offset: u64, size: u64) -> Result<(), String> {
        self.change_address(uapi::VA_MAP, "map", address, offset, size)
    }

    /// Takes an address away.
    pub fn unmap_part(&self, address: u64, offset: u64, size: u64) -> Result<(), String> {
        self.change_address(uapi::VA_UNMAP, "unmap", address, offset, size)
    }

    /// Takes the address of all of it away.
    pub fn unmap_at(&self, address: u64) -> Result<(), String> {
        self.unmap_part(address, 0, self.size)
    }

    fn change_address(
        &self,
        operation: u32,
        name: &str,
        address: u64,
        offset: u64,
        size: u64,
    ) -> Result<(), String> {
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
        Ok(ioctl::send(&self.device.file, &mut va, &arguments)?)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        close(self.device, self.handle);
    }
}

fn map(device: &Device, handle: u32, size: u64) -> Result<Mapping, String> {
    let mut request = GemMmap {
        handle: handle.into(),
    };
    ioctl::send(&device.file, &mut request, &format!("handle {handle}"))?;
    let length = usize::try_from(size).map_err(|_| "a buffer is too large".to_owned())?;
    Mapping::new(&device.file, request.offset(), length)
        .map_err(|error| format!("mmap of {size:#x} bytes at {:#x}: {error}", request.offset()))
}

fn close(device: &Device, handle: u32) {
    // The handle is ours; a failure would change nothing for us.
    let _ = ioctl::send(&device.file, &mut GemClose { handle, pad: 0 }, "");
}
