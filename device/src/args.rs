//! Command line of the daemon, and the checked configuration that comes of it.
//!
//! This file uses nothing of the rest of the crate but [`gpu::asic`] and [`gpu::sriov`], so that man pages can be made from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use thiserror::Error;

use gpu::asic::{ASICS, AsicProfile, Board, Personality};
use gpu::sriov::Indirect;

const MIN_VRAM: u64 = 256 << 20;
const MAX_VRAM: u64 = 64 << 30;
/// A second, in microseconds: longer than a busy guest is ever without an access.
const LONGEST_SPIN: i64 = 1_000_000;
const MIN_LOG: u64 = 4 << 10;
/// Fewer could be gone before the thread that writes the event log has its turn.
const MIN_EVENTS: usize = 1 << 10;
const MAX_EVENTS: usize = 1 << 16;

/// An emulated AMD GPU, out of process, for QEMU guests.
///
/// Serves one PCI function over vfio-user; QEMU 10.1 or later takes it with
/// -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
#[command(group = ArgGroup::new("port").args(["guest_port", "fd"]))]
pub struct Args {
    /// UNIX socket to serve vfio-user on. A socket that nobody serves any more is replaced, and removed at the end.
    #[arg(
        short,
        long,
        value_name = "PATH",
        required_unless_present = "print_capabilities"
    )]
    pub socket_path: Option<PathBuf>,

    /// The part to be: "navi21" or "navi12".
    #[arg(long, value_name = "NAME", default_value = "navi21")]
    pub asic: String,

    /// What the function is to its driver: "bare-metal", or "vf", an SR-IOV virtual function whose host this process plays.
    #[arg(long, value_name = "NAME", default_value = "bare-metal")]
    pub personality: String,

    /// The same as `--personality vf`.
    #[arg(long, conflicts_with = "personality")]
    pub sriov_vf: bool,

    /// The registers of a virtual function that runs read as all ones and drop writes, but for the bus interface and the mailbox.
    /// Otherwise such accesses are only counted.
    #[arg(long)]
    pub block_vf_registers: bool,

    /// Registers that the host tells a virtual function's driver not to write itself while it starts: "ih" by the security processor,
    /// "mmhub" and "gc" by the RLC.
    #[arg(long, value_name = "BLOCK", value_delimiter = ',', value_parser = ["ih", "mmhub", "gc"])]
    pub vf_indirect: Vec<String>,

    /// Size of VRAM: a power of two from 256M to 64G. Memory that the guest never touches is not allocated.
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub vram_size: String,

    /// The file that VRAM is: of huge pages, which are lost in no time, or a memfd, which no front end can shrink. Huge pages take no
    /// privileges, but user namespaces.
    #[arg(long, value_name = "FILE", value_enum, default_value_t = VramBacking::Auto)]
    pub vram_backing: VramBacking,

    /// How many SDMA engines the part has, 1 to 4.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub sdma_instances: usize,

    /// Version of the SMU's firmware, for example 0x003a1900: below 0x003a1a00 the driver resets (MODE1) through the PSP instead of
    /// the SMU. [default: that of the part's usual board]
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub smu_version: Option<u32>,

    /// The board can power the chip off (strap PX): the driver then suspends an idle GPU by BACO. A BACO *reset*
    /// (amdgpu.reset_method=4) does not need it.
    #[arg(long)]
    pub baco: bool,

    /// No_Soft_Reset of the PCI power management capability; "false" makes the way back from D3hot a reset, which a kernel then also
    /// offers as the reset method "pm".
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub no_soft_reset: bool,

    /// UNIX socket for questions about the device (JSON lines).
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// File for what happens to the device: resets, losses, faults, fences, interrupts (JSON lines, docs/events.md). An old one is
    /// replaced.
    #[arg(long, value_name = "PATH")]
    pub event_log: Option<PathBuf>,

    /// Where the event log ends: at so many bytes.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub event_log_limit: String,

    /// How many events are kept in memory for those who read them, 1024 to 65536. All of them take some 10 MB.
    #[arg(long, value_name = "N", default_value_t = MAX_EVENTS)]
    pub events_kept: usize,

    /// UNIX socket to serve the guest port on, over vhost-user: a virtio console with the ports console (hvc0), amdgpu.control and
    /// amdgpu.trace (docs/guest-port.md). QEMU takes it with -chardev socket,id=port,path=PATH and
    /// -device vhost-user-test-device-pci,chardev=port,virtio-id=3,num_vqs=8,config_size=12,vq_size=128.
    #[arg(long, value_name = "PATH")]
    pub guest_port: Option<PathBuf>,

    /// Instead of --guest-port: the number of a descriptor that is a UNIX socket and listens, as a management layer passes it on.
    #[arg(long, value_name = "FDNUM", value_parser = clap::value_parser!(i32).range(3..))]
    pub fd: Option<i32>,

    /// UNIX socket for the guest port's console: who connects gets what the guest prints, and types. Without it nobody does.
    #[arg(long, value_name = "PATH", requires = "port")]
    pub guest_console: Option<PathBuf>,

    /// What the guest may ask for at amdgpu.control.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = GuestControl::Faults)]
    pub guest_control: GuestControl,

    /// Look for the front end's next access for so many microseconds after each instead of sleeping: a register access costs the guest
    /// less, and the process takes all of a processor while the guest is busy. For a host that has a processor for this process alone
    /// (taskset), with 100 or more; anywhere else it makes everything slower.
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=LONGEST_SPIN))]
    pub spin: u32,

    /// End when the first front end disconnects instead of waiting for the next.
    #[arg(long)]
    pub once: bool,

    /// Least severe messages to log: error, warn, info, debug or trace. RUST_LOG, where set, wins.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: log::LevelFilter,

    /// Print what the guest port is to QEMU's vhost-user (JSON), and do nothing else.
    #[arg(long)]
    pub print_capabilities: bool,

    /// Instead of being a GPU: ask one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of being a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Ask a running daemon at its control socket, and print the answer as JSON.
    #[command(after_help = REQUESTS)]
    Ctl {
        /// The control socket of the daemon.
        path: PathBuf,
        /// What is asked for.
        request: String,
        /// Fields of the request as --name value, for example --mode poison. Without a value: true. A number may be hexadecimal
        /// (0x1000).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        fields: Vec<String>,
    },
}

