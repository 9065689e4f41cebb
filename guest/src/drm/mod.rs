//! The DRM interface of amdgpu: as much of it as a client that copies needs.

mod buffer;
mod device;
mod engine;
mod fence;
pub mod pm4;
pub mod sdma;
mod submit;
mod uapi;

pub use crate::ioctl::Error;
pub use buffer::{Buffer, Domain};
pub use device::{Device, DeviceInfo};
pub use engine::{Engine, Ring};
pub use fence::{Ended, Fence};
pub use submit::{Context, Submission};
pub use uapi::FIRMWARE;

const fn halves(address: u64) -> [u32; 2] {
    [(address & 0xffff_ffff) as u32, (address >> 32) as u32]
}
