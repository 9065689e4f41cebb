//! What VRAM loses, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossMode {
    /// They stay.
    Keep,
    /// They read as zero, and their memory goes back to the host.
    Zero,
    /// They read as poison. Pages that were never touched stay untouched, and read as zero.
    Poison,
}

/// A loss of a part of VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loss {
    /// What becomes of the contents.
    pub mode: LossMode,
    /// First byte.
    pub offset: u64,
    /// Bytes; what lies beyond the end of VRAM is left out.
    pub length: u64,
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At once, whatever runs.
    Now,
    /// With the next reset of the whole part.
    NextReset,
}

impl Loss {
    /// A loss of everything.
    pub const fn whole(mode: LossMode) -> Self {
        Self {
            mode,
            offset: 0,
            length: u64::MAX,
        }
    }
}
