//! The vfio-user protocol, server side: how QEMU's `vfio-user-pci` reaches a [`PciFunction`](super::PciFunction).
//!
//! * [`protocol`]: what is common to all messages.
//! * [`request`], [`version`]: requests as values; decoding checks everything that can be checked without the function.
//! * [`framing`]: messages out of a byte stream, with the descriptors that travelled with each.
//! * [`session`]: one client's requests, carried out.
//! * [`connection`]: the socket of one client.
//! * [`server`]: listener, event loop, stop handle.
//!
//! Source: libvfio-user `docs/vfio-user.rst` and `test/py`; QEMU 10.1 `docs/interop/vfio-user.rst` and `hw/vfio-user/`.
//!
//! # Behaviour where the specification leaves room
//!
//! * A request that makes no sense gets an error reply (never errno 0), and the connection goes on. A message whose size field is
//!   impossible gets an error reply, and the connection is closed: where the next message would begin is not known.
//! * Requests before a successful VERSION get an error reply; so does a second VERSION.
//! * Replies from the client are answered with an error: this server sends no requests.
//! * Descriptors belong to the message that holds the last byte of the read that brought them (the kernel ends a read after the bytes
//!   that were sent with descriptors). Those that a message has no use for are closed; too many are an error.
//! * One client at a time. Another may connect, and waits in the listener's queue until the first is gone.
//!
//! # What it does not do
//!
//! No DMA_READ/DMA_WRITE (guest memory has to be shared by descriptor), no ioeventfds, no dirty-page tracking, no migration, no
//! sparse mappings: a region is mappable as a whole or not at all.

pub mod connection;
pub mod framing;
pub mod protocol;
pub mod request;
pub mod server;
pub mod session;
pub mod version;

pub use server::{Listener, Options, ServeError, Server};
