//! The steps that can be ordered.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::guest::order;
use protocol::names::ERRNO;

use crate::drm::Device;
use crate::flood::Flood;
use crate::json::Object;
use crate::pci::{self, Gpu};
use crate::sys::{self, End};
use crate::{
    background, client, clients, latency, marker, memory, module, port, power, recovery, root, vulkan,
};

/// How long a driver that was loaded or bound may take until its render node is there.
/// How long the bus may take to show a GPU that is plugged in.
const PLUG_LIMIT: Duration = Duration::from_secs(10);
const NODE_LIMIT: Duration = Duration::from_secs(60);

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Load a module and, if it is the driver, wait for the GPU's render node.
    Modprobe {
        /// The module.
        module: String,
        /// Parameters for it; none as a rule.
        parameters: String,
    },
    /// Load a module, no more.
    Load {
        /// The module.
        module: String,
        /// Parameters for it.
        parameters: String,
    },
    /// Remove a module.
    Rmmod(String),
    /// Take the driver from the GPU.
    Unbind,
    /// Give the GPU to the driver.
    Bind,
    /// Both, this many times.
    Rebind(u32),
    /// A client that copies and compares.
    Client(client::Options),
    /// A client that stays.
    Clients(clients::Command),
    /// Vulkan devices that stay.
    Vulkan(vulkan::Command),
    /// A program of the root.
    RootRun(Vec<String>),
    /// Time so many hundred register reads.
    RegisterLatency(u32),
    /// Time fills of memory.
    MemorySpeed,
    /// Look whether so many MiB of new buffers in VRAM are empty.
    FreshVram(u32),
    /// Report what the driver says about the device.
    Info,
    /// Make the driver reset the GPU.
    Recover,
    /// Have the driver move all of VRAM away.
    Evict,
    /// Something that goes on meanwhile.
    Background(background::Command),
    /// Report and drop the device core dumps; wait so long for one.
    CoreDump(Duration),
    /// Choose the kind of reset.
    ResetMethod(String),
    /// Take the GPU off its bus.
    PciRemove,
    /// Look for new functions, and wait for the driver.
    PciRescan,
    /// Wait until the GPU is on its bus: it may be plugged in just now.
    PciWait,
    /// Have the bus reset the GPU.
    PciReset,
    /// Suspend to memory for so many seconds.
    Suspend(u32),
    /// Another step, that has to fail with this error number.
    Expecting(Box<Step>, i32),
    /// Remove and load the driver, this many times.
    Reload(u32),
    /// Wait for a line from the host.
    Hold,
    /// Write a file.
    Write {
        /// Which.
        path: String,
        /// What.
        value: String,
    },
    /// Read a file and report its lines.
    Read(String),
    /// Print and take orders at another console from now on.
    Console(String),
    /// Wait for the ports of the guest port.
    PortUp,
    /// Ask something at its control port.
    PortRequest(String),
    /// Push bytes through a port.
    Flood(Flood),
    /// A line of a shell script.
    Script(String),
    /// A shell on the console.
    Shell,
    /// Wait.
    Sleep(Duration),
    /// The end of the machine's run.
    End(End),
}

