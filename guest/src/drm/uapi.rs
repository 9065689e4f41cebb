//! The structures and numbers of the kernel's interface (include/uapi/drm/drm.h and amdgpu_drm.h; the forms of 6.1, which
//! later kernels still take).
//!
//! Where the kernel has a union of input and output, the structure here is the input, and a method reads the output.

use crate::ioctl::{Request, request};

/// Type of all requests of the DRM interface.
const TYPE: u8 = b'd';
/// First number of a driver's own requests.
const DRIVER: u8 = 0x40;

/// `drm_version`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Version {
    pub major: i32,
    pub minor: i32,
    pub patch_level: i32,
    pub pad: i32,
    pub name_length: u64,
    pub name: u64,
    pub date_length: u64,
    pub date: u64,
    pub description_length: u64,
    pub description: u64,
}
request!(Version, 0x00, true, "VERSION");

/// `drm_gem_close`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GemClose {
    pub handle: u32,
    pub pad: u32,
}
request!(GemClose, 0x09, false, "GEM_CLOSE");

/// `drm_amdgpu_gem_create`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GemCreate {
    pub size: u64,
    pub alignment: u64,
    pub domains: u64,
    pub flags: u64,
}
request!(GemCreate, DRIVER, true, "AMDGPU_GEM_CREATE");

impl GemCreate {
    /// Output: the buffer's handle.
    pub const fn handle(&self) -> u32 {
        low(self.size)
    }
}

/// The system's memory.
pub const DOMAIN_GTT: u64 = 2;
/// The card's memory.
pub const DOMAIN_VRAM: u64 = 4;
/// The buffer must be where the processor can reach it.
pub const CREATE_CPU_ACCESS_REQUIRED: u64 = 1;
/// Zeros before anybody sees it.
pub const CREATE_VRAM_CLEARED: u64 = 1 << 3;

/// `drm_amdgpu_gem_mmap`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GemMmap {
    pub handle: u64,
}
request!(GemMmap, DRIVER + 0x01, true, "AMDGPU_GEM_MMAP");

impl GemMmap {
    /// Output: the offset to map at.
    pub const fn offset(&self) -> u64 {
        self.handle
    }
}

/// `drm_amdgpu_ctx`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Ctx {
    pub operation: u32,
    pub flags: u32,
    pub id: u32,
    pub priority: i32,
}
request!(Ctx, DRIVER + 0x02, true, "AMDGPU_CTX");

impl Ctx {
    /// Output of an allocation: the context; of a query: the low half of the flags.
    pub const fn first_word(&self) -> u32 {
        self.operation
    }
}

pub const CTX_ALLOC: u32 = 1;
pub const CTX_FREE: u32 = 2;
pub const CTX_QUERY_STATE2: u32 = 4;

/// `drm_amdgpu_bo_list`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct BoList {
    pub operation: u32,
    pub list: u32,
    pub count: u32,
    pub entry_size: u32,
    pub entries: u64,
}
request!(BoList, DRIVER + 0x03, true, "AMDGPU_BO_LIST");

impl BoList {
    /// Output: the list's handle.
    pub const fn handle(&self) -> u32 {
        self.operation
    }
}

pub const BO_LIST_CREATE: u32 = 0;
pub const BO_LIST_DESTROY: u32 = 1;

/// `drm_amdgpu_bo_list_entry`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct BoListEntry {
    pub handle: u32,
    pub priority: u32,
}

/// Size of [`BoListEntry`].
pub const BO_LIST_ENTRY_BYTES: u32 = 8;
const _: () = assert!(size_of::<BoListEntry>() == BO_LIST_ENTRY_BYTES as usize);

/// `drm_amdgpu_cs`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Cs {
    pub context: u32,
    pub list: u32,
    pub chunk_count: u32,
    pub flags: u32,
    pub chunks: u64,
}
request!(Cs, DRIVER + 0x04, true, "AMDGPU_CS");

impl Cs {
    /// Output: the number of the submission.
    pub const fn sequence(&self) -> u64 {
        (self.context as u64) | ((self.list as u64) << 32)
    }
}

