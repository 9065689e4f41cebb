//! Guests with unmodified kernels, through the lab: the driver's whole life, and controls that have to fail.
//!
//! Everything is asserted on the outcome's values. How fast something was is never asserted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use lab::cli::{Cli, Command};
use lab::runner::{self, Request};
use machine::fetch::{Cache, Sources};
use machine::progress::Progress;
use report::text;
use scenario::model::Action;
use scenario::outcome::{Outcome, Verdict};
use serde_json::Value;

/// The default run, and then everything that can happen to a driver on one device process.
const LIFE: &str = "modprobe,client,rebind:3,client,rmmod,modprobe,client,reboot,modprobe,client,poweroff";
/// Probes and clients in it.
const LIFE_PROBES: usize = 6;
const LIFE_CLIENTS: usize = 4;
/// Kinds of packets that write page tables, as the device names them.
const KINDS: [&str; 3] = ["set_pte_pde", "write", "copy"];
/// The client's scattered buffer has so many pages; a few may be neighbours in memory by chance.
const SCATTERED_ENTRIES: u64 = 64 - 8;

/// One guest at a time: each takes two processors and more.
static TURN: Mutex<()> = Mutex::new(());

fn cache() -> Cache {
    Cache::open(None, Sources::default(), Progress::stderr()).unwrap()
}

/// What `amdgpu-lab run` does with these arguments, in a guest that boots with the GPU.
fn request(arguments: &[&str]) -> Request {
    let line = ["amdgpu-lab", "run", "--accel", "tcg", "--cold"]
        .iter()
        .chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(run) => Request {
            scenarios: vec![run.scenario_of_steps().unwrap()],
            kernels: run.kernels().unwrap(),
            controls: run.controls,
            jobs: Some(1),
            attempts: run.attempts,
            options: run.options().unwrap(),
        },
        other => unreachable!("the line says run, not {other:?}"),
    }
}

/// Where the logs of a run stay, beside what cargo builds.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("guest-runs")
        .join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

/// Runs a guest; a run without an outcome is a failure of its own.
fn run(name: &str, mut request: Request) -> Run {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    request.options.folder = Some(folder(name));
    let (_, outcomes) = runner::run(&request, &cache(), &Progress::stderr())
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let [outcome] = <[_; 1]>::try_from(outcomes).unwrap();
    Run { outcome }
}

/// A run that is over.
struct Run {
    outcome: Outcome,
}

