//! MP: the management processors.

pub mod v11_0;
