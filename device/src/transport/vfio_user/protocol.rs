//! Messages as values.
//!
//! Everything is little endian: client and server share a host, and this device runs on little-endian hosts only.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use thiserror::Error;

use crate::memory::PAGE_SIZE;
use crate::transport::DmaRange;

/// Length of a message header in bytes.
pub const HEADER_SIZE: usize = 16;
/// Most bytes of data in one access; announced in VERSION. QEMU's default is the same.
pub const MAX_DATA: usize = 1 << 20;
/// Longest message: a REGION_WRITE with [`MAX_DATA`] bytes.
pub const MAX_MESSAGE_SIZE: usize = HEADER_SIZE + RegionAccess::SIZE + MAX_DATA;
/// Most descriptors with one message; announced in VERSION.
pub const MAX_MSG_FDS: usize = 8;
/// Most descriptors that a client may claim to take with one message (libvfio-user: `MAX_FDS`).
const CLIENT_FDS_LIMIT: u64 = 1024;
/// Protocol version: major.
pub const MAJOR: u16 = 0;
/// Protocol version: highest minor.
pub const MINOR: u16 = 1;
/// Regions: BAR 0..=5, ROM, configuration space, VGA (`VFIO_PCI_NUM_REGIONS`).
pub const REGION_COUNT: u32 = 9;
/// Interrupt indices: INTx, MSI, MSI-X, error, request (`VFIO_PCI_NUM_IRQS`).
pub const IRQ_INDEX_COUNT: u32 = 5;
/// First interrupt index that cannot be masked (`VFIO_PCI_ERR_IRQ_INDEX`).
const ERR_IRQ_INDEX: u32 = 3;
/// Writes in one REGION_WRITE_MULTI (QEMU: `VFIO_USER_MULTI_MAX`).
const MULTI_MAX: u64 = 200;

/// `VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI`.
pub const DEVICE_FLAGS: u32 = 1 << 0 | 1 << 1;
/// `VFIO_REGION_INFO_FLAG_READ`.
pub const REGION_READABLE: u32 = 1 << 0;
/// `VFIO_REGION_INFO_FLAG_WRITE`.
pub const REGION_WRITABLE: u32 = 1 << 1;
/// `VFIO_REGION_INFO_FLAG_MMAP`.
pub const REGION_MAPPABLE: u32 = 1 << 2;
/// `VFIO_IRQ_INFO_EVENTFD`.
pub const IRQ_EVENTFD: u32 = 1 << 0;

/// `enum vfio_user_command`: what a client may send.
mod command {
    pub(super) const VERSION: u16 = 1;
    pub(super) const DMA_MAP: u16 = 2;
    pub(super) const DMA_UNMAP: u16 = 3;
    pub(super) const DEVICE_GET_INFO: u16 = 4;
    pub(super) const DEVICE_GET_REGION_INFO: u16 = 5;
    pub(super) const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    pub(super) const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub(super) const DEVICE_SET_IRQS: u16 = 8;
    pub(super) const REGION_READ: u16 = 9;
    pub(super) const REGION_WRITE: u16 = 10;
    pub(super) const DMA_READ: u16 = 11;
    pub(super) const DMA_WRITE: u16 = 12;
    pub(super) const DEVICE_RESET: u16 = 13;
    pub(super) const DIRTY_PAGES: u16 = 14;
    pub(super) const REGION_WRITE_MULTI: u16 = 15;
    pub(super) const DEVICE_FEATURE: u16 = 16;
    pub(super) const MIG_DATA_READ: u16 = 17;
    pub(super) const MIG_DATA_WRITE: u16 = 18;
}

