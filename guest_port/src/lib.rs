#![doc = include_str!("../README.md")]

mod console;
mod handle;
mod machine;
mod message;
mod port;
mod ring;
mod server;
mod stream;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use console::serve_console;
pub use handle::{PortHandle, Received};
pub use machine::{Machine, Totals, Turn};
pub use message::{Message, WrongMessage};
pub use port::PortSpec;
pub use ring::{Memory, Rings};
pub use server::{GuestPort, GuestPortError};
pub use stream::{Item, Stream};
