#![doc = include_str!("../README.md")]

pub mod gfx;
pub mod memory;
pub mod pci;
pub mod transport;
