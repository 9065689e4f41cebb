//! One run: everything found, the guest started, its steps done, the evidence judged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use machine::accel;
use machine::checkpoint::{Checkpoint, Wanted};
use machine::cores::Cores;
use machine::daemon::{self, Daemon};
use machine::fetch::{Cache, Suite};
use machine::initramfs;
use machine::kbuild::{Change, Config, Source};
use machine::kernel::Kernel;
use machine::parts::{self, Part};
use machine::progress::Progress;
use machine::qemu::{Accelerator, ConsoleAt, Gpu, Machine, Port, Qemu};
use machine::session::{Reply, Session, SessionError, Start};
use protocol::asic::Asic;
use protocol::guest::console::Note;
use protocol::guest::root::GuestRoot;
use protocol::personality::Personality;
use report::date::stamp;
use report::summary;
use report::{Report, StepReport};
use scenario::asic;
use scenario::driver::Driver;
use scenario::kernels::Version;
use scenario::outcome::Overall;
use scenario::steps::Step;
use scenario::verdict::{self, Expectations};
use serde_json::{Map, Value};

use crate::rooted::{self, Rooted};
use crate::subject;

/// Modules in every initramfs: the driver.
const MODULES: [&str; 1] = ["amdgpu"];
/// Those of the guest's side of the guest port.
const PORT_MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
/// Name of the folder with the logs of the boot up to a checkpoint.
const CHECKPOINT: &str = "checkpoint";
const INITRAMFS: &str = "initramfs.cpio";
/// The name in the run folder of a kernel that was built.
const IMAGE: &str = "vmlinuz";

/// Where the kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelChoice {
    /// A distribution's.
    Suite(Suite),
    /// One that the lab builds for guests.
    Built {
        /// How it is configured.
        config: Config,
        /// What it is built from.
        source: Source,
    },
    /// The user's own.
    Files {
        /// The bzImage.
        image: PathBuf,
        /// Its modules.
        modules: PathBuf,
    },
}

impl KernelChoice {
    /// How many processors a guest has if nothing says otherwise. One is faster; the kernel's checks are there to see two that race.
    pub const fn processors(&self) -> u32 {
        match self {
            Self::Built {
                config: Config::Lockdep | Config::Kasan,
                ..
            } => 2,
            Self::Suite(_) | Self::Built { .. } | Self::Files { .. } => 1,
        }
    }

    /// The suite, the configuration and the source, or the path of the image.
    pub fn name(&self) -> String {
        match self {
            Self::Suite(suite) => suite.name().to_owned(),
            Self::Built { config, source } => format!("{config}:{source}"),
            Self::Files { image, .. } => image.display().to_string(),
        }
    }
}

/// How a guest comes to the point where its driver meets the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It goes on from a checkpoint where it can, and the GPU is plugged in.
    Checkpoint {
        /// Whether that is made new, even if the cache keeps one.
        fresh: bool,
    },
    /// It boots with the GPU.
    Boot,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kernel.
    pub kernel: KernelChoice,
    /// What the user changed in its driver.
    pub change: Change,
    /// Modules of the user's that take the place of the kernel's.
    pub modules: Vec<PathBuf>,
    /// The accelerator; none to find out.
    pub accelerator: Option<Accelerator>,
    /// The guest's processor, as QEMU's `-cpu` takes it; none for that of the accelerator.
    pub cpu: Option<String>,
    /// Guest memory in MiB.
    pub memory: u32,
    /// Virtual processors; none for what goes with the kernel.
    pub cpus: Option<u32>,
    /// Which part the GPU is.
    pub asic: Asic,
    /// What the GPU is to the driver.
    pub personality: Personality,
    /// Size of the device's memory, as the device process takes it.
    pub vram_size: String,
    /// Whether a guest with one processor stays on one of the host's, with its device.
    pub pinned: bool,
    /// How guests come to run.
    pub begin: Begin,
    /// Limit of every step.
    pub timeout: Duration,
    /// Added to the kernel's command line.
    pub append: String,
    /// Run folder; none for a new one under `runs/`.
    pub folder: Option<PathBuf>,
    /// A device program; none for the lab's own.
    pub daemon: Option<PathBuf>,
    /// More arguments for it.
    pub daemon_arguments: Vec<String>,
    /// An init program; none for the lab's own.
    pub guest: Option<PathBuf>,
    /// The program that holds a Vulkan device; none for the lab's own.
    pub guest_vulkan: Option<PathBuf>,
    /// The root that every guest has.
    pub root: Option<GuestRoot>,
    /// The root that some guests have: those of scenarios that ask for it.
    pub some_root: Option<GuestRoot>,
    /// A QEMU; none to find one.
    pub qemu: Option<PathBuf>,
    /// More arguments for it.
    pub qemu_arguments: Vec<String>,
    /// A folder with firmware; none to fetch it.
    pub firmware: Option<PathBuf>,
    /// Whether the machine gets the GPU.
    pub gpu: bool,
    /// Put a shell into the initramfs.
    pub busybox: bool,
    /// Put the drivers of the guest port into it, and a shell for its scripts.
    pub guest_port: bool,
    /// Where the guest's console is once it is up. At the guest port the machine gets one.
    pub console: ConsoleAt,
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether hangs and resets are expected: something does that to the GPU on purpose.
    pub resets: bool,
    /// Lines of the log with one of these parts are not judged.
    pub tolerated: Vec<String>,
}