impl Run {
    fn assert(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "{what}\n{}\nlogs: {}",
            text::full(&self.outcome),
            self.outcome.folder.display()
        );
    }

    fn assert_equal<T: PartialEq + std::fmt::Debug>(&self, found: T, wanted: T, what: &str) {
        self.assert(found == wanted, &format!("{what}: {found:?}, not {wanted:?}"));
    }

    /// Each reason why it is no pass has these words, and there is one.
    fn assert_reasons(&self, words: &str) {
        let reasons = &self.outcome.reasons;
        self.assert(
            !reasons.is_empty() && reasons.iter().all(|reason| reason.contains(words)),
            &format!("it fails because of {words:?} and nothing else"),
        );
    }

    fn stat(&self, pointer: &str) -> u64 {
        number(self.outcome.stats.as_ref(), &format!("/{pointer}")).unwrap_or_else(|| {
            panic!(
                "no {pointer} in the stats; logs: {}",
                self.outcome.folder.display()
            )
        })
    }

    fn updates(&self, kind: &str, target: &str) -> (u64, u64) {
        let count = |what| self.stat(&format!("page_table_updates/{kind}/{target}/{what}"));
        (count("packets"), count("entries"))
    }

    /// What every run that is to pass has to show.
    fn assert_good(&self, probes: usize, clients: usize) {
        let report = &self.outcome.facts;
        self.assert_equal(&self.outcome.verdict, &Verdict::Pass, "the verdict");
        self.assert(
            report.given_parameters.is_empty() && report.modules_loaded > 0,
            "the driver works without parameters",
        );
        self.assert_equal(report.probe_seconds.len(), probes, "how often the driver came up");
        self.assert_equal(report.client.len(), clients, "how often the client reported");
        for client in &report.client {
            let number = |name| number(Some(client), &format!("/{name}")).unwrap();
            self.assert(number("operations") > 0, "the client did something");
            self.assert(number("bytes_submitted") > 0, "the client copied something");
            self.assert_equal(
                number("bytes_checked"),
                number("bytes_submitted"),
                "bytes compared of those that were copied",
            );
        }
        self.assert_rings();
        for kind in KINDS {
            let (packets, entries) = self.updates(kind, "vram");
            self.assert(packets > 0 && entries >= packets, &format!("{kind} in VRAM"));
            self.assert_equal(
                self.updates(kind, "faulted"),
                (0, 0),
                &format!("{kind} to nowhere"),
            );
        }
        let clients = u64::try_from(clients).unwrap();
        let (_, copied) = self.updates("copy", "vram");
        self.assert(
            copied >= clients * SCATTERED_ENTRIES,
            "the entries of scattered pages were copied",
        );
        self.assert_equal(self.stat("faults"), 0, "faults");
        self.assert_tables();
    }

    fn assert_rings(&self) {
        let rings = &self.outcome.facts.rings;
        let mut wanted: Vec<String> = ["gfx_0.0.0", "sdma0", "sdma1"].map(str::to_owned).into();
        wanted.extend((0..4).flat_map(|pipe| (0..2).map(move |queue| format!("comp_1.{pipe}.{queue}"))));
        for ring in wanted {
            self.assert(rings.contains(&ring), &format!("there is a ring {ring}"));
        }
        let kiqs = rings.iter().filter(|name| name.starts_with("kiq")).count();
        self.assert_equal(kiqs, 1, "kernel interface queues");
    }

    /// The client's mappings are in the tables as the device walks them.
    fn assert_tables(&self) {
        let client = self.outcome.facts.client.last();
        let mapped = number(client, "/bytes_mapped").unwrap();
        let entries = number(client, "/least_entries").unwrap();
        let spaces = self.outcome.facts.page_tables.as_ref();
        let found = spaces
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|space| number(Some(space), "/vmid") != Some(0))
            .any(|space| {
                let number = |name: &str| number(Some(space), &format!("/{name}")).unwrap();
                number("mapped_bytes") >= mapped
                    && number("vram_pages") + number("system_pages") >= entries
                    && number("out_of_memory") == 0
            });
        self.assert(
            found,
            &format!("a VMID maps the client's {mapped} bytes with {entries} entries or more"),
        );
    }

    /// The resets of [`LIFE`]: QEMU resets the function at its own start and with the machine, and a driver that finds
    /// the PSP running from an earlier probe starts with a MODE1 reset (nv.c, `nv_need_reset_on_init`). After a reset of
    /// the function it does not find it running.
    fn assert_resets_of_life(&self) {
        self.assert_equal(self.stat("resets/mode1"), 4, "MODE1 resets");
        self.assert_equal(self.stat("resets/mode2"), 0, "MODE2 resets");
        // A kernel tries more than one way to restart, and each may reach QEMU.
        self.assert(
            self.stat("resets/function") >= 2,
            "the restart resets the function",
        );
    }

    fn assert_resets_of_one_probe(&self) {
        let resets = ["mode1", "mode2", "function"].map(|kind| self.stat(&format!("resets/{kind}")));
        self.assert_equal(resets, [0, 0, 1], "MODE1, MODE2 and function resets");
    }

    /// Shadows of page tables went with 6.12.
    fn assert_no_shadows(&self) {
        for kind in KINDS {
            let found = self.updates(kind, "system");
            self.assert_equal(found, (0, 0), &format!("{kind} in system memory"));
        }
    }
}

fn number(value: Option<&Value>, pointer: &str) -> Option<u64> {
    value?.pointer(pointer)?.as_u64()
}

#[test]
fn trixie_keeps_working_over_unbind_reload_and_restart() {
    let run = run("trixie", request(&["--kernel", "trixie", "--steps", LIFE]));
    run.assert_good(LIFE_PROBES, LIFE_CLIENTS);
    run.assert_resets_of_life();
    run.assert_no_shadows();
}

#[test]
fn bookworm_keeps_working_and_keeps_its_shadows_equal() {
    let run = run("bookworm", request(&["--kernel", "bookworm", "--steps", LIFE]));
    run.assert_good(LIFE_PROBES, LIFE_CLIENTS);
    run.assert_resets_of_life();
    for kind in KINDS {
        let (vram, system) = (run.updates(kind, "vram"), run.updates(kind, "system"));
        run.assert_equal(system, vram, &format!("{kind} in shadows and in tables"));
    }
}

#[test]
fn backports_works() {
    let run = run("trixie-backports", request(&["--kernel", "trixie-backports"]));
    run.assert_good(1, 1);
    run.assert_resets_of_one_probe();
    run.assert_no_shadows();
}

/// Steps that load the driver, do not wait for anything, and expect a probe.
fn load_expecting_a_probe(arguments: &[&str]) -> Request {
    let mut request = request(&[arguments, &["--steps", "load,poweroff"]].concat());
    let steps = request
        .scenarios
        .iter_mut()
        .flat_map(|scenario| &mut scenario.steps);
    for step in steps {
        if let Action::Guest { words, probes } = &mut step.action
            && words == "load"
        {
            *probes = 1;
        }
    }
    request
}

