//! The system management network: registers beyond the register BAR, reached through PCIE_INDEX2/PCIE_DATA2.
//!
//! Fidelity: the MP1 firmware flags read "firmware running", the memory controllers' error counters keep what is written. Every other
//! address reads 0, forgets what is written, and is counted as unmodelled.

use mmio::{RegOffset, RegSpec, RegisterFile};

/// `smnMP1_FIRMWARE_FLAGS` in the MP1 public range; bit 0 is INTERRUPTS_ENABLED (6.1 `smu_v11_0_check_fw_status`).
const MP1_FIRMWARE_FLAGS: RegOffset = RegOffset::from_byte(0x03b1_0024);
/// `smnMP0_FW_INTF` in the MP0 public range; bit 19 is set in a part that runs signed firmware only (6.1 `is_asic_secure`).
const MP0_FW_INTF: RegOffset = RegOffset::from_byte(0x0381_01c0);
/// `smnPCIE_LC_LINK_WIDTH_CNTL` (`nbio_v2_3.c`, `smu_v11_0.c`): width 0, for there is no link.
const PCIE_LC_LINK_WIDTH_CNTL: RegOffset = RegOffset::from_byte(0x1114_0288);
/// `smnPCIE_CONFIG_CNTL` (`nbio_v2_3.c`): bus parameters, kept without effect.
const PCIE_CONFIG_CNTL: RegOffset = RegOffset::from_byte(0x1118_0044);

/// `smnMP1_PMI_3_START`: whether the SMU has a trace buffer (6.12 `sienna_cichlid_ppt.c`, `smu_context.stb_context`).
const MP1_PMI_3_START: RegOffset = RegOffset::from_byte(0x03b3_0204);
/// `EccErrCntSel` of the first channel of the first memory controller (6.1 `umc_v8_7.c`); a controller every 1 MiB, two channels each.
const UMC0_ECC_ERR_CNT_SEL: RegOffset = RegOffset::from_byte(0x5_0ca0);
/// The second channel's.
const UMC1_ECC_ERR_CNT_SEL: RegOffset = RegOffset::from_byte(0x5_1ca0);

static SPECS: &[RegSpec] = &[
    RegSpec::constant("MP1_FIRMWARE_FLAGS", MP1_FIRMWARE_FLAGS, 1),
    RegSpec::constant("MP1_PMI_3_START", MP1_PMI_3_START, 0),
    RegSpec::constant("MP0_FW_INTF", MP0_FW_INTF, 1 << 19),
    RegSpec::stored("PCIE_CONFIG_CNTL", PCIE_CONFIG_CNTL),
    RegSpec::constant("PCIE_LC_LINK_WIDTH_CNTL", PCIE_LC_LINK_WIDTH_CNTL, 0),
    // Memory controllers: no error ever occurs, so a counter keeps what it was set to.
    RegSpec::stored("UMC{}_CH0_EccErrCntSel", UMC0_ECC_ERR_CNT_SEL).array(8, 0x10_0000),
    RegSpec::stored("UMC{}_CH0_EccErrCnt", UMC0_ECC_ERR_CNT_SEL.plus(4)).array(8, 0x10_0000),
    RegSpec::stored("UMC{}_CH1_EccErrCntSel", UMC1_ECC_ERR_CNT_SEL).array(8, 0x10_0000),
    RegSpec::stored("UMC{}_CH1_EccErrCnt", UMC1_ECC_ERR_CNT_SEL.plus(4)).array(8, 0x10_0000),
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
