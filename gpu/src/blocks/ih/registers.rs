//! OSSSYS registers with behaviour, relative to the first segment: the interrupt handler's ring 0, and the PASID tables beside it.

use mmio::{RegOffset, offset_of};
use regs::osssys::v5_0::ROWS;

/// Ring 0 control.
pub const IH_RB_CNTL: RegOffset = offset_of(ROWS, "IH_RB_CNTL");
/// Ring 0 base, bits 39:8.
pub const IH_RB_BASE: RegOffset = offset_of(ROWS, "IH_RB_BASE");
/// Ring 0 base, bits 47:40.
pub const IH_RB_BASE_HI: RegOffset = offset_of(ROWS, "IH_RB_BASE_HI");
/// Ring 0 read pointer in bytes.
pub const IH_RB_RPTR: RegOffset = offset_of(ROWS, "IH_RB_RPTR");
/// Ring 0 write pointer in bytes; bit 0 is RB_OVERFLOW.
pub const IH_RB_WPTR: RegOffset = offset_of(ROWS, "IH_RB_WPTR");
/// Where the write pointer is written back, bits 47:32.
pub const IH_RB_WPTR_ADDR_HI: RegOffset = offset_of(ROWS, "IH_RB_WPTR_ADDR_HI");
/// Where the write pointer is written back, bits 31:0.
pub const IH_RB_WPTR_ADDR_LO: RegOffset = offset_of(ROWS, "IH_RB_WPTR_ADDR_LO");
/// Doorbell of the read pointer: OFFSET (a dword index) and ENABLE (bit 28).
pub const IH_DOORBELL_RPTR: RegOffset = offset_of(ROWS, "IH_DOORBELL_RPTR");
/// PASID of a VMID on the graphics hub.
pub const IH_VMID_LUT: RegOffset = offset_of(ROWS, "IH_VMID_{}_LUT");
/// PASID of a VMID on the multimedia hub.
pub const IH_VMID_LUT_MM: RegOffset = offset_of(ROWS, "IH_VMID_{}_LUT_MM");

/// `IH_RB_CNTL.RB_ENABLE`
pub const RB_ENABLE: u32 = 1 << 0;
/// `IH_RB_CNTL.WPTR_WRITEBACK_ENABLE`
pub const WPTR_WRITEBACK_ENABLE: u32 = 1 << 8;
/// `IH_RB_CNTL.ENABLE_INTR`
pub const ENABLE_INTR: u32 = 1 << 17;
/// `IH_RB_CNTL.RPTR_REARM`
pub const RPTR_REARM: u32 = 1 << 21;
/// `IH_RB_CNTL.WPTR_OVERFLOW_CLEAR`
pub const WPTR_OVERFLOW_CLEAR: u32 = 1 << 31;
/// `IH_RB_WPTR.RB_OVERFLOW`
pub const RB_OVERFLOW: u32 = 1 << 0;
