//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use machine::fetch::{Sources, Suite};
use machine::kbuild::{self, Change, Config, Source};
use machine::qemu::{Accelerator, ConsoleAt};
use protocol::asic::Asic;
use protocol::guest::root::GuestRoot;
use protocol::personality::Personality;
use scenario::diagnostic::Rejected;
use scenario::model::Scenario;
use scenario::parse::parse;
use scenario::plan::Controls;
use scenario::steps::{self, Setting};

use crate::args::{Form, Request};
use crate::options::{Begin, KernelChoice, Options};

/// What a run does if it is not told.
const STEPS: &str = "modprobe,client,poweroff";
/// The same on a machine without the GPU, where the driver finds nothing to probe.
const STEPS_WITHOUT_GPU: &str = "load,poweroff";

/// Boots guests with the unmodified amdgpu driver on the emulated GPU and tells whether it works.
///
/// Exit status: 0 pass, 1 fail, 125 when it cannot tell, so that `git bisect run` understands it.
#[derive(Debug, Parser)]
#[command(name = "amdgpu-lab", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Folder for what is fetched [default: $XDG_CACHE_HOME/amdgpu-lab]
    #[arg(long, global = true, value_name = "DIR", env = "AMDGPU_LAB_CACHE")]
    pub cache: Option<PathBuf>,
    /// How to fetch.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// How to reach a Debian mirror.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Debian mirror to fetch from [default: that of the system's apt]
    #[arg(long, global = true, value_name = "URL")]
    pub mirror: Option<String>,
    /// Debian security mirror [default: that of the system's apt, or the mirror's address with "-security"]
    #[arg(long, global = true, value_name = "URL")]
    pub security_mirror: Option<String>,
    /// Keys that sign the mirror [default: those of the package debian-archive-keyring]
    #[arg(long, global = true, value_name = "PATH")]
    pub keyring: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch QEMU (if the system's is too old), kernels, firmware and a shell, without root and without touching the system
    Fetch(FetchArgs),
    /// Show the scenarios
    List(ListArgs),
    /// Build a small kernel for guests, and say where it is; `run --kernel lean:trixie` builds one as well
    Kernel(KernelArgs),
    /// Boot guests, take them through scenarios or steps, and report
    Run(Box<RunArgs>),
    /// Run scenarios each time that a source is saved: with --driver-src, --patch, or --kernel lean:DIR
    Watch(Box<RunArgs>),
    /// Find the commit that broke a scenario, in a kernel tree with git: builds and runs each candidate
    Bisect(BisectArgs),
    /// Show that findings are what their pages say: the bug on the distribution's driver, and a pass with the patch beside the page
    Findings(FindingsArgs),
    /// Put defects into the driver, one at a time, and show that scenarios notice each
    Mutants(MutantsArgs),
    /// Write the reports of a run anew: pages, tables, JUnit XML, KTAP
    Report(ReportArgs),
    /// Print what gives a machine of your own the GPU: QEMU's arguments, XML for libvirt, or a virtme-ng command line
    ///
    /// What is to be pasted goes to standard output, quoted for a shell; the command line of the device process, which has to run first,
    /// goes to standard error.
    Args(AttachArgs),
}

/// What to show.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only scenarios with this tag; may be repeated
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub tag: Vec<String>,
    /// Instead of the table, everything about these scenarios
    #[arg(value_name = "NAME|FILE")]
    pub names: Vec<String>,
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Kernels to fetch
    #[arg(long, value_name = "SUITE", value_delimiter = ',', default_values_t = Suite::ALL)]
    pub kernel: Vec<Suite>,
    /// A root for guests to fetch as well
    #[arg(long, value_enum, value_name = "ROOT")]
    pub root: Option<GuestRoot>,
    /// Ask the mirror for newer versions
    #[arg(long)]
    pub refresh: bool,
}

/// What kernel to build.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// What it is built from: bookworm (6.1), trixie (6.12), trixie-backports, or the folder of a source tree, which is never written to
    #[arg(long, value_name = "SUITE|DIR", default_value = "trixie")]
    pub source: String,
    /// What it is configured for
    #[arg(long, value_enum, default_value_t = Config::Lean)]
    pub config: Config,
    /// A patch to apply: a file, a folder of patches, or a mailbox as b4 am leaves it; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub patch: Vec<PathBuf>,
}

