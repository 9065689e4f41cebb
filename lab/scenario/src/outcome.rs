//! What came of a scenario on a kernel, for tables, files and programs.
//!
//! A run's folder has one folder per boot with `console.log`, `console.jsonl`, `events.jsonl`, `daemon.log` and
//! `outcome.json`; the last is an array with one [`Outcome`] per scenario of that boot, in the order in which they ran.
//! `outcomes.json` in the run's own folder has all of them, those that ran nowhere included.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::driver::Driver;
use crate::facts::Facts;

/// Name of the file with the outcomes of one boot.
pub const OF_BOOT: &str = "outcome.json";
/// Name of the file with the outcomes of a whole run.
pub const OF_RUN: &str = "outcomes.json";

/// What came of one scenario, or of one of its negative controls, on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's name: that of its file.
    pub scenario: String,
    /// One line for a reader.
    pub title: String,
    /// The kernel's release, as `uname -r` gives it.
    pub kernel: String,
    /// The upstream version of the kernel where its image names it (Debian's do), else the release's numbers.
    pub version: String,
    /// Where the kernel comes from: the suite, or the path of its image.
    pub suite: String,
    /// The negative control that this was; none for the scenario itself.
    pub control: Option<String>,
    /// The answer.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whom it is for instead, if it is for another kind of GPU than that of the run: left out of tables, and counted below them.
    #[serde(default)]
    pub elsewhere: Option<String>,
    /// Why it is not a pass.
    pub reasons: Vec<String>,
    /// Start, in microseconds of the host's clock since 1970.
    pub began_unix_us: u64,
    /// Seconds of the host's clock, without the boot.
    pub seconds: f64,
    /// The boot's folder; empty if nothing was booted.
    pub folder: PathBuf,
    /// The folder of the checkpoint that the guest went on from, with the log of everything before; none if it was booted.
    #[serde(default)]
    pub checkpoint: Option<PathBuf>,
    /// Whose driver it was.
    #[serde(default)]
    pub driver: Driver,
    /// What the run shows beside the verdict.
    #[serde(default)]
    pub facts: Facts,
    /// The longest that a thread of QEMU or of the device was kept waiting for a processor between two looks, in milliseconds.
    #[serde(default)]
    pub host_wait_ms: f64,
    /// Tries before this one, in which it failed while the host was too busy to tell.
    #[serde(default)]
    pub earlier: Vec<Attempt>,
    /// Scenarios that ran before in the same boot.
    pub after: Vec<String>,
    /// The steps that were begun.
    pub steps: Vec<StepOutcome>,
    /// The expectations that apply to this kernel.
    pub expectations: Vec<Checked>,
    /// The last comparison of page tables: the `result` of the device's answer.
    pub oracle: Option<Value>,
    /// By how much every counter of the device went up.
    pub stats: Option<Value>,
    /// How the page tables came back, in the oracle's word.
    pub recovery: Option<String>,
    /// From the first loss of VRAM to the driver's word that the reset succeeded.
    pub loss_to_recovered_ms: Option<f64>,
    /// From the first loss of VRAM to the packet that made the page tables in use whole again.
    #[serde(default)]
    pub loss_to_tables_ms: Option<f64>,
    /// From the first loss of VRAM to the first answer after it that they are.
    pub loss_to_verified_ms: Option<f64>,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// Its name in files.
    pub key: &'static str,
    /// For a reader.
    pub label: &'static str,
    /// Milliseconds, if it was seen.
    pub ms: Option<f64>,
}

impl Outcome {
    /// That of something that did not run.
    pub fn new() -> Self {
        Self {
            scenario: String::new(),
            title: String::new(),
            kernel: String::new(),
            version: String::new(),
            suite: String::new(),
            control: None,
            verdict: Verdict::Unknown,
            elsewhere: None,
            reasons: Vec::new(),
            began_unix_us: 0,
            seconds: 0.0,
            folder: PathBuf::new(),
            checkpoint: None,
            driver: Driver::default(),
            facts: Facts::default(),
            host_wait_ms: 0.0,
            earlier: Vec::new(),
            after: Vec::new(),
            steps: Vec::new(),
            expectations: Vec::new(),
            oracle: None,
            stats: None,
            recovery: None,
            loss_to_recovered_ms: None,
            loss_to_tables_ms: None,
            loss_to_verified_ms: None,
        }
    }

