#![doc = include_str!("../README.md")]

#[cfg(feature = "device")]
mod device;
pub mod guest;

#[cfg(feature = "device")]
pub use device::*;
#[cfg(feature = "device")]
pub use schemars::JsonSchema;
