#![doc = include_str!("../README.md")]

mod agent;
mod background;
mod client;
mod clients;
mod drm;
mod flood;
mod ioctl;
mod json;
mod kfd;
mod latency;
mod marker;
mod memory;
mod module;
mod pattern;
mod pci;
mod port;
mod power;
mod recovery;
mod root;
mod steps;
mod sys;
mod vulkan;

fn main() {
    if std::process::id() == 1 {
        agent::run();
    }
    eprintln!("this program is the init of a guest; amdgpu-lab puts it where it belongs");
    std::process::exit(2);
}
