//! KFD, the compute side of amdgpu: as much of it as a process needs whose address space is a compute VM.
//!
//! `/dev/kfd` makes the process one of KFD's; `AMDKFD_IOC_ACQUIRE_VM` turns the VM of an open render node into a compute VM
//! (amdgpu_vm.c, `amdgpu_vm_make_compute`), in which jobs of that render node's contexts still run.

mod ask;
mod event;
mod smi;
mod svm;
mod uapi;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use crate::drm::Device;
use crate::ioctl::{self, Error, Mapping, Request};
use crate::pci::Gpu;
use crate::sys;
pub use event::ResetEvent;
pub use smi::{Smi, SmiEvent};
pub use svm::Range;
use uapi::{AcquireVm, AllocMemory, FreeMemory, MapMemory, UnmapMemory};
pub use uapi::{SMI_POST_RESET, SMI_PRE_RESET, SMI_VM_FAULT};

const NODE: &str = "/dev/kfd";
const TOPOLOGY: &str = "/sys/class/kfd/kfd/topology/nodes";

/// The process as KFD knows it, with one GPU.
#[derive(Debug)]
pub struct Kfd {
    file: File,
    /// KFD's number of the GPU.
    gpu: u32,
}

impl Kfd {
    /// Makes this process one of KFD's, and looks for the GPU in its topology.
    pub fn open(gpu: &Gpu) -> Result<Self, String> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(NODE)
            .map_err(|error| refused(&error))?;
        Ok(Self {
            file,
            gpu: number_of(gpu, Path::new(TOPOLOGY))?,
        })
    }

    /// KFD's number of the GPU.
    pub const fn gpu(&self) -> u32 {
        self.gpu
    }

    /// Makes the VM of an open render node the compute VM of this process.
    pub fn acquire_vm(&self, device: &Device) -> Result<(), String> {
        let descriptor = device.descriptor();
        let mut request = AcquireVm {
            drm_file: u32::try_from(descriptor).map_err(|_| format!("descriptor {descriptor}"))?,
            gpu: self.gpu,
        };
        let arguments = format!("descriptor {descriptor}, gpu {:#x}", self.gpu);
        Ok(send(&self.file, &mut request, &arguments)?)
    }
}

/// Why `/dev/kfd` cannot be opened. Only that it is not there, or has no driver, is a matter of how the kernel was built: KFD itself says EAGAIN
/// while a reset goes on, EINVAL for a process that it cannot take (kfd_process.c, `kfd_create_process`), EPERM for one of 32 bits.
fn refused(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => {
            "; there is no KFD: the kernel needs CONFIG_HSA_AMD, and amdgpu has to be loaded"
        }
        _ => "",
    };
    format!("opening {NODE}: {}{hint}", sys::explain(error))
}

/// Sends one of KFD's requests.
fn send<R: Request>(file: &File, request: &mut R, arguments: &str) -> Result<(), Error> {
    ioctl::send(file, request, arguments)
        .map_err(|error| error.with_hints(&[(libc::ENOTTY, "this kernel's KFD has no such request")]))
}

/// Memory in VRAM that KFD allocated and mapped at an address of the compute VM.
#[derive(Debug)]
pub struct Memory<'a> {
    kfd: &'a Kfd,
    handle: u64,
    address: u64,
    size: u64,
    mapping: Mapping,
}

impl<'a> Memory<'a> {
    /// Allocates it at an address, and maps it for the GPU and for this process.
    pub fn new(kfd: &'a Kfd, device: &Device, address: u64, size: u64) -> Result<Self, String> {
        let mut request = AllocMemory {
            address,
            size,
            gpu: kfd.gpu,
            flags: uapi::ALLOC_VRAM | uapi::ALLOC_WRITABLE | uapi::ALLOC_PUBLIC,
            ..AllocMemory::default()
        };
        let arguments = format!("{size:#x} bytes at {address:#x}, flags {:#x}", request.flags);
        send(&kfd.file, &mut request, &arguments)?;
        let handle = request.handle;
        let mapping = map(kfd, device, &request).inspect_err(|_| free(kfd, handle))?;
        Ok(Self {
            kfd,
            handle,
            address,
            size,
            mapping,
        })
    }

    /// Where the GPU sees it.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of it through the processor.
    pub fn write(&self, bytes: &[u8]) -> Result<(), String> {
        (self.mapping.write(0, bytes)).ok_or_else(|| format!("writing {} bytes of KFD's memory", bytes.len()))
    }

