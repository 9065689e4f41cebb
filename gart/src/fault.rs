//! Translation faults as values.

use thiserror::Error;

use crate::{GpuVa, MemoryError, Vmid};

/// What an engine wanted to do at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Read,
    /// Write (atomics count as writes).
    Write,
}

/// Why a translation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// The context is not enabled.
    #[error("context disabled")]
    ContextDisabled,
    /// The address lies outside the context's START..END, or (VMID 0) in no aperture.
    #[error("address outside every aperture")]
    OutOfRange,
    /// A directory entry at this level is not valid (3 = root of a 4-level table, 0 = the page table's parent).
    #[error("page directory entry at level {level} not valid")]
    InvalidPde {
        /// PDB level.
        level: u8,
    },
    /// The page-table entry is not valid.
    #[error("page table entry not valid")]
    InvalidPte,
    /// The page may not be read, or may not be written.
    #[error("no permission")]
    Permission,
    /// A table or the page itself is in no memory.
    #[error("{0}")]
    Memory(MemoryError),
}

/// A failed access: architectural, guest-visible, becomes status registers and an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("VMID {vmid} {access:?} at {va}: {kind}")]
pub struct Fault {
    /// Whose context.
    pub vmid: Vmid,
    /// The faulting address.
    pub va: GpuVa,
    /// Read or write.
    pub access: Access,
    /// Why.
    pub kind: FaultKind,
}
