//! Parts that do not come back from a reset, or are not there at all.

use std::time::Duration;

use super::gpu::Gpu;
use super::inject::ResetFailure;
use super::power::Presence;
use crate::event::ResetKind;
use crate::memory::CardMemory;

/// How long a part still answers after a reset that it was asked for at a mailbox. It has stopped by then; but the guest reads the
/// mailbox's answer, which was given before the reset begins.
const LAST_WORDS: Duration = Duration::from_millis(10);

impl<M: CardMemory> Gpu<M> {
    /// Whether registers answer. A part that does not reads as all ones and drops writes.
    #[inline]
    pub fn answers(&self) -> bool {
        self.power.answers(self.now)
    }

    /// Whether engines run.
    pub(super) fn runs(&self) -> bool {
        self.power.runs()
    }

    /// Whether nobody answers on the bus at all: configuration space, memory and ROM read as all ones as well.
    #[inline]
    pub const fn is_off_bus(&self) -> bool {
        self.power.off_bus
    }

    /// Asked before a reset: whether a fault decides over it. A reset from the bus, and switching the machine off, always work and end
    /// a reset that does not end by itself.
    pub(super) fn reset_goes_wrong(&mut self, kind: ResetKind) -> bool {
        if matches!(kind, ResetKind::Bus | ResetKind::PowerOff) {
            self.power.presence = Presence::Here;
            return false;
        }
        if self.power.presence != Presence::Here {
            return true;
        }
        let until = match self.fabric.inject.reset(kind) {
            None => return false,
            Some(ResetFailure::Lies) => {
                self.note_faults();
                return true;
            }
            Some(ResetFailure::Never) => None,
            Some(ResetFailure::Late(delay)) => Some(self.now.saturating_add(delay)),
        };
        let last_words = match kind {
            ResetKind::FunctionLevel => Duration::ZERO,
            _ => LAST_WORDS,
        };
        let from = self.now.saturating_add(last_words);
        self.power.presence = Presence::InReset { kind, from, until };
        self.interrupts.due = false;
        self.note_faults();
        true
    }

    /// Ends a reset whose time has come.
    pub(super) fn come_back(&mut self) {
        if let Presence::InReset {
            kind,
            until: Some(until),
            ..
        } = self.power.presence
            && until <= self.now
        {
            self.power.presence = Presence::Here;
            match kind {
                ResetKind::FunctionLevel => self.reset_now(kind),
                _ => self.carry_out(kind),
            }
        }
    }
}
