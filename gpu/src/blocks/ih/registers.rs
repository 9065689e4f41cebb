//! OSSSYS registers: the interrupt handler's rings, and the PASID tables beside them.
//!
//! Offsets: Linux 6.1 `oss/osssys_5_0_0_offset.h`; users: `navi10_ih.c`, `gmc_v10_0.c` (LUT). Absolute in the register BAR, since
//! the block has one instance.

use mmio::{RegOffset, RegSpec};

/// Ring 0 control.
pub const IH_RB_CNTL: RegOffset = RegOffset::from_byte(0x4480);
/// Ring 0 base, bits 39:8.
pub const IH_RB_BASE: RegOffset = RegOffset::from_byte(0x4484);
/// Ring 0 base, bits 47:40.
pub const IH_RB_BASE_HI: RegOffset = RegOffset::from_byte(0x4488);
/// Ring 0 read pointer in bytes.
pub const IH_RB_RPTR: RegOffset = RegOffset::from_byte(0x448c);
/// Ring 0 write pointer in bytes; bit 0 is RB_OVERFLOW.
pub const IH_RB_WPTR: RegOffset = RegOffset::from_byte(0x4490);
/// Where the write pointer is written back, bits 47:32.
pub const IH_RB_WPTR_ADDR_HI: RegOffset = RegOffset::from_byte(0x4494);
/// Where the write pointer is written back, bits 31:0.
pub const IH_RB_WPTR_ADDR_LO: RegOffset = RegOffset::from_byte(0x4498);
/// Doorbell of the read pointer: OFFSET (a dword index) and ENABLE (bit 28).
pub const IH_DOORBELL_RPTR: RegOffset = RegOffset::from_byte(0x449c);
/// PASID of a VMID on the graphics hub.
pub const IH_VMID_LUT: RegOffset = RegOffset::from_byte(0x4280);
/// PASID of a VMID on the multimedia hub.
pub const IH_VMID_LUT_MM: RegOffset = RegOffset::from_byte(0x42c0);

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

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// The register table.
pub static SPECS: &[RegSpec] = &[
    RegSpec::modelled("IH_VMID_{}_LUT", IH_VMID_LUT).array(16, 4),
    RegSpec::modelled("IH_VMID_{}_LUT_MM", IH_VMID_LUT_MM).array(16, 4),
    RegSpec::modelled("IH_RB_CNTL", IH_RB_CNTL),
    RegSpec::modelled("IH_RB_BASE", IH_RB_BASE),
    RegSpec::modelled("IH_RB_BASE_HI", IH_RB_BASE_HI).write_mask(0xff),
    RegSpec::modelled("IH_RB_RPTR", IH_RB_RPTR).write_mask(0x3_fffc),
    RegSpec::modelled("IH_RB_WPTR", IH_RB_WPTR).write_mask(0x3_fffd),
    RegSpec::modelled("IH_RB_WPTR_ADDR_HI", IH_RB_WPTR_ADDR_HI).write_mask(0xffff),
    RegSpec::modelled("IH_RB_WPTR_ADDR_LO", IH_RB_WPTR_ADDR_LO).write_mask(!3),
    RegSpec::modelled("IH_DOORBELL_RPTR", IH_DOORBELL_RPTR),
    // Rings 1 and 2 take redirected faults on parts whose driver gives them a size; this part's driver leaves them at 0.
    RegSpec::stored("IH_RB_CNTL_RING1", at(0x44b0)),
    RegSpec::stored("IH_RB_BASE_RING1", at(0x44b4)),
    RegSpec::stored("IH_RB_BASE_HI_RING1", at(0x44b8)),
    RegSpec::stored("IH_RB_RPTR_RING1", at(0x44bc)),
    RegSpec::stored("IH_RB_WPTR_RING1", at(0x44c0)),
    RegSpec::stored("IH_DOORBELL_RPTR_RING1", at(0x44cc)),
    RegSpec::stored("IH_RB_CNTL_RING2", at(0x44e0)),
    RegSpec::stored("IH_RB_BASE_RING2", at(0x44e4)),
    RegSpec::stored("IH_RB_BASE_HI_RING2", at(0x44e8)),
    RegSpec::stored("IH_RB_RPTR_RING2", at(0x44ec)),
    RegSpec::stored("IH_RB_WPTR_RING2", at(0x44f0)),
    RegSpec::stored("IH_DOORBELL_RPTR_RING2", at(0x44fc)),
    RegSpec::stored("IH_CNTL", at(0x4580)),
    RegSpec::stored("IH_CNTL2", at(0x4584)),
    RegSpec::stored("IH_INT_FLOOD_CNTL", at(0x45d4)),
    RegSpec::stored("IH_STORM_CLIENT_LIST_CNTL", at(0x45e8)),
    RegSpec::stored("IH_CLK_CTRL", at(0x45ec)),
    RegSpec::stored("IH_CLIENT_CFG", at(0x4890)),
    RegSpec::stored("IH_CHICKEN", at(0x48b0)),
    RegSpec::stored("IH_CHICKEN_Sienna_Cichlid", at(0x48b4)),
];
