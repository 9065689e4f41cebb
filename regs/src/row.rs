//! A row as the vendor's headers have it: segment of the IP's bases, and dword in it.

use mmio::{RegOffset, RegSpec};

/// Kept without effect.
pub(crate) const fn s(name: &'static str, segment: u8, dword: u32) -> RegSpec {
    RegSpec::stored(name, RegOffset::from_dword(dword)).in_segment(segment)
}

/// With behaviour in its block.
pub(crate) const fn m(name: &'static str, segment: u8, dword: u32) -> RegSpec {
    RegSpec::modelled(name, RegOffset::from_dword(dword)).in_segment(segment)
}

/// Reads as this value.
pub(crate) const fn c(name: &'static str, segment: u8, dword: u32, value: u32) -> RegSpec {
    RegSpec::constant(name, RegOffset::from_dword(dword), value).in_segment(segment)
}
