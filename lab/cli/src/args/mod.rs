//! What makes a machine of the user's own have the GPU, to be pasted: arguments for QEMU, elements for libvirt, a line for virtme-ng.

pub mod domain;

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use domain::DomainError;
use machine::{attach, daemon, shell};
use protocol::asic::Asic;
use protocol::personality::Personality;

/// The longest path that a UNIX socket's address holds, in bytes (`sun_path` without its final zero).
const LONGEST_SOCKET_PATH: usize = 107;
const DAEMON: &str = "vhost-device-amdgpu";

/// What the machine is started by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// QEMU: arguments to add to its command line
    Qemu,
    /// libvirt: elements for a domain, or a whole domain with them (--domain)
    Libvirt,
    /// virtme-ng: a command line, to which the kernel is added
    VirtmeNg,
}

/// The processor of the host that a machine is pinned to in what is printed.
pub const PROCESSOR: u32 = 1;

impl Form {
    /// A machine with one processor on [`PROCESSOR`] of the host.
    const fn pinned(self) -> &'static str {
        match self {
            Self::Qemu => "taskset -c 1 qemu-system-x86_64 -smp 1 ...",
            // The threads that answer the device are the emulator's.
            Self::Libvirt => {
                "<vcpu>1</vcpu> <cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='1'/></cputune>"
            }
            Self::VirtmeNg => "taskset -c 1 vng --cpus 1 ...",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// For what.
    pub form: Form,
    /// Socket of the GPU.
    pub socket: PathBuf,
    /// Socket of the guest port, if the machine is to have one.
    pub guest_port: Option<PathBuf>,
    /// Guest memory in MiB.
    pub memory: Option<u32>,
    /// A domain of libvirt's to add the GPU to.
    pub domain: Option<String>,
    /// Which part the GPU is.
    pub asic: Asic,
    /// What the GPU is to the driver.
    pub personality: Personality,
    /// Size of the device's memory, as the device process takes it.
    pub vram_size: String,
    /// The device's control socket, if it is to have one.
    pub control: Option<PathBuf>,
}

/// Why there is nothing to paste.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// The guest's memory is to be made, but how much?
    #[error(
        "--memory MIB is missing: the guest's memory has to be made so that the device process can map it, and therefore with its size"
    )]
    NoMemory,
    /// The domain has its own.
    #[error("--memory does not go with libvirt: the domain keeps what its element <memory> says")]
    NeedlessMemory,
    /// A domain for something else than libvirt.
    #[error("--domain goes with libvirt: amdgpu-lab args libvirt --domain FILE")]
    NeedlessDomain,
    /// A path that no socket can have.
    #[error(
        "{option} {} has {length} bytes, and a UNIX socket's address has room for {LONGEST_SOCKET_PATH}: take a folder with a shorter path, such as one under /run or /tmp",
        path.display()
    )]
    LongPath {
        /// The option.
        option: &'static str,
        /// Its path, absolute.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A path that cannot be written down.
    #[error("{option} {path:?}: JSON and XML hold text without control characters only; take another path")]
    NoText {
        /// The option.
        option: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// Two sockets in one place.
    #[error("{first} and {second} are both {path}: each socket needs a path of its own")]
    SamePath {
        /// An option.
        first: &'static str,
        /// Another one.
        second: &'static str,
        /// Their path.
        path: String,
    },
    /// The current folder.
    #[error("cannot make {option} {path:?} an absolute path")]
    Folder {
        /// The option.
        option: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The domain.
    #[error("--domain: {0}")]
    Domain(#[from] DomainError),
}

/// What to paste, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To be pasted. It ends with a line feed.
    pub text: String,
    /// The command line of the device process.
    pub daemon: String,
    /// What puts the machine on one processor of the host, for the fastest register accesses.
    pub pinned: &'static str,
}

/// Gives the text for a request.
pub fn answer(request: &Request) -> Result<Answer, ArgsError> {
    let socket = checked("--socket", &request.socket)?;
    let optional =
        |option, path: &Option<PathBuf>| path.as_ref().map(|path| checked(option, path)).transpose();
    let guest_port = optional("--guest-port", &request.guest_port)?;
    let control = optional("--control", &request.control)?;
    let mut taken: Vec<(&'static str, &str)> = vec![("--socket", &socket)];
    for (option, path) in [("--guest-port", &guest_port), ("--control", &control)] {
        let Some(path) = path else { continue };
        if let Some((first, _)) = taken.iter().find(|(_, other)| other == path) {
            return Err(ArgsError::SamePath {
                first,
                second: option,
                path: path.clone(),
            });
        }
        taken.push((option, path));
    }

    let mut devices = attach::gpu_arguments(&socket);
    devices.extend(guest_port.iter().flat_map(|path| attach::port_arguments(path)));
    let text = match (request.form, request.memory, &request.domain) {
        (Form::Libvirt, Some(_), _) => return Err(ArgsError::NeedlessMemory),
        (Form::Qemu | Form::VirtmeNg, _, Some(_)) => return Err(ArgsError::NeedlessDomain),
        (Form::Qemu | Form::VirtmeNg, None, None) => return Err(ArgsError::NoMemory),
        (Form::Qemu, Some(mib), None) => qemu(&attach::memory_arguments(mib), &devices),
        (Form::VirtmeNg, Some(mib), None) => virtme_ng(mib, &devices),
        (Form::Libvirt, None, None) => domain::fragment(&devices),
        (Form::Libvirt, None, Some(xml)) => domain::extended(xml, &devices)?,
    };

    let mut daemon = daemon::arguments(&socket, &request.vram_size, control.as_deref());
    daemon.extend(request.asic.daemon_arguments());
    daemon.extend(request.personality.daemon_arguments());
    daemon.extend(
        guest_port
            .into_iter()
            .flat_map(|path| ["--guest-port".to_owned(), path]),
    );
    let daemon = shell::words(std::iter::once(DAEMON).chain(daemon.iter().map(String::as_str)));
    Ok(Answer {
        text,
        daemon,
        pinned: request.form.pinned(),
    })
}

/// An option with its value on each line, so that a shell takes them as one line.
fn qemu(memory: &[String], devices: &[String]) -> String {
    let words: Vec<_> = memory
        .iter()
        .chain(devices)
        .map(|word| shell::word(word))
        .collect();
    let lines: Vec<_> = words.chunks(2).map(|pair| pair.join(" ")).collect();
    lines.join(" \\\n") + "\n"
}

/// virtme-ng gives what comes with `--qemu-opts` to a shell of its own, so it is quoted twice.
///
/// Its guest's memory can be shared in any case only as a NUMA node: it makes one of its own for virtiofs, and none for 9p, where a second
/// one or `-machine memory-backend` would be in the way. Its microvm has another machine type, whose properties a q35 does not have.
fn virtme_ng(mib: u32, devices: &[String]) -> String {
    let machine = ["-machine", attach::MACHINE];
    let options = shell::words(machine.into_iter().chain(devices.iter().map(String::as_str)));
    format!(
        "vng --disable-microvm --memory {mib}M --numa {mib}M \\\n    --qemu-opts={}\n",
        shell::word(&options)
    )
}

/// The path as the other side can use it from wherever it runs.
fn checked(option: &'static str, path: &Path) -> Result<String, ArgsError> {
    let absolute = std::path::absolute(path).map_err(|source| ArgsError::Folder {
        option,
        path: path.to_owned(),
        source,
    })?;
    let text = absolute
        .to_str()
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| ArgsError::NoText {
            option,
            path: path.to_owned(),
        })?;
    if text.len() > LONGEST_SOCKET_PATH {
        return Err(ArgsError::LongPath {
            option,
            path: absolute.clone(),
            length: text.len(),
        });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    /// Every character that means something to a shell, to QEMU, to JSON or to XML.
    const HARD: &str = "/a b/it's, \"$HOME\" & <c>\\/g.sock";

    fn request(form: Form) -> Request {
        Request {
            form,
            socket: HARD.into(),
            guest_port: Some("/run/p,1.sock".into()),
            memory: (form != Form::Libvirt).then_some(4096),
            domain: None,
            asic: Asic::Navi21,
            personality: Personality::BareMetal,
            vram_size: "1G".to_owned(),
            control: None,
        }
    }

    /// The words that a shell makes of a line.
    fn words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    fn devices() -> Vec<String> {
        [
            attach::gpu_arguments(HARD),
            attach::port_arguments("/run/p,1.sock"),
        ]
        .concat()
    }

    #[test]
    fn a_shell_gives_qemu_what_the_lab_gives_it() {
        let text = answer(&request(Form::Qemu)).unwrap().text;
        let expected = [attach::memory_arguments(4096).to_vec(), devices()].concat();
        assert_eq!(words(&text), expected);
        let gpu = expected
            .iter()
            .find(|word| word.contains(attach::GPU_DRIVER))
            .unwrap();
        let gpu: Value = serde_json::from_str(gpu).unwrap();
        assert_eq!(gpu["socket"]["path"], HARD);
    }

    #[test]
    fn virtme_ngs_own_shell_gives_qemu_what_the_lab_gives_it() {
        let text = answer(&request(Form::VirtmeNg)).unwrap().text;
        let outer = words(&text);
        assert_eq!(
            outer[..6],
            ["vng", "--disable-microvm", "--memory", "4096M", "--numa", "4096M"]
        );
        let [options] = &outer[6..] else {
            panic!("{outer:?}")
        };
        let inner = words(options.strip_prefix("--qemu-opts=").unwrap());
        assert_eq!(inner[..2], ["-machine", attach::MACHINE]);
        assert_eq!(inner[2..], devices());
    }

    #[test]
    fn every_form_says_how_to_pin_a_machine_to_one_processor() {
        for form in [Form::Qemu, Form::Libvirt, Form::VirtmeNg] {
            let pinned = answer(&request(form)).unwrap().pinned;
            let number = PROCESSOR.to_string();
            assert!(pinned.contains(&number), "{pinned}");
            if form == Form::Libvirt {
                assert_eq!(
                    pinned.matches(&format!("cpuset='{number}'")).count(),
                    2,
                    "{pinned}"
                );
            } else {
                assert!(pinned.starts_with(&format!("taskset -c {number} ")), "{pinned}");
            }
        }
    }

    #[test]
    fn a_request_that_cannot_be_met_says_what_to_do() {
        let error = |change: fn(&mut Request)| {
            let mut request = request(Form::Qemu);
            change(&mut request);
            answer(&request).unwrap_err().to_string()
        };
        let told = error(|request| request.memory = None);
        assert!(told.contains("--memory MIB"), "{told}");
        let told = error(|request| request.form = Form::Libvirt);
        assert!(told.contains("<memory>"), "{told}");
        let told = error(|request| request.domain = Some("<domain/>".to_owned()));
        assert!(told.contains("args libvirt --domain"), "{told}");
        let told = error(|request| request.guest_port = Some(HARD.into()));
        assert!(told.contains("--socket and --guest-port"), "{told}");
        let told = error(|request| request.control = Some(HARD.into()));
        assert!(told.contains("--socket and --control"), "{told}");
        let told = error(|request| request.guest_port = Some("/tmp/a\nb".into()));
        assert!(
            told.contains("--guest-port") && told.contains("control characters"),
            "{told}"
        );
        let told = error(|request| request.socket = OsStr::from_bytes(b"/tmp/\xff").into());
        assert!(told.contains("--socket"), "{told}");
    }

    #[test]
    fn a_socket_has_a_path_that_fits_into_an_address() {
        let long = |length: usize| Request {
            socket: format!("/{}", "s".repeat(length - 1)).into(),
            ..request(Form::Qemu)
        };
        answer(&long(LONGEST_SOCKET_PATH)).unwrap();
        let error = answer(&long(LONGEST_SOCKET_PATH + 1)).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("107"), "{error}");
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let relative = Request {
            socket: "gpu.sock".into(),
            ..request(Form::Qemu)
        };
        let answer = answer(&relative).unwrap();
        let path = std::env::current_dir().unwrap().join("gpu.sock");
        let path = path.to_str().unwrap();
        assert!(
            words(&answer.text)
                .iter()
                .any(|word| word.contains(&format!("\"path\":\"{path}\"")))
        );
        assert!(words(&answer.daemon).contains(&path.to_owned()));
    }

    #[test]
    fn the_device_process_is_told_the_same_sockets_and_the_part() {
        let request = Request {
            asic: Asic::Navi12,
            control: Some("/run/c.sock".into()),
            ..request(Form::Qemu)
        };
        let words = words(&answer(&request).unwrap().daemon);
        let expected = [
            "vhost-device-amdgpu",
            "--socket-path",
            HARD,
            "--vram-size",
            "1G",
            "--control",
            "/run/c.sock",
            "--asic",
            "navi12",
            "--guest-port",
            "/run/p,1.sock",
        ];
        assert_eq!(words, expected);
    }
}
