//! The register blocks that are not an engine's or a hub's: each plain state behind [`mmio::RegisterBlock`], which gives back effects and
//! knows no other block.

pub mod ih;
pub mod mailbox;
pub mod nbio;
pub mod plain;
pub mod psp;
pub mod smn;
pub mod smu;

/// Where a segment begins, of an IP with these bases (in dwords).
fn segment(bases: &[u32], segment: usize) -> mmio::RegOffset {
    mmio::RegOffset::from_dword(bases.get(segment).copied().unwrap_or_default())
}
