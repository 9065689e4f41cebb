//! The register ranges that packets write, as far as [`super::gc10::GLOBAL`] does not name single registers in them.
//!
//! Context (0xA000..0xA400 dwords), shader (0x2C00..0x3000) and the first part of the user configuration registers (0xC000..0xC400):
//! `PACKET3_SET_*_REG_START`/`_END` in `nvd.h`. All *stored*: nothing draws.

use mmio::{RegOffset, RegSpec};

const fn s(name: &'static str, byte: u32) -> RegSpec {
    RegSpec::stored(name, RegOffset::from_byte(byte))
}

/// What lies between the named registers of the packet-written ranges.
pub static WINDOWS: &[RegSpec] = &[
    s("SH_B000[{}]", 0xb000).array(1024, 4),
    s("CONTEXT_28000[{}]", 0x28000).array(215, 4),
    s("CONTEXT_28360[{}]", 0x28360).array(808, 4),
    s("UCONFIG_30000[{}]", 0x30000).array(64, 4),
    s("UCONFIG_30120[{}]", 0x30120).array(118, 4),
    s("UCONFIG_30308[{}]", 0x30308).array(4, 4),
    s("UCONFIG_30348[{}]", 0x30348).array(302, 4),
    s("UCONFIG_30804[{}]", 0x30804).array(63, 4),
    s("UCONFIG_30908[{}]", 0x30908).array(12, 4),
    s("UCONFIG_30944[{}]", 0x30944).array(16, 4),
    s("UCONFIG_30988[{}]", 0x30988).array(414, 4),
];
