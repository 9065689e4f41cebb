//! The program in the initramfs: init of the guest, and a client of the DRM interface.
//!
//! As process 1 it mounts what is needed, says that it is ready and then does what the host orders over the serial
//! console, one step at a time ([`agent`]). Every step runs in a child process with a time limit. With
//! `lab.steps=a,b,c` on the kernel's command line it does these and asks nobody.
//!
//! # What it does not do
//!
//! It never gives a module a parameter that the order does not name, and it has no user space around it: no udev, no
//! logins, no network.

#![cfg_attr(test, allow(dead_code, reason = "the tests do not start the program"))]

mod agent;
mod client;
mod clients;
mod drm;
mod json;
mod marker;
mod module;
mod pattern;
mod pci;
mod steps;
mod sys;

fn main() {
    if std::process::id() == 1 {
        agent::run();
    }
    eprintln!("this program is the init of a guest; amdgpu-lab puts it where it belongs");
    std::process::exit(2);
}
