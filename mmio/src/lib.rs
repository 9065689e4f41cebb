#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod access;
mod block;
mod file;
mod ledger;
mod offset;
mod router;
mod spec;

pub use access::{AccessError, check_dword};
pub use block::{Effects, RegisterBlock, RegisterBus};
pub use file::{RegisterFile, RegisterInfo, Written};
pub use ledger::{Direction, Ledger, Touch};
pub use offset::RegOffset;
pub use router::{Overlap, Router};
pub use spec::{Fidelity, RegSpec, merge, offset_of};
