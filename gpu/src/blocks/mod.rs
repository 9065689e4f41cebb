//! The register blocks that are not an engine's or a hub's: each plain state behind [`mmio::RegisterBlock`], which gives back effects and
//! knows no other block.

pub mod ih;
pub mod mailbox;
pub mod nbio;
pub mod plain;
pub mod psp;
pub mod smn;
pub mod smu;
