//! Losing what VRAM holds: apart from resets, so that a reset can keep it and a loss can come without one.

use super::gpu::Gpu;
use super::losing::{Losing, Loss, LossMode};
use crate::event::{Event, LossCause, ResetKind};
use crate::memory::CardMemory;

impl<M: CardMemory> Gpu<M> {
    /// Loses contents at once, whatever runs. It takes as many turns of [`run`](Self::run) as the populated part of the range has
    /// slices.
    pub fn lose(&mut self, loss: Loss) {
        self.finish_loss();
        self.begin_generation();
        self.begin_loss(loss, LossCause::Control, None);
    }

    /// Says what the next reset of the whole part does to VRAM, instead of what it does by itself: MODE1 poisons, a function level
    /// reset keeps.
    pub const fn lose_at_next_reset(&mut self, loss: Loss) {
        self.losses.next = Some(loss);
    }

    /// Begins the loss of a reset: the one that was asked for, or this one. `kind` is the reset that is over when the loss is.
    ///
    /// A loss of an earlier reset that is still under way is not waited for, which may take seconds: a reset that keeps VRAM takes it
    /// over, and one that loses all of it makes it pointless. The earlier reset then has no end of its own.
    pub(super) fn begin_reset_loss(&mut self, kind: Option<ResetKind>, otherwise: LossMode) {
        let loss = self.losses.next.take().unwrap_or(Loss::whole(otherwise));
        match &mut self.losses.current {
            Some(losing) if loss.mode == LossMode::Keep => {
                losing.reset = kind;
                return;
            }
            Some(_) if loss == Loss::whole(loss.mode) => self.losses.current = None,
            _ => self.finish_loss(),
        }
        self.begin_loss(loss, LossCause::Reset, kind);
    }

    pub(super) fn begin_loss(&mut self, loss: Loss, cause: LossCause, reset: Option<ResetKind>) {
        if loss.mode == LossMode::Keep {
            self.losses.current = None;
            return;
        }
        let size = self.fabric.memory.vram_size();
        self.observers.journal.record(Event::LossBegin {
            mode: loss.mode,
            offset: loss.offset,
            length: loss.length.min(size.saturating_sub(loss.offset)),
            cause,
        });
        let begun = !self.observers.oracle.is_surveying();
        if begun {
            self.observers.oracle.lose(loss, size);
        }
        self.losses.current = Some(Losing::new(loss, begun, cause, reset, self.now));
    }

    /// Completes a loss that is under way.
    pub(super) fn finish_loss(&mut self) {
        while self.losses.is_under_way() {
            self.lose_slice();
        }
    }

    /// Loses one slice. A loss of many GiB takes seconds, and a front end that waits for five gives the device up: so registers are
    /// served in between. Engines are not, so that to them it happens at one moment; and in a reset the part says that it is under way.
    pub(super) fn lose_slice(&mut self) {
        let Some(mut losing) = self.losses.current else {
            return;
        };
        if self.observers.oracle.is_surveying() {
            self.survey();
            return;
        }
        if !losing.begun {
            losing.begun = true;
            self.observers
                .oracle
                .lose(losing.loss, self.fabric.memory.vram_size());
        }
        losing.keep_pace(self.now);
        match losing.advance(&self.fabric.memory) {
            Ok(true) => {
                self.losses.current = Some(losing);
                return;
            }
            Ok(false) => {}
            Err(error) => {
                log::error!(target: "amdgpu::reset", "VRAM keeps contents that it was to lose: {error}");
            }
        }
        self.losses.current = None;
        self.observers.journal.record(Event::LossEnd {
            mode: losing.loss.mode,
            cause: losing.cause,
            bytes: losing.bytes,
            us_taken: u64::try_from(self.now.saturating_sub(losing.began).as_micros()).unwrap_or(u64::MAX),
        });
        if let Some(kind) = losing.reset {
            self.boot();
            self.end_reset(kind);
        }
        self.end_baco();
    }
}