/// What to look for.
#[derive(Debug, Args)]
pub struct BisectArgs {
    /// The tree. It stays as it is: commits are checked out in a worktree in the cache
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub tree: PathBuf,
    /// A commit at which the scenario passes
    #[arg(long, value_name = "COMMIT")]
    pub good: String,
    /// A commit at which it fails
    #[arg(long, value_name = "COMMIT")]
    pub bad: String,
    /// How kernels are configured
    #[arg(long, value_enum, default_value_t = Config::Lean)]
    pub config: Config,
    /// The scenario, and options of `run`
    #[arg(
        value_name = "NAME|FILE|OPTION",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        default_value = "mode1-smu"
    )]
    pub arguments: Vec<OsString>,
}

/// Which findings to show.
#[derive(Debug, Args)]
pub struct FindingsArgs {
    /// Their numbers [default: all that have a patch in docs/findings]
    #[arg(value_name = "N")]
    pub numbers: Vec<u32>,
    /// Options of `run`
    #[arg(last = true, value_name = "OPTION", allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// Which mutants to run.
#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// Their names [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Show them instead of running them
    #[arg(long)]
    pub list: bool,
    /// Options of `run`
    #[arg(last = true, value_name = "OPTION", allow_hyphen_values = true)]
    pub options: Vec<OsString>,
}

/// What to report about.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs, or of one of their boots; of several one report is printed
    #[arg(value_name = "DIR", default_value = "runs/latest")]
    pub folders: Vec<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
}

/// What to print for a machine of the user's own.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// What starts the machine
    #[arg(value_enum, default_value_t = Form::Qemu)]
    pub form: Form,
    /// Where the device process serves the GPU
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Where it serves the guest port, if the machine is to have one (docs/guest-port.md)
    #[arg(long, value_name = "PATH")]
    pub guest_port: Option<PathBuf>,
    /// Guest memory in MiB; for qemu and virtme-ng, a domain of libvirt's has its own
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub memory: Option<u32>,
    /// For libvirt: print this domain (as of `virsh dumpxml --inactive`; - for standard input) with the GPU in it
    #[arg(long, value_name = "FILE")]
    pub domain: Option<PathBuf>,
    /// What the device process is told of the GPU.
    #[command(flatten)]
    pub gpu: GpuArgs,
    /// For the device process: its control socket (docs/control.md)
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// What the GPU is.
#[derive(Debug, Args)]
pub struct GpuArgs {
    /// Which part the GPU is
    #[arg(long, value_enum, default_value_t = Asic::Navi21)]
    pub asic: Asic,
    /// What the GPU is to the driver: bare metal, or a virtual function whose host the device process plays
    #[arg(long, value_enum, default_value_t = Personality::BareMetal)]
    pub personality: Personality,
    /// The same as --personality vf: an SR-IOV virtual function
    #[arg(long, conflicts_with = "personality")]
    pub sriov_vf: bool,
    /// Size of the GPU's memory
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub vram_size: String,
}

impl GpuArgs {
    /// What the GPU is to the driver, whichever way that was said.
    pub const fn personality(&self) -> Personality {
        if self.sriov_vf {
            Personality::Vf
        } else {
            self.personality
        }
    }
}

impl AttachArgs {
    /// With the text of the domain.
    pub fn request(&self, domain: Option<String>) -> Request {
        Request {
            form: self.form,
            socket: self.socket.clone(),
            guest_port: self.guest_port.clone(),
            memory: self.memory,
            domain,
            asic: self.gpu.asic,
            personality: self.gpu.personality(),
            vram_size: self.gpu.vram_size.clone(),
            control: self.control.clone(),
        }
    }
}

/// The form of a printed report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal.
    Table,
    /// For pasting.
    Markdown,
    /// For CI systems.
    Junit,
    /// As the kernel's own tests report.
    Ktap,
    /// The table of docs/compute.md: compute VMs, SVM and what KFD says of a reset.
    Compute,
}