impl Options {
    /// Whether the driver is one that the user is working on.
    pub const fn is_of_user(&self) -> bool {
        !self.change.is_none()
            || !self.modules.is_empty()
            || matches!(self.kernel, KernelChoice::Built { .. })
    }

    /// The parameters of the module, if a guest can go on from where it is loaded: with a GPU, and with loading it as the first step.
    fn module(&self) -> Option<&str> {
        let parameters = match self.steps.first()? {
            Step::Guest { words, .. } if words == "modprobe" => "",
            Step::Guest { words, .. } => words.strip_prefix("modprobe amdgpu")?.trim_start(),
            _ => return None,
        };
        let can =
            self.gpu && !self.is_of_user() && self.begin != Begin::Boot && self.console == ConsoleAt::Serial;
        can.then_some(parameters)
    }
}

/// Everything that is needed for one or more starts of a guest.
#[derive(Debug)]
pub struct Prepared {
    /// The run folder.
    pub folder: PathBuf,
    /// The QEMU.
    pub qemu: Qemu,
    /// The machine.
    pub machine: Machine,
    /// The device program; none for a machine without the GPU.
    pub daemon: Option<PathBuf>,
    /// Arguments for it, those of the user and those of the lab.
    pub daemon_arguments: Vec<String>,
    /// Size of the device's memory.
    pub vram_size: String,
    /// Whether a guest that takes turns with its device stays on one of the host's processors with it.
    pub pinned: bool,
    /// The host's processors.
    pub cores: Cores,
    /// The cache, where checkpoints are.
    pub cache: PathBuf,
    /// Whose driver it is.
    pub driver: Driver,
    /// For guests with a root.
    pub rooted: Rooted,
}

