//! Register offsets, tables and layouts of the two hubs.
//!
//! Sources: `gc_10_3_0_{offset,default,sh_mask}.h` and `mmhub_2_0_0_{offset,default,sh_mask}.h` (Linux 6.1) for offsets, reset
//! values and fields. Relative offsets, reset values and fields of [`L2`] and [`MC`] are equal in both headers, and in
//! `gc_10_1_0_offset.h`; what differs between the hubs stands in the layout's [`extra`](HubLayout::extra) table.
//! Which registers are here: those that `gfxhub_v2_0.c`, `gfxhub_v2_1.c`, `mmhub_v2_0.c`, `gmc_v10_0.c` and the golden settings of
//! `gfx_v10_0.c` touch in Linux 6.1, 6.12 and 7.3, on bare metal and in a virtual function, plus L2_STATUS, INVALIDATE_CNTL and
//! L2_GCR_CNTL next to them.

use mmio::{RegOffset, RegSpec};

use crate::HubId;

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// Contexts of a hub.
const CONTEXTS: u16 = 16;
/// Invalidation engines of a hub.
const ENGINES: u16 = 18;
/// High halves of 36-bit page numbers.
const HI4: u32 = 0xf;
/// Apertures count in 16 MiB, in 24 bits.
const APERTURE: u32 = 0xff_ffff;

/// L2_PROTECTION_FAULT_CNTL.
pub const L2_PROTECTION_FAULT_CNTL: RegOffset = at(0x20);
/// L2_PROTECTION_FAULT_STATUS: [`FaultStatus`](crate::FaultStatus).
pub const L2_PROTECTION_FAULT_STATUS: RegOffset = at(0x30);
/// L2_PROTECTION_FAULT_ADDR_LO32: bits 43:12 of the faulting address.
pub const L2_PROTECTION_FAULT_ADDR_LO32: RegOffset = at(0x34);
/// L2_PROTECTION_FAULT_ADDR_HI32: bits 47:44 of the faulting address.
pub const L2_PROTECTION_FAULT_ADDR_HI32: RegOffset = at(0x38);
/// CONTEXT0_CNTL, one dword per context: [`ContextCntl`](crate::ContextCntl).
pub const CONTEXT_CNTL: RegOffset = at(0x100);
/// CONTEXTS_DISABLE: one bit per context.
pub const CONTEXTS_DISABLE: RegOffset = at(0x140);
/// INVALIDATE_ENG0_SEM, one dword per engine.
pub const INVALIDATE_SEM: RegOffset = at(0x144);
/// INVALIDATE_ENG0_REQ, one dword per engine: [`InvalidateRequest`](crate::InvalidateRequest).
pub const INVALIDATE_REQ: RegOffset = at(0x18c);
/// INVALIDATE_ENG0_ACK, one dword per engine: one bit per VMID.
pub const INVALIDATE_ACK: RegOffset = at(0x1d4);
/// INVALIDATE_ENG0_ADDR_RANGE_LO32, two dwords per engine.
pub const INVALIDATE_ADDR_RANGE: RegOffset = at(0x21c);
/// CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32, two dwords per context: a [`Pde`](crate::Pde).
pub const PAGE_TABLE_BASE: RegOffset = at(0x2ac);
/// CONTEXT0_PAGE_TABLE_START_ADDR_LO32, two dwords per context: a page number.
pub const PAGE_TABLE_START: RegOffset = at(0x32c);
/// CONTEXT0_PAGE_TABLE_END_ADDR_LO32, two dwords per context: a page number, inclusive.
pub const PAGE_TABLE_END: RegOffset = at(0x3ac);
/// First offset after the last context's END pair.
pub(crate) const PAGE_TABLE_LIMIT: RegOffset = at(0x42c);

/// Bit 0 of L2_PROTECTION_FAULT_CNTL: clear STATUS and ADDR. Acts on the write and reads as 0.
pub const CLEAR_PROTECTION_FAULT_STATUS_ADDR: u32 = 1 << 0;
/// Bit 1 of L2_PROTECTION_FAULT_CNTL: later faults overwrite STATUS and ADDR.
pub const ALLOW_SUBSEQUENT_PROTECTION_FAULT_STATUS_ADDR_UPDATES: u32 = 1 << 1;