/// The file that VRAM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VramBacking {
    /// Of huge pages where that is possible, otherwise a memfd; the log says which.
    Auto,
    /// A memfd, sealed at its size.
    Memfd,
    /// Of huge pages, or the daemon does not start.
    Huge,
}

/// What a guest may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GuestControl {
    /// Nothing.
    Off,
    /// Faults of its own GPU, and its state.
    Faults,
    /// All that the control socket answers, the host's part of a virtual function included.
    All,
}

/// What can be asked for.
pub const REQUESTS: &str = "Requests, with their fields (docs/control.md):\n  \
    stats        Counters since the daemon started\n  \
    state        What every engine does at this moment, and what it waits for\n  \
    events       What happened: [--since SEQ] [--limit N]; with --follow also what happens, line by line\n  \
    page-tables  A walk of the page tables: [--vmid N]\n  \
    unmodelled   Registers that the guest touched and that are not modelled\n  \
    oracle       What page tables mapped before a loss, and map now: --action snapshot|compare\n  \
    drop-vram    VRAM is lost: --mode keep|zero|poison [--offset BYTES] [--length BYTES] [--when now|next-reset]\n  \
    hang         An engine stands still: --engine NAME [--when now|packet|command-buffer|page-table-update] [--count N]\n  \
    fault        Something goes wrong: --kind KIND [--after N] [--count N], and fields of the kind\n  \
    faults       Faults that are armed\n  \
    clear        No fault happens any more: [--id N]\n  \
    flr          The host resets a virtual function: --vram lost|kept [--claim lost|kept] [--when now|asked] [--patience_ms N]";

/// What `--print-capabilities` prints: `VHostUserBackendCapabilities` of QEMU's docs/interop/vhost-user.json. A console has no features
/// that could be listed.
pub const CAPABILITIES: &str = r#"{
  "type": "console"
}"#;

const EXIT_STATUS: &str = "Exit status: 0 ended by a signal, or by --once; 1 failed; 2 wrong options.\n\
    Signals: SIGINT and SIGTERM end the daemon, SIGUSR1 logs what the guest touched that is not modelled.";

/// An option that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// No such part.
    #[error("--asic {name}: no such part, expected one of: {known}")]
    Asic {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No such personality.
    #[error("--personality {name}: expected one of: {known}")]
    Personality {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not a size.
    #[error(
        "{option} {text}: not a size, expected a number with an optional suffix K, M or G, for example 1G"
    )]
    SizeSyntax {
        /// The option.
        option: &'static str,
        /// What was given.
        text: String,
    },
    /// Too short for a log.
    #[error("--event-log-limit {text}: expected at least 4K")]
    LogLimit {
        /// What was given.
        text: String,
    },
    /// Too few or too many events.
    #[error("--events-kept {count}: expected {MIN_EVENTS} to {MAX_EVENTS}")]
    EventsKept {
        /// What was given.
        count: usize,
    },
    /// Not a size that a BAR can have.
    #[error("--vram-size {text}: expected a power of two from 256M to 64G")]
    SizeRange {
        /// What was given.
        text: String,
    },
    /// No socket to serve on.
    #[error("--socket-path: missing, expected the path of the socket to serve vfio-user on")]
    SocketPath,
    /// The part does not have so many engines.
    #[error("--sdma-instances {count}: {asic} has 1 to {max}")]
    SdmaInstances {
        /// What was given.
        count: usize,
        /// The part.
        asic: &'static str,
        /// What it has.
        max: usize,
    },
}

