//! What the user sees while something takes its time: one line per step, rewritten in place on a terminal.
//!
//! In a run of many scenarios a line is a scenario instead: on a terminal it shows the step under way and the time so far, and what stays
//! in the end is one line per scenario.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Columns before the name of a step.
const LEAD: usize = 21;
/// As much room as a narrow terminal has.
const ROOM: usize = 79;

/// Where progress goes. Clones share the scenario under way.
#[derive(Debug, Clone)]
pub struct Progress {
    mode: Mode,
    scenario: Rc<RefCell<Option<Scenario>>>,
}

/// A scenario under way, in a run of many.
#[derive(Debug, Clone)]
struct Scenario {
    label: String,
    started: Instant,
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
        Self {
            mode,
            scenario: Rc::default(),
        }
    }

    /// Progress on standard error, one line when something ends, whatever standard error is.
    pub fn lines() -> Self {
        Self {
            mode: Mode::Plain,
            scenario: Rc::default(),
        }
    }

    /// No output at all.
    pub fn silent() -> Self {
        Self {
            mode: Mode::Silent,
            scenario: Rc::default(),
        }
    }

    /// Begins a scenario: until it ends, its steps share one line.
    pub fn begin_scenario(&self, label: &str) {
        *self.scenario.borrow_mut() = Some(Scenario {
            label: label.to_owned(),
            started: Instant::now(),
        });
        self.start("");
    }

    /// Ends the scenario under way with a word, and with why if there is a reason to tell.
    pub fn end_scenario(&self, word: &str, why: Option<&str>) {
        let Some(scenario) = self.scenario.borrow_mut().take() else {
            return;
        };
        if self.mode == Mode::Silent {
            return;
        }
        self.clear();
        eprintln!("{}", scenario.last_line(word, why));
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
            progress: self.clone(),
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
        let line: String = what.chars().filter(|c| !c.is_control()).collect();
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
        if self.progress.mode == Mode::Silent || self.progress.scenario.borrow().is_some() {
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
        let line = match &*self.progress.scenario.borrow() {
            Some(scenario) => scenario.line(&self.what, detail),
            None => line(self.elapsed(), "", &self.what, detail),
        };
        eprint!("\r\x1b[K{line}");
        // A terminal that went away is noticed elsewhere.
        let _ = std::io::stderr().flush();
    }
}

impl Scenario {
    /// While it runs: which, which step, and what is being done just now.
    fn line(&self, step: &str, detail: &str) -> String {
        line(self.started.elapsed(), &self.label, step, detail)
    }

    /// What stays.
    fn last_line(&self, word: &str, why: Option<&str>) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let why = match why.and_then(|why| why.lines().next()) {
            Some(why) => format!("\n{:LEAD$}{why}", ""),
            None => String::new(),
        };
        format!("{seconds:>7.1} s  {word:<7}  {}{why}", self.label)
    }
}

/// A line that is rewritten: never wider than a narrow terminal, or it would not be one.
fn line(elapsed: Duration, label: &str, step: &str, detail: &str) -> String {
    let parts = [label, step, detail].into_iter().filter(|part| !part.is_empty());
    let line = format!(
        "{:>7.1} s  ...     {}",
        elapsed.as_secs_f64(),
        parts.collect::<Vec<_>>().join("  ")
    );
    line.chars().take(ROOM).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario() -> Scenario {
        Scenario {
            label: "[3/24] mode1 on 6.1.192".to_owned(),
            started: Instant::now(),
        }
    }

    #[test]
    fn a_line_that_is_rewritten_fits_a_narrow_terminal() {
        let line = scenario().line("recover", &"amdgpu: a long line of the log, ".repeat(9));
        assert_eq!(line.chars().count(), ROOM);
        assert!(
            line.starts_with("    0.0 s  ...     [3/24] mode1 on 6.1.192  recover  amdgpu: a long"),
            "{line}"
        );
    }

    #[test]
    fn what_stays_is_a_line_with_the_verdict_and_the_first_line_of_the_reason() {
        assert_eq!(
            scenario().last_line("FAIL", Some("3 mappings are missing\nand more")),
            "    0.0 s  FAIL     [3/24] mode1 on 6.1.192\n                     3 mappings are missing"
        );
        assert_eq!(
            scenario().last_line("PASS", None),
            "    0.0 s  PASS     [3/24] mode1 on 6.1.192"
        );
    }

    #[test]
    fn clones_share_the_scenario_under_way() {
        let progress = Progress::silent();
        let other = progress.clone();
        progress.begin_scenario("a");
        assert!(other.scenario.borrow().is_some());
        other.end_scenario("PASS", None);
        assert!(progress.scenario.borrow().is_none());
    }
}
