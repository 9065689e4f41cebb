//! What the daemon itself takes of the host's memory, beside VRAM. Starts the real daemon, asks it everything that the control
//! socket answers, and reads `/proc`.
//!
//! Run with `cargo bench -p vhost-device-amdgpu --bench memory`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed; the number is what this prints"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Ends with the bench, whatever happens.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A field of `/proc/PID/status` in KiB.
fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    text.lines()
        .find_map(|line| {
            line.strip_prefix(field)?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .expect("the kernel tells")
}

fn main() {
    let directory = tempfile::tempdir().expect("no directory");
    let control = directory.path().join("control.sock");
    let daemon = Command::new(env!("CARGO_BIN_EXE_vhost-device-amdgpu"))
        .arg("--socket-path")
        .arg(directory.path().join("vfio.sock"))
        .arg("--control")
        .arg(&control)
        .args([
            "--vram-size",
            "16G",
            "--sdma-instances",
            "4",
            "--log-level",
            "warn",
        ])
        .spawn()
        .map(Daemon)
        .expect("the daemon starts");
    let start = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(&control) {
            Ok(stream) => break stream,
            Err(error) => assert!(
                start.elapsed() < Duration::from_secs(10),
                "no control socket: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut replies = BufReader::new(stream.try_clone().expect("no descriptor"));
    for request in ["stats", "page-tables", "unmodelled"] {
        writeln!(stream, r#"{{"request":"{request}"}}"#).expect("the daemon listens");
        let mut reply = String::new();
        replies.read_line(&mut reply).expect("the daemon answers");
        assert!(reply.contains(r#""ok":true"#), "{reply}");
    }
    let pid = daemon.0.id();
    let (resident, shared) = (status(pid, "VmRSS:"), status(pid, "RssShmem:"));
    println!(
        "resident: {} KiB beside VRAM ({resident} KiB, of which {shared} KiB in shared memory)",
        resident - shared
    );
}
