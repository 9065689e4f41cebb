//! HDP: the host data path.

pub mod v5_0;