/// What to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Scenarios: names of shipped ones (see `list`), or paths of files. Without any, and without --all or --tag: --steps
    #[arg(value_name = "NAME|FILE", conflicts_with_all = ["steps", "shell", "no_gpu"])]
    pub scenarios: Vec<String>,
    /// Every shipped scenario
    #[arg(long, conflicts_with_all = ["scenarios", "steps", "shell", "no_gpu"])]
    pub all: bool,
    /// Every shipped scenario with this tag; may be repeated
    #[arg(long, value_name = "TAG", value_delimiter = ',', conflicts_with_all = ["scenarios", "steps", "shell", "no_gpu"])]
    pub tag: Vec<String>,
    /// Run the negative controls too, or only them: sabotaged scenarios, which pass if the scenario notices
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "also", default_value = "none")]
    pub controls: Controls,
    /// Kernel: bookworm (6.1), trixie (6.12), trixie-backports; lean:, lockdep: or kasan: before one of these or before the folder of a
    /// source tree for a small kernel that is built from its source; or the path of a bzImage. Several for scenarios
    #[arg(long, value_name = "KERNEL", default_value = "trixie", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// Modules of a kernel given by path: lib/modules/RELEASE, a folder that holds it, or a build tree
    #[arg(long, value_name = "DIR")]
    pub modules: Option<PathBuf>,
    /// Build the driver with this patch: a file, a folder of patches, or a mailbox as b4 am leaves it; may be repeated. On a
    /// distribution's kernel amdgpu, gpu-sched and ttm are built, as modules for it; of a kernel that is built here, everything
    #[arg(long, value_name = "FILE|DIR")]
    pub patch: Vec<PathBuf>,
    /// Build the driver from drivers/gpu/drm/amd of this kernel tree, which is never written to
    #[arg(long, value_name = "DIR")]
    pub driver_src: Option<PathBuf>,
    /// A module that was built elsewhere, in place of the kernel's of this name; may be repeated
    #[arg(long, value_name = "FILE.ko", conflicts_with_all = ["patch", "driver_src"])]
    pub module: Vec<PathBuf>,
    /// With --patch and --driver-src on a distribution's kernel: build the driver's display code and old generations as well
    #[arg(long)]
    pub full: bool,
    /// What executes the guest; "auto" tries KVM with a short boot of this kernel
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub accel: AccelChoice,
    /// Steps, in order, separated by commas; arguments follow after colons. A scenario is made of them that expects what they imply, and kept
    /// in the run folder as steps.toml [default: modprobe,client,poweroff]
    #[arg(long, value_name = "STEPS")]
    pub steps: Option<String>,
    /// An interactive shell in the guest instead of the last step; Ctrl-] ends the run
    #[arg(long)]
    pub shell: bool,
    /// Guest memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub memory: u32,
    /// Virtual processors [default: 1; 2 with a lockdep or kasan kernel, which looks for races]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,
    /// Their model, as QEMU's -cpu takes it [default: "max"; under TCG without what TCG is slow at]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// What the GPU is.
    #[command(flatten)]
    pub gpu: GpuArgs,
    /// Boot every guest with the GPU, instead of booting once per kernel and machine without it, keeping that as a checkpoint, and plugging
    /// the GPU into guests that go on from there
    #[arg(long)]
    pub cold: bool,
    /// Make new checkpoints, even where the cache keeps some of the same kernel, modules, firmware, machine and QEMU
    #[arg(long, conflicts_with = "cold")]
    pub fresh: bool,
    /// Guests of a run of scenarios that are busy at the same time; others may begin while some only wait for a time limit of the driver's
    /// [default: as many as there are processors and memory for]
    #[arg(long, value_name = "N", value_parser = parse_jobs)]
    pub jobs: Option<usize>,
    /// How often a scenario is tried that fails while the host has no time for its guest; two failures for the same reasons are enough
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_attempts)]
    pub attempts: usize,
    /// Leave it to the scheduler on which processors guests run. Otherwise a guest with one processor shares one of the host's with its
    /// device process
    #[arg(long)]
    pub no_pin: bool,
    /// Limit of every step in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout: u64,
    /// Arguments to add to the guest kernel's command line
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub append: String,
    /// Folder for logs and reports [default: a new one under runs/]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Device program [default: the installed one of an installed lab, or built from the workspace]
    #[arg(long, value_name = "PATH")]
    pub daemon: Option<PathBuf>,
    /// An argument to add to the device program's; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub daemon_arg: Vec<String>,
    /// Init program of the guest [default: the installed one of an installed lab, or built from the workspace]
    #[arg(long, value_name = "PATH")]
    pub guest: Option<PathBuf>,
    /// The program that holds a Vulkan device in a guest with a root [default: the installed one of an installed lab, or built from the
    /// workspace]
    #[arg(long, value_name = "PATH")]
    pub guest_vulkan: Option<PathBuf>,
    /// QEMU program, 10.1 or later [default: the system's if it is new enough, or a fetched one]
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
    /// An argument to add to QEMU's; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
    /// Folder with the driver's firmware, the one that holds amdgpu/ [default: fetched]
    #[arg(long, value_name = "DIR")]
    pub firmware: Option<PathBuf>,
    /// A root beside the guest's init, whose programs steps such as vulkan-open and root-run use [default: none, or what a scenario says]
    #[arg(long, value_enum, value_name = "ROOT")]
    pub root: Option<GuestRoot>,
    /// Where the guest prints and takes orders once it is up: at the serial port, or at the guest port (docs/guest-port.md). Of a run of
    /// scenarios that goes for those that have the port, when they are booted
    #[arg(long, value_enum, default_value_t = ConsoleAt::Serial, value_name = "WHERE", conflicts_with = "no_gpu")]
    pub console: ConsoleAt,
    /// Boot the guest without the GPU: shows that the lab itself works here
    #[arg(long)]
    pub no_gpu: bool,
}

