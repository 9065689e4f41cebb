//! Blocks of which nothing but the registers exists: values are kept, and a few read as the board would have them.
//!
//! Offsets: the register headers of Linux 6.1 (`hdp_5_0_0`, `thm_11_0_2`, `smuio_11_0_0`; Navi21: `athub_2_1_0`, `smuio_11_0_6`; Navi12:
//! `athub_2_0_0`, `mmhub_2_0_0`).

use mmio::{Effects, RegOffset, RegSpec, RegisterBlock, RegisterFile, merged};

const fn at(byte: u32) -> RegOffset {
    RegOffset::from_byte(byte)
}

/// Low half of the reference clock counter (SMUIO).
const GOLDEN_TSC_COUNT_LOWER: RegOffset = at(0x5_ac0c);
/// Whether the chip is in BACO (THM).
const THM_BACO_CNTL: RegOffset = at(0x5_9a04);
/// What the driver waits to see clear after ExitBaco (6.12, 7.3 `smu_v11_0_poll_baco_exit`).
const BACO_MODE: u32 = 1 << 8;
/// High half of the reference clock counter (SMUIO).
const GOLDEN_TSC_COUNT_UPPER: RegOffset = at(0x5_ac08);

/// What the parts have in common.
const COMMON: &[RegSpec] = &[
    // HDP: caches nothing here, so there is nothing to flush or invalidate.
    RegSpec::stored("HDP_NONSURFACE_BASE", at(0x3d80)),
    RegSpec::stored("HDP_NONSURFACE_BASE_HI", at(0x3d88)),
    RegSpec::stored("HDP_HOST_PATH_CNTL", at(0x3fb0)),
    RegSpec::stored("HDP_READ_CACHE_INVALIDATE", at(0x3fc4)).write_mask(0),
    RegSpec::stored("HDP_MISC_CNTL", at(0x3fcc)),
    RegSpec::stored("HDP_MEM_POWER_CTRL", at(0x3fd0)),
    RegSpec::stored("HDP_CLK_CNTL", at(0x3fe0)),
    // SPI: trap handler configuration for KFD's debugger. No shader runs.
    RegSpec::stored("SPI_GDBG_TRAP_CONFIG", at(0xc748)),
    RegSpec::stored("SPI_GDBG_TRAP_DATA{}", at(0xc760)).array(2, 4),
    // THM: no sensor.
    RegSpec::stored("THM_THERMAL_INT_ENA", at(0x5_9828)),
    RegSpec::stored("THM_THERMAL_INT_CTRL", at(0x5_982c)),
    RegSpec::stored("CG_FDO_CTRL0", at(0x5_999c)),
    RegSpec::stored("CG_FDO_CTRL1", at(0x5_99a0)),
    RegSpec::stored("CG_FDO_CTRL2", at(0x5_99a4)),
    RegSpec::stored("CG_TACH_CTRL", at(0x5_99a8)),
    RegSpec::constant("CG_TACH_STATUS", at(0x5_99ac), 0),
    RegSpec::constant("CG_THERMAL_STATUS", at(0x5_99b0), 0),
    RegSpec::modelled("THM_BACO_CNTL", THM_BACO_CNTL).write_mask(!BACO_MODE),
    // SMUIO
    RegSpec::modelled("GOLDEN_TSC_COUNT_UPPER", GOLDEN_TSC_COUNT_UPPER).write_mask(0),
    RegSpec::modelled("GOLDEN_TSC_COUNT_LOWER", GOLDEN_TSC_COUNT_LOWER).write_mask(0),
];

/// What Navi21 has of its own.
const NAVI21_OWN: &[RegSpec] = &[
    // ATHUB 2.1
    RegSpec::stored("ATHUB_MISC_CNTL", at(0x3024)),
    RegSpec::stored("ATC_VMID{}_PASID_MAPPING", at(0x311c)).array(16, 4),
    // SMUIO 11.0.6
    RegSpec::stored("CGTT_ROM_CLK_CTRL0", at(0x5_a390)),
    // MMHUB's data fabric port: clock gating (6.1 `mmhub_v2_0.c`, Sienna Cichlid's offset).
    RegSpec::stored("DAGB0_CNTL_MISC2", at(0x6_81c0)),
];

/// What Navi12 has of its own.
const NAVI12_OWN: &[RegSpec] = &[
    // ATHUB 2.0
    RegSpec::stored("ATHUB_MISC_CNTL", at(0x3028)),
    RegSpec::stored("ATC_VMID_PASID_MAPPING_UPDATE_STATUS", at(0x302c)),
    RegSpec::stored("ATC_VMID{}_PASID_MAPPING", at(0x3030)).array(16, 4),
    // SMUIO 11.0.0
    RegSpec::stored("CGTT_ROM_CLK_CTRL0", at(0x5_a38c)),
    // MMHUB's data fabric port and its translation cache: clock gating (6.1 `mmhub_v2_0.c`).
    RegSpec::stored("DAGB0_CNTL_MISC2", at(0x6_81c4)),
    RegSpec::stored("MM_ATC_L2_MISC_CG", at(0x6_9928)),
];

merged! {
    /// Navi21's registers.
    pub static NAVI21 = COMMON, NAVI21_OWN;
}

merged! {
    /// Navi12's registers.
    pub static NAVI12 = COMMON, NAVI12_OWN;
}

/// The blocks without behaviour.
#[derive(Debug)]
pub struct Plain {
    file: RegisterFile,
}

impl Plain {
    /// In the state after power-on.
    pub fn new(specs: &'static [RegSpec]) -> Self {
        Self {
            file: RegisterFile::new("", RegOffset::from_byte(0), specs),
        }
    }

    /// Whether the chip is in BACO.
    pub fn set_baco(&mut self, baco: bool) {
        let others = self.file.get(THM_BACO_CNTL) & !BACO_MODE;
        self.file
            .set(THM_BACO_CNTL, others | if baco { BACO_MODE } else { 0 });
    }

    /// Whether a register has power in BACO: the one that says so.
    pub fn is_always_on(offset: RegOffset) -> bool {
        offset == THM_BACO_CNTL
    }

    /// The reference clock counter as of now (100 MHz ticks).
    pub fn set_clock(&mut self, ticks: u64) {
        self.file
            .set(GOLDEN_TSC_COUNT_LOWER, (ticks & 0xffff_ffff) as u32);
        self.file.set(GOLDEN_TSC_COUNT_UPPER, (ticks >> 32) as u32);
    }
}

impl RegisterBlock for Plain {
    type Effect = std::convert::Infallible;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.file.read(offset).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, _effects: &mut Effects<Self::Effect>) {
        self.file.write(offset, value);
    }

    fn reset(&mut self) {
        let Self { file } = self;
        file.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_defects() {
        for specs in [NAVI12, NAVI21] {
            assert_eq!(RegisterFile::table_defects(specs), Vec::<String>::new());
        }
    }

    #[test]
    fn the_clock_is_read_in_two_halves() {
        let mut plain = Plain::new(NAVI21);
        plain.set_clock(0x1_2345_6789);
        assert_eq!(plain.read(GOLDEN_TSC_COUNT_LOWER), 0x2345_6789);
        assert_eq!(plain.read(GOLDEN_TSC_COUNT_UPPER), 1);
    }
}
