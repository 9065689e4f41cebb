//! GC: graphics, its command processor and run-list controller.

pub mod v10;
pub mod v10_1;
pub mod v10_3;
pub mod v10_windows;
