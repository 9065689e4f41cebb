//! The memory behind the GPU: VRAM as a sparse memory file, guest memory as the ranges that the front end maps for DMA, and
//! [`DeviceMemory`], which is both together as [`gart::PhysicalMemory`].
//!
//! # Racing with the guest
//!
//! Every byte here is mapped into another process too, and the guest's CPUs read and write it whenever they like. The crate therefore
//! never makes a Rust reference to mapped memory: it goes through vm-memory's `VolatileSlice`, which keeps raw pointers, and through
//! its references to atomics. A bulk copy is a `memcpy` between a slice of ours and mapped memory. If the guest changes those bytes
//! meanwhile, the copy may hold any mixture of old and new bytes, exactly as DMA on hardware would; nothing in the process depends on
//! a byte being the same when it is read twice, because every consumer works on its own copy. Words that carry meaning between
//! threads (fences, ring pointers, page-table entries) are loaded, stored and updated with real atomics.
//!
//! # Files that shrink
//!
//! Touching a mapping beyond the end of its file raises SIGBUS. A DMA range is checked against the file's size when it is mapped, so a
//! wrong request is an error. After that the front end is trusted not to truncate the memory of its own guest: QEMU seals its memfd
//! against it (`-object memory-backend-memfd`, `seal=on` by default). VRAM is sealed if it is a memfd; a file of huge pages cannot be,
//! so that the front end is trusted with it in the same way.

mod bytes;
mod device;
mod guest;
mod huge;
mod stream;
mod vram;

pub use device::DeviceMemory;
pub use guest::GuestMemory;
pub use huge::HugeError;
pub use vram::{Backing, Vram, VramError};

/// Smallest page of the memory that is mapped, in bytes; the page size announced to the front end.
pub const PAGE_SIZE: u64 = 4096;

#[cfg(test)]
mod tests;
