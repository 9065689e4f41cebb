//! A guest's console through the guest port: one client stays connected while QEMU is killed and started again, and after every start
//! all lines arrive, each once and in order, and what is typed is answered.
//!
//! Three starts by default. A hundred: `cargo test -p tests --test guest_console -- --ignored --nocapture`; another number by
//! `GUEST_CONSOLE_STARTS`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod processes;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use machine::fetch::{Cache, Sources, Suite};
use machine::initramfs::{self, Contents};
use machine::parts::{self, Part};
use machine::process::Supervised;
use machine::progress::Progress;
use machine::qemu::{Accelerator, ConsoleAt, Gpu, Machine, Port, Qemu};
use machine::session::Session;
use protocol::guest::console::{Line, Marker};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PORT_SOCKET: &str = "port.sock";
const CONSOLE_SOCKET: &str = "guest.sock";
const CONTROL_SOCKET: &str = "control.sock";
/// Longer than a guest takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(180);
/// What is typed, and the numbers of the orders in it.
const TYPED: [&str; 2] = ["do 1 read /proc/version\n", "do 2 flood /dev/hvc0 1 lines\n"];
/// Lines of the second order: a mebibyte of them.
const NUMBERED: usize = (1_usize << 20).div_ceil(496);
/// Kernel's lines of a start that cannot be missing.
const LEAST: usize = 20;
/// Memory may move about a little.
const PRIVATE_KIB: u64 = 128;

fn wait_for<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    processes::wait_for(what, LIMIT, poll)
}

/// Lines as they come, for who looks at them.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn after(&self, start: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(start..).unwrap_or_default().to_vec()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn marker(&self, start: usize, wanted: impl Fn(&Marker) -> bool) -> Option<()> {
        let lines = self.after(start);
        let mut markers = lines.iter().rev().filter_map(|line| Line::parse(line).marker());
        markers.any(|marker| wanted(&marker)).then_some(())
    }
}

/// What a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    descriptors: usize,
    threads: usize,
    mappings: usize,
    /// What it has written to. Pages of its program that are as in the file are shared with whoever else runs that, or not.
    private_kib: u64,
}

impl Usage {
    fn of(process: u32) -> Self {
        let folder = format!("/proc/{process}");
        let count = |name: &str| fs::read_dir(format!("{folder}/{name}")).unwrap().count();
        let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap();
        let dirty = |line: &str| {
            let value = line.strip_prefix("Private_Dirty:")?.trim();
            value.trim_end_matches(" kB").parse::<u64>().ok()
        };
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            mappings: read("maps").lines().count(),
            private_kib: read("smaps_rollup").lines().filter_map(dirty).sum(),
        }
    }

    /// What has become more.
    fn grown(self, later: Self) -> Option<String> {
        let more = later.descriptors > self.descriptors
            || later.threads > self.threads
            || later.mappings > self.mappings
            || later.private_kib > self.private_kib + PRIVATE_KIB;
        more.then(|| format!("{self:?} has become {later:?}"))
    }
}

/// The daemon with its one client.
struct Daemon {
    process: Supervised,
    folder: TempDir,
    lines: Lines,
    keyboard: UnixStream,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = parts::find(Part::Daemon, &Progress::stderr()).unwrap();
        let mut command = Command::new(program);
        command
            .args(["--socket-path", "gpu.sock", "--control", CONTROL_SOCKET])
            .args(["--guest-port", PORT_SOCKET, "--guest-console", CONSOLE_SOCKET])
            .env_remove("RUST_LOG")
            .current_dir(folder.path());
        let log = folder.path().join("daemon.log");
        let process = Supervised::start("the daemon", &mut command, &log, false).unwrap();
        let console = folder.path().join(CONSOLE_SOCKET);
        let keyboard = wait_for("the daemon", || UnixStream::connect(&console).ok());
        let lines = Lines::default();
        let (screen, printed) = (keyboard.try_clone().unwrap(), lines.clone());
        thread::spawn(move || {
            let mut screen = BufReader::new(screen);
            let mut line = Vec::new();
            while screen.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line);
                printed.push(text.trim_end_matches(['\r', '\n']).to_owned());
                line.clear();
            }
        });
        Self {
            process,
            folder,
            lines,
            keyboard,
        }
    }

    /// Once nobody is connected to the port any more, and it waits for the next.
    fn usage(&self) -> Usage {
        let threads = format!("/proc/{}/task", self.process.id());
        let count = |name: &str| {
            let all = fs::read_dir(&threads).unwrap().flatten();
            let named = all.filter(|thread| {
                fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
            });
            named.count()
        };
        wait_for("the end of the front end", || {
            let waits = || count("guest-port-vhos") == 0 && count("vring_worker") == 1;
            let before = waits().then(|| Usage::of(self.process.id()))?;
            thread::sleep(Duration::from_millis(100));
            (waits() && Usage::of(self.process.id()) == before).then_some(before)
        })
    }
}

