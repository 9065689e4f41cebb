//! SMUIO: pins and clocks around the management unit.

pub mod v11_0;
pub mod v11_0_0;
pub mod v11_0_6;
