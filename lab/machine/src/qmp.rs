//! QEMU's monitor (QMP): commands as lines of JSON, one answer each, events in between.
//!
//! A handful of commands is all that the lab needs; the published bindings generate the whole schema of one QEMU version.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take. A command that takes longer is one that is asked about (`query-migrate`).
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// How long QEMU may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Why a command has no good answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// There is no connection.
    #[error("cannot reach QEMU's monitor {socket}")]
    Connect {
        /// The socket's name.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("QEMU did not answer {command:?}")]
    Unanswered {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// QEMU said no.
    #[error("QEMU refused {command:?}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// Its words.
        reason: String,
    },
    /// Something that was started did not come to its end.
    #[error("QEMU's {what} ended as {status:?}: {reason}")]
    Ended {
        /// What was started.
        what: &'static str,
        /// The word for how it ended.
        status: String,
        /// Why, if QEMU says so.
        reason: String,
    },
    /// Something that was started is still at it.
    #[error("QEMU's {what} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// What was started.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
}

/// A connection to the monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to the socket in a folder as soon as QEMU listens.
    pub fn connect(folder: &Path, socket: &str) -> Result<Self, QmpError> {
        let error = |source| QmpError::Connect {
            socket: folder.join(socket).display().to_string(),
            source,
        };
        // A socket's address has room for a short path only, and this makes every path short.
        let folder_handle = File::open(folder).map_err(error)?;
        let path = format!("/proc/self/fd/{}/{socket}", folder_handle.as_raw_fd());
        let deadline = Instant::now() + START_LIMIT;
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(source) if Instant::now() > deadline => return Err(error(source)),
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(error)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(error)?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        // QEMU greets first.
        qmp.read_line().map_err(error)?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Gives a command and waits for its answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let unanswered = |source| QmpError::Unanswered {
            command: command.to_owned(),
            source,
        };
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .map_err(unanswered)?;
        loop {
            let answer = self.read_line().map_err(unanswered)?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason: error
                        .get("desc")
                        .and_then(Value::as_str)
                        .map_or_else(|| error.to_string(), str::to_owned),
                });
            }
            // Anything else is an event.
        }
    }

    /// Waits until a migration, in either direction, is complete.
    pub fn await_migration(&mut self, what: &'static str, limit: Duration) -> Result<(), QmpError> {
        let deadline = Instant::now() + limit;
        loop {
            let state = self.execute("query-migrate", json!({}))?;
            let word = |name: &str| state.get(name).and_then(Value::as_str).unwrap_or_default();
            match word("status") {
                "completed" => return Ok(()),
                "failed" | "cancelled" => {
                    return Err(QmpError::Ended {
                        what,
                        status: word("status").to_owned(),
                        reason: word("error-desc").to_owned(),
                    });
                }
                _ if Instant::now() > deadline => return Err(QmpError::TimedOut { what, limit }),
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    fn read_line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        let read = self
            .stream
            .read_line(&mut line)
            .map_err(|source| match source.kind() {
                // What a socket says when its time limit has passed.
                io::ErrorKind::WouldBlock => {
                    let limit = ANSWER_LIMIT.as_secs();
                    io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {limit} s"))
                }
                _ => source,
            })?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A monitor that greets and gives these answers, whatever it is asked.
    fn monitor(answers: &'static [&'static str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("qmp")).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            (&stream).write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut reader = BufReader::new(&stream);
            for answer in [&["{\"return\":{}}"], answers].concat() {
                reader.read_line(&mut String::new()).unwrap();
                (&stream).write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        });
        folder
    }

    #[test]
    fn events_before_an_answer_are_passed_over() {
        let folder = monitor(&["{\"event\":\"STOP\"}\n{\"return\":{\"status\":\"paused\"}}"]);
        let mut qmp = Qmp::connect(folder.path(), "qmp").unwrap();
        let answer = qmp.execute("query-status", json!({})).unwrap();
        assert_eq!(answer["status"], "paused");
    }

    #[test]
    fn a_refusal_has_the_command_and_qemus_words() {
        let folder = monitor(&["{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such bus\"}}"]);
        let mut qmp = Qmp::connect(folder.path(), "qmp").unwrap();
        let error = qmp.execute("device_add", json!({})).unwrap_err().to_string();
        assert!(
            error.contains("device_add") && error.contains("no such bus"),
            "{error}"
        );
    }

    #[test]
    fn a_migration_is_waited_for_and_its_failure_has_a_reason() {
        let folder = monitor(&[
            "{\"return\":{}}",
            "{\"return\":{\"status\":\"active\"}}",
            "{\"return\":{\"status\":\"completed\"}}",
            "{\"return\":{\"status\":\"failed\",\"error-desc\":\"disk full\"}}",
        ]);
        let mut qmp = Qmp::connect(folder.path(), "qmp").unwrap();
        qmp.await_migration("saving", ANSWER_LIMIT).unwrap();
        let error = qmp
            .await_migration("saving", ANSWER_LIMIT)
            .unwrap_err()
            .to_string();
        assert!(error.contains("saving") && error.contains("disk full"), "{error}");
    }

    #[test]
    fn a_monitor_that_hangs_up_is_an_error() {
        let folder = monitor(&[]);
        let mut qmp = Qmp::connect(folder.path(), "qmp").unwrap();
        let error = qmp.execute("stop", json!({})).unwrap_err();
        assert!(matches!(error, QmpError::Unanswered { .. }), "{error}");
    }
}
