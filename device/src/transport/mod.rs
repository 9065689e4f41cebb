//! Between a VMM and the device: bytes become typed accesses, effects become interrupts.
//!
//! One thread owns the device. It serves the socket, and while no message is waiting it gives the engines their budget
//! ([`PciFunction::run`]), so no access ever waits for a lock and every access waits for at most one budget of engine work.

pub mod socket;
pub mod vfio_user;
mod wake;

use std::fs::File;
use std::time::Instant;

use mmio::AccessError;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

pub use socket::SocketError;
pub use wake::{Job, Mailbox, MailboxClosed, StopHandle};

/// The regions of a PCI function, as vfio numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Region {
    /// BAR 0..=5.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// Configuration space.
    Config,
}

/// What a front end may know of a region.
#[derive(Debug)]
pub struct RegionInfo {
    /// Size in bytes; 0 if the function has no such region.
    pub size: u64,
    /// Whether reads are served.
    pub readable: bool,
    /// Whether writes are served.
    pub writable: bool,
    /// Shared memory behind the whole region, to be mapped by the front end, with the region's offset in that file.
    pub mmap: Option<(File, u64)>,
}

/// A range of guest memory that the front end lets the device reach.
#[derive(Debug)]
pub struct DmaRange {
    /// Bus address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
    /// The memory behind it and the offset there. None: the range exists, but is out of the device's reach.
    pub backing: Option<(File, u64)>,
}

/// A front end asked for something that cannot be done; becomes an errno in the reply, never ends the connection.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The access does not suit the region.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The range overlaps one that is mapped already.
    #[error("DMA range {address:#x}+{size:#x} overlaps a mapped one")]
    DmaOverlap {
        /// Bus address.
        address: u64,
        /// Length in bytes.
        size: u64,
    },
    /// No such DMA range is mapped.
    #[error("DMA range {address:#x}+{size:#x} is not mapped")]
    DmaNotMapped {
        /// Bus address.
        address: u64,
        /// Length in bytes.
        size: u64,
    },
    /// The arguments make no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The host refused.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl RequestError {
    /// The errno for the reply. Never 0: QEMU takes an error reply with errno 0 as success.
    pub fn errno(&self) -> u32 {
        let errno = match self {
            Self::Access(_) | Self::Invalid(_) => libc::EINVAL,
            Self::DmaOverlap { .. } => libc::EEXIST,
            Self::DmaNotMapped { .. } => libc::ENOENT,
            Self::Host { source, .. } => source
                .raw_os_error()
                .filter(|errno| *errno > 0)
                .unwrap_or(libc::EIO),
        };
        errno.unsigned_abs()
    }
}

/// Whether the engines have more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Call again as soon as no message waits.
    Busy,
    /// Nothing to do before this time (a poll interval, a delayed event).
    Until(Instant),
    /// Nothing to do until the next access.
    Idle,
}

/// A PCI function as a transport drives it. None of the functions may block.
pub trait PciFunction {
    /// Describes a region.
    ///
    /// # Errors
    /// If the host refuses another descriptor for the memory behind it.
    fn region(&self, region: Region) -> Result<RegionInfo, RequestError>;

    /// How many vectors the interrupt index `index` (`VFIO_PCI_*_IRQ_INDEX`) has.
    fn irq_count(&self, index: u32) -> u32;

    /// Reads `data.len()` bytes at `offset`.
    ///
    /// # Errors
    /// If the access does not suit the region.
    fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) -> Result<(), RequestError>;

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// If the access does not suit the region.
    fn write(&mut self, region: Region, offset: u64, data: &[u8]) -> Result<(), RequestError>;

    /// Adds guest memory.
    ///
    /// # Errors
    /// If it overlaps or cannot be mapped.
    fn dma_map(&mut self, range: DmaRange) -> Result<(), RequestError>;

    /// Takes guest memory away; when this returns nothing touches it any more. `all` ignores the range.
    ///
    /// # Errors
    /// If it is not mapped.
    fn dma_unmap(&mut self, address: u64, size: u64, all: bool) -> Result<(), RequestError>;

    /// Connects vectors `first..first + vectors.len()` of `index` to event descriptors; `None` disconnects one. An empty list with
    /// `first` 0 disconnects the whole index. Keep no old descriptor: a guest's reset re-sends them.
    ///
    /// # Errors
    /// If there are no such vectors.
    fn set_irqs(&mut self, index: u32, first: u32, vectors: Vec<Option<EventFd>>)
    -> Result<(), RequestError>;

    /// Signals vectors on the front end's request (`VFIO_IRQ_SET_ACTION_TRIGGER` without descriptors).
    ///
    /// # Errors
    /// If there are no such vectors.
    fn trigger_irqs(&mut self, index: u32, first: u32, count: u32) -> Result<(), RequestError>;

    /// DEVICE_RESET: QEMU's start and a guest's reboot.
    fn reset(&mut self);

    /// A front end has come.
    fn connected(&mut self) {}

    /// The front end is gone: forget its memory and descriptors, keep nothing of the guest's.
    fn disconnected(&mut self);

    /// Gives the engines one budget of work.
    fn run(&mut self) -> Activity;
}