impl Step {
    /// Reads a step's name and arguments.
    pub fn parse(name: &str, arguments: &[String]) -> Result<Self, String> {
        // What no table has can be no order; moving the console is the lab's own, and no scenario's.
        if name != "console" {
            let words = std::iter::once(name).chain(arguments.iter().map(String::as_str));
            order::check(words).map_err(|wrong| wrong.to_string())?;
        }
        /// Steps that may be expected to fail. A client judges that itself.
        const MAY_FAIL: [&str; 10] = [
            "recover",
            "recover-wait",
            "evict",
            "evict-loop",
            "reset-method",
            "pci-remove",
            "pci-rescan",
            "pci-reset",
            "rmmod",
            "suspend",
        ];
        if let Some((last, rest)) = arguments.split_last()
            && let Some(number) = last.strip_prefix("expect=")
            && MAY_FAIL.contains(&name)
        {
            let number = error_number(name, number)?;
            let step = Box::new(Self::parse(name, rest)?);
            return Ok(match number {
                0 => *step,
                number => Self::Expecting(step, number),
            });
        }
        let argument = |index: usize| arguments.get(index).map(String::as_str);
        let number = |index: usize, default: u32| match argument(index) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name}: {text:?} is no number")),
        };
        let required =
            |index: usize, what: &str| argument(index).ok_or_else(|| format!("{name}: no {what} given"));
        Ok(match name {
            "modprobe" => Self::Modprobe {
                module: argument(0).unwrap_or("amdgpu").to_owned(),
                parameters: arguments.get(1..).unwrap_or_default().join(" "),
            },
            "load" => Self::Load {
                module: argument(0).unwrap_or("amdgpu").to_owned(),
                parameters: arguments.get(1..).unwrap_or_default().join(" "),
            },
            "rmmod" => Self::Rmmod(argument(0).unwrap_or("amdgpu").to_owned()),
            "unbind" => Self::Unbind,
            "bind" => Self::Bind,
            "rebind" => Self::Rebind(number(0, 1)?),
            "client" => Self::Client(client::Options::parse(arguments)?),
            _ if name.starts_with("client-") => {
                let verb = name.trim_start_matches("client-");
                Self::Clients(clients::Command::parse(verb, arguments)?)
            }
            _ if name.starts_with("vulkan-") => {
                let verb = name.trim_start_matches("vulkan-");
                Self::Vulkan(vulkan::Command::parse(verb, arguments)?)
            }
            "root-run" => Self::RootRun(arguments.to_vec()),
            "fresh-vram" => match number(0, 32)? {
                mib @ 1..=client::fresh::MOST => Self::FreshVram(mib),
                _ => return Err(format!("fresh-vram: from 1 to {} MiB", client::fresh::MOST)),
            },
            "register-latency" => match number(0, 100)? {
                batches @ 1..=latency::MOST => Self::RegisterLatency(batches),
                _ => {
                    return Err(format!(
                        "register-latency: from 1 to {} hundred reads",
                        latency::MOST
                    ));
                }
            },
            "memory-speed" => Self::MemorySpeed,
            "info" => Self::Info,
            "recover" => Self::Recover,
            "recover-start" => Self::Background(background::Command::StartRecovery),
            "recover-wait" => Self::Background(background::Command::AwaitRecovery),
            "unbind-start" => Self::Background(background::Command::StartUnbind),
            "unbind-wait" => Self::Background(background::Command::AwaitUnbind),
            "evict" => Self::Evict,
            "evict-loop" => Self::Background(match argument(0) {
                Some("start") => background::Command::StartEvictions,
                Some("stop") => background::Command::StopEvictions,
                _ => return Err("evict-loop: start or stop?".to_owned()),
            }),
            "coredump" => Self::CoreDump(Duration::from_millis(number(0, 0)?.into())),
            "reset-method" => Self::ResetMethod(required(0, "number")?.to_owned()),
            "pci-remove" => Self::PciRemove,
            "pci-rescan" => Self::PciRescan,
            "pci-wait" => Self::PciWait,
            "pci-reset" => Self::PciReset,
            "suspend" => Self::Suspend(number(0, 5)?),
            "reload" => Self::Reload(number(0, 1)?),
            "hold" => Self::Hold,
            "write" => Self::Write {
                path: required(0, "path")?.to_owned(),
                value: required(1, "value")?.to_owned(),
            },
            "read" => Self::Read(required(0, "path")?.to_owned()),
            "console" => Self::Console(required(0, "console")?.to_owned()),
            "port-up" => Self::PortUp,
            "port-request" => Self::PortRequest(arguments.join(" ")),
            "sh" => Self::Script(arguments.join(" ")),
            "trace" => Self::Background(match arguments.split_first() {
                Some((verb, events)) if verb == "start" && !events.is_empty() => {
                    background::Command::StartTrace(events.to_vec())
                }
                Some((verb, [])) if verb == "stop" => background::Command::StopTrace,
                _ => return Err("trace: start EVENT... or stop?".to_owned()),
            }),
            "flood" => Self::Background(match arguments.split_first() {
                Some((verb, rest)) if verb == "start" => background::Command::StartFlood(Flood::parse(rest)?),
                Some((verb, [])) if verb == "wait" => background::Command::AwaitFlood,
                _ => return Ok(Self::Flood(Flood::parse(arguments)?)),
            }),
            "shell" => Self::Shell,
            "sleep" => Self::Sleep(Duration::from_millis(number(0, 1000)?.into())),
            "reboot" => Self::End(End::Restart),
            "poweroff" => Self::End(End::PowerOff),
            _ => return Err(format!("there is no step {name:?}")),
        })
    }
}

