//! Whether the host gave a guest and its device the processor when they wanted it.
//!
//! The driver measures some things in real time: 6.1 gives all copies of its shadows together 100 ms, a fence 500 ms until it is looked for.
//! A host that lets QEMU or the device wait that long makes a driver fail that did nothing wrong. The kernel counts for each thread how
//! long it was ready to run and did not (`/proc/PID/task/TID/schedstat`, the second number), so that can be told from a driver that is late.
//! Where the count is not kept (no `CONFIG_SCHED_INFO`) nothing is known, and nothing is excused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(100);
/// A thread that waited longer than this between two looks ran at less than half of its speed.
pub const TOO_LONG: Duration = Duration::from_millis(50);

/// A watch over some processes. It ends when it is dropped or asked.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: Option<JoinHandle<Waits>>,
}

/// What a watch has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// By thread: how long it had waited when it was last looked at, in nanoseconds.
    seen: HashMap<u32, u64>,
    longest: Duration,
}

impl Watch {
    /// Watches these processes from now on.
    pub fn start(processes: Vec<u32>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut waits = Waits::default();
            loop {
                waits.look(processes.iter().flat_map(|process| delays(*process)));
                match stopped.recv_timeout(INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return waits,
                }
            }
        };
        Self {
            stop,
            // Without a thread nothing is known, as on a host that does not count.
            thread: std::thread::Builder::new()
                .name("host-watch".to_owned())
                .spawn(watch)
                .ok(),
        }
    }

    /// Ends the watch.
    pub fn end(mut self) -> Waits {
        let _ = self.stop.send(());
        let thread = self.thread.take();
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// Memory that programs can still take, in MiB; none where the kernel does not say.
pub fn available_mib() -> Option<u64> {
    available_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

impl Waits {
    /// Takes the count of each thread.
    fn look(&mut self, delays: impl Iterator<Item = (u32, u64)>) {
        for (thread, now) in delays {
            let before = self.seen.insert(thread, now);
            let waited = before.map_or(0, |before| now.saturating_sub(before));
            self.longest = self.longest.max(Duration::from_nanos(waited));
        }
    }

    /// The longest that a thread waited between two looks.
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

/// How long each thread of a process has waited so far, in nanoseconds. A process that is gone has no threads.
fn delays(process: u32) -> Vec<(u32, u64)> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(folder).into_iter().flatten().flatten();
    threads
        .filter_map(|entry| {
            let thread = entry.file_name().to_str()?.parse().ok()?;
            Some((thread, delay(&entry.path().join("schedstat"))?))
        })
        .collect()
}

/// How long all threads of some processes have been on processors so far. Zero where the kernel does not count.
pub fn time_on_processors(processes: &[u32]) -> Duration {
    let folders = processes.iter().map(|process| format!("/proc/{process}/task"));
    let threads = folders
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten())
        .flatten();
    let times = threads.filter_map(|entry| {
        number_in(
            &fs::read_to_string(entry.path().join("schedstat")).ok()?,
            ON_PROCESSOR,
        )
    });
    Duration::from_nanos(times.sum())
}

fn delay(path: &Path) -> Option<u64> {
    number_in(&fs::read_to_string(path).ok()?, READY)
}

/// Places of the numbers in schedstat: time on a processor, time ready to run without one; then the number of times on one.
const ON_PROCESSOR: usize = 0;
const READY: usize = 1;

fn number_in(text: &str, place: usize) -> Option<u64> {
    text.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_longest_wait_is_that_of_one_thread_between_two_looks() {
        let mut waits = Waits::default();
        // What a thread had waited before the watch began is not its business.
        waits.look([(1, 900 * MS), (2, 0)].into_iter());
        assert_eq!(waits.longest(), Duration::ZERO);
        waits.look([(1, 930 * MS), (2, 30 * MS)].into_iter());
        waits.look([(1, 960 * MS), (2, 30 * MS), (3, 500 * MS)].into_iter());
        assert_eq!(waits.longest(), Duration::from_millis(30));
        waits.look([(2, 90 * MS)].into_iter());
        assert_eq!(waits.longest(), Duration::from_millis(60));
        assert!(waits.longest() > TOO_LONG);
    }

    #[test]
    fn available_memory_is_what_the_kernel_says() {
        let text = "MemTotal:       24576000 kB\nMemFree:  1 kB\nMemAvailable:   20480000 kB\n";
        assert_eq!(available_in(text), Some(20_000));
        assert_eq!(available_in("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn the_first_number_is_the_time_on_a_processor_and_the_second_the_wait() {
        let text = "151066 514557 2\n";
        assert_eq!(number_in(text, ON_PROCESSOR), Some(151_066));
        assert_eq!(number_in(text, READY), Some(514_557));
        assert_eq!(number_in("0\n", READY), None);
    }

    #[test]
    fn this_process_has_been_on_a_processor() {
        if Path::new("/proc/self/schedstat").exists() {
            assert!(time_on_processors(&[std::process::id()]) > Duration::ZERO);
        }
        assert_eq!(time_on_processors(&[u32::MAX]), Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_gone_has_no_threads_and_ours_has_this_one() {
        assert_eq!(delays(u32::MAX), []);
        let threads = fs::read_dir("/proc/self/task").unwrap().count();
        // On a kernel that counts.
        if Path::new("/proc/self/schedstat").exists() {
            assert!(!delays(std::process::id()).is_empty() && threads > 0);
        }
    }

    #[test]
    fn a_watch_ends_when_it_is_told() {
        let watch = Watch::start(vec![std::process::id()]);
        let waits = watch.end();
        assert!(waits.seen.contains_key(&std::process::id()) || !Path::new("/proc/self/schedstat").exists());
    }
}
