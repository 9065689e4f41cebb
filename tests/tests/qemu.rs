//! The daemon's own life with real QEMUs, which start no kernel: front ends that come, leave and die, signals, options,
//! sockets, descriptors and memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod processes;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;
use std::time::Duration;

use lab::args::{Form, Request};
use machine::fetch::{Cache, Sources};
use machine::parts::{self, Part};
use machine::process::Supervised;
use machine::progress::Progress;
use machine::qemu::Qemu;
use protocol::asic::Asic;
use protocol::personality::Personality;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const GPU_SOCKET: &str = "gpu.sock";
const CONTROL_SOCKET: &str = "control.sock";
const PORT_SOCKET: &str = "port.sock";
const QMP_SOCKET: &str = "qmp.sock";
/// Longer than anything here takes on a loaded machine; reached only if something hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Navi 21 XT as QEMU's `query-pci` gives it.
const GPU_ID: (u64, u64) = (0x1002, 0x73bf);
/// A virtio console.
const GUEST_PORT_ID: (u64, u64) = (0x1af4, 0x1043);

fn daemon_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| parts::find(Part::Daemon, &Progress::stderr()).unwrap())
}

fn qemu() -> &'static Qemu {
    static QEMU: OnceLock<Qemu> = OnceLock::new();
    QEMU.get_or_init(|| {
        let cache = Cache::open(None, Sources::default(), Progress::stderr()).unwrap();
        Qemu::find(None, &cache).unwrap()
    })
}

fn wait_for<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    processes::wait_for(what, LIMIT, poll)
}

