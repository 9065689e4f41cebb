//! Whether the part has power and answers, and which reset it has been asked for.

use std::time::Duration;

use protocol::stats::ResetCounts;

use crate::event::ResetKind;

/// Whether the chip has power behind its bus interface ("bus active, chip off").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Baco {
    /// It has.
    #[default]
    Out,
    /// It has not.
    In,
    /// It will have it again when the contents of VRAM are gone.
    Leaving,
}

/// Whether the part answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Presence {
    /// It does.
    #[default]
    Here,
    /// It is in a reset that goes on until this time, or for ever.
    InReset {
        /// Which reset happens then.
        kind: ResetKind,
        /// When registers stop to answer.
        from: Duration,
        /// When it is over.
        until: Option<Duration>,
    },
}

/// Power and resets.
#[derive(Debug, Default)]
pub(super) struct Power {
    /// The reset that a register write asked for.
    pub(super) pending: Option<ResetKind>,
    pub(super) baco: Baco,
    pub(super) baco_exit_asked: bool,
    /// The function is in D3hot.
    pub(super) asleep: bool,
    pub(super) presence: Presence,
    pub(super) off_bus: bool,
    pub(super) resets: ResetCounts,
}

impl Power {
    /// Whether registers answer.
    #[inline]
    pub(super) fn answers(&self, now: Duration) -> bool {
        let here = match self.presence {
            Presence::Here => true,
            Presence::InReset { from, .. } => now < from,
        };
        here && !self.off_bus
    }

    /// Whether engines run.
    pub(super) fn runs(&self) -> bool {
        self.presence == Presence::Here && !self.off_bus
    }

    /// When a reset ends.
    pub(super) const fn comes_back_at(&self) -> Option<Duration> {
        match self.presence {
            Presence::InReset { until, .. } => until,
            Presence::Here => None,
        }
    }

    /// Of two resets that are asked for before either is carried out, the one that clears more is.
    pub(super) fn ask_for(&mut self, kind: ResetKind) {
        self.pending = self.pending.max(Some(kind));
    }

    /// Whether something was asked for that is still to be carried out.
    pub(super) const fn is_asked(&self) -> bool {
        self.pending.is_some() || self.baco_exit_asked
    }

    /// Whatever was asked for and not yet done is not done.
    pub(super) const fn forget_asked(&mut self) {
        self.pending = None;
        self.baco_exit_asked = false;
    }
}
