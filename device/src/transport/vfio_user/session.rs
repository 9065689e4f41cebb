//! One client's requests, carried out.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use mmio::AccessError;
use rustix::fs::OFlags;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

use super::framing::Frame;
use super::protocol::{self, HEADER_SIZE, Header, MultiWrite, ProtocolError, REGION_COUNT, RegionAccess};
use super::request::{IrqAction, Request, SetIrqs};
use super::version::{ClientCapabilities, version_reply};
use crate::transport::{PciFunction, Region, RegionInfo, RequestError};

/// A reply on its way to the client.
#[derive(Debug, Default)]
pub struct Reply {
    /// The whole message; empty if there is none.
    pub bytes: Vec<u8>,
    /// A descriptor to go with it.
    pub fd: Option<OwnedFd>,
}

impl Reply {
    /// An empty payload behind room for the header.
    fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_SIZE, 0);
        self.fd = None;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn push_u32s(&mut self, values: &[u32]) {
        for value in values {
            self.push(&value.to_le_bytes());
        }
    }

    /// Adds `len` zero bytes and returns them.
    fn space(&mut self, len: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        self.bytes.get_mut(start..).unwrap_or_default()
    }

    /// Puts the header before the payload.
    fn finish(&mut self, request: &Header) {
        if !request.wants_reply() {
            self.discard();
            return;
        }
        self.set_header(request, Header::REPLY, 0);
    }

    /// Replaces whatever there is by an error reply.
    pub fn fail(&mut self, request: &Header, errno: u32) {
        self.begin();
        if !request.wants_reply() {
            self.discard();
            return;
        }
        self.set_header(request, Header::REPLY | Header::ERROR, errno);
    }

    fn set_header(&mut self, request: &Header, flags: u32, error: u32) {
        let header = Header {
            id: request.id,
            command: request.command,
            // A reply is never longer than the longest message.
            size: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            flags,
            error,
        };
        if let Some(front) = self.bytes.first_chunk_mut() {
            *front = header.encode();
        }
    }

    /// Nothing is to be sent (any more).
    pub fn discard(&mut self) {
        self.bytes.clear();
        self.fd = None;
    }
}

/// Why a request failed.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Failure {
    fn errno(&self) -> u32 {
        match self {
            Self::Protocol(error) => error.errno(),
            Self::Request(error) => error.errno(),
        }
    }
}

/// What accesses to a region are checked against.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    size: u64,
    readable: bool,
    writable: bool,
}

/// The state of one client's connection.
#[derive(Debug, Default)]
pub struct Session {
    /// `None` until VERSION.
    client: Option<ClientCapabilities>,
    /// Asked of the function once per connection: sizes do not change, and asking may cost a descriptor.
    shapes: [Shape; REGION_COUNT as usize],
}

impl Session {
    /// Carries a request out. `reply` is what is to be sent afterwards.
    pub fn handle<F: PciFunction>(
        &mut self,
        function: &mut F,
        frame: Frame,
        payload: &[u8],
        reply: &mut Reply,
    ) {
        let Frame { header, fds, .. } = frame;
        reply.begin();
        let result = header
            .check_type()
            .and_then(|()| Request::decode(header.command, payload, fds))
            .map_err(Failure::from)
            .and_then(|request| self.execute(function, request, reply));
        match result {
            Ok(()) => reply.finish(&header),
            Err(failure) => {
                log::debug!(target: "amdgpu::vfio", "command {} failed: {failure}", header.command);
                reply.fail(&header, failure.errno());
            }
        }
    }

