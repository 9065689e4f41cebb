//! The daemon itself, and the file that it leaves behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-device-amdgpu");
const PATIENCE: Duration = Duration::from_secs(60);

struct Daemon {
    folder: TempDir,
    process: Child,
}

impl Daemon {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(PROGRAM)
            .args(["--socket-path", "gpu.sock", "--control", "control.sock"])
            .args(["--vram-size", "256M", "--event-log", "events.jsonl"])
            .args(options)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { folder, process };
        let until = Instant::now() + PATIENCE;
        while !daemon.path("control.sock").exists() {
            assert!(Instant::now() < until, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn ctl(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["ctl", "control.sock"])
            .args(words.split_whitespace())
            .current_dir(self.folder.path());
        command
    }

    /// SIGTERM; gives the lines of the event log.
    fn end(&mut self) -> Vec<Value> {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.process.wait().unwrap().success());
        lines(&self.path("events.jsonl"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_file_is_complete_after_sigterm() {
    let mut daemon = Daemon::start(&[]);
    for _ in 0..10 {
        let asked = daemon
            .ctl("drop-vram --mode zero --length 4096")
            .output()
            .unwrap();
        assert!(asked.status.success());
    }
    let told = daemon.end();
    let kinds: Vec<_> = told
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "started");
    assert!(
        told[0]["unix_us"].as_u64().unwrap() > 1_700_000_000_000_000,
        "{}",
        told[0]
    );
    assert_eq!(kinds[1..], ["loss-begin", "loss-end"].repeat(10));
    for (seq, record) in (0..).zip(&told) {
        assert_eq!(record["seq"].as_u64(), Some(seq));
    }
    assert_eq!(told.last().unwrap()["generation"], 10);
}

#[test]
fn a_file_that_has_reached_its_bound_says_so_and_the_daemon_goes_on() {
    let mut daemon = Daemon::start(&["--event-log-limit", "4K"]);
    for _ in 0..40 {
        daemon
            .ctl("drop-vram --mode zero --length 4096")
            .output()
            .unwrap();
    }
    let told = daemon.end();
    assert!(fs::metadata(daemon.path("events.jsonl")).unwrap().len() <= 4096);
    assert_eq!(told.last().unwrap()["event"], "log-full");
}

#[test]
fn events_are_printed_while_they_happen() {
    let daemon = Daemon::start(&[]);
    let mut follow = daemon
        .ctl("events --follow --limit 3")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(printed.next().unwrap().unwrap().contains("\"event\":\"started\""));
    daemon.ctl("drop-vram --mode zero").output().unwrap();
    assert!(
        printed
            .next()
            .unwrap()
            .unwrap()
            .contains("\"event\":\"loss-begin\"")
    );
    assert!(
        printed
            .next()
            .unwrap()
            .unwrap()
            .contains("\"event\":\"loss-end\"")
    );
    assert!(follow.wait().unwrap().success());
}
