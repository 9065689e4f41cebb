//! The matrix as KTAP version 1 (Linux, Documentation/dev-tools/ktap.rst): a test per kernel, a nested one per scenario.
//!
//! A known driver bug is `ok` with the directive XFAIL, as kselftest.h has it (`ksft_test_result_xfail`).

use std::fmt::Write as _;

use scenario::outcome::{Outcome, Verdict};

use super::matrix;

/// The first line, of the whole and of each level.
const VERSION: &str = "KTAP version 1";

/// The outcomes in KTAP.
pub fn text(outcomes: &[Outcome]) -> String {
    let mut kernels: Vec<&str> = Vec::new();
    for outcome in outcomes {
        let kernel = matrix::kernel(outcome);
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    let mut text = format!("{VERSION}\n1..{}\n", kernels.len());
    for (index, kernel) in kernels.iter().enumerate() {
        let of_kernel: Vec<_> = outcomes
            .iter()
            .filter(|outcome| matrix::kernel(outcome) == *kernel)
            .collect();
        let _ = writeln!(text, "  {VERSION}\n  1..{}", of_kernel.len());
        for (index, outcome) in of_kernel.iter().enumerate() {
            test(&mut text, index + 1, outcome);
        }
        let good = of_kernel.iter().all(|outcome| ok(&outcome.verdict));
        let skipped = of_kernel
            .iter()
            .all(|outcome| matches!(outcome.verdict, Verdict::NotApplicable { .. }));
        let directive = if skipped {
            " # SKIP no scenario applies"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{} {} {}{directive}",
            result(good),
            index + 1,
            description(kernel)
        );
    }
    text
}

fn test(text: &mut String, number: usize, outcome: &Outcome) {
    let mut diagnose = |line: &str| {
        let _ = writeln!(text, "  # {line}");
    };
    let name = matrix::name(&outcome.scenario, outcome.control.as_deref());
    diagnose(&one_line(&format!("{name}: {}", outcome.title)));
    for reason in &outcome.reasons {
        for line in reason.lines() {
            diagnose(&one_line(line));
        }
    }
    for line in matrix::tries(outcome) {
        diagnose(&one_line(&line));
    }
    for expectation in outcome.expectations.iter().filter(|checked| !checked.ok) {
        diagnose(&one_line(&format!(
            "expected {}, found {}",
            expectation.text, expectation.found
        )));
    }
    if !matches!(outcome.verdict, Verdict::NotApplicable { .. }) {
        diagnose(&format!("took {:.1} s", outcome.seconds));
    }
    if !outcome.folder.as_os_str().is_empty() {
        diagnose(&one_line(&format!("logs in {}", outcome.folder.display())));
    }
    let directive = match &outcome.verdict {
        Verdict::Pass | Verdict::Fail => String::new(),
        Verdict::Unknown => " # ERROR the guest did not come to the point where it counts".to_owned(),
        Verdict::NotApplicable { reason } => format!(" # SKIP {}", one_line(reason)),
        Verdict::DriverBug { finding } => format!(" # XFAIL known driver bug {}", one_line(finding)),
    };
    let _ = writeln!(
        text,
        "  {} {number} {}{directive}",
        result(ok(&outcome.verdict)),
        description(&name)
    );
}

const fn ok(cell: &Verdict) -> bool {
    matches!(
        cell,
        Verdict::Pass | Verdict::NotApplicable { .. } | Verdict::DriverBug { .. }
    )
}

const fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "not ok" }
}

/// A description: a `#` in it would begin a directive.
fn description(text: &str) -> String {
    one_line(text).replace('#', "\\#")
}

/// One line without control characters: the lines are the protocol.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_level_has_a_version_a_plan_and_as_many_results() {
        assert_eq!(
            text(&fixture::outcomes()),
            "\
KTAP version 1
1..2
  KTAP version 1
  1..3
  # mode1-poison: MODE1, VRAM poisoned
  # took 12.5 s
  # logs in /runs/6.1/mode1 poison
  ok 1 mode1-poison
  # mode1-poison, control: copies that lie: MODE1, VRAM poisoned
  # took 9.0 s
  # logs in /runs/6.1/control
  ok 2 mode1-poison, control: copies that lie
  # flr: Function level reset
  # took 3.3 s
  # logs in /runs/6.1/flr
  ok 3 flr # XFAIL known driver bug docs/findings/0001-zero-entry-copy.md
ok 1 6.1.0-56-amd64
  KTAP version 1
  1..3
  # mode1-poison: MODE1, VRAM poisoned
  # page tables: 3 entries are missing
  # the driver reported an error: <b>*ERROR*</b> ]]> &  [31m \"x\"
  # second line # SKIP
  # expected oracle missing = 0, found 3
  # took 20.0 s
  # logs in /runs/6.12/mode1 poison
  not ok 1 mode1-poison
  # mode1-poison, control: copies that lie: MODE1, VRAM poisoned
  ok 2 mode1-poison, control: copies that lie # SKIP no shadow copies since 6.12
  # flr: Function level reset
  # the guest did not start
  # took 0.0 s
  # logs in /runs/6.12/flr
  not ok 3 flr # ERROR the guest did not come to the point where it counts
not ok 2 6.12.117+deb13-amd64
"
        );
    }

    #[test]
    fn a_name_cannot_become_a_directive() {
        let mut outcomes = fixture::outcomes();
        outcomes.truncate(1);
        outcomes[0].scenario = "a # SKIP\nok 7 b".into();
        let text = text(&outcomes);
        let results: Vec<_> = text.lines().filter(|line| line.contains("ok ")).collect();
        assert!(results.contains(&"  ok 1 a \\# SKIP ok 7 b"), "{results:?}");
        assert!(
            !text.lines().any(|line| line.trim().starts_with("ok 7")),
            "{text}"
        );
    }
}
