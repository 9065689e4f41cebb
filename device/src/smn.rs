//! The system management network: registers beyond the register BAR, reached through PCIE_INDEX2/PCIE_DATA2.
//!
//! Fidelity: the MP1 firmware flags read "firmware running"; every other address reads 0, forgets what is written, and is counted as
//! unmodelled.

use mmio::{RegOffset, RegSpec, RegisterFile};

/// `smnMP1_FIRMWARE_FLAGS` in the MP1 public range; bit 0 is INTERRUPTS_ENABLED (6.1 `smu_v11_0_check_fw_status`).
const MP1_FIRMWARE_FLAGS: RegOffset = RegOffset::from_byte(0x03b1_0024);
/// `smnPCIE_CONFIG_CNTL` (`nbio_v2_3.c`): bus parameters, kept without effect.
const PCIE_CONFIG_CNTL: RegOffset = RegOffset::from_byte(0x1118_0044);

static SPECS: &[RegSpec] = &[
    RegSpec::constant("MP1_FIRMWARE_FLAGS", MP1_FIRMWARE_FLAGS, 1),
    RegSpec::stored("PCIE_CONFIG_CNTL", PCIE_CONFIG_CNTL),
];

/// The network's registers.
#[derive(Debug)]
pub struct Smn {
    file: RegisterFile,
}

impl Default for Smn {
    fn default() -> Self {
        Self::new()
    }
}

impl Smn {
    /// In the state after power-on.
    pub fn new() -> Self {
        Self {
            file: RegisterFile::new("", RegOffset::from_byte(0), SPECS),
        }
    }

    /// The register at an address, if it is modelled.
    pub fn read(&self, address: RegOffset) -> Option<u32> {
        self.file.read(address)
    }

    /// Writes a register. Returns whether it is modelled.
    pub fn write(&mut self, address: RegOffset, value: u32) -> bool {
        self.file.write(address, value).is_some()
    }

    /// The registers, for documentation and tests.
    pub const fn file(&self) -> &RegisterFile {
        &self.file
    }

    /// Back to the state after power-on.
    pub fn reset(&mut self) {
        let Self { file } = self;
        file.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_firmware_runs() {
        assert_eq!(Smn::new().read(MP1_FIRMWARE_FLAGS), Some(1));
        assert_eq!(Smn::new().read(RegOffset::from_byte(0x1000)), None);
        assert_eq!(RegisterFile::table_defects(SPECS), Vec::<String>::new());
    }
}
