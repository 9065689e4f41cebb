//! Outcomes as a matrix: scenarios down, kernels across.

use std::collections::{BTreeMap, BTreeSet};

use scenario::outcome::{Outcome, Verdict};

/// The outcomes of a run, arranged.
#[derive(Debug)]
pub struct Matrix<'a> {
    /// Releases, in the order in which they occur.
    pub kernels: Vec<&'a str>,
    /// Scenarios, each followed by its controls.
    pub rows: Vec<Row<'a>>,
}

/// A scenario, or one of its negative controls.
#[derive(Debug)]
pub struct Row<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// One line about it.
    pub title: &'a str,
    /// The control's name.
    pub control: Option<&'a str>,
    /// One cell per kernel. A scenario that ran more than once on a kernel is there with its worst outcome.
    pub cells: Vec<Option<&'a Outcome>>,
}

impl<'a> Matrix<'a> {
    /// Arranges outcomes, but for those of scenarios that are for another kind of GPU: [`remarks`] counts them.
    pub fn new(outcomes: &'a [Outcome]) -> Self {
        let mut kernels: Vec<&str> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.elsewhere.is_none()) {
            if !kernels.contains(&kernel(outcome)) {
                kernels.push(kernel(outcome));
            }
            if !names.contains(&outcome.scenario.as_str()) {
                names.push(&outcome.scenario);
            }
        }
        let mut rows: Vec<Row<'a>> = Vec::new();
        for name in names {
            let of_name = || outcomes.iter().filter(move |outcome| outcome.scenario == name);
            let mut controls: Vec<Option<&str>> = Vec::new();
            for outcome in of_name() {
                let control = outcome.control.as_deref();
                if !controls.contains(&control) {
                    controls.push(control);
                }
            }
            controls.sort_by_key(Option::is_some);
            for control in controls {
                let of_row = || of_name().filter(move |outcome| outcome.control.as_deref() == control);
                let cells = kernels
                    .iter()
                    .map(|wanted| {
                        of_row()
                            .filter(|outcome| kernel(outcome) == *wanted)
                            .max_by_key(|outcome| weight(&outcome.verdict))
                    })
                    .collect();
                rows.push(Row {
                    scenario: name,
                    title: of_row().next().map_or("", |outcome| outcome.title.as_str()),
                    control,
                    cells,
                });
            }
        }
        Self { kernels, rows }
    }
}

impl Row<'_> {
    /// The name in one piece.
    pub fn name(&self) -> String {
        name(self.scenario, self.control)
    }
}

/// The kernel that an outcome is about: its release, or where it comes from if it was never looked at.
pub fn kernel(outcome: &Outcome) -> &str {
    if outcome.kernel.is_empty() {
        &outcome.suite
    } else {
        &outcome.kernel
    }
}

/// A scenario's name with that of its control.
pub fn name(scenario: &str, control: Option<&str>) -> String {
    match control {
        Some(control) => format!("{scenario}, control: {control}"),
        None => scenario.to_owned(),
    }
}

/// The word for a cell.
pub const fn word(cell: &Verdict) -> &'static str {
    match cell {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Unknown => "UNKNOWN",
        Verdict::NotApplicable { .. } => "n/a",
        Verdict::DriverBug { .. } => "BUG",
    }
}

/// The more it weighs, the sooner it is looked at.
pub const fn weight(cell: &Verdict) -> u8 {
    match cell {
        Verdict::NotApplicable { .. } => 0,
        Verdict::Pass => 1,
        Verdict::DriverBug { .. } => 2,
        Verdict::Unknown => 3,
        Verdict::Fail => 4,
    }
}

/// Why a cell is not a pass, with what the cell itself says first.
pub fn reasons(outcome: &Outcome) -> Vec<String> {
    let own = match &outcome.verdict {
        Verdict::NotApplicable { reason } => Some(reason.clone()),
        Verdict::DriverBug { finding } => Some(format!("known driver bug: {finding}")),
        Verdict::Pass | Verdict::Fail | Verdict::Unknown => None,
    };
    own.into_iter()
        .chain(outcome.reasons.iter().cloned())
        .chain(tries(outcome))
        .collect()
}

/// The tries before this one: a failure that came while the host was busy is told even if the next try passed.
pub fn tries(outcome: &Outcome) -> Vec<String> {
    let tries = outcome.earlier.iter().zip(1..).map(|(attempt, number)| {
        format!(
            "try {number} failed while the host let a thread of the guest or its device wait {:.0} ms for a processor: {}; logs in {}",
            attempt.host_wait_ms,
            attempt.reasons.first().and_then(|reason| reason.lines().next()).unwrap_or("no reason"),
            attempt.folder.display()
        )
    });
    tries.collect()
}

/// What the table leaves out, a line for each kind of GPU: `11 scenarios are for a virtual function: --personality vf`.
fn elsewhere(outcomes: &[Outcome]) -> Vec<String> {
    let mut left_out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes {
        if let Some(audience) = &outcome.elsewhere {
            left_out.entry(audience).or_default().insert(&outcome.scenario);
        }
    }
    let line = |(audience, scenarios): (&str, BTreeSet<&str>)| match scenarios.len() {
        1 => format!("1 scenario is {audience}"),
        count => format!("{count} scenarios are {audience}"),
    };
    left_out.into_iter().map(line).collect()
}

/// What stands below the table: what it leaves out, and for each kernel whose driver it was, if that was not its own.
pub fn remarks(outcomes: &[Outcome]) -> Vec<String> {
    let mut lines = elsewhere(outcomes);
    let mut drivers: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.driver.is_changed()) {
        let kernel = (outcome.version.as_str(), outcome.suite.as_str());
        // One that ran says more than one that did not.
        if outcome.driver.build_id.is_some() || !drivers.contains_key(&kernel) {
            drivers.insert(kernel, outcome.driver.text());
        }
    }
    let line = |((version, suite), text)| format!("driver on {version} ({suite}): {text}");
    lines.extend(drivers.into_iter().map(line));
    lines
}

/// How many there are of each in the table, in one line: `3 pass, 1 fail`.
pub fn counts(outcomes: &[Outcome]) -> String {
    let count = |wanted: fn(&Verdict) -> bool, one: &str, many: &str| {
        let here = outcomes.iter().filter(|outcome| outcome.elsewhere.is_none());
        let count = here.filter(|outcome| wanted(&outcome.verdict)).count();
        match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        }
    };
    let parts = [
        count(|cell| matches!(cell, Verdict::Pass), "pass", "pass"),
        count(|cell| matches!(cell, Verdict::Fail), "fail", "fail"),
        count(|cell| matches!(cell, Verdict::Unknown), "unknown", "unknown"),
        count(
            |cell| matches!(cell, Verdict::DriverBug { .. }),
            "known driver bug",
            "known driver bugs",
        ),
        count(
            |cell| matches!(cell, Verdict::NotApplicable { .. }),
            "not applicable",
            "not applicable",
        ),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "nothing ran".to_owned()
    } else {
        parts.join(", ")
    }
}