/// Does one step, in the child process made for it.
pub fn perform(step: &Step) -> Result<(), String> {
    match step {
        Step::Modprobe { module, parameters } => modprobe(module, parameters),
        Step::Load { module, parameters } => module::load(module, parameters),
        Step::Rmmod(name) => module::remove(name),
        Step::Unbind => Gpu::find()?.unbind(),
        Step::Bind => bind(&Gpu::find()?),
        Step::Rebind(times) => {
            let gpu = Gpu::find()?;
            for _ in 0..*times {
                gpu.unbind()?;
                bind(&gpu)?;
            }
            Ok(())
        }
        Step::Client(options) => client::run(&render_node()?, *options),
        Step::FreshVram(mib) => client::fresh::look(&render_node()?, *mib),
        Step::RegisterLatency(batches) => latency::measure(*batches),
        Step::MemorySpeed => memory::measure(),
        Step::Info => client::report_device(&Device::open(&render_node()?)?).map(|_| ()),
        Step::Recover => recovery::recover(),
        Step::Evict => recovery::evict(),
        Step::CoreDump(wait) => recovery::core_dumps(*wait),
        Step::ResetMethod(number) => recovery::choose_reset_method(number),
        Step::PciRemove => Gpu::find()?.remove(),
        Step::PciRescan => rescan(),
        Step::PciWait => Gpu::wait(PLUG_LIMIT).map(|_| ()),
        Step::PciReset => Gpu::find()?.reset(),
        Step::Suspend(seconds) => power::suspend(*seconds),
        Step::Expecting(step, number) => judge(perform(step), Some(*number)),
        Step::Reload(times) => {
            for _ in 0..*times {
                module::remove("amdgpu")?;
                modprobe("amdgpu", "")?;
            }
            Ok(())
        }
        Step::Hold => hold("hold"),
        Step::Write { path, value } => pci::write(path, value),
        Step::Read(path) => read(path),
        Step::PortUp => port::up(),
        Step::PortRequest(words) => port::request(words),
        Step::Flood(flood) => flood.run(),
        Step::Script(text) => port::script(text),
        Step::RootRun(words) => root::run(words),
        Step::Shell => shell(),
        Step::Sleep(time) => {
            std::thread::sleep(*time);
            Ok(())
        }
        // Init does these itself.
        Step::Clients(_) | Step::Vulkan(_) | Step::Background(_) | Step::Console(_) | Step::End(_) => Ok(()),
    }
}

/// Whether a result is the one that was expected: the error that has this number, or none.
pub fn judge(result: Result<(), String>, expect: Option<i32>) -> Result<(), String> {
    match (result, expect.filter(|number| *number != 0)) {
        (result, None) => result,
        (Ok(()), Some(number)) => Err(format!("it worked, but {} was expected", sys::name(number))),
        (Err(error), Some(number)) if has_error(&error, number) => Ok(()),
        (Err(error), Some(number)) => Err(format!("{error} ({} was expected)", sys::name(number))),
    }
}

/// Whether a message is about this error, see [`sys::explain`].
fn has_error(message: &str, number: i32) -> bool {
    let name = format!("{}: ", sys::name(number));
    let before = |at: usize| message.get(..at).and_then(|text| text.chars().next_back());
    message
        .match_indices(&name)
        .any(|(at, _)| before(at).is_none_or(|letter| !letter.is_ascii_alphanumeric()))
}

/// An error number or its name.
pub fn error_number(step: &str, text: &str) -> Result<i32, String> {
    let number = ERRNO
        .number(text)
        .ok()
        .and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| format!("{step}: {text:?} is not {}", ERRNO.what))
}

/// The GPU's render node, once it can be opened.
pub fn render_node() -> Result<PathBuf, String> {
    Gpu::find()?.wait_for_render_node(NODE_LIMIT)
}