/// The machine, and what it boots.
struct Boot {
    qemu: Qemu,
    machine: Machine,
    folder: TempDir,
}

impl Boot {
    fn prepare(port: &Path) -> Self {
        let cache = Cache::open(None, Sources::default(), Progress::stderr()).unwrap();
        let kernel = cache.kernel(Suite::Trixie).unwrap();
        let init = parts::find(Part::Guest, &Progress::stderr()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("initramfs.cpio");
        let contents = Contents {
            kernel: &kernel,
            replaced: &[],
            modules: &[],
            optional_modules: &["virtio_pci", "virtio_console"],
            firmware: None,
            firmware_prefixes: &[],
            init: &init,
            busybox: None,
            programs: &[],
        };
        initramfs::build(&contents, &target).unwrap();
        let machine = Machine {
            kernel,
            initramfs: target,
            // The last console is where init's orders come from. What the kernel finds out about a TSC it says a second later, while
            // the numbered lines come, and kernel and terminals print on hvc0 in pieces: one in the middle of the other's line.
            append: "console=hvc0 tsc=unstable".to_owned(),
            memory: 512,
            cpus: 2,
            accelerator: Accelerator::Tcg,
            cpu: None,
            gpu: Gpu::None,
            port: Port::Plugged {
                socket: port.display().to_string(),
            },
            console: ConsoleAt::default(),
            extra: Vec::new(),
            root: None,
        };
        Self {
            qemu: Qemu::find(None, &cache).unwrap(),
            machine,
            folder,
        }
    }

    /// One guest's life: it comes up, answers, and is killed.
    fn live(&self, daemon: &mut Daemon) -> Result<(), String> {
        let start = daemon.lines.count();
        let mut session = Session::start(&self.qemu, &self.machine, None, self.folder.path()).unwrap();
        wait_for("the guest's start", || {
            daemon
                .lines
                .marker(start, |marker| matches!(marker, Marker::Ready { .. }))
        });
        for (typed, number) in TYPED.iter().zip(1..) {
            daemon.keyboard.write_all(typed.as_bytes()).unwrap();
            wait_for(typed, || {
                let ended =
                    |marker: &Marker| matches!(marker, Marker::End { id, ok: true, .. } if *id == number);
                daemon.lines.marker(start, ended)
            });
        }
        // The serial port is slower.
        let last = |log: &[Line]| {
            let ended = |line: &Line| matches!(line.marker(), Some(Marker::End { id: 2, .. }));
            log.iter().rev().any(ended)
        };
        let running = Progress::silent().start("the serial port");
        session.wait_ready(LIMIT, &running).unwrap();
        session.watch("the serial port", LIMIT, &running, last).unwrap();
        running.done("");
        let serial = session.log().to_vec();
        for process in session.processes() {
            let id = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
            kill_process(id, Signal::KILL).unwrap();
        }
        drop(session);
        check(&daemon.lines.after(start), &serial)
    }
}

/// The line of that number, as the guest writes it.
fn numbered(number: usize) -> String {
    let text = format!("{number:011} ");
    let repeated = text.repeat(42);
    repeated.get(..495).unwrap_or_default().to_owned()
}

/// Lines that are neither the kernel's nor numbered: what the kernel prints between two pieces of another line.
fn odd(lines: &[Line]) -> Vec<&str> {
    let odd = lines
        .iter()
        .filter(|line| line.time.is_none() && (line.text.len() != 495 || !line.text.starts_with("000")));
    odd.map(|line| line.text.as_str()).take(5).collect()
}

/// The kernel prints between two pieces of what a program writes: its lines are taken out of the numbered ones.
fn untangled(printed: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun: Option<String> = None;
    for line in printed {
        match (begun.take(), line.split_once('[')) {
            (Some(start), _) if !line.starts_with('[') => lines.push(start + line),
            (None, Some((start, kernels))) if start.starts_with("000") => {
                begun = Some(start.to_owned());
                lines.push(format!("[{kernels}"));
            }
            (still, _) => {
                begun = still;
                lines.push(line.clone());
            }
        }
    }
    lines
}

/// Whether everything is there, once and in order: what the serial port has of the kernel's lines, and the numbered ones.
///
/// The kernel throws away what it prints on `hvc0` before it knows the port of its own console (`init_port_console` in
/// drivers/char/virtio_console.c tells hvc first), so that the first lines may be missing.
fn check(printed: &[String], serial: &[Line]) -> Result<(), String> {
    let lines: Vec<_> = untangled(printed).iter().map(|line| Line::parse(line)).collect();
    let of_kernel = |lines: &[Line]| -> Vec<(Option<f64>, String)> {
        let kernels = lines.iter().filter(|line| line.time.is_some());
        kernels.map(|line| (line.time, line.text.clone())).collect()
    };
    let (console, serial) = (of_kernel(&lines), of_kernel(serial));
    // Where the console begins.
    let begin = serial.iter().position(|line| Some(line) == console.first());
    let serial = serial.get(begin.unwrap_or(0)..).unwrap_or_default();
    if console.len() < LEAST {
        return Err(format!("the console has {} lines only", console.len()));
    }
    let longest = console.len().max(serial.len());
    if let Some(at) = (0..longest).find(|at| serial.get(*at) != console.get(*at)) {
        return Err(format!(
            "line {at} is {:?}, and {:?} at the serial port; lines without a time that are no numbers: {:?}",
            console.get(at),
            serial.get(at),
            odd(&lines)
        ));
    }
    let ours: Vec<_> = lines
        .iter()
        .filter(|line| line.time.is_none() && line.text.starts_with("000"))
        .collect();
    if ours.len() != NUMBERED {
        return Err(format!("{} numbered lines instead of {NUMBERED}", ours.len()));
    }
    match ours
        .iter()
        .zip(0..)
        .find(|(line, number)| line.text != numbered(*number))
    {
        Some((line, number)) => Err(format!("line {number} is {:?}", line.text)),
        None => Ok(()),
    }
}

fn survive(starts: usize) {
    let mut daemon = Daemon::start();
    let boot = Boot::prepare(&daemon.folder.path().join(PORT_SOCKET));
    let mut third = None;
    for number in 1..=starts {
        let began = Instant::now();
        if let Err(error) = boot.live(&mut daemon) {
            panic!("start {number}: {error}");
        }
        let usage = daemon.usage();
        if number <= 3 || number == 10 || number % 25 == 0 || number == starts {
            let seconds = began.elapsed().as_secs_f64();
            eprintln!("start {number}, {seconds:.1} s: {usage:?}");
        }
        match third {
            None if number == 3 => third = Some(usage),
            None => {}
            Some(third) if number == starts => assert_eq!(third.grown(usage), None),
            Some(_) => {}
        }
    }
    // The measure measures: three clients of the control socket are seen.
    let before = daemon.usage();
    let control = daemon.folder.path().join(CONTROL_SOCKET);
    let held: Vec<_> = (0..3).map(|_| UnixStream::connect(&control).unwrap()).collect();
    wait_for("what they take", || before.grown(Usage::of(daemon.process.id())));
    drop(held);
}

#[test]
fn a_client_that_stays_sees_every_line_of_three_guests_that_are_killed() {
    survive(3);
}

#[test]
#[ignore = "takes some ten minutes"]
fn a_hundred_guests_that_are_killed_leave_nothing_behind() {
    let starts = std::env::var("GUEST_CONSOLE_STARTS").map_or(100, |count| count.parse().unwrap());
    survive(starts);
}

#[test]
fn a_line_that_is_missing_doubled_or_out_of_order_is_noticed() {
    let mut printed = vec!["[    0.000000] Linux version 6".to_owned()];
    printed.extend((1..200).map(|number| format!("[    0.{number:06}] line {number}")));
    let serial: Vec<_> = printed.iter().map(|line| Line::parse(line)).collect();
    printed.extend((0..NUMBERED).map(numbered));
    assert_eq!(check(&printed, &serial), Ok(()));
    let (before, after) = printed.get(300).unwrap().split_at(100);
    let mut tangled = printed.clone();
    let late = "[    9.000000] late";
    tangled.splice(300..=300, [format!("{before}{late}"), after.to_owned()]);
    let mut later = serial.clone();
    later.push(Line::parse(late));
    assert_eq!(check(&tangled, &later), Ok(()));
    check(&tangled, &serial).unwrap_err();
    for at in [1, 57, 199, 201, 1000, printed.len() - 1] {
        let mut missing = printed.clone();
        missing.remove(at);
        check(&missing, &serial).unwrap_err();
        let mut doubled = printed.clone();
        doubled.insert(at, printed.get(at).unwrap().clone());
        check(&doubled, &serial).unwrap_err();
        let mut cut = printed.clone();
        cut.get_mut(at).unwrap().pop();
        check(&cut, &serial).unwrap_err();
        if at > 0 {
            let mut swapped = printed.clone();
            swapped.swap(at - 1, at);
            check(&swapped, &serial).unwrap_err();
        }
    }
}
