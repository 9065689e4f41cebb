#![doc = include_str!("../README.md")]

mod device;

pub use device::*;
pub use schemars::JsonSchema;