/// Where the guest port is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSocket {
    /// At a path.
    Path(PathBuf),
    /// At a socket that this process was started with.
    Descriptor(i32),
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The part.
    pub asic: &'static AsicProfile,
    /// What the function is to its driver.
    pub personality: &'static Personality,
    /// Whether registers that are not a virtual function's answer while it runs.
    pub block_vf_registers: bool,
    /// Registers that its driver is told to leave to others while it starts.
    pub vf_indirect: Indirect,
    /// Bytes of VRAM.
    pub vram_size: u64,
    /// The file that they are.
    pub vram_backing: VramBacking,
    /// SDMA engines.
    pub sdma_instances: usize,
    /// The board that the part is on.
    pub board: Board,
    /// Where vfio-user is served.
    pub socket_path: PathBuf,
    /// Where questions are answered.
    pub control: Option<PathBuf>,
    /// Where events are written.
    pub event_log: Option<PathBuf>,
    /// Bytes that the event log may have.
    pub event_log_limit: u64,
    /// Events that are kept in memory.
    pub events_kept: usize,
    /// Where the guest port is served.
    pub guest_port: Option<PortSocket>,
    /// Where its console is.
    pub guest_console: Option<PathBuf>,
    /// What the guest may ask for.
    pub guest_control: GuestControl,
    /// How long to look for the next access before sleeping.
    pub spin: Duration,
    /// End with the first front end.
    pub once: bool,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let asic = profile(&args.asic)?;
        let vram_size = parse_vram_size(&args.vram_size)?;
        if !(1..=asic.sdma.len()).contains(&args.sdma_instances) {
            return Err(ConfigError::SdmaInstances {
                count: args.sdma_instances,
                asic: asic.name,
                max: asic.sdma.len(),
            });
        }
        if !(MIN_EVENTS..=MAX_EVENTS).contains(&args.events_kept) {
            return Err(ConfigError::EventsKept {
                count: args.events_kept,
            });
        }
        Ok(Self {
            asic,
            personality: personality(asic, if args.sriov_vf { VF } else { &args.personality })?,
            block_vf_registers: args.block_vf_registers,
            vf_indirect: indirect(&args.vf_indirect),
            vram_size,
            vram_backing: args.vram_backing,
            sdma_instances: args.sdma_instances,
            board: Board {
                smu_version: args.smu_version.unwrap_or(asic.smu_version),
                px_capable: args.baco,
                no_soft_reset: args.no_soft_reset,
            },
            socket_path: args.socket_path.ok_or(ConfigError::SocketPath)?,
            control: args.control,
            event_log: args.event_log,
            event_log_limit: parse_log_limit(&args.event_log_limit)?,
            events_kept: args.events_kept,
            guest_port: (args.guest_port.map(PortSocket::Path)).or(args.fd.map(PortSocket::Descriptor)),
            guest_console: args.guest_console,
            guest_control: args.guest_control,
            spin: Duration::from_micros(args.spin.into()),
            once: args.once,
        })
    }
}

fn profile(name: &str) -> Result<&'static AsicProfile, ConfigError> {
    ASICS
        .into_iter()
        .find(|asic| asic.name == name)
        .ok_or_else(|| ConfigError::Asic {
            name: name.to_owned(),
            known: ASICS.map(|asic| asic.name).join(", "),
        })
}

fn indirect(blocks: &[String]) -> Indirect {
    let has = |name| blocks.iter().any(|block| block == name);
    Indirect {
        interrupt_handler: has("ih"),
        mmhub: has("mmhub"),
        graphics: has("gc"),
    }
}

/// The name of a virtual function's personality.
const VF: &str = "vf";

