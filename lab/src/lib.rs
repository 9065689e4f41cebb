#![doc = include_str!("../README.md")]

pub mod accel;
pub mod cargo;
pub mod checkpoint;
pub mod cli;
pub mod console;
pub mod cpio;
pub mod daemon;
pub mod fetch;
pub mod host;
pub mod initramfs;
pub mod interrupt;
pub mod kernel;
pub mod modules;
pub mod personality;
pub mod process;
pub mod progress;
pub mod qemu;
pub mod qmp;
pub mod report;
pub mod run;
pub mod scenario;
pub mod session;
pub mod steps;
pub mod summary;
mod sys;
pub mod verdict;
