//! Register offsets as the driver has them, in bytes of BAR 5: from the headers of Linux 6.1 (`include/asic_reg`) and the bases in
//! `sienna_cichlid_ip_offset.h`. Written down again here, and not taken from the device's tables: a register that the device has in
//! the wrong place must make a test fail.

#![expect(missing_docs, reason = "AMD's names")]

use mmio::RegOffset;

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// Element `index` of an array of registers, `stride` bytes apart.
pub const fn element(first: RegOffset, index: u32, stride: u32) -> RegOffset {
    first.plus(index * stride)
}

/// Bus interface, and what the driver reaches through it.
pub mod nbio {
    use super::{RegOffset, at};

    pub const MM_INDEX: RegOffset = at(0x0);
    pub const MM_DATA: RegOffset = at(0x4);
    pub const MM_INDEX_HI: RegOffset = at(0x18);
    pub const PCIE_INDEX2: RegOffset = at(0x38);
    pub const PCIE_DATA2: RegOffset = at(0x3c);
    pub const BIOS_SCRATCH_3: RegOffset = at(0x13c);
    pub const BIOS_SCRATCH_7: RegOffset = at(0x14c);
    pub const RCC_BIF_STRAP0: RegOffset = at(0x3480);
    pub const RCC_DOORBELL_APER_EN: RegOffset = at(0x3780);
    pub const RCC_CONFIG_MEMSIZE: RegOffset = at(0x378c);
    pub const RCC_IOV_FUNC_IDENTIFIER: RegOffset = at(0x3794);
    pub const INTERRUPT_CNTL: RegOffset = at(0x3844);
    pub const INTERRUPT_CNTL2: RegOffset = at(0x3848);
    pub const BIF_FB_EN: RegOffset = at(0x387c);
    pub const GPU_HDP_FLUSH_REQ: RegOffset = at(0x3898);
    pub const GPU_HDP_FLUSH_DONE: RegOffset = at(0x389c);
    pub const REMAP_HDP_MEM_FLUSH_CNTL: RegOffset = at(0x3934);
    pub const REMAP_HDP_REG_FLUSH_CNTL: RegOffset = at(0x3938);
    pub const BIF_IH_DOORBELL_RANGE: RegOffset = at(0x3bc8);
    /// By SDMA instance.
    pub const BIF_SDMA_DOORBELL_RANGE: [RegOffset; 4] = [at(0x3bc0), at(0x3bc4), at(0x3bd8), at(0x3bdc)];
    pub const HDP_NONSURFACE_BASE: RegOffset = at(0x3d80);
    pub const HDP_READ_CACHE_INVALIDATE: RegOffset = at(0x3fc4);
    pub const HDP_MISC_CNTL: RegOffset = at(0x3fcc);
    /// Where the driver has the HDP flush registers remapped to.
    pub const REMAPPED_HDP_MEM_FLUSH: RegOffset = at(0x7_f000);
}

/// Interrupt handler.
pub mod ih {
    use super::{RegOffset, at};

    pub const IH_VMID_0_LUT: RegOffset = at(0x4280);
    pub const IH_RB_CNTL: RegOffset = at(0x4480);
    pub const IH_RB_BASE: RegOffset = at(0x4484);
    pub const IH_RB_BASE_HI: RegOffset = at(0x4488);
    pub const IH_RB_RPTR: RegOffset = at(0x448c);
    pub const IH_RB_WPTR: RegOffset = at(0x4490);
    pub const IH_RB_WPTR_ADDR_HI: RegOffset = at(0x4494);
    pub const IH_RB_WPTR_ADDR_LO: RegOffset = at(0x4498);
    pub const IH_DOORBELL_RPTR: RegOffset = at(0x449c);
    pub const IH_INT_FLOOD_CNTL: RegOffset = at(0x45d4);
    pub const IH_STORM_CLIENT_LIST_CNTL: RegOffset = at(0x45e8);
}

/// Mailboxes of the security processor (MP0) and the management unit (MP1).
pub mod mp {
    use super::{RegOffset, at};

