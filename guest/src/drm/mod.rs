//! The DRM interface of amdgpu: as much of it as a client that copies needs.

mod buffer;
mod device;
mod ioctl;
pub mod sdma;
mod submit;
mod uapi;

pub use buffer::{Buffer, Domain};
pub use device::{Device, DeviceInfo};
pub use submit::Context;
pub use uapi::FIRMWARE;
