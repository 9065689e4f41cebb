//! How often the guest's CPUs reach for a register, by what is behind it.
//!
//! Counted where an access comes in, and once: what goes through MM_INDEX/MM_DATA is an access to that window, whatever it leads to. It also
//! counts where the block does not answer: without power, or as its host's. Those of packets are not in it.

use mmio::{Direction, RegOffset};
use serde::Serialize;

use super::fabric::Owner;
use crate::nbio;

/// Accesses of one kind since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AccessCount {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl AccessCount {
    pub(super) const fn add(&mut self, direction: Direction) {
        match direction {
            Direction::Read => self.reads += 1,
            Direction::Write(_) => self.writes += 1,
        }
    }
}

/// Accesses to BAR 5 by block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RegisterAccesses {
    /// MM_INDEX, MM_INDEX_HI and MM_DATA: the window on VRAM and registers.
    pub mm_window: AccessCount,
    /// PCIE_INDEX2 and PCIE_DATA2: the window on the system management network.
    pub smn_window: AccessCount,
    /// The rest of the bus interface.
    pub nbio: AccessCount,
    /// The mailbox of a virtual function.
    pub mailbox: AccessCount,
    /// OSSSYS, the interrupt handler.
    pub ih: AccessCount,
    /// MP0, the security processor.
    pub psp: AccessCount,
    /// MP1, the system management unit.
    pub smu: AccessCount,
    /// Address translation of graphics and SDMA.
    pub gfxhub: AccessCount,
    /// Address translation of everything else.
    pub mmhub: AccessCount,
    /// Graphics.
    pub gc: AccessCount,
    /// All SDMA engines.
    pub sdma: AccessCount,
    /// ATHUB, HDP, THM, SMUIO.
    pub other: AccessCount,
    /// Registers that no block has.
    pub unmodelled: AccessCount,
}

impl RegisterAccesses {
    pub(super) const fn of(&mut self, owner: Option<Owner>, offset: RegOffset) -> &mut AccessCount {
        match owner {
            None => &mut self.unmodelled,
            Some(Owner::Nbio) => match offset {
                nbio::MM_INDEX | nbio::MM_DATA | nbio::MM_INDEX_HI => &mut self.mm_window,
                nbio::PCIE_INDEX2 | nbio::PCIE_DATA2 => &mut self.smn_window,
                _ => &mut self.nbio,
            },
            Some(Owner::Mailbox) => &mut self.mailbox,
            Some(Owner::Plain) => &mut self.other,
            Some(Owner::Ih) => &mut self.ih,
            Some(Owner::Psp) => &mut self.psp,
            Some(Owner::Smu) => &mut self.smu,
            Some(Owner::GfxHub) => &mut self.gfxhub,
            Some(Owner::MmHub) => &mut self.mmhub,
            Some(Owner::Gfx) => &mut self.gc,
            Some(Owner::Sdma(_)) => &mut self.sdma,
        }
    }
}