/// Says that it waits, and waits for a line from the host.
pub fn hold(why: &str) -> Result<(), String> {
    marker::send(&Object::new().text("ev", "hold").text("why", why));
    let mut line = String::new();
    let result = io::stdin().lock().read_line(&mut line);
    match result {
        Ok(0) => Err("the console was closed while the guest waited for the host".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("reading the console: {error}")),
    }
}

fn modprobe(name: &str, parameters: &str) -> Result<(), String> {
    module::load(name, parameters)?;
    if name != "amdgpu" {
        return Ok(());
    }
    report_parameters(name);
    wait_until_ready(&Gpu::find()?)
}

fn rescan() -> Result<(), String> {
    pci::rescan()?;
    let gpu = Gpu::find()?;
    if module::is_loaded("amdgpu") {
        wait_until_ready(&gpu)
    } else {
        Ok(())
    }
}

fn bind(gpu: &Gpu) -> Result<(), String> {
    gpu.bind()?;
    wait_until_ready(gpu)
}

fn wait_until_ready(gpu: &Gpu) -> Result<(), String> {
    let started = Instant::now();
    let node = gpu.wait_for_render_node(NODE_LIMIT)?;
    gpu.wait_for_probe()?;
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    marker::note(
        "gpu",
        &Object::new()
            .text("address", &gpu.address)
            .text("device", &gpu.attribute("device"))
            .text("node", &node.display().to_string())
            .number("waited_ms", milliseconds),
    );
    let rings = rings(gpu);
    marker::note("rings", &Object::new().list("names", &rings));
    Ok(())
}

