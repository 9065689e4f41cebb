//! HDP 5.0: it caches nothing here, so there is nothing to flush or invalidate.
//!
//! Source: `asic_reg/hdp/hdp_5_0_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[
    s("HDP_NONSURFACE_BASE", 0, 0x0040),
    s("HDP_NONSURFACE_BASE_HI", 0, 0x0042),
    s("HDP_HOST_PATH_CNTL", 0, 0x00cc),
    s("HDP_READ_CACHE_INVALIDATE", 0, 0x00d1).write_mask(0),
    s("HDP_MISC_CNTL", 0, 0x00d3),
    s("HDP_MEM_POWER_CTRL", 0, 0x00d4),
    s("HDP_CLK_CNTL", 0, 0x00d8),
];
