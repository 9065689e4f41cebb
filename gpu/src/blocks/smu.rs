//! The system management unit (MP1 11.0): its mailbox.
//!
//! The driver writes 0 to C2PMSG_90, the argument to C2PMSG_82 and the message to C2PMSG_66, then polls C2PMSG_90 for the result
//! (1 = OK) and reads the reply from C2PMSG_82 (Linux 6.1 `pm/swsmu/smu_cmn.c`). The numbers of messages are
//! the firmware's, and so the part's: [`Interface`].
//!
//! Fidelity: the handshake and the reset messages are modelled. No feature is running (mask 0), so the driver keeps single-level
//! clock tables; tables that it uploads are taken and forgotten, tables that it asks for stay as they are in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::segment;
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile, offset_of};
use regs::mp::v11_0::MP1;

/// The register that a message is written to.
pub const C2PMSG_66: RegOffset = offset_of(MP1, "MP1_SMN_C2PMSG_66");
const C2PMSG_82: RegOffset = offset_of(MP1, "MP1_SMN_C2PMSG_82");
const C2PMSG_90: RegOffset = offset_of(MP1, "MP1_SMN_C2PMSG_90");

const RESULT_OK: u32 = 1;
/// `SMU_RESP_CMD_UNKNOWN`
const RESULT_UNKNOWN: u32 = 0xfe;

/// Messages of every firmware.
const MSG_TEST: u32 = 0x1;
const MSG_GET_SMU_VERSION: u32 = 0x2;
const MSG_GET_DRIVER_IF_VERSION: u32 = 0x3;
/// Arguments of ArmD3 (6.1 `enum smu_baco_seq`) that take the chip's power away in D3hot: BACO and BAMACO.
const ARM_BACO: [u32; 2] = [0, 2];

/// A message that does more than change a state which is not modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// GetMinDpmFreq.
    GetMinDpmFreq,
    /// GetMaxDpmFreq.
    GetMaxDpmFreq,
    /// GetPptLimit.
    GetPptLimit,
    /// EnterBaco.
    EnterBaco,
    /// ExitBaco.
    ExitBaco,
    /// ArmD3: BACO with D3hot.
    ArmD3,
    /// Mode1Reset.
    Mode1Reset,
    /// DriverMode2Reset.
    Mode2Reset,
}

impl Message {
    /// Its name (`PPSMC_MSG_*` without the prefix).
    const fn name(self) -> &'static str {
        match self {
            Self::GetMinDpmFreq => "GetMinDpmFreq",
            Self::GetMaxDpmFreq => "GetMaxDpmFreq",
            Self::GetPptLimit => "GetPptLimit",
            Self::EnterBaco => "EnterBaco",
            Self::ExitBaco => "ExitBaco",
            Self::ArmD3 => "ArmD3",
            Self::Mode1Reset => "Mode1Reset",
            Self::Mode2Reset => "DriverMode2Reset",
        }
    }
}

/// What messages a firmware understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Those with a meaning here, by number.
    pub messages: &'static [(u32, Message)],
    /// `PPSMC_Message_Count`: messages have the numbers below.
    pub count: u32,
    /// Answer to GetDriverIfVersion.
    pub driver_if: u32,
}

impl Interface {
    /// MP1 11.0.7, Navi21: `pm/swsmu/inc/pmfw_if/smu_v11_0_7_ppsmc.h`.
    pub const V11_0_7: Self = Self {
        messages: &[
            (0x15, Message::EnterBaco),
            (0x16, Message::ExitBaco),
            (0x17, Message::ArmD3),
            (0x1d, Message::GetMinDpmFreq),
            (0x1e, Message::GetMaxDpmFreq),
            (0x30, Message::Mode1Reset),
            (0x33, Message::GetPptLimit),
            (0x5d, Message::Mode2Reset),
        ],
        count: 0x5e,
        driver_if: 0x40,
    };

    /// MP1 11.0.9, Navi12, without any message for a reset: `pm/swsmu/inc/pmfw_if/smu_v11_0_ppsmc.h`.
    pub const V11_0_9: Self = Self {
        messages: &[
            (0x18, Message::EnterBaco),
            (0x19, Message::ExitBaco),
            (0x1e, Message::GetMinDpmFreq),
            (0x1f, Message::GetMaxDpmFreq),
            (0x36, Message::GetPptLimit),
            (0x46, Message::ArmD3),
        ],
        count: 0x51,
        driver_if: 0x38,
    };

