//! What a register block is, and how its writes reach the rest of the device.

use crate::{RegOffset, RegisterFile};

/// Effects collected while registers are written, carried out by the router after the block's borrow has ended.
#[derive(Debug)]
pub struct Effects<E>(Vec<E>);

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Effects<E> {
    /// Adds an effect behind those already collected.
    pub fn push(&mut self, effect: E) {
        self.0.push(effect);
    }

    /// Adds what was collected elsewhere, each effect as `wrap` makes it one of these.
    pub fn absorb<F>(&mut self, other: Effects<F>, wrap: impl Fn(F) -> E) {
        self.0.extend(other.0.into_iter().map(wrap));
    }

    /// Takes what was collected, in order.
    pub fn take(&mut self) -> Vec<E> {
        std::mem::take(&mut self.0)
    }

    /// The same, and keeps the memory for what comes next.
    pub fn drain(&mut self) -> std::vec::Drain<'_, E> {
        self.0.drain(..)
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A register file with behaviour.
///
/// Both functions are called only for offsets that one of [`files`](Self::files) claims. Neither may block, panic or work in
/// proportion to a guest's value.
pub trait RegisterBlock {
    /// What a write can ask of the rest of the device.
    type Effect;

    /// The files whose offsets the block claims.
    fn files(&self) -> Vec<&RegisterFile>;

    /// Bus read. May change state (semaphores, read-sensitive handshakes).
    fn read(&mut self, offset: RegOffset) -> u32;

    /// Bus write.
    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<Self::Effect>);

    /// Back to the state after power-on.
    fn reset(&mut self);
}

/// The register space as an engine sees it: SRBM_WRITE, POLL_REGMEM and the CP's register packets address the same registers as
/// the register BAR, by the same offsets.
pub trait RegisterBus {
    /// Reads a register; unknown ones read as the device decides.
    fn read_register(&mut self, offset: RegOffset) -> u32;

    /// Writes a register.
    fn write_register(&mut self, offset: RegOffset, value: u32);
}
