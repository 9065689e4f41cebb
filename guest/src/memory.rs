//! How long memory takes: what a processor model costs under TCG, where string instructions and SMAP go a slow way.

#![expect(unsafe_code, reason = "memfd_create has no safe form in std")]

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::json::Object;
use crate::marker;

/// As much as a client's large buffer.
const SIZE: usize = 4 << 20;
/// Of so many times the middle one counts.
const TIMES: usize = 21;

/// Fills memory, and writes as much into a file in memory, and reports what each takes.
pub fn measure() -> Result<(), String> {
    let mut buffer = vec![0_u8; SIZE];
    let mut value = 0_u8;
    let memset = median(|| {
        value = value.wrapping_add(1);
        black_box(&mut buffer).fill(black_box(value));
        Ok(())
    });
    let file = memfd();
    let pwrite = file.and_then(|file| median(|| file.write_all_at(&buffer, 0)));
    let failed = |error: io::Error| format!("memory-speed: {error}");
    marker::note(
        "memory-speed",
        &Object::new()
            .number("bytes", SIZE as u64)
            .number("memset_us", memset.map_err(failed)?)
            .number("pwrite_us", pwrite.map_err(failed)?),
    );
    Ok(())
}

/// The first time, when pages come, does not count.
fn median(mut work: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    work()?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed().as_micros());
    }
    times.sort_unstable();
    let middle = times.get(TIMES / 2).copied().unwrap_or_default();
    Ok(u64::try_from(middle).unwrap_or(u64::MAX))
}

fn memfd() -> io::Result<File> {
    // SAFETY: the name is a text that ends in zero.
    let descriptor = unsafe { libc::memfd_create(c"memory-speed".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_taken_but_the_first() {
        let mut calls = 0;
        median(|| {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(calls, TIMES + 1);
    }
}