    fn execute<F: PciFunction>(
        &mut self,
        function: &mut F,
        request: Request<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let Some(client) = &self.client else {
            let Request::Version { minor, capabilities } = request else {
                return Err(ProtocolError::Order("VERSION has to come first").into());
            };
            self.negotiate(function, capabilities);
            reply.push(&version_reply(minor));
            return Ok(());
        };
        match request {
            Request::RegionRead { access, len } => self.read(function, access, len, reply),
            Request::RegionWrite { access, data } => {
                self.write(function, access, data)?;
                reply.push(&access.encode());
                Ok(())
            }
            Request::RegionWriteMulti(writes) => self.write_all(function, &writes, reply),
            Request::DmaMap(range) => Ok(function.dma_map(range)?),
            Request::DmaUnmap { address, size, all } => {
                function.dma_unmap(address, size, all)?;
                // The structure of the request comes back (libvfio-user); QEMU ignores it.
                reply.push_u32s(&[24, u32::from(all) << 1]);
                reply.push(&address.to_le_bytes());
                reply.push(&size.to_le_bytes());
                Ok(())
            }
            Request::DeviceInfo => {
                reply.push_u32s(&[
                    16,
                    protocol::DEVICE_FLAGS,
                    REGION_COUNT,
                    protocol::IRQ_INDEX_COUNT,
                ]);
                Ok(())
            }
            Request::RegionInfo { index } => region_info(function, index, client.takes_descriptors(), reply),
            Request::RegionIoFds { index } => {
                if self.shape(index).size == 0 {
                    return Err(ProtocolError::Invalid("the region does not exist").into());
                }
                reply.push_u32s(&[16, 0, index, 0]);
                Ok(())
            }
            Request::IrqInfo { index } => {
                let count = function.irq_count(index);
                let flags = if count > 0 { protocol::IRQ_EVENTFD } else { 0 };
                reply.push_u32s(&[16, flags, index, count]);
                Ok(())
            }
            Request::SetIrqs(request) => set_irqs(function, request),
            Request::Reset => {
                function.reset();
                Ok(())
            }
            Request::Version { .. } => Err(ProtocolError::Order("VERSION was negotiated already").into()),
        }
    }

    fn negotiate<F: PciFunction>(&mut self, function: &F, client: ClientCapabilities) {
        log::debug!(target: "amdgpu::vfio", "client: {client:?}");
        for (index, shape) in (0..).zip(&mut self.shapes) {
            *shape = match region(index).map(|region| function.region(region)) {
                Some(Ok(RegionInfo {
                    size,
                    readable,
                    writable,
                    ..
                })) => Shape {
                    size,
                    readable,
                    writable,
                },
                Some(Err(error)) => {
                    log::error!(target: "amdgpu::vfio", "region {index} cannot be used: {error}");
                    Shape::default()
                }
                None => Shape::default(),
            };
        }
        self.client = Some(client);
    }

    fn shape(&self, index: u32) -> Shape {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.shapes.get(index).copied().unwrap_or_default()
    }

    /// The region of an access, if it exists and the access lies in it.
    fn check(&self, access: RegionAccess, allowed: impl Fn(Shape) -> bool) -> Result<Region, Failure> {
        let RegionAccess {
            offset,
            region: index,
            count,
        } = access;
        let shape = self.shape(index);
        let region = region(index)
            .filter(|_| shape.size > 0)
            .ok_or(ProtocolError::Invalid("the region does not exist"))?;
        let len = count as usize;
        if offset
            .checked_add(u64::from(count))
            .is_none_or(|end| end > shape.size)
        {
            let size = shape.size;
            return Err(RequestError::from(AccessError::OutOfRange { offset, len, size }).into());
        }
        if !allowed(shape) {
            return Err(ProtocolError::Invalid("the region does not take this access").into());
        }
        Ok(region)
    }

    fn read<F: PciFunction>(
        &self,
        function: &mut F,
        access: RegionAccess,
        len: usize,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let region = self.check(access, |shape| shape.readable)?;
        reply.push(&access.encode());
        if len > 0 {
            function.read(region, access.offset, reply.space(len))?;
        }
        Ok(())
    }

    fn write<F: PciFunction>(
        &self,
        function: &mut F,
        access: RegionAccess,
        data: &[u8],
    ) -> Result<(), Failure> {
        let region = self.check(access, |shape| shape.writable)?;
        if !data.is_empty() {
            function.write(region, access.offset, data)?;
        }
        Ok(())
    }

