//! The instance, and the GPU that RADV has.

#![expect(unsafe_code, reason = "every call of Vulkan's is one")]

use std::ffi::CStr;

use ash::{Entry, Instance, vk};

use crate::answer::{Failed, in_call};

/// A family of queues that takes copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its number.
    pub index: u32,
    /// What it is for.
    pub name: String,
}

/// Why there is no GPU.
#[derive(Debug)]
pub enum NoGpu {
    /// A call failed.
    Vulkan(Failed),
    /// Anything else.
    Other(String),
}

impl From<Failed> for NoGpu {
    fn from(failed: Failed) -> Self {
        Self::Vulkan(failed)
    }
}

/// The instance with its GPU.
pub struct Gpu {
    /// The instance.
    pub instance: Instance,
    /// The GPU.
    pub physical: vk::PhysicalDevice,
    /// Its families.
    pub families: Vec<Family>,
    /// Its kinds of memory.
    pub memory: vk::PhysicalDeviceMemoryProperties,
    /// As the driver calls it.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// Its version, in its words.
    pub driver_info: String,
    /// The version of Vulkan.
    pub api: String,
    /// The library, which has to outlive everything of it.
    _entry: Entry,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: the server drops its devices, which are all that was made of the instance, before it.
        unsafe { self.instance.destroy_instance(None) };
    }
}

impl Gpu {
    /// Loads the library and takes the GPU that RADV drives.
    pub fn open() -> Result<Self, NoGpu> {
        // SAFETY: the library is the root's Vulkan loader, whose start-up code is free to run here: there is one thread.
        let entry =
            unsafe { Entry::load() }.map_err(|error| NoGpu::Other(format!("libvulkan.so.1: {error}")))?;
        let application = vk::ApplicationInfo::default()
            .application_name(c"amdgpu-guest-vulkan")
            .api_version(vk::API_VERSION_1_2);
        let create = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structures live through the call and name no layer, extension or allocator.
        let instance =
            unsafe { entry.create_instance(&create, None) }.map_err(in_call("vkCreateInstance"))?;
        let found = find(&instance);
        let (physical, properties, driver) = match found {
            Ok(found) => found,
            Err(error) => {
                // SAFETY: nothing was made of it.
                unsafe { instance.destroy_instance(None) };
                return Err(error);
            }
        };
        // SAFETY: the GPU is one of the instance's.
        let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
        // SAFETY: as above.
        let memory = unsafe { instance.get_physical_device_memory_properties(physical) };
        let version = properties.api_version;
        Ok(Self {
            physical,
            families: (0..)
                .zip(&families)
                .filter_map(|(index, family)| Family::of(index, family.queue_flags))
                .collect(),
            memory,
            name: text(properties.device_name_as_c_str().ok()),
            driver: text(driver.driver_name_as_c_str().ok()),
            driver_info: text(driver.driver_info_as_c_str().ok()),
            api: format!(
                "{}.{}.{}",
                vk::api_version_major(version),
                vk::api_version_minor(version),
                vk::api_version_patch(version)
            ),
            instance,
            _entry: entry,
        })
    }
}

type Found = (
    vk::PhysicalDevice,
    vk::PhysicalDeviceProperties,
    vk::PhysicalDeviceDriverProperties<'static>,
);

/// RADV's GPU.
fn find(instance: &Instance) -> Result<Found, NoGpu> {
    // SAFETY: the instance is alive.
    let all =
        unsafe { instance.enumerate_physical_devices() }.map_err(in_call("vkEnumeratePhysicalDevices"))?;
    let mut others = Vec::new();
    for physical in all {
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: the GPU is one of the instance's; the chain of structures lives through the call. Drivers of Vulkan 1.2 know the second.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let properties = properties.properties;
        if driver.driver_id == vk::DriverId::MESA_RADV {
            return Ok((physical, properties, driver));
        }
        others.push(text(properties.device_name_as_c_str().ok()));
    }
    Err(NoGpu::Other(if others.is_empty() {
        "Vulkan has no GPU at all".to_owned()
    } else {
        format!("RADV has no GPU; Vulkan has: {}", others.join(", "))
    }))
}

impl Family {
    /// One that takes copies; none of a family for video or sparse binding only.
    fn of(index: u32, flags: vk::QueueFlags) -> Option<Self> {
        let name = if flags.contains(vk::QueueFlags::GRAPHICS) {
            "graphics"
        } else if flags.contains(vk::QueueFlags::COMPUTE) {
            "compute"
        } else if flags.contains(vk::QueueFlags::TRANSFER)
            && !flags.intersects(vk::QueueFlags::VIDEO_DECODE_KHR | vk::QueueFlags::VIDEO_ENCODE_KHR)
        {
            "transfer"
        } else {
            return None;
        };
        Some(Self {
            index,
            name: name.to_owned(),
        })
    }
}

fn text(name: Option<&CStr>) -> String {
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_that_copy_are_taken() {
        let name = |flags| Family::of(1, flags).map(|family| family.name);
        let all = vk::QueueFlags::GRAPHICS | vk::QueueFlags::COMPUTE | vk::QueueFlags::TRANSFER;
        assert_eq!(name(all).as_deref(), Some("graphics"));
        assert_eq!(name(vk::QueueFlags::COMPUTE).as_deref(), Some("compute"));
        assert_eq!(name(vk::QueueFlags::TRANSFER).as_deref(), Some("transfer"));
        assert_eq!(name(vk::QueueFlags::SPARSE_BINDING), None);
        let video = vk::QueueFlags::VIDEO_DECODE_KHR | vk::QueueFlags::TRANSFER;
        assert_eq!(name(video), None);
    }
}
