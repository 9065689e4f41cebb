//! A loss of what VRAM holds, slice by slice.

use std::time::Duration;

pub use protocol::loss::{Loss, LossMode};

use crate::event::{LossCause, ResetKind};
use crate::memory::CardMemory;

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
    pub(super) loss: Loss,
    /// The oracle knows of it: it waits until what tables map has been kept.
    pub(super) begun: bool,
    /// Where it goes on.
    next: u64,
    /// The end of the populated range that it is in; finding it again for every slice would take longer than losing it.
    range_end: u64,
    pub(super) cause: LossCause,
    /// The reset that is over when the loss is: the part boots.
    pub(super) reset: Option<ResetKind>,
    pub(super) began: Duration,
    /// How much the next slice is, and when the one before began.
    slice: u64,
    slice_began: Option<Duration>,
    /// Populated bytes that are lost already.
    pub(super) bytes: u64,
}

impl Losing {
    /// One that begins now.
    pub(super) const fn new(
        loss: Loss,
        begun: bool,
        cause: LossCause,
        reset: Option<ResetKind>,
        now: Duration,
    ) -> Self {
        Self {
            loss,
            begun,
            next: loss.offset,
            range_end: loss.offset,
            cause,
            reset,
            began: now,
            slice: SLICE.0,
            slice_began: None,
            bytes: 0,
        }
    }

    /// Chooses the slice by what the last one took: how long a byte takes depends on pages, and on who else uses the host, by a factor of a
    /// thousand.
    pub(super) fn keep_pace(&mut self, now: Duration) {
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
    pub(super) fn advance<M: CardMemory>(&mut self, vram: &M) -> std::io::Result<bool> {
        let end = self
            .loss
            .offset
            .saturating_add(self.loss.length)
            .min(vram.vram_size());
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
    fn find_range<M: CardMemory>(&mut self, vram: &M, end: u64) -> std::io::Result<bool> {
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

/// The loss that is under way, and the one that the next reset brings.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) current: Option<Losing>,
    /// Of the next reset, instead of what it does by itself.
    pub(super) next: Option<Loss>,
}

impl Losses {
    /// Whether contents are being lost.
    pub(super) const fn is_under_way(&self) -> bool {
        self.current.is_some()
    }
}
