//! Faults of resets.

use super::armory::Armory;
use super::fault::{EngineName, Fault, ResetFailure};
use crate::event::ResetKind;

impl Armory {
    /// How this reset goes wrong, if it does.
    pub(in crate::card) fn reset(&mut self, kind: ResetKind) -> Option<ResetFailure> {
        let fits = |fault: &Fault| match fault {
            Fault::ResetFail { how } => Some(*how),
            _ => None,
        };
        self.fire(fits, || format!("{kind:?}"))
    }

    /// Whether a pulse of this SDMA engine's bit in GRBM_SOFT_RESET does nothing.
    pub(in crate::card) fn soft_reset_fails(&mut self, engine: EngineName) -> bool {
        self.queue_reset_fails(engine, || "a soft reset does nothing".to_owned())
    }

    /// A queue of the command processor was asked to be reset and stayed as it was: the fault has happened.
    pub(in crate::card) fn queue_not_reset(&mut self, engine: EngineName, queue: &str) {
        self.queue_reset_fails(engine, || format!("{queue} stays as it is"));
    }

    fn queue_reset_fails(&mut self, engine: EngineName, detail: impl FnOnce() -> String) -> bool {
        let fits = |fault: &Fault| fault.spoils_queue_reset(engine).then_some(());
        self.fire(fits, detail).is_some()
    }
}
