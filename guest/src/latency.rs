//! How long a register access takes: the GPU's BAR 5, read by its CPUs.

#![expect(unsafe_code, reason = "mmap has no safe form in std")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;
use std::time::Instant;

use crate::json::Object;
use crate::marker;
use crate::pci::{self, Gpu};
use crate::sys;

/// Reads that are timed as one. Looking at the clock may leave the guest as well, and so counts for a hundredth.
const BATCH: u32 = 100;
/// The most batches.
pub const MOST: u32 = 10_000;
/// RCC_CONFIG_MEMSIZE and RCC_IOV_FUNC_IDENTIFIER (nbio_2_3_offset.h): constants that drivers read and that reading changes nothing of. By turns,
/// because a device may wonder about a guest that reads one register again and again.
const REGISTERS: [usize; 2] = [0x378c, 0x3794];
/// The page that both are in.
const PAGE: usize = 4096;
const FIRST: usize = 0x3000;

/// Reads registers of the GPU this many times, in hundreds, and reports what one read takes.
pub fn measure(batches: u32) -> Result<(), String> {
    let gpu = Gpu::find()?;
    // Without a driver the function's memory may be switched off.
    if gpu.attribute("enable") == "0" {
        pci::write(&gpu.file("enable").display().to_string(), "1")?;
    }
    let path = gpu.file("resource5");
    let failed = |error: &io::Error| format!("{}: {}", path.display(), sys::explain(error));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_SYNC)
        .open(&path)
        .map_err(|error| failed(&error))?;
    let page = Page::map(&file).map_err(|error| failed(&error))?;
    let mut value = page.read(REGISTERS[0]);
    let mut times = Vec::new();
    for _ in 0..batches.min(MOST) {
        let begin = Instant::now();
        for register in REGISTERS.iter().cycle().take(BATCH as usize) {
            value = page.read(*register).or(value);
        }
        times.push(begin.elapsed().as_nanos() / u128::from(BATCH));
    }
    let Some(Times { least, median, most }) = Times::of(times) else {
        return Err("register-latency: nothing was read".to_owned());
    };
    marker::note(
        "register-latency",
        &Object::new()
            .number("reads", u64::from(batches.min(MOST)) * u64::from(BATCH))
            .number("least_ns", least)
            .number("median_ns", median)
            .number("most_ns", most)
            .flag("answered", value.is_some_and(|value| value != u32::MAX)),
    );
    Ok(())
}

/// What a read took, in nanoseconds: of the batches, the best, the middle and the worst.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    least: u64,
    median: u64,
    most: u64,
}

impl Times {
    fn of(mut times: Vec<u128>) -> Option<Self> {
        times.sort_unstable();
        let number = |time: &u128| u64::try_from(*time).unwrap_or(u64::MAX);
        Some(Self {
            least: number(times.first()?),
            median: number(times.get(times.len() / 2)?),
            most: number(times.last()?),
        })
    }
}

/// The page of the BAR that the registers are in.
#[derive(Debug)]
struct Page(NonNull<u8>);

impl Page {
    fn map(file: &File) -> io::Result<Self> {
        let offset =
            libc::off_t::try_from(FIRST).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast())
            .map(Self)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Reads the register at an offset in the BAR, if it is in this page.
    fn read(&self, register: usize) -> Option<u32> {
        let at = register
            .checked_sub(FIRST)
            .filter(|at| at.is_multiple_of(4) && *at < PAGE)?;
        // SAFETY: an aligned dword within the page, which stays mapped as long as we are.
        Some(unsafe { self.0.as_ptr().add(at).cast::<u32>().read_volatile() })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing points into it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_batches_the_best_the_middle_and_the_worst_count() {
        let times = Times::of(vec![50, 20, 90, 30, 40]);
        let expected = Times {
            least: 20,
            median: 40,
            most: 90,
        };
        assert_eq!(times, Some(expected));
        assert_eq!(Times::of(Vec::new()), None);
    }

    #[test]
    fn registers_are_read_where_they_are_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("amdgpu-guest-bar-{}", std::process::id()));
        let mut bar = vec![0_u8; FIRST + PAGE];
        bar[REGISTERS[0]..][..4].copy_from_slice(&1024_u32.to_le_bytes());
        std::fs::write(&folder, bar).unwrap();
        let page = Page::map(&File::open(&folder).unwrap()).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(
            REGISTERS.map(|register| page.read(register)),
            [Some(1024), Some(0)]
        );
        for outside in [0, FIRST - 4, FIRST + 2, FIRST + PAGE, usize::MAX] {
            assert_eq!(page.read(outside), None, "{outside:#x}");
        }
    }
}
