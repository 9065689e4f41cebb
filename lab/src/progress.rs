//! What the user sees while something takes its time: one line per step, rewritten in place on a terminal.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Columns before the name of a step.
const LEAD: usize = 21;

/// Where progress goes.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A terminal: the current line is rewritten.
    Live,
    /// A file or a pipe: one line when a step ends.
    Plain,
    Silent,
}

impl Progress {
    /// Progress on standard error: live on a terminal, plain elsewhere.
    pub fn stderr() -> Self {
        let mode = if std::io::stderr().is_terminal() {
            Mode::Live
        } else {
            Mode::Plain
        };
        Self { mode }
    }

    /// No output at all.
    pub const fn silent() -> Self {
        Self { mode: Mode::Silent }
    }

    /// Says something that is no step.
    pub fn note(&self, text: &str) {
        if self.mode != Mode::Silent {
            self.clear();
            eprintln!("{text}");
        }
    }

    /// Starts a step. Its line stands until the step ends.
    pub fn start(&self, what: &str) -> Running {
        let running = Running {
            progress: *self,
            what: what.to_owned(),
            started: Instant::now(),
            shown: Cell::new(None),
        };
        running.show("");
        running
    }

    fn clear(&self) {
        if self.mode == Mode::Live {
            eprint!("\r\x1b[K");
        }
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Running {
    progress: Progress,
    what: String,
    started: Instant,
    shown: Cell<Option<Instant>>,
}

impl Running {
    /// Time since the step began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows how far the step is.
    pub fn percent(&self, percent: u8) {
        self.show(&format!("{percent} %"));
    }

    /// Keeps the elapsed time on the terminal moving; at most a few times a second.
    pub fn tick(&self) {
        self.show("");
    }

    /// The same, with what is being done just now, in as much room as a narrow terminal has.
    pub fn doing(&self, what: &str) {
        const ROOM: usize = 72;
        let room = ROOM.saturating_sub(LEAD + self.what.chars().count());
        let line: String = what.chars().filter(|c| !c.is_control()).take(room).collect();
        self.show(&line);
    }

    /// Ends the step well.
    pub fn done(self, detail: &str) {
        self.end("ok", detail);
    }

    /// Ends the step badly; the error is told elsewhere.
    pub fn failed(self) {
        self.end(
            if crate::interrupt::requested() {
                "ended"
            } else {
                "FAILED"
            },
            "",
        );
    }

    /// Ends the step with a word of the caller's.
    pub fn end(self, word: &str, detail: &str) {
        if self.progress.mode == Mode::Silent {
            return;
        }
        self.progress.clear();
        let separator = if detail.is_empty() { "" } else { "  " };
        eprintln!(
            "{:>7.1} s  {word:<6}  {}{separator}{detail}",
            self.elapsed().as_secs_f64(),
            self.what
        );
    }

    fn show(&self, detail: &str) {
        const INTERVAL: Duration = Duration::from_millis(200);
        if self.progress.mode != Mode::Live || self.shown.get().is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.shown.set(Some(Instant::now()));
        eprint!(
            "\r\x1b[K{:>7.1} s  ...     {}  {detail}",
            self.elapsed().as_secs_f64(),
            self.what
        );
        // A terminal that went away is noticed elsewhere.
        let _ = std::io::stderr().flush();
    }
}
