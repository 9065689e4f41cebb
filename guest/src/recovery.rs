//! What the driver's files in debugfs and sysfs make it do: recover, evict, dump its state.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::pci::{self, Gpu};
use crate::{marker, sys};

const DUMPS: &str = "/sys/class/devcoredump";
/// Lines of a dump that are reported, and bytes of each: what fits into a marker.
const HEAD: (usize, usize) = (8, 72);
/// Bytes of a dump that are read.
const START: usize = 4096;
/// How often a file that is to appear is looked for.
const POLL: Duration = Duration::from_millis(50);

/// Asks the driver for a recovery and waits for it. Reading the file is what asks (amdgpu_fence.c, `gpu_recover_get`); it says
/// what the recovery returned.
pub fn recover() -> Result<(), String> {
    ask("recover", "amdgpu_gpu_recover")
}

/// Has the driver move all of VRAM away (amdgpu_debugfs.c, `amdgpu_debugfs_evict_vram`).
pub fn evict() -> Result<(), String> {
    ask("evict", "amdgpu_evict_vram")
}

fn ask(about: &str, file: &str) -> Result<(), String> {
    let started = Instant::now();
    let number = read_result(&Gpu::find()?.debugfs()?.join(file))?;
    marker::note(
        about,
        &Object::new()
            .number("errno", number.unsigned_abs().into())
            .number("ms", marker::milliseconds(started)),
    );
    match number {
        0 => Ok(()),
        number => Err(format!("{file}: {}", sys::describe(number))),
    }
}

/// Evicts again and again until `stop` says so. Errors of resets that come in between are counted, not judged.
pub fn evict_until(stop: &dyn Fn() -> bool) -> Result<(), String> {
    let file = Gpu::find()?.debugfs()?.join("amdgpu_evict_vram");
    let (mut rounds, mut errors, mut last) = (0_u64, 0_u64, 0);
    while !stop() {
        let number = read_result(&file)?;
        rounds += 1;
        if number != 0 {
            errors += 1;
            last = number;
        }
    }
    marker::note(
        "evict-loop",
        &Object::new()
            .flag("ended", true)
            .number("rounds", rounds)
            .number("errors", errors)
            .number("errno", last.unsigned_abs().into()),
    );
    Ok(())
}

/// Reads a file that answers with 0 or a negative error number. Gives the error number without its sign.
fn read_result(path: &Path) -> Result<i32, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{}: {}", path.display(), sys::explain(&error)))?;
    parse_result(&text).ok_or_else(|| format!("{} says {:?}", path.display(), text.trim()))
}

/// The kernel prints 64 bits, signed or not.
fn parse_result(text: &str) -> Option<i32> {
    let text = text.trim();
    let number = text
        .parse::<i64>()
        .or_else(|_| text.parse::<u64>().map(u64::cast_signed))
        .ok()?;
    // Some of the driver's paths keep it in 32 bits that were widened without a sign.
    let number = i32::try_from(number)
        .or_else(|_| u32::try_from(number).map(u32::cast_signed))
        .ok()?;
    Some(number.saturating_neg())
}

/// Chooses the kind of reset at run time. 6.1 does not let it be written.
pub fn choose_reset_method(number: &str) -> Result<(), String> {
    const FILE: &str = "/sys/module/amdgpu/parameters/reset_method";
    pci::write(FILE, number)?;
    let found = fs::read_to_string(FILE).unwrap_or_default();
    marker::note("reset-method", &Object::new().text("value", found.trim()));
    if found.trim() == number {
        Ok(())
    } else {
        Err(format!("{FILE} is {:?} after writing {number:?}", found.trim()))
    }
}

/// Reports the device core dumps that there are, or that come within a time, and drops them.
pub fn core_dumps(wait: Duration) -> Result<(), String> {
    let started = Instant::now();
    let mut dumps = find_dumps();
    while dumps.is_empty() && started.elapsed() < wait {
        std::thread::sleep(POLL);
        dumps = find_dumps();
    }
    let count = u64::try_from(dumps.len()).unwrap_or(u64::MAX);
    if dumps.is_empty() {
        marker::note(
            "coredump",
            &Object::new().flag("present", false).number("count", 0),
        );
    }
    for folder in dumps {
        let data = folder.join("data");
        let start =
            read_start(&data).map_err(|error| format!("{}: {}", data.display(), sys::explain(&error)))?;
        let device = fs::canonicalize(folder.join("failing_device")).unwrap_or_default();
        marker::note(
            "coredump",
            &Object::new()
                .flag("present", true)
                .number("count", count)
                .text(
                    "device",
                    &device
                        .file_name()
                        .map(|name| name.to_string_lossy())
                        .unwrap_or_default(),
                )
                .list("head", &head(&start)),
        );
        // Anything that is written drops it (drivers/base/devcoredump.c, `devcd_data_write`).
        pci::write(&data.display().to_string(), "0")?;
    }
    Ok(())
}

fn find_dumps() -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(DUMPS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("data").exists())
        .collect();
    folders.sort();
    folders
}

/// The start of a dump. Not all of it: the driver writes the whole text anew for every piece that is read (amdgpu_dev_coredump.c,
/// `amdgpu_devcoredump_read`, 6.12), which takes minutes for the contents of the rings.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = vec![0; START];
    let count = File::open(path)?.read(&mut start)?;
    start.truncate(count);
    Ok(start)
}

fn head(bytes: &[u8]) -> Vec<String> {
    let (lines, width) = HEAD;
    String::from_utf8_lossy(bytes)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(lines)
        .map(|line| line.chars().take(width).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_error_numbers_however_they_are_printed() {
        for (text, number) in [
            ("0\n", 0),
            ("-5\n", 5),
            ("18446744073709551611\n", 5),
            ("4294967291\n", 5),
        ] {
            assert_eq!(parse_result(text), Some(number), "{text}");
        }
        assert_eq!(parse_result("gpu recover\n"), None);
    }

    #[test]
    fn of_a_dump_the_first_lines_are_told() {
        let dump = b"**** AMDGPU Device Coredump ****\n\nversion: 1\n".repeat(20);
        let head = head(&dump);
        assert_eq!(head.len(), 8);
        assert_eq!(head[1], "version: 1");
    }
}
