//! Memory of this process that the GPU shares (SVM), and that the kernel can keep in VRAM.
//!
//! Such pages are device-private memory: the processor has no mapping of them, and its next access migrates them back
//! (amdkfd/kfd_migrate.c, `svm_migrate_to_ram`).

use super::uapi::{self, Svm, SvmAttribute};
use super::{Error, Kfd, Mapping};

/// What a refusal means: without SVM the request is there and says EPERM (kfd_chardev.c, `kfd_ioctl_svm`, 6.1 to 7.3).
const HINTS: [(i32, &str); 2] = [
    (
        libc::EPERM,
        "the kernel needs CONFIG_HSA_AMD_SVM, which needs CONFIG_DEVICE_PRIVATE",
    ),
    (libc::ENOTTY, "this kernel's KFD has no such request"),
];

/// A range of anonymous memory.
#[derive(Debug)]
pub struct Range {
    mapping: Mapping,
    size: usize,
}

impl Range {
    /// Makes one, in the system's memory.
    pub fn new(size: usize) -> Result<Self, String> {
        let mapping =
            Mapping::anonymous(size).map_err(|error| format!("mmap of {size:#x} bytes: {error}"))?;
        Ok(Self { mapping, size })
    }

    /// Size in bytes.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Gives the GPU access, and has the kernel migrate the range to VRAM.
    pub fn prefetch(&self, kfd: &Kfd) -> Result<(), Error> {
        let attributes = [uapi::SVM_ACCESS, uapi::SVM_PREFETCH_LOCATION];
        let mut request = Svm {
            address: self.mapping.address(),
            size: self.size as u64,
            operation: uapi::SVM_SET,
            count: 2,
            attributes: attributes.map(|kind| SvmAttribute { kind, value: kfd.gpu }),
        };
        let arguments = format!(
            "SET_ATTR, access and prefetch of {:#x} bytes at {:#x} for gpu {:#x}",
            self.size,
            self.mapping.address(),
            kfd.gpu
        );
        super::send(&kfd.file, &mut request, &arguments).map_err(|error| error.with_hints(&HINTS))
    }

    /// Writes all of it by the processor.
    pub fn write(&self, bytes: &[u8]) -> Result<(), String> {
        (self.mapping.write(0, bytes))
            .ok_or_else(|| format!("writing {} bytes of shared memory", bytes.len()))
    }

    /// Reads all of it by the processor, which migrates back what is in VRAM.
    pub fn read_all(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.size];
        self.mapping
            .read(0, &mut bytes)
            .ok_or_else(|| format!("reading {} bytes of shared memory", self.size))?;
        Ok(bytes)
    }
}
