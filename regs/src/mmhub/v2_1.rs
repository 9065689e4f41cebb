//! MMHUB 2.1, besides address translation: clock gating of its data fabric port.
//!
//! Source: `asic_reg/mmhub/mmhub_2_0_0_offset.h`, and `mmDAGB0_CNTL_MISC2_Sienna_Cichlid` of Linux 6.1 `mmhub_v2_0.c`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[s("DAGB0_CNTL_MISC2", 0, 0x0070)];