/// Finds, fetches and builds everything, and makes the run folder.
pub fn prepare(options: &Options, cache: &Cache, progress: &Progress) -> Result<Prepared> {
    let subject = subject::find(options, cache, progress)?;
    let kernel = Kernel {
        image: absolute(&subject.kernel.image)?,
        ..subject.kernel.clone()
    };
    let qemu = Qemu::find(options.qemu.as_deref(), cache)?;
    let firmware = match &options.firmware {
        Some(folder) => folder.clone(),
        None => cache.firmware()?,
    };
    let init = match &options.guest {
        Some(path) => path.clone(),
        None => parts::find(Part::Guest, progress)?,
    };
    let daemon = match (&options.daemon, options.gpu) {
        (_, false) => None,
        (Some(path), true) => Some(absolute(path)?),
        (None, true) => Some(parts::find(Part::Daemon, progress)?),
    };
    let busybox = if options.busybox || options.guest_port {
        Some(cache.busybox()?)
    } else {
        None
    };
    let mut daemon_arguments = options.asic.daemon_arguments();
    daemon_arguments.extend(options.personality.daemon_arguments());
    daemon_arguments.extend_from_slice(&options.daemon_arguments);
    if daemon.as_deref().is_some_and(daemon::writes_events) {
        daemon_arguments.extend(["--event-log", protocol::event::LOG].map(str::to_owned));
    }
    let wanted = rooted::wanted(options, cache, progress)?;
    let folder = run_folder(options.folder.as_deref(), &kernel.release)?;
    let kernel = match options.kernel {
        // The next build writes to the place where this one's image is.
        KernelChoice::Built { .. } => {
            let image = folder.join(IMAGE);
            fs::copy(&kernel.image, &image)
                .with_context(|| format!("copying the kernel to {}", image.display()))?;
            Kernel { image, ..kernel }
        }
        KernelChoice::Suite(_) | KernelChoice::Files { .. } => kernel,
    };

    let mut optional_modules = Vec::new();
    if options.guest_port || options.console == ConsoleAt::Hvc0 {
        optional_modules.extend(PORT_MODULES);
    }
    let contents = initramfs::Contents {
        kernel: &kernel,
        replaced: &subject.modules,
        modules: &MODULES,
        optional_modules: &optional_modules,
        firmware: Some(&firmware),
        firmware_prefixes: &[options.asic.firmware_prefix()],
        init: &init,
        busybox: busybox.as_deref(),
        programs: &[],
    };
    let initramfs = folder.join(INITRAMFS);
    if options.root.is_none() {
        initramfs::build_shown(&contents, &initramfs, "building the initramfs", progress)?;
    }
    let rooted = rooted::prepare(wanted, &contents, &folder, progress)?;
    drop(subject.held);
    let (root, initramfs) = match &rooted {
        Rooted::There { disk, initramfs } if options.root.is_some() => {
            (Some(disk.clone()), initramfs.clone())
        }
        _ => (None, initramfs),
    };
    let mut machine = Machine {
        kernel,
        initramfs,
        append: options.append.clone(),
        memory: options.memory,
        cpus: options.cpus.unwrap_or_else(|| options.kernel.processors()),
        accelerator: Accelerator::Tcg,
        cpu: options.cpu.clone(),
        gpu: match &daemon {
            Some(_) => Gpu::Plugged {
                socket: daemon::GPU_SOCKET.to_owned(),
            },
            None => Gpu::None,
        },
        port: Port::None,
        console: options.console,
        root,
        extra: options.qemu_arguments.clone(),
    };
    machine.accelerator = match options.accelerator {
        Some(accelerator) => accelerator,
        None => accel::choose(
            &qemu,
            &machine,
            cache.folder(),
            &folder.join("kvm-trial"),
            progress,
        ),
    };
    Ok(Prepared {
        folder,
        qemu,
        machine,
        daemon,
        daemon_arguments,
        vram_size: options.vram_size.clone(),
        pinned: options.pinned,
        cores: Cores::of(cache.folder()),
        cache: cache.folder().to_owned(),
        driver: subject.driver,
        rooted,
    })
}

impl Prepared {
    /// Starts the device process, and a guest that goes on from a checkpoint or boots.
    pub fn start(&self, checkpoint: Option<&Checkpoint>) -> Result<Session> {
        if let Some(checkpoint) = checkpoint
            && let Some(daemon) = self.start_daemon(&self.folder, self.machine.cpus, &self.vram_size, &[])?
        {
            return Ok(checkpoint.resume(&self.qemu, daemon, &self.folder)?);
        }
        let mut machine = self.machine.clone();
        let mut arguments: &[&str] = &[];
        if machine.console == ConsoleAt::Hvc0 && self.daemon.is_some() {
            machine.port = Port::Plugged {
                socket: daemon::PORT_SOCKET.to_owned(),
            };
            arguments = &daemon::PORT_ARGUMENTS;
        }
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        self.start_in(&self.folder, &machine, &self.vram_size, &arguments)
    }

    /// The same for another machine with this kernel, with the logs in a folder of its own.
    pub fn start_in(
        &self,
        folder: &Path,
        machine: &Machine,
        vram_size: &str,
        more_daemon_arguments: &[String],
    ) -> Result<Session> {
        let daemon = self.start_daemon(folder, machine.cpus, vram_size, more_daemon_arguments)?;
        Ok(Session::start(&self.qemu, machine, daemon, folder)?)
    }

