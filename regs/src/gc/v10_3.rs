//! What GC 10.3 has of its own.
//!
//! Source: `asic_reg/gc/gc_10_3_0_offset.h`; for the names that the driver takes from the older header, the `_Sienna_Cichlid` offsets of
//! `gfx_v10_0.c`; then `asic_reg/gc/gc_10_1_0_offset.h`.
//!
//! Less the per-CU clock gating registers, which only GC 10.1 has in the driver.

use mmio::{RegSpec, merged};

use super::v10;
use crate::row::{c, m, s};

const OWN: &[RegSpec] = &[
    m("GRBM_SOFT_RESET", 0, 0x0da8).write_mask(0x07ff_0005),
    m("CP_MEC_CNTL", 0, 0x0f55).reset(0x5000_0000),
    m("VGT_ESGS_RING_SIZE", 0, 0x0fc1),
    m("VGT_GSVS_RING_SIZE", 0, 0x0fc2),
    m("VGT_TF_RING_SIZE", 0, 0x0fc3),
    m("VGT_HS_OFFCHIP_PARAM", 0, 0x0fc4),
    m("VGT_TF_MEMORY_BASE", 0, 0x0fc5),
    m("VGT_TF_MEMORY_BASE_HI", 0, 0x0fc6),
    c("CC_GC_SA_UNIT_DISABLE", 0, 0x0fe9, 0),
    s("GC_USER_SA_UNIT_DISABLE", 0, 0x0fea),
    s("PA_SC_ENHANCE_3", 0, 0x1085),
    s("SPI_CONFIG_CNTL", 0, 0x11ec),
    c("GB_ADDR_CONFIG", 0, 0x13de, 0x0000_0545),
    s("GCR_GENERAL_CNTL", 0, 0x1580),
    s("GC_THROTTLE_CTRL", 0, 0x2030),
    s("RLC_SPARE_INT_2", 1, 0x4c9d),
    m("RLC_SAFE_MODE", 1, 0x4ca0),
    m("RLC_CP_SCHEDULERS", 1, 0x4ca1),
    m("RLC_SPARE_INT_0", 1, 0x4ca5),
    s("RLC_SPARE_INT", 1, 0x4ccc),
    c("CGTS_TCC_DISABLE", 1, 0x5006, 0),
    s("CGTS_USER_TCC_DISABLE", 1, 0x5007),
    s("CGTT_SPI_RA0_CLK_CTRL", 1, 0x507a),
    s("CGTT_SPI_RA1_CLK_CTRL", 1, 0x507b),
    s("CGTT_SPI_CS_CLK_CTRL", 1, 0x507c),
    s("CP_HYP_PFP_UCODE_ADDR", 1, 0x5814),
    s("CP_HYP_PFP_UCODE_DATA", 1, 0x5815),
    s("CP_HYP_ME_UCODE_ADDR", 1, 0x5816),
    s("CP_HYP_ME_UCODE_DATA", 1, 0x5817),
    s("CP_HYP_CE_UCODE_ADDR", 1, 0x5818),
    s("CP_HYP_CE_UCODE_DATA", 1, 0x5819),
    s("CPG_PSP_DEBUG", 1, 0x5c10),
    s("CPC_PSP_DEBUG", 1, 0x5c11),
];

const OWN_PER_VMID: &[RegSpec] = &[
    s("SQ_SHADER_TBA_LO", 0, 0x10b2),
    s("SQ_SHADER_TBA_HI", 0, 0x10b3),
    s("SQ_SHADER_TMA_LO", 0, 0x10b4),
    s("SQ_SHADER_TMA_HI", 0, 0x10b5),
];

merged! {
    /// Registers that exist once.
    pub static GLOBAL = v10::GLOBAL, OWN;
}

merged! {
    /// Registers with one copy per VMID, selected by GRBM_GFX_CNTL.
    pub static PER_VMID = v10::PER_VMID, OWN_PER_VMID;
}
