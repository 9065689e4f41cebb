//! A console port at a UNIX socket: who connects gets what the guest prints, and types.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::handle::{PortHandle, Received};
use crate::stream::Item;

/// What is kept for a client that comes later.
const KEPT: usize = 1 << 20;
/// How long a thread waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after a client could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The client that there is.
#[derive(Debug, Default)]
struct Client {
    stream: Option<Arc<UnixStream>>,
}

type Slot = Arc<Mutex<Client>>;

fn lock(slot: &Slot) -> MutexGuard<'_, Client> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a console port at a socket until the process or the port ends.
///
/// One client at a time: the one that comes last. While one is connected, it gets every byte, and a guest that prints faster than it
/// reads is made to wait. While none is, the latest MiB is kept for the next.
///
/// # Errors
/// If the host has no thread for it.
pub fn serve_console(listener: UnixListener, port: PortHandle) -> io::Result<()> {
    let slot = Slot::default();
    let (printing, printed) = (port.clone(), Arc::clone(&slot));
    thread::Builder::new()
        .name("console-out".to_owned())
        .spawn(move || print(&printing, &printed))?;
    thread::Builder::new()
        .name("console-accept".to_owned())
        .spawn(move || accept(&listener, &port, &slot))?;
    Ok(())
}

fn accept(listener: &UnixListener, port: &PortHandle, slot: &Slot) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let stream = Arc::new(stream);
                let earlier = lock(slot).stream.replace(Arc::clone(&stream));
                if let Some(earlier) = earlier {
                    let _ = earlier.shutdown(Shutdown::Both);
                }
                // What was kept is for it.
                port.nudge();
                let (port, slot) = (port.clone(), Arc::clone(slot));
                let typing = thread::Builder::new()
                    .name("console-in".to_owned())
                    .spawn(move || type_in(&stream, &port, &slot));
                if let Err(error) = typing {
                    log::warn!(target: "amdgpu::port", "a client of the console cannot type: {error}");
                }
            }
            Err(error) => {
                log::warn!(target: "amdgpu::port", "cannot accept a client of the console: {error}");
                thread::sleep(PAUSE);
            }
        }
        if port.ended() {
            return;
        }
    }
}

/// Gives the guest what a client types, until it stops or another takes its place.
fn type_in(stream: &Arc<UnixStream>, port: &PortHandle, slot: &Slot) {
    let is_current = || {
        lock(slot)
            .stream
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, stream))
    };
    let mut buffer = [0; 4096];
    loop {
        let Ok(count @ 1..) = (&**stream).read(&mut buffer) else {
            return;
        };
        let mut rest = buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            let sent = port.send(None, rest, PATIENCE).unwrap_or(0);
            rest = rest.get(sent..).unwrap_or_default();
            if !is_current() || port.ended() {
                return;
            }
        }
    }
}

/// Gives clients what the guest prints.
fn print(port: &PortHandle, slot: &Slot) {
    let mut buffer = vec![0; 16 << 10];
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut lost: u64 = 0;
    loop {
        let count = match port.receive(&mut buffer, PATIENCE) {
            Received::Item(Item::Bytes(count)) => count,
            Received::Item(_) | Received::Nothing => 0,
            Received::Ended => return,
        };
        kept.extend(buffer.get(..count).unwrap_or_default());
        let client = lock(slot).stream.clone();
        if let Some(client) = client {
            if lost > 0 {
                log::info!(target: "amdgpu::port", "{lost} bytes of the console are gone: nobody was connected");
                lost = 0;
            }
            if let Err(error) = empty(&mut kept, &client) {
                log::debug!(target: "amdgpu::port", "a client of the console has gone: {error}");
                let mut slot = lock(slot);
                if slot.stream.as_ref().is_some_and(|now| Arc::ptr_eq(now, &client)) {
                    slot.stream = None;
                }
            }
        }
        let too_many = kept.len().saturating_sub(KEPT);
        kept.drain(..too_many);
        lost = lost.saturating_add(too_many as u64);
    }
}

/// Writes everything to a client; keeps what it did not take.
fn empty(kept: &mut VecDeque<u8>, mut client: &UnixStream) -> io::Result<()> {
    while !kept.is_empty() {
        let count = client.write(kept.as_slices().0)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        kept.drain(..count);
    }
    Ok(())
}