fn send_signal(process: &Supervised, signal: Signal) {
    let id = i32::try_from(process.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// A daemon in a folder of its own.
struct Daemon {
    process: Supervised,
    folder: TempDir,
}

impl Daemon {
    fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let mut command = Self::command(folder.path(), options);
        let log = folder.path().join("daemon.log");
        let mut process = Supervised::start("the daemon", &mut command, &log, false).unwrap();
        wait_for("the daemon's start", || {
            if let Some(status) = process.ended() {
                panic!("the daemon ended ({status}): {}", process.log_tail(5));
            }
            UnixStream::connect(folder.path().join(CONTROL_SOCKET)).ok()
        });
        let daemon = Self { process, folder };
        // It answers when it serves, which is after everything else of its start.
        daemon.stats();
        daemon
    }

    fn command(folder: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(daemon_program());
        command
            .args(["--socket-path", GPU_SOCKET, "--control", CONTROL_SOCKET])
            .args(options)
            .env_remove("RUST_LOG")
            .current_dir(folder);
        command
    }

    /// A daemon that is expected to refuse its options or its sockets.
    fn refused(folder: &Path, options: &[&str]) -> Output {
        Self::command(folder, options).output().unwrap()
    }

    fn stats(&self) -> Value {
        let mut stream = UnixStream::connect(self.folder.path().join(CONTROL_SOCKET)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(b"{\"request\":\"stats\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        // The connection is closed by now; the daemon's end of it goes with the thread that served it.
        wait_for("the end of the control client", || {
            (!self.threads().contains(&"control-client".to_owned())).then_some(())
        });
        serde_json::from_str(&line).unwrap()
    }

    fn threads(&self) -> Vec<String> {
        let folder = format!("/proc/{}/task", self.process.id());
        fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("comm")).ok())
            .map(|name| name.trim().to_owned())
            .collect()
    }

    /// What its open descriptors are, sorted. One that is being closed may be gone already.
    fn descriptors(&self) -> Vec<String> {
        let folder = format!("/proc/{}/fd", self.process.id());
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .map(|target| {
                let name = target.to_string_lossy();
                // Without the inode number: which socket it is does not matter.
                name.split_once(":[").map_or(&*name, |(kind, _)| kind).to_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Resident memory without VRAM and guest memory, which are shared: in KiB.
    fn own_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        field("VmRSS:") - field("RssShmem:")
    }

    fn end(&mut self) -> ExitStatus {
        self.process
            .wait(LIMIT)
            .unwrap_or_else(|| panic!("the daemon does not end: {}", self.process.log_tail(5)))
    }

    fn has_sockets(&self) -> [bool; 2] {
        [GPU_SOCKET, CONTROL_SOCKET].map(|name| self.folder.path().join(name).exists())
    }
}

/// A QEMU with the GPU, ready to be told things. It executes the BIOS if it is not `paused`.
struct Machine {
    process: Supervised,
    qmp: BufReader<UnixStream>,
}

impl Machine {
    fn start(daemon: &Daemon, paused: bool) -> Self {
        let device = json!({
            "driver": "vfio-user-pci",
            "socket": { "type": "unix", "path": GPU_SOCKET },
        });
        let mut command = qemu().command();
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-m", "64M"])
            .args(["-machine", "q35,memory-backend=mem", "-accel", "tcg"])
            .args(["-object", "memory-backend-memfd,id=mem,size=64M,share=on"])
            .args(["-device", &device.to_string()]);
        if paused {
            command.arg("-S");
        }
        Self::begin(daemon, command)
    }

    fn begin(daemon: &Daemon, mut command: Command) -> Self {
        let folder = daemon.folder.path();
        command
            .args(["-qmp", &format!("unix:{QMP_SOCKET},server=on,wait=off")])
            .current_dir(folder);
        // One that was killed leaves its socket.
        let _ = fs::remove_file(folder.join(QMP_SOCKET));
        let mut process = Supervised::start("QEMU", &mut command, &folder.join("qemu.log"), false).unwrap();
        let stream = wait_for("QEMU's start", || {
            if let Some(status) = process.ended() {
                panic!("QEMU ended ({status}): {}", process.log_tail(5));
            }
            UnixStream::connect(folder.join(QMP_SOCKET)).ok()
        });
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut machine = Self {
            process,
            qmp: BufReader::new(stream),
        };
        machine.line();
        // QEMU answers when all of its devices are there.
        machine.execute("qmp_capabilities");
        machine
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.qmp.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("QMP {line:?}: {}", self.process.log_tail(5)))
    }

    fn execute(&mut self, command: &str) -> Value {
        let request = format!("{}\n", json!({ "execute": command }));
        self.qmp.get_mut().write_all(request.as_bytes()).unwrap();
        loop {
            // Events come between.
            if let Some(result) = self.line().get_mut("return") {
                return result.take();
            }
        }
    }

    fn has_gpu(&mut self) -> bool {
        self.pci_ids().contains(&GPU_ID)
    }

    /// Vendor and device of all functions that can be reached: those behind a root port once the BIOS has given numbers to the buses.
    fn pci_ids(&mut self) -> Vec<(u64, u64)> {
        let buses = self.execute("query-pci");
        let mut devices: Vec<_> = buses.as_array().into_iter().flatten().flat_map(devices).collect();
        let mut ids = Vec::new();
        while let Some(device) = devices.pop() {
            let id = |name: &str| device.pointer(&format!("/id/{name}")).and_then(Value::as_u64);
            ids.extend(id("vendor").zip(id("device")));
            devices.extend(device.get("pci_bridge").into_iter().flat_map(self::devices));
        }
        ids
    }

    fn quit(mut self) {
        self.execute("quit");
        let status = self.process.wait(LIMIT).unwrap();
        assert!(status.success(), "QEMU: {status}: {}", self.process.log_tail(5));
    }

    fn kill(mut self) {
        send_signal(&self.process, Signal::KILL);
        let status = self.process.wait(LIMIT).unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }
}

/// The devices of a bus, or behind a bridge.
fn devices(of: &Value) -> impl Iterator<Item = &Value> {
    of.get("devices").and_then(Value::as_array).into_iter().flatten()
}

#[test]
fn front_ends_come_leave_and_die() {
    let daemon = Daemon::start(&[]);
    let mut first = Machine::start(&daemon, false);
    assert!(first.has_gpu());
    first.quit();
    let mut second = Machine::start(&daemon, true);
    assert!(second.has_gpu());
    second.kill();
    let mut third = Machine::start(&daemon, false);
    assert!(third.has_gpu());
    assert_eq!(daemon.stats().pointer("/ok"), Some(&Value::Bool(true)));
    third.quit();
}

#[test]
fn with_once_it_ends_with_its_front_end() {
    for end in [Machine::quit, Machine::kill] {
        let mut daemon = Daemon::start(&["--once"]);
        end(Machine::start(&daemon, true));
        assert_eq!(daemon.end().code(), Some(0));
        assert_eq!(daemon.has_sockets(), [false, false]);
    }
}

#[test]
fn a_signal_ends_it_well_and_its_sockets_go_with_it() {
    for signal in [Signal::TERM, Signal::INT] {
        for connected in [false, true] {
            let mut daemon = Daemon::start(&[]);
            let machine = connected.then(|| Machine::start(&daemon, true));
            send_signal(&daemon.process, signal);
            assert_eq!(daemon.end().code(), Some(0), "{signal:?}, connected: {connected}");
            assert_eq!(
                daemon.has_sockets(),
                [false, false],
                "{signal:?}, connected: {connected}"
            );
            if let Some(machine) = machine {
                machine.kill();
            }
        }
    }
}

#[test]
fn wrong_options_give_status_2_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (options, named) in [
        (["--vram-size", "much"], "--vram-size much"),
        (["--vram-size", "3G"], "power of two"),
        (["--sdma-instances", "9"], "--sdma-instances 9"),
        (["--asic", "vega10"], "navi21"),
        (["--log-level", "loud"], "--log-level"),
        (["--no-such-option", "1"], "--no-such-option"),
    ] {
        let output = Daemon::refused(folder.path(), &options);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {told}");
        assert!(told.contains(named), "{options:?}: {told}");
    }
    let bare = Command::new(daemon_program()).output().unwrap();
    assert_eq!(bare.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bare.stderr).contains("--socket-path"));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[test]
fn a_guest_port_is_served_at_a_socket_that_was_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port.sock");
    let passed = UnixListener::bind(&port).unwrap();
    // Whoever is started from here on has it.
    fcntl_setfd(&passed, FdFlags::empty()).unwrap();
    let number = passed.as_raw_fd().to_string();
    let mut daemon = Daemon::start_in(folder, &["--fd", &number]);
    drop(passed);
    // VHOST_USER_GET_FEATURES; the answer has its number, is marked as one and has eight bytes.
    let mut front_end = UnixStream::connect(&port).unwrap();
    front_end.set_read_timeout(Some(LIMIT)).unwrap();
    front_end
        .write_all(&[1_u32, 1, 0].map(u32::to_le_bytes).concat())
        .unwrap();
    let mut answer = [0; 20];
    front_end.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..12], [1_u32, 5, 8].map(u32::to_le_bytes).concat());
    send_signal(&daemon.process, Signal::TERM);
    assert_eq!(daemon.end().code(), Some(0));
    assert!(port.exists(), "it is somebody else's");
}