/// `drm_amdgpu_cs_chunk`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct CsChunk {
    pub id: u32,
    pub length: u32,
    pub data: u64,
}

/// A chunk that names an indirect buffer.
pub const CHUNK_IB: u32 = 1;

/// `drm_amdgpu_cs_chunk_ib`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct CsChunkIb {
    pub pad: u32,
    pub flags: u32,
    pub address: u64,
    pub bytes: u32,
    pub engine: u32,
    pub instance: u32,
    pub ring: u32,
}

/// Length of [`CsChunkIb`] as the kernel counts it.
pub const CHUNK_IB_DWORDS: u32 = 8;
const _: () = assert!(size_of::<CsChunkIb>() == 4 * CHUNK_IB_DWORDS as usize);

/// The graphics queues (`AMDGPU_HW_IP_GFX`).
pub const ENGINE_GFX: u32 = 0;
/// The compute queues (`AMDGPU_HW_IP_COMPUTE`).
pub const ENGINE_COMPUTE: u32 = 1;
/// The SDMA engines (`AMDGPU_HW_IP_DMA`).
pub const ENGINE_DMA: u32 = 2;

/// `drm_amdgpu_info`, with the largest member of its union as plain words.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Info {
    pub target: u64,
    pub size: u32,
    pub query: u32,
    pub words: [u32; 4],
}
request!(Info, DRIVER + 0x05, false, "AMDGPU_INFO");

pub const INFO_HW_IP_INFO: u32 = 0x02;
pub const INFO_FW_VERSION: u32 = 0x0e;
pub const INFO_VRAM_GTT: u32 = 0x14;
pub const INFO_DEV_INFO: u32 = 0x16;
pub const INFO_VRAM_LOST_COUNTER: u32 = 0x1f;

/// The firmware that is asked for, by `AMDGPU_INFO_FW_*`.
pub const FIRMWARE: [(&str, u32); 9] = [
    ("me", 0x04),
    ("pfp", 0x05),
    ("ce", 0x06),
    ("rlc", 0x07),
    ("mec", 0x08),
    ("smc", 0x0a),
    ("sdma", 0x0b),
    ("sos", 0x0c),
    ("asd", 0x0d),
];

/// The start of `drm_amdgpu_info_device`: as much as is reported.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct InfoDevice {
    pub device_id: u32,
    pub chip_rev: u32,
    pub external_rev: u32,
    pub pci_rev: u32,
    pub family: u32,
    pub shader_engines: u32,
    pub shader_arrays: u32,
    pub counter_frequency: u32,
    pub engine_clock: u64,
    pub memory_clock: u64,
    pub active_units: u32,
    pub always_on_mask: u32,
    pub unit_bitmap: [u32; 16],
    pub pipes_mask: u32,
    pub pipes: u32,
    pub contexts: u32,
    pub pad: u32,
    pub flags: u64,
    pub address_first: u64,
    pub address_last: u64,
    pub address_alignment: u32,
    pub fragment_size: u32,
}

// The place of `virtual_address_offset` in the kernel's header: everything before it has the right size.
const _: () = assert!(std::mem::offset_of!(InfoDevice, address_first) == 0x90);

/// `drm_amdgpu_info_vram_gtt`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct InfoVramGtt {
    pub vram: u64,
    pub visible_vram: u64,
    pub gtt: u64,
}

/// `drm_amdgpu_info_hw_ip`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct InfoHwIp {
    pub major: u32,
    pub minor: u32,
    pub capabilities: u64,
    pub start_alignment: u32,
    pub size_alignment: u32,
    pub rings: u32,
    pub discovery_version: u32,
}

/// `drm_amdgpu_info_firmware`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct InfoFirmware {
    pub version: u32,
    pub feature: u32,
}

/// `drm_amdgpu_gem_va`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GemVa {
    pub handle: u32,
    pub pad: u32,
    pub operation: u32,
    pub flags: u32,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
}
request!(GemVa, DRIVER + 0x08, false, "AMDGPU_GEM_VA");