/// Why a request is refused before the function hears of it. Becomes an errno in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The message came with descriptors that the request has no use for, or with more than were allowed.
    #[error("{count} descriptors do not suit the request")]
    Descriptors {
        /// How many came.
        count: usize,
    },
    /// A field has a value that makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// Neither a command nor a reply.
    #[error("message type {0} is unknown")]
    MessageType(u32),
    /// VERSION has not been negotiated, or has been already.
    #[error("{0}")]
    Order(&'static str),
    /// The payload is shorter than the request's structure.
    #[error("payload of {len} bytes is too short")]
    Short {
        /// Its length.
        len: usize,
    },
    /// The protocol has no such command.
    #[error("command {0} is unknown")]
    UnknownCommand(u16),
    /// The protocol has the command, this server has not.
    #[error("command {0} is not supported")]
    Unsupported(u16),
    /// The client's version cannot be talked to.
    #[error("protocol version {major} is not supported")]
    Version {
        /// The client's major version.
        major: u16,
    },
}

impl ProtocolError {
    /// The errno for the reply.
    pub const fn errno(self) -> u32 {
        let errno = match self {
            Self::Unsupported(_) => libc::EOPNOTSUPP,
            Self::Descriptors { .. }
            | Self::Invalid(_)
            | Self::MessageType(_)
            | Self::Order(_)
            | Self::Short { .. }
            | Self::UnknownCommand(_)
            | Self::Version { .. } => libc::EINVAL,
        };
        errno.unsigned_abs()
    }
}

/// Little-endian fields from the front of a slice.
#[derive(Debug, Clone, Copy)]
struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(ProtocolError::Short { len: self.len })?;
        self.rest = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ProtocolError> {
        self.take().map(u64::from_le_bytes)
    }
}

/// The header of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The client's number for the message; the reply repeats it.
    pub id: u16,
    /// `enum vfio_user_command`.
    pub command: u16,
    /// Length of header and payload in bytes.
    pub size: u32,
    /// Type, and the bits below.
    pub flags: u32,
    /// errno of an error reply.
    pub error: u32,
}

impl Header {
    const TYPE: u32 = 0xf;
    const COMMAND: u32 = 0;
    /// Type of a reply.
    pub const REPLY: u32 = 1;
    /// The client wants no reply.
    pub const NO_REPLY: u32 = 1 << 4;
    /// The reply carries an errno.
    pub const ERROR: u32 = 1 << 5;

    /// From the wire.
    pub const fn decode(bytes: &[u8; HEADER_SIZE]) -> Self {
        let [i0, i1, c0, c1, s0, s1, s2, s3, f0, f1, f2, f3, e0, e1, e2, e3] = *bytes;
        Self {
            id: u16::from_le_bytes([i0, i1]),
            command: u16::from_le_bytes([c0, c1]),
            size: u32::from_le_bytes([s0, s1, s2, s3]),
            flags: u32::from_le_bytes([f0, f1, f2, f3]),
            error: u32::from_le_bytes([e0, e1, e2, e3]),
        }
    }

    /// To the wire.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let Self {
            id,
            command,
            size,
            flags,
            error,
        } = *self;
        let low = u64::from(id) | u64::from(command) << 16 | u64::from(size) << 32;
        let high = u64::from(flags) | u64::from(error) << 32;
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }

    /// Whether the client waits for a reply.
    pub const fn wants_reply(&self) -> bool {
        self.flags & Self::NO_REPLY == 0
    }

    /// Whether it is a command.
    ///
    /// # Errors
    /// [`ProtocolError`] if it is a reply or nothing known.
    pub const fn check_type(&self) -> Result<(), ProtocolError> {
        match self.flags & Self::TYPE {
            Self::COMMAND => Ok(()),
            Self::REPLY => Err(ProtocolError::Invalid("reply to a request that was never sent")),
            other => Err(ProtocolError::MessageType(other)),
        }
    }
}

/// Region, offset and length of an access, as it stands in requests and in replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionAccess {
    /// Byte offset in the region.
    pub offset: u64,
    /// Region index.
    pub region: u32,
    /// Length in bytes.
    pub count: u32,
}

