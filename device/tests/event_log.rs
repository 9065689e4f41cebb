//! The daemon itself, and the file that it leaves behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Daemon, PROGRAM};
use serde_json::Value;

/// The daemon with its control socket.
fn start(options: &[&str]) -> Daemon {
    Daemon::start(("--control", "control.sock"), options)
}

impl Daemon {
    fn ctl(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["ctl", "control.sock"])
            .args(words.split_whitespace())
            .current_dir(self.path(""));
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

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_file_is_complete_after_sigterm() {
    let mut daemon = start(&[]);
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
    let mut daemon = start(&["--event-log-limit", "4K"]);
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
    let daemon = start(&[]);
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
