//! THM 11.0: there is no sensor. THM_BACO_CNTL.BACO_MODE (bit 8) is what drivers wait to see clear after BACO.
//!
//! Source: `asic_reg/thm/thm_11_0_2_offset.h`.

use mmio::RegSpec;

use crate::row::{c, m, s};

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    s("THM_THERMAL_INT_ENA", 0, 0x000a),
    s("THM_THERMAL_INT_CTRL", 0, 0x000b),
    s("CG_FDO_CTRL0", 0, 0x0067),
    s("CG_FDO_CTRL1", 0, 0x0068),
    s("CG_FDO_CTRL2", 0, 0x0069),
    s("CG_TACH_CTRL", 0, 0x006a),
    c("CG_TACH_STATUS", 0, 0x006b, 0),
    c("CG_THERMAL_STATUS", 0, 0x006c, 0),
    m("THM_BACO_CNTL", 0, 0x0081).write_mask(!(1 << 8)),
];
