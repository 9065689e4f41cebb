//! The render node.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use super::engine::{Engine, Ring};
use super::uapi::{self, Info, InfoDevice, InfoFirmware, InfoHwIp, InfoVramGtt, Version};
use crate::ioctl::{self, Error, Mapping};

/// An open render node.
#[derive(Debug)]
pub struct Device {
    pub(super) file: File,
}

/// What the driver says about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Version of the driver's interface.
    pub version: (i32, i32, i32),
    /// PCI device number.
    pub device_id: u32,
    /// AMD's family number.
    pub family: u32,
    /// Revision within the family.
    pub external_rev: u32,
    /// Compute units.
    pub active_units: u32,
    /// Size of the card's memory in bytes.
    pub vram: u64,
    /// The part of it that the processor can reach.
    pub visible_vram: u64,
    /// Size of what can be mapped of the system's memory.
    pub gtt: u64,
    /// First address for buffers.
    pub address_first: u64,
    /// Version of the SDMA engines.
    pub sdma_version: (u32, u32),
    /// Rings of the SDMA engines, a bit each.
    pub sdma_rings: u32,
}

impl Device {
    /// Opens a node.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| format!("opening {}: {error}", path.display()))?;
        Ok(Self { file })
    }

    /// The open file, for an interface that takes it by number.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Maps what the driver has at an offset of the node.
    pub fn map(&self, offset: u64, length: usize) -> io::Result<Mapping> {
        Mapping::new(&self.file, offset, length)
    }

    /// Asks for everything that is reported.
    pub fn info(&self) -> Result<DeviceInfo, String> {
        let mut version = Version::default();
        ioctl::send(&self.file, &mut version, "")?;
        let device: InfoDevice = self.query(uapi::INFO_DEV_INFO, [0; 4], "DEV_INFO")?;
        let memory: InfoVramGtt = self.query(uapi::INFO_VRAM_GTT, [0; 4], "VRAM_GTT")?;
        let dma = self.engine(Engine::Sdma)?;
        Ok(DeviceInfo {
            version: (version.major, version.minor, version.patch_level),
            device_id: device.device_id,
            family: device.family,
            external_rev: device.external_rev,
            active_units: device.active_units,
            vram: memory.vram,
            visible_vram: memory.visible_vram,
            gtt: memory.gtt,
            address_first: device.address_first,
            sdma_version: (dma.major, dma.minor),
            sdma_rings: dma.rings,
        })
    }

    /// Version of a firmware, by its number among [`uapi::FIRMWARE`].
    pub fn firmware(&self, kind: u32) -> Result<u32, String> {
        let firmware: InfoFirmware = self.query(uapi::INFO_FW_VERSION, [kind, 0, 0, 0], "FW_VERSION")?;
        Ok(firmware.version)
    }

    /// The rings of an engine that submissions may go to.
    pub fn rings(&self, engine: Engine) -> Result<Vec<Ring>, Error> {
        let mask = self.engine(engine)?.rings;
        Ok((0..u32::BITS)
            .filter(|number| mask >> number & 1 == 1)
            .map(|number| Ring { engine, number })
            .collect())
    }

    fn engine(&self, engine: Engine) -> Result<InfoHwIp, Error> {
        let words = [engine.number(), 0, 0, 0];
        self.query(uapi::INFO_HW_IP_INFO, words, "HW_IP_INFO")
    }

    /// How often the card has lost its memory since the driver came up.
    pub fn vram_lost_counter(&self) -> Result<u32, Error> {
        self.query(uapi::INFO_VRAM_LOST_COUNTER, [0; 4], "VRAM_LOST_COUNTER")
    }

    /// The kernel writes at most the size of `T`, which is plain integers in all uses.
    fn query<T: Default>(&self, query: u32, words: [u32; 4], name: &str) -> Result<T, Error> {
        let mut answer = T::default();
        let size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        let mut info = Info {
            target: std::ptr::from_mut(&mut answer) as u64,
            size,
            query,
            words,
        };
        ioctl::send(&self.file, &mut info, &format!("{name}, {words:?}"))?;
        Ok(answer)
    }
}
