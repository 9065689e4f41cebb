//! NBIO 2.3 (which NBIF 2.3 and 3.3 have): memory size, identity, the index/data windows, doorbell ranges, HDP flush, and the mailbox of a
//! virtual function.
//!
//! Source: `asic_reg/nbio/nbio_2_3_offset.h`, and what `nbio_v2_3.c` and `amdgpu_discovery.c` define themselves.
//!
//! Users besides these: `nv.c`, `amdgpu_device.c` (index/data windows), `mxgpu_nv.h`. The names are short: MM_INDEX is BIF_BX_PF_MM_INDEX in the
//! header, RCC_CONFIG_MEMSIZE is RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE.

use mmio::RegSpec;

use crate::row::{c, m, s};

/// The bus interface.
pub const ROWS: &[RegSpec] = &[
    m("MM_INDEX", 0, 0x0000),
    m("MM_DATA", 0, 0x0001),
    m("MM_INDEX_HI", 0, 0x0006),
    // Before the driver has found the scratch registers it looks for number 7 from dword 0 on, and must find "not posted"
    // (6.1 `amdgpu_device_need_post`).
    c("dword 7", 0, 0x0007, 0),
    m("PCIE_INDEX2", 0, 0x000e),
    m("PCIE_DATA2", 0, 0x000f),
    // Scratch 7 has ASIC_INIT_COMPLETE: 0 makes the driver post the card.
    s("BIOS_SCRATCH_{}", 1, 0x0038).array(16, 4),
    // Where boot firmware leaves the place of the discovery binary if it is not the default one.
    c("DRIVER_SCRATCH_{}", 0, 0x0094, 0).array(3, 4),
    // A strap of the board: STRAP_PX_CAPABLE.
    m("RCC_BIF_STRAP0", 2, 0x0000).write_mask(0),
    s("RCC_BIF_STRAP2", 2, 0x0002),
    s("RCC_BIF_STRAP3", 2, 0x0003),
    s("RCC_BIF_STRAP5", 2, 0x0005),
    m("RCC_DEV0_EPF0_STRAP0", 2, 0x0011).write_mask(0),
    s("RCC_DOORBELL_APER_EN", 2, 0x00c0),
    m("RCC_CONFIG_MEMSIZE", 2, 0x00c3).write_mask(0),
    // Bit 0: a virtual function.
    m("RCC_IOV_FUNC_IDENTIFIER", 2, 0x00c5).write_mask(0),
    s("INTERRUPT_CNTL", 2, 0x00f1),
    s("INTERRUPT_CNTL2", 2, 0x00f2),
    s("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_BASE_HIGH", 2, 0x00f3),
    s("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_BASE_LOW", 2, 0x00f4),
    s("BIF_BX_PF_DOORBELL_SELFRING_GPA_APER_CNTL", 2, 0x00f5),
    s("BIF_BX_DEV0_EPF0_VF0_HDP_MEM_COHERENCY_FLUSH_CNTL", 2, 0x00f7),
    s("BIF_DOORBELL_INT_CNTL", 2, 0x00fd),
    s("BIF_FB_EN", 2, 0x00ff),
    m("GPU_HDP_FLUSH_REQ", 2, 0x0106),
    m("GPU_HDP_FLUSH_DONE", 2, 0x0107).write_mask(0),
    s("REMAP_HDP_MEM_FLUSH_CNTL", 2, 0x012d).reset(0x385c),
    s("REMAP_HDP_REG_FLUSH_CNTL", 2, 0x012e).reset(0x3858),
    s("BIF_RB_CNTL", 2, 0x012f),
    s("BIF_SDMA{}_DOORBELL_RANGE", 2, 0x01d0).array(2, 4),
    s("BIF_IH_DOORBELL_RANGE", 2, 0x01d2),
    s("BIF_MMSCH0_DOORBELL_RANGE", 2, 0x01d3),
    s("BIF_ACV_DOORBELL_RANGE", 2, 0x01d4),
    s("BIF_SDMA2_DOORBELL_RANGE", 2, 0x01d6),
    s("BIF_SDMA3_DOORBELL_RANGE", 2, 0x01d7),
    // The page that the driver remaps the HDP flush registers to. Memory is coherent here: a flush has nothing to do.
    m("HDP_MEM_FLUSH (remapped)", 0, 0x1_fc00).write_mask(0),
    m("HDP_REG_FLUSH (remapped)", 0, 0x1_fc01).write_mask(0),
];

/// The mailbox, all of segment 2.
pub const MAILBOX: &[RegSpec] = &[
    s("BIF_BX_PF_MAILBOX_MSGBUF_TRN_DW{}", 2, 0x0136).array(4, 4),
    m("BIF_BX_PF_MAILBOX_MSGBUF_RCV_DW{}", 2, 0x013a)
        .array(4, 4)
        .write_mask(0),
    m("BIF_BX_PF_MAILBOX_CONTROL", 2, 0x013e).write_mask(0),
    m("BIF_BX_PF_MAILBOX_INT_CNTL", 2, 0x013f),
];
