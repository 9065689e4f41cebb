//! Losing what VRAM holds: apart from resets, so that a reset can keep it and a loss can come without one.

use std::time::Duration;

pub use protocol::loss::{Loss, LossMode};

use super::Gpu;
use crate::event::{Event, LossCause, ResetKind};
use crate::memory::Vram;

/// Contents that are lost between two looks at the front end, in bytes: to begin with, the fewest, and the most. Holes may take next to
/// nothing, poison takes the memory's bandwidth at least.
const SLICE: (u64, u64, u64) = (4 << 20, 2 << 20, 64 << 20);
const MOST_POISON: u64 = 16 << 20;
/// How long a slice should take; beyond the second a register access waits for too long.
const PACE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));
/// Populated ranges that are: scattered pages cost more to find than to lose.
const RANGES: usize = 256;

/// The poison. Read as a page-table entry it is valid, readable, writable, a leaf at every level, and points to a bus address (beyond
/// 200 TiB) that no guest has: whoever follows a table that was not recovered faults there, and the address tells why.
pub const POISON: u32 = 0xfbfb_fbfb;

/// A loss that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losing {
    loss: Loss,
    /// The oracle knows of it: it waits until what tables map has been kept.
    begun: bool,
    /// Where it goes on.
    next: u64,
    /// The end of the populated range that it is in; finding it again for every slice would take longer than losing it.
    range_end: u64,
    cause: LossCause,
    /// The reset that is over when the loss is: the part boots.
    reset: Option<ResetKind>,
    began: Duration,
    /// How much the next slice is, and when the one before began.
    slice: u64,
    slice_began: Option<Duration>,
    /// Populated bytes that are lost already.
    bytes: u64,
}

impl Gpu {
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
        self.next_loss = Some(loss);
    }

    /// Begins the loss of a reset: the one that was asked for, or this one. `kind` is the reset that is over when the loss is.
    ///
    /// A loss of an earlier reset that is still under way is not waited for, which may take seconds: a reset that keeps VRAM takes it
    /// over, and one that loses all of it makes it pointless. The earlier reset then has no end of its own.
    pub(super) fn begin_reset_loss(&mut self, kind: Option<ResetKind>, otherwise: LossMode) {
        let loss = self.next_loss.take().unwrap_or(Loss::whole(otherwise));
        match &mut self.losing {
            Some(losing) if loss.mode == LossMode::Keep => {
                losing.reset = kind;
                return;
            }
            Some(_) if loss == Loss::whole(loss.mode) => self.losing = None,
            _ => self.finish_loss(),
        }
        self.begin_loss(loss, LossCause::Reset, kind);
    }

    pub(super) fn begin_loss(&mut self, loss: Loss, cause: LossCause, reset: Option<ResetKind>) {
        if loss.mode == LossMode::Keep {
            self.losing = None;
            return;
        }
        let size = self.fabric.memory.vram.size();
        self.journal.record(Event::LossBegin {
            mode: loss.mode,
            offset: loss.offset,
            length: loss.length.min(size.saturating_sub(loss.offset)),
            cause,
        });
        let begun = !self.oracle.is_surveying();
        if begun {
            self.oracle.lose(loss, size);
        }
        self.losing = Some(Losing {
            loss,
            begun,
            next: loss.offset,
            range_end: loss.offset,
            cause,
            reset,
            began: self.now,
            slice: SLICE.0,
            slice_began: None,
            bytes: 0,
        });
    }

    /// Completes a loss that is under way.
    pub(super) fn finish_loss(&mut self) {
        while self.losing.is_some() {
            self.lose_slice();
        }
    }

    /// Loses one slice. A loss of many GiB takes seconds, and a front end that waits for five gives the device up: so registers are
    /// served in between. Engines are not, so that to them it happens at one moment; and in a reset the part says that it is under way.
    pub(super) fn lose_slice(&mut self) {
        let Some(mut losing) = self.losing else { return };
        if self.oracle.is_surveying() {
            self.survey();
            return;
        }
        if !losing.begun {
            losing.begun = true;
            self.oracle.lose(losing.loss, self.fabric.memory.vram.size());
        }
        losing.keep_pace(self.now);
        match losing.advance(&self.fabric.memory.vram) {
            Ok(true) => {
                self.losing = Some(losing);
                return;
            }
            Ok(false) => {}
            Err(error) => {
                log::error!(target: "amdgpu::reset", "VRAM keeps contents that it was to lose: {error}");
            }
        }
        self.losing = None;
        self.journal.record(Event::LossEnd {
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

impl Losing {
    /// Chooses the slice by what the last one took: how long a byte takes depends on pages, and on who else uses the host, by a factor of a
    /// thousand.
    fn keep_pace(&mut self, now: Duration) {
        let Some(before) = self.slice_began.replace(now) else {
            return;
        };
        let taken = now.saturating_sub(before);
        let (_, fewest, mut most) = SLICE;
        if self.loss.mode == LossMode::Poison {
            most = MOST_POISON;
        }
        let (fast, slow) = PACE;
        if taken > slow {
            self.slice = (self.slice / 2).max(fewest);
        } else if taken < fast {
            self.slice = self.slice.saturating_mul(2).min(most);
        }
    }

    /// Loses the next slice of what is populated. Returns whether there may be more.
    fn advance(&mut self, vram: &Vram) -> std::io::Result<bool> {
        let end = self.loss.offset.saturating_add(self.loss.length).min(vram.size());
        let mut left = self.slice;
        for _ in 0..RANGES {
            if self.next >= self.range_end && !self.find_range(vram, end)? {
                return Ok(false);
            }
            let length = self.slice_length(vram.page(), left);
            self.bytes = self.bytes.saturating_add(match self.loss.mode {
                LossMode::Keep => 0,
                LossMode::Zero => {
                    let before = vram.resident()?;
                    vram.discard(self.next, length)?;
                    before.saturating_sub(vram.resident()?)
                }
                LossMode::Poison => {
                    vram.overwrite(self.next, length, POISON)?;
                    length
                }
            });
            self.next = self.next.saturating_add(length);
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
        Ok(true)
    }

    /// Goes to the next populated range. Returns whether there is one.
    fn find_range(&mut self, vram: &Vram, end: u64) -> std::io::Result<bool> {
        let Some(at) = vram.populated_from(self.next)?.filter(|at| *at < end) else {
            return Ok(false);
        };
        self.next = at;
        self.range_end = match self.loss.mode {
            // What is not populated costs nothing, but the end of what is would.
            LossMode::Zero => at.saturating_add(self.slice).min(end),
            LossMode::Keep | LossMode::Poison => vram.populated_to(at)?.min(end),
        };
        Ok(true)
    }

    /// So much of the range at once, where it can be up to the end of a page: one that is lost by halves would become many small ones.
    fn slice_length(&self, page: u64, left: u64) -> u64 {
        let most = self.range_end.saturating_sub(self.next);
        if left >= most {
            return most;
        }
        let cut = self.next.saturating_add(left);
        match cut.saturating_sub(cut % page).checked_sub(self.next) {
            Some(length) if length > 0 => length,
            _ => most.min(page.saturating_sub(self.next % page)),
        }
    }
}