impl RegionAccess {
    /// Length on the wire in bytes.
    pub const SIZE: usize = 16;

    fn decode(fields: &mut Fields<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            offset: fields.u64()?,
            region: fields.u32()?,
            count: fields.u32()?,
        })
    }

    /// Its length, if one message can carry that much.
    fn len(&self) -> Result<usize, ProtocolError> {
        usize::try_from(self.count)
            .ok()
            .filter(|len| *len <= MAX_DATA)
            .ok_or(ProtocolError::Invalid(
                "more data than one message may carry (max_data_xfer_size)",
            ))
    }

    /// To the wire.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let high = u64::from(self.region) | u64::from(self.count) << 32;
        (u128::from(self.offset) | u128::from(high) << 64).to_le_bytes()
    }
}

/// Writes of one REGION_WRITE_MULTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiWrite<'a>(&'a [u8]);

impl<'a> MultiWrite<'a> {
    /// Each write has room for eight bytes, however many it uses.
    const DATA: usize = 8;
    const ENTRY: usize = RegionAccess::SIZE + Self::DATA;

    fn decode(fields: &mut Fields<'a>) -> Result<Self, ProtocolError> {
        let count = fields.u64()?;
        if count > MULTI_MAX {
            return Err(ProtocolError::Invalid("too many writes in one message"));
        }
        if fields.rest.len() as u64 != count * Self::ENTRY as u64 {
            return Err(ProtocolError::Invalid(
                "length of the message and number of writes disagree",
            ));
        }
        let writes = Self(fields.rest);
        if writes
            .iter()
            .any(|(access, data)| access.count as usize > data.len())
        {
            return Err(ProtocolError::Invalid(
                "more than eight bytes in one of several writes",
            ));
        }
        Ok(writes)
    }

    /// The writes, each with its eight bytes.
    pub fn iter(&self) -> impl Iterator<Item = (RegionAccess, &'a [u8])> {
        self.0.chunks_exact(Self::ENTRY).filter_map(|entry| {
            let mut fields = Fields::new(entry);
            let access = RegionAccess::decode(&mut fields).ok()?;
            Some((access, fields.rest))
        })
    }
}

/// What SET_IRQS asks for.
#[derive(Debug)]
pub enum IrqAction<'a> {
    /// Connect these descriptors, one per vector.
    Connect(Vec<OwnedFd>),
    /// Disconnect the vectors.
    Disconnect,
    /// Disconnect the whole index.
    DisconnectAll,
    /// Signal the vectors.
    Trigger,
    /// Signal the vectors whose byte is not zero.
    TriggerSome(&'a [u8]),
    /// Mask or unmask the vectors.
    Mask,
}

/// DEVICE_SET_IRQS.
#[derive(Debug)]
pub struct SetIrqs<'a> {
    /// Interrupt index, below [`IRQ_INDEX_COUNT`].
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// How many vectors.
    pub count: u32,
    /// What to do with them.
    pub action: IrqAction<'a>,
}

