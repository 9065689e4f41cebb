//! The least that a process asks of KFD: whether it still answers.

use super::Kfd;
use super::uapi::{self, AllocMemory, AvailableMemory, ClockCounters};
use crate::ioctl::{Error, Request};

/// A page.
const SIZE: u64 = 0x1000;
/// Where nothing else of a client is (`client::compute`), for memory that is never mapped.
const ADDRESS: u64 = 1 << 45;

/// What became of each request.
#[derive(Debug)]
pub struct Answers {
    /// `AMDKFD_IOC_GET_CLOCK_COUNTERS`: the GPU's clock; 0 is a GPU that KFD does not know.
    pub clock: Result<u64, Error>,
    /// `AMDKFD_IOC_AVAILABLE_MEMORY`: bytes of VRAM.
    pub available: Result<u64, Error>,
    /// `AMDKFD_IOC_ALLOC_MEMORY_OF_GPU` of a page of VRAM, and `AMDKFD_IOC_FREE_MEMORY_OF_GPU`.
    pub allocate: Result<(), Error>,
}

impl Answers {
    /// The first error.
    pub fn judge(self) -> Result<(), Error> {
        self.clock?;
        self.available?;
        self.allocate
    }
}

impl Kfd {
    /// Asks for the clock and for the memory that there is, and allocates a page.
    pub fn ask(&self) -> Answers {
        let arguments = format!("gpu {:#x}", self.gpu);
        let mut clock = ClockCounters {
            gpu_id: self.gpu,
            ..ClockCounters::default()
        };
        let mut available = AvailableMemory {
            gpu_id: self.gpu,
            ..AvailableMemory::default()
        };
        Answers {
            clock: self.send(&mut clock, &arguments).map(|()| clock.gpu),
            available: self.send(&mut available, &arguments).map(|()| available.bytes),
            allocate: self.allocate_page(),
        }
    }

    fn allocate_page(&self) -> Result<(), Error> {
        let mut request = AllocMemory {
            address: ADDRESS,
            size: SIZE,
            gpu: self.gpu,
            flags: uapi::ALLOC_VRAM | uapi::ALLOC_WRITABLE,
            ..AllocMemory::default()
        };
        self.send(&mut request, &format!("{SIZE:#x} bytes of VRAM"))?;
        let mut free = uapi::FreeMemory {
            handle: request.handle,
        };
        self.send(&mut free, &format!("handle {:#x}", request.handle))
    }

    fn send<R: Request>(&self, request: &mut R, arguments: &str) -> Result<(), Error> {
        super::send(&self.file, request, arguments)
    }
}
