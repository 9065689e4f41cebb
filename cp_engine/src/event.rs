//! What the graphics block tells the rest of the device.

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

use super::{QueueId, Wait};

/// IH client id of the graphics block, `SOC15_IH_CLIENTID_GRBM_CP`.
pub const IH_CLIENT_GRBM_CP: u8 = 0x14;
/// IH source of the KIQ's fence, CPC GENERIC2.
pub const IH_SOURCE_KIQ: u8 = 178;
/// IH source of a fence, `CP_EOP_INTERRUPT`.
pub const IH_SOURCE_EOP: u8 = 181;
/// IH source of an illegal opcode, `CP_BAD_OPCODE_ERROR`.
pub const IH_SOURCE_BAD_OPCODE: u8 = 183;
/// IH source of an access to a register out of a client's reach, `CP_PRIV_REG_FAULT`.
pub const IH_SOURCE_PRIV_REG: u8 = 184;
/// IH source of a privileged instruction, `CP_PRIV_INSTR_FAULT`. Never raised: no shader runs.
pub const IH_SOURCE_PRIV_INSTR: u8 = 185;

/// How long a poll is not met until it is told, in ticks of the reference clock: 100 ms.
pub const LONG_WAIT: u64 = 10_000_000;

/// An event, raised after everything it announces is visible in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpEvent {
    /// RELEASE_MEM asked for an interrupt and the pipe has TIME_STAMP_INT_ENABLE.
    EndOfPipe {
        /// The queue.
        queue: QueueId,
        /// Context of the command stream.
        vmid: Vmid,
        /// INT_CTXID of the packet.
        context_id: u32,
    },
    /// A fence was written: RELEASE_MEM with a value, QUERY_STATUS, UNMAP_QUEUES with a fence.
    Fence {
        /// The queue.
        queue: QueueId,
        /// Where.
        at: GpuVa,
        /// The value.
        value: u64,
    },
    /// A poll has not been met for [`LONG_WAIT`], or has faulted and is not repeated. Told once.
    LongWait {
        /// The queue.
        queue: QueueId,
        /// What it waits for.
        wait: Wait,
    },
    /// The ring could not be read; the queue has stopped.
    RingFault {
        /// The queue.
        queue: QueueId,
    },
    /// A packet that is none, or that this stream may not have; the queue has stopped. Reported whether or not it interrupts.
    BadOpcode {
        /// The queue.
        queue: QueueId,
        /// Context of the command stream.
        vmid: Vmid,
        /// The header.
        header: u32,
        /// The pipe has OPCODE_ERROR_INT_ENABLE.
        interrupt: bool,
    },
    /// A user command stream addressed a register outside those left to it; the access was dropped, the queue has stopped.
    PrivilegedRegister {
        /// The queue.
        queue: QueueId,
        /// Context of the command stream.
        vmid: Vmid,
        /// The register.
        register: RegOffset,
        /// The pipe has PRIV_REG_INT_ENABLE.
        interrupt: bool,
    },
    /// One queue was reset, and what it had in flight was dropped.
    QueueReset {
        /// The queue.
        queue: QueueId,
    },
    /// One queue was to be reset, and was not: see [`GfxRegisters::set_queue_reset`](super::GfxRegisters::set_queue_reset).
    QueueNotReset {
        /// The queue.
        queue: QueueId,
    },
    /// CPC_INT_STATUS.GENERIC2_INT_STATUS was written: the KIQ's fence on 6.12 and 7.3.
    KiqFence {
        /// The queue that RLC_CP_SCHEDULERS names.
        queue: QueueId,
    },
    /// INVALIDATE_TLBS. The packet's queue goes on in the next step, so that its fence follows the invalidation.
    InvalidateTlb {
        /// Whose address spaces; look the VMIDs up in the PASID tables.
        pasid: u16,
        /// All hubs, not just the graphics hub.
        all_hubs: bool,
        /// 0 legacy, 1 light weight, 2 heavy weight.
        flush_type: u8,
    },
}

/// An interrupt in the terms of the interrupt ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpInterrupt {
    /// Client id.
    pub client: u8,
    /// Source id.
    pub source: u8,
    /// Ring id.
    pub ring_id: u8,
    /// Context.
    pub vmid: Vmid,
    /// First dword of source data.
    pub data: u32,
}

impl CpEvent {
    /// The interrupt that the event raises, if it raises one.
    pub const fn interrupt(&self) -> Option<CpInterrupt> {
        let (source, queue, vmid, data) = match *self {
            Self::EndOfPipe {
                queue,
                vmid,
                context_id,
            } => (IH_SOURCE_EOP, queue, vmid, context_id),
            Self::BadOpcode {
                queue,
                vmid,
                header,
                interrupt: true,
            } => (IH_SOURCE_BAD_OPCODE, queue, vmid, header),
            Self::PrivilegedRegister {
                queue,
                vmid,
                register,
                interrupt: true,
            } => (IH_SOURCE_PRIV_REG, queue, vmid, register.dword()),
            Self::KiqFence { queue } => (IH_SOURCE_KIQ, queue, Vmid::KERNEL, 0),
            Self::BadOpcode { .. }
            | Self::PrivilegedRegister { .. }
            | Self::QueueReset { .. }
            | Self::QueueNotReset { .. }
            | Self::InvalidateTlb { .. }
            | Self::Fence { .. }
            | Self::LongWait { .. }
            | Self::RingFault { .. } => {
                return None;
            }
        };
        Some(CpInterrupt {
            client: IH_CLIENT_GRBM_CP,
            source,
            ring_id: queue.ring_id(),
            vmid,
            data,
        })
    }
}
