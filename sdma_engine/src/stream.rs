//! Where packets come from: a ring that wraps, or an indirect buffer that does not.

use gart::{Fault, GpuVa, VirtualMemory, Vmid};

use crate::decode::{MAX_DWORDS, decode};
use crate::packet::Packet;

/// Translation granularity: what one fault takes away.
const PAGE: u64 = 4096;
/// Dwords of the longest packet, in bytes.
const MAX_BYTES: usize = MAX_DWORDS * 4;

/// A run of dwords that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Context that it is read in.
    pub(crate) vmid: Vmid,
    /// Start of the ring or buffer.
    pub(crate) base: GpuVa,
    /// Size - 1 of a ring; all ones for a buffer.
    pub(crate) mask: u64,
    /// Next byte.
    pub(crate) position: u64,
    /// Bytes from there on.
    pub(crate) available: u64,
}

/// What is next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A packet. Whatever follows it may not be there yet.
    Packet {
        /// Its first dword.
        header: u32,
        /// The packet.
        packet: Packet,
    },
    /// The page faulted. Hardware reads zeros there, and zeros are NOPs: this many bytes of them.
    Hole {
        /// Up to the end of the page or of the stream.
        bytes: u64,
    },
    /// The packet goes on behind the end of the stream.
    Incomplete {
        /// Its first dword.
        header: u32,
    },
}

impl Stream {
    /// Address of the byte `distance` further on, and how many bytes follow it before the ring wraps.
    fn locate(&self, distance: u64) -> (GpuVa, u64) {
        let inside = self.position.wrapping_add(distance) & self.mask;
        let contiguous = self.mask.wrapping_sub(inside).saturating_add(1);
        (self.base.plus(inside), contiguous)
    }

    /// Reads bytes from `distance` on, which the caller knows to be there. What faults reads as zeros.
    pub(crate) fn read<B: VirtualMemory>(
        &self,
        bus: &mut B,
        distance: u64,
        data: &mut [u8],
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        let mut distance = distance;
        let mut rest = data;
        while !rest.is_empty() {
            let (at, contiguous) = self.locate(distance);
            let length = rest.len().min(usize::try_from(contiguous).unwrap_or(usize::MAX));
            let Some((piece, tail)) = rest.split_at_mut_checked(length) else {
                break;
            };
            if let Err(fault) = bus.read(self.vmid, at, piece) {
                piece.fill(0);
                result = result.and(Err(fault));
            }
            distance = distance.wrapping_add(length as u64);
            rest = tail;
        }
        result
    }

    /// Bytes from the next one to the end of its page, as far as they are in the stream and in one piece.
    fn rest_of_page(&self) -> u64 {
        let (at, contiguous) = self.locate(0);
        let page = PAGE.saturating_sub(at.get() & PAGE.saturating_sub(1));
        page.min(contiguous).min(self.available)
    }

    /// Reads and decodes the next packet. Never reads a page that the packet does not reach: prefetching must not fault.
    ///
    /// The second value counts faults.
    pub(crate) fn next<B: VirtualMemory>(&self, bus: &mut B) -> (Next, u64) {
        let mut bytes = [0; MAX_BYTES];
        let first = self.rest_of_page().min(MAX_BYTES as u64);
        let first = usize::try_from(first).unwrap_or(0);
        let Some(piece) = bytes.get_mut(..first) else {
            return (Next::Incomplete { header: 0 }, 0);
        };
        if self.read(bus, 0, piece).is_err() {
            return (
                Next::Hole {
                    bytes: self.rest_of_page() & !3,
                },
                1,
            );
        }
        let (mut dwords, header) = words(&bytes);
        let needed = match decode(dwords.get(..first / 4).unwrap_or(&[])) {
            Ok(packet) => return (Next::Packet { header, packet }, 0),
            Err(incomplete) => u64::from(incomplete.needed).saturating_mul(4),
        };
        if needed > self.available {
            return (Next::Incomplete { header }, 0);
        }
        let needed = usize::try_from(needed).unwrap_or(MAX_BYTES).min(MAX_BYTES);
        let mut faults = 0;
        if let Some(piece) = bytes.get_mut(first..needed)
            && self.read(bus, first as u64, piece).is_err()
        {
            faults = 1;
        }
        (dwords, _) = words(&bytes);
        match decode(dwords.get(..needed / 4).unwrap_or(&[])) {
            Ok(packet) => (Next::Packet { header, packet }, faults),
            Err(_) => (Next::Incomplete { header }, faults),
        }
    }
}

/// The bytes as dwords, and the first of them.
fn words(bytes: &[u8; MAX_BYTES]) -> ([u32; MAX_DWORDS], u32) {
    let mut dwords = [0; MAX_DWORDS];
    for (dword, chunk) in dwords.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *dword = u32::from_le_bytes(*chunk);
    }
    let [header, ..] = dwords;
    (dwords, header)
}
