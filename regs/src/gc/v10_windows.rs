//! The register ranges that packets write, as far as [`super::v10::GLOBAL`] does not name single registers in them. Headers name them all; here a
//! range is one row, and its name has the byte in the register BAR at which GC 10 has it.
//!
//! Context (0xA000..0xA400 dwords), shader (0x2C00..0x3000) and the first part of the user configuration registers (0xC000..0xC400):
//! `PACKET3_SET_*_REG_START`/`_END` in `nvd.h`. All *stored*: nothing draws.

use mmio::RegSpec;

use crate::row::s;

/// What lies between the named registers of the packet-written ranges.
pub static WINDOWS: &[RegSpec] = &[
    s("SH_B000[{}]", 0, 0x19a0).array(1024, 4),
    s("CONTEXT_28000[{}]", 1, 0x0000).array(215, 4),
    s("CONTEXT_28360[{}]", 1, 0x00d8).array(808, 4),
    s("UCONFIG_30000[{}]", 1, 0x2000).array(64, 4),
    s("UCONFIG_30120[{}]", 1, 0x2048).array(118, 4),
    s("UCONFIG_30308[{}]", 1, 0x20c2).array(4, 4),
    s("UCONFIG_30348[{}]", 1, 0x20d2).array(302, 4),
    s("UCONFIG_30804[{}]", 1, 0x2201).array(63, 4),
    s("UCONFIG_30908[{}]", 1, 0x2242).array(12, 4),
    s("UCONFIG_30944[{}]", 1, 0x2251).array(16, 4),
    s("UCONFIG_30988[{}]", 1, 0x2262).array(414, 4),
];