/// The rings that the driver made, from its files `amdgpu_ring_NAME` in debugfs.
fn rings(gpu: &Gpu) -> Vec<String> {
    let Ok(folder) = gpu.debugfs() else {
        return Vec::new();
    };
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix("amdgpu_ring_").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The values of all parameters, in as many notes as their length takes.
fn report_parameters(name: &str) {
    /// Leaves room for the rest of the marker and for escapes.
    const LONGEST: usize = 600;
    let mut part: Vec<String> = Vec::new();
    let send = |part: &mut Vec<String>| {
        marker::note(
            "parameters",
            &Object::new().text("module", name).list("values", part),
        );
        part.clear();
    };
    for value in module::parameters(name) {
        if part.iter().map(|text| text.len() + 3).sum::<usize>() + value.len() > LONGEST {
            send(&mut part);
        }
        part.push(value);
    }
    if !part.is_empty() {
        send(&mut part);
    }
}

fn read(path: &str) -> Result<(), String> {
    const LINES: usize = 200;
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    for line in text.lines().take(LINES) {
        let line: String = line.chars().take(400).collect();
        marker::note("file", &Object::new().text("path", path).text("line", &line));
    }
    Ok(())
}

fn shell() -> Result<(), String> {
    const BUSYBOX: &str = "/bin/busybox";
    // A shell needs a real terminal: job control does not work on /dev/console.
    let name = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let path = format!("/dev/{}", name.split_whitespace().last().unwrap_or("console"));
    let open = || OpenOptions::new().read(true).write(true).open(&path);
    let (console, output, errors) = open()
        .and_then(|console| Ok((console, open()?, open()?)))
        .map_err(|error| format!("opening {path}: {error}"))?;
    let _ = fs::create_dir_all("/sbin");
    let _ = fs::create_dir_all("/usr/bin");
    let _ = fs::create_dir_all("/usr/sbin");
    let installed = Command::new(BUSYBOX).args(["--install", "-s"]).status();
    installed.map_err(|error| format!("{BUSYBOX}: {error}; the initramfs was built without a shell"))?;
    sys::take_console(console.as_fd()).map_err(|error| format!("taking the console: {error}"))?;
    let settings = Command::new(BUSYBOX).args(["stty", "sane", "-F", &path]).status();
    settings.map_err(|error| format!("stty: {error}"))?;
    marker::note("shell", &Object::new().text("terminal", &path));
    let error = Command::new(BUSYBOX)
        .args(["sh", "-i"])
        .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
        .env("PS1", "guest# ")
        .env("TERM", "linux")
        .env("HOME", "/root")
        .stdin(console)
        .stdout(output)
        .stderr(errors)
        .exec();
    Err(format!("{BUSYBOX}: {error}"))
}

#[cfg(test)]
mod tests {
    use protocol::guest::order::{Value, Word};

    use super::*;

    fn parse(line: &str) -> Result<Step, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Step::parse(&words[0], &words[1..])
    }

    #[test]
    fn a_module_gets_no_parameters_unless_the_order_names_them() {
        assert_eq!(
            parse("modprobe"),
            Ok(Step::Modprobe {
                module: "amdgpu".into(),
                parameters: String::new()
            })
        );
        assert_eq!(
            parse("modprobe amdgpu dpm=0 msi=1"),
            Ok(Step::Modprobe {
                module: "amdgpu".into(),
                parameters: "dpm=0 msi=1".into()
            })
        );
    }

    #[test]
    fn steps_may_be_expected_to_fail() {
        assert_eq!(
            parse("recover expect=EIO"),
            Ok(Step::Expecting(Box::new(Step::Recover), 5))
        );
        assert_eq!(parse("suspend 3 expect=0"), Ok(Step::Suspend(3)));
        assert_eq!(parse("recover expect=5"), parse("recover expect=EIO"));
        assert!(parse("recover expect=yes").unwrap_err().contains("yes"));
        // A value is a value.
        assert!(matches!(parse("write /a expect=5"), Ok(Step::Write { value, .. }) if value == "expect=5"));
    }

    #[test]
    fn an_expected_error_has_to_come() {
        let gone = sys::describe(19);
        assert!(
            gone.starts_with("ENODEV: ") && gone.ends_with("(os error 19)"),
            "{gone}"
        );
        assert_eq!(judge(Err(format!("X(): {gone}")), Some(19)), Ok(()));
        assert!(judge(Ok(()), Some(19)).unwrap_err().contains("ENODEV"));
        let other = judge(Err("EIO: io".into()), Some(19)).unwrap_err();
        assert_eq!(other, "EIO: io (ENODEV was expected)");
        // A name that ends as another one does.
        assert!(judge(Err("X(): MYENODEV: x".into()), Some(19)).is_err());
        assert_eq!(judge(Ok(()), Some(0)), Ok(()));
    }

    /// The table of orders is what scenarios are held against.
    #[test]
    fn every_order_of_the_table_is_one_with_all_its_options() {
        let needed = |word: &Word| match word {
            Word::Verb(list) => list.last().map(|word| (*word).to_owned()),
            Word::Needed("start, wait or a path") => Some("wait".to_owned()),
            Word::Needed(_) => Some("x".to_owned()),
            _ => None,
        };
        for order in order::ORDERS {
            let mut words = vec![order.name.to_owned()];
            words.extend(order.words.iter().filter_map(needed));
            let least = words.join(" ");
            let taken = parse(&least);
            assert!(taken.is_ok(), "{least}: {taken:?}");
            for word in order.words {
                let values: Vec<String> = match word {
                    Word::Option(name, Value::OneOf(list)) => {
                        list.iter().map(|value| format!("{name}={value}")).collect()
                    }
                    Word::Option(name, Value::OneOfOr(list, start)) => {
                        let other = format!("{start}SUCCESS");
                        let values = list.iter().copied().chain([other.as_str()]);
                        values.map(|value| format!("{name}={value}")).collect()
                    }
                    Word::Option(name, Value::Number) => vec![format!("{name}=4")],
                    Word::Option(name, Value::Named(names)) => {
                        let values = names.words().map(str::to_owned).chain(["4".to_owned()]);
                        values.map(|value| format!("{name}={value}")).collect()
                    }
                    Word::Variable => vec!["X=1".to_owned()],
                    Word::Either(list) => list.iter().map(|word| (*word).to_owned()).collect(),
                    Word::Number => vec!["4".to_owned()],
                    Word::Any(_) | Word::Client => vec!["x".to_owned()],
                    Word::Verb(_) | Word::Needed(_) | Word::Rest => Vec::new(),
                };
                for value in values {
                    let line = format!("{least} {value}");
                    let taken = parse(&line);
                    assert!(taken.is_ok(), "{line}: {taken:?}");
                }
            }
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(parse("rebind x").unwrap_err().contains("\"x\""));
        assert!(parse("write /a").unwrap_err().contains("value"));
        assert!(parse("register-latency 0").unwrap_err().contains("hundred"));
        assert!(parse("dance").unwrap_err().contains("dance"));
    }
}