/// What executes the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccelChoice {
    /// KVM if it runs the guest's kernel, else TCG.
    Auto,
    /// Hardware virtualisation.
    Kvm,
    /// Translation in software.
    Tcg,
}

/// An argument that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A kernel by path without its modules.
    #[error(
        "--kernel {image} is the path of an image, which needs its modules: give them with --modules DIR"
    )]
    NoModules {
        /// The image.
        image: String,
    },
    /// A suite with modules.
    #[error(
        "--modules goes with the path of a kernel image, but --kernel {suite} is fetched with its own modules"
    )]
    NeedlessModules {
        /// The suite.
        suite: &'static str,
    },
    /// Controls of steps.
    #[error("--controls goes with scenarios: run NAME, --all or --tag")]
    NoControls,
    /// A bad list of steps.
    #[error("the steps cannot be used\n{0}")]
    Steps(#[from] Rejected),
}

/// `lean:trixie`, or `lockdep:../linux`.
fn built(name: &str) -> Option<(Config, Source)> {
    let (config, source) = name.split_once(':')?;
    Some((Config::from_str(config, false).ok()?, Source::parse(source)))
}

fn parse_jobs(text: &str) -> Result<usize, String> {
    from_one_on(text, "guests")
}

fn parse_attempts(text: &str) -> Result<usize, String> {
    from_one_on(text, "tries")
}

fn from_one_on(text: &str, what: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected a number of {what} from 1 on"))
}

impl SourceArgs {
    /// As the fetcher takes it.
    pub fn sources(&self, refresh: bool) -> Sources {
        Sources {
            mirror: self.mirror.clone(),
            security_mirror: self.security_mirror.clone(),
            keyring: self.keyring.clone(),
            refresh,
        }
    }
}

impl RunArgs {
    /// Whether scenarios are to be run, and not steps.
    pub const fn wants_scenarios(&self) -> bool {
        self.all || !self.scenarios.is_empty() || !self.tag.is_empty()
    }

    /// The kernels, each once.
    pub fn kernels(&self) -> Result<Vec<KernelChoice>, UsageError> {
        let mut kernels = Vec::new();
        for name in &self.kernel {
            let kernel = self.kernel_called(name)?;
            if !kernels.contains(&kernel) {
                kernels.push(kernel);
            }
        }
        Ok(kernels)
    }

