//! Listener and event loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use thiserror::Error;

use super::connection::{Connection, Gone, Served};
use crate::transport::socket::{self, SocketError, SocketFile};
use crate::transport::wake::{self, Jobs};
use crate::transport::{Activity, Mailbox, PciFunction, StopHandle};

/// Most messages in a row before the engines get their turn: two vCPUs that poll a register must not keep the engine they wait for
/// from running.
const MESSAGES_PER_TURN: usize = 32;

/// The server could not go on, or not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Connections cannot be accepted.
    #[error("cannot accept a connection")]
    Accept(#[source] io::Error),
    /// An inherited descriptor is no UNIX stream socket.
    #[error("the inherited descriptor is no UNIX stream socket")]
    NoSocket,
    /// The host refused.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The path cannot be listened at.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// Where clients come from.
#[derive(Debug)]
enum Source {
    /// They connect.
    Socket(UnixListener),
    /// The one client that there will ever be; `None` once it is being served.
    Connected(Option<UnixStream>),
}

/// A place that front ends connect to.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    /// The socket file, to go with the listener.
    _file: Option<SocketFile>,
}

impl Listener {
    /// Listens at `path`. A socket file that nobody listens at any more is replaced. The file is removed on drop.
    ///
    /// # Errors
    /// [`ServeError`] if the path is in use, is no socket, or cannot be listened at.
    pub fn bind(path: &Path) -> Result<Self, ServeError> {
        let (listener, file) = socket::listen(path)?;
        listener
            .set_nonblocking(true)
            .map_err(|source| ServeError::Host {
                what: "cannot use the socket",
                source,
            })?;
        Ok(Self {
            source: Source::Socket(listener),
            _file: Some(file),
        })
    }

    /// From an inherited descriptor: a listening socket, or one that a client is connected to already. The latter is served once.
    ///
    /// # Errors
    /// [`ServeError::NoSocket`] if it is neither.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ServeError> {
        let is_unix = rustix::net::sockopt::socket_domain(&fd) == Ok(AddressFamily::UNIX);
        let is_stream = rustix::net::sockopt::socket_type(&fd) == Ok(SocketType::STREAM);
        if !is_unix || !is_stream {
            return Err(ServeError::NoSocket);
        }
        let host = |source| ServeError::Host {
            what: "cannot use the inherited socket",
            source,
        };
        let listens = rustix::net::sockopt::socket_acceptconn(&fd).map_err(|errno| host(errno.into()))?;
        let source = if listens {
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true).map_err(host)?;
            Source::Socket(listener)
        } else {
            Source::Connected(Some(UnixStream::from(fd)))
        };
        Ok(Self { source, _file: None })
    }

    /// The next client, if one waits.
    fn accept(&mut self) -> Result<Option<UnixStream>, ServeError> {
        match &mut self.source {
            Source::Connected(client) => Ok(client.take()),
            Source::Socket(listener) => match listener.accept() {
                Ok((stream, _)) => Ok(Some(stream)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted => Ok(None),
                    _ => Err(ServeError::Accept(error)),
                },
            },
        }
    }

    /// Whether no client will ever come.
    const fn is_exhausted(&self) -> bool {
        matches!(self.source, Source::Connected(None))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Socket(listener) => Some(listener.as_fd()),
            Source::Connected(_) => None,
        }
    }
}

/// How to serve.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How long to look for the next message before blocking, after one was served.
    ///
    /// None is the default: it is the fastest on a host whose cores are all taken by the guest. Measured on two cores with
    /// `tests/tests/wire_latency.rs`, a 4-byte read by a client that pauses for 10 us took 11 us (median) without spinning, 12 us
    /// with 2 us of it, 30 us with 20 us: the spinning thread keeps the client from being woken. Where a core is idle, a value above the
    /// time between two accesses saves the wake-up.
    pub spin: Duration,
    /// Return when the first client has gone, instead of waiting for the next.
    pub once: bool,
}

/// Serves one function to one client at a time.
#[derive(Debug)]
pub struct Server<F> {
    listener: Listener,
    options: Options,
    stop: StopHandle,
    jobs: Jobs<F>,
    wakes: Vec<OwnedFd>,
}

