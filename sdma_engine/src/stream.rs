//! Where packets come from: a ring that wraps, or an indirect buffer that does not.

use gart::{Fault, GpuVa, VirtualMemory, Vmid};

use crate::decode::MAX_DWORDS;

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

/// Bytes that are read at a time: a packet and what a CPU copies with the fewest instructions.
const WINDOW_BYTES: usize = 64;
const _: () = assert!(WINDOW_BYTES >= MAX_BYTES);

/// The dwords at the head of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    dwords: [u32; WINDOW_BYTES / 4],
    /// Bytes of them that were read.
    bytes: usize,
    /// Accesses that faulted.
    pub(crate) faults: u64,
}

/// A window as bytes, in one cache line.
#[repr(align(64))]
struct Line([u8; WINDOW_BYTES]);

impl Window {
    /// The dwords, and no more than were read.
    #[inline]
    pub(crate) fn dwords(&self) -> &[u32] {
        self.dwords.get(..self.bytes / 4).unwrap_or(&[])
    }

    /// The first dword; 0 if there is none.
    #[inline]
    pub(crate) const fn header(&self) -> u32 {
        let [header, ..] = self.dwords;
        header
    }
}

impl Stream {
    /// Address of the byte `distance` further on, and how many bytes follow it before the ring wraps.
    #[inline]
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
    #[inline]
    fn rest_of_page(&self) -> u64 {
        let (at, contiguous) = self.locate(0);
        let page = PAGE.saturating_sub(at.get() & PAGE.saturating_sub(1));
        page.min(contiguous).min(self.available)
    }

    /// Reads the head of the stream, as far as it is in one page: prefetching must not fault.
    ///
    /// # Errors
    /// The page faulted. Hardware reads zeros there, and zeros are NOPs: this many bytes of them, up to the end of the page or of the
    /// stream.
    #[inline]
    pub(crate) fn head<B: VirtualMemory>(&self, bus: &mut B) -> Result<Window, u64> {
        let rest_of_page = self.rest_of_page();
        let length = usize::try_from(rest_of_page)
            .unwrap_or(WINDOW_BYTES)
            .min(WINDOW_BYTES);
        // It is read back at once, which is slow where what was written straddles two of the CPU's cache lines.
        let mut line = Line([0; WINDOW_BYTES]);
        let (piece, _) = line.0.split_at_mut(length);
        let (at, _) = self.locate(0);
        match bus.read(self.vmid, at, piece) {
            Ok(()) => Ok(Window {
                dwords: words(&line.0),
                bytes: length,
                faults: 0,
            }),
            Err(_) => Err(rest_of_page & !3),
        }
    }

    /// The head of the stream up to the end of a packet of `dwords` that goes on in another page; `None` if it goes on behind the end of
    /// the stream. What faults reads as zeros.
    #[cold]
    pub(crate) fn longer_head<B: VirtualMemory>(
        &self,
        bus: &mut B,
        head: &Window,
        dwords: u32,
    ) -> Option<Window> {
        let needed = u64::from(dwords).saturating_mul(4);
        if needed > self.available {
            return None;
        }
        let needed = usize::try_from(needed).ok()?.min(WINDOW_BYTES);
        let mut bytes = [0; WINDOW_BYTES];
        for (chunk, dword) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(head.dwords) {
            *chunk = dword.to_le_bytes();
        }
        let piece = bytes.get_mut(head.bytes..needed)?;
        let faulted = self.read(bus, head.bytes as u64, piece).is_err();
        Some(Window {
            dwords: words(&bytes),
            bytes: needed,
            faults: u64::from(faulted),
        })
    }
}

/// The bytes as dwords.
#[inline]
fn words(bytes: &[u8; WINDOW_BYTES]) -> [u32; WINDOW_BYTES / 4] {
    let mut dwords = [0; WINDOW_BYTES / 4];
    for (dword, chunk) in dwords.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *dword = u32::from_le_bytes(*chunk);
    }
    dwords
}
