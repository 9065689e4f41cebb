//! Guests with the emulated GPU: what they are made of, how they are started, and how one talks to them and to their device.
//!
//! Nothing here knows what a scenario is, or what the driver's words mean.

pub mod accel;
pub mod attach;
pub mod cargo;
pub mod checkpoint;
pub mod console;
pub mod cores;
pub mod cpio;
pub mod daemon;
pub mod fetch;
pub mod hex;
pub mod host;
pub mod initramfs;
pub mod interrupt;
pub mod kbuild;
pub mod kconfig;
pub mod kernel;
pub mod lock;
pub mod modules;
pub mod parts;
pub mod process;
pub mod progress;
pub mod qemu;
pub mod qmp;
pub mod root;
pub mod session;
pub mod shell;
pub mod splice;
pub mod sys;