    /// Starts the device process for a machine with so many processors, if it has the GPU.
    pub fn start_daemon(
        &self,
        folder: &Path,
        cpus: u32,
        vram_size: &str,
        more_arguments: &[String],
    ) -> Result<Option<Daemon>> {
        let arguments = [&self.daemon_arguments, more_arguments].concat();
        let Some(program) = &self.daemon else {
            return Ok(None);
        };
        // Several processors need several of the host's.
        let claim = if cpus == 1 && self.pinned {
            self.cores.claim()
        } else {
            None
        };
        let daemon = Daemon::start(program, folder, vram_size, &arguments, claim)?;
        Ok(Some(daemon))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Tens of megabytes that can be built again; the logs are what a run leaves.
        let _ = fs::remove_file(&self.machine.initramfs);
        let _ = fs::remove_file(self.folder.join(IMAGE));
        if let Rooted::There { initramfs, .. } = &self.rooted {
            let _ = fs::remove_file(initramfs);
        }
    }
}

/// Does the whole run. An error means that it could not be brought to a verdict of any kind.
pub fn run(options: &Options, cache: &Cache, progress: &Progress) -> Result<(PathBuf, Report)> {
    let started = Instant::now();
    let prepared = prepare(options, cache, progress)?;
    let mut report = Report {
        kernel: prepared.machine.kernel.release.clone(),
        driver: prepared.driver.clone(),
        qemu: prepared.qemu.version.clone(),
        accelerator: Some(prepared.machine.accelerator.name().to_owned()),
        command_line: prepared.machine.kernel_command_line(),
        ..Report::new()
    };
    let checkpoint = options.module().map(|module| {
        Checkpoint::get(
            &prepared.qemu,
            Wanted {
                machine: &prepared.machine,
                vram_size: &prepared.vram_size,
                module: Some(module),
                objection: verdict::objection,
            },
            &prepared.cache,
            options.begin == Begin::Checkpoint { fresh: true },
            &prepared.folder.join(CHECKPOINT),
            options.timeout,
            progress,
        )
    });
    let checkpoint = checkpoint.and_then(|taken| match taken {
        Ok(checkpoint) => Some(checkpoint),
        Err(not) => {
            let why = chain(&not.error);
            progress.note(&format!("no checkpoint: {why}; the guest boots with the GPU"));
            None
        }
    });
    let mut session = prepared.start(checkpoint.as_ref())?;
    let start = match &checkpoint {
        Some(checkpoint) => {
            report.checkpoint = Some(checkpoint.folder().to_owned());
            Start::Resumed
        }
        None => Start::Cold,
    };
    let reached_init = follow(&mut session, start, options, &mut report, progress);
    conclude(&mut report, &session, options, reached_init);
    drop(session);
    report.seconds = started.elapsed().as_secs_f64();
    report.write(&prepared.folder).context("writing the report")?;
    Ok((prepared.folder.clone(), report))
}

/// Waits for the guest and does the steps; tells whether init was ever reached.
fn follow(
    session: &mut Session,
    start: Start,
    options: &Options,
    report: &mut Report,
    progress: &Progress,
) -> bool {
    let mut reached_init = false;
    let title = match start {
        Start::Cold => "boot",
        Start::Resumed => "checkpoint, GPU plugged in",
    };
    let running = progress.start(title);
    let mut step = StepReport {
        step: title.to_owned(),
        seconds: 0.0,
        failure: None,
    };
    let failure = session.arrive(start, options.timeout, &running);
    step.seconds = running.elapsed().as_secs_f64();
    step.failure = failure.unwrap_or_else(|error| Some(chain(&error)));
    end(
        running,
        step.failure.as_deref(),
        &format!("Linux {}", report.kernel),
    );
    let mut failed = step.failure.is_some();
    reached_init |= !failed;
    report.steps.push(step);

    for wanted in &options.steps {
        if failed {
            break;
        }
        // A run without a hold was not asked yet, and the end of the machine resets the device.
        if *wanted == Step::PowerOff
            && report.stats.is_none()
            && let Err(error) = ask_device(session, report)
        {
            report.reasons.push(error);
        }
        let running = progress.start(&wanted.title());
        let notes = session.notes().len();
        let failure = match perform(session, wanted, options.timeout, report, &running) {
            Ok(failure) => failure,
            Err(error) => Some(error.to_string()),
        };
        report.steps.push(StepReport {
            step: wanted.title(),
            seconds: running.elapsed().as_secs_f64(),
            failure: failure.clone(),
        });
        let done = detail(session.notes().get(notes..).unwrap_or_default());
        end(running, failure.as_deref(), &done);
        failed = failure.is_some();
    }
    // A failure is best understood by what the device says just after it.
    if (failed || report.stats.is_none())
        && let Err(error) = ask_device(session, report)
    {
        report.reasons.push(error);
    }
    if options.busybox && reached_init && !machine::interrupt::requested() {
        progress.note("the guest's shell: \"exit\" or Ctrl-] ends the run");
        if let Err(error) = session.shell() {
            report.reasons.push(chain(&error));
        }
    }
    reached_init
}

