#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        reason = "a test that overflows fails, as it should"
    )
)]

mod addr;
mod compare;
mod context;
mod fault;
mod hub;
mod mappings;
mod memory;
mod pte;
pub mod registers;
mod space;
mod tables;
pub mod testing;
mod walk;

pub use addr::{BusAddr, GpuVa, Vmid, VramOffset};
pub use compare::{Class, Comparer, Comparison, Counts, Example, Seen, compare};
pub use context::{AddressSpace, Apertures, Context, ContextCntl, Level, PAGE_SHIFT, PAGE_SIZE};
pub use fault::{Access, ClientId, Fault, FaultInterrupt, FaultKind, FaultStatus};
pub use hub::{FrameBuffer, Hub, HubEffect, HubId, InvalidateRequest, InvalidationEngine};
pub use mappings::{CollectBudget, Collector, LeafKind, Mappings, Run, Sieve, Splitter, Table};
pub use memory::{Location, MemoryError, PhysicalMemory, Series, VirtualMemory};
pub use pte::{Pde, Pte};
pub use registers::HubLayout;
pub use space::{FaultSink, Space};
pub use tables::{
    EntryKind, TableSummary, TableWalk, VisitedEntry, WalkBudget, WalkDepth, walk_directories, walk_tables,
};
pub use walk::{Backing, Source, Translation, deciding_entry, translate};

#[cfg(test)]
mod proptests;
