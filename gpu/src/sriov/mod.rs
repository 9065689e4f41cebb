//! The host of a virtual function: what a hypervisor's GPU driver does for the guest that has the function.
//!
//! A virtual function is lent. Its driver asks for it before it touches it, gives it back when it goes, and learns from the host when
//! it was reset. All of that goes through a mailbox of a few registers ([`mailbox`](crate::blocks::mailbox)); what does not fit into it, the two leave for each
//! other in the first kilobytes of VRAM ([`exchange`]). What the host makes of the guest's messages ([`message`]) is decided by
//! [`host::Host`]: plain state that gives back what is to be done.
//!
//! Facts: Linux 6.1, 6.12, 7.3 `mxgpu_nv.c` (messages, interrupts), `amdgv_sriovmsg.h` (areas), `amdgpu_virt.c` (checks),
//! `amdgpu_device.c` (`amdgpu_device_reset_sriov`).
//!
//! What it does not do: no scheduling between several functions, no bad pages, no RAS, no bandwidth management, no management of power
//! by the guest; version 2 of the critical region (7.3 asks for it) is answered with version 1.

pub mod exchange;
pub mod host;
pub mod message;

pub use exchange::{Exchange, Features, Indirect};
pub use protocol::state::{Access, Flr, Vf2Pf};

pub use host::{Answer, Host, HostEffect, HostView};
pub use message::{Message, Notice, Request};
