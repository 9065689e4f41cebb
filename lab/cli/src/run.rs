//! What every run begins with: everything found, fetched and built, and the run folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use machine::accel;
use machine::cores::Cores;
use machine::daemon::{self, Daemon};
use machine::fetch::Cache;
use machine::initramfs;
use machine::kernel::Kernel;
use machine::parts::{self, Part};
use machine::progress::Progress;
use machine::qemu::{Accelerator, ConsoleAt, Gpu, Machine, Port, Qemu};
use machine::session::Session;
use report::date::stamp;
use scenario::driver::Driver;

use crate::options::{KernelChoice, Options};
use crate::rooted::{self, Rooted};
use crate::subject;

/// Modules in every initramfs: the driver.
const MODULES: [&str; 1] = ["amdgpu"];
/// Those of the guest's side of the guest port.
const PORT_MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
const INITRAMFS: &str = "initramfs.cpio";
/// The name in the run folder of a kernel that was built.
const IMAGE: &str = "vmlinuz";

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
    /// Starts the device process, and a machine with this kernel; the logs go to a folder.
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
