//! The structures and numbers of KFD's interface (include/uapi/linux/kfd_ioctl.h of 6.1; later kernels still take these).

use crate::ioctl::{Request, request};

/// Type of all requests.
const TYPE: u8 = b'K';

/// `kfd_ioctl_acquire_vm_args`: the address space of a DRM file becomes that of the process on a GPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct AcquireVm {
    pub drm_file: u32,
    pub gpu: u32,
}
request!(AcquireVm, 0x15, false, "AMDKFD_IOC_ACQUIRE_VM");

/// `kfd_ioctl_alloc_memory_of_gpu_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct AllocMemory {
    pub address: u64,
    pub size: u64,
    /// Output.
    pub handle: u64,
    /// Output: where the render node maps it.
    pub mmap_offset: u64,
    pub gpu: u32,
    pub flags: u32,
}
request!(AllocMemory, 0x16, true, "AMDKFD_IOC_ALLOC_MEMORY_OF_GPU");

/// The card's memory.
pub const ALLOC_VRAM: u32 = 1 << 0;
/// The GPU may write.
pub const ALLOC_WRITABLE: u32 = 1 << 31;
/// The processor reaches it.
pub const ALLOC_PUBLIC: u32 = 1 << 29;

/// `kfd_ioctl_free_memory_of_gpu_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FreeMemory {
    pub handle: u64,
}
request!(FreeMemory, 0x17, false, "AMDKFD_IOC_FREE_MEMORY_OF_GPU");

/// `kfd_ioctl_map_memory_to_gpu_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MapMemory {
    pub handle: u64,
    /// Address of the GPUs' numbers, 32 bits each.
    pub gpus: u64,
    pub gpu_count: u32,
    /// Output: how many of them have it.
    pub done: u32,
}
request!(MapMemory, 0x18, true, "AMDKFD_IOC_MAP_MEMORY_TO_GPU");

/// `kfd_ioctl_unmap_memory_from_gpu_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct UnmapMemory {
    pub handle: u64,
    pub gpus: u64,
    pub gpu_count: u32,
    pub done: u32,
}
request!(UnmapMemory, 0x19, true, "AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU");

/// `kfd_ioctl_get_clock_counters_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockCounters {
    /// Output, as the next three.
    pub gpu: u64,
    pub cpu: u64,
    pub system: u64,
    pub system_frequency: u64,
    pub gpu_id: u32,
    pub pad: u32,
}
request!(ClockCounters, 0x05, true, "AMDKFD_IOC_GET_CLOCK_COUNTERS");

/// `kfd_ioctl_get_available_memory_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct AvailableMemory {
    /// Output.
    pub bytes: u64,
    pub gpu_id: u32,
    pub pad: u32,
}
request!(AvailableMemory, 0x23, true, "AMDKFD_IOC_AVAILABLE_MEMORY");

/// `kfd_ioctl_create_event_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateEvent {
    pub page_offset: u64,
    pub trigger_data: u32,
    pub kind: u32,
    pub auto_reset: u32,
    pub node: u32,
    /// Output.
    pub event: u32,
    pub slot: u32,
}
request!(CreateEvent, 0x08, true, "AMDKFD_IOC_CREATE_EVENT");

/// `KFD_IOC_EVENT_HW_EXCEPTION`: the GPU was reset.
pub const EVENT_HW_EXCEPTION: u32 = 3;

/// `kfd_ioctl_wait_events_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitEvents {
    /// Address of [`EventData`], one for each event.
    pub events: u64,
    pub count: u32,
    pub all: u32,
    pub milliseconds: u32,
    /// Output.
    pub result: u32,
}
request!(WaitEvents, 0x0c, true, "AMDKFD_IOC_WAIT_EVENTS");

/// `KFD_IOC_WAIT_RESULT_COMPLETE`.
pub const WAIT_COMPLETE: u32 = 0;
/// `KFD_IOC_WAIT_RESULT_TIMEOUT`.
pub const WAIT_TIMEOUT: u32 = 1;

