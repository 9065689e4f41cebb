//! The daemon `vhost-device-amdgpu`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use clap::Parser;
use device::args::{Args, CAPABILITIES, Command, Config, VramBacking};
use device::control::{ControlSocket, client};
use device::door::{self, Door};
use device::event::EventLog;
use device::function::GpuFunction;
use device::memory::{Backing, Vram};
use device::transport::vfio_user::{Listener, Options, Server};
use device::transport::{Mailbox, StopHandle};
use gpu::{GpuConfig, VfConfig, VfRegisters};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// Unmodelled registers listed in the log.
const LISTED: usize = 40;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Ctl {
        path,
        request,
        fields,
    }) = &args.command
    {
        return ask(path, request, fields);
    }
    if args.print_capabilities {
        let printed = writeln!(std::io::stdout(), "{CAPABILITIES}");
        return printed.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    env_logger::Builder::new()
        .filter_level(args.log_level)
        .parse_default_env()
        .init();
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => {
            // Nothing is left to be told if standard error is gone.
            let _ = writeln!(
                std::io::stderr(),
                "error: {error}\n\nFor more information, try '--help'."
            );
            return ExitCode::from(2);
        }
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks a running daemon. The answer goes to standard output, an error to standard error.
fn ask(path: &Path, request: &str, fields: &[String]) -> ExitCode {
    let print = |text: &str| writeln!(std::io::stdout(), "{text}").is_ok();
    match client::Question::new(request, fields).and_then(|question| question.ask(path, print)) {
        Ok(()) => ExitCode::SUCCESS,
        // Nothing is left to be told if nobody reads.
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}

const fn gpu_config(config: &Config) -> GpuConfig {
    GpuConfig {
        asic: config.asic,
        personality: config.personality,
        vf: VfConfig {
            registers: if config.block_vf_registers {
                VfRegisters::Blocked
            } else {
                VfRegisters::Open
            },
            indirect: config.vf_indirect,
        },
        sdma_instances: config.sdma_instances,
        board: config.board,
    }
}

const fn backing(choice: VramBacking) -> Backing {
    match choice {
        VramBacking::Auto => Backing::Auto,
        VramBacking::Memfd => Backing::Memfd,
        VramBacking::Huge => Backing::Huge,
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    // Before there is a thread, and a guest that could have to do with how it is made.
    let vram = Vram::backed(config.vram_size, backing(config.vram_backing))?;
    // Before there is a socket that somebody could take for a daemon to signal.
    let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).context("cannot handle signals")?;
    let seat = config.guest_port.as_ref().map(door::listen).transpose()?;
    let mut function = GpuFunction::with(gpu_config(config), vram)?.keeping_events(config.events_kept);
    let listener = Listener::bind(&config.socket_path)?;
    let mut server = Server::new(
        listener,
        Options {
            spin: config.spin,
            once: config.once,
        },
    )?;
    let _control = config
        .control
        .as_deref()
        .map(|path| ControlSocket::serve(path, server.mailbox()))
        .transpose()?;
    let event_log = config
        .event_log
        .as_deref()
        .map(|path| EventLog::start(path, config.event_log_limit, function.feed()))
        .transpose()?;
    let mailbox = server.mailbox();
    let serve = |seat| {
        Door::serve(
            seat,
            config.guest_console.as_deref(),
            config.guest_control,
            &mailbox,
        )
    };
    let _door = seat.map(serve).transpose()?;
    handle_signals(signals, server.stop_handle(), server.mailbox())?;
    log::info!(
        "{} ({}) with {} MiB of VRAM and {} SDMA engines at {}",
        config.asic.name,
        config.personality.name,
        config.vram_size >> 20,
        config.sdma_instances,
        config.socket_path.display()
    );
    let served = server.serve(&mut function);
    function.close_feed();
    if let Some(event_log) = event_log {
        event_log.finish()?;
    }
    served?;
    log_unmodelled(&function);
    Ok(())
}

fn handle_signals(
    mut signals: Signals,
    stop: StopHandle,
    mailbox: Mailbox<GpuFunction>,
) -> anyhow::Result<()> {
    let handle = move || {
        for signal in &mut signals {
            if signal == SIGUSR1 {
                // The device is gone only when the process is about to end, which lists them anyway.
                let _ = mailbox.post(|function| log_unmodelled(function));
            } else {
                stop.stop();
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(handle)
        .context("cannot start a thread")?;
    Ok(())
}

fn log_unmodelled(function: &GpuFunction) {
    let unmodelled = function.gpu().unmodelled();
    if unmodelled.is_empty() {
        log::info!(target: "amdgpu::mmio", "every register that the guest touched is modelled");
        return;
    }
    log::info!(
        target: "amdgpu::mmio",
        "{} registers that the guest touched are not modelled, most frequent first:",
        unmodelled.len()
    );
    for register in unmodelled.iter().take(LISTED) {
        let last = register
            .last_write
            .map(|value| format!(", last written {value:#x}"))
            .unwrap_or_default();
        log::info!(
            target: "amdgpu::mmio",
            "  {} {:#x}: {} reads, {} writes{last}",
            register.space, register.offset, register.reads, register.writes
        );
    }
}
