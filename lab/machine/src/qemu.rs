//! QEMU: finding one that can use the device, and its command line.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::attach::{self, GPU_DRIVER};
use crate::cores::Claim;
use crate::fetch::{Cache, FetchError};
use crate::kernel::Kernel;
use crate::process::Supervised;
use crate::root::Disk;
use crate::{shell, sys};

const PROGRAM: &str = "qemu-system-x86_64";
/// Name of the monitor's socket in the run folder.
pub const QMP_SOCKET: &str = "qmp.sock";

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Translation in software.
    Tcg,
}

impl Accelerator {
    /// QEMU's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The processor of a guest, as `-cpu` takes it.
    ///
    /// Under TCG it has 39 address bits: with QEMU's own 40 the firmware puts large BARs just below 1 TiB, where AMD's processors keep a range
    /// for HyperTransport and Linux finds no place for them again once the function was removed. It has no fast string instructions, since
    /// Linux then uses `rep movsb` and `rep stosb`, which TCG executes byte by byte, and no SMAP, whose `stac` and `clac` end a translation
    /// block each.
    pub const fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "max",
            Self::Tcg => "max,phys-bits=39,erms=off,fsrm=off,fsrs=off,fzrm=off,fsrc=off,smap=off",
        }
    }
}

/// Why there is no usable QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QemuError {
    /// Fetching one failed.
    #[error(
        "no QEMU with the device {GPU_DRIVER} on this system (10.1 or later has it), and none could be fetched; give one with --qemu PATH"
    )]
    Fetch(#[from] FetchError),
    /// The given program cannot be run or is too old.
    #[error("{} cannot be used: {what}; 10.1 or later with {GPU_DRIVER} is needed", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A QEMU program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    program: PathBuf,
    /// What comes before all other arguments.
    leading: Vec<OsString>,
    /// Where its loadable parts are, if not where it was built for.
    module_folder: Option<PathBuf>,
    /// As it calls itself.
    pub version: String,
}

impl Qemu {
    /// Uses the given program, or the system's if it is new enough, or a fetched one.
    pub fn find(given: Option<&Path>, cache: &Cache) -> Result<Self, QemuError> {
        if let Some(path) = given {
            return Self::plain(path).checked().map_err(|what| QemuError::Unusable {
                path: path.to_owned(),
                what,
            });
        }
        if let Ok(qemu) = Self::plain(Path::new(PROGRAM)).checked() {
            return Ok(qemu);
        }
        let folder = cache.qemu()?;
        Self::unpacked(&folder)
            .checked()
            .map_err(|what| QemuError::Unusable { path: folder, what })
    }

