//! What is common to all messages: header, limits, errors, accesses.
//!
//! Everything is little endian: client and server share a host, and this device runs on little-endian hosts only.

use thiserror::Error;

/// Length of a message header in bytes.
pub const HEADER_SIZE: usize = 16;
/// Most bytes of data in one access; announced in VERSION. QEMU's default is the same.
pub const MAX_DATA: usize = 1 << 20;
/// Longest message: a REGION_WRITE with [`MAX_DATA`] bytes.
pub const MAX_MESSAGE_SIZE: usize = HEADER_SIZE + RegionAccess::SIZE + MAX_DATA;
/// Most descriptors with one message; announced in VERSION.
pub const MAX_MSG_FDS: usize = 8;
/// Regions: BAR 0..=5, ROM, configuration space, VGA (`VFIO_PCI_NUM_REGIONS`).
pub const REGION_COUNT: u32 = 9;
/// Interrupt indices: INTx, MSI, MSI-X, error, request (`VFIO_PCI_NUM_IRQS`).
pub const IRQ_INDEX_COUNT: u32 = 5;
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
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
    pub(super) len: usize,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
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

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
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

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            offset: fields.u64()?,
            region: fields.u32()?,
            count: fields.u32()?,
        })
    }

    /// Its length, if one message can carry that much.
    pub(super) fn len(&self) -> Result<usize, ProtocolError> {
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

    pub(super) fn decode(fields: &mut Fields<'a>) -> Result<Self, ProtocolError> {
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
