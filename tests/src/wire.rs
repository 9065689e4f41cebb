//! Both ends of a vfio-user socket: a small client, and a function that remembers what was asked of it.
//!
//! The client encodes messages by itself, so that a mistake in the server's own encoding cannot hide.

mod fake;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

pub use fake::{BAR0_SIZE, BAR2_SIZE, Daemon, ERR, Fake, MSI, MSI_COUNT, ROM_SIZE};

/// `enum vfio_user_command`.
pub mod command {
    #![expect(missing_docs, reason = "the names are the protocol's")]
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const DEVICE_GET_INFO: u16 = 4;
    pub const DEVICE_GET_REGION_INFO: u16 = 5;
    pub const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    pub const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub const DEVICE_SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const DMA_READ: u16 = 11;
    pub const DEVICE_RESET: u16 = 13;
    pub const DIRTY_PAGES: u16 = 14;
    pub const REGION_WRITE_MULTI: u16 = 15;
}

/// The flag of a request that wants no reply.
pub const NO_REPLY: u32 = 0x10;
/// Most data in one access.
pub const MAX_DATA: u32 = 1 << 20;
/// Longest message.
pub const MAX_MESSAGE: u32 = MAX_DATA + 32;

/// How long a client waits before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(10);

/// Numbers as the wire has them.
pub fn pack(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A header with any content.
pub fn header(id: u16, command: u16, size: u32, flags: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&command.to_le_bytes());
    bytes.extend_from_slice(&pack(&[size, flags, 0]));
    bytes
}

/// A whole request.
pub fn message(id: u16, command: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
    [header(id, command, size, 0), payload.to_vec()].concat()
}

/// Offset, region and count of an access.
pub fn access(region: u32, offset: u64, count: u32) -> Vec<u8> {
    [offset.to_le_bytes().to_vec(), pack(&[region, count])].concat()
}

/// A message from the server.
#[derive(Debug)]
pub struct Reply {
    /// The request's number.
    pub id: u16,
    /// The request's command.
    pub command: u16,
    /// Type and error bit.
    pub flags: u32,
    /// errno, if the error bit is set.
    pub errno: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    /// The errno of an error reply, which has no payload; `None` for success.
    pub fn error(&self) -> Option<u32> {
        match self.flags {
            0x1 => None,
            0x21 if self.payload.is_empty() => Some(self.errno),
            _ => Some(u32::MAX),
        }
    }

    /// The 32-bit number at a byte offset of the payload.
    pub fn u32(&self, offset: usize) -> u32 {
        let bytes = self.payload.get(offset..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(u32::MAX, |chunk| u32::from_le_bytes(*chunk))
    }

    /// The 64-bit number at a byte offset of the payload.
    pub fn u64(&self, offset: usize) -> u64 {
        u64::from(self.u32(offset)) | u64::from(self.u32(offset + 4)) << 32
    }
}

/// A front end.
#[derive(Debug)]
pub struct Client {
    /// The socket, for tests that write to it directly.
    pub socket: UnixStream,
    id: u16,
}

impl Client {
    /// A client on a connected socket that has said nothing yet.
    ///
    /// # Errors
    /// If the socket does not take a timeout.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, id: 0x100 })
    }