    pub const MP0_C2PMSG_33: RegOffset = at(0x58184);
    pub const MP0_C2PMSG_35: RegOffset = at(0x5818c);
    pub const MP0_C2PMSG_36: RegOffset = at(0x58190);
    pub const MP0_C2PMSG_64: RegOffset = at(0x58200);
    pub const MP0_C2PMSG_67: RegOffset = at(0x5820c);
    pub const MP0_C2PMSG_69: RegOffset = at(0x58214);
    pub const MP0_C2PMSG_70: RegOffset = at(0x58218);
    pub const MP0_C2PMSG_71: RegOffset = at(0x5821c);
    pub const MP0_C2PMSG_81: RegOffset = at(0x58244);
    pub const MP0_C2PMSG_101: RegOffset = at(0x58294);
    pub const MP0_C2PMSG_102: RegOffset = at(0x58298);
    pub const MP0_C2PMSG_103: RegOffset = at(0x5829c);
    pub const MP1_C2PMSG_66: RegOffset = at(0x58a08);
    pub const MP1_C2PMSG_82: RegOffset = at(0x58a48);
    pub const MP1_C2PMSG_90: RegOffset = at(0x58a68);
    /// In the management network, not in BAR 5.
    pub const SMN_MP1_FIRMWARE_FLAGS: u32 = 0x03b1_0024;
}

/// The mailbox between a virtual function and its host.
pub mod mailbox {
    use super::{RegOffset, at};

    pub const TRN_DW0: RegOffset = at(0x3958);
    pub const RCV_DW0: RegOffset = at(0x3968);
    pub const INT_CNTL: RegOffset = at(0x397c);
    /// The byte of the guest's direction.
    pub const CONTROL_TRN: u32 = 0x3978;
    /// The byte of the host's.
    pub const CONTROL_RCV: u32 = 0x3979;
}

/// Graphics.
pub mod gc {
    use super::{RegOffset, at};

    pub const GRBM_STATUS: RegOffset = at(0x8010);
    pub const GRBM_SOFT_RESET: RegOffset = at(0x8020);
    pub const GRBM_GFX_CNTL: RegOffset = at(0x8088);
    pub const CP_STAT: RegOffset = at(0x8680);
    pub const CP_MEC_CNTL: RegOffset = at(0x86d4);
    pub const CP_ME_CNTL: RegOffset = at(0x86d8);
    pub const VGT_ESGS_RING_SIZE: RegOffset = at(0x8884);
    pub const SH_MEM_BASES: RegOffset = at(0x8c28);
    pub const SH_MEM_CONFIG: RegOffset = at(0x8c34);
    pub const CP_DEVICE_ID: RegOffset = at(0xc12c);
    pub const CP_MEC_DOORBELL_RANGE_LOWER: RegOffset = at(0xc170);
    pub const CP_MEC_DOORBELL_RANGE_UPPER: RegOffset = at(0xc174);
    /// By graphics pipe.
    pub const CP_INT_CNTL_RING: [RegOffset; 2] = [at(0xc1a8), at(0xc1ac)];
    pub const CP_PQ_WPTR_POLL_CNTL: RegOffset = at(0xc20c);
    /// By pipe, and on from MEC1's pipe 3 to MEC2's pipe 0.
    pub const CP_ME1_PIPE0_INT_CNTL: RegOffset = at(0xc214);
    pub const CP_MAX_CONTEXT: RegOffset = at(0xc2b8);
    pub const CPC_INT_CNTL: RegOffset = at(0xc2d0);
    pub const CPC_INT_STATUS: RegOffset = at(0xc2d4);
    pub const CP_PQ_STATUS: RegOffset = at(0xc2e0);
    pub const CP_GFX_HQD_ACTIVE: RegOffset = at(0xc380);
    pub const CP_MQD_BASE_ADDR: RegOffset = at(0xc824);
    pub const CP_MQD_BASE_ADDR_HI: RegOffset = at(0xc828);
    pub const CP_HQD_ACTIVE: RegOffset = at(0xc82c);
    pub const CP_HQD_VMID: RegOffset = at(0xc830);
    pub const CP_HQD_PERSISTENT_STATE: RegOffset = at(0xc834);
    pub const CP_HQD_PQ_BASE: RegOffset = at(0xc844);
    pub const CP_HQD_PQ_BASE_HI: RegOffset = at(0xc848);
    pub const CP_HQD_PQ_RPTR: RegOffset = at(0xc84c);
    pub const CP_HQD_PQ_RPTR_REPORT_ADDR: RegOffset = at(0xc850);
    pub const CP_HQD_PQ_RPTR_REPORT_ADDR_HI: RegOffset = at(0xc854);
    pub const CP_HQD_PQ_WPTR_POLL_ADDR: RegOffset = at(0xc858);
    pub const CP_HQD_PQ_WPTR_POLL_ADDR_HI: RegOffset = at(0xc85c);
    pub const CP_HQD_PQ_DOORBELL_CONTROL: RegOffset = at(0xc860);
    pub const CP_HQD_PQ_CONTROL: RegOffset = at(0xc868);
    pub const CP_HQD_DEQUEUE_REQUEST: RegOffset = at(0xc884);
    pub const CP_MQD_CONTROL: RegOffset = at(0xc8ac);
    pub const CP_HQD_EOP_BASE_ADDR: RegOffset = at(0xc8b8);
    pub const CP_HQD_EOP_BASE_ADDR_HI: RegOffset = at(0xc8bc);
    pub const CP_HQD_EOP_CONTROL: RegOffset = at(0xc8c0);
    pub const CP_HQD_PQ_WPTR_LO: RegOffset = at(0xc8fc);
    pub const CP_HQD_PQ_WPTR_HI: RegOffset = at(0xc900);
    pub const SCRATCH_REG0: RegOffset = at(0x3_0100);
    pub const VGT_ESGS_RING_SIZE_UMD: RegOffset = at(0x3_0900);
    pub const RLC_CNTL: RegOffset = at(0x3_b000);
    pub const RLC_SAFE_MODE: RegOffset = at(0x3_b280);
    pub const RLC_CP_SCHEDULERS: RegOffset = at(0x3_b284);
    pub const RLC_CSIB_ADDR_LO: RegOffset = at(0x3_b288);
    pub const RLC_CSIB_ADDR_HI: RegOffset = at(0x3_b28c);
    pub const RLC_CSIB_LENGTH: RegOffset = at(0x3_b290);
    pub const RLC_RLCS_BOOTLOAD_STATUS: RegOffset = at(0x3_ba34);
    pub const GRBM_CAM_INDEX: RegOffset = at(0x3_e810);
    pub const GRBM_CAM_DATA: RegOffset = at(0x3_e814);
}