/// A checked request.
#[derive(Debug)]
pub enum Request<'a> {
    /// VERSION.
    Version {
        /// The client's minor version.
        minor: u16,
        /// What the client can do.
        capabilities: ClientCapabilities,
    },
    /// DMA_MAP.
    DmaMap(DmaRange),
    /// DMA_UNMAP.
    DmaUnmap {
        /// Bus address.
        address: u64,
        /// Length in bytes.
        size: u64,
        /// Everything, whatever the range.
        all: bool,
    },
    /// DEVICE_GET_INFO.
    DeviceInfo,
    /// DEVICE_GET_REGION_INFO.
    RegionInfo {
        /// Region index, below [`REGION_COUNT`].
        index: u32,
    },
    /// DEVICE_GET_REGION_IO_FDS.
    RegionIoFds {
        /// Region index, below [`REGION_COUNT`].
        index: u32,
    },
    /// DEVICE_GET_IRQ_INFO.
    IrqInfo {
        /// Interrupt index, below [`IRQ_INDEX_COUNT`].
        index: u32,
    },
    /// DEVICE_SET_IRQS.
    SetIrqs(SetIrqs<'a>),
    /// REGION_READ.
    RegionRead {
        /// Where.
        access: RegionAccess,
        /// `access.count`, at most [`MAX_DATA`].
        len: usize,
    },
    /// REGION_WRITE.
    RegionWrite {
        /// Where.
        access: RegionAccess,
        /// `access.count` bytes.
        data: &'a [u8],
    },
    /// REGION_WRITE_MULTI.
    RegionWriteMulti(MultiWrite<'a>),
    /// DEVICE_RESET.
    Reset,
}

impl<'a> Request<'a> {
    /// Decodes a request and checks it against itself. Descriptors that it has no use for are closed.
    ///
    /// # Errors
    /// [`ProtocolError`] says what is wrong with it.
    pub fn decode(command: u16, payload: &'a [u8], fds: Vec<OwnedFd>) -> Result<Self, ProtocolError> {
        let expected = match command {
            command::DMA_MAP => 1,
            command::DEVICE_SET_IRQS => MAX_MSG_FDS,
            _ => 0,
        };
        if fds.len() > expected {
            return Err(ProtocolError::Descriptors { count: fds.len() });
        }
        let mut fields = Fields::new(payload);
        match command {
            command::VERSION => version(&mut fields),
            command::DMA_MAP => dma_map(&mut fields, fds),
            command::DMA_UNMAP => dma_unmap(&mut fields),
            command::DEVICE_GET_INFO => sized(&mut fields, 16).map(|()| Self::DeviceInfo),
            command::DEVICE_GET_REGION_INFO => {
                let index = query(&mut fields, 32, REGION_COUNT, "no such region")?;
                Ok(Self::RegionInfo { index })
            }
            command::DEVICE_GET_REGION_IO_FDS => region_io_fds(&mut fields),
            command::DEVICE_GET_IRQ_INFO => {
                let index = query(&mut fields, 16, IRQ_INDEX_COUNT, "no such interrupt index")?;
                Ok(Self::IrqInfo { index })
            }
            command::DEVICE_SET_IRQS => set_irqs(&mut fields, fds),
            command::REGION_READ => {
                let access = RegionAccess::decode(&mut fields)?;
                let len = access.len()?;
                Ok(Self::RegionRead { access, len })
            }
            command::REGION_WRITE => {
                let access = RegionAccess::decode(&mut fields)?;
                if fields.rest.len() != access.len()? {
                    return Err(ProtocolError::Invalid("length of the data and count disagree"));
                }
                let data = fields.rest;
                Ok(Self::RegionWrite { access, data })
            }
            command::DEVICE_RESET => Ok(Self::Reset),
            command::REGION_WRITE_MULTI => MultiWrite::decode(&mut fields).map(Self::RegionWriteMulti),
            // The first two go the other way; the rest belongs to migration.
            command::DMA_READ
            | command::DMA_WRITE
            | command::DIRTY_PAGES
            | command::DEVICE_FEATURE
            | command::MIG_DATA_READ
            | command::MIG_DATA_WRITE => Err(ProtocolError::Unsupported(command)),
            _ => Err(ProtocolError::UnknownCommand(command)),
        }
    }
}

/// Checks that a structure with a leading `argsz` is there, and skips `argsz`.
fn sized(fields: &mut Fields<'_>, size: usize) -> Result<(), ProtocolError> {
    if fields.len < size {
        return Err(ProtocolError::Short { len: fields.len });
    }
    let argsz = fields.u32()? as usize;
    if argsz < size || argsz > MAX_DATA {
        return Err(ProtocolError::Invalid("argsz does not suit the request"));
    }
    Ok(())
}

/// A structure with argsz, flags (not used in a query) and an index.
fn query(
    fields: &mut Fields<'_>,
    size: usize,
    limit: u32,
    error: &'static str,
) -> Result<u32, ProtocolError> {
    sized(fields, size)?;
    let _flags = fields.u32()?;
    below(fields.u32()?, limit, error)
}

fn below(value: u32, limit: u32, error: &'static str) -> Result<u32, ProtocolError> {
    (value < limit)
        .then_some(value)
        .ok_or(ProtocolError::Invalid(error))
}

fn dma_map<'a>(fields: &mut Fields<'a>, fds: Vec<OwnedFd>) -> Result<Request<'a>, ProtocolError> {
    const READ: u32 = 1 << 0;
    const WRITE: u32 = 1 << 1;
    sized(fields, 32)?;
    let flags = fields.u32()?;
    let (offset, address, size) = (fields.u64()?, fields.u64()?, fields.u64()?);
    if flags & !(READ | WRITE) != 0 {
        return Err(ProtocolError::Invalid("unknown flags in DMA_MAP"));
    }
    Ok(Request::DmaMap(DmaRange {
        address,
        size,
        readable: flags & READ != 0,
        writable: flags & WRITE != 0,
        backing: fds.into_iter().next().map(|fd| (File::from(fd), offset)),
    }))
}

