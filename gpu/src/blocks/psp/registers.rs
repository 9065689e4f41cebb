//! MP0 mailbox registers.
//!
//! Offsets: Linux 6.1 `mp/mp_11_0_offset.h`; user: `psp_v11_0.c`.

use mmio::{RegOffset, RegSpec};

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// Boot status: bit 31 once the boot firmware has finished.
pub const C2PMSG_33: RegOffset = at(0x58184);
/// Bootloader command, and 0x80000000 when it is ready for one.
pub const C2PMSG_35: RegOffset = at(0x5818c);
/// Address of the component to load, in MiB.
pub const C2PMSG_36: RegOffset = at(0x58190);
/// Ring control command; bit 31 is the response flag.
pub const C2PMSG_64: RegOffset = at(0x58200);
/// Ring write pointer in dwords.
pub const C2PMSG_67: RegOffset = at(0x5820c);
/// Ring address, low.
pub const C2PMSG_69: RegOffset = at(0x58214);
/// Ring address, high.
pub const C2PMSG_70: RegOffset = at(0x58218);
/// Ring size in bytes.
pub const C2PMSG_71: RegOffset = at(0x5821c);
/// Sign of life of the secure OS.
pub const C2PMSG_81: RegOffset = at(0x58244);

/// Ring control command of a virtual function; bit 31 is the response flag.
pub const C2PMSG_101: RegOffset = at(0x58294);
/// A virtual function's ring address, low; afterwards its write pointer in dwords.
pub const C2PMSG_102: RegOffset = at(0x58298);
/// A virtual function's ring address, high.
pub const C2PMSG_103: RegOffset = at(0x5829c);

/// The response flag of C2PMSG_64 and C2PMSG_101, and the ready flag of C2PMSG_33 and C2PMSG_35.
pub const RESPONSE: u32 = 0x8000_0000;

/// The register table.
pub static SPECS: &[RegSpec] = &[
    RegSpec::modelled("MP0_SMN_C2PMSG_33", C2PMSG_33).reset(RESPONSE),
    RegSpec::modelled("MP0_SMN_C2PMSG_35", C2PMSG_35).reset(RESPONSE),
    RegSpec::modelled("MP0_SMN_C2PMSG_36", C2PMSG_36),
    RegSpec::modelled("MP0_SMN_C2PMSG_64", C2PMSG_64),
    RegSpec::modelled("MP0_SMN_C2PMSG_67", C2PMSG_67),
    RegSpec::modelled("MP0_SMN_C2PMSG_69", C2PMSG_69),
    RegSpec::modelled("MP0_SMN_C2PMSG_70", C2PMSG_70),
    RegSpec::modelled("MP0_SMN_C2PMSG_71", C2PMSG_71),
    RegSpec::modelled("MP0_SMN_C2PMSG_81", C2PMSG_81).write_mask(0),
    // A virtual function's ring; a bare-metal driver leaves them alone.
    RegSpec::modelled("MP0_SMN_C2PMSG_101", C2PMSG_101),
    RegSpec::modelled("MP0_SMN_C2PMSG_102", C2PMSG_102),
    RegSpec::modelled("MP0_SMN_C2PMSG_103", C2PMSG_103),
];
