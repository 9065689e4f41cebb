//! The system management unit (MP1 11.0.7): its mailbox.
//!
//! The driver writes 0 to C2PMSG_90, the argument to C2PMSG_82 and the message to C2PMSG_66, then polls C2PMSG_90 for the result
//! (1 = OK) and reads the reply from C2PMSG_82 (Linux 6.1 `pm/swsmu/smu_cmn.c`). Message numbers: `pm/swsmu/inc/pmfw_if/
//! smu_v11_0_7_ppsmc.h`.
//!
//! Fidelity: the handshake and the reset messages are modelled. No feature is running (mask 0), so the driver keeps single-level
//! clock tables; tables that it uploads are taken and forgotten, tables that it asks for stay as they are in memory.

use std::collections::BTreeMap;

use mmio::{Effects, RegOffset, RegSpec, RegisterBlock, RegisterFile};

/// The register that a message is written to.
pub const C2PMSG_66: RegOffset = RegOffset::from_byte(0x58a08);
const C2PMSG_82: RegOffset = RegOffset::from_byte(0x58a48);
const C2PMSG_90: RegOffset = RegOffset::from_byte(0x58a68);

const RESULT_OK: u32 = 1;
/// `SMU_RESP_CMD_UNKNOWN`
const RESULT_UNKNOWN: u32 = 0xfe;

static SPECS: &[RegSpec] = &[
    RegSpec::modelled("MP1_SMN_C2PMSG_66", C2PMSG_66),
    RegSpec::modelled("MP1_SMN_C2PMSG_82", C2PMSG_82),
    RegSpec::modelled("MP1_SMN_C2PMSG_90", C2PMSG_90).reset(RESULT_OK),
    RegSpec::stored("MP1_SMN_IH_SW_INT", RegOffset::from_byte(0x58b08)),
    RegSpec::stored("MP1_SMN_IH_SW_INT_CTRL", RegOffset::from_byte(0x58b0c)),
];

const MSG_TEST: u32 = 0x1;
const MSG_GET_SMU_VERSION: u32 = 0x2;
const MSG_GET_DRIVER_IF_VERSION: u32 = 0x3;
const MSG_GET_MIN_DPM_FREQ: u32 = 0x1d;
const MSG_GET_MAX_DPM_FREQ: u32 = 0x1e;
const MSG_ENTER_BACO: u32 = 0x15;
const MSG_EXIT_BACO: u32 = 0x16;
const MSG_ARM_D3: u32 = 0x17;
/// Arguments of ArmD3 (6.1 `enum smu_baco_seq`) that take the chip's power away in D3hot: BACO and BAMACO.
const ARM_BACO: [u32; 2] = [0, 2];
const MSG_MODE1_RESET: u32 = 0x30;
const MSG_GET_PPT_LIMIT: u32 = 0x33;
const MSG_MODE2_RESET: u32 = 0x5d;

/// `PPSMC_Message_Count`: messages have the numbers below.
const MESSAGE_COUNT: u32 = 0x5e;

/// What a message asks of the rest of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmuEffect {
    /// Mode1Reset: the whole part.
    Mode1Reset,
    /// DriverMode2Reset: graphics and SDMA.
    Mode2Reset,
    /// EnterBaco: take the chip's power away.
    EnterBaco,
    /// ExitBaco, or ArmD3 that takes BACO back: see to it that the chip has power, and then call [`Smu::finish`], for the result of
    /// this message is still to come.
    ExitBaco,
}

/// The system management unit.
#[derive(Debug)]
pub struct Smu {
    file: RegisterFile,
    version: u32,
    driver_if: u32,
    messages: BTreeMap<u32, u64>,
    baco_in_d3: bool,
}

impl Smu {
    /// In the state after power-on, with firmware of this version and interface.
    pub fn new(version: u32, driver_if: u32) -> Self {
        Self {
            file: RegisterFile::new("", RegOffset::from_byte(0), SPECS),
            version,
            driver_if,
            messages: BTreeMap::new(),
            baco_in_d3: false,
        }
    }

    /// Messages since the start, by number. Numbers beyond the interface are counted under [`u32::MAX`].
    pub const fn messages(&self) -> &BTreeMap<u32, u64> {
        &self.messages
    }

    /// ArmD3: the chip is to lose its power when the function goes to D3hot, and to get it back with D0.
    pub const fn baco_in_d3(&self) -> bool {
        self.baco_in_d3
    }

    /// Gives the result of the message that was left open: success.
    pub fn finish(&mut self) {
        self.file.set(C2PMSG_82, 0);
        self.file.set(C2PMSG_90, RESULT_OK);
    }

    /// Takes a message, and nothing of it happens: it gets this result, or none ever.
    pub fn refuse(&mut self, message: u32, result: Option<u32>) {
        self.file.write(C2PMSG_66, message);
        self.count(message);
        if let Some(result) = result {
            self.file.set(C2PMSG_90, result);
        }
    }

    /// Counts a message; gives whether the interface has it.
    fn count(&mut self, message: u32) -> bool {
        let known = (1..MESSAGE_COUNT).contains(&message);
        let number = if known { message } else { u32::MAX };
        *self.messages.entry(number).or_default() += 1;
        known
    }