fn end(running: machine::progress::Running, failure: Option<&str>, detail: &str) {
    match failure {
        None => running.done(detail),
        Some(_) => running.failed(),
    }
}

/// What a step achieved, from what the guest reported in it.
fn detail(notes: &[Note]) -> String {
    let about = |about: &str| {
        notes
            .iter()
            .rfind(|note| note.about == about)
            .map(|note| &note.facts)
    };
    if let Some(facts) = about("client") {
        return summary::client(&[Value::Object(facts.clone())]).unwrap_or_default();
    }
    if let Some(facts) = about("register-latency") {
        return summary::latency(facts);
    }
    if let Some(facts) = about("memory-speed") {
        return summary::memory(facts);
    }
    about("rings")
        .map(|facts| format!("rings: {}", summary::rings(&ring_names(facts))))
        .unwrap_or_default()
}

fn ring_names(facts: &Map<String, Value>) -> Vec<String> {
    let names = facts.get("names").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Does one step; gives the reason if it failed, an error if the guest cannot go on.
fn perform(
    session: &mut Session,
    step: &Step,
    limit: Duration,
    report: &mut Report,
    running: &machine::progress::Running,
) -> Result<Option<String>, SessionError> {
    match step {
        Step::Guest { words, .. } => {
            let mut reply = session.order(words, limit, running)?;
            loop {
                match reply {
                    Reply::Ended { failure } => return Ok(failure),
                    Reply::Held { .. } => {
                        if let Err(error) = ask_device(session, report) {
                            report.reasons.push(error);
                        }
                        reply = session.resume(limit, running)?;
                    }
                }
            }
        }
        Step::Reboot => {
            session.order("reboot", limit, running)?;
            session.wait_ready(limit, running)?;
            Ok(None)
        }
        Step::PowerOff => {
            session.order("poweroff", limit, running)?;
            session.wait_end(limit, running)?;
            Ok(None)
        }
        Step::Control { request } => match session.daemon() {
            None => Ok(Some("there is no device process to ask".to_owned())),
            Some(daemon) => Ok(daemon.ask(request).err().map(|error| chain(&error))),
        },
    }
}

/// The device's own view, while the guest holds still.
fn ask_device(session: &Session, report: &mut Report) -> Result<(), String> {
    let Some(daemon) = session.daemon() else {
        return Ok(());
    };
    report.stats = Some(daemon.ask("stats").map_err(|error| chain(&error))?);
    report.page_tables = Some(daemon.ask("page-tables").map_err(|error| chain(&error))?);
    Ok(())
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Fills in what the log and the notes say, and judges.
fn conclude(report: &mut Report, session: &Session, options: &Options, reached_init: bool) {
    let facts_about = |about: &str| session.notes_about(about).cloned().collect::<Vec<_>>();
    report.probe_seconds = verdict::probe_times(session.log());
    report.rings = facts_about("rings").last().map(ring_names).unwrap_or_default();
    let modules = facts_about("module");
    report.modules_loaded = modules.len();
    report.driver = std::mem::take(&mut report.driver).loaded(&modules);
    report.given_parameters = given_parameters(&modules, &report.command_line);
    report.client = facts_about("client").into_iter().map(Value::Object).collect();

    // The first entry is the boot; a step that failed need not have come to its probe.
    let done = report
        .steps
        .iter()
        .skip(1)
        .filter(|step| step.failure.is_none())
        .count();
    let probes = options.steps.iter().take(done).map(Step::probes).sum();
    let expected = Expectations {
        probes,
        resets: options.resets || options.steps.iter().any(Step::resets),
        tolerated: options.tolerated.clone(),
        tolerated_in_probe: asic::tolerated_in_probe(options.asic, &Version::leading(&report.kernel)),
    };
    report.findings = verdict::judge(session.log(), &expected);
    let failures = report.steps.iter().filter_map(|step| {
        let failure = step.failure.as_ref()?;
        Some(if machine::interrupt::requested() {
            format!("{failure} in step {:?}", step.step)
        } else {
            format!("step {:?} failed: {failure}", step.step)
        })
    });
    let mut reasons: Vec<_> = failures.collect();
    reasons.extend(verdict::reasons(&report.findings));
    report.reasons.extend(reasons);
    report.verdict = match (reached_init, report.reasons.is_empty()) {
        (false, _) => Overall::Unknown,
        (true, true) => Overall::Pass,
        (true, false) => Overall::Fail,
    };
    if machine::interrupt::requested() {
        report.verdict = Overall::Unknown;
    }
}

/// The parameters that modules got: when they were loaded, or before on the kernel's command line.
fn given_parameters(modules: &[Map<String, Value>], command_line: &str) -> Vec<String> {
    let text = |facts: &Map<_, Value>, name| {
        facts
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut given: Vec<_> = modules
        .iter()
        .map(|facts| (text(facts, "name"), text(facts, "parameters")))
        .filter(|(_, parameters)| !parameters.is_empty())
        .map(|(name, parameters)| format!("{name}: {parameters}"))
        .collect();
    given.extend(command_line.split_whitespace().filter_map(|word| {
        let (module, _) = word.split_once('.')?;
        let module = module.replace('-', "_");
        modules
            .iter()
            .any(|facts| text(facts, "name") == module)
            .then(|| format!("{word} (on the kernel's command line)"))
    }));
    given
}

/// Makes the run folder, and points `latest` beside it at it.
pub(crate) fn run_folder(given: Option<&Path>, release: &str) -> Result<PathBuf> {
    if let Some(folder) = given {
        fs::create_dir_all(folder).with_context(|| format!("making the run folder {}", folder.display()))?;
        return absolute(folder);
    }
    let runs = Path::new("runs");
    fs::create_dir_all(runs).context("making the folder runs/ in the current directory")?;
    let base = format!("{}-{release}", stamp(SystemTime::now()));
    for attempt in 1..=100 {
        let name = if attempt == 1 {
            base.clone()
        } else {
            format!("{base}-{attempt}")
        };
        match fs::create_dir(runs.join(&name)) {
            Ok(()) => {
                let latest = runs.join("latest");
                let _ = fs::remove_file(&latest);
                // Only a convenience: parallel runs race for it, and one of them wins.
                let _ = symlink(&name, &latest);
                return absolute(&runs.join(name));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making the run folder runs/{name}")),
        }
    }
    anyhow::bail!("runs/ already has a hundred runs of this second")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("looking for {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn parameters_are_found_wherever_they_come_from() {
        let module = |name: &str, parameters: &str| {
            let value = serde_json::json!({ "name": name, "parameters": parameters });
            value.as_object().cloned().unwrap()
        };
        let modules = [module("gpu_sched", ""), module("amdgpu", "dpm=0")];
        assert_eq!(
            given_parameters(&modules, "quiet printk.devkmsg=on gpu-sched.sched_policy=1"),
            [
                "amdgpu: dpm=0",
                "gpu-sched.sched_policy=1 (on the kernel's command line)"
            ]
        );
        assert!(given_parameters(&modules[..1], "console=ttyS0 printk.devkmsg=on").is_empty());
    }

    #[test]
    fn a_run_that_begins_with_the_driver_goes_on_from_where_its_module_is_loaded() {
        let module = |arguments: &[&str]| {
            let line = ["amdgpu-lab", "run"].iter().chain(arguments);
            let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!("the line says run")
            };
            run.options().unwrap().module().map(str::to_owned)
        };
        assert_eq!(module(&[]).as_deref(), Some(""));
        let parameters = module(&["--steps", "modprobe:amdgpu:dpm=0:msi=1,client"]);
        assert_eq!(parameters.as_deref(), Some("dpm=0 msi=1"));
        for boots in [
            &["--cold"] as &[&str],
            &["--no-gpu"],
            &["--console", "hvc0"],
            &["--steps", "load,bind"],
            &["--steps", "modprobe:drm"],
        ] {
            assert_eq!(module(boots), None, "{boots:?}");
        }
    }
}
