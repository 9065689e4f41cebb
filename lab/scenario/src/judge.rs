//! The verdict about one scenario: what failed, whether that is a known bug, and what it means for a control.

use super::condition::Pattern;
use super::evidence::Event;
use super::kernels::Version;
use super::model::Expectation;
use super::outcome::{Checked, Verdict};
use super::plan::Job;
use crate::verdict::{self, Finding};

/// Something that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The words by which a control can name it.
    pub words: Vec<String>,
    /// For a reader, and for the patterns of known bugs.
    pub text: String,
}

impl Failure {
    /// A step failed.
    pub fn step(title: &str, label: Option<&str>, why: &str) -> Self {
        Self {
            words: words("step", label),
            text: format!("step \"{title}\": {why}"),
        }
    }

    /// An expectation does not hold.
    pub fn expectation(expectation: &Expectation, checked: &Checked) -> Self {
        Self {
            words: words(expectation.what.kind(), expectation.label.as_deref()),
            text: format!("expected {}; found: {}", checked.text, checked.found),
        }
    }

    /// The log speaks against it.
    pub fn log(finding: &Finding) -> Self {
        Self {
            words: words("log", None),
            text: format!("log: {}: {}", finding.rule.broken(), finding.detail),
        }
    }
}

fn words(kind: &str, label: Option<&str>) -> Vec<String> {
    let words = std::iter::once(kind).chain(label);
    words.map(str::to_owned).collect()
}

/// Everything that was found wrong.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Steps and expectations.
    pub failures: Vec<Failure>,
    /// The log.
    pub findings: Vec<Finding>,
    /// Of a control: why its sabotage did not happen, if it did not.
    pub not_sabotaged: Option<String>,
    /// What belongs to the failures, for a reader: see [`super::context`].
    pub context: Context,
}

/// Lines that say more about failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Engines that a packet stopped.
    pub halted: Vec<String>,
    /// An entry of the page tables that is not as it was.
    pub difference: Option<String>,
}

impl Found {
    /// All failures, each for itself.
    fn all(&self) -> Vec<Failure> {
        let log = self.findings.iter().map(Failure::log);
        self.failures.iter().cloned().chain(log).collect()
    }

    /// For a reader: of lines of the log that are alike only some. A kernel that went no further comes before what it did not do.
    fn reasons(&self) -> Vec<String> {
        let of_log = |fatal: bool| {
            let rules: Vec<_> = self
                .findings
                .iter()
                .filter(|finding| finding.is_fatal())
                .collect();
            let belongs = |finding: &&Finding| rules.iter().any(|other| other.rule == finding.rule) == fatal;
            let findings: Vec<_> = self.findings.iter().filter(belongs).cloned().collect();
            let reasons = verdict::reasons(&findings).into_iter();
            reasons.map(|reason| format!("log: {reason}")).collect::<Vec<_>>()
        };
        let mut reasons = of_log(true);
        let fatal = !reasons.is_empty();
        if fatal {
            reasons.extend(self.context.halted.iter().cloned());
        }
        reasons.extend(self.failures.iter().map(|failure| failure.text.clone()));
        if self
            .failures
            .iter()
            .any(|failure| failure.words.iter().any(|word| word == "oracle"))
        {
            reasons.extend(self.context.difference.clone());
        }
        reasons.extend(of_log(false));
        if !fatal {
            reasons.extend(self.context.halted.iter().cloned());
        }
        reasons
    }
}

/// The verdict with its reasons.
pub fn judge(job: &Job<'_>, version: &Version, found: &Found) -> (Verdict, Vec<String>) {
    let all = found.all();
    if let Some(control) = job.control {
        return judge_control(&control.fails, &all, found);
    }
    if all.is_empty() {
        return (Verdict::Pass, Vec::new());
    }
    let known = job
        .scenario
        .known_bugs
        .iter()
        .find(|bug| bug.kernels.include(version) && is_exactly(&bug.failures, &all));
    let cell = match known {
        Some(bug) => Verdict::DriverBug {
            finding: bug.finding.clone(),
        },
        None => Verdict::Fail,
    };
    (cell, found.reasons())
}

/// Every failure is known, and every known one occurred: less or more is something else.
fn is_exactly(known: &[Pattern], failures: &[Failure]) -> bool {
    let matches = |pattern: &Pattern, failure: &Failure| pattern.is_match(&failure.text);
    failures
        .iter()
        .all(|failure| known.iter().any(|pattern| matches(pattern, failure)))
        && known
            .iter()
            .all(|pattern| failures.iter().any(|failure| matches(pattern, failure)))
}

/// A control passes if what it names failed, after its sabotage has happened.
fn judge_control(fails: &[String], all: &[Failure], found: &Found) -> (Verdict, Vec<String>) {
    if let Some(why) = &found.not_sabotaged {
        return (Verdict::Fail, vec![format!("the sabotage did not happen: {why}")]);
    }
    let held: Vec<_> = fails
        .iter()
        .filter(|word| !all.iter().any(|failure| failure.words.contains(*word)))
        .map(|word| format!("nothing noticed the sabotage where it should: no failure of \"{word}\""))
        .collect();
    let noticed = found.reasons().into_iter();
    if held.is_empty() {
        return (
            Verdict::Pass,
            noticed.map(|reason| format!("noticed: {reason}")).collect(),
        );
    }
    let other = noticed.map(|reason| format!("instead: {reason}"));
    (Verdict::Fail, held.into_iter().chain(other).collect())
}

