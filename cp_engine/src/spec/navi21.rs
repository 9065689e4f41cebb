//! What GC 10.3.0 has of its own, as Navi21 places it (GC bases 0x1260, 0xA000, 0x1C000 dwords; offsets are bytes in the register BAR).
//!
//! Names and offsets: `asic_reg/gc/gc_10_3_0_offset.h`, and for the names that the driver takes from the older header
//! `gc_10_1_0_offset.h` the `_Sienna_Cichlid` offsets of `gfx_v10_0.c`. Less the per-CU clock gating registers, which only GC 10.1
//! parts get.

use mmio::{RegSpec, merged};

use super::gc10::{self, c, m, s};

const OWN: &[RegSpec] = &[
    m("GRBM_SOFT_RESET", 0x8020).write_mask(0x07ff_0005),
    m("CP_MEC_CNTL", 0x86d4).reset(0x5000_0000),
    m("VGT_ESGS_RING_SIZE", 0x8884),
    m("VGT_GSVS_RING_SIZE", 0x8888),
    m("VGT_TF_RING_SIZE", 0x888c),
    m("VGT_HS_OFFCHIP_PARAM", 0x8890),
    m("VGT_TF_MEMORY_BASE", 0x8894),
    m("VGT_TF_MEMORY_BASE_HI", 0x8898),
    c("CC_GC_SA_UNIT_DISABLE", 0x8924, 0),
    s("GC_USER_SA_UNIT_DISABLE", 0x8928),
    s("PA_SC_ENHANCE_3", 0x8b94),
    s("SPI_CONFIG_CNTL", 0x9130),
    c("GB_ADDR_CONFIG", 0x98f8, 0x0000_0545),
    s("GCR_GENERAL_CNTL", 0x9f80),
    s("GC_THROTTLE_CTRL", 0xca40),
    s("RLC_SPARE_INT_2", 0x3b274),
    m("RLC_SAFE_MODE", 0x3b280),
    m("RLC_CP_SCHEDULERS", 0x3b284),
    m("RLC_SPARE_INT_0", 0x3b294),
    s("RLC_SPARE_INT", 0x3b330),
    c("CGTS_TCC_DISABLE", 0x3c018, 0),
    s("CGTS_USER_TCC_DISABLE", 0x3c01c),
    s("CGTT_SPI_RA0_CLK_CTRL", 0x3c1e8),
    s("CGTT_SPI_RA1_CLK_CTRL", 0x3c1ec),
    s("CGTT_SPI_CS_CLK_CTRL", 0x3c1f0),
    s("CP_HYP_PFP_UCODE_ADDR", 0x3e050),
    s("CP_HYP_PFP_UCODE_DATA", 0x3e054),
    s("CP_HYP_ME_UCODE_ADDR", 0x3e058),
    s("CP_HYP_ME_UCODE_DATA", 0x3e05c),
    s("CP_HYP_CE_UCODE_ADDR", 0x3e060),
    s("CP_HYP_CE_UCODE_DATA", 0x3e064),
    s("CPG_PSP_DEBUG", 0x3f040),
    s("CPC_PSP_DEBUG", 0x3f044),
];

const OWN_PER_VMID: &[RegSpec] = &[
    s("SQ_SHADER_TBA_LO", 0x8c48),
    s("SQ_SHADER_TBA_HI", 0x8c4c),
    s("SQ_SHADER_TMA_LO", 0x8c50),
    s("SQ_SHADER_TMA_HI", 0x8c54),
];

merged! {
    /// Registers that exist once.
    pub static GLOBAL = gc10::GLOBAL, OWN;
}

merged! {
    /// Registers with one copy per VMID, selected by GRBM_GFX_CNTL.
    pub static PER_VMID = gc10::PER_VMID, OWN_PER_VMID;
}
