//! A running guest with its device: what it says, and the orders that it takes.

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::guest::console::{Line, Marker, Note};

use crate::console::{Closed, Console};
use crate::daemon::Daemon;
use crate::interrupt;
use crate::process::Supervised;
use crate::progress::Running;
use crate::qemu::{Machine, Qemu};
use crate::sys::{self, RawTerminal};

/// How often anything but the console is looked at.
const POLL: Duration = Duration::from_millis(100);
/// After these words in the kernel's log no order will be answered.
const FATAL: [&str; 2] = ["Kernel panic - not syncing", "---[ end Kernel panic"];

/// Why the guest cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The device process is gone.
    #[error("the device process ended ({status}); its log ends with:\n{tail}")]
    DaemonEnded {
        /// How.
        status: String,
        /// The end of its log.
        tail: String,
    },
    /// The machine is gone.
    #[error("QEMU ended; its log ends with:\n{tail}")]
    MachineEnded {
        /// The end of its log.
        tail: String,
    },
    /// The user ended the run.
    #[error("interrupted")]
    Interrupted,
    /// The guest's kernel is dead.
    #[error("the guest's kernel panicked: {line}")]
    Panic {
        /// Its words.
        line: String,
    },
    /// The guest started again without having been told to.
    #[error("the guest restarted by itself")]
    Restarted,
    /// Its console did not go where it was told to.
    #[error("the guest's console does not go to the guest port: {reason}")]
    Console {
        /// Why.
        reason: String,
    },
    /// It has not the root that it was to have.
    #[error("the guest cannot use its root: {reason}")]
    Root {
        /// Why.
        reason: String,
    },
    /// Starting or talking failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{what} took longer than {} s; the console's last line: {last}", limit.as_secs())]
    TimedOut {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
        /// The last line of the console.
        last: String,
    },
}

/// How a guest came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It boots with the GPU.
    Cold,
    /// It goes on from a checkpoint, and the GPU has just been plugged in.
    Resumed,
}

/// The guest's answer to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It waits for [`Session::resume`].
    Held {
        /// What for.
        why: String,
    },
    /// The step is over.
    Ended {
        /// Why it failed, if it did.
        failure: Option<String>,
    },
}

/// A running guest. Everything is ended when it is dropped, the machine before its device.
#[derive(Debug)]
pub struct Session {
    qemu: Supervised,
    console: Console,
    /// Whether the console goes to the guest port at every start.
    moves: bool,
    daemon: Option<Daemon>,
    log: Vec<Line>,
    notes: Vec<Note>,
    next_order: u64,
    current: (u64, String),
    /// The last line that is no marker, for those who watch.
    last: String,
}

impl Session {
    /// Starts the machine. Its run folder takes the logs.
    pub fn start(
        qemu: &Qemu,
        machine: &Machine,
        daemon: Option<Daemon>,
        folder: &Path,
    ) -> Result<Self, SessionError> {
        Self::start_with(qemu, machine, daemon, folder, &[])
    }

    /// The same with more arguments for QEMU.
    pub fn start_with(
        qemu: &Qemu,
        machine: &Machine,
        daemon: Option<Daemon>,
        folder: &Path,
        more: &[&str],
    ) -> Result<Self, SessionError> {
        let error = |source| SessionError::Io {
            what: "start QEMU",
            source,
        };
        let claim = daemon.as_ref().and_then(Daemon::claim);
        let mut process = qemu.start(machine, folder, more, claim).map_err(error)?;
        let (input, output) = process
            .take_pipes()
            .ok_or_else(|| error(io::Error::from(io::ErrorKind::BrokenPipe)))?;
        let mut console = Console::start(input, output, folder).map_err(error)?;
        let moves = machine.moves_console() && daemon.is_some();
        if moves && let Some(daemon) = &daemon {
            let port = daemon.guest_console().and_then(|port| console.join(port));
            port.map_err(|source| SessionError::Io {
                what: "connect to the console of the guest port",
                source,
            })?;
        }
        Ok(Self {
            qemu: process,
            console,
            moves,
            daemon,
            log: Vec::new(),
            notes: Vec::new(),
            next_order: 1,
            current: (0, String::new()),
            last: String::new(),
        })
    }

    /// Everything that the console said, markers included.
    pub fn log(&self) -> &[Line] {
        &self.log
    }