fn personality(asic: &'static AsicProfile, name: &str) -> Result<&'static Personality, ConfigError> {
    let known = asic.personalities();
    known
        .into_iter()
        .find(|personality| personality.name == name)
        .ok_or_else(|| ConfigError::Personality {
            name: name.to_owned(),
            known: known.map(|personality| personality.name).join(", "),
        })
}

/// A firmware version: hexadecimal with 0x, or decimal.
fn parse_version(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number of 32 bits, for example 0x003a1900".to_owned())
}

/// A number with a suffix; the largest there is if it is larger.
fn parse_size(option: &'static str, text: &str) -> Result<u64, ConfigError> {
    let syntax = || ConfigError::SizeSyntax {
        option,
        text: text.to_owned(),
    };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(syntax()),
    };
    let number: u64 = digits.parse().map_err(|_| syntax())?;
    Ok(number.saturating_mul(1 << shift))
}

fn parse_vram_size(text: &str) -> Result<u64, ConfigError> {
    Some(parse_size("--vram-size", text)?)
        .filter(|size| size.is_power_of_two() && (MIN_VRAM..=MAX_VRAM).contains(size))
        .ok_or_else(|| ConfigError::SizeRange {
            text: text.to_owned(),
        })
}

fn parse_log_limit(text: &str) -> Result<u64, ConfigError> {
    Some(parse_size("--event-log-limit", text)?)
        .filter(|limit| *limit >= MIN_LOG)
        .ok_or_else(|| ConfigError::LogLimit {
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu::asic::NAVI21;

    fn config(options: &[&str]) -> Result<Config, ConfigError> {
        let argv = ["vhost-device-amdgpu", "--socket-path", "gpu.sock"]
            .iter()
            .chain(options);
        Config::try_from(Args::try_parse_from(argv).expect("the options parse"))
    }

    #[test]
    fn the_socket_is_the_only_option_that_must_be_given() {
        let config = config(&[]).unwrap();
        assert_eq!(
            (config.asic.name, config.vram_size, config.sdma_instances),
            ("navi21", 1 << 30, 2)
        );
        Args::try_parse_from(["vhost-device-amdgpu"]).unwrap_err();
    }

    #[test]
    fn a_guest_may_do_its_own_gpu_harm_unless_something_else_is_said() {
        assert_eq!(config(&[]).unwrap().guest_control, GuestControl::Faults);
        let options = [
            "--guest-port",
            "port.sock",
            "--guest-console",
            "guest.sock",
            "--guest-control",
            "off",
        ];
        let config = config(&options).unwrap();
        assert_eq!(config.guest_control, GuestControl::Off);
        assert!(config.guest_port.is_some() && config.guest_console.is_some());
        // A console of no port.
        Args::try_parse_from("x -s a --guest-console b".split(' ')).unwrap_err();
    }

    #[test]
    fn the_guest_port_is_at_a_path_or_at_a_descriptor_that_is_no_standard_stream() {
        let passed = config(&["--fd", "7", "--guest-console", "guest.sock"]).unwrap();
        assert_eq!(passed.guest_port, Some(PortSocket::Descriptor(7)));
        for wrong in ["--fd 7 --guest-port p", "--fd 2", "--fd -1", "--fd x"] {
            let line = format!("x -s a {wrong}");
            Args::try_parse_from(line.split(' ')).unwrap_err();
        }
    }

    #[test]
    fn capabilities_need_no_socket_and_other_options_do_not_matter() {
        for line in [
            "x --print-capabilities",
            "x -s a --fd 9 --print-capabilities --once",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).unwrap().print_capabilities);
        }
        let capabilities: serde_json::Value = serde_json::from_str(CAPABILITIES).unwrap();
        assert_eq!(capabilities, serde_json::json!({ "type": "console" }));
    }

    #[test]
    fn a_question_needs_no_socket_to_serve_on() {
        let line = "vhost-device-amdgpu ctl control.sock drop-vram --mode poison";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::Ctl {
            path,
            request,
            fields,
        }) = args.command
        else {
            panic!("no command")
        };
        assert_eq!(
            (path.to_str(), request.as_str()),
            (Some("control.sock"), "drop-vram")
        );
        assert_eq!(fields, ["--mode", "poison"]);
        Args::try_parse_from("vhost-device-amdgpu -s a ctl b stats".split(' ')).unwrap_err();
    }

    #[test]
    fn the_board_is_the_parts_usual_one_but_for_what_is_said() {
        assert_eq!(config(&[]).unwrap().board, NAVI21.board());
        let options = [
            "--smu-version",
            "0x003a1900",
            "--baco",
            "--no-soft-reset",
            "false",
        ];
        let expected = Board {
            smu_version: 0x003a_1900,
            px_capable: true,
            no_soft_reset: false,
        };
        assert_eq!(config(&options).unwrap().board, expected);
        let wrong = ["x", "-s", "a", "--smu-version", "58.25"];
        let error = Args::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("expected a number of 32 bits"), "{error}");
    }

    #[test]
    fn the_function_is_the_part_itself_unless_it_is_said_to_be_a_virtual_one() {
        assert_eq!(config(&[]).unwrap().personality.pci.device, 0x73bf);
        let vf = config(&["--personality", "vf"]).unwrap();
        assert_eq!(vf.personality.pci.device, 0x73ae);
        assert_eq!(config(&["--sriov-vf"]).unwrap().personality.pci.device, 0x73ae);
        let other = config(&["--asic", "navi12", "--personality", "vf"]).unwrap();
        assert_eq!(
            (other.asic.name, other.personality.pci.device),
            ("navi12", 0x7362)
        );
        assert!(vf.personality.host.is_some() && !vf.block_vf_registers);
        assert_eq!(vf.vf_indirect, Indirect::default());
        let indirect = config(&["--vf-indirect", "ih,gc"]).unwrap().vf_indirect;
        assert!(indirect.interrupt_handler && indirect.graphics && !indirect.mmhub);
    }

    #[test]
    fn vram_is_what_can_be_had_unless_a_file_is_chosen() {
        assert_eq!(config(&[]).unwrap().vram_backing, VramBacking::Auto);
        let memfd = config(&["--vram-backing", "memfd"]).unwrap();
        assert_eq!(memfd.vram_backing, VramBacking::Memfd);
    }

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!(config(&["--vram-size", "256M"]).unwrap().vram_size, 256 << 20);
        assert_eq!(config(&["--vram-size", "16G"]).unwrap().vram_size, 16 << 30);
        assert_eq!(config(&["--vram-size", "1073741824"]).unwrap().vram_size, 1 << 30);
        assert_eq!(config(&[]).unwrap().event_log_limit, 256 << 20);
        let options = ["--event-log", "events.jsonl", "--event-log-limit", "100K"];
        let config = config(&options).unwrap();
        assert_eq!(config.event_log_limit, 100 << 10);
        assert_eq!(config.event_log, Some(PathBuf::from("events.jsonl")));
    }

    #[test]
    fn all_events_are_kept_that_there_is_room_for_unless_fewer_are_wanted() {
        assert_eq!(config(&[]).unwrap().events_kept, crate::event::KEPT);
        assert_eq!(config(&["--events-kept", "1024"]).unwrap().events_kept, 1024);
    }

    #[test]
    fn the_process_sleeps_between_accesses_unless_it_is_to_spin() {
        assert_eq!(config(&[]).unwrap().spin, Duration::ZERO);
        assert_eq!(
            config(&["--spin", "200"]).unwrap().spin,
            Duration::from_micros(200)
        );
        for wrong in ["-1", "1000001", "1ms"] {
            Args::try_parse_from(["x", "-s", "a", "--spin", wrong]).unwrap_err();
        }
    }

    #[test]
    fn every_wrong_option_is_named_with_what_was_expected() {
        for (options, message) in [
            (["--vram-size", "much"], "--vram-size much: not a size"),
            (["--vram-size", "1T"], "--vram-size 1T: not a size"),
            (
                ["--vram-size", "768M"],
                "--vram-size 768M: expected a power of two",
            ),
            (
                ["--vram-size", "99999999999G"],
                "--vram-size 99999999999G: expected a power of two",
            ),
            (
                ["--vram-size", "128M"],
                "--vram-size 128M: expected a power of two",
            ),
            (
                ["--asic", "vega10"],
                "--asic vega10: no such part, expected one of: navi21, navi12",
            ),
            (
                ["--personality", "pf"],
                "--personality pf: expected one of: bare-metal, vf",
            ),
            (
                ["--event-log-limit", "lots"],
                "--event-log-limit lots: not a size",
            ),
            (
                ["--event-log-limit", "1K"],
                "--event-log-limit 1K: expected at least 4K",
            ),
            (
                ["--events-kept", "1023"],
                "--events-kept 1023: expected 1024 to 65536",
            ),
            (
                ["--events-kept", "65537"],
                "--events-kept 65537: expected 1024 to 65536",
            ),
            (["--sdma-instances", "0"], "--sdma-instances 0: navi21 has 1 to 4"),
            (["--sdma-instances", "5"], "--sdma-instances 5: navi21 has 1 to 4"),
        ] {
            let error = config(&options).unwrap_err().to_string();
            assert!(error.starts_with(message), "{options:?} gave: {error}");
        }
        Args::try_parse_from(["x", "-s", "a", "--log-level", "loud"]).unwrap_err();
        Args::try_parse_from(["x", "-s", "a", "--vram-backing", "disk"]).unwrap_err();
    }
}
