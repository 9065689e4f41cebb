#![doc = include_str!("../README.md")]

#[cfg(feature = "device")]
mod device;
pub mod guest;
pub mod names;

#[cfg(feature = "device")]
pub use device::*;
#[cfg(feature = "device")]
pub use schemars::JsonSchema;
