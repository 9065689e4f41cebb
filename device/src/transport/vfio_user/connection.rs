//! The socket of one client.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use thiserror::Error;

use super::framing::{Framing, FramingError};
use super::session::{Reply, Session};
use crate::transport::PciFunction;

/// As many descriptors as the kernel sends with one message (`SCM_MAX_FD`), so that none is ever cut off.
const FDS_SPACE: usize = rustix::cmsg_space!(ScmRights(253));
/// Room for the one descriptor of a reply.
const FD_SPACE: usize = rustix::cmsg_space!(ScmRights(1));

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum Gone {
    /// The client closed it.
    #[error("closed by the client")]
    Closed,
    /// The client closed it in the middle of a message.
    #[error("closed by the client in the middle of a message")]
    Cut,
    /// The client's bytes made no sense.
    #[error("not vfio-user: {0}")]
    Framing(#[from] FramingError),
    /// The process has no descriptors left to receive more.
    #[error("descriptors were lost: the limit of open files is reached")]
    LostDescriptors,
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
}

impl Gone {
    fn socket(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            errno => Self::Socket(errno.into()),
        }
    }
}

/// How far [`Connection::serve`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Messages that were carried out.
    pub messages: usize,
    /// The client takes no replies at the moment; nothing more is read from it until it does.
    pub blocked: bool,
}

/// A client's socket, and what is under way on it in both directions.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    framing: Framing,
    session: Session,
    reply: Reply,
    /// How much of the reply has been sent.
    sent: usize,
}

impl Connection {
    /// A new client.
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            framing: Framing::default(),
            session: Session::default(),
            reply: Reply::default(),
            sent: 0,
        }
    }

    /// The socket, to be waited for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Carries out what waits, at most `limit` messages, and returns without waiting. If something was carried out and less than
    /// `limit`, nothing is buffered any more, but the socket may hold more: looking again is for the caller to decide, as it costs
    /// a system call.
    ///
    /// # Errors
    /// [`Gone`] if the connection is to be dropped.
    pub fn serve<F: PciFunction>(&mut self, function: &mut F, limit: usize) -> Result<Served, Gone> {
        let mut messages = 0;
        loop {
            if !self.flush()? {
                return Ok(Served {
                    messages,
                    blocked: true,
                });
            }
            if messages == limit {
                return Ok(Served {
                    messages,
                    blocked: false,
                });
            }
            match self.framing.next_frame() {
                Ok(Some(frame)) => {
                    let header = frame.header;
                    log::trace!(target: "amdgpu::vfio", "{header:?}");
                    let Self {
                        framing,
                        session,
                        reply,
                        ..
                    } = self;
                    // The frame's payload stays where it is until the next bytes are received.
                    let payload = framing.payload(&frame);
                    session.handle(function, frame, payload, reply);
                    messages += 1;
                }
                Ok(None) => {
                    if messages > 0 || !self.receive()? {
                        return Ok(Served {
                            messages,
                            blocked: false,
                        });
                    }
                }
                Err(error) => {
                    if let FramingError::Size(header) = &error {
                        self.reply.fail(header, libc::EINVAL.unsigned_abs());
                        // What the socket takes at once has to do: the connection is at its end.
                        let _ = self.flush();
                    }
                    return Err(error.into());
                }
            }
        }
    }

    /// Sends what is left of the reply; `false` if the client does not take all of it now.
    fn flush(&mut self) -> Result<bool, Gone> {
        while let Some(rest) = self.reply.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let result = match &self.reply.fd {
                None => rustix::net::send(&self.socket, rest, flags),
                Some(fd) => {
                    let fds = [fd.as_fd()];
                    let mut space = [MaybeUninit::uninit(); FD_SPACE];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    let _ = control.push(SendAncillaryMessage::ScmRights(&fds)); // there is room
                    rustix::net::sendmsg(&self.socket, &[IoSlice::new(rest)], &mut control, flags)
                }
            };
            match result {
                Ok(count) => {
                    self.sent += count;
                    self.reply.fd = None; // it went with the first byte
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Gone::socket(errno)),
            }
        }
        self.reply.discard();
        self.sent = 0;
        Ok(true)
    }

    /// Takes what has arrived; `false` if nothing has.
    fn receive(&mut self) -> Result<bool, Gone> {
        let mut space = [MaybeUninit::uninit(); FDS_SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut buffer = [IoSliceMut::new(self.framing.space())];
            match rustix::net::recvmsg(&self.socket, &mut buffer, &mut control, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(Gone::socket(errno)),
            }
        };
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect::<Vec<OwnedFd>>();
        if received.bytes == 0 {
            return Err(if self.framing.is_mid_message() {
                Gone::Cut
            } else {
                Gone::Closed
            });
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Gone::LostDescriptors);
        }
        self.framing.received(received.bytes, fds)?;
        Ok(true)
    }
}