/// `kfd_event_data` of a hardware exception: `kfd_hsa_hw_exception_data` in a union that is 32 bytes long.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EventData {
    pub reset_type: u32,
    pub reset_cause: u32,
    pub memory_lost: u32,
    pub gpu: u32,
    pub rest_of_union: [u64; 2],
    pub extension: u64,
    pub event: u32,
    pub pad: u32,
}

/// `kfd_ioctl_smi_events_args`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SmiEvents {
    pub gpu: u32,
    /// Output: a new file of this process.
    pub descriptor: u32,
}
request!(SmiEvents, 0x1f, true, "AMDKFD_IOC_SMI_EVENTS");

/// `KFD_SMI_EVENT_VMFAULT`: a page fault of a process.
pub const SMI_VM_FAULT: u32 = 1;
/// `KFD_SMI_EVENT_GPU_PRE_RESET`: a reset begins.
pub const SMI_PRE_RESET: u32 = 3;
/// `KFD_SMI_EVENT_GPU_POST_RESET`: it is over.
pub const SMI_POST_RESET: u32 = 4;
/// `KFD_SMI_EVENT_ALL_PROCESS`: events of other processes too.
pub const SMI_ALL_PROCESSES: u32 = 64;

/// `kfd_ioctl_svm_args` with this many attributes behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Svm<const N: usize> {
    pub address: u64,
    pub size: u64,
    pub operation: u32,
    pub count: u32,
    pub attributes: [SvmAttribute; N],
}

impl<const N: usize> Request for Svm<N> {
    const TYPE: u8 = TYPE;
    const NUMBER: u8 = 0x20;
    const READS_BACK: bool = true;
    const NAME: &'static str = "AMDKFD_IOC_SVM";
}

/// `kfd_ioctl_svm_attribute`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SvmAttribute {
    pub kind: u32,
    pub value: u32,
}

/// `KFD_IOCTL_SVM_OP_SET_ATTR`.
pub const SVM_SET: u32 = 0;
/// `KFD_IOCTL_SVM_ATTR_PREFETCH_LOC`: migrate there now.
pub const SVM_PREFETCH_LOCATION: u32 = 1;
/// `KFD_IOCTL_SVM_ATTR_ACCESS`: this GPU has access.
pub const SVM_ACCESS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::{
        AcquireVm, AllocMemory, AvailableMemory, ClockCounters, CreateEvent, EventData, FreeMemory,
        MapMemory, SmiEvents, Svm, UnmapMemory, WaitEvents,
    };
    use crate::ioctl::number;

    /// The values that a C compiler gives for include/uapi/linux/kfd_ioctl.h of Linux 6.1.
    #[test]
    fn the_numbers_are_those_of_the_kernels_headers() {
        assert_eq!(number::<AcquireVm>(), 0x40084b15);
        assert_eq!(number::<AllocMemory>(), 0xc0284b16);
        assert_eq!(number::<FreeMemory>(), 0x40084b17);
        assert_eq!(number::<MapMemory>(), 0xc0184b18);
        assert_eq!(number::<UnmapMemory>(), 0xc0184b19);
        assert_eq!(number::<CreateEvent>(), 0xc0204b08);
        assert_eq!(number::<WaitEvents>(), 0xc0184b0c);
        assert_eq!(number::<ClockCounters>(), 0xc0284b05);
        assert_eq!(number::<AvailableMemory>(), 0xc0104b23);
        assert_eq!(size_of::<EventData>(), 48);
        assert_eq!(number::<SmiEvents>(), 0xc0084b1f);
        // The header's structure has no attributes; the size of those that follow it is added to the number.
        assert_eq!(number::<Svm<0>>(), 0xc0184b20);
        assert_eq!(number::<Svm<2>>(), 0xc0284b20);
    }
}
