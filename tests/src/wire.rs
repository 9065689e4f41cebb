//! Both ends of a vfio-user socket: a small client, and a function that remembers what was asked of it.
//!
//! The client encodes messages by itself, so that a mistake in the server's own encoding cannot hide.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use device::memory::{GuestMemory, Vram};
use device::transport::vfio_user::{Listener, Options, ServeError, Server};
use device::transport::{
    Activity, DmaRange, Mailbox, PciFunction, Region, RegionInfo, RequestError, StopHandle,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use vmm_sys_util::eventfd::EventFd;

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

/// Index of MSI.
pub const MSI: u32 = 1;
/// Index of the error interrupt.
pub const ERR: u32 = 3;
/// How many MSI vectors [`Fake`] has.
pub const MSI_COUNT: usize = 6;
/// Size of [`Fake`]'s BAR 0 (memory that may be mapped) in bytes.
pub const BAR0_SIZE: u64 = 1 << 20;
/// Size of [`Fake`]'s BAR 2 (a buffer that takes any access) in bytes.
pub const BAR2_SIZE: u64 = 2 << 20;
/// Size of [`Fake`]'s read-only ROM in bytes.
pub const ROM_SIZE: u64 = 2048;

/// A function that remembers what was asked of it.
#[derive(Debug)]
pub struct Fake {
    /// What BAR 0 maps.
    pub vram: Vram,
    /// What is behind BAR 2.
    pub buffer: Vec<u8>,
    /// What the client mapped.
    pub guest: GuestMemory,
    /// MSI vectors.
    pub vectors: Vec<Option<EventFd>>,
    /// Resets seen.
    pub resets: usize,
    /// Disconnections seen.
    pub disconnections: usize,
    /// Lengths of the accesses seen.
    pub accesses: Vec<usize>,
    /// Vectors that were triggered without descriptors.
    pub triggered: Vec<u32>,
    /// How often the engines ran.
    pub runs: usize,
    /// What they say afterwards.
    pub activity: Activity,
    /// If set, accesses fail with an I/O error that carries this errno.
    pub broken: Option<i32>,
}

impl Fake {
    /// A function with everything at zero and idle engines.
    ///
    /// # Errors
    /// If the host has no memory for it.
    pub fn new() -> Result<Self, device::memory::VramError> {
        Ok(Self {
            vram: Vram::new(BAR0_SIZE)?,
            buffer: vec![0; usize::try_from(BAR2_SIZE).unwrap_or_default()],
            guest: GuestMemory::new(),
            vectors: (0..MSI_COUNT).map(|_| None).collect(),
            resets: 0,
            disconnections: 0,
            accesses: Vec::new(),
            triggered: Vec::new(),
            runs: 0,
            activity: Activity::Idle,
            broken: None,
        })
    }

    fn part(&mut self, offset: u64, len: usize) -> Result<&mut [u8], RequestError> {
        self.accesses.push(len);
        if let Some(errno) = self.broken {
            return Err(RequestError::Host {
                what: "broken on purpose",
                source: io::Error::from_raw_os_error(errno),
            });
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        self.buffer
            .get_mut(start..start.saturating_add(len))
            .ok_or(RequestError::Invalid("the transport let a bad access through"))
    }
}

impl PciFunction for Fake {
    fn region(&self, region: Region) -> Result<RegionInfo, RequestError> {
        let (size, writable) = match region {
            Region::Bar(0) => (BAR0_SIZE, true),
            Region::Bar(2) => (BAR2_SIZE, true),
            Region::Rom => (ROM_SIZE, false),
            Region::Config => (4096, true),
            Region::Bar(_) => (0, false),
        };
        let mmap = match region {
            Region::Bar(0) => {
                let file = self.vram.share().map_err(|source| RequestError::Host {
                    what: "cannot share VRAM",
                    source,
                })?;
                Some((file, 0))
            }
            _ => None,
        };
        Ok(RegionInfo {
            size,
            readable: true,
            writable,
            mmap,
        })
    }

    fn irq_count(&self, index: u32) -> u32 {
        match index {
            MSI => u32::try_from(self.vectors.len()).unwrap_or_default(),
            ERR => 1,
            _ => 0,
        }
    }

    fn read(&mut self, _region: Region, offset: u64, data: &mut [u8]) -> Result<(), RequestError> {
        let part = self.part(offset, data.len())?;
        data.copy_from_slice(part);
        Ok(())
    }

    fn write(&mut self, _region: Region, offset: u64, data: &[u8]) -> Result<(), RequestError> {
        self.part(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn dma_map(&mut self, range: DmaRange) -> Result<(), RequestError> {
        self.guest.add(range)
    }

    fn dma_unmap(&mut self, address: u64, size: u64, all: bool) -> Result<(), RequestError> {
        if all {
            self.guest.remove_all();
            return Ok(());
        }
        self.guest.remove(address, size)
    }

    fn set_irqs(
        &mut self,
        index: u32,
        first: u32,
        vectors: Vec<Option<EventFd>>,
    ) -> Result<(), RequestError> {
        if index != MSI {
            return Ok(());
        }
        if vectors.is_empty() {
            self.vectors.fill_with(|| None);
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (slot, vector) in self.vectors.iter_mut().skip(first).zip(vectors) {
            *slot = vector;
        }
        Ok(())
    }

    fn trigger_irqs(&mut self, _index: u32, first: u32, count: u32) -> Result<(), RequestError> {
        self.triggered.extend(first..first + count);
        Ok(())
    }

    fn reset(&mut self) {
        self.resets += 1;
    }

    fn disconnected(&mut self) {
        self.disconnections += 1;
        self.guest.clear();
        self.vectors.fill_with(|| None);
    }

    fn run(&mut self) -> Activity {
        self.runs += 1;
        self.activity
    }
}

/// A served [`Fake`].
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens; empty if it serves a socket pair.
    pub path: PathBuf,
    /// Runs things on its thread.
    pub mailbox: Mailbox<Fake>,
    /// Stops it.
    pub stop: StopHandle,
    thread: JoinHandle<(Fake, Result<(), ServeError>)>,
}

impl Daemon {
    /// Serves `fake` on a thread of its own.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn start(fake: Fake, listener: Listener, options: Options) -> Result<Self, ServeError> {
        let mut server = Server::new(listener, options)?;
        let (mailbox, stop) = (server.mailbox(), server.stop_handle());
        let thread = std::thread::spawn(move || {
            let mut fake = fake;
            let result = server.serve(&mut fake);
            (fake, result)
        });
        Ok(Self {
            path: PathBuf::new(),
            mailbox,
            stop,
            thread,
        })
    }

    /// Listens in a directory.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn listen(fake: Fake, directory: &Path) -> Result<Self, ServeError> {
        let path = directory.join("vfio.sock");
        let daemon = Self::start(fake, Listener::bind(&path)?, Options::default())?;
        Ok(Self { path, ..daemon })
    }

    /// Looks at the function.
    ///
    /// # Panics
    /// If the server is gone: the test has failed.
    #[expect(clippy::expect_used, reason = "for tests only")]
    pub fn ask<R: Send + 'static>(&self, question: impl FnOnce(&mut Fake) -> R + Send + 'static) -> R {
        self.mailbox.call(question).expect("the server is gone")
    }

    /// Waits until the function is in a state that other threads bring about.
    pub fn wait_until(&self, condition: impl Fn(&Fake) -> bool + Clone + Send + 'static) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let condition = condition.clone();
            if self.ask(move |fake| condition(fake)) {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    /// Waits for the server to return by itself.
    ///
    /// # Panics
    /// If its thread panicked: the test has failed.
    #[expect(clippy::expect_used, reason = "for tests only")]
    pub fn join(self) -> (Fake, Result<(), ServeError>) {
        self.thread.join().expect("the server panicked")
    }

    /// Stops the server and returns the function.
    ///
    /// # Panics
    /// If its thread panicked: the test has failed.
    pub fn finish(self) -> (Fake, Result<(), ServeError>) {
        self.stop.stop();
        self.join()
    }
}
