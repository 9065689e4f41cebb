//! What the GPU asks of its memory besides reading and writing it.
//!
//! How VRAM is backed is its owner's affair (the daemon maps files); what a loss does to it has to be known here, since it goes on in
//! slices between two accesses of the guest.

use std::io;

use gart::testing::TestMemory;
use gart::{Location, PhysicalMemory, VramOffset};

/// Both physical memories of a card, of which VRAM can lose its contents.
///
/// As with [`PhysicalMemory`], interior mutability is the implementation's, and no call may panic.
pub trait CardMemory: PhysicalMemory {
    /// Bytes of VRAM that are populated at a time; a power of two.
    fn page(&self) -> u64;

    /// Throws the contents of a range of VRAM away: it reads as zero. What lies beyond the end of VRAM is left out.
    ///
    /// # Errors
    /// If the host refuses.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Writes one pattern over a range of VRAM, from its first byte on. What lies beyond the end of VRAM is left out.
    ///
    /// # Errors
    /// If the host refuses.
    fn overwrite(&self, offset: u64, len: u64, pattern: u32) -> io::Result<()>;

    /// The first populated byte of VRAM at or after `from`. What is not populated reads as zero.
    ///
    /// # Errors
    /// If the host refuses.
    fn populated_from(&self, from: u64) -> io::Result<Option<u64>>;

    /// Where the populated range ends that `from` is in.
    ///
    /// # Errors
    /// If the host refuses.
    fn populated_to(&self, from: u64) -> io::Result<u64>;

    /// How much of the host's memory VRAM takes, in bytes.
    ///
    /// # Errors
    /// If the host refuses.
    fn resident(&self) -> io::Result<u64>;
}

/// For tests, and for descriptions of a GPU that runs nothing: all of it is populated.
impl CardMemory for TestMemory {
    fn page(&self) -> u64 {
        4096
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.overwrite(offset, len, 0)
    }

    fn overwrite(&self, offset: u64, len: u64, pattern: u32) -> io::Result<()> {
        let len = len.min(self.vram_size().saturating_sub(offset));
        self.fill(Location::Vram(VramOffset::new(offset)), pattern, len)
            .map_err(io::Error::other)
    }

    fn populated_from(&self, from: u64) -> io::Result<Option<u64>> {
        Ok(Some(from).filter(|from| *from < self.vram_size()))
    }

    fn populated_to(&self, _from: u64) -> io::Result<u64> {
        Ok(self.vram_size())
    }

    fn resident(&self) -> io::Result<u64> {
        Ok(self.vram_size())
    }
}
