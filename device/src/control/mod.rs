//! The control socket: questions about the device, asked by other processes.
//!
//! One JSON object a line, in and out; see [`Request`] and `docs/control.md`. Each client has a thread of its own and reaches the
//! device through the server's mailbox, so that a client that stalls delays nobody.

pub mod client;
mod follow;
mod request;

pub use request::{
    Clear, DropVram, Events, Fields, Hang, Inject, Oracle, OracleAction, PageTables, Request, RequestError,
    VERSION, When, reply,
};

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::function::GpuFunction;
use crate::transport::socket::{self, SocketFile};
use crate::transport::{Mailbox, SocketError};
use gpu::limited;

/// Longest request line in bytes.
const MAX_LINE: u64 = 64 << 10;
/// Clients at once. Each takes a thread and a descriptor, of which the process has 1024 unless told otherwise: the front end, which
/// sends some with its memory, must never find none left.
const MAX_CLIENTS: usize = 256;
/// Pause after a client could not be accepted, for example because the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may take to read a reply before it is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket; its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    _file: SocketFile,
}

impl ControlSocket {
    /// Serves questions at `path` until the process ends. A socket file that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// [`SocketError`] if the path is in use, is no socket, or cannot be listened at.
    pub fn serve(path: &Path, mailbox: Mailbox<GpuFunction>) -> Result<Self, SocketError> {
        let (listener, file) = socket::listen(path)?;
        let accept = move || {
            let clients = Arc::new(());
            loop {
                match listener.accept() {
                    // Each client holds a clone.
                    Ok((stream, _)) if Arc::strong_count(&clients) > MAX_CLIENTS => turn_away(&stream),
                    Ok((stream, _)) => start_client(stream, mailbox.clone(), Arc::clone(&clients)),
                    Err(error) => {
                        log::warn!(target: "amdgpu::control", "cannot accept a client: {error}");
                        thread::sleep(ACCEPT_PAUSE);
                    }
                }
            }
        };
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(accept)
            .map_err(|source| SocketError::Listen {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self { _file: file })
    }
}

fn turn_away(mut stream: &UnixStream) {
    limited!(Warn, target: "amdgpu::control", "more than {MAX_CLIENTS} clients: one was turned away");
    let error = RequestError::new("line", format!("{MAX_CLIENTS} others are connected already"));
    // It fits into an empty socket; whoever is gone already does not miss it.
    let _ = stream.write_all(format!("{}\n", reply("", Err(error))).as_bytes());
}

fn start_client(stream: UnixStream, mailbox: Mailbox<GpuFunction>, presence: Arc<()>) {
    let serve = move || {
        serve_client(&stream, &mailbox);
        drop(presence);
    };
    if let Err(error) = thread::Builder::new()
        .name("control-client".to_owned())
        .spawn(serve)
    {
        log::warn!(target: "amdgpu::control", "cannot serve another client: {error}");
    }
}

fn serve_client(stream: &UnixStream, mailbox: &Mailbox<GpuFunction>) {
    let outcome = stream
        .set_write_timeout(Some(WRITE_TIMEOUT))
        .and_then(|()| converse(stream, mailbox));
    if let Err(error) = outcome {
        log::debug!(target: "amdgpu::control", "client dropped: {error}");
    }
}

fn converse(stream: &UnixStream, mailbox: &Mailbox<GpuFunction>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        let length = reader.by_ref().take(MAX_LINE).read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if length as u64 == MAX_LINE {
            let error = RequestError::new("line", "longer than 64 KiB");
            writer.write_all(format!("{}\n", reply("", Err(error))).as_bytes())?;
            return Err(io::Error::other("a request is longer than 64 KiB"));
        }
        let outcome = match Request::parse(line) {
            Ok(Request::Events(events)) if events.follow => {
                follow::follow(stream, mailbox, events)?;
                continue;
            }
            Ok(request) => carry_out(request, mailbox),
            Err(error) => Err(error),
        };
        let mut reply = reply(line, outcome);
        reply.push('\n');
        writer.write_all(reply.as_bytes())?;
    }
}

/// Does what is asked for on the device thread, and waits for the answer. Nothing is followed here.
pub(crate) fn carry_out(request: Request, mailbox: &Mailbox<GpuFunction>) -> Result<Value, RequestError> {
    match request {
        Request::Events(events) => list(events, mailbox),
        Request::Oracle(oracle) => oracle.ask(mailbox),
        request => answer(request, mailbox),
    }
}

/// Lists can be long: they become text here and not on the device thread.
fn list(events: Events, mailbox: &Mailbox<GpuFunction>) -> Result<Value, RequestError> {
    match mailbox.call(move |function| events.list(function)) {
        Ok(records) => request::value(&records),
        Err(closed) => Err(RequestError::new("request", closed.to_string())),
    }
}

fn answer(request: Request, mailbox: &Mailbox<GpuFunction>) -> Result<Value, RequestError> {
    mailbox
        .call(move |function| request.answer(function))
        .unwrap_or_else(|closed| Err(RequestError::new("request", closed.to_string())))
}

#[cfg(test)]
mod tests;
