#![doc = include_str!("../README.md")]

pub mod args;
pub mod control;
pub mod door;
pub mod event;
pub mod function;
pub mod memory;
pub mod pci;
pub mod transport;