/// SDMA engine 0; the others have the same registers elsewhere.
pub mod sdma {
    use super::{RegOffset, at};

    pub const CNTL: RegOffset = at(0x49f0);
    pub const SEM_WAIT_FAIL_TIMER_CNTL: RegOffset = at(0x4a04);
    pub const STATUS_REG: RegOffset = at(0x4a14);
    pub const F32_CNTL: RegOffset = at(0x4a28);
    pub const FREEZE: RegOffset = at(0x4a2c);
    pub const PHASE0_QUANTUM: RegOffset = at(0x4a30);
    pub const UTCL1_CNTL: RegOffset = at(0x4a70);
    pub const UTCL1_PAGE: RegOffset = at(0x4aa0);
    pub const GFX_RB_CNTL: RegOffset = at(0x4b80);
    pub const GFX_RB_BASE: RegOffset = at(0x4b84);
    pub const GFX_RB_BASE_HI: RegOffset = at(0x4b88);
    pub const GFX_RB_RPTR: RegOffset = at(0x4b8c);
    pub const GFX_RB_RPTR_HI: RegOffset = at(0x4b90);
    pub const GFX_RB_WPTR: RegOffset = at(0x4b94);
    pub const GFX_RB_WPTR_HI: RegOffset = at(0x4b98);
    pub const GFX_RB_WPTR_POLL_CNTL: RegOffset = at(0x4b9c);
    pub const GFX_RB_RPTR_ADDR_HI: RegOffset = at(0x4ba0);
    pub const GFX_RB_RPTR_ADDR_LO: RegOffset = at(0x4ba4);
    pub const GFX_IB_CNTL: RegOffset = at(0x4ba8);
    pub const GFX_DOORBELL: RegOffset = at(0x4bc8);
    pub const GFX_DOORBELL_OFFSET: RegOffset = at(0x4c2c);
    pub const GFX_RB_WPTR_POLL_ADDR_HI: RegOffset = at(0x4c48);
    pub const GFX_RB_WPTR_POLL_ADDR_LO: RegOffset = at(0x4c4c);
    pub const GFX_MINOR_PTR_UPDATE: RegOffset = at(0x4c54);

    /// Where each instance's registers are, in the place of instance 0's (`sdma_v5_2_get_reg_offset`).
    const BASES: [RegOffset; 4] = [
        RegOffset::from_dword(0x1260),
        RegOffset::from_dword(0x1260 + 0x600),
        RegOffset::from_dword(0x1_c000),
        RegOffset::from_dword(0x1_c000 + 0x400),
    ];

    /// The register of another instance.
    pub fn of(instance: usize, register: RegOffset) -> RegOffset {
        let [first, ..] = BASES;
        let base = BASES.get(instance).copied().unwrap_or(first);
        base.plus(register.byte() - first.byte())
    }
}

