//! A client whose memory is in VRAM without being a buffer: shared virtual memory, migrated there.

use std::time::Instant;

use super::length;
use super::set::Client;
use crate::json::Object;
use crate::kfd::Range;
use crate::marker;
use crate::pattern::compare;

const SIZE: u64 = 8 << 20;

/// Shared memory, with what was written into it.
#[derive(Debug)]
pub(super) struct Shared {
    range: Range,
    contents: Vec<u8>,
}

impl Client<'_> {
    /// Fills shared memory by the processor, and has the kernel migrate it to VRAM.
    pub(super) fn prefetch(&mut self) -> Result<(), String> {
        let kfd = self
            .kfd
            .ok_or("client-prefetch: the client was not opened with vm=compute")?;
        let started = Instant::now();
        let range = Range::new(length(SIZE)?)?;
        let contents = self.pattern.bytes(range.size());
        range.write(&contents)?;
        range.prefetch(kfd)?;
        marker::note(
            "prefetch",
            &Object::new()
                .text("name", &self.name)
                .number("bytes", SIZE)
                .number("ms", marker::milliseconds(started)),
        );
        self.shared = Some(Shared { range, contents });
        Ok(())
    }

    /// Reads shared memory by the processor, which brings it back, and compares it.
    pub(super) fn compare_shared(&mut self) -> Result<(), String> {
        let shared = self
            .shared
            .as_ref()
            .ok_or("client-shared: nothing was prefetched")?;
        let started = Instant::now();
        let found = shared.range.read_all()?;
        let difference = compare(&shared.contents, &found);
        let wrong = difference.map_or(0, |(_, _, _, count)| count);
        marker::note(
            "shared",
            &Object::new()
                .text("name", &self.name)
                .number("bytes", found.len() as u64)
                .number("wrong", wrong as u64)
                .number("ms", marker::milliseconds(started)),
        );
        match difference {
            None => Ok(()),
            Some((at, wanted, got, count)) => Err(format!(
                "shared memory was read without a signal, and {count} of {} bytes are wrong, the first at {at:#x}: {got:#04x} instead of {wanted:#04x}",
                found.len()
            )),
        }
    }
}
