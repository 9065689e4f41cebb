//! Outcomes for the tests of this folder.

use std::path::{Path, PathBuf};

use scenario::outcome::{Checked, Outcome, Verdict};

/// When the run began.
pub const BEGAN: u64 = 1_795_379_777_000_000;

/// An outcome without evidence.
pub fn outcome(
    scenario: &str,
    title: &str,
    kernel: &str,
    verdict: Verdict,
    seconds: f64,
    folder: &str,
) -> Outcome {
    Outcome {
        scenario: scenario.to_owned(),
        title: title.to_owned(),
        kernel: kernel.to_owned(),
        version: kernel.to_owned(),
        suite: "suite".to_owned(),
        verdict,
        began_unix_us: BEGAN,
        seconds,
        folder: PathBuf::from(folder),
        ..Outcome::new()
    }
}

/// One of every kind, with everything in it that has to be escaped somewhere.
pub fn outcomes() -> Vec<Outcome> {
    const OLD: &str = "6.1.0-56-amd64";
    const NEW: &str = "6.12.117+deb13-amd64";
    const MODE1: &str = "MODE1, VRAM poisoned";
    let control = |outcome: Outcome| Outcome {
        control: Some("copies that lie".to_owned()),
        ..outcome
    };
    let failed = Outcome {
        reasons: vec![
            "page tables: 3 entries are missing".to_owned(),
            "the driver reported an error: <b>*ERROR*</b> ]]> & \u{1b}[31m \"x\"\nsecond line # SKIP"
                .to_owned(),
        ],
        expectations: vec![Checked {
            text: "oracle missing = 0".to_owned(),
            ok: false,
            found: "3".to_owned(),
        }],
        ..outcome(
            "mode1-poison",
            MODE1,
            NEW,
            Verdict::Fail,
            20.0,
            "/runs/6.12/mode1 poison",
        )
    };
    let bug = Verdict::DriverBug {
        finding: "docs/findings/0001-zero-entry-copy.md".to_owned(),
    };
    let not = Verdict::NotApplicable {
        reason: "no shadow copies since 6.12".to_owned(),
    };
    let unknown = Outcome {
        reasons: vec!["the guest did not start".to_owned()],
        ..outcome(
            "flr",
            "Function level reset",
            NEW,
            Verdict::Unknown,
            0.0,
            "/runs/6.12/flr",
        )
    };
    vec![
        outcome(
            "mode1-poison",
            MODE1,
            OLD,
            Verdict::Pass,
            12.5,
            "/runs/6.1/mode1 poison",
        ),
        control(outcome(
            "mode1-poison",
            MODE1,
            OLD,
            Verdict::Pass,
            9.0,
            "/runs/6.1/control",
        )),
        outcome("flr", "Function level reset", OLD, bug, 3.3, "/runs/6.1/flr"),
        failed,
        control(outcome("mode1-poison", MODE1, NEW, not, 0.0, "")),
        unknown,
    ]
}

/// The same with two scenarios that are for another kind of GPU, one of them with a control.
pub fn with_others() -> Vec<Outcome> {
    let other = |scenario: &str, control: Option<&str>| Outcome {
        control: control.map(str::to_owned),
        elsewhere: Some("for a virtual function: --personality vf".to_owned()),
        ..outcome(
            scenario,
            "A function that is reset",
            "6.1.0-56-amd64",
            Verdict::NotApplicable {
                reason: "it is about a virtual function".to_owned(),
            },
            0.0,
            "",
        )
    };
    let others = [
        other("vf-flr", None),
        other("vf-flr", Some("no reset")),
        other("vf-hang", None),
    ];
    others.into_iter().chain(outcomes()).collect()
}

/// The folder of a boot: a real console, and the events of a device as they are written.
pub fn mode1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mode1")
}

/// The outcome in that folder.
pub fn mode1_outcomes() -> Vec<Outcome> {
    serde_json::from_slice(&std::fs::read(mode1().join("outcome.json")).unwrap()).unwrap()
}
