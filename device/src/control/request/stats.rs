//! `stats`: the counters of every block, and what the daemon itself takes.

use serde::Serialize;
use serde_json::Value;

use super::{RequestError, value};
use crate::function::GpuFunction;
use crate::gpu::Stats;

/// The counters, with the process beside them.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    stats: Stats,
    process: Process,
}

/// Memory of this process.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Process {
    /// Resident bytes that belong to nobody else: heap, stacks, tables. VRAM and guest memory are shared files, and not in it.
    private: Option<u64>,
    /// Resident bytes of files, VRAM and guest memory included.
    shared: Option<u64>,
}

impl Process {
    /// Nothing is known where the host does not tell.
    fn now() -> Self {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|text| Self::parse(&text, page))
            .unwrap_or_default()
    }

    /// `/proc/self/statm`: pages, of which the second number is resident and the third resident and shared (proc(5)).
    fn parse(text: &str, page: u64) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        let _size = numbers.next()??;
        let (resident, shared) = (numbers.next()??, numbers.next()??);
        Some(Self {
            private: Some(resident.saturating_sub(shared).saturating_mul(page)),
            shared: Some(shared.saturating_mul(page)),
        })
    }
}

/// The reply.
pub(super) fn answer(function: &GpuFunction) -> Result<Value, RequestError> {
    value(&Answer {
        stats: function.gpu().stats(),
        process: Process::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_private_or_shared() {
        let process = Process::parse("5000 700 300 9 0 80 0\n", 4096);
        let expected = Process {
            private: Some(400 * 4096),
            shared: Some(300 * 4096),
        };
        assert_eq!(process, Some(expected));
    }

    #[test]
    fn what_the_host_does_not_tell_is_not_known() {
        for text in ["", "1 2", "1 x 3", "1 2 -3"] {
            assert_eq!(Process::parse(text, 4096), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_takes_memory() {
        assert!(Process::now().private.is_some_and(|bytes| bytes > 0));
    }
}
