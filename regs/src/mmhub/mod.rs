//! MMHUB: the multimedia hub.

pub mod v2_0;
pub mod v2_1;
