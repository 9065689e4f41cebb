//! SMUIO: pins and clocks around the management unit.

pub mod v11_0;
