//! The guest port: a virtio console that the guest of this GPU gets besides, served by the same process over vhost-user.
//!
//! | port | what |
//! |---|---|
//! | `console` | `hvc0`: what the guest prints, for who connects to a socket |
//! | `amdgpu.control` | requests of the control socket, from the guest, as far as the host allows |
//! | `amdgpu.trace` | lines that become events |
//!
//! Everything here runs on threads of its own. The device thread sees jobs in its mailbox, one at a time from each port, and short ones:
//! a guest that floods a port waits itself. `docs/guest-port.md` is the reference.

mod control;
mod lines;
mod trace;
mod words;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use guest_port::{GuestPort, GuestPortError, PortSpec, serve_console};
use thiserror::Error;

use crate::args::{GuestControl, PortSocket};
use crate::function::GpuFunction;
use crate::transport::socket::{self, SocketFile};
use crate::transport::{Mailbox, SocketError};

const CONSOLE: usize = 0;
const CONTROL: usize = 1;
const TRACE: usize = 2;
/// How long a thread waits for its port before it looks again.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A guest port that cannot be served.
#[derive(Debug, Error)]
pub enum DoorError {
    /// Its socket, or that of the console.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The rest.
    #[error("cannot serve the guest port")]
    Port(#[from] GuestPortError),
    /// A thread.
    #[error("cannot start a thread for the guest port")]
    Thread(#[from] std::io::Error),
}

/// A socket that listens, and its file if that is ours to remove.
pub type Seat = (UnixListener, Option<SocketFile>);

/// Takes the place that the device is to be served at. A descriptor has to be taken before this process opens some of its own, which could
/// have the number if nobody passed one.
///
/// # Errors
/// [`SocketError`] if a path is in use, or a descriptor is no socket that listens.
pub fn listen(socket: &PortSocket) -> Result<Seat, SocketError> {
    Ok(match socket {
        PortSocket::Path(path) => {
            let (listener, file) = socket::listen(path)?;
            (listener, Some(file))
        }
        PortSocket::Descriptor(number) => (socket::inherited(*number)?, None),
    })
}

/// The guest port; it ends, and its sockets' files go, when this does.
#[derive(Debug)]
pub struct Door {
    _port: GuestPort,
    _files: Vec<SocketFile>,
}

impl Door {
    /// Serves the device, and the console, if that is wanted, at a socket of its own.
    ///
    /// # Errors
    /// [`DoorError`] if the console's path is in use, or the host has no thread or descriptor left.
    pub fn serve(
        seat: Seat,
        console: Option<&Path>,
        permission: GuestControl,
        mailbox: &Mailbox<GpuFunction>,
    ) -> Result<Self, DoorError> {
        let (listener, file) = seat;
        let mut files = Vec::from_iter(file);
        let spec = |name: &str, console, keeps_unread| PortSpec {
            name: name.to_owned(),
            console,
            keeps_unread,
        };
        // In the order of their numbers.
        let specs = vec![
            spec("console", true, false),
            spec("amdgpu.control", false, true),
            spec("amdgpu.trace", false, false),
        ];
        let port = GuestPort::serve(listener, specs)?;
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map(|_| ())
        };
        if let Some(control) = port.port(CONTROL) {
            let mailbox = mailbox.clone();
            start(
                "guest-control",
                Box::new(move || control::converse(&control, &mailbox, permission)),
            )?;
        }
        if let Some(trace) = port.port(TRACE) {
            let mailbox = mailbox.clone();
            start(
                "guest-trace",
                Box::new(move || trace::take_down(&trace, &mailbox)),
            )?;
        }
        match (port.port(CONSOLE), console) {
            (Some(handle), Some(path)) => {
                let (listener, file) = socket::listen(path)?;
                files.push(file);
                serve_console(listener, handle)?;
            }
            (Some(handle), None) => start("guest-console", Box::new(move || discard(&handle)))?,
            _ => {}
        }
        Ok(Self {
            _port: port,
            _files: files,
        })
    }
}

/// Nobody wants what the guest prints: it must not wait for somebody.
fn discard(port: &guest_port::PortHandle) {
    let mut buffer = vec![0; 16 << 10];
    while port.receive(&mut buffer, PATIENCE) != guest_port::Received::Ended {}
}

#[cfg(test)]
mod tests;