/// Whether a fault with this number has happened.
pub fn fault_fired(events: &[Event], id: u64) -> bool {
    events.iter().any(|event| {
        event.kind() == "fault-fired"
            && event.fields.get("id").and_then(serde_json::Value::as_u64) == Some(id)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse::parse;
    use super::*;
    use crate::verdict::Rule;

    const FILE: &str = "
        title = 't'
        step = [{ guest = 'info', label = 'look' }]
        [[expect]]
        recovery = 'rewritten'
        label = 'tables'
        [[control]]
        name = 'x'
        skip = 1
        fails = ['tables', 'log']
        [[known-bug]]
        kernels = '6.1'
        finding = 'docs/findings/0001.md'
        failures = ['^expected tables; found: none$', 'log: .*page fault']
    ";

    fn failure(kind: &str, label: Option<&str>, text: &str) -> Failure {
        Failure {
            words: words(kind, label),
            text: text.into(),
        }
    }

    fn found(failures: &[Failure], log: &[&str]) -> Found {
        Found {
            failures: failures.to_vec(),
            findings: log
                .iter()
                .map(|line| Finding {
                    rule: Rule::NoPageFault,
                    detail: (*line).to_owned(),
                })
                .collect(),
            not_sabotaged: None,
            context: Context::default(),
        }
    }

    #[test]
    fn reasons_come_in_the_order_of_cause() {
        let mut all = found(
            &[failure(
                "oracle",
                Some("tables"),
                "expected tables; found: poisoned 1",
            )],
            &["page fault"],
        );
        all.context = Context {
            halted: vec!["device: sdma0 halted: x".into()],
            difference: Some("page tables: for example at 0x1000".into()),
        };
        let words = |found: &Found| -> Vec<String> {
            let reasons = cell(found, "6.12", false).1.into_iter();
            reasons
                .map(|reason| reason.split(':').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(
            words(&all),
            ["expected tables; found", "page tables", "log", "device"]
        );
        all.findings.push(Finding {
            rule: Rule::NoKernelTrouble,
            detail: "BUG: kernel NULL pointer dereference, address: 0".into(),
        });
        assert_eq!(
            words(&all),
            ["log", "device", "expected tables; found", "page tables", "log"]
        );
        assert!(cell(&all, "6.12", false).1[0].contains("NULL pointer"));
        // An entry that is different is no reason by itself.
        all.failures.clear();
        assert_eq!(words(&all), ["log", "device", "log"]);
    }

    fn cell(found: &Found, version: &str, control: bool) -> (Verdict, Vec<String>) {
        let scenario = parse(Path::new("t.toml"), FILE).unwrap_or_else(|error| panic!("{error}"));
        let job = Job {
            scenario: &scenario,
            control: control.then(|| &scenario.controls[0]),
        };
        judge(&job, &Version::leading(version), found)
    }

    fn tables() -> Failure {
        failure("recovery", Some("tables"), "expected tables; found: none")
    }

    #[test]
    fn nothing_wrong_passes_and_anything_wrong_fails() {
        assert_eq!(cell(&Found::default(), "7.3", false), (Verdict::Pass, vec![]));
        assert_eq!(cell(&found(&[tables()], &[]), "7.3", false).0, Verdict::Fail);
        assert_eq!(
            cell(&found(&[], &["x page fault"]), "7.3", false),
            (
                Verdict::Fail,
                vec!["log: the GPU had a page fault: x page fault".into()]
            )
        );
    }

    #[test]
    fn a_known_bug_is_exactly_what_is_known_on_the_kernels_that_have_it() {
        let bug = Verdict::DriverBug {
            finding: "docs/findings/0001.md".into(),
        };
        let both = found(&[tables()], &["page fault"]);
        assert_eq!(cell(&both, "6.1.192", false).0, bug);
        assert_eq!(cell(&both, "6.12.1", false).0, Verdict::Fail);
        let less = found(&[tables()], &[]);
        assert_eq!(cell(&less, "6.1.192", false).0, Verdict::Fail);
        let more = found(
            &[tables(), Failure::step("look", Some("look"), "no")],
            &["page fault"],
        );
        assert_eq!(cell(&more, "6.1.192", false).0, Verdict::Fail);
    }

    #[test]
    fn a_control_passes_only_if_all_that_it_names_failed() {
        let (verdict, reasons) = cell(&found(&[tables()], &["page fault"]), "7.3", true);
        assert_eq!(verdict, Verdict::Pass);
        assert_eq!(reasons[0], "noticed: expected tables; found: none");
        let (verdict, reasons) = cell(&found(&[tables()], &[]), "7.3", true);
        assert_eq!(verdict, Verdict::Fail);
        assert!(reasons[0].ends_with("no failure of \"log\""), "{reasons:?}");
        assert_eq!(reasons[1], "instead: expected tables; found: none");
        assert_eq!(cell(&Found::default(), "7.3", true).0, Verdict::Fail);
    }

    #[test]
    fn a_control_whose_sabotage_did_not_happen_shows_nothing() {
        let none = Found {
            not_sabotaged: Some("it never fired".into()),
            context: Context::default(),
            ..found(&[tables()], &["page fault"])
        };
        assert_eq!(cell(&none, "7.3", true).0, Verdict::Fail);
    }
}