/// The L2 and context group, relative to VM_L2_CNTL.
pub static L2: &[RegSpec] = &[
    RegSpec::stored("VM_L2_CNTL", at(0x00))
        .reset(0x0008_0602)
        .write_mask(0x0fff_ff3f),
    RegSpec::stored("VM_L2_CNTL2", at(0x04)).write_mask(0x7fe0_0003),
    RegSpec::stored("VM_L2_CNTL3", at(0x08))
        .reset(0x8010_0007)
        .write_mask(0xffff_9fff),
    RegSpec::constant("VM_L2_STATUS", at(0x0c), 0),
    RegSpec::stored("VM_DUMMY_PAGE_FAULT_CNTL", at(0x10))
        .reset(0x90)
        .write_mask(0xff),
    RegSpec::stored("VM_DUMMY_PAGE_FAULT_ADDR_LO32", at(0x14)),
    RegSpec::stored("VM_DUMMY_PAGE_FAULT_ADDR_HI32", at(0x18)).write_mask(HI4),
    RegSpec::stored("VM_INVALIDATE_CNTL", at(0x1c))
        .reset(0x10f)
        .write_mask(0xffff),
    RegSpec::modelled("VM_L2_PROTECTION_FAULT_CNTL", L2_PROTECTION_FAULT_CNTL)
        .reset(0x3fff_fffc)
        .write_mask(!CLEAR_PROTECTION_FAULT_STATUS_ADDR),
    RegSpec::stored("VM_L2_PROTECTION_FAULT_CNTL2", at(0x24))
        .reset(0x000a_0000)
        .write_mask(0x000f_ffff),
    RegSpec::stored("VM_L2_PROTECTION_FAULT_MM_CNTL3", at(0x28)).reset(u32::MAX),
    RegSpec::stored("VM_L2_PROTECTION_FAULT_MM_CNTL4", at(0x2c)).reset(u32::MAX),
    RegSpec::modelled("VM_L2_PROTECTION_FAULT_STATUS", L2_PROTECTION_FAULT_STATUS).write_mask(0),
    RegSpec::modelled("VM_L2_PROTECTION_FAULT_ADDR_LO32", L2_PROTECTION_FAULT_ADDR_LO32).write_mask(0),
    RegSpec::modelled("VM_L2_PROTECTION_FAULT_ADDR_HI32", L2_PROTECTION_FAULT_ADDR_HI32).write_mask(0),
    RegSpec::stored("VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_LO32", at(0x3c)),
    RegSpec::stored("VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_HI32", at(0x40)).write_mask(HI4),
    RegSpec::stored("VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32", at(0x48)),
    RegSpec::stored("VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_HI32", at(0x4c)).write_mask(HI4),
    RegSpec::stored("VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_LO32", at(0x50)),
    RegSpec::stored("VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR_HI32", at(0x54)).write_mask(HI4),
    RegSpec::stored("VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_LO32", at(0x58)),
    RegSpec::stored("VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32", at(0x5c)).write_mask(HI4),
    RegSpec::stored("VM_L2_CNTL4", at(0x60))
        .reset(0xc1)
        .write_mask(0x3fff_ffff),
    RegSpec::stored("VM_L2_MM_GROUP_RT_CLASSES", at(0x64)),
    RegSpec::stored("VM_L2_BANK_SELECT_RESERVED_CID", at(0x68)).write_mask(0x7f17_fdff),
    RegSpec::stored("VM_L2_BANK_SELECT_RESERVED_CID2", at(0x6c)).write_mask(0x7f17_fdff),
    RegSpec::stored("VM_L2_CACHE_PARITY_CNTL", at(0x70)).write_mask(0xffff),
    RegSpec::modelled("VM_CONTEXT{}_CNTL", CONTEXT_CNTL)
        .reset(0x007f_fe80)
        .write_mask(0x007f_ffff)
        .array(CONTEXTS, 4),
    RegSpec::modelled("VM_CONTEXTS_DISABLE", CONTEXTS_DISABLE).write_mask(0xffff),
    RegSpec::modelled("VM_INVALIDATE_ENG{}_SEM", INVALIDATE_SEM)
        .write_mask(0)
        .array(ENGINES, 4),
    RegSpec::modelled("VM_INVALIDATE_ENG{}_REQ", INVALIDATE_REQ)
        .reset(0x02f8_0000)
        .write_mask(0x07ff_ffff)
        .array(ENGINES, 4),
    RegSpec::modelled("VM_INVALIDATE_ENG{}_ACK", INVALIDATE_ACK)
        .write_mask(0)
        .array(ENGINES, 4),
    RegSpec::stored("VM_INVALIDATE_ENG{}_ADDR_RANGE_LO32", INVALIDATE_ADDR_RANGE).array(ENGINES, 8),
    RegSpec::stored(
        "VM_INVALIDATE_ENG{}_ADDR_RANGE_HI32",
        INVALIDATE_ADDR_RANGE.plus(4),
    )
    .write_mask(0x1f)
    .array(ENGINES, 8),
    RegSpec::modelled("VM_CONTEXT{}_PAGE_TABLE_BASE_ADDR_LO32", PAGE_TABLE_BASE).array(CONTEXTS, 8),
    RegSpec::modelled("VM_CONTEXT{}_PAGE_TABLE_BASE_ADDR_HI32", PAGE_TABLE_BASE.plus(4)).array(CONTEXTS, 8),
    RegSpec::modelled("VM_CONTEXT{}_PAGE_TABLE_START_ADDR_LO32", PAGE_TABLE_START).array(CONTEXTS, 8),
    RegSpec::modelled(
        "VM_CONTEXT{}_PAGE_TABLE_START_ADDR_HI32",
        PAGE_TABLE_START.plus(4),
    )
    .write_mask(HI4)
    .array(CONTEXTS, 8),
    RegSpec::modelled("VM_CONTEXT{}_PAGE_TABLE_END_ADDR_LO32", PAGE_TABLE_END).array(CONTEXTS, 8),
    RegSpec::modelled("VM_CONTEXT{}_PAGE_TABLE_END_ADDR_HI32", PAGE_TABLE_END.plus(4))
        .write_mask(HI4)
        .array(CONTEXTS, 8),
];