#[test]
fn a_descriptor_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = Daemon::refused(folder.path(), &["--fd", "1000"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("descriptor 1000 is not open"), "{told}");
}

#[test]
fn capabilities_are_printed_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let output = Daemon::refused(folder.path(), &["--print-capabilities", "--fd", "1000"]);
    assert_eq!(output.status.code(), Some(0));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told, json!({ "type": "console" }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_that_is_served_is_left_alone() {
    let daemon = Daemon::start(&[]);
    let output = Command::new(daemon_program())
        .args(["--socket-path", GPU_SOCKET])
        .current_dir(daemon.folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(GPU_SOCKET) && told.contains("in use"), "{told}");
    let mut machine = Machine::start(&daemon, true);
    assert!(machine.has_gpu(), "the first daemon still serves");
    machine.quit();
}

#[test]
fn sockets_that_a_dead_daemon_left_are_replaced() {
    let mut dead = Daemon::start(&[]);
    send_signal(&dead.process, Signal::KILL);
    assert_eq!(dead.end().signal(), Some(Signal::KILL.as_raw()));
    assert_eq!(dead.has_sockets(), [true, true]);
    let daemon = Daemon::start_in(dead.folder, &[]);
    let mut machine = Machine::start(&daemon, true);
    assert!(machine.has_gpu());
    machine.quit();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(GPU_SOCKET);
    fs::write(&path, "precious").unwrap();
    let output = Daemon::refused(folder.path(), &[]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(GPU_SOCKET), "{told}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn front_ends_that_die_cost_nothing() {
    const ROUNDS: usize = 20;
    /// The allocator's and the page cache's freedom.
    const MARGIN_KIB: u64 = 2 << 10;
    const MOST_KIB: u64 = 150 << 10;

    let daemon = Daemon::start(&[]);
    let idle = daemon.descriptors();
    let round = || {
        Machine::start(&daemon, true).kill();
        wait_for(&format!("the daemon having only {idle:?} open"), || {
            (daemon.descriptors() == idle).then_some(())
        });
    };
    // What is made once and kept is made by then.
    (0..3).for_each(|_| round());
    let before = daemon.own_memory();
    (0..ROUNDS).for_each(|_| round());
    let after = daemon.own_memory();
    assert_eq!(daemon.descriptors(), idle);
    assert!(
        after <= before + MARGIN_KIB,
        "{before} KiB before {ROUNDS} rounds, {after} KiB after"
    );
    assert!(after < MOST_KIB, "{after} KiB besides shared memory");
    let mut last = Machine::start(&daemon, false);
    assert!(last.has_gpu(), "and it still serves");
    last.quit();
}

/// What `amdgpu-lab args` is asked for by somebody with a machine of 64 MiB.
fn printed(folder: &Path) -> String {
    let request = Request {
        form: Form::Qemu,
        socket: folder.join(GPU_SOCKET),
        guest_port: Some(folder.join(PORT_SOCKET)),
        memory: Some(64),
        domain: None,
        asic: Asic::Navi21,
        personality: Personality::BareMetal,
        vram_size: "1G".to_owned(),
        control: None,
    };
    lab::args::answer(&request).unwrap().text
}

/// A QEMU to which a shell gives printed arguments.
fn pasted(printed: &str) -> Command {
    let qemu = qemu().command();
    let mut command = Command::new("sh");
    let script = format!("exec \"$@\" -nodefaults -no-user-config -display none -accel tcg {printed}");
    command
        .args(["-c", &script, "sh"])
        .arg(qemu.get_program())
        .args(qemu.get_args())
        .envs(qemu.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn printed_arguments_give_a_machine_the_gpu_and_the_guest_port() {
    // Everything that a shell, QEMU's options or JSON could trip over.
    let folder = tempfile::Builder::new()
        .prefix("it's a, \"b\" $c")
        .tempdir()
        .unwrap();
    let daemon = Daemon::start_in(folder, &["--guest-port", PORT_SOCKET]);
    let text = printed(daemon.folder.path());
    let mut machine = Machine::begin(&daemon, pasted(&text));
    wait_for("the BIOS's way through the buses", || {
        machine.has_gpu().then_some(())
    });
    assert!(machine.pci_ids().contains(&GUEST_PORT_ID));
    machine.quit();

    // The same without the line of the GPU.
    let without: String = text
        .lines()
        .filter(|line| !line.contains("vfio-user-pci"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut machine = Machine::begin(&daemon, pasted(&without));
    wait_for("the BIOS's way through the buses", || {
        machine.pci_ids().contains(&GUEST_PORT_ID).then_some(())
    });
    assert!(!machine.has_gpu());
    machine.quit();
}

#[test]
fn printed_arguments_that_lost_their_quotes_are_refused() {
    let daemon = Daemon::start(&["--guest-port", PORT_SOCKET]);
    let text = printed(daemon.folder.path());
    for (broken, told) in [
        (text.replace('\'', ""), "amdgpu-slot"),
        (text.replace(GPU_SOCKET, "other.sock"), "other.sock"),
    ] {
        let output = pasted(&broken).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(told), "{error}");
    }
}
