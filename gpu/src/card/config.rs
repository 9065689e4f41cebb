//! What a GPU is made of.

use mmio::Overlap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::asic::{AsicProfile, Board, Personality};
use crate::sriov::Indirect;

/// What a virtual function's registers do while it runs, but for the bus interface and the mailbox. Such accesses are counted anyway: a
/// driver has no business there, it goes through the KIQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VfRegisters {
    /// They answer.
    #[default]
    Open,
    /// They read as all ones and drop writes.
    Blocked,
}

/// How a virtual function's registers are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VfConfig {
    /// What becomes of accesses that are not a function's while it runs.
    pub registers: VfRegisters,
    /// What the driver is told to leave to others while it starts.
    pub indirect: Indirect,
}

/// What a GPU is made of.
#[derive(Debug, Clone, Copy)]
pub struct GpuConfig {
    /// The part.
    pub asic: &'static AsicProfile,
    /// What the function is to its driver: one of the part's personalities.
    pub personality: &'static Personality,
    /// A virtual function's registers.
    pub vf: VfConfig,
    /// SDMA engines, at least 1 and at most what the part has.
    pub sdma_instances: usize,
    /// The board.
    pub board: Board,
}

impl GpuConfig {
    /// The part itself, with so many SDMA engines, on its usual board.
    pub const fn bare_metal(asic: &'static AsicProfile, sdma_instances: usize) -> Self {
        Self {
            asic,
            personality: &asic.bare_metal,
            vf: VfConfig {
                registers: VfRegisters::Open,
                indirect: Indirect {
                    interrupt_handler: false,
                    mmhub: false,
                    graphics: false,
                },
            },
            sdma_instances,
            board: asic.board(),
        }
    }

    /// The same for a virtual function of it.
    pub const fn virtual_function(asic: &'static AsicProfile, sdma_instances: usize) -> Self {
        Self {
            personality: &asic.virtual_function,
            ..Self::bare_metal(asic, sdma_instances)
        }
    }
}

/// A GPU that cannot be built.
#[derive(Debug, Error)]
pub enum GpuError {
    /// Two blocks of the profile claim one register.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}
