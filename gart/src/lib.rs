#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod addr;
mod fault;
mod memory;

pub use addr::{BusAddr, GpuVa, Vmid, VramOffset};
pub use fault::{Access, Fault, FaultKind};
pub use memory::{Location, MemoryError, PhysicalMemory, VirtualMemory};