    /// The number of a message, if the firmware has it.
    pub fn number(&self, message: Message) -> Option<u32> {
        self.messages
            .iter()
            .find(|(_, other)| *other == message)
            .map(|(number, _)| *number)
    }

    /// What a message is counted under: its name, or its number in decimal if it means nothing here.
    fn counter(&self, number: u32) -> Cow<'static, str> {
        match number {
            MSG_TEST => "TestMessage".into(),
            MSG_GET_SMU_VERSION => "GetSmuVersion".into(),
            MSG_GET_DRIVER_IF_VERSION => "GetDriverIfVersion".into(),
            u32::MAX => "unknown".into(),
            _ => match self.message(number) {
                Some(message) => message.name().into(),
                None => number.to_string().into(),
            },
        }
    }

    fn message(&self, number: u32) -> Option<Message> {
        self.messages
            .iter()
            .find(|(other, _)| *other == number)
            .map(|(_, message)| *message)
    }
}

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
    interface: Interface,
    version: u32,
    messages: BTreeMap<u32, u64>,
    baco_in_d3: bool,
}

impl Smu {
    /// In the state after power-on, with firmware of this interface and version.
    pub fn new(bases: &[u32], interface: Interface, version: u32) -> Self {
        Self {
            file: RegisterFile::new("", segment(bases, 0), MP1),
            interface,
            version,
            messages: BTreeMap::new(),
            baco_in_d3: false,
        }
    }

    /// Which of its registers lies at an offset in the register BAR.
    pub fn register(&self, offset: RegOffset) -> Option<RegOffset> {
        self.file.relative(offset)
    }

    /// Messages since the start, by number. Numbers beyond the interface are counted under [`u32::MAX`].
    pub const fn messages(&self) -> &BTreeMap<u32, u64> {
        &self.messages
    }

    /// The same by name.
    pub fn counters(&self) -> BTreeMap<Cow<'static, str>, u64> {
        let counters = self.messages.iter();
        counters
            .map(|(number, count)| (self.interface.counter(*number), *count))
            .collect()
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
        let known = (1..self.interface.count).contains(&message);
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
            MSG_GET_DRIVER_IF_VERSION => self.interface.driver_if,
            // The firmware's own numbers.
            _ => match self.interface.message(message) {
                Some(message) => match self.answer(message, argument, effects) {
                    Some(reply) => reply,
                    None => return,
                },
                // Every other message changes a state that is not modelled, or asks for the mask of running features: none.
                None => 0,
            },
        };
        self.file.set(C2PMSG_82, reply);
        self.file.set(C2PMSG_90, RESULT_OK);
    }
}