    /// How long it took from the first loss to three things.
    pub const fn times(&self) -> [Time; 3] {
        [
            Time {
                key: "loss_to_recovered_ms",
                label: "loss to recovered",
                ms: self.loss_to_recovered_ms,
            },
            Time {
                key: "loss_to_tables_ms",
                label: "loss to tables",
                ms: self.loss_to_tables_ms,
            },
            Time {
                key: "loss_to_verified_ms",
                label: "loss to verified",
                ms: self.loss_to_verified_ms,
            },
        ]
    }

    /// One line for a reader, and the reasons below it.
    pub fn text(&self) -> String {
        let control = match &self.control {
            Some(name) => format!(", control: {name}"),
            None => String::new(),
        };
        let mut text = format!(
            "{:<10}  {:<10}  {}{control}  {:.1} s\n",
            self.verdict.word(),
            self.version,
            self.scenario,
            self.seconds
        );
        let word = match &self.verdict {
            Verdict::NotApplicable { reason } => Some(reason),
            Verdict::DriverBug { finding } => Some(finding),
            _ => None,
        };
        text.push_str(&format!("            driver: {}\n", self.driver.text()));
        for reason in word.into_iter().chain(&self.reasons) {
            text.push_str(&format!(
                "            {}\n",
                reason.replace('\n', "\n              ")
            ));
        }
        text
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

/// The answer for one scenario on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that was expected was seen, and nothing else that counts.
    Pass,
    /// Something was not as expected. For a control: the scenario passed, or failed for another reason than the planted.
    Fail,
    /// The guest could not be brought to the point where it counts.
    Unknown,
    /// The scenario is not meant for this kernel.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// It failed in exactly the way in which this kernel's driver is known to.
    DriverBug {
        /// The page about it.
        finding: String,
    },
}

impl Verdict {
    /// The word for it in tables.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Unknown => "UNKNOWN",
            Self::NotApplicable { .. } => "N/A",
            Self::DriverBug { .. } => "DRIVER BUG",
        }
    }
}

/// A try that was not the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its folder.
    pub folder: PathBuf,
    /// What was not as it should be.
    pub reasons: Vec<String>,
    /// As in [`Outcome`].
    pub host_wait_ms: f64,
}

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Its label, or what it does.
    pub title: String,
    /// Start, in microseconds of the host's clock since 1970.
    pub began_unix_us: u64,
    /// Seconds of the host's clock.
    pub seconds: f64,
    /// Why it failed, if it did and should not have.
    pub failure: Option<String>,
}

/// An expectation that was held against the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Its label, or what it expects.
    pub text: String,
    /// Whether it holds.
    pub ok: bool,
    /// What the evidence says.
    pub found: String,
}

/// The answer for a whole run, as the status that the program ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Everything that was expected was seen.
    Pass,
    /// The driver, the device or the client did something wrong.
    Fail,
    /// The guest could not be brought to the point where it counts.
    Unknown,
}

impl Overall {
    /// The status that the program ends with: what `git bisect run` understands.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Unknown => 125,
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The answer for a whole run: a failure counts more than not knowing, and a run in which nothing ran cannot tell.
pub fn overall(outcomes: &[Outcome]) -> Overall {
    let any = |wanted: fn(&Verdict) -> bool| outcomes.iter().any(|outcome| wanted(&outcome.verdict));
    if any(|cell| matches!(cell, Verdict::Fail)) {
        Overall::Fail
    } else if any(|cell| matches!(cell, Verdict::Unknown))
        || !any(|cell| matches!(cell, Verdict::Pass | Verdict::DriverBug { .. }))
    {
        Overall::Unknown
    } else {
        Overall::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        Outcome {
            scenario: "a".into(),
            verdict,
            ..Outcome::new()
        }
    }

    #[test]
    fn a_run_passes_only_if_something_passed_and_nothing_else_happened() {
        let not = || Verdict::NotApplicable { reason: "old".into() };
        let bug = || Verdict::DriverBug {
            finding: "docs/findings/1.md".into(),
        };
        for (cells, verdict) in [
            (vec![], Overall::Unknown),
            (vec![not()], Overall::Unknown),
            (vec![not(), Verdict::Pass], Overall::Pass),
            (vec![bug()], Overall::Pass),
            (vec![Verdict::Pass, Verdict::Unknown], Overall::Unknown),
            (
                vec![Verdict::Unknown, Verdict::Fail, Verdict::Pass],
                Overall::Fail,
            ),
        ] {
            let outcomes: Vec<_> = cells.into_iter().map(outcome).collect();
            assert_eq!(overall(&outcomes), verdict, "{outcomes:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let before = outcome(Verdict::NotApplicable { reason: "old".into() });
        let text = serde_json::to_string(&before).unwrap();
        assert!(
            text.contains(r#""verdict":"not-applicable","reason":"old""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), before);
    }
}
