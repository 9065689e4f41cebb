//! THM: thermal control.

pub mod v11_0;