#[test]
fn a_driver_that_never_came_up_fails_the_run() {
    let request = load_expecting_a_probe(&["--kernel", "bookworm", "--no-gpu"]);
    let run = run("control-no-gpu", request);
    run.assert_equal(&run.outcome.verdict, &Verdict::Fail, "the verdict");
    run.assert_reasons("the driver did not come up as often as it should");
    run.assert_equal(run.outcome.facts.probe_seconds.len(), 0, "probes");
}

#[test]
fn an_error_of_the_driver_fails_the_run() {
    const ABSENT: &str = "sienna_cichlid_sdma.bin";
    let firmware = tempfile::tempdir().unwrap();
    let files = firmware.path().join("amdgpu");
    fs::create_dir(&files).unwrap();
    let whole = cache().firmware().unwrap().join("amdgpu");
    for entry in fs::read_dir(&whole).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().starts_with("sienna_cichlid_") && name != ABSENT {
            symlink(whole.join(&name), files.join(&name)).unwrap();
        }
    }
    assert!(
        whole.join(ABSENT).is_file(),
        "{} has no {ABSENT}",
        whole.display()
    );
    let path = firmware.path().display().to_string();
    let request = load_expecting_a_probe(&["--kernel", "bookworm", "--firmware", &path]);
    let run = run("control-firmware", request);
    run.assert_equal(&run.outcome.verdict, &Verdict::Fail, "the verdict");
    let mut reasons = run.outcome.reasons.iter();
    run.assert(
        reasons.any(|reason| reason.contains("*ERROR*") && reason.contains(ABSENT)),
        &format!("the driver's error names {ABSENT}"),
    );
}

#[test]
fn one_wrong_byte_fails_the_run_and_is_named() {
    // The client's fourth operation copies sixteen pages to the start of a buffer; the byte in the middle is spoilt.
    let steps = "modprobe,client:sabotage=4,poweroff";
    let run = run(
        "control-sabotage",
        request(&["--kernel", "bookworm", "--steps", steps]),
    );
    run.assert_equal(&run.outcome.verdict, &Verdict::Fail, "the verdict");
    run.assert_reasons("wrong bytes: 1, the first in the target at buffer offset 0x8000:");
}

/// The device acknowledges the reset and does nothing: the driver and the clients see no difference.
#[test]
fn a_reset_that_did_not_happen_fails_the_run() {
    let steps = |fault: &str| format!("modprobe,{fault}recover,client,poweroff");
    let of = |name: &str, fault: &str| {
        let steps = steps(fault);
        run(name, request(&["--kernel", "trixie", "--steps", &steps]))
    };
    let good = of("recover", "");
    good.assert_equal(&good.outcome.verdict, &Verdict::Pass, "the verdict");
    good.assert_equal(good.stat("resets/mode1"), 1, "MODE1 resets");
    let bad = of(
        "control-recover",
        "control:fault:kind=reset-fail:how=lies:count=1,",
    );
    bad.assert_equal(&bad.outcome.verdict, &Verdict::Fail, "the verdict");
    bad.assert_reasons("reset");
    bad.assert_equal(bad.stat("resets/mode1"), 0, "MODE1 resets");
}

/// The console moves from the serial port to the guest port at each start, and the log shows nothing of that but the guest's word.
#[test]
fn a_console_that_moves_has_every_line_once() {
    let steps = "modprobe,reboot,modprobe,poweroff";
    let run = run("console", request(&["--console", "hvc0", "--steps", steps]));
    run.assert_equal(&run.outcome.verdict, &Verdict::Pass, "the verdict");
    let log = fs::read(run.outcome.folder.join("console.log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    let boots: Vec<_> = log.split("Linux version").skip(1).collect();
    run.assert_equal(boots.len(), 2, "how often the kernel started");
    let mut orders = 0;
    for boot in boots {
        run.assert_equal(boot.matches(r#""ev":"console""#).count(), 1, "the guest's word");
        let lines: Vec<_> = boot.lines().filter(|line| line.starts_with('[')).collect();
        let mut once = lines.clone();
        once.sort_unstable();
        once.dedup();
        run.assert_equal(once.len(), lines.len(), "lines that are there once");
        // Each order has its two markers, one after the other.
        for line in lines.iter().filter(|line| line.contains(r#""ev":"begin""#)) {
            orders += 1;
            run.assert(line.contains(&format!(r#""id":{orders},"#)), line);
        }
    }
    run.assert_equal(orders, 6, "orders that the guest began");
}
