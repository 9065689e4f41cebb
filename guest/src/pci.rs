//! The GPU as the PCI bus of the guest shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::{marker, sys};

/// AMD's graphics vendor number.
const VENDOR: &str = "0x1002";
/// How long a function may be without its driver after the driver was loaded.
const UNBOUND_LIMIT: Duration = Duration::from_secs(3);
const DRIVER: &str = "/sys/bus/pci/drivers/amdgpu";

/// A GPU on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Address such as `0000:01:00.0`.
    pub address: String,
    folder: PathBuf,
}

impl Gpu {
    /// The first one.
    pub fn find() -> Result<Self, String> {
        let folder = "/sys/bus/pci/devices";
        let mut addresses: Vec<_> = fs::read_dir(folder)
            .map_err(|error| format!("{folder}: {error}"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        addresses.sort();
        addresses
            .into_iter()
            .map(|address| Self {
                folder: Path::new(folder).join(&address),
                address,
            })
            .find(|gpu| gpu.attribute("vendor") == VENDOR)
            .ok_or_else(|| format!("no PCI function with vendor {VENDOR}"))
    }

    /// The first one, once there is one.
    pub fn wait(limit: Duration) -> Result<Self, String> {
        let started = Instant::now();
        loop {
            match Self::find() {
                Err(error) if started.elapsed() > limit => {
                    return Err(format!("{error}, even after {} s", limit.as_secs()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
                found => return found,
            }
        }
    }

    /// A file of the function's folder in sysfs, without the line end; empty if there is none.
    pub fn attribute(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// A file of that folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The name of its render node, if a driver made one.
    pub fn render_node(&self) -> Option<String> {
        fs::read_dir(self.folder.join("drm"))
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| name.starts_with("renderD"))
    }

    /// Its folder in debugfs. Kernels name it by the minor number of the card, newer ones also by the address.
    pub fn debugfs(&self) -> Result<PathBuf, String> {
        let root = Path::new("/sys/kernel/debug/dri");
        let by_address = root.join(&self.address);
        if by_address.is_dir() {
            return Ok(by_address);
        }
        let card = fs::read_dir(self.folder.join("drm"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find_map(|name| name.strip_prefix("card").map(str::to_owned));
        let card = card.ok_or_else(|| format!("{} has no card node", self.address))?;
        let by_number = root.join(card);
        if by_number.is_dir() {
            Ok(by_number)
        } else {
            Err(format!("no folder for {} under {}", self.address, root.display()))
        }
    }

    /// The render node's device file, once it can be opened.
    pub fn wait_for_render_node(&self, limit: Duration) -> Result<PathBuf, String> {
        let started = Instant::now();
        loop {
            if let Some(node) = self.render_node() {
                let path = Path::new("/dev/dri").join(node);
                if path.exists() {
                    return Ok(path);
                }
            }
            // A driver that gave up its probe is not bound; one that is still at it, or has not begun yet, may be.
            if started.elapsed() > UNBOUND_LIMIT && !self.folder.join("driver").exists() {
                return Err(format!(
                    "{} has no driver: amdgpu did not take it, and the kernel's log says why",
                    self.address
                ));
            }
            if started.elapsed() > limit {
                return Err(format!(
                    "{} got no render node within {} s",
                    self.address,
                    limit.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the probe of the driver that is bound to it has returned: its last part comes after the render node.
    ///
    /// A second bind of a bound function takes the device's lock, which the probe under way holds, and is then refused
    /// (`device_driver_attach`, drivers/base/dd.c, 6.1 to 7.3).
    pub fn wait_for_probe(&self) -> Result<(), String> {
        match fs::write(format!("{DRIVER}/bind"), &self.address) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            Err(error) => Err(format!("{}: the end of the probe: {error}", self.address)),
            Ok(()) => Err(format!("{} was not bound to amdgpu", self.address)),
        }
    }

    /// Takes the driver away from it.
    pub fn unbind(&self) -> Result<(), String> {
        write(&format!("{DRIVER}/unbind"), &self.address)
    }

    /// Takes it off the bus, as if it had been pulled.
    pub fn remove(&self) -> Result<(), String> {
        self.act("remove")?;
        if self.folder.exists() {
            return Err(format!("{} is still there", self.address));
        }
        Ok(())
    }

    /// Has the bus reset it, by the first way that works; the driver is not told.
    pub fn reset(&self) -> Result<(), String> {
        self.act("reset")
    }

    fn act(&self, action: &str) -> Result<(), String> {
        let methods = self.attribute("reset_method");
        let started = Instant::now();
        let result = write(&self.folder.join(action).display().to_string(), "1");
        marker::note(
            "pci",
            &Object::new()
                .text("action", action)
                .text("address", &self.address)
                .text("reset_methods", &methods)
                .flag("ok", result.is_ok())
                .number("ms", marker::milliseconds(started)),
        );
        result
    }

    /// Gives it to the driver, which probes it.
    pub fn bind(&self) -> Result<(), String> {
        write(&format!("{DRIVER}/bind"), &self.address)
    }
}

/// Looks for functions that are not known yet.
pub fn rescan() -> Result<(), String> {
    write("/sys/bus/pci/rescan", "1")
}

/// Writes a file of sysfs or debugfs.
pub fn write(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|error| format!("writing {value:?} to {path}: {}", sys::explain(&error)))
}
