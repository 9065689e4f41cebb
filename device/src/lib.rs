#![doc = include_str!("../README.md")]

pub mod args;
pub mod asic;
pub mod control;
pub mod door;
pub mod event;
pub mod function;
pub mod gpu;
pub mod ih;
pub mod images;
pub mod limited;
pub mod memory;
pub mod nbio;
pub mod pci;
pub mod plain;
pub mod psp;
pub mod registers_doc;
pub mod smn;
pub mod smu;
pub mod sriov;
#[cfg(test)]
mod testing;
pub mod transport;
