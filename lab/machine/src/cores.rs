//! Which of the host's processors a guest runs on.
//!
//! A guest with one processor and its device process take turns: while the driver waits for a register, only the device runs. On one processor
//! the turn passes in 3 us, across two in 18 (docs/performance.md). So both stay on one processor, which is theirs alone as far as runs with the
//! same cache are concerned: each processor has a file there, and who holds its lock has the processor. Where all are taken, and for guests
//! with several processors, the scheduler decides.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sys;

/// Name of the folder in the cache.
const FOLDER: &str = "processors";

/// The processors that this process may run on.
#[derive(Debug, Clone)]
pub struct Cores {
    folder: PathBuf,
    allowed: Vec<usize>,
}

/// A processor that is ours until this value is dropped.
#[derive(Debug)]
pub struct Claim {
    core: usize,
    _lock: File,
}

impl Cores {
    /// Those of this host, shared with every run that uses this cache.
    pub fn of(cache: &Path) -> Self {
        Self {
            folder: cache.join(FOLDER),
            allowed: sys::allowed_processors(),
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.allowed.len()
    }

    /// One that no other guest has. None if there is none, or if the cache cannot be written to: then the scheduler decides.
    pub fn claim(&self) -> Option<Claim> {
        fs::create_dir_all(&self.folder).ok()?;
        self.allowed.iter().find_map(|core| {
            let lock = File::create(self.folder.join(core.to_string())).ok()?;
            let ours = sys::try_lock(&lock, sys::Lock::Exclusive).ok()?;
            ours.then_some(Claim {
                core: *core,
                _lock: lock,
            })
        })
    }
}

impl Claim {
    /// Which processor it is.
    pub const fn core(&self) -> usize {
        self.core
    }

    /// Makes a child stay on the processor, with all of its threads.
    pub fn confine(&self, command: &mut Command) {
        sys::confine(command, self.core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_is_claimed_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let cores = Cores::of(folder.path());
        let mut claims: Vec<_> = std::iter::from_fn(|| cores.claim()).collect();
        assert_eq!(claims.len(), cores.count());
        // Another run with the same cache.
        assert!(Cores::of(folder.path()).claim().is_none());
        let given_back = claims.pop().map(|claim| claim.core());
        assert_eq!(cores.claim().map(|claim| claim.core()), given_back);
    }

    #[test]
    fn a_child_stays_where_it_is_put() {
        let folder = tempfile::tempdir().unwrap();
        let claim = Cores::of(folder.path()).claim().unwrap();
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]);
        claim.confine(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let (_, list) = text.split_once(':').unwrap();
        assert_eq!(list.trim(), claim.core().to_string());
    }
}
