//! OSSSYS 5.0: the rings of the interrupt handler, and the tables of address spaces beside them.
//!
//! Source: `asic_reg/oss/osssys_5_0_0_offset.h`, and what `navi10_ih.c` defines itself.
//!
//! Users: `navi10_ih.c`, `gmc_v10_0.c` (LUT).

use mmio::RegSpec;

use crate::row::{m, s};

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    m("IH_VMID_{}_LUT", 0, 0x0000).array(16, 4),
    m("IH_VMID_{}_LUT_MM", 0, 0x0010).array(16, 4),
    m("IH_RB_CNTL", 0, 0x0080),
    m("IH_RB_BASE", 0, 0x0081),
    m("IH_RB_BASE_HI", 0, 0x0082).write_mask(0xff),
    m("IH_RB_RPTR", 0, 0x0083).write_mask(0x3_fffc),
    m("IH_RB_WPTR", 0, 0x0084).write_mask(0x3_fffd),
    m("IH_RB_WPTR_ADDR_HI", 0, 0x0085).write_mask(0xffff),
    m("IH_RB_WPTR_ADDR_LO", 0, 0x0086).write_mask(!3),
    m("IH_DOORBELL_RPTR", 0, 0x0087),
    // Rings 1 and 2 take redirected faults on parts whose driver gives them a size; this part's driver leaves them at 0.
    s("IH_RB_CNTL_RING1", 0, 0x008c),
    s("IH_RB_BASE_RING1", 0, 0x008d),
    s("IH_RB_BASE_HI_RING1", 0, 0x008e),
    s("IH_RB_RPTR_RING1", 0, 0x008f),
    s("IH_RB_WPTR_RING1", 0, 0x0090),
    s("IH_DOORBELL_RPTR_RING1", 0, 0x0093),
    s("IH_RB_CNTL_RING2", 0, 0x0098),
    s("IH_RB_BASE_RING2", 0, 0x0099),
    s("IH_RB_BASE_HI_RING2", 0, 0x009a),
    s("IH_RB_RPTR_RING2", 0, 0x009b),
    s("IH_RB_WPTR_RING2", 0, 0x009c),
    s("IH_DOORBELL_RPTR_RING2", 0, 0x009f),
    s("IH_CNTL", 0, 0x00c0),
    s("IH_CNTL2", 0, 0x00c1),
    s("IH_INT_FLOOD_CNTL", 0, 0x00d5),
    s("IH_STORM_CLIENT_LIST_CNTL", 0, 0x00da),
    s("IH_CLK_CTRL", 0, 0x00db),
    s("IH_CLIENT_CFG", 0, 0x0184),
    s("IH_CHICKEN", 0, 0x018c),
    s("IH_CHICKEN_Sienna_Cichlid", 0, 0x018d),
];