    /// Several writes in order, up to the first that fails.
    fn write_all<F: PciFunction>(
        &self,
        function: &mut F,
        writes: &MultiWrite<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let mut done = 0u64;
        for (access, data) in writes.iter() {
            let data = data.get(..access.count as usize).unwrap_or_default();
            self.write(function, access, data)?;
            done += 1;
        }
        reply.push(&done.to_le_bytes());
        Ok(())
    }
}

/// The region with a number. There is no VGA region (8).
fn region(index: u32) -> Option<Region> {
    match index {
        0..=5 => u8::try_from(index).ok().map(Region::Bar),
        6 => Some(Region::Rom),
        7 => Some(Region::Config),
        _ => None,
    }
}

fn region_info<F: PciFunction>(
    function: &F,
    index: u32,
    takes_descriptors: bool,
    reply: &mut Reply,
) -> Result<(), Failure> {
    const SIZE: u32 = 32;
    let info = match region(index) {
        Some(region) => function.region(region)?,
        None => RegionInfo {
            size: 0,
            readable: false,
            writable: false,
            mmap: None,
        },
    };
    let RegionInfo {
        size,
        readable,
        writable,
        mmap,
    } = info;
    let mmap = mmap.filter(|_| takes_descriptors && size > 0);
    let mut flags = 0;
    if size > 0 && readable {
        flags |= protocol::REGION_READABLE;
    }
    if size > 0 && writable {
        flags |= protocol::REGION_WRITABLE;
    }
    let mut offset = 0;
    if let Some((file, start)) = mmap {
        flags |= protocol::REGION_MAPPABLE;
        offset = start;
        reply.fd = Some(file.into());
    }
    reply.push_u32s(&[SIZE, flags, index, 0]);
    reply.push(&size.to_le_bytes());
    reply.push(&offset.to_le_bytes());
    Ok(())
}

fn set_irqs<F: PciFunction>(function: &mut F, request: SetIrqs<'_>) -> Result<(), Failure> {
    let SetIrqs {
        index,
        start,
        count,
        action,
    } = request;
    if u64::from(start) + u64::from(count) > u64::from(function.irq_count(index)) {
        return Err(ProtocolError::Invalid("no such interrupt vectors").into());
    }
    match action {
        IrqAction::Connect(fds) => {
            let vectors = fds
                .into_iter()
                .map(|fd| event(fd).map(Some))
                .collect::<Result<_, _>>()?;
            function.set_irqs(index, start, vectors)?;
        }
        // Bounded by the function's own count, see above.
        IrqAction::Disconnect => {
            function.set_irqs(index, start, (0..count).map(|_| None).collect())?;
        }
        IrqAction::DisconnectAll => function.set_irqs(index, 0, Vec::new())?,
        IrqAction::Trigger => function.trigger_irqs(index, start, count)?,
        IrqAction::TriggerSome(wanted) => {
            for (vector, _) in (start..).zip(wanted).filter(|(_, wanted)| **wanted != 0) {
                function.trigger_irqs(index, vector, 1)?;
            }
        }
        // Message-signalled vectors are masked in QEMU, and there is no INTx.
        IrqAction::Mask => {}
    }
    Ok(())
}

/// A descriptor as an event. It may be anything, so it is made non-blocking: signalling must not hold the device thread up.
fn event(fd: OwnedFd) -> Result<EventFd, RequestError> {
    let host = |error: rustix::io::Errno| RequestError::Host {
        what: "the descriptor of an interrupt cannot be used",
        source: error.into(),
    };
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(host)?;
    if !flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(host)?;
    }
    #[expect(unsafe_code, reason = "vmm-sys-util has no safe conversion")]
    // SAFETY: `into_raw_fd` gives up the ownership of an open descriptor, and the event takes it.
    let event = unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) };
    Ok(event)
}
