//! What the guest is told to do, and what it tells.

pub mod note;
pub mod order;
