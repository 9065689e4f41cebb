//! What a new buffer in VRAM holds before anybody has written into it: nothing but zeros, if VRAM_CLEARED is asked for.
//!
//! `amdgpu_bo_create` fills it (6.1), or takes blocks that the driver remembers to be clear and fills the others (6.12). There
//! `amdgpu_gem_create_ioctl` also asks for it if the caller does not, and `amdgpu_gem_object_create` has what is given back wiped.

use std::path::Path;
use std::time::Instant;

use super::length;
use crate::drm::{Buffer, Device};
use crate::json::Object;
use crate::marker;
use crate::pattern::compare;

/// Size of one buffer. Many of them take blocks of VRAM that other buffers have left, wherever these lie.
const SIZE: u64 = 1 << 20;
/// The most that is asked for, in MiB: there may be no more VRAM than 256.
pub const MOST: u32 = 128;
/// What is left behind in all of them: no byte of it is zero.
const LEFT: u8 = 0x5e;

/// What was found in new buffers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    bytes: u64,
    not_empty: u64,
    first: Option<(u64, u8)>,
}

impl Found {
    fn add(&mut self, contents: &[u8]) {
        if let Some((at, _, byte, count)) = compare(&vec![0; contents.len()], contents) {
            self.first = self.first.or(Some((self.bytes + at as u64, byte)));
            self.not_empty += count as u64;
        }
        self.bytes += contents.len() as u64;
    }

    fn judge(&self) -> Result<(), String> {
        self.first.map_or(Ok(()), |(at, byte)| {
            Err(format!(
                "new buffers hold what was there before: {} of {} bytes are not 0, the first at {at:#x} is {byte:#04x}",
                self.not_empty, self.bytes
            ))
        })
    }
}

/// Makes so many MiB of new buffers in VRAM, looks whether they are empty, writes into them, and gives them back.
pub fn look(node: &Path, mib: u32) -> Result<(), String> {
    let started = Instant::now();
    let device = Device::open(node)?;
    let buffers: Vec<Buffer<'_>> = (0..mib.min(MOST))
        .map(|_| Buffer::cleared(&device, SIZE).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let mut found = Found::default();
    for buffer in &buffers {
        found.add(&buffer.read_all()?);
    }
    let left = vec![LEFT; length(SIZE)?];
    for buffer in &buffers {
        buffer.write(0, &left)?;
    }
    marker::note(
        "fresh-vram",
        &Object::new()
            .number("bytes", found.bytes)
            .number("not_empty", found.not_empty)
            .number("ms", marker::milliseconds(started)),
    );
    found.judge()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_pass_and_anything_else_is_told_with_its_place() {
        let mut found = Found::default();
        found.add(&[0; 16]);
        assert_eq!(found.judge(), Ok(()));
        found.add(&[0, 0, 7, 8]);
        found.add(&[9]);
        let error = found.judge().unwrap_err();
        assert!(
            error.contains("3 of 21 bytes are not 0, the first at 0x12 is 0x07"),
            "{error}"
        );
    }
}
