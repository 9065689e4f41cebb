//! SMUIO 11.0.0: the clock of the ROM.
//!
//! Source: `asic_reg/smuio/smuio_11_0_0_offset.h`.

use mmio::RegSpec;

use crate::row::s;

/// All of segment 0.
pub const ROWS: &[RegSpec] = &[s("CGTT_ROM_CLK_CTRL0", 0, 0x00e3)];