    fn plain(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            leading: Vec::new(),
            module_folder: None,
            version: String::new(),
        }
    }

    /// One that was unpacked from packages: run by its own loader, with its own libraries and files.
    fn unpacked(folder: &Path) -> Self {
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|sub| folder.join(sub));
        let loader = [
            "usr/lib64",
            "lib64",
            "usr/lib/x86_64-linux-gnu",
            "lib/x86_64-linux-gnu",
        ]
        .map(|sub| folder.join(sub).join("ld-linux-x86-64.so.2"))
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_default();
        let path_list =
            std::env::join_paths(libraries.iter().filter(|path| path.is_dir())).unwrap_or_default();
        let mut leading: Vec<OsString> = vec![
            "--library-path".into(),
            path_list,
            folder.join("usr/bin").join(PROGRAM).into(),
        ];
        for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            leading.extend(["-L".into(), folder.join(data).into()]);
        }
        Self {
            program: loader,
            leading,
            module_folder: Some(folder.join("usr/lib/x86_64-linux-gnu/qemu")),
            version: String::new(),
        }
    }

    /// The same with its version, if it runs and has the device.
    fn checked(mut self) -> Result<Self, String> {
        let run = |arguments: &[&str]| -> Result<String, String> {
            let mut command = self.command();
            command.args(arguments).stdin(Stdio::null());
            let output = sys::contain(&mut command)
                .output()
                .map_err(|error| error.to_string())?;
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            } else {
                Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            }
        };
        let version = run(&["--version"])?;
        let version = version.lines().next().unwrap_or_default();
        let devices = run(&["-machine", "none", "-device", "help"])?;
        if !devices.contains(&format!("\"{GPU_DRIVER}\"")) {
            return Err(format!("{version} has no device {GPU_DRIVER}"));
        }
        self.version = version.trim_start_matches("QEMU emulator version ").to_owned();
        Ok(self)
    }

    /// What tells this program from another one: where it is, how large it is, and since when.
    pub fn identity(&self) -> io::Result<String> {
        let is_ours = |word: &&OsString| Path::new(word).ends_with(PROGRAM);
        let unpacked = self.leading.iter().find(is_ours).map(Path::new);
        let path = match unpacked {
            Some(path) => path.to_owned(),
            None => on_path(&self.program),
        };
        let file = path.metadata()?;
        let (size, since) = (file.len(), file.mtime());
        Ok(format!("{} {} {size} {since}", self.version, path.display()))
    }

    /// How it is called, for arguments of the caller's own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.leading);
        if let Some(folder) = &self.module_folder {
            command.env("QEMU_MODULE_DIR", folder);
        }
        command
    }

    /// Starts a machine. Its serial console is on the process's standard input and output.
    pub fn start(
        &self,
        machine: &Machine,
        folder: &Path,
        more: &[&str],
        claim: Option<&Claim>,
    ) -> io::Result<Supervised> {
        let mut command = self.command();
        if let Some(claim) = claim {
            claim.confine(&mut command);
        }
        // Socket names are relative to the run folder: a long path would not fit into a socket's address.
        command.args(machine.arguments()).args(more).current_dir(folder);
        let line: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| shell::word(&word.to_string_lossy()))
            .collect();
        let module_folder = self
            .module_folder
            .as_ref()
            .map(|folder| format!("QEMU_MODULE_DIR={} ", shell::word(&folder.to_string_lossy())))
            .unwrap_or_default();
        std::fs::write(
            folder.join("qemu.sh"),
            format!("#!/bin/sh\n{module_folder}exec {}\n", line.join(" ")),
        )?;
        Supervised::start("QEMU", &mut command, &folder.join("qemu.log"), true)
    }
}

/// The file that is started by a name: found along `PATH` if the name has no slash in it.
fn on_path(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| program.to_owned())
}

/// Whether and how a machine has the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpu {
    /// Not at all.
    None,
    /// From the start.
    Plugged {
        /// Name of the device's socket, relative to the run folder.
        socket: String,
    },
    /// It has an empty slot with room for one.
    Slot {
        /// Bytes of prefetchable address space that the slot keeps free: what cannot be mapped there when the GPU comes cannot be
        /// mapped at all.
        room: u64,
    },
}

/// Whether and how a machine has the guest port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Not at all.
    None,
    /// From the start.
    Plugged {
        /// Name of its socket, relative to the run folder.
        socket: String,
    },
    /// It has an empty slot for it.
    Slot,
}

/// Where a guest that has the guest port prints, and takes orders, once it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ConsoleAt {
    /// At the serial port.
    #[default]
    Serial,
    /// At the guest port.
    Hvc0,
}

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it boots.
    pub kernel: Kernel,
    /// Its first file system.
    pub initramfs: PathBuf,
    /// What is added to the kernel's command line.
    pub append: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// What executes it.
    pub accelerator: Accelerator,
    /// Its processors' model, as `-cpu` takes it; none for that of the accelerator.
    pub cpu: Option<String>,
    /// The GPU.
    pub gpu: Gpu,
    /// The guest port.
    pub port: Port,
    /// Its console.
    pub console: ConsoleAt,
    /// A root beside our init, to run programs of; none as a rule.
    pub root: Option<Disk>,
    /// More arguments, as the user gave them.
    pub extra: Vec<String>,
}