    fn message(&mut self, message: u32, effects: &mut Effects<SmuEffect>) {
        if !self.count(message) {
            self.file.set(C2PMSG_90, RESULT_UNKNOWN);
            return;
        }
        let argument = self.file.get(C2PMSG_82);
        log::debug!(target: "amdgpu::smu", "message {message:#x} argument {argument:#x}");
        let reply = match message {
            MSG_TEST => argument.wrapping_add(1),
            MSG_GET_SMU_VERSION => self.version,
            MSG_GET_DRIVER_IF_VERSION => self.driver_if,
            MSG_GET_MIN_DPM_FREQ => 500,
            MSG_GET_MAX_DPM_FREQ => 2000,
            MSG_GET_PPT_LIMIT => 255,
            MSG_ENTER_BACO => {
                effects.push(SmuEffect::EnterBaco);
                0
            }
            MSG_EXIT_BACO => {
                effects.push(SmuEffect::ExitBaco);
                return;
            }
            MSG_ARM_D3 => {
                self.baco_in_d3 = ARM_BACO.contains(&argument);
                if !self.baco_in_d3 {
                    effects.push(SmuEffect::ExitBaco);
                    return;
                }
                0
            }
            MSG_MODE1_RESET => {
                effects.push(SmuEffect::Mode1Reset);
                0
            }
            MSG_MODE2_RESET => {
                effects.push(SmuEffect::Mode2Reset);
                0
            }
            // Every other message changes a state that is not modelled, or asks for the mask of running features: none.
            _ => 0,
        };
        self.file.set(C2PMSG_82, reply);
        self.file.set(C2PMSG_90, RESULT_OK);
    }
}

impl RegisterBlock for Smu {
    type Effect = SmuEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        self.file.read(offset).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<SmuEffect>) {
        if self.file.write(offset, value).is_some() && offset == C2PMSG_66 {
            self.message(value, effects);
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
            version: _,
            driver_if: _,
            messages: _,
            baco_in_d3,
        } = self;
        file.reset();
        *baco_in_d3 = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(smu: &mut Smu, message: u32, argument: u32) -> (u32, Vec<SmuEffect>) {
        let mut effects = Effects::default();
        assert_ne!(smu.read(C2PMSG_90), 0, "the driver waits for the previous result");
        smu.write(C2PMSG_90, 0, &mut effects);
        smu.write(C2PMSG_82, argument, &mut effects);
        smu.write(C2PMSG_66, message, &mut effects);
        assert_eq!(smu.read(C2PMSG_90), RESULT_OK);
        (smu.read(C2PMSG_82), effects.take())
    }

    #[test]
    fn the_table_has_no_defects() {
        assert_eq!(RegisterFile::table_defects(SPECS), Vec::<String>::new());
    }

    #[test]
    fn versions_are_answered() {
        let mut smu = Smu::new(0x3a_5b00, 0x40);
        assert_eq!(send(&mut smu, MSG_GET_SMU_VERSION, 0), (0x3a_5b00, vec![]));
        assert_eq!(send(&mut smu, MSG_GET_DRIVER_IF_VERSION, 0), (0x40, vec![]));
    }

    #[test]
    fn a_reset_message_is_acknowledged_and_handed_on() {
        let mut smu = Smu::new(0, 0);
        assert_eq!(send(&mut smu, MSG_MODE1_RESET, 0).1, [SmuEffect::Mode1Reset]);
        assert_eq!(send(&mut smu, MSG_MODE2_RESET, 0).1, [SmuEffect::Mode2Reset]);
    }

    /// `smu_v11_0_baco_exit` (6.1) goes on as soon as it has the result: it must not come before the part has power.
    #[test]
    fn leaving_baco_is_answered_when_it_is_done() {
        let mut smu = Smu::new(0, 0);
        assert_eq!(send(&mut smu, MSG_ENTER_BACO, 0).1, [SmuEffect::EnterBaco]);
        let mut effects = Effects::default();
        smu.write(C2PMSG_90, 0, &mut effects);
        smu.write(C2PMSG_66, MSG_EXIT_BACO, &mut effects);
        assert_eq!(
            (effects.take(), smu.read(C2PMSG_90)),
            (vec![SmuEffect::ExitBaco], 0)
        );
        smu.finish();
        assert_eq!(smu.read(C2PMSG_90), RESULT_OK);
    }

    #[test]
    fn a_message_that_is_refused_is_counted_and_has_no_effect() {
        let mut smu = Smu::new(7, 0);
        smu.write(C2PMSG_90, 0, &mut Effects::default());
        smu.refuse(MSG_GET_SMU_VERSION, None);
        assert_eq!((smu.read(C2PMSG_90), smu.read(C2PMSG_82)), (0, 0));
        smu.refuse(MSG_GET_SMU_VERSION, Some(0xff));
        assert_eq!(smu.read(C2PMSG_90), 0xff);
        assert_eq!(smu.messages().get(&MSG_GET_SMU_VERSION), Some(&2));
    }

    #[test]
    fn a_message_beyond_the_interface_is_unknown() {
        let mut smu = Smu::new(0, 0);
        smu.write(C2PMSG_66, MESSAGE_COUNT, &mut Effects::default());
        assert_eq!(smu.read(C2PMSG_90), RESULT_UNKNOWN);
    }

    #[test]
    fn a_guest_cannot_make_the_counters_grow_without_bound() {
        let mut smu = Smu::new(0, 0);
        for message in 0..1000 {
            smu.write(C2PMSG_66, message, &mut Effects::default());
        }
        assert_eq!(smu.messages().len(), MESSAGE_COUNT as usize);
    }
}