/// MC_VM_FB_OFFSET, in 16 MiB.
pub const FB_OFFSET: RegOffset = at(0x00);
/// MC_VM_FB_LOCATION_BASE, in 16 MiB. Resets to the frame buffer's base.
pub const FB_LOCATION_BASE: RegOffset = at(0x54);
/// MC_VM_FB_LOCATION_TOP, in 16 MiB, inclusive. Resets to the frame buffer's end.
pub const FB_LOCATION_TOP: RegOffset = at(0x58);
/// MC_VM_AGP_TOP, in 16 MiB, inclusive.
pub const AGP_TOP: RegOffset = at(0x5c);
/// MC_VM_AGP_BOT, in 16 MiB.
pub const AGP_BOT: RegOffset = at(0x60);
/// MC_VM_AGP_BASE, in 16 MiB.
pub const AGP_BASE: RegOffset = at(0x64);

/// The memory controller group, relative to MC_VM_FB_OFFSET.
pub static MC: &[RegSpec] = &[
    RegSpec::modelled("MC_VM_FB_OFFSET", FB_OFFSET).write_mask(APERTURE),
    RegSpec::stored("MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_LSB", at(0x04)),
    RegSpec::stored("MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB", at(0x08)).write_mask(HI4),
    RegSpec::modelled("MC_VM_FB_LOCATION_BASE", FB_LOCATION_BASE).write_mask(APERTURE),
    RegSpec::modelled("MC_VM_FB_LOCATION_TOP", FB_LOCATION_TOP).write_mask(APERTURE),
    RegSpec::modelled("MC_VM_AGP_TOP", AGP_TOP).write_mask(APERTURE),
    RegSpec::modelled("MC_VM_AGP_BOT", AGP_BOT).write_mask(APERTURE),
    RegSpec::modelled("MC_VM_AGP_BASE", AGP_BASE).write_mask(APERTURE),
    RegSpec::stored("MC_VM_SYSTEM_APERTURE_LOW_ADDR", at(0x68)).write_mask(0x3fff_ffff),
    RegSpec::stored("MC_VM_SYSTEM_APERTURE_HIGH_ADDR", at(0x6c)).write_mask(0x3fff_ffff),
    RegSpec::stored("MC_VM_MX_L1_TLB_CNTL", at(0x70))
        .reset(0x501)
        .write_mask(0x3ff9),
];

