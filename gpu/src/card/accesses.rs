//! How often the guest's CPUs reach for a register, by what is behind it.
//!
//! Counted where an access comes in, and once: what goes through MM_INDEX/MM_DATA is an access to that window, whatever it leads to. It also
//! counts where the block does not answer: without power, or as its host's. Those of packets are not in it.

use mmio::{Direction, RegOffset};
use protocol::stats::{AccessCount, RegisterAccesses};

use super::blocks::{BlockKind, Owner};
use crate::blocks::nbio;

/// Counts one access.
pub const fn count(counter: &mut AccessCount, direction: Direction) {
    match direction {
        Direction::Read => counter.reads += 1,
        Direction::Write(_) => counter.writes += 1,
    }
}

/// The counter of what is behind a register.
pub(super) const fn of(
    accesses: &mut RegisterAccesses,
    owner: Option<Owner>,
    offset: RegOffset,
) -> &mut AccessCount {
    match owner {
        None => &mut accesses.unmodelled,
        Some(Owner {
            kind: BlockKind::Nbio,
            ..
        }) => match offset {
            nbio::MM_INDEX | nbio::MM_DATA | nbio::MM_INDEX_HI => &mut accesses.mm_window,
            nbio::PCIE_INDEX2 | nbio::PCIE_DATA2 => &mut accesses.smn_window,
            _ => &mut accesses.nbio,
        },
        Some(owner) => owner.kind.counter(accesses),
    }
}
