//! Requests, decoded and checked against themselves.

use std::fs::File;
use std::os::fd::OwnedFd;

use super::protocol::{
    Fields, IRQ_INDEX_COUNT, MAX_DATA, MAX_MSG_FDS, MultiWrite, ProtocolError, REGION_COUNT, RegionAccess,
};
use super::version::{ClientCapabilities, version};
use crate::transport::DmaRange;

/// First interrupt index that cannot be masked (`VFIO_PCI_ERR_IRQ_INDEX`).
const ERR_IRQ_INDEX: u32 = 3;

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