impl Machine {
    /// The kernel's command line. It holds nothing about amdgpu unless the user adds it.
    pub fn kernel_command_line(&self) -> String {
        // `printk.devkmsg=on`: our markers go through the kernel's log and must not be dropped for their rate.
        let mut line = String::new();
        if self.moves_console() {
            // The last one is where init begins.
            line.push_str("console=hvc0 ");
        }
        line.push_str("console=ttyS0,115200 loglevel=7 printk.devkmsg=on");
        if let Some(disk) = &self.root {
            line.push_str(" lab.root=");
            line.push_str(disk.root.name());
        }
        if !self.append.is_empty() {
            line.push(' ');
            line.push_str(&self.append);
        }
        line
    }

    /// Whether the console goes from the serial port to the guest port once init is up.
    pub fn moves_console(&self) -> bool {
        self.console == ConsoleAt::Hvc0 && matches!(self.port, Port::Plugged { .. })
    }

    /// What QEMU is started with.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&[
            "-name",
            "amdgpu-lab",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-vga",
            "none",
        ]);
        add(&attach::memory_arguments(self.memory)
            .each_ref()
            .map(String::as_str));
        add(&["-smp", &self.cpus.to_string()]);
        let accelerator = match self.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg,thread=multi",
        };
        let cpu = self.cpu.as_deref().unwrap_or(self.accelerator.cpu());
        add(&["-accel", accelerator, "-cpu", cpu]);
        add(&[
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        let monitor = format!("unix:{QMP_SOCKET},server=on,wait=off");
        add(&["-qmp", &monitor]);
        let gpu = match &self.gpu {
            Gpu::None => Vec::new(),
            Gpu::Plugged { socket } => attach::gpu_arguments(socket),
            Gpu::Slot { room } => attach::gpu_slot_arguments(*room),
        };
        let port = match &self.port {
            Port::None => Vec::new(),
            Port::Plugged { socket } => attach::port_arguments(socket),
            Port::Slot => attach::port_slot_arguments(),
        };
        // Behind the others, so that they are where they are without it.
        let root = self.root.as_ref();
        let root = root.map(|disk| attach::root_arguments(&disk.image.to_string_lossy()));
        arguments.extend(gpu.into_iter().chain(port).map(OsString::from));
        arguments.extend(root.into_iter().flatten().map(OsString::from));
        arguments.extend(["-append".into(), self.kernel_command_line().into()]);
        arguments.extend(["-kernel".into(), self.kernel.image.clone().into()]);
        arguments.extend(["-initrd".into(), self.initramfs.clone().into()]);
        arguments.extend(self.extra.iter().map(OsString::from));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            kernel: Kernel {
                configuration: None,
                image: "/k/bzImage".into(),
                modules: "/k/modules".into(),
                release: "6.1.0".into(),
                version: "6.1.0".into(),
            },
            initramfs: "/r/initramfs".into(),
            append: String::new(),
            memory: 2048,
            cpus: 2,
            accelerator: Accelerator::Tcg,
            cpu: None,
            gpu: Gpu::Plugged {
                socket: "gpu.sock".into(),
            },
            port: Port::None,
            console: ConsoleAt::default(),
            root: None,
            extra: vec![],
        }
    }

    #[test]
    fn a_console_moves_only_to_a_port_that_is_there_from_the_start() {
        let at = |port| {
            let machine = Machine {
                console: ConsoleAt::Hvc0,
                port,
                ..machine()
            };
            machine.kernel_command_line()
        };
        let socket = "port.sock".to_owned();
        // Init begins at the last one.
        assert!(at(Port::Plugged { socket }).starts_with("console=hvc0 console=ttyS0,115200 "));
        for port in [Port::None, Port::Slot] {
            assert!(!at(port).contains("hvc0"));
        }
        assert!(!machine().kernel_command_line().contains("hvc0"));
    }

    #[test]
    fn the_driver_gets_no_parameter_on_the_command_line() {
        assert!(!machine().kernel_command_line().contains("amdgpu"));
        let chosen = Machine {
            append: "amdgpu.dpm=0".into(),
            ..machine()
        };
        assert!(chosen.kernel_command_line().ends_with(" amdgpu.dpm=0"));
    }

    #[test]
    fn the_processor_is_the_users_or_the_one_that_suits_the_accelerator() {
        let cpu = |machine: Machine| {
            let words = machine.arguments();
            let at = words.iter().position(|word| word == "-cpu").unwrap();
            words.get(at + 1).unwrap().to_string_lossy().into_owned()
        };
        assert!(cpu(machine()).contains("phys-bits=39") && cpu(machine()).contains("erms=off"));
        let kvm = Machine {
            accelerator: Accelerator::Kvm,
            ..machine()
        };
        assert_eq!(cpu(kvm), "max");
        let own = Machine {
            cpu: Some("EPYC-v4".to_owned()),
            ..machine()
        };
        assert_eq!(cpu(own), "EPYC-v4");
    }

    #[test]
    fn guest_memory_is_shared_and_the_gpu_sits_behind_a_root_port() {
        let arguments = machine().arguments();
        let line = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(line.contains("memory-backend-memfd,id=amdgpu-memory,size=2048M,share=on"));
        assert!(
            line.contains(r#""driver":"vfio-user-pci""#) && line.contains(r#""path":"gpu.sock""#),
            "{line}"
        );
    }

    #[test]
    fn a_slot_keeps_room_for_the_gpu() {
        let empty = Machine {
            gpu: Gpu::Slot { room: 2 << 30 },
            ..machine()
        };
        let arguments = empty.arguments();
        let port = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .find(|word| word.contains("pcie-root-port"))
            .unwrap();
        assert!(port.contains(r#""pref64-reserve":2147483648"#), "{port}");
        assert!(
            !arguments
                .iter()
                .any(|word| word.to_string_lossy().contains("vfio-user"))
        );
    }

    #[test]
    fn a_root_is_a_disk_that_is_only_read_and_that_init_is_told_of() {
        let words = |machine: Machine| {
            let words = machine.arguments();
            let words = words.iter().map(|word| word.to_string_lossy().into_owned());
            words.collect::<Vec<_>>()
        };
        let with = words(Machine {
            root: Some(Disk {
                root: protocol::guest::root::GuestRoot::Debian,
                image: "/c/root.img".into(),
                identity: "1".to_owned(),
            }),
            ..machine()
        });
        let line = with.join(" ");
        assert!(
            line.contains("virtio-blk-pci") && line.contains(r#""filename":"/c/root.img","read-only":true"#)
        );
        assert!(line.contains(" lab.root=debian"));
        // Two options with their values, of which -device was there, and the command line.
        let without = words(machine());
        let same = with.iter().filter(|word| without.contains(word)).count();
        assert_eq!((same, with.len()), (without.len(), without.len() + 4), "{with:?}");
    }

    #[test]
    fn the_guest_port_is_there_only_if_it_is_asked_for() {
        let line = |port| {
            let machine = Machine { port, ..machine() };
            let words = machine.arguments();
            words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(!line(Port::None).contains(attach::PORT_SLOT));
        let slot = line(Port::Slot);
        assert!(
            slot.contains(attach::PORT_SLOT) && !slot.contains("vhost-user"),
            "{slot}"
        );
        let socket = "port.sock".to_owned();
        let plugged = line(Port::Plugged { socket });
        assert!(
            plugged.contains("path=port.sock") && plugged.contains("\"virtio-id\":3"),
            "{plugged}"
        );
    }

    #[test]
    fn a_machine_can_do_without_the_gpu() {
        let bare = Machine {
            gpu: Gpu::None,
            ..machine()
        };
        assert!(
            !bare
                .arguments()
                .iter()
                .any(|word| word.to_string_lossy().contains("vfio-user"))
        );
    }

    #[test]
    fn an_absent_program_is_named_with_what_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(
            Some(folder.path()),
            crate::fetch::Sources::default(),
            crate::progress::Progress::silent(),
        )
        .unwrap();
        let error = Qemu::find(Some(Path::new("/no/qemu")), &cache)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/no/qemu") && error.contains("10.1"), "{error}");
    }
}