impl<F: PciFunction> Server<F> {
    /// A server for the clients of `listener`.
    ///
    /// # Errors
    /// [`ServeError::Host`] if the process has no descriptors left.
    pub fn new(listener: Listener, options: Options) -> Result<Self, ServeError> {
        let host = |source| ServeError::Host {
            what: "cannot make an eventfd",
            source,
        };
        Ok(Self {
            listener,
            options,
            stop: StopHandle::new().map_err(host)?,
            jobs: Jobs::new().map_err(host)?,
            wakes: Vec::new(),
        })
    }

    /// Stops [`serve`](Self::serve) from elsewhere.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Runs things on the device thread from elsewhere.
    pub fn mailbox(&self) -> Mailbox<F> {
        self.jobs.mailbox()
    }

    /// Adds a descriptor (an eventfd or timerfd, non-blocking) that makes the engines run when it becomes readable. Its count is
    /// taken.
    pub fn add_wake(&mut self, fd: OwnedFd) {
        self.wakes.push(fd);
    }

    /// Serves one client after another until it is stopped. The engines and the mailbox run also while there is none.
    ///
    /// # Errors
    /// [`ServeError`] if no client can be accepted any more.
    pub fn serve(&mut self, function: &mut F) -> Result<(), ServeError> {
        let mut client = None;
        let result = self.serve_clients(function, &mut client);
        if client.is_some() {
            function.disconnected();
        }
        result
    }

    fn serve_clients(&mut self, function: &mut F, client: &mut Option<Connection>) -> Result<(), ServeError> {
        let mut last_message = Instant::now();
        while !self.stop.is_stopped() {
            let more_jobs = self.jobs.run(function);
            let served = match client {
                Some(connection) => connection.serve(function, MESSAGES_PER_TURN),
                None => {
                    *client = self.listener.accept()?.map(Connection::new);
                    if client.is_some() {
                        log::info!(target: "amdgpu::vfio", "client connected");
                        function.connected();
                        continue;
                    }
                    Ok(Served {
                        messages: 0,
                        blocked: false,
                    })
                }
            };
            let served = match served {
                Ok(served) => served,
                Err(gone) => {
                    *client = None;
                    function.disconnected();
                    match gone {
                        Gone::Closed => log::info!(target: "amdgpu::vfio", "client disconnected"),
                        gone => log::warn!(target: "amdgpu::vfio", "connection dropped: {gone}"),
                    }
                    if self.options.once || self.listener.is_exhausted() {
                        return Ok(());
                    }
                    continue;
                }
            };
            let activity = function.run();
            let more_messages = served.messages == MESSAGES_PER_TURN;
            let spinning = client.is_some() && self.spins(served, &mut last_message);
            if activity == Activity::Busy || more_jobs || more_messages || spinning {
                continue;
            }
            self.wait(client.as_ref(), served.blocked, activity)?;
        }
        Ok(())
    }

    /// Whether to look at the socket again rather than to block.
    fn spins(&self, served: Served, last_message: &mut Instant) -> bool {
        if self.options.spin.is_zero() || served.blocked {
            return false;
        }
        if served.messages > 0 {
            *last_message = Instant::now();
        }
        last_message.elapsed() < self.options.spin
    }

    /// Blocks until there is something to do.
    fn wait(&self, client: Option<&Connection>, blocked: bool, activity: Activity) -> Result<(), ServeError> {
        let timeout = match activity {
            Activity::Busy => return Ok(()),
            Activity::Idle => None,
            Activity::Until(time) => {
                let left = time.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                // Further away than a timespec reaches is as good as never.
                Timespec::try_from(left).ok()
            }
        };
        let (source, interest) = match client {
            Some(client) if blocked => (Some(client.fd()), PollFlags::OUT),
            Some(client) => (Some(client.fd()), PollFlags::IN),
            None => (self.listener.fd(), PollFlags::IN),
        };
        let mut fds = Vec::with_capacity(3 + self.wakes.len());
        fds.push(PollFd::from_borrowed_fd(self.stop.fd(), PollFlags::IN));
        fds.push(PollFd::from_borrowed_fd(self.jobs.fd(), PollFlags::IN));
        fds.extend(self.wakes.iter().map(|wake| PollFd::new(wake, PollFlags::IN)));
        fds.extend(source.map(|fd| PollFd::from_borrowed_fd(fd, interest)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(ServeError::Host {
                    what: "cannot wait for the client",
                    source: errno.into(),
                });
            }
        }
        let mut ready = fds.iter().skip(1).map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            self.jobs.clear();
        }
        for (wake, ready) in self.wakes.iter().zip(ready) {
            if ready {
                wake::drain(wake.as_fd());
            }
        }
        Ok(())
    }
}