/// Registers of a hub.
#[derive(Debug, Clone, Copy)]
pub struct Hub {
    pub fb_offset: RegOffset,
    pub fb_location_base: RegOffset,
    pub fb_location_top: RegOffset,
    pub agp_top: RegOffset,
    pub agp_bot: RegOffset,
    pub agp_base: RegOffset,
    pub system_aperture_low: RegOffset,
    pub system_aperture_high: RegOffset,
    pub system_aperture_default_lsb: RegOffset,
    pub system_aperture_default_msb: RegOffset,
    pub l1_tlb_cntl: RegOffset,
    pub l2_cntl: RegOffset,
    pub l2_cntl2: RegOffset,
    pub l2_cntl3: RegOffset,
    pub l2_cntl4: RegOffset,
    pub l2_cntl5: RegOffset,
    pub fault_cntl: RegOffset,
    pub fault_cntl2: RegOffset,
    pub fault_status: RegOffset,
    pub fault_addr_lo: RegOffset,
    pub fault_addr_hi: RegOffset,
    pub fault_default_lo: RegOffset,
    pub fault_default_hi: RegOffset,
    /// Low and high limit of context 1's identity aperture, then its physical offset; each a pair.
    pub identity_aperture: [RegOffset; 3],
    /// By context, a dword each.
    pub context_cntl: RegOffset,
    /// By context, a pair each.
    pub page_table_base: RegOffset,
    pub page_table_start: RegOffset,
    pub page_table_end: RegOffset,
    /// By invalidation engine, a dword each.
    pub sem: RegOffset,
    pub req: RegOffset,
    pub ack: RegOffset,
    /// By invalidation engine, a pair each.
    pub range: RegOffset,
    /// `gmc_v10_0_use_invalidate_semaphore`: the multimedia hub's engines are taken before they are used.
    pub takes_semaphore: bool,
}

pub const GFXHUB: Hub = Hub {
    fb_offset: at(0xa51c),
    fb_location_base: at(0xa570),
    fb_location_top: at(0xa574),
    agp_top: at(0xa578),
    agp_bot: at(0xa57c),
    agp_base: at(0xa580),
    system_aperture_low: at(0xa584),
    system_aperture_high: at(0xa588),
    system_aperture_default_lsb: at(0xa520),
    system_aperture_default_msb: at(0xa524),
    l1_tlb_cntl: at(0xa58c),
    l2_cntl: at(0xa070),
    l2_cntl2: at(0xa074),
    l2_cntl3: at(0xa078),
    l2_cntl4: at(0xa0d0),
    l2_cntl5: at(0xa0f0),
    fault_cntl: at(0xa090),
    fault_cntl2: at(0xa094),
    fault_status: at(0xa0a0),
    fault_addr_lo: at(0xa0a4),
    fault_addr_hi: at(0xa0a8),
    fault_default_lo: at(0xa0ac),
    fault_default_hi: at(0xa0b0),
    identity_aperture: [at(0xa0b8), at(0xa0c0), at(0xa0c8)],
    context_cntl: at(0xa170),
    page_table_base: at(0xa31c),
    page_table_start: at(0xa39c),
    page_table_end: at(0xa41c),
    sem: at(0xa1b4),
    req: at(0xa1fc),
    ack: at(0xa244),
    range: at(0xa28c),
    takes_semaphore: false,
};

pub const MMHUB: Hub = Hub {
    fb_offset: at(0x6_a15c),
    fb_location_base: at(0x6_a1b0),
    fb_location_top: at(0x6_a1b4),
    agp_top: at(0x6_a1b8),
    agp_bot: at(0x6_a1bc),
    agp_base: at(0x6_a1c0),
    system_aperture_low: at(0x6_a1c4),
    system_aperture_high: at(0x6_a1c8),
    system_aperture_default_lsb: at(0x6_a160),
    system_aperture_default_msb: at(0x6_a164),
    l1_tlb_cntl: at(0x6_a1cc),
    l2_cntl: at(0x6_9a00),
    l2_cntl2: at(0x6_9a04),
    l2_cntl3: at(0x6_9a08),
    l2_cntl4: at(0x6_9a60),
    l2_cntl5: at(0x6_9a84),
    fault_cntl: at(0x6_9a20),
    fault_cntl2: at(0x6_9a24),
    fault_status: at(0x6_9a30),
    fault_addr_lo: at(0x6_9a34),
    fault_addr_hi: at(0x6_9a38),
    fault_default_lo: at(0x6_9a3c),
    fault_default_hi: at(0x6_9a40),
    identity_aperture: [at(0x6_9a48), at(0x6_9a50), at(0x6_9a58)],
    context_cntl: at(0x6_9b00),
    page_table_base: at(0x6_9cac),
    page_table_start: at(0x6_9d2c),
    page_table_end: at(0x6_9dac),
    sem: at(0x6_9b44),
    req: at(0x6_9b8c),
    ack: at(0x6_9bd4),
    range: at(0x6_9c1c),
    takes_semaphore: true,
};
