//! MP 11.0: mailboxes of the security processor (MP0) and of the system management unit (MP1).
//!
//! Source: `asic_reg/mp/mp_11_0_offset.h`, which the driver uses for MP0 and MP1.
//!
//! Users: `psp_v11_0.c`, `smu_v11_0.c`.

use mmio::RegSpec;

use crate::row::{m, s};

/// MP0's, all of segment 0. What resets to bit 31 is ready, or has an answer.
pub const MP0: &[RegSpec] = &[
    m("MP0_SMN_C2PMSG_33", 0, 0x0061).reset(0x8000_0000),
    m("MP0_SMN_C2PMSG_35", 0, 0x0063).reset(0x8000_0000),
    m("MP0_SMN_C2PMSG_36", 0, 0x0064),
    m("MP0_SMN_C2PMSG_64", 0, 0x0080),
    m("MP0_SMN_C2PMSG_67", 0, 0x0083),
    m("MP0_SMN_C2PMSG_69", 0, 0x0085),
    m("MP0_SMN_C2PMSG_70", 0, 0x0086),
    m("MP0_SMN_C2PMSG_71", 0, 0x0087),
    m("MP0_SMN_C2PMSG_81", 0, 0x0091).write_mask(0),
    // A virtual function's ring; a bare-metal driver leaves them alone.
    m("MP0_SMN_C2PMSG_101", 0, 0x00a5),
    m("MP0_SMN_C2PMSG_102", 0, 0x00a6),
    m("MP0_SMN_C2PMSG_103", 0, 0x00a7),
];

/// MP1's, all of segment 0. The last result resets to 1, which is success.
pub const MP1: &[RegSpec] = &[
    m("MP1_SMN_C2PMSG_66", 0, 0x0282),
    m("MP1_SMN_C2PMSG_82", 0, 0x0292),
    m("MP1_SMN_C2PMSG_90", 0, 0x029a).reset(1),
    s("MP1_SMN_IH_SW_INT", 0, 0x02c2),
    s("MP1_SMN_IH_SW_INT_CTRL", 0, 0x02c3),
];
