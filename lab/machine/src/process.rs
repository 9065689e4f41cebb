//! Children that end when we do, and commands that are run to their end.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::progress::Running;
use crate::sys;

/// How long a child may take to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// A child in a process group of its own. It is ended when this value is dropped.
#[derive(Debug)]
pub struct Supervised {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Supervised {
    /// Starts a program with its messages going to `log`; with `piped`, standard input and output stay with us.
    pub fn start(name: &'static str, command: &mut Command, log: &Path, piped: bool) -> io::Result<Self> {
        let file = File::create(log)?;
        let (stdin, stdout) = if piped {
            (Stdio::piped(), Stdio::piped())
        } else {
            (Stdio::null(), Stdio::from(file.try_clone()?))
        };
        command.stdin(stdin).stdout(stdout).stderr(Stdio::from(file));
        let child = sys::contain(command).spawn()?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
        })
    }

    /// What it is called in messages.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input and output, once.
    pub fn take_pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ended() {
                Some(status) => return Some(status),
                None if Instant::now() >= deadline => return None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Where its messages go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to end, and makes it end.
    pub fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        sys::signal_group(self.child.id(), libc::SIGTERM);
        if self.wait(GRACE).is_none() {
            sys::signal_group(self.child.id(), libc::SIGKILL);
            // Nothing survives SIGKILL; an error means that it is gone already.
            let _ = self.child.wait();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end, or ends it when the user asks for that.
pub(crate) fn watched(command: &mut Command, running: &Running) -> io::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = sys::contain(command).spawn()?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt::requested() {
            sys::signal_group(child.id(), libc::SIGTERM);
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        running.tick();
        std::thread::sleep(Duration::from_millis(20));
    };
    let bytes = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Output {
        status,
        stdout: bytes(stdout),
        stderr: bytes(stderr),
    })
}

/// Reads all that a child says, so that it never waits for us.
pub(crate) fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is still worth telling.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ignores_the_polite_request_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
        let mut child = Supervised::start("sh", &mut command, &folder.path().join("log"), false).unwrap();
        while !child.log_tail(1).contains("ready") {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.stop();
        assert!(child.ended().is_some());
    }

    #[test]
    fn the_end_of_the_log_is_kept_for_messages() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three"]);
        let mut child = Supervised::start("sh", &mut command, &folder.path().join("log"), false).unwrap();
        assert!(child.wait(Duration::from_secs(10)).unwrap().success());
        assert_eq!(child.log_tail(2), "two\nthree");
    }
}