    /// Reads all of it through the processor.
    pub fn read_all(&self) -> Result<Vec<u8>, String> {
        let size = usize::try_from(self.size).map_err(|_| "memory of KFD's is too large".to_owned())?;
        let mut bytes = vec![0; size];
        self.mapping
            .read(0, &mut bytes)
            .ok_or_else(|| format!("reading {size} bytes of KFD's memory"))?;
        Ok(bytes)
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let gpus = [self.kfd.gpu];
        let mut request = UnmapMemory {
            handle: self.handle,
            gpus: gpus.as_ptr() as u64,
            gpu_count: 1,
            done: 0,
        };
        // It is ours; a failure would change nothing for us.
        let _ = send(&self.kfd.file, &mut request, "");
        free(self.kfd, self.handle);
    }
}

fn map(kfd: &Kfd, device: &Device, memory: &AllocMemory) -> Result<Mapping, String> {
    let gpus = [kfd.gpu];
    let mut request = MapMemory {
        handle: memory.handle,
        gpus: gpus.as_ptr() as u64,
        gpu_count: 1,
        done: 0,
    };
    let arguments = format!("handle {:#x}, gpu {:#x}", memory.handle, kfd.gpu);
    send(&kfd.file, &mut request, &arguments)?;
    let length = usize::try_from(memory.size).unwrap_or(usize::MAX);
    let mapping = device.map(memory.mmap_offset, length).map_err(|source| {
        let arguments = format!("{length:#x} bytes at {:#x}", memory.mmap_offset);
        Error::new("mmap", &arguments, source)
    })?;
    Ok(mapping)
}

fn free(kfd: &Kfd, handle: u64) {
    // The handle is ours; a failure would change nothing for us.
    let _ = send(&kfd.file, &mut FreeMemory { handle }, "");
}

/// KFD's number of a GPU: that of the node whose place on the bus is the GPU's.
fn number_of(gpu: &Gpu, topology: &Path) -> Result<u32, String> {
    let wanted = location(&gpu.address).ok_or_else(|| format!("{} is no PCI address", gpu.address))?;
    let nodes = fs::read_dir(topology).map_err(|error| format!("{}: {error}", topology.display()))?;
    let found = nodes.flatten().find_map(|node| {
        let properties = fs::read_to_string(node.path().join("properties")).ok()?;
        let number = fs::read_to_string(node.path().join("gpu_id")).ok()?;
        (property(&properties, "location_id") == Some(wanted)).then(|| number.trim().parse().ok())?
    });
    // A node of processors has the number 0.
    found.filter(|number| *number != 0).ok_or_else(|| {
        format!(
            "KFD has no node for {}: the kernel's log says why (kfd kfd: amdgpu: skipped device)",
            gpu.address
        )
    })
}

/// `location_id` of a PCI address such as 0000:01:00.0: bus in 15:8, device in 7:3, function in 2:0 (`pci_dev_id`, kfd_topology.c).
fn location(address: &str) -> Option<u32> {
    let (rest, function) = address.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (_, bus) = rest.rsplit_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    Some(number(bus)? << 8 | number(device)? << 3 | number(function)?)
}

fn property(text: &str, name: &str) -> Option<u32> {
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_a_matter_of_the_kernels_configuration() {
        let told = |number| refused(&io::Error::from_raw_os_error(number));
        for number in [libc::ENOENT, libc::ENXIO, libc::ENODEV] {
            assert!(told(number).contains("CONFIG_HSA_AMD"), "{}", told(number));
        }
        for (number, name) in [
            (libc::EAGAIN, "EAGAIN"),
            (libc::EINVAL, "EINVAL"),
            (libc::EPERM, "EPERM"),
        ] {
            let text = told(number);
            assert!(
                text.starts_with(&format!("opening /dev/kfd: {name}: ")) && !text.contains("CONFIG"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_request_that_a_kernel_does_not_know_is_told_as_such() {
        let error = |number| Error::new("X", "a", io::Error::from_raw_os_error(number));
        let hints = [(libc::ENOTTY, "no such request")];
        let told = |number| error(number).with_hints(&hints).to_string();
        assert!(told(libc::ENOTTY).ends_with("; no such request"));
        assert!(told(libc::EINVAL).starts_with("X(a): EINVAL: ") && !told(libc::EINVAL).contains("request"));
    }

    #[test]
    fn a_node_is_found_by_its_place_on_the_bus() {
        assert_eq!(location("0000:01:00.0"), Some(0x100));
        assert_eq!(location("0000:0a:1f.3"), Some(0xafb));
        assert_eq!(location("nowhere"), None);
        let text = "cpu_cores_count 0\nlocation_id 256\ndomain 0\n";
        assert_eq!(property(text, "location_id"), Some(256));
        assert_eq!(property(text, "simd_count"), None);
    }
}