    fn kernel_called(&self, name: &str) -> Result<KernelChoice, UsageError> {
        if let Some((config, source)) = built(name) {
            return Ok(KernelChoice::Built { config, source });
        }
        match (Suite::from_str(name, false), &self.modules) {
            (Ok(suite), None) => Ok(KernelChoice::Suite(suite)),
            (Ok(suite), Some(_)) => Err(UsageError::NeedlessModules { suite: suite.name() }),
            (Err(_), Some(modules)) => Ok(KernelChoice::Files {
                image: PathBuf::from(name),
                modules: modules.clone(),
            }),
            (Err(_), None) => Err(UsageError::NoModules {
                image: name.to_owned(),
            }),
        }
    }

    /// What `watch` watches: what a build of this run reads. Empty if nothing is built from files of the user's.
    pub fn sources(&self) -> Result<Vec<PathBuf>, UsageError> {
        let mut sources = self.patch.clone();
        sources.extend(self.driver_src.iter().map(|tree| tree.join(kbuild::AMD)));
        for kernel in self.kernels()? {
            if let KernelChoice::Built {
                source: Source::Tree(tree),
                ..
            } = kernel
            {
                sources.extend(kbuild::OF_DRIVERS.map(|folder| tree.join(folder)));
            }
        }
        Ok(sources)
    }

    /// The text of the scenario that the steps are.
    pub fn text_of_steps(&self) -> String {
        let default = if self.no_gpu { STEPS_WITHOUT_GPU } else { STEPS };
        let mut list = self.steps.clone().unwrap_or_else(|| default.to_owned());
        if self.shell {
            let stays = list.split(',').filter(|step| step.trim() != "poweroff");
            list = stays.collect::<Vec<_>>().join(",");
        }
        let setting = Setting {
            gpu: !self.no_gpu,
            guest_port: self.console == ConsoleAt::Hvc0,
        };
        steps::text(&list, setting)
    }

    /// The scenario that the steps are.
    pub fn scenario_of_steps(&self) -> Result<Scenario, UsageError> {
        if self.controls != Controls::None {
            return Err(UsageError::NoControls);
        }
        Ok(parse(Path::new(steps::NAME), &self.text_of_steps())?)
    }

