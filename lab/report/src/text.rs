//! One outcome in full, for a terminal: what the machine was, and what guest and device said of themselves.

use std::fmt::Write as _;

use scenario::facts::Facts;
use scenario::outcome::Outcome;

use super::summary;

/// The outcome with its reasons, and everything that is known beside it.
pub fn full(outcome: &Outcome) -> String {
    let facts = &outcome.facts;
    let mut text = outcome.text();
    if outcome.folder.as_os_str().is_empty() {
        return text;
    }
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<12}{value}");
        }
    };
    for checked in outcome.expectations.iter().filter(|checked| checked.ok) {
        row("seen", &format!("{}: {}", checked.text, checked.found));
    }
    row("machine", &machine(facts));
    row(
        "guest",
        match outcome.checkpoint {
            Some(_) => "resumed from a checkpoint, then the GPU was plugged in (--cold boots with it)",
            None => "booted",
        },
    );
    row("parameters", &parameters(facts));
    row("probe", &probes(&facts.probe_seconds));
    row("rings", &summary::rings(&facts.rings));
    row("client", &summary::client(&facts.client).unwrap_or_default());
    for (name, value) in outcome.stats.iter().flat_map(summary::counters) {
        row(name, &value);
    }
    let tables = [
        outcome.stats.as_ref().map(summary::updates),
        facts.page_tables.as_ref().map(summary::tables),
    ];
    for table in tables.into_iter().flatten().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(&table);
    }
    text
}

fn machine(facts: &Facts) -> String {
    if facts.qemu.is_empty() {
        return String::new();
    }
    format!("QEMU {} under {}", facts.qemu, facts.accelerator.to_uppercase())
}

fn parameters(facts: &Facts) -> String {
    match (facts.given_parameters.as_slice(), facts.modules_loaded) {
        ([], 0) => "no module was loaded".to_owned(),
        ([], count) => format!(
            "none given: not to any of the {count} modules that were loaded, and not on the kernel's command line"
        ),
        (given, _) => given.join("; "),
    }
}

fn probes(seconds: &[f64]) -> String {
    let times: Vec<_> = seconds.iter().map(|seconds| format!("{seconds:.2} s")).collect();
    match times.len() {
        0 => String::new(),
        1 => format!("{} of the guest's clock", times.join(", ")),
        count => format!("{count} times: {} of the guest's clock", times.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use scenario::outcome::{Checked, Verdict};

    use super::*;

    #[test]
    fn the_verdict_comes_first_with_its_reasons_and_then_what_is_known() {
        let checked = |text: &str, ok| Checked {
            text: text.into(),
            ok,
            found: "1 such event".into(),
        };
        let outcome = Outcome {
            verdict: Verdict::Fail,
            scenario: "steps".into(),
            folder: "runs/1".into(),
            version: "6.1".into(),
            reasons: vec!["the driver came up: no".into()],
            expectations: vec![checked("a", true), checked("b", false)],
            facts: Facts {
                qemu: "10.1".into(),
                accelerator: "tcg".into(),
                given_parameters: vec!["amdgpu: dpm=0".into()],
                probe_seconds: vec![1.0, 2.0],
                ..Facts::default()
            },
            ..Outcome::new()
        };
        let text = full(&outcome);
        assert!(text.starts_with("FAIL        6.1         steps"), "{text}");
        for line in [
            "            the driver came up: no",
            "seen        a: 1 such event",
            "machine     QEMU 10.1 under TCG",
            "guest       booted",
            "parameters  amdgpu: dpm=0",
            "probe       2 times: 1.00 s, 2.00 s of the guest's clock",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("seen        b"));
    }

    #[test]
    fn what_ran_nowhere_has_nothing_to_tell() {
        let text = full(&Outcome::new());
        assert!(text.starts_with("UNKNOWN") && !text.contains("parameters"));
    }
}
