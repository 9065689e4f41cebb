//! NBIO: the bus interface.

pub mod v2_3;