fn dma_unmap<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, ProtocolError> {
    const ALL: u32 = 1 << 1; // VFIO_DMA_UNMAP_FLAG_ALL; bit 0 asks for a dirty bitmap, which there is not
    sized(fields, 24)?;
    let flags = fields.u32()?;
    let (address, size) = (fields.u64()?, fields.u64()?);
    let all = flags == ALL;
    if flags & !ALL != 0 {
        return Err(ProtocolError::Invalid("unknown flags in DMA_UNMAP"));
    }
    if all && (address, size) != (0, 0) {
        return Err(ProtocolError::Invalid("DMA_UNMAP of everything with a range"));
    }
    Ok(Request::DmaUnmap { address, size, all })
}

fn region_io_fds<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, ProtocolError> {
    sized(fields, 16)?;
    let (flags, index, count) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if flags != 0 || count != 0 {
        return Err(ProtocolError::Invalid("flags and count of a query must be zero"));
    }
    let index = below(index, REGION_COUNT, "no such region")?;
    Ok(Request::RegionIoFds { index })
}

fn set_irqs<'a>(fields: &mut Fields<'a>, fds: Vec<OwnedFd>) -> Result<Request<'a>, ProtocolError> {
    const DATA_NONE: u32 = 1 << 0;
    const DATA_BOOL: u32 = 1 << 1;
    const DATA_EVENTFD: u32 = 1 << 2;
    const DATA: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
    const ACTION_MASK: u32 = 1 << 3;
    const ACTION_UNMASK: u32 = 1 << 4;
    const ACTION_TRIGGER: u32 = 1 << 5;
    const ACTION: u32 = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;

    sized(fields, 20)?;
    let flags = fields.u32()?;
    let index = below(fields.u32()?, IRQ_INDEX_COUNT, "no such interrupt index")?;
    let (start, count) = (fields.u32()?, fields.u32()?);
    let (data, action) = (flags & DATA, flags & ACTION);
    if flags & !(DATA | ACTION) != 0 || data.count_ones() != 1 || action.count_ones() != 1 {
        return Err(ProtocolError::Invalid(
            "SET_IRQS wants exactly one action and one kind of data",
        ));
    }
    if !fds.is_empty() && data != DATA_EVENTFD {
        return Err(ProtocolError::Descriptors { count: fds.len() });
    }
    if count == 0 && (data, action, start) != (DATA_NONE, ACTION_TRIGGER, 0) {
        return Err(ProtocolError::Invalid("SET_IRQS of no vectors"));
    }
    let action = match (action, data) {
        (ACTION_TRIGGER, DATA_NONE) if count == 0 => IrqAction::DisconnectAll,
        (ACTION_TRIGGER, DATA_NONE) => IrqAction::Trigger,
        (ACTION_TRIGGER, DATA_EVENTFD) if fds.is_empty() => IrqAction::Disconnect,
        (ACTION_TRIGGER, DATA_EVENTFD) if fds.len() as u64 == u64::from(count) => IrqAction::Connect(fds),
        (_, DATA_EVENTFD) => return Err(ProtocolError::Descriptors { count: fds.len() }),
        (_, DATA_BOOL) if fields.rest.len() as u64 != u64::from(count) => {
            return Err(ProtocolError::Invalid("SET_IRQS wants one boolean per vector"));
        }
        (ACTION_TRIGGER, _) => IrqAction::TriggerSome(fields.rest),
        _ if index >= ERR_IRQ_INDEX => {
            return Err(ProtocolError::Invalid("this interrupt index cannot be masked"));
        }
        _ => IrqAction::Mask,
    };
    Ok(Request::SetIrqs(SetIrqs {
        index,
        start,
        count,
        action,
    }))
}