    /// As a run takes it.
    pub fn options(&self) -> Result<Options, UsageError> {
        let kernel = self.kernels()?.into_iter().next();
        Ok(Options {
            kernel: kernel.unwrap_or(KernelChoice::Suite(Suite::Trixie)),
            change: Change {
                patches: self.patch.clone(),
                tree: self.driver_src.clone(),
                full: self.full,
            },
            modules: self.module.clone(),
            accelerator: match self.accel {
                AccelChoice::Auto => None,
                AccelChoice::Kvm => Some(Accelerator::Kvm),
                AccelChoice::Tcg => Some(Accelerator::Tcg),
            },
            memory: self.memory,
            cpus: self.cpus,
            cpu: self.cpu.clone(),
            asic: self.gpu.asic,
            personality: self.gpu.personality(),
            vram_size: self.gpu.vram_size.clone(),
            pinned: !self.no_pin,
            // Machines that go on from a checkpoint stay at the serial port.
            begin: if self.cold || (!self.wants_scenarios() && self.console == ConsoleAt::Hvc0) {
                Begin::Boot
            } else {
                Begin::Checkpoint { fresh: self.fresh }
            },
            timeout: Duration::from_secs(self.timeout),
            append: self.append.clone(),
            folder: self.run_dir.clone(),
            daemon: self.daemon.clone(),
            daemon_arguments: self.daemon_arg.clone(),
            guest: self.guest.clone(),
            guest_vulkan: self.guest_vulkan.clone(),
            root: self.root,
            some_root: None,
            qemu: self.qemu.clone(),
            qemu_arguments: self.qemu_arg.clone(),
            firmware: self.firmware.clone(),
            gpu: !self.no_gpu,
            busybox: self.shell,
            guest_port: false,
            console: self.console,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(arguments: &[&str]) -> RunArgs {
        let line = ["amdgpu-lab", "run"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Run(run) => *run,
            _ => unreachable!("the line says run"),
        }
    }

    fn options(arguments: &[&str]) -> Result<Options, UsageError> {
        run(arguments).options()
    }

    #[test]
    fn steps_with_a_shell_leave_the_guest_on_and_those_at_the_guest_port_boot_with_it() {
        let titles = |run: RunArgs| run.scenario_of_steps().unwrap().title;
        assert_eq!(titles(run(&[])), "modprobe, client, poweroff");
        assert_eq!(titles(run(&["--shell"])), "modprobe, client");
        assert_eq!(titles(run(&["--no-gpu"])), "load, poweroff");
        let port = run(&["--console", "hvc0"]);
        assert!(port.scenario_of_steps().unwrap().machine.guest_port);
        assert_eq!(port.options().unwrap().begin, Begin::Boot);
    }

    #[test]
    fn a_virtual_function_is_named_in_either_way() {
        let personality = |arguments: &[&str]| options(arguments).map(|options| options.personality);
        assert_eq!(personality(&[]), Ok(Personality::BareMetal));
        assert_eq!(personality(&["--sriov-vf"]), Ok(Personality::Vf));
        assert_eq!(personality(&["--personality", "vf"]), Ok(Personality::Vf));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_kernel_is_a_suite_or_a_path_with_modules() {
        assert_eq!(options(&[]).unwrap().kernel, KernelChoice::Suite(Suite::Trixie));
        let own = options(&["--kernel", "/b/bzImage", "--modules", "/b"]).unwrap();
        assert!(matches!(own.kernel, KernelChoice::Files { .. }));
    }

    #[test]
    fn a_kernel_that_is_built_has_a_configuration_and_a_source() {
        let kernel = |name: &str| options(&["--kernel", name]).unwrap().kernel;
        assert_eq!(
            kernel("lockdep:bookworm"),
            KernelChoice::Built {
                config: Config::Lockdep,
                source: Source::Suite(Suite::Bookworm)
            }
        );
        let own = kernel("lean:../linux");
        assert_eq!(own.name(), "lean:../linux");
        assert!(matches!(
            own,
            KernelChoice::Built {
                source: Source::Tree(_),
                ..
            }
        ));
    }

    #[test]
    fn a_module_is_given_or_built_but_not_both() {
        let change = options(&["--patch", "a", "--patch", "b", "--driver-src", "../linux"])
            .unwrap()
            .change;
        assert_eq!(change.patches.len(), 2);
        assert!(!change.is_none());
        Cli::try_parse_from(["amdgpu-lab", "run", "--module", "a.ko", "--patch", "b"]).unwrap_err();
    }

    #[test]
    fn errors_name_the_option_that_is_missing() {
        let error = options(&["--kernel", "/b/bzImage"]).unwrap_err().to_string();
        assert!(error.contains("--modules DIR"), "{error}");
        let error = options(&["--kernel", "trixie", "--modules", "/b"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("--kernel trixie"), "{error}");
        let error = run(&["--steps", "modprobe,fly"]).scenario_of_steps();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("\"fly\""), "{error}");
    }

    #[test]
    fn several_kernels_go_with_scenarios_and_steps_and_controls_with_scenarios_only() {
        let matrix = run(&[
            "a",
            "--kernel",
            "bookworm,trixie",
            "--kernel",
            "bookworm",
            "--controls",
        ]);
        assert_eq!(matrix.kernels().unwrap().len(), 2);
        assert!(matrix.wants_scenarios() && matrix.options().is_ok());
        assert_eq!(matrix.controls, Controls::Also);
        run(&["--kernel", "bookworm,trixie"]).scenario_of_steps().unwrap();
        let error = run(&["--controls"]).scenario_of_steps().unwrap_err();
        assert_eq!(error, UsageError::NoControls);
        assert_eq!(run(&["--all", "--controls=only"]).controls, Controls::Only);
        Cli::try_parse_from(["amdgpu-lab", "run", "a", "--steps", "modprobe"]).unwrap_err();
    }

    #[test]
    fn suites_are_written_as_debian_writes_them() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_str(suite.name(), false), Ok(suite));
        }
    }

    #[test]
    fn fetching_takes_several_kernels() {
        let cli = Cli::try_parse_from(["amdgpu-lab", "fetch", "--kernel", "bookworm,trixie"]).unwrap();
        let Command::Fetch(fetch) = cli.command else {
            unreachable!("the line says fetch")
        };
        assert_eq!(fetch.kernel, [Suite::Bookworm, Suite::Trixie]);
    }
}