/// What only GFXHUB 2.1 has, or has elsewhere, relative to VM_L2_CNTL.
static GFXHUB_2_1_EXTRA: &[RegSpec] = &[
    // Written by the MODE2 save and restore of 6.12 and 7.3; the headers name neither its fields nor its reset value.
    RegSpec::stored("VM_DEBUG", at(0x44)),
    RegSpec::stored("VM_L2_IH_LOG_CNTL", at(0x74)),
    // Golden settings (golden_settings_gc_10_3); no reset value in the headers.
    RegSpec::stored("VM_L2_CGTT_CLK_CTRL", at(0x7c)),
    RegSpec::stored("VM_L2_CNTL5", at(0x80))
        .reset(0x3fe0)
        .write_mask(0x3fff),
    RegSpec::stored("VM_L2_GCR_CNTL", at(0x84)).write_mask(0x3ff),
    RegSpec::stored("UTCL2_CGTT_CLK_CTRL", at(0x4dc)),
    // A PF_MAX_REGION of 0 tells the driver that there is no XGMI.
    RegSpec::constant("MC_VM_XGMI_LFB_CNTL", at(0x4ec), 0),
    RegSpec::constant("MC_VM_XGMI_LFB_SIZE", at(0x4f0), 0),
];

/// What MMHUB 2.x has elsewhere, relative to VM_L2_CNTL.
static MMHUB_2_EXTRA: &[RegSpec] = &[
    RegSpec::stored("VM_L2_IH_LOG_CNTL", at(0x74)).reset(0x2),
    RegSpec::stored("VM_L2_CNTL5", at(0x84))
        .reset(0x3fe0)
        .write_mask(0x3fff),
    RegSpec::stored("VM_L2_GCR_CNTL", at(0x88)).write_mask(0x3ff),
];

/// What GFXHUB 2.0 has elsewhere, relative to VM_L2_CNTL.
static GFXHUB_2_0_EXTRA: &[RegSpec] = &[
    RegSpec::stored("VM_L2_CNTL5", at(0x84))
        .reset(0x3fe0)
        .write_mask(0x3fff),
    RegSpec::stored("VM_L2_GCR_CNTL", at(0x88)).write_mask(0x3ff),
];

/// Where a hub's registers are in the register BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubLayout {
    /// Which hub.
    pub id: HubId,
    /// Offset of VM_L2_CNTL, the base of the [`L2`] table and of `extra`.
    pub l2_base: RegOffset,
    /// Offset of MC_VM_FB_OFFSET, the base of the [`MC`] table.
    pub mc_base: RegOffset,
    /// Registers of this version of the hub alone.
    pub extra: &'static [RegSpec],
}

impl HubLayout {
    /// GFXHUB of Navi21 (GC 10.3.0).
    pub const GFXHUB_2_1: Self = Self {
        id: HubId::Gfx,
        l2_base: at(0xa070),
        mc_base: at(0xa51c),
        extra: GFXHUB_2_1_EXTRA,
    };
    /// GFXHUB of Navi12 (GC 10.1.2): 0x90 higher, L2_CNTL5 0x94.
    pub const GFXHUB_2_0: Self = Self {
        id: HubId::Gfx,
        l2_base: at(0xa100),
        mc_base: at(0xa5ac),
        extra: GFXHUB_2_0_EXTRA,
    };
    /// MMHUB of Navi21 (2.1.0) and of Navi12 (2.0.2); the driver uses one header for both.
    pub const MMHUB_2: Self = Self {
        id: HubId::Mm,
        l2_base: at(0x69a00),
        mc_base: at(0x6a15c),
        extra: MMHUB_2_EXTRA,
    };

    /// Absolute offset of a register of the [`L2`] table.
    pub const fn l2(&self, relative: RegOffset) -> RegOffset {
        self.l2_base.plus(relative.byte())
    }

    /// Absolute offset of a register of the [`MC`] table.
    pub const fn mc(&self, relative: RegOffset) -> RegOffset {
        self.mc_base.plus(relative.byte())
    }

    /// AMD's prefix of register names.
    pub const fn prefix(&self) -> &'static str {
        match self.id {
            HubId::Gfx => "GC",
            HubId::Mm => "MM",
        }
    }
}
