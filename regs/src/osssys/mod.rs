//! OSSSYS: the interrupt handler.

pub mod v5_0;
