//! `stats`: the counters of every block, and what the daemon itself takes.

use std::fs;

use serde::Serialize;
use serde_json::Value;

use super::{RequestError, value};
use crate::function::{Accesses, GpuFunction};
use crate::gpu::Stats;

/// The counters, with the function's accesses and the process beside them.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    stats: Stats,
    accesses: Accesses,
    process: Process,
}

/// What this process takes of its host.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Process {
    /// Resident bytes that belong to nobody else: heap, stacks, tables. VRAM and guest memory are shared files, and not in it.
    private: Option<u64>,
    /// Resident bytes of files, VRAM and guest memory included.
    shared: Option<u64>,
    /// Open file descriptors, that of the client that asks among them.
    descriptors: Option<usize>,
}

impl Process {
    /// Nothing is known where the host does not tell.
    fn now() -> Self {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        let memory = fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|text| Self::memory(&text, page))
            .unwrap_or_default();
        Self {
            // The folder is open itself while it is read.
            descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| open.count().saturating_sub(1)),
            ..memory
        }
    }

    /// `/proc/self/statm`: pages, of which the second number is resident and the third resident and shared (proc(5)).
    fn memory(text: &str, page: u64) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        let _size = numbers.next()??;
        let (resident, shared) = (numbers.next()??, numbers.next()??);
        Some(Self {
            private: Some(resident.saturating_sub(shared).saturating_mul(page)),
            shared: Some(shared.saturating_mul(page)),
            descriptors: None,
        })
    }
}

/// The reply.
pub(super) fn answer(function: &GpuFunction) -> Result<Value, RequestError> {
    value(&Answer {
        stats: function.gpu().stats(),
        accesses: function.accesses(),
        process: Process::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_private_or_shared() {
        let process = Process::memory("5000 700 300 9 0 80 0\n", 4096);
        let expected = Process {
            private: Some(400 * 4096),
            shared: Some(300 * 4096),
            descriptors: None,
        };
        assert_eq!(process, Some(expected));
    }

    #[test]
    fn what_the_host_does_not_tell_is_not_known() {
        for text in ["", "1 2", "1 x 3", "1 2 -3"] {
            assert_eq!(Process::memory(text, 4096), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_takes_memory() {
        assert!(Process::now().private.is_some_and(|bytes| bytes > 0));
    }

    /// Other tests open and close things meanwhile, so many are opened here.
    #[test]
    fn what_is_open_is_counted() {
        const MANY: usize = 200;
        let before = Process::now().descriptors.unwrap();
        let open: Vec<_> = (0..MANY).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let during = Process::now().descriptors.unwrap();
        drop(open);
        let after = Process::now().descriptors.unwrap();
        assert!(during >= before + MANY / 2, "{before}, then {during}");
        assert!(after <= during - MANY / 2, "{during}, then {after}");
    }
}
