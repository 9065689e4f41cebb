//! Blocks of which nothing but the registers exists: values are kept, and a few read as the board would have them.

use mmio::{Effects, RegOffset, RegSpec, RegisterBlock, RegisterFile};

/// What the driver waits to see clear after ExitBaco (6.12, 7.3 `smu_v11_0_poll_baco_exit`): in THM_BACO_CNTL.
const BACO_MODE: u32 = 1 << 8;

/// The blocks without behaviour.
#[derive(Debug)]
pub struct Plain {
    file: RegisterFile,
    /// GOLDEN_TSC_COUNT_LOWER and _UPPER: the reference clock counter (SMUIO).
    clock: [Option<RegOffset>; 2],
    /// THM_BACO_CNTL: whether the chip is in BACO.
    baco: Option<RegOffset>,
}

impl Plain {
    /// In the state after power-on: the registers of some IPs, each with its bases in dwords, by segment.
    pub fn new<'a>(ips: impl IntoIterator<Item = (&'a [u32], &'static [RegSpec])>) -> Self {
        let file = RegisterFile::of_ips("", ips);
        Self {
            clock: ["GOLDEN_TSC_COUNT_LOWER", "GOLDEN_TSC_COUNT_UPPER"].map(|name| file.offset(name)),
            baco: file.offset("THM_BACO_CNTL"),
            file,
        }
    }

    /// Whether the chip is in BACO.
    pub fn set_baco(&mut self, baco: bool) {
        if let Some(at) = self.baco {
            let others = self.file.get(at) & !BACO_MODE;
            self.file.set(at, others | if baco { BACO_MODE } else { 0 });
        }
    }

    /// Whether a register has power in BACO: the one that says so.
    pub fn is_always_on(&self, offset: RegOffset) -> bool {
        self.baco == Some(offset)
    }

    /// The reference clock counter as of now (100 MHz ticks).
    pub fn set_clock(&mut self, ticks: u64) {
        let halves = [ticks & 0xffff_ffff, ticks >> 32];
        for (at, half) in self.clock.into_iter().zip(halves) {
            if let Some(at) = at {
                self.file.set(at, u32::try_from(half).unwrap_or(0));
            }
        }
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
        let Self {
            file,
            clock: _,
            baco: _,
        } = self;
        file.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asic::{ASICS, NAVI21};

    #[test]
    fn the_tables_have_no_defects_and_every_segment_has_a_base() {
        for asic in ASICS {
            for (name, rows) in asic.plain {
                assert_eq!(RegisterFile::table_defects(rows), Vec::<String>::new());
                assert_eq!(RegisterFile::unplaced(asic.bases(name), rows), Vec::<&str>::new());
            }
        }
    }

    #[test]
    fn the_clock_is_read_in_two_halves() {
        let mut plain = Plain::new(NAVI21.plain_registers());
        plain.set_clock(0x1_2345_6789);
        assert_eq!(plain.read(RegOffset::from_byte(0x5_ac0c)), 0x2345_6789);
        assert_eq!(plain.read(RegOffset::from_byte(0x5_ac08)), 1);
    }
}
