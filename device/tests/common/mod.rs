//! The daemon itself, in a folder of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-device-amdgpu");
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    folder: TempDir,
    pub process: Child,
}

impl Daemon {
    /// Starts one that is told of a socket by `option`, and waits until it listens there.
    pub fn start((option, socket): (&str, &str), options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(PROGRAM)
            .args(["--socket-path", "gpu.sock", option, socket])
            .args(["--vram-size", "256M", "--event-log", "events.jsonl"])
            .args(options)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { folder, process };
        until("it listens", || daemon.path(socket).exists().then_some(()));
        daemon
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless the test has failed, or does not end it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Looks until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
