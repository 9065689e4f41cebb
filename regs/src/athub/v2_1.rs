//! ATHUB 2.1.
//!
//! Source: `asic_reg/athub/athub_2_1_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    s("ATHUB_MISC_CNTL", 0, 0x0009),
    s("ATC_VMID{}_PASID_MAPPING", 0, 0x0047).array(16, 4),
];