/// What a client says of itself. Unknown members are ignored, so that newer clients can be talked to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ClientCapabilities {
    /// Most descriptors that it takes with one message.
    pub max_msg_fds: Option<u64>,
    /// Most data that it wants in one message. It chooses the count of every access itself, so there is nothing to enforce.
    pub max_data_xfer_size: Option<u64>,
    /// Migration parameters; checked, not used.
    migration: Option<Migration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Migration {
    pgsize: Option<u64>,
}

impl ClientCapabilities {
    /// Whether a descriptor may be sent to it. The specification's default is one.
    pub fn takes_descriptors(&self) -> bool {
        self.max_msg_fds != Some(0)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        #[derive(Deserialize, Default)]
        struct Version {
            #[serde(default)]
            capabilities: ClientCapabilities,
        }
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let text = CStr::from_bytes_with_nul(bytes)
            .map_err(|_| ProtocolError::Invalid("version data does not end at its first NUL"))?;
        let Version { capabilities } = serde_json::from_slice(text.to_bytes())
            .map_err(|_| ProtocolError::Invalid("version data is not the JSON that was expected"))?;
        if capabilities
            .max_msg_fds
            .is_some_and(|count| count > CLIENT_FDS_LIMIT)
        {
            return Err(ProtocolError::Invalid("max_msg_fds is beyond reason"));
        }
        if let Some(Migration { pgsize: Some(size) }) = capabilities.migration
            && (size < PAGE_SIZE || !size.is_power_of_two())
        {
            return Err(ProtocolError::Invalid("migration.pgsize is no page size"));
        }
        Ok(capabilities)
    }
}

fn version<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, ProtocolError> {
    let (major, minor) = (fields.u16()?, fields.u16()?);
    if major != MAJOR {
        return Err(ProtocolError::Version { major });
    }
    let capabilities = ClientCapabilities::decode(fields.rest)?;
    Ok(Request::Version { minor, capabilities })
}

/// The payload of a VERSION reply: never a higher minor version than the client's. QEMU takes no reply longer than its own request
/// (about 200 bytes), so this stays short.
pub fn version_reply(client_minor: u16) -> Vec<u8> {
    let mut reply = Vec::with_capacity(128);
    reply.extend_from_slice(&MAJOR.to_le_bytes());
    reply.extend_from_slice(&MINOR.min(client_minor).to_le_bytes());
    let capabilities = serde_json::json!({
        "capabilities": {
            "max_msg_fds": MAX_MSG_FDS,
            "max_data_xfer_size": MAX_DATA,
            "pgsizes": PAGE_SIZE,
            "write_multiple": true,
        }
    });
    reply.extend_from_slice(capabilities.to_string().as_bytes());
    reply.push(0);
    reply
}
