//! What a run found, for readers and for programs.

pub mod compute;
pub mod date;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod html;
pub mod junit;
pub mod ktap;
pub mod matrix;
pub mod summary;
pub mod table;
pub mod timeline;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use scenario::driver::Driver;
use scenario::outcome::{Outcome, Overall, StepOutcome, Verdict};
use scenario::verdict::Finding;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// One step of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// As it was ordered.
    pub step: String,
    /// Seconds of the host's clock.
    pub seconds: f64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// The whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub version: u32,
    /// The answer.
    pub verdict: Overall,
    /// Why it is not a pass.
    pub reasons: Vec<String>,
    /// What the log shows against it.
    pub findings: Vec<Finding>,
    /// The guest's kernel.
    pub kernel: String,
    /// QEMU's version.
    pub qemu: String,
    /// What executed the guest.
    pub accelerator: Option<String>,
    /// The kernel's command line.
    pub command_line: String,
    /// Whose driver it was.
    pub driver: Driver,
    /// The folder of the checkpoint that the guest went on from, with the log of everything before; none if it was booted.
    pub checkpoint: Option<PathBuf>,
    /// How many modules the guest loaded, each time counted.
    pub modules_loaded: usize,
    /// Parameters that were given to modules, as `module: parameters`.
    pub given_parameters: Vec<String>,
    /// Seconds of the guest's clock for each probe of the driver.
    pub probe_seconds: Vec<f64>,
    /// The driver's rings.
    pub rings: Vec<String>,
    /// The steps.
    pub steps: Vec<StepReport>,
    /// What the client in the guest reported.
    pub client: Vec<Value>,
    /// Counters of the device process, the last that were asked for.
    pub stats: Option<Value>,
    /// The device's own walk of every page table, while the client held its mappings.
    pub page_tables: Option<Value>,
    /// Seconds of the whole run.
    pub seconds: f64,
}

impl Report {
    /// A report of a run that has not begun.
    pub fn new() -> Self {
        Self {
            version: VERSION,
            verdict: Overall::Unknown,
            reasons: Vec::new(),
            findings: Vec::new(),
            kernel: String::new(),
            qemu: String::new(),
            accelerator: None,
            command_line: String::new(),
            driver: Driver::default(),
            checkpoint: None,
            modules_loaded: 0,
            given_parameters: Vec::new(),
            probe_seconds: Vec::new(),
            rings: Vec::new(),
            steps: Vec::new(),
            client: Vec::new(),
            stats: None,
            page_tables: None,
            seconds: 0.0,
        }
    }

    /// Writes `report.json`, `report.txt` and the page `report.html`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        fs::write(folder.join("report.txt"), self.text())?;
        files::write_page(folder, &[self.outcome(folder)])
    }

    /// The run as if it had been a scenario, for the page. The steps' times are in the console's log.
    fn outcome(&self, folder: &Path) -> Outcome {
        let titles: Vec<_> = self.steps.iter().skip(1).map(|step| step.step.as_str()).collect();
        Outcome {
            scenario: "run".to_owned(),
            title: titles.join(", "),
            kernel: self.kernel.clone(),
            version: String::new(),
            suite: String::new(),
            control: None,
            verdict: match self.verdict {
                Overall::Pass => Verdict::Pass,
                Overall::Fail => Verdict::Fail,
                Overall::Unknown => Verdict::Unknown,
            },
            elsewhere: None,
            reasons: self.reasons.clone(),
            began_unix_us: 0,
            seconds: self.seconds,
            folder: folder.to_owned(),
            checkpoint: self.checkpoint.clone(),
            driver: self.driver.clone(),
            host_wait_ms: 0.0,
            earlier: Vec::new(),
            after: Vec::new(),
            steps: self
                .steps
                .iter()
                .map(|step| StepOutcome {
                    title: step.step.clone(),
                    began_unix_us: 0,
                    seconds: step.seconds,
                    failure: step.failure.clone(),
                })
                .collect(),
            expectations: Vec::new(),
            oracle: None,
            stats: None,
            recovery: None,
            loss_to_recovered_ms: None,
            loss_to_tables_ms: None,
            loss_to_verified_ms: None,
        }
    }

    /// The compact form for a reader.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}  {}", self.verdict.word(), self.kernel);
        for reason in &self.reasons {
            let _ = writeln!(text, "  {}", reason.replace('\n', "\n    "));
        }
        let mut row = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{name:<12}{value}");
            }
        };
        let accelerator = self.accelerator.as_deref().unwrap_or_default();
        row("machine", &format!("QEMU {}", self.qemu));
        row(
            "run",
            &format!("{:.1} s under {}", self.seconds, accelerator.to_uppercase()),
        );
        let guest = match self.checkpoint {
            Some(_) => {
                "resumed from a checkpoint with the module loaded, then the GPU was plugged in (--cold boots with it)"
            }
            None => "booted",
        };
        row("guest", guest);
        row("driver", &self.driver.text());
        row("parameters", &self.parameters());
        let times: Vec<_> = self
            .probe_seconds
            .iter()
            .map(|seconds| format!("{seconds:.2} s"))
            .collect();
        let times = match times.len() {
            0 => String::new(),
            1 => format!("{} of the guest's clock", times.join(", ")),
            count => format!("{count} times: {} of the guest's clock", times.join(", ")),
        };
        row("probe", &times);
        row("rings", &summary::rings(&self.rings));
        row("client", &summary::client(&self.client).unwrap_or_default());
        for (name, value) in self.stats.iter().flat_map(summary::counters) {
            row(name, &value);
        }
        let tables = [
            self.stats.as_ref().map(summary::updates),
            self.page_tables.as_ref().map(summary::tables),
        ];
        for table in tables.into_iter().flatten().filter(|table| !table.is_empty()) {
            text.push('\n');
            text.push_str(&table);
        }
        text
    }

    fn parameters(&self) -> String {
        match (self.given_parameters.as_slice(), self.modules_loaded) {
            ([], 0) => "no module was loaded".to_owned(),
            ([], count) => format!(
                "none given: not to any of the {count} modules that were loaded, and not on the kernel's command line"
            ),
            (given, _) => given.join("; "),
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_what_a_bisection_understands() {
        assert_eq!(
            [Overall::Pass, Overall::Fail, Overall::Unknown].map(Overall::exit_status),
            [0, 1, 125]
        );
    }

    #[test]
    fn the_text_begins_with_the_verdict_and_its_reasons() {
        let report = Report {
            verdict: Overall::Fail,
            reasons: vec!["the driver came up: no".into()],
            kernel: "6.1.0".into(),
            ..Report::new()
        };
        assert!(
            report
                .text()
                .starts_with("FAIL  6.1.0\n  the driver came up: no\n")
        );
    }
}
