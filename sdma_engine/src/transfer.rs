//! Packets that move data, a slice at a time.
//!
//! The first fault at a source or destination ends the packet: nothing behind it is written. So a packet reports one fault and not one
//! for each of 262144 pages, and what it leaves behind does not depend on how it was cut into slices. (Data of a WRITE_LINEAR that
//! cannot be fetched are zeros instead, as all of the stream is.)

use gart::{Series, VirtualMemory, Vmid};

use crate::packet::{ConstFill, CopyLinear, PtePde, WriteLinear};
use crate::stats::{add, bump};
use crate::stream::Stream;
use crate::{Budget, SLICE, Stats};

/// Data of a WRITE_LINEAR come through a buffer of this size.
const BUFFER: usize = 4096;

/// What goes wrong in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// It stops for good.
    Stop {
        /// Bytes that are written before.
        after: u64,
    },
    /// Bits of a 64-bit word are inverted once it is written.
    Flip {
        /// Where the word begins, in bytes from the start.
        at: u64,
        /// Which bits.
        xor: u64,
    },
}

/// A packet that moves data, and how far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Context of its addresses.
    pub(crate) vmid: Vmid,
    /// What it does.
    pub(crate) job: Job,
    /// Bytes written.
    done: u64,
    flaw: Flaw,
}

/// What a transfer does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Job {
    /// COPY_LINEAR.
    Copy(CopyLinear),
    /// CONST_FILL.
    Fill(ConstFill),
    /// PTEPDE.
    Entries(PtePde),
    /// WRITE_LINEAR, with the stream that holds the data behind the packet.
    Write {
        /// The packet.
        packet: WriteLinear,
        /// The stream, at the packet.
        stream: Stream,
        /// Bytes of the packet before its data.
        header: u64,
    },
}

impl Job {
    #[inline]
    fn bytes(&self) -> u64 {
        match self {
            Self::Copy(copy) => copy.bytes,
            Self::Fill(fill) => fill.bytes,
            Self::Entries(entries) => u64::from(entries.entries).saturating_mul(8),
            Self::Write { packet, .. } => u64::from(packet.dwords).saturating_mul(4),
        }
    }

    /// What a slice is a multiple of, unless it is the last: a fill keeps its phase, an entry its two halves.
    #[inline]
    const fn grain(&self) -> u64 {
        match self {
            Self::Copy(_) => 1,
            Self::Fill(_) | Self::Write { .. } => 4,
            Self::Entries(_) => 8,
        }
    }

    /// The longest slice.
    #[inline]
    const fn slice(&self) -> u64 {
        match self {
            Self::Copy(_) | Self::Fill(_) | Self::Entries(_) => SLICE,
            Self::Write { .. } => BUFFER as u64,
        }
    }
}

impl Transfer {
    #[inline]
    pub(crate) const fn new(vmid: Vmid, job: Job, flaw: Flaw) -> Self {
        Self {
            vmid,
            job,
            done: 0,
            flaw,
        }
    }

    /// Bytes that it writes, if nothing faults.
    #[inline]
    fn total(&self) -> u64 {
        match self.flaw {
            Flaw::Stop { after } => self.job.bytes().min(after),
            Flaw::None | Flaw::Flip { .. } => self.job.bytes(),
        }
    }

    /// Whether it has stopped before its end.
    #[inline]
    pub(crate) const fn is_cut_short(&self) -> bool {
        matches!(self.flaw, Flaw::Stop { .. })
    }

    /// Whether all of it was moved: a fault ends a transfer before.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.done >= self.job.bytes()
    }

    /// Moves on as far as the budget allows. Returns whether the transfer is over.
    pub(crate) fn advance<B: VirtualMemory>(
        &mut self,
        bus: &mut B,
        budget: &mut Budget,
        stats: &mut Stats,
    ) -> bool {
        let total = self.total();
        while self.done < total {
            let left = total.saturating_sub(self.done);
            let mut length = left.min(self.job.slice()).min(budget.bytes);
            if length < left {
                length &= self.job.grain().wrapping_neg();
            }
            if length == 0 {
                return false;
            }
            let Some(moved) = self.slice(bus, length, stats) else {
                bump(&mut stats.faults);
                return true;
            };
            budget.bytes = budget.bytes.saturating_sub(moved);
            add(&mut self.done, moved);
            self.flip(bus);
        }
        true
    }

    /// Inverts the bits that are to be inverted, as soon as their word is written.
    fn flip<B: VirtualMemory>(&mut self, bus: &mut B) {
        let Flaw::Flip { at, xor } = self.flaw else { return };
        let (Job::Copy(CopyLinear { dst, .. })
        | Job::Fill(ConstFill { dst, .. })
        | Job::Entries(PtePde { dst, .. })
        | Job::Write {
            packet: WriteLinear { dst, .. },
            ..
        }) = self.job;
        if self.done >= at.saturating_add(8) {
            self.flaw = Flaw::None;
            // The word has just been written: if it is gone already, there is nothing to corrupt.
            let _ = bus.update_u64(self.vmid, dst.plus(at), &mut |word| word ^ xor);
        }
    }

    /// Moves at most `length` bytes. Returns how many, or `None` after a fault.
    fn slice<B: VirtualMemory>(&self, bus: &mut B, length: u64, stats: &mut Stats) -> Option<u64> {
        match self.job {
            Job::Copy(copy) => self.copy(bus, copy, length),
            Job::Fill(fill) => {
                let at = fill.dst.plus(self.done);
                bus.fill(self.vmid, at, fill.pattern, length)
                    .ok()
                    .map(|()| length)
            }
            Job::Entries(packet) => self.entries(bus, packet, length),
            Job::Write {
                packet,
                stream,
                header,
            } => {
                let mut buffer = [0; BUFFER];
                let data = buffer.get_mut(..usize::try_from(length).ok()?)?;
                // Data that fault read as zeros, and are written: hardware does not know better.
                if stream.read(bus, header.saturating_add(self.done), data).is_err() {
                    bump(&mut stats.faults);
                }
                let at = packet.dst.plus(self.done);
                bus.write(self.vmid, at, data).ok().map(|()| length)
            }
        }
    }

    /// Copies upwards, byte by byte as it were. Where the destination begins inside the source, the bytes in between repeat; they are
    /// copied from the first repetition on, so that the pieces double in length and never overlap.
    fn copy<B: VirtualMemory>(&self, bus: &mut B, copy: CopyLinear, length: u64) -> Option<u64> {
        let CopyLinear { src, dst, bytes } = copy;
        let distance = dst.canonical().get().wrapping_sub(src.canonical().get());
        // Without an overlap there is no division.
        let overlap = Some(distance).filter(|distance| *distance < bytes);
        let (from, length) = match overlap.and_then(|distance| self.done.checked_rem(distance)) {
            Some(phase) => {
                let ready = self.done.saturating_add(distance).saturating_sub(phase);
                (src.plus(phase), length.min(ready))
            }
            None => (src.plus(self.done), length),
        };
        let to = dst.plus(self.done);
        bus.copy(self.vmid, from, to, length).ok().map(|()| length)
    }

    fn entries<B: VirtualMemory>(&self, bus: &mut B, packet: PtePde, length: u64) -> Option<u64> {
        let PtePde {
            dst,
            flags,
            increment,
            addr,
            ..
        } = packet;
        let series = Series {
            first: addr.wrapping_add(increment.wrapping_mul(self.done >> 3)),
            step: increment,
            flags,
        };
        let at = dst.plus(self.done);
        bus.write_series(self.vmid, at, series, length)
            .ok()
            .map(|()| length)
    }
}
