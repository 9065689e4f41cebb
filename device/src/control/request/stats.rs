//! `stats`: the counters of every block, and what the daemon itself takes.

use std::fs;

use protocol::stats::{Process, StatsAnswer};
use serde_json::Value;

use super::{RequestError, value};
use crate::function::GpuFunction;

/// Nothing is known where the host does not tell.
fn now() -> Process {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let memory = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| memory(&text, page))
        .unwrap_or_default();
    Process {
        // The folder is open itself while it is read.
        descriptors: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|open| open.count().saturating_sub(1)),
        ..memory
    }
}

/// `/proc/self/statm`: pages, of which the second number is resident and the third resident and shared (proc(5)).
fn memory(text: &str, page: u64) -> Option<Process> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
    let _size = numbers.next()??;
    let (resident, shared) = (numbers.next()??, numbers.next()??);
    Some(Process {
        private: Some(resident.saturating_sub(shared).saturating_mul(page)),
        shared: Some(shared.saturating_mul(page)),
        descriptors: None,
    })
}

/// The reply.
pub(super) fn answer(function: &GpuFunction) -> Result<Value, RequestError> {
    value(&StatsAnswer {
        stats: function.gpu().stats(),
        accesses: function.accesses(),
        process: now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_private_or_shared() {
        let process = memory("5000 700 300 9 0 80 0\n", 4096);
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
            assert_eq!(memory(text, 4096), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_takes_memory() {
        assert!(now().private.is_some_and(|bytes| bytes > 0));
    }

    /// Other tests open and close things meanwhile, so many are opened here.
    #[test]
    fn what_is_open_is_counted() {
        const MANY: usize = 200;
        let before = now().descriptors.unwrap();
        let open: Vec<_> = (0..MANY).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let during = now().descriptors.unwrap();
        drop(open);
        let after = now().descriptors.unwrap();
        assert!(during >= before + MANY / 2, "{before}, then {during}");
        assert!(after <= during - MANY / 2, "{during}, then {after}");
    }
}