    /// Everything that the guest reported.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The facts of those about one thing.
    pub fn notes_about<'a>(
        &'a self,
        about: &'a str,
    ) -> impl Iterator<Item = &'a serde_json::Map<String, serde_json::Value>> {
        self.notes
            .iter()
            .filter(move |note| note.about == about)
            .map(|note| &note.facts)
    }

    /// Takes what the guest had reported before it went on from a checkpoint.
    pub fn remember(&mut self, notes: Vec<Note>) {
        self.notes.splice(0..0, notes);
    }

    /// The numbers of the processes that a guest consists of.
    pub fn processes(&self) -> Vec<u32> {
        let daemon = self.daemon.as_ref().map(Daemon::id);
        std::iter::once(self.qemu.id()).chain(daemon).collect()
    }

    /// The device process, if there is one.
    pub const fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// Waits until init is up, after the start or a restart.
    pub fn wait_ready(&mut self, limit: Duration, running: &Running) -> Result<(), SessionError> {
        self.wait("the start of the guest", limit, running, |marker| {
            let Marker::Ready { no_root, .. } = marker else {
                return None;
            };
            Some(match no_root {
                None => Ok(()),
                Some(reason) => Err(SessionError::Root {
                    reason: reason.clone(),
                }),
            })
        })?;
        if !self.moves {
            return Ok(());
        }
        self.move_console(limit, running)
    }

    /// Waits until the guest takes orders and has the GPU on its bus; gives the reason if it has not.
    pub fn arrive(
        &mut self,
        start: Start,
        limit: Duration,
        running: &Running,
    ) -> Result<Option<String>, SessionError> {
        match start {
            Start::Cold => self.wait_ready(limit, running).map(|()| None),
            Start::Resumed => Ok(match self.order("pci-wait", limit, running)? {
                Reply::Ended { failure } => {
                    failure.map(|failure| format!("the GPU that was plugged in is not there: {failure}"))
                }
                Reply::Held { why } => Some(format!("pci-wait waits for {why}")),
            }),
        }
    }

    /// Has the guest print, and listen, at the guest port. It waits for our word at the serial port, so that nothing that it printed there
    /// before is lost.
    fn move_console(&mut self, limit: Duration, running: &Running) -> Result<(), SessionError> {
        let id = self.next_order;
        self.next_order += 1;
        self.current = (id, "console hvc0".to_owned());
        self.send(&format!("do {id} console hvc0"))?;
        self.wait(
            "the guest's other console",
            limit,
            running,
            |marker| match marker {
                Marker::Console { .. } => Some(Ok(())),
                Marker::End { id: ended, error, .. } if *ended == id => Some(Err(SessionError::Console {
                    reason: error.clone(),
                })),
                _ => None,
            },
        )?;
        self.console
            .send_to_serial("go")
            .map_err(|source| SessionError::Io {
                what: "write to the guest's console",
                source,
            })?;
        match self.wait_reply(limit, running)? {
            Reply::Ended {
                failure: Some(reason),
            } => Err(SessionError::Console { reason }),
            _ => Ok(()),
        }
    }

    /// Orders a step and waits for the end or for a hold.
    pub fn order(&mut self, words: &str, limit: Duration, running: &Running) -> Result<Reply, SessionError> {
        let id = self.next_order;
        self.next_order += 1;
        self.current = (id, words.to_owned());
        self.send(&format!("do {id} {words}"))?;
        self.wait_reply(limit, running)
    }

    /// Lets a guest that holds go on, and waits again.
    pub fn resume(&mut self, limit: Duration, running: &Running) -> Result<Reply, SessionError> {
        self.send("go")?;
        self.wait_reply(limit, running)
    }

    /// Takes what the console says until `done` says so of the log. It is asked now and again while nothing comes.
    pub fn watch(
        &mut self,
        what: &str,
        limit: Duration,
        running: &Running,
        mut done: impl FnMut(&[Line]) -> bool,
    ) -> Result<(), SessionError> {
        let deadline = Instant::now() + limit;
        while !done(&self.log) {
            if let Some(marker) = self.step_on(running)?
                && matches!(marker, Marker::Ready { .. })
            {
                return Err(SessionError::Restarted);
            }
            self.check_time(what, deadline, limit)?;
        }
        Ok(())
    }

    /// Takes what is still on its way, until the console has been quiet for a moment. A machine that has ended is quiet.
    pub fn settle(&mut self) {
        const QUIET: Duration = Duration::from_millis(200);
        const LONGEST: Duration = Duration::from_secs(3);
        let deadline = Instant::now() + LONGEST;
        while Instant::now() < deadline {
            match self.console.next(QUIET) {
                Ok(Some(line)) => self.take(line),
                Ok(None) | Err(Closed) => return,
            }
        }
    }

    /// Waits until the machine has ended by itself.
    pub fn wait_end(&mut self, limit: Duration, running: &Running) -> Result<(), SessionError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.console.next(POLL) {
                Ok(Some(line)) => self.take(line),
                Ok(None) => {}
                Err(Closed) => break,
            }
            running.tick();
            self.check_time("switching the guest off", deadline, limit)?;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if self.qemu.wait(left).is_none() {
            return Err(self.timed_out("the end of QEMU", limit));
        }
        Ok(())
    }

    /// Joins our terminal with the guest's console while the step `shell` runs. Ctrl-] leaves it.
    pub fn shell(&mut self) -> Result<(), SessionError> {
        /// Ctrl-].
        const ESCAPE: u8 = 0x1d;
        /// Ctrl-D: the end of input for whoever reads the guest's terminal.
        const END: u8 = 0x04;

        let id = self.next_order;
        self.next_order += 1;
        let raw = if io::stdin().is_terminal() {
            RawTerminal::enter().ok()
        } else {
            None
        };
        self.console.show(true);
        self.send(&format!("do {id} shell"))?;
        let mut input_open = true;
        let mut begun = false;
        let mut buffer = [0; 1024];
        let result = loop {
            if let Err(error) = self.check_processes() {
                break Err(error);
            }
            if interrupt::requested() {
                break Err(SessionError::Interrupted);
            }
            match self
                .console
                .next(Duration::from_millis(if input_open && begun { 0 } else { 50 }))
            {
                Ok(Some(line)) => {
                    let marker = line.marker();
                    self.take(line);
                    match marker {
                        Some(Marker::Note { about, .. }) if about == "shell" => begun = true,
                        Some(Marker::End { id: ended, .. }) if ended == id => break Ok(()),
                        _ => {}
                    }
                    continue;
                }
                Ok(None) => {}
                Err(Closed) => break Ok(()),
            }
            // Orders and what is typed share a line to the guest: nothing is sent before the shell reads it.
            if !(input_open && begun && sys::wait_for_input(Duration::from_millis(20))) {
                continue;
            }
            let count = io::stdin().lock().read(&mut buffer).unwrap_or(0);
            let typed = buffer.get(..count).unwrap_or_default();
            let typed = match typed.iter().position(|byte| *byte == ESCAPE) {
                Some(_) => break Ok(()),
                None if typed.is_empty() => {
                    input_open = false;
                    &[END]
                }
                None => typed,
            };
            if let Err(source) = self.console.send_bytes(typed) {
                break Err(SessionError::Io {
                    what: "write to the guest's console",
                    source,
                });
            }
        };
        self.console.show(false);
        drop(raw);
        println!();
        result
    }

    fn send(&mut self, line: &str) -> Result<(), SessionError> {
        self.console.send(line).map_err(|source| SessionError::Io {
            what: "write to the guest's console",
            source,
        })
    }

    fn wait_reply(&mut self, limit: Duration, running: &Running) -> Result<Reply, SessionError> {
        let (current, what) = self.current.clone();
        let notes_before = self.notes.len();
        let reply = self.wait(&format!("step {what:?}"), limit, running, |marker| match marker {
            Marker::Hold { why } => Some(Ok(Reply::Held { why: why.clone() })),
            Marker::End { id, ok, error } if *id == current => Some(Ok(Reply::Ended {
                failure: (!ok).then(|| error.clone()),
            })),
            Marker::Ready { .. } => Some(Err(SessionError::Restarted)),
            _ => None,
        })?;
        // The reason of a failure is told by the step itself, the end only by init.
        let told = self
            .notes
            .get(notes_before..)
            .unwrap_or_default()
            .iter()
            .rfind(|note| note.about == "failure")
            .and_then(|note| note.facts.get("error")?.as_str().map(str::to_owned));
        Ok(match (reply, told) {
            (Reply::Ended { failure: Some(_) }, Some(told)) => Reply::Ended { failure: Some(told) },
            (reply, _) => reply,
        })
    }

    fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        running: &Running,
        mut wanted: impl FnMut(&Marker) -> Option<Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(marker) = self.step_on(running)?
                && let Some(result) = wanted(&marker)
            {
                return result;
            }
            self.check_time(what, deadline, limit)?;
        }
    }

    /// Takes one line of the console, or waits a moment for one. Gives the marker in it.
    fn step_on(&mut self, running: &Running) -> Result<Option<Marker>, SessionError> {
        let marker = match self.console.next(POLL) {
            Ok(Some(line)) => {
                let marker = line.marker();
                if marker.is_none() {
                    self.last.clone_from(&line.text);
                }
                let fatal = FATAL.iter().any(|words| line.text.contains(words));
                let text = line.text.clone();
                self.take(line);
                if fatal {
                    return Err(SessionError::Panic { line: text });
                }
                marker
            }
            Ok(None) => {
                self.check_processes()?;
                None
            }
            Err(Closed) => {
                self.check_processes()?;
                return Err(SessionError::MachineEnded {
                    tail: self.qemu.log_tail(8),
                });
            }
        };
        running.doing(&self.last);
        Ok(marker)
    }

    fn take(&mut self, line: Line) {
        self.notes.extend(Note::of(&line));
        self.log.push(line);
    }

    fn check_processes(&mut self) -> Result<(), SessionError> {
        if let Some(daemon) = &mut self.daemon
            && let Some(status) = daemon.ended()
        {
            return Err(SessionError::DaemonEnded {
                status,
                tail: daemon.log_tail(8),
            });
        }
        Ok(())
    }

    fn check_time(&self, what: &str, deadline: Instant, limit: Duration) -> Result<(), SessionError> {
        if interrupt::requested() {
            return Err(SessionError::Interrupted);
        }
        if Instant::now() > deadline {
            return Err(self.timed_out(what, limit));
        }
        Ok(())
    }

    fn timed_out(&self, what: &str, limit: Duration) -> SessionError {
        SessionError::TimedOut {
            what: what.to_owned(),
            limit,
            last: self
                .log
                .last()
                .map_or_else(|| "(nothing)".to_owned(), |line| line.text.clone()),
        }
    }
}