pub const VA_MAP: u32 = 1;
pub const VA_UNMAP: u32 = 2;
/// Readable and writable.
pub const VA_READ_WRITE: u32 = (1 << 1) | (1 << 2);

/// `drm_amdgpu_gem_userptr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct GemUserptr {
    pub address: u64,
    pub size: u64,
    pub flags: u32,
    /// Output: the buffer's handle.
    pub handle: u32,
}
request!(GemUserptr, DRIVER + 0x11, true, "AMDGPU_GEM_USERPTR");

/// The memory belongs to no file.
pub const USERPTR_ANONYMOUS_ONLY: u32 = 1 << 1;
/// The pages are looked up at once, so that what is wrong with them is told at once.
pub const USERPTR_VALIDATE: u32 = 1 << 2;
/// The kernel watches the process's mapping; needed for memory that the GPU writes.
pub const USERPTR_REGISTER: u32 = 1 << 3;

/// `drm_amdgpu_wait_cs`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitCs {
    pub sequence: u64,
    pub deadline: u64,
    pub engine: u32,
    pub instance: u32,
    pub ring: u32,
    pub context: u32,
}
request!(WaitCs, DRIVER + 0x09, true, "AMDGPU_WAIT_CS");

impl WaitCs {
    /// Output: whether it is still busy.
    pub const fn busy(&self) -> bool {
        self.sequence != 0
    }
}

/// `drm_amdgpu_fence_to_handle`, with the `drm_amdgpu_fence` in it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FenceToHandle {
    pub context: u32,
    pub engine: u32,
    pub instance: u32,
    pub ring: u32,
    pub sequence: u64,
    pub what: u32,
    pub pad: u32,
}
request!(FenceToHandle, DRIVER + 0x14, true, "AMDGPU_FENCE_TO_HANDLE");

impl FenceToHandle {
    /// Output: a file descriptor, if `what` asked for one.
    pub const fn descriptor(&self) -> i32 {
        self.context.cast_signed()
    }
}

/// The fence as the file descriptor of a sync file.
pub const FENCE_SYNC_FILE: u32 = 2;

/// `sync_file_info` (include/uapi/linux/sync_file.h). With no room for fences only the summary is filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncFileInfo {
    pub name: [u8; 32],
    /// Output: 0 active, 1 signalled, below 0 the error that it was signalled with.
    pub status: i32,
    pub flags: u32,
    pub fence_count: u32,
    pub pad: u32,
    pub fences: u64,
}

impl Request for SyncFileInfo {
    const TYPE: u8 = b'>';
    const NUMBER: u8 = 4;
    const READS_BACK: bool = true;
    const NAME: &'static str = "SYNC_IOC_FILE_INFO";
}

const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::{
        BoList, Cs, Ctx, FenceToHandle, GemClose, GemCreate, GemMmap, GemUserptr, GemVa, Info, SyncFileInfo,
        Version, WaitCs,
    };
    use crate::ioctl::number;

    /// The values that a C compiler gives for include/uapi/drm of Linux 6.1.
    #[test]
    fn the_numbers_are_those_of_the_kernels_headers() {
        assert_eq!(number::<Version>(), 0xc0406400);
        assert_eq!(number::<GemClose>(), 0x40086409);
        assert_eq!(number::<GemCreate>(), 0xc0206440);
        assert_eq!(number::<GemMmap>(), 0xc0086441);
        assert_eq!(number::<Ctx>(), 0xc0106442);
        assert_eq!(number::<BoList>(), 0xc0186443);
        assert_eq!(number::<Cs>(), 0xc0186444);
        assert_eq!(number::<Info>(), 0x40206445);
        assert_eq!(number::<GemVa>(), 0x40286448);
        assert_eq!(number::<WaitCs>(), 0xc0206449);
        assert_eq!(number::<GemUserptr>(), 0xc0186451);
        assert_eq!(number::<FenceToHandle>(), 0xc0206454);
        assert_eq!(number::<SyncFileInfo>(), 0xc0383e04);
    }
}