    /// Connects to a listener.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(path: &Path) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?)
    }

    /// Sends bytes and descriptors as they are.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.is_empty() {
            return self.socket.write_all(bytes);
        }
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(fds.len()))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags)?;
        self.socket.write_all(bytes.get(sent..).unwrap_or_default())
    }

    /// Receives one message.
    ///
    /// # Errors
    /// If the server closes the connection (`UnexpectedEof`) or says nothing for 10 s.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut front = [0; 16];
        let mut fds: Vec<OwnedFd> = Vec::new();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut iov = [IoSliceMut::new(&mut front)];
        let count = rustix::net::recvmsg(&self.socket, &mut iov, &mut control, flags)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.socket
            .read_exact(front.get_mut(count..).unwrap_or_default())?;
        let [i0, i1, c0, c1, s0, s1, s2, s3, f0, f1, f2, f3, e0, e1, e2, e3] = front;
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        if !(16..=MAX_MESSAGE).contains(&size) {
            return Err(io::Error::other(format!("reply of {size} bytes")));
        }
        let mut payload = vec![0; usize::try_from(size - 16).unwrap_or_default()];
        self.socket.read_exact(&mut payload)?;
        Ok(Reply {
            id: u16::from_le_bytes([i0, i1]),
            command: u16::from_le_bytes([c0, c1]),
            flags: u32::from_le_bytes([f0, f1, f2, f3]),
            errno: u32::from_le_bytes([e0, e1, e2, e3]),
            payload,
            fds,
        })
    }

    /// Sends a request with descriptors and waits for its reply.
    ///
    /// # Errors
    /// If there is none, or it belongs to another request.
    pub fn request_with(
        &mut self,
        command: u16,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<Reply> {
        self.id = self.id.wrapping_add(1);
        self.send(&message(self.id, command, payload), fds)?;
        let reply = self.receive()?;
        if (reply.id, reply.command) != (self.id, command) {
            return Err(io::Error::other(format!("{reply:?} answers another request")));
        }
        Ok(reply)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// If there is none, or it belongs to another request.
    pub fn request(&mut self, command: u16, payload: &[u8]) -> io::Result<Reply> {
        self.request_with(command, payload, &[])
    }

    /// VERSION as QEMU sends it.
    ///
    /// # Errors
    /// If the server refuses or says nothing.
    pub fn negotiate(&mut self) -> io::Result<Reply> {
        let json = concat!(
            r#"{"capabilities": {"migration": {"pgsize": 4096, "max_bitmap_size": 268435456}, "max_msg_fds": 16, "#,
            r#""max_data_xfer_size": 1048576, "pgsizes": 4096, "max_dma_maps": 65535, "write_multiple": true}}"#,
            "\0"
        );
        let reply = self.request(command::VERSION, &[&[0, 0, 0, 0], json.as_bytes()].concat())?;
        match reply.error() {
            None => Ok(reply),
            Some(errno) => Err(io::Error::from_raw_os_error(errno.cast_signed())),
        }
    }

    /// REGION_READ.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn read(&mut self, region: u32, offset: u64, count: u32) -> io::Result<Reply> {
        self.request(command::REGION_READ, &access(region, offset, count))
    }

    /// REGION_WRITE.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<Reply> {
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let payload = [&access(region, offset, count), data].concat();
        self.request(command::REGION_WRITE, &payload)
    }

    /// DMA_MAP of a range for reading and writing.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn dma_map(&mut self, address: u64, size: u64, backing: Option<(&File, u64)>) -> io::Result<Reply> {
        let mut payload = pack(&[32, 3]);
        let offset = backing.map_or(0, |(_, offset)| offset);
        for value in [offset, address, size] {
            payload.extend_from_slice(&value.to_le_bytes());
        }
        let fds: Vec<_> = backing.iter().map(|(file, _)| file.as_fd()).collect();
        self.request_with(command::DMA_MAP, &payload, &fds)
    }

    /// DMA_UNMAP.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn dma_unmap(&mut self, flags: u32, address: u64, size: u64) -> io::Result<Reply> {
        let mut payload = pack(&[24, flags]);
        payload.extend_from_slice(&address.to_le_bytes());
        payload.extend_from_slice(&size.to_le_bytes());
        self.request(command::DMA_UNMAP, &payload)
    }

    /// SET_IRQS without further data.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn set_irqs(
        &mut self,
        flags: u32,
        index: u32,
        start: u32,
        count: u32,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<Reply> {
        let payload = pack(&[20, flags, index, start, count]);
        self.request_with(command::DEVICE_SET_IRQS, &payload, fds)
    }
}
