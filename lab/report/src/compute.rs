//! The table of `docs/compute.md`: what becomes of each kind of memory and of each message over a reset, kernel by kernel, with a link to
//! the scenario in each cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use scenario::kernels::Version;
use scenario::outcome::{Outcome, Verdict};

/// A row: what it is about, what happens to VRAM, the scenario, and what a pass of it means.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// The rows. Where a scenario is another one on a part that resets otherwise, it has a row of its own.
pub const ROWS: [Row; 25] = [
    ("ordinary VM", "kept, MODE1", "mode1-vram-kept", "goes on"),
    ("ordinary VM", "lost, MODE1 by the SMU", "mode1-smu", "comes back"),
    ("ordinary VM", "lost, MODE1 by the PSP", "mode1-psp", "comes back"),
    ("ordinary VM", "lost, FLR of a VF", "vf-flr-lost", "comes back"),
    (
        "compute VM",
        "kept, PCI reset",
        "compute-vm-pci-reset-kept",
        "goes on",
    ),
    (
        "compute VM",
        "kept, FLR of a VF",
        "vf-compute-vm-flr-kept",
        "goes on",
    ),
    ("compute VM", "kept, suspend", "kfd-suspend", "goes on"),
    ("compute VM", "lost, MODE1", "compute-vm-mode1", "comes back"),
    ("compute VM", "lost, BACO", "compute-vm-baco", "comes back"),
    (
        "compute VM",
        "lost, PCI reset",
        "compute-vm-pci-reset-lost",
        "comes back",
    ),
    (
        "compute VM",
        "lost, FLR of a VF",
        "vf-compute-vm-flr-lost",
        "comes back",
    ),
    ("SVM", "lost, MODE1", "svm-mode1", "read back right"),
    ("SVM", "lost, FLR of a VF", "vf-svm-flr-lost", "read back right"),
    (
        "KFD's event",
        "kept, MODE2",
        "kfd-reset-event-mode2",
        "memory_lost 0",
    ),
    ("KFD's event", "lost, MODE1", "kfd-reset-event", "memory_lost 1"),
    (
        "KFD's event",
        "lost, FLR of a VF",
        "vf-kfd-reset-event",
        "memory_lost 1",
    ),
    (
        "SMI events",
        "kept, MODE1",
        "smi-mode1-vram-kept",
        "begin and end",
    ),
    ("SMI events", "lost, MODE1", "smi-mode1", "begin and end"),
    ("SMI events", "lost, FLR of a VF", "vf-smi-flr", "begin and end"),
    (
        "VkDevice",
        "kept, MODE1",
        "vulkan-mode1-kept",
        "DEVICE_LOST all the same, every byte there",
    ),
    (
        "VkDevice",
        "lost, MODE1",
        "vulkan-mode1",
        "old one DEVICE_LOST, new one works",
    ),
    (
        "KFD process",
        "unbind, bind",
        "kfd-rebind",
        "/dev/kfd opens again",
    ),
    ("KFD process", "unbind", "kfd-unbind", "ends with an error"),
    (
        "KFD process",
        "unbind, two processors",
        "kfd-unbind-sigbus",
        "SIGBUS",
    ),
    (
        "KFD process",
        "removal of the module",
        "kfd-module-in-use",
        "refused",
    ),
];

/// The table in Markdown, for a file in `docs/`. Outcomes may be of several runs; of one scenario and kernel the last counts.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let shown = |outcome: &&Outcome| outcome.control.is_none() && outcome.elsewhere.is_none();
    let mut kernels: BTreeMap<Version, &str> = BTreeMap::new();
    let mut cells: BTreeMap<(&str, &str), &Outcome> = BTreeMap::new();
    for outcome in outcomes.iter().filter(shown) {
        let version = outcome.version.as_str();
        kernels.insert(Version::leading(version), version);
        let known = cells.entry((&outcome.scenario, version)).or_insert(outcome);
        // A run on another part, to which the scenario does not apply, says less.
        if !matches!(outcome.verdict, Verdict::NotApplicable { .. }) {
            *known = outcome;
        }
    }
    let mut text = "| | VRAM |".to_owned();
    for version in kernels.values() {
        let _ = write!(text, " {version} |");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(kernels.len()));
    text.push('\n');
    let mut before = "";
    for (subject, what, scenario, pass) in ROWS {
        let row: Vec<_> = kernels
            .values()
            .map(|version| cells.get(&(scenario, *version)).copied())
            .collect();
        if row.iter().all(Option::is_none) {
            continue;
        }
        let subject = if subject == before { "" } else { subject };
        let _ = write!(text, "| {subject} | {what} |");
        for outcome in row {
            let _ = write!(text, " {} |", cell(outcome, scenario, pass));
        }
        text.push('\n');
        before = if subject.is_empty() { before } else { subject };
    }
    text
}

