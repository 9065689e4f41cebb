//! What the guest is told to do, and what it tells.

#[cfg(feature = "device")]
pub mod console;
pub mod note;
pub mod order;
pub mod root;
