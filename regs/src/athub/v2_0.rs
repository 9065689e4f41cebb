//! ATHUB 2.0.
//!
//! Source: `asic_reg/athub/athub_2_0_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    s("ATHUB_MISC_CNTL", 0, 0x000a),
    s("ATC_VMID_PASID_MAPPING_UPDATE_STATUS", 0, 0x000b),
    s("ATC_VMID{}_PASID_MAPPING", 0, 0x000c).array(16, 4),
];