fn cell(outcome: Option<&Outcome>, scenario: &str, pass: &str) -> String {
    let Some(outcome) = outcome else {
        return "-".to_owned();
    };
    let link = |word: &str| format!("[{word}](../lab/scenarios/{scenario}.toml)");
    match &outcome.verdict {
        Verdict::Pass => link(pass),
        Verdict::NotApplicable { .. } => link("n/a"),
        Verdict::Fail | Verdict::Unknown => format!("**{}**", link(outcome.verdict.word())),
        Verdict::DriverBug { finding } => {
            let page = finding.trim_start_matches("docs/");
            let number = page.trim_start_matches("findings/").split('-').next();
            let number = number.unwrap_or_default().trim_start_matches('0');
            let only_log = outcome.reasons.iter().all(|reason| reason.starts_with("log: "));
            let word = match wrong(&outcome.reasons) {
                Some(count) => count,
                None if only_log => format!("{pass}, with a warning"),
                None => "wrong".to_owned(),
            };
            format!("**{}** ([{number}]({page}))", link(&word))
        }
    }
}

/// `524288 of 524288 dwords are wrong`, if a reason says so.
fn wrong(reasons: &[String]) -> Option<String> {
    reasons.iter().find_map(|reason| {
        let end = reason.find(" are wrong")?;
        let words: Vec<_> = reason.get(..end)?.split_whitespace().collect();
        let [.., count, "of", all, unit] = words.as_slice() else {
            return None;
        };
        let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        (number(count) && number(all)).then(|| format!("{count} of {all} {unit} wrong"))
    })
}

#[cfg(test)]
mod tests {
    use scenario::catalogue;

    use super::*;

    fn outcome(scenario: &str, version: &str, verdict: Verdict, reason: &str) -> Outcome {
        Outcome {
            scenario: scenario.to_owned(),
            version: version.to_owned(),
            verdict,
            reasons: vec![reason.to_owned()],
            ..Outcome::new()
        }
    }

    #[test]
    fn a_cell_links_its_scenario_and_its_finding() {
        let finding = "docs/findings/0025-compute-vm-lost.md".to_owned();
        let reason = "jobs ended without an error, and 524288 of 524288 dwords are wrong, the first at 0x0";
        let text = markdown(&[
            outcome("compute-vm-mode1", "6.12.118", Verdict::Pass, ""),
            outcome(
                "compute-vm-mode1",
                "6.1.192",
                Verdict::DriverBug { finding },
                reason,
            ),
            outcome("mode1-smu", "6.12.118", Verdict::Fail, ""),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "| | VRAM | 6.1.192 | 6.12.118 |");
        assert_eq!(
            lines[2],
            "| ordinary VM | lost, MODE1 by the SMU | - | **[FAIL](../lab/scenarios/mode1-smu.toml)** |"
        );
        assert_eq!(
            lines[3],
            "| compute VM | lost, MODE1 | **[524288 of 524288 dwords wrong](../lab/scenarios/compute-vm-mode1.toml)** \
             ([25](findings/0025-compute-vm-lost.md)) | [comes back](../lab/scenarios/compute-vm-mode1.toml) |"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn every_row_is_of_a_scenario_that_is_there() {
        let shipped = catalogue::shipped(catalogue::Texts::Present).unwrap();
        for (_, _, scenario, _) in ROWS {
            assert!(shipped.iter().any(|known| known.name == scenario), "{scenario}");
        }
    }

    #[test]
    fn what_only_the_log_says_is_a_warning() {
        let bug = || Verdict::DriverBug {
            finding: "docs/findings/0011-x.md".to_owned(),
        };
        let of = |reason: &str| markdown(&[outcome("kfd-suspend", "6.1.192", bug(), reason)]);
        assert!(of("log: the kernel warned: x").contains("[goes on, with a warning]"));
        assert!(of("expected x; found: none").contains("[wrong]"));
    }

    #[test]
    fn a_part_to_which_a_scenario_does_not_apply_hides_no_other() {
        let none = Verdict::NotApplicable {
            reason: "no".to_owned(),
        };
        let pass = || outcome("svm-mode1", "7.3.4", Verdict::Pass, "");
        let other = outcome("svm-mode1", "7.3.4", none, "");
        for outcomes in [[pass(), other.clone()], [other.clone(), pass()]] {
            assert!(markdown(&outcomes).contains("[read back right]"));
        }
    }
}
