//! The device process: starting it, and asking it things over its control socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cores::Claim;
use crate::process::Supervised;

/// Name of the device's socket in the run folder.
pub const GPU_SOCKET: &str = "gpu.sock";
/// Name of the guest port's socket in the run folder.
pub const PORT_SOCKET: &str = "port.sock";
/// Name of the socket of its console.
pub const GUEST_CONSOLE: &str = "guest.sock";
/// Name of the control socket in the run folder.
const CONTROL_SOCKET: &str = "control.sock";
/// Arguments with which it serves the guest port and its console.
pub const PORT_ARGUMENTS: [&str; 4] = ["--guest-port", PORT_SOCKET, "--guest-console", GUEST_CONSOLE];
/// All that it can be told to listen at.
const SOCKETS: [&str; 4] = [GPU_SOCKET, CONTROL_SOCKET, PORT_SOCKET, GUEST_CONSOLE];
/// Version of the control protocol that we speak.
pub const PROTOCOL: u64 = 1;
/// How long an answer may take. Walking every page table is the longest that is asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// No answer is longer than this.
const LONGEST_ANSWER: u64 = 256 << 20;
/// How long the process may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Why the device process is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// It ended before it listened.
    #[error("the device process ended at its start ({status}); its log {} ends with:\n{tail}", log.display())]
    Ended {
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// It never listened.
    #[error("the device process made no socket {} within {} s; its log is {}", socket.display(), START_LIMIT.as_secs(), log.display())]
    NotListening {
        /// The socket.
        socket: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// It refused a request.
    #[error("the device process refused the request {request:?}: {answer}")]
    Refused {
        /// The request.
        request: String,
        /// Its answer.
        answer: String,
    },
    /// It cannot be started.
    #[error("cannot start the device process {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control socket does not work.
    #[error("the device process did not answer the request {request:?}")]
    Unanswered {
        /// The request.
        request: String,
        /// Why.
        source: io::Error,
    },
}

/// Whether the program can write an event log; one that was given may be older than that.
pub fn writes_events(program: &Path) -> bool {
    let help = Command::new(program)
        .arg("--help")
        .stdin(std::process::Stdio::null())
        .output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--event-log"))
}

/// What it is told in any case: where the GPU is, how much memory it has, and where questions are answered.
pub fn arguments(socket: &str, vram_size: &str, control: Option<&str>) -> Vec<String> {
    let mut words = vec!["--socket-path", socket, "--vram-size", vram_size];
    words.extend(control.iter().flat_map(|path| ["--control", path]));
    words.into_iter().map(str::to_owned).collect()
}

/// A running device process.
#[derive(Debug)]
pub struct Daemon {
    process: Supervised,
    /// Opened once: a socket's address has room for a short path only, and this makes every path short.
    folder: File,
    /// The processor that it is on, if it has one.
    claim: Option<Claim>,
}

impl Daemon {
    /// Starts it in the run folder and waits until it listens. It keeps the processor that it is given for as long as it lives.
    pub fn start(
        program: &Path,
        folder: &Path,
        vram_size: &str,
        extra: &[String],
        claim: Option<Claim>,
    ) -> Result<Self, DaemonError> {
        let start_error = |source| DaemonError::Start {
            program: program.to_owned(),
            source,
        };
        let mut told = arguments(GPU_SOCKET, vram_size, Some(CONTROL_SOCKET));
        told.extend_from_slice(extra);
        let mut command = Command::new(program);
        command.args(&told).current_dir(folder);
        if let Some(claim) = &claim {
            claim.confine(&mut command);
        }
        let log = folder.join("daemon.log");
        let process =
            Supervised::start("the device process", &mut command, &log, false).map_err(start_error)?;
        let mut daemon = Self {
            process,
            folder: File::open(folder).map_err(start_error)?,
            claim,
        };
        let sockets = SOCKETS
            .iter()
            .filter(|name| told.iter().any(|word| word == *name));
        let mut awaited = sockets.map(|name| folder.join(name)).peekable();
        let deadline = Instant::now() + START_LIMIT;
        while let Some(socket) = awaited.peek() {
            if socket.exists() {
                awaited.next();
                continue;
            }
            if let Some(status) = daemon.ended() {
                return Err(DaemonError::Ended {
                    status,
                    log,
                    tail: daemon.process.log_tail(8),
                });
            }
            if Instant::now() > deadline {
                return Err(DaemonError::NotListening {
                    socket: socket.clone(),
                    log,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The processor that it is on, for the machine that it serves.
    pub const fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.process.ended().map(|status| status.to_string())
    }

    /// The end of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Connects to the console of the guest port.
    pub fn guest_console(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!(
            "/proc/self/fd/{}/{GUEST_CONSOLE}",
            self.folder.as_raw_fd()
        ))
    }

    /// Sends a request by name and gives the answer.
    pub fn ask(&self, request: &str) -> Result<Value, DaemonError> {
        self.send(&serde_json::json!({ "v": PROTOCOL, "request": request }))
    }

    /// Sends a request and gives the answer.
    pub fn send(&self, request: &Value) -> Result<Value, DaemonError> {
        self.send_and_stay(request).map(|(answer, _)| answer)
    }

    /// The same, and stays connected for as long as the connection is kept.
    pub fn send_and_stay(&self, request: &Value) -> Result<(Value, Connection), DaemonError> {
        let name = request
            .get("request")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let exchange = || -> io::Result<(Value, Connection)> {
            let path = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", self.folder.as_raw_fd());
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            stream.set_write_timeout(Some(ANSWER_LIMIT))?;
            stream.write_all(format!("{request}\n").as_bytes())?;
            let mut line = String::new();
            BufReader::new((&stream).take(LONGEST_ANSWER)).read_line(&mut line)?;
            Ok((serde_json::from_str(&line)?, Connection(stream)))
        };
        let (answer, connection) = exchange().map_err(|source| DaemonError::Unanswered {
            request: name.clone(),
            source,
        })?;
        if answer.get("ok").and_then(Value::as_bool) == Some(true) {
            Ok((answer, connection))
        } else {
            Err(DaemonError::Refused {
                request: name,
                answer: answer.to_string(),
            })
        }
    }
}

/// A connection to the control socket that is open until this goes.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only there to be open")]
pub struct Connection(UnixStream);

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that listens where a device process would, in the language that every system has.
    fn stub(folder: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("stub");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_process_that_ends_at_once_is_reported_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let program = stub(folder.path(), "echo no such ASIC >&2; exit 3");
        let error = Daemon::start(&program, folder.path(), "1G", &[], None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no such ASIC") && error.contains('3'), "{error}");
    }

    #[test]
    fn an_event_log_is_asked_for_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let old = stub(folder.path(), "echo --control");
        assert!(!writes_events(&old));
        let new = stub(folder.path(), "echo --event-log PATH");
        assert!(writes_events(&new));
        assert!(!writes_events(Path::new("/no/daemon")));
    }

    #[test]
    fn an_absent_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Daemon::start(Path::new("/no/daemon"), folder.path(), "1G", &[], None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/no/daemon"), "{error}");
    }

    #[test]
    fn it_is_there_when_it_listens_wherever_it_was_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let body = ": > control.sock; : > gpu.sock; sleep 0.3; : > guest.sock; sleep 60";
        let program = stub(folder.path(), body);
        let console = ["--guest-console", GUEST_CONSOLE].map(str::to_owned);
        let _daemon = Daemon::start(&program, folder.path(), "1G", &console, None).unwrap();
        assert!(folder.path().join(GUEST_CONSOLE).exists());
    }

    #[test]
    fn who_stays_is_connected_until_the_connection_goes() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let program = stub(folder.path(), ": > gpu.sock; sleep 60");
        let listener = UnixListener::bind(folder.path().join(CONTROL_SOCKET)).unwrap();
        let daemon = Daemon::start(&program, folder.path(), "1G", &[], None).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            reader.read_line(&mut String::new()).unwrap();
            reader.get_mut().write_all(b"{\"ok\":true}\n").unwrap();
            reader
        });
        let request = serde_json::json!({ "request": "stats" });
        let (_, connection) = daemon.send_and_stay(&request).unwrap();
        let mut reader = server.join().unwrap();
        reader.get_mut().set_nonblocking(true).unwrap();
        let waits = reader.read_line(&mut String::new()).unwrap_err();
        assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
        drop(connection);
        assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn requests_are_lines_and_refusals_are_errors() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let program = stub(folder.path(), ": > gpu.sock; sleep 60");
        let listener = UnixListener::bind(folder.path().join(CONTROL_SOCKET)).unwrap();
        let server = std::thread::spawn(move || {
            for answer in [
                r#"{"v":1,"ok":true,"n":5}"#,
                r#"{"v":1,"ok":false,"error":"busy"}"#,
            ] {
                let (stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                assert_eq!(line, "{\"request\":\"stats\",\"v\":1}\n");
                (&stream).write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        });
        let daemon = Daemon::start(&program, folder.path(), "1G", &[], None).unwrap();
        assert_eq!(daemon.ask("stats").unwrap()["n"], 5);
        let error = daemon.ask("stats").unwrap_err().to_string();
        assert!(error.contains("busy"), "{error}");
        server.join().unwrap();
    }
}
