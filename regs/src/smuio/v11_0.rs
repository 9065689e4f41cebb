//! SMUIO 11.0: the reference clock counter.
//!
//! Source: `asic_reg/smuio/smuio_11_0_0_offset.h`. That of 11.0.6 does not name the counter; the driver reads it with these offsets all the same.

use mmio::RegSpec;

use crate::row::m;

/// All versions.
pub const ROWS: &[RegSpec] = &[
    m("GOLDEN_TSC_COUNT_UPPER", 1, 0x0102).write_mask(0),
    m("GOLDEN_TSC_COUNT_LOWER", 1, 0x0103).write_mask(0),
];
