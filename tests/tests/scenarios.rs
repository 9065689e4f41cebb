//! Scenarios in guests with unmodified kernels: those that the others stand on, with their controls, and one that has to fail.
//!
//! All scenarios and all controls on three kernels take longer than a test run should: `.ci/scenarios`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use lab::cli::{Cli, Command};
use lab::runner::{self, Request};
use machine::fetch::{Cache, Sources};
use machine::progress::Progress;
use report::table;
use scenario::catalogue;
use scenario::outcome::{Outcome, Verdict};

/// What is run in `cargo test`: a reset with a loss, who comes back after it and who not yet, a loss that nobody tells of.
const CORE: [&str; 3] = ["mode1-smu", "two-processes", "vram-lost-no-reset"];

/// One kernel at a time: its guests take all processors.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `amdgpu-lab run` with these arguments. Logs stay beside what cargo builds.
fn run(name: &str, arguments: &[&str]) -> Vec<Outcome> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let line = ["amdgpu-lab", "run", "--accel", "tcg"].iter().chain(arguments);
    let Command::Run(arguments) = Cli::try_parse_from(line).unwrap().command else {
        unreachable!("the line says run")
    };
    let mut options = arguments.options().unwrap();
    options.folder = Some(folder(name));
    let request = Request {
        scenarios: catalogue::named(&arguments.scenarios, catalogue::Texts::Present).unwrap(),
        kernels: arguments.kernels().unwrap(),
        controls: arguments.controls,
        jobs: arguments.jobs,
        attempts: arguments.attempts,
        options,
    };
    let cache = Cache::open(None, Sources::default(), Progress::stderr()).unwrap();
    runner::run(&request, &cache, &Progress::stderr()).unwrap().1
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("scenario-runs")
        .join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

/// The core on a kernel.
fn core(kernel: &str) {
    passes(kernel, &CORE, &["--kernel", kernel]);
}

/// Every one of these scenarios and every one of its controls passes, each in a guest of its own.
fn passes(name: &str, scenarios: &[&str], machine: &[&str]) {
    let line = [scenarios, machine, &["--controls"]].concat();
    let outcomes = run(name, &line);
    let shown = table::text(&outcomes, false);
    for outcome in &outcomes {
        assert_eq!(outcome.verdict, Verdict::Pass, "{:?}\n{shown}", outcome.reasons);
        assert!(outcome.checkpoint.is_some(), "{shown}");
    }
    for name in scenarios {
        let of = |control: bool| {
            outcomes
                .iter()
                .filter(|outcome| outcome.scenario == *name && outcome.control.is_some() == control)
                .count()
        };
        assert!(of(false) == 1 && of(true) >= 1, "{name}\n{shown}");
    }
}

#[test]
fn bookworm_recovers_and_its_controls_do_not() {
    core("bookworm");
}

#[test]
fn trixie_recovers_and_its_controls_do_not() {
    core("trixie");
}

#[test]
fn backports_recovers_and_its_controls_do_not() {
    core("trixie-backports");
}

/// Another part, another reset: the usual one of a Navi12 comes from its PSP.
#[test]
fn a_navi12_recovers_and_its_controls_do_not() {
    passes(
        "navi12",
        &["mode1-psp"],
        &["--asic", "navi12", "--kernel", "bookworm"],
    );
}

/// With a root of Debian's: fetched, made an image, read by the guest; Mesa runs in it.
#[test]
fn a_vulkan_device_is_lost_and_its_controls_are_not() {
    passes("vulkan", &["vulkan-mode1"], &["--kernel", "bookworm"]);
}

/// However its guest came to run: booted, from a new checkpoint, or from the one that is then kept.
#[test]
fn an_expectation_that_does_not_hold_fails_the_scenario() {
    let scenario = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = r#"
        title = "one reset, and two are expected"
        resets = true
        step = [{ guest = "recover" }]
        expect = [
            { label = "one", stats = "resets.mode1", equals = 1 },
            { label = "two", stats = "resets.mode1", equals = 2 },
        ]
        control = [{ name = "no reset", skip = 1, fails = ["one"] }]
    "#;
    fs::write(scenario.path(), text).unwrap();
    let path = scenario.path().to_str().unwrap();
    let fails = |name: &str, how: &[&str]| {
        let outcomes = run(name, &[&[path, "--kernel", "bookworm"], how].concat());
        let [outcome] = outcomes.as_slice() else {
            unreachable!(
                "one scenario on one kernel has one outcome, not {}",
                outcomes.len()
            )
        };
        assert_eq!(outcome.verdict, Verdict::Fail, "{:?}", outcome.reasons);
        assert_eq!(
            outcome.reasons,
            ["expected two; found: 1"],
            "and for nothing else"
        );
        outcome.checkpoint.clone()
    };
    assert_eq!(fails("fails-booted", &["--cold"]), None);
    let booted = |checkpoint: Option<PathBuf>| {
        let folder = checkpoint.expect("the guest went on from a checkpoint");
        assert!(folder.join("console.log").exists(), "{}", folder.display());
        folder.join("qemu.log").exists()
    };
    assert!(booted(fails("fails-fresh", &["--fresh"])));
    assert!(!booted(fails("fails-kept", &[])));
}
