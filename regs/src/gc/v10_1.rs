//! What GC 10.1 has of its own.
//!
//! Source: `asic_reg/gc/gc_10_1_0_offset.h`. Of the clock gating registers of each CU, those that
//! `gfx_v10_0_apply_medium_grain_clock_gating_workaround` writes; of the streaming performance monitor's, those of
//! `golden_settings_gc_rlc_spm_10_1_2_nv12`.

use mmio::{RegSpec, merged};

use super::v10;
use crate::row::{c, m, s};

const OWN: &[RegSpec] = &[
    m("GRBM_SOFT_RESET", 0, 0x0da8).write_mask(0x01ff_0005),
    m("CP_MEC_CNTL", 0, 0x0e2d).reset(0x5000_0000),
    m("VGT_ESGS_RING_SIZE", 0, 0x0fd2),
    m("VGT_GSVS_RING_SIZE", 0, 0x0fd3),
    s("GE_FAST_CLKS", 0, 0x0fe8),
    m("VGT_TF_RING_SIZE", 0, 0x1002),
    s("GE_PRIV_CONTROL", 0, 0x1004),
    s("VGT_GS_MAX_WAVE_ID", 0, 0x1009),
    m("VGT_HS_OFFCHIP_PARAM", 0, 0x100c),
    m("VGT_TF_MEMORY_BASE", 0, 0x100e),
    m("VGT_TF_MEMORY_BASE_HI", 0, 0x1018),
    s("PA_SC_BINNER_EVENT_CNTL_0", 0, 0x106c),
    s("PA_SC_ENHANCE", 0, 0x109c),
    s("PA_SC_ENHANCE_1", 0, 0x109d),
    s("SQ_ARB_CONFIG", 0, 0x10ac),
    s("SQG_CONFIG", 0, 0x10ba),
    s("SQ_WATCH{}_ADDR_H", 0, 0x10d0).array(4, 12),
    s("SQ_WATCH{}_ADDR_L", 0, 0x10d1).array(4, 12),
    s("SQ_WATCH{}_CNTL", 0, 0x10d2).array(4, 12),
    s("SPI_START_PHASE", 0, 0x11db),
    s("SPI_CONFIG_CNTL", 0, 0x11e0),
    s("DB_DEBUG", 0, 0x13ac),
    s("DB_DEBUG2", 0, 0x13ad),
    s("DB_LAST_OF_BURST_CONFIG", 0, 0x13ba),
    s("DB_DFSM_TILES_IN_FLIGHT", 0, 0x13d2),
    c("GB_ADDR_CONFIG", 0, 0x13de, 0x0000_0044),
    s("CB_HW_CONTROL_4", 0, 0x1422),
    s("CB_HW_CONTROL_3", 0, 0x1423),
    s("RMI_SPARE", 0, 0x153f),
    s("GCR_GENERAL_CNTL", 0, 0x1583),
    s("TCP_CNTL", 0, 0x18a2),
    s("CP_DEBUG", 0, 0x1e1f),
    s("CP_SD_CNTL", 0, 0x1f57),
    s("GC_THROTTLE_CTRL", 0, 0x202d),
    s("TCP_WATCH{}_ADDR_H", 0, 0x2040).array(4, 12),
    s("TCP_WATCH{}_ADDR_L", 0, 0x2041).array(4, 12),
    s("TCP_WATCH{}_CNTL", 0, 0x2042).array(4, 12),
    s("CP_MES_DEBUG_INTERRUPT_INSTR_PNTR", 1, 0x2842),
    s("GL1_DRAM_BURST_CTRL", 1, 0x2d04),
    s("GL1_PIPE_STEER", 1, 0x2d10),
    s("CH_DRAM_BURST_CTRL", 1, 0x2d84),
    s("CH_PIPE_STEER", 1, 0x2d90),
    s("CH_VC5_ENABLE", 1, 0x2d94),
    s("GL2C_CTRL2", 1, 0x2e01),
    s("GL2_PIPE_STEER_0", 1, 0x2e25),
    s("GL2_PIPE_STEER_1", 1, 0x2e26),
    s("RLC_SPM_DESER_START_SKEW", 1, 0x3c8b),
    s("RLC_SPM_GLOBALS_SAMPLE_SKEW", 1, 0x3c8c),
    s("RLC_SPM_GLOBALS_MUXSEL_SKEW", 1, 0x3c8d),
    s("RLC_SPM_SE_SAMPLE_SKEW", 1, 0x3c8e),
    s("RLC_SPM_SE_MUXSEL_SKEW", 1, 0x3c8f),
    s("RLC_SPM_GLB_SAMPLEDELAY_IND_ADDR", 1, 0x3c90),
    s("RLC_SPM_GLB_SAMPLEDELAY_IND_DATA", 1, 0x3c91),
    s("RLC_SPM_SE_SAMPLEDELAY_IND_ADDR", 1, 0x3c92),
    s("RLC_SPM_SE_SAMPLEDELAY_IND_DATA", 1, 0x3c93),
    m("RLC_SAFE_MODE", 1, 0x4c05),
    s("RLC_GPM_DEBUG_INST_ADDR", 1, 0x4c1d),
    s("RLC_GPM_DEBUG_INST_A", 1, 0x4c22),
    s("RLC_GPM_DEBUG_INST_B", 1, 0x4c23),
    m("RLC_CP_SCHEDULERS", 1, 0x4caa),
    m("RLC_SPARE_INT", 1, 0x4ccc),
    s("RLC_LX6_CORE_PDEBUG_INST", 1, 0x4deb),
    s("CGTS_SA0_QUAD0_SM_CTRL_REG", 1, 0x5000),
    s("CGTS_SA0_QUAD1_SM_CTRL_REG", 1, 0x5002),
    s("CGTS_SA1_QUAD0_SM_CTRL_REG", 1, 0x5004),
    s("CGTS_SA1_QUAD1_SM_CTRL_REG", 1, 0x5006),
    c("CGTS_TCC_DISABLE", 1, 0x500a, 0),
    s("CGTS_USER_TCC_DISABLE", 1, 0x500b),
    s("CGTS_SA0_WGP00_CU0_TCP_CTRL_REG", 1, 0x5013),
    s("CGTS_SA0_WGP00_CU1_TCP_CTRL_REG", 1, 0x5017),
    s("CGTS_SA0_WGP01_CU0_TCP_CTRL_REG", 1, 0x501b),
    s("CGTS_SA0_WGP01_CU1_TCP_CTRL_REG", 1, 0x501f),
    s("CGTS_SA0_WGP02_CU0_TCP_CTRL_REG", 1, 0x5023),
    s("CGTS_SA0_WGP02_CU1_TCP_CTRL_REG", 1, 0x5027),
    s("CGTS_SA0_WGP10_CU0_TCP_CTRL_REG", 1, 0x502b),
    s("CGTS_SA0_WGP10_CU1_TCP_CTRL_REG", 1, 0x502f),
    s("CGTS_SA0_WGP11_CU0_TCP_CTRL_REG", 1, 0x5033),
    s("CGTS_SA0_WGP11_CU1_TCP_CTRL_REG", 1, 0x5037),
    s("CGTS_SA1_WGP00_CU0_TCP_CTRL_REG", 1, 0x503b),
    s("CGTS_SA1_WGP00_CU1_TCP_CTRL_REG", 1, 0x503f),
    s("CGTS_SA1_WGP01_CU0_TCP_CTRL_REG", 1, 0x5043),
    s("CGTS_SA1_WGP01_CU1_TCP_CTRL_REG", 1, 0x5047),
    s("CGTS_SA1_WGP02_CU0_TCP_CTRL_REG", 1, 0x504b),
    s("CGTS_SA1_WGP02_CU1_TCP_CTRL_REG", 1, 0x504f),
    s("CGTS_SA1_WGP10_CU0_TCP_CTRL_REG", 1, 0x5053),
    s("CGTS_SA1_WGP10_CU1_TCP_CTRL_REG", 1, 0x5057),
    s("CGTS_SA1_WGP11_CU0_TCP_CTRL_REG", 1, 0x505b),
    s("CGTS_SA1_WGP11_CU1_TCP_CTRL_REG", 1, 0x505f),
    s("CGTS_SA0_WGP12_CU0_TCP_CTRL_REG", 1, 0x5063),
    s("CGTS_SA0_WGP12_CU1_TCP_CTRL_REG", 1, 0x5067),
    s("CGTS_SA1_WGP12_CU0_TCP_CTRL_REG", 1, 0x506b),
    s("CGTS_SA1_WGP12_CU1_TCP_CTRL_REG", 1, 0x506f),
    s("CGTT_SPI_CLK_CTRL", 1, 0x5080),
    s("CGTT_GS_NGG_CLK_CTRL", 1, 0x5087),
    s("CGTT_SQ_CLK_CTRL", 1, 0x508c),
    s("CGTT_SQG_CLK_CTRL", 1, 0x508d),
    s("SQ_ALU_CLK_CTRL", 1, 0x508e),
    s("SQ_LDS_CLK_CTRL", 1, 0x5090),
    s("GL2C_CGTT_SCLK_CTRL", 1, 0x50ac),
    s("CGTT_CPF_CLK_CTRL", 1, 0x50b1),
    s("UTCL1_CGTT_CLK_CTRL", 1, 0x50c3),
];

const OWN_PER_VMID: &[RegSpec] = &[
    s("SQ_SHADER_TBA_LO", 0, 0x10bc),
    s("SQ_SHADER_TBA_HI", 0, 0x10bd),
    s("SQ_SHADER_TMA_LO", 0, 0x10be),
    s("SQ_SHADER_TMA_HI", 0, 0x10bf),
];

merged! {
    /// Registers that exist once.
    pub static GLOBAL = v10::GLOBAL, OWN;
}

merged! {
    /// Registers with one copy per VMID, selected by GRBM_GFX_CNTL.
    pub static PER_VMID = v10::PER_VMID, OWN_PER_VMID;
}
