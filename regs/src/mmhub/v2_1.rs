//! MMHUB 2.1, besides address translation: clock gating of its data fabric port.
//!
//! Source: `mmhub_v2_0.c`, whose offset for Sienna Cichlid differs from that of `asic_reg/mmhub/mmhub_2_0_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[s("DAGB0_CNTL_MISC2", 0, 0x0070)];
