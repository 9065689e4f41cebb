//! How often the guest's CPUs reach for a register, by what is behind it.
//!
//! Counted where an access comes in, and once: what goes through MM_INDEX/MM_DATA is an access to that window, whatever it leads to. It also
//! counts where the block does not answer: without power, or as its host's. Those of packets are not in it.

use mmio::{Direction, RegOffset};
use protocol::stats::{AccessCount, RegisterAccesses};

use super::fabric::Owner;
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
        Some(Owner::Nbio) => match offset {
            nbio::MM_INDEX | nbio::MM_DATA | nbio::MM_INDEX_HI => &mut accesses.mm_window,
            nbio::PCIE_INDEX2 | nbio::PCIE_DATA2 => &mut accesses.smn_window,
            _ => &mut accesses.nbio,
        },
        Some(Owner::Mailbox) => &mut accesses.mailbox,
        Some(Owner::Plain) => &mut accesses.other,
        Some(Owner::Ih) => &mut accesses.ih,
        Some(Owner::Psp) => &mut accesses.psp,
        Some(Owner::Smu) => &mut accesses.smu,
        Some(Owner::GfxHub) => &mut accesses.gfxhub,
        Some(Owner::MmHub) => &mut accesses.mmhub,
        Some(Owner::Gfx) => &mut accesses.gc,
        Some(Owner::Sdma(_)) => &mut accesses.sdma,
    }
}
