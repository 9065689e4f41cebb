//! MP0 mailbox registers, relative to the first segment. User: `psp_v11_0.c`.

use mmio::{RegOffset, offset_of};
use regs::mp::v11_0::MP0;

/// Boot status: bit 31 once the boot firmware has finished.
pub const C2PMSG_33: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_33");
/// Bootloader command, and 0x80000000 when it is ready for one.
pub const C2PMSG_35: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_35");
/// Address of the component to load, in MiB.
pub const C2PMSG_36: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_36");
/// Ring control command; bit 31 is the response flag.
pub const C2PMSG_64: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_64");
/// Ring write pointer in dwords.
pub const C2PMSG_67: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_67");
/// Ring address, low.
pub const C2PMSG_69: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_69");
/// Ring address, high.
pub const C2PMSG_70: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_70");
/// Ring size in bytes.
pub const C2PMSG_71: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_71");
/// Sign of life of the secure OS.
pub const C2PMSG_81: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_81");

/// Ring control command of a virtual function; bit 31 is the response flag.
pub const C2PMSG_101: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_101");
/// A virtual function's ring address, low; afterwards its write pointer in dwords.
pub const C2PMSG_102: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_102");
/// A virtual function's ring address, high.
pub const C2PMSG_103: RegOffset = offset_of(MP0, "MP0_SMN_C2PMSG_103");

/// The response flag of C2PMSG_64 and C2PMSG_101, and the ready flag of C2PMSG_33 and C2PMSG_35.
pub const RESPONSE: u32 = 0x8000_0000;
