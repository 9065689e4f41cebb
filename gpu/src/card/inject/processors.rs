//! Faults of the security processor and of the management unit.

use mmio::RegOffset;

use super::armory::Armory;
use super::fault::Fault;
use crate::blocks::psp::registers::{C2PMSG_33, C2PMSG_35, C2PMSG_64, C2PMSG_101};
use crate::blocks::psp::{Command, CommandVerdict, Psp};
use crate::blocks::smu::{self, Smu};

impl Armory {
    /// What becomes of a command to the security processor.
    pub(in crate::card) fn psp_command(&mut self, command: &Command) -> CommandVerdict {
        if self.is_empty() {
            return CommandVerdict::Proceed;
        }
        let name = command.name();
        let fits = |fault: &Fault| match fault {
            Fault::PspSilent { command } if command.is_none_or(|only| only == name) => {
                Some(CommandVerdict::Silent)
            }
            Fault::PspFail { command, status } if command.is_none_or(|only| only == name) => {
                Some(CommandVerdict::Fail(*status))
            }
            _ => None,
        };
        self.fire(fits, || name.to_owned())
            .unwrap_or(CommandVerdict::Proceed)
    }

    /// Whether what is written to this register of the security processor is heard.
    pub(in crate::card) fn psp_hears(&mut self, psp: &Psp, offset: RegOffset) -> bool {
        if self.is_empty()
            || !matches!(
                psp.register(offset),
                Some(C2PMSG_33 | C2PMSG_35 | C2PMSG_64 | C2PMSG_101)
            )
        {
            return true;
        }
        let fits = |fault: &Fault| matches!(fault, Fault::PspSilent { command: None }).then_some(());
        self.fire(fits, || "a mailbox".to_owned()).is_none()
    }

    /// What becomes of a register write that may be a message to the management unit: `None` if it is heard, else its result, if it
    /// gets one.
    pub(in crate::card) fn smu_refuses(
        &mut self,
        smu: &Smu,
        offset: RegOffset,
        message: u32,
    ) -> Option<Option<u32>> {
        if self.is_empty() || smu.register(offset) != Some(smu::C2PMSG_66) {
            return None;
        }
        let fits = |fault: &Fault| match fault {
            Fault::SmuSilent { message: only } if only.is_none_or(|only| only == message) => Some(None),
            Fault::SmuFail {
                message: only,
                result,
            } if only.is_none_or(|only| only == message) => Some(Some(*result)),
            _ => None,
        };
        self.fire(fits, || format!("message {message}"))
    }
}
