//! SMUIO 11.0: the reference clock counter, and the clock of the ROM.
//!
//! Source: `asic_reg/smuio/smuio_11_0_0_offset.h` and, for 11.0.6, `smuio_11_0_6_offset.h`, which does not name the counter.

use mmio::RegSpec;

use crate::row::{m, s};

/// All versions.
pub const ROWS: &[RegSpec] = &[
    m("GOLDEN_TSC_COUNT_UPPER", 1, 0x0102).write_mask(0),
    m("GOLDEN_TSC_COUNT_LOWER", 1, 0x0103).write_mask(0),
];

/// 11.0.0.
pub const V11_0_0: &[RegSpec] = &[s("CGTT_ROM_CLK_CTRL0", 0, 0x00e3)];

/// 11.0.6.
pub const V11_0_6: &[RegSpec] = &[s("CGTT_ROM_CLK_CTRL0", 0, 0x00e4)];
