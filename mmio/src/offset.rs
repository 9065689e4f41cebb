//! Typed register offsets.

use std::fmt;

/// The byte offset of a 32-bit register: inside the register BAR, or relative to a block's base. Always dword aligned.
///
/// AMD's headers count in dwords and Linux multiplies by four; both constructors exist so that neither has to be converted by hand.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RegOffset(u32);

impl RegOffset {
    /// From a byte offset; the two low bits are dropped.
    pub const fn from_byte(byte: u32) -> Self {
        Self(byte & !3)
    }

    /// From a dword index, as the `mm...`/`reg...` constants of the AMD headers and SRBM_WRITE packets have it.
    /// The two top bits of the index cannot be expressed in bytes and are dropped.
    pub const fn from_dword(dword: u32) -> Self {
        Self(dword << 2)
    }

    /// Byte offset.
    pub const fn byte(self) -> u32 {
        self.0
    }

    /// Dword index.
    pub const fn dword(self) -> u32 {
        self.0 >> 2
    }

    /// This offset moved up by `bytes` (wrapping, low bits dropped).
    pub const fn plus(self, bytes: u32) -> Self {
        Self::from_byte(self.0.wrapping_add(bytes))
    }

    /// Distance in bytes from `base`, or `None` if this offset lies below it.
    pub const fn relative_to(self, base: Self) -> Option<Self> {
        match self.0.checked_sub(base.0) {
            Some(distance) => Some(Self(distance)),
            None => None,
        }
    }
}

impl fmt::Display for RegOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for RegOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegOffset({:#x})", self.0)
    }
}