impl Smu {
    /// What a message is answered with. None: that is still to come.
    fn answer(&mut self, message: Message, argument: u32, effects: &mut Effects<SmuEffect>) -> Option<u32> {
        match message {
            Message::GetMinDpmFreq => return Some(500),
            Message::GetMaxDpmFreq => return Some(2000),
            Message::GetPptLimit => return Some(255),
            Message::EnterBaco => effects.push(SmuEffect::EnterBaco),
            Message::ExitBaco => {
                effects.push(SmuEffect::ExitBaco);
                return None;
            }
            Message::ArmD3 => {
                self.baco_in_d3 = ARM_BACO.contains(&argument);
                if !self.baco_in_d3 {
                    effects.push(SmuEffect::ExitBaco);
                    return None;
                }
            }
            Message::Mode1Reset => effects.push(SmuEffect::Mode1Reset),
            Message::Mode2Reset => effects.push(SmuEffect::Mode2Reset),
        }
        Some(0)
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
        if self.file.write(offset, value).is_some() && self.register(offset) == Some(C2PMSG_66) {
            self.message(value, effects);
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
            interface: _,
            version: _,
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

    const NAVI21: Interface = Interface::V11_0_7;
    const EVERY: [Interface; 2] = [Interface::V11_0_7, Interface::V11_0_9];

    fn number(interface: Interface, message: Message) -> u32 {
        interface.number(message).expect("the interface has it")
    }

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
        assert_eq!(RegisterFile::table_defects(MP1), Vec::<String>::new());
    }

    #[test]
    fn versions_are_answered() {
        let mut smu = Smu::new(&[0], NAVI21, 0x3a_5b00);
        assert_eq!(send(&mut smu, MSG_GET_SMU_VERSION, 0), (0x3a_5b00, vec![]));
        assert_eq!(send(&mut smu, MSG_GET_DRIVER_IF_VERSION, 0), (0x40, vec![]));
    }

    #[test]
    fn a_reset_message_is_acknowledged_and_handed_on() {
        let mut smu = Smu::new(&[0], NAVI21, 0);
        assert_eq!(send(&mut smu, 0x30, 0).1, [SmuEffect::Mode1Reset]);
        assert_eq!(send(&mut smu, 0x5d, 0).1, [SmuEffect::Mode2Reset]);
        // The same numbers are something else to a firmware without these messages.
        let mut smu = Smu::new(&[0], Interface::V11_0_9, 0);
        assert_eq!(send(&mut smu, 0x30, 0).1, []);
    }

    /// Numbers are the firmware's own, so that counters have names.
    #[test]
    fn counters_have_the_names_that_are_described() {
        let fixed = [MSG_TEST, MSG_GET_SMU_VERSION, MSG_GET_DRIVER_IF_VERSION, u32::MAX];
        let mut names: Vec<_> = EVERY
            .iter()
            .flat_map(|interface| {
                let numbers = interface.messages.iter().map(|(number, _)| *number).chain(fixed);
                numbers.map(|number| interface.counter(number).into_owned())
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut described = protocol::words::SmuMessage::ALL.to_vec();
        described.sort_unstable();
        assert_eq!(names, described);
        let mut smu = Smu::new(&[0], NAVI21, 0);
        for message in [0x30, 0x30, 0x12, 0x5e] {
            send_any(&mut smu, message);
        }
        let counters = smu.counters();
        let counters: Vec<_> = counters
            .iter()
            .map(|(name, count)| (name.as_ref(), *count))
            .collect();
        assert_eq!(counters, [("18", 1), ("Mode1Reset", 2), ("unknown", 1)]);
    }

    fn send_any(smu: &mut Smu, message: u32) {
        smu.write(C2PMSG_66, message, &mut Effects::default());
    }

    /// `smu_v11_0_baco_exit` (6.1) goes on as soon as it has the result: it must not come before the part has power.
    #[test]
    fn leaving_baco_is_answered_when_it_is_done() {
        for interface in EVERY {
            let mut smu = Smu::new(&[0], interface, 0);
            let enter = number(interface, Message::EnterBaco);
            assert_eq!(send(&mut smu, enter, 0).1, [SmuEffect::EnterBaco]);
            let mut effects = Effects::default();
            smu.write(C2PMSG_90, 0, &mut effects);
            smu.write(C2PMSG_66, number(interface, Message::ExitBaco), &mut effects);
            assert_eq!(
                (effects.take(), smu.read(C2PMSG_90)),
                (vec![SmuEffect::ExitBaco], 0)
            );
            smu.finish();
            assert_eq!(smu.read(C2PMSG_90), RESULT_OK);
        }
    }

    #[test]
    fn a_message_that_is_refused_is_counted_and_has_no_effect() {
        let mut smu = Smu::new(&[0], NAVI21, 7);
        smu.write(C2PMSG_90, 0, &mut Effects::default());
        smu.refuse(MSG_GET_SMU_VERSION, None);
        assert_eq!((smu.read(C2PMSG_90), smu.read(C2PMSG_82)), (0, 0));
        smu.refuse(MSG_GET_SMU_VERSION, Some(0xff));
        assert_eq!(smu.read(C2PMSG_90), 0xff);
        assert_eq!(smu.messages().get(&MSG_GET_SMU_VERSION), Some(&2));
    }

    #[test]
    fn a_message_beyond_the_interface_is_unknown() {
        for interface in EVERY {
            let mut smu = Smu::new(&[0], interface, 0);
            smu.write(C2PMSG_66, interface.count, &mut Effects::default());
            assert_eq!(smu.read(C2PMSG_90), RESULT_UNKNOWN);
        }
    }

    #[test]
    fn a_guest_cannot_make_the_counters_grow_without_bound() {
        let mut smu = Smu::new(&[0], NAVI21, 0);
        for message in 0..1000 {
            smu.write(C2PMSG_66, message, &mut Effects::default());
        }
        assert_eq!(smu.messages().len(), NAVI21.count as usize);
    }
}
