#![doc = include_str!("../README.md")]

mod device;

pub use device::*;
