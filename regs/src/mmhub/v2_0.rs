//! MMHUB 2.0, besides address translation: clock gating of its data fabric port and its translation cache.
//!
//! Source: `asic_reg/mmhub/mmhub_2_0_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    s("DAGB0_CNTL_MISC2", 0, 0x0071),
    s("MM_ATC_L2_MISC_CG", 0, 0x064a),
];
