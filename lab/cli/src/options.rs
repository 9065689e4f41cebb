//! What is to be run, as the command line says it.

use std::path::PathBuf;
use std::time::Duration;

use machine::fetch::Suite;
use machine::kbuild::{Change, Config, Source};
use machine::qemu::{Accelerator, ConsoleAt};
use protocol::asic::Asic;
use protocol::guest::root::GuestRoot;
use protocol::personality::Personality;

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
}

impl Options {
    /// Whether the driver is one that the user is working on.
    pub const fn is_of_user(&self) -> bool {
        !self.change.is_none()
            || !self.modules.is_empty()
            || matches!(self.kernel, KernelChoice::Built { .. })
    }
}
