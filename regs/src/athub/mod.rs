//! ATHUB: address translation services.

pub mod v2_0;
pub mod v2_1;
