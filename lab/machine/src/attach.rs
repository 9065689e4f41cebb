//! What makes a machine of QEMU's have the GPU and the guest port: shared memory, root ports, devices.
//!
//! The lab starts its own machines with these arguments, and prints them for machines of the user's (`amdgpu-lab args`). So names are our own,
//! and root ports are JSON like everything behind them: QEMU makes the devices that are not given as JSON first, and a root port without
//! an address would then take the slot of a device that was given one.

use serde_json::{Value, json};

/// The machine type: one with PCI Express.
pub const MACHINE: &str = "q35";
/// The device model that hands a PCI function to another process; in QEMU since 10.1.
pub const GPU_DRIVER: &str = "vfio-user-pci";
/// Name of the GPU.
pub const GPU: &str = "amdgpu";
/// Name of the root port that the GPU is behind.
pub const GPU_SLOT: &str = "amdgpu-slot";
/// Name of the guest port.
const PORT: &str = "guestport";
/// Name of the root port that the guest port is behind.
pub const PORT_SLOT: &str = "guestport-slot";
/// Name of the character device that the guest port is connected to.
const PORT_CHARDEV: &str = "guestport-socket";
/// Name of the disk with the guest's root.
const ROOT: &str = "guest-root";
/// The disk's serial number, by which init knows it among others.
const ROOT_SERIAL: &str = "amdgpu-lab-root";
/// Name of the guest's memory.
const MEMORY: &str = "amdgpu-memory";

/// Numbers of our root ports, each of which a machine may have once; those of other root ports are counted from 0 or 1.
const GPU_CHASSIS: u8 = 201;
const PORT_CHASSIS: u8 = 202;

/// How long QEMU waits for the device process before it takes the connection for dead, in milliseconds. It waits for 5 s by itself, which a
/// busy host can keep either of them from running; the guest then sees a part that has fallen off the bus.
const REPLY_LIMIT_MS: u32 = 60_000;

/// The machine type, and its memory where the device process can map it: `-machine`, `-m` and `-object`.
pub fn memory_arguments(mib: u32) -> [String; 6] {
    [
        "-machine".to_owned(),
        format!("{MACHINE},memory-backend={MEMORY}"),
        "-m".to_owned(),
        format!("{mib}M"),
        "-object".to_owned(),
        format!("memory-backend-memfd,id={MEMORY},size={mib}M,share=on"),
    ]
}

/// The GPU behind a root port of its own.
pub fn gpu_arguments(socket: &str) -> Vec<String> {
    [
        device_arguments(&gpu_slot()),
        device_arguments(&gpu_device(socket)),
    ]
    .concat()
}

/// An empty slot for the GPU, with so many bytes of prefetchable address space kept free for it.
pub fn gpu_slot_arguments(room: u64) -> Vec<String> {
    let mut slot = gpu_slot();
    if let Some(slot) = slot.as_object_mut() {
        slot.insert("pref64-reserve".to_owned(), room.into());
        slot.insert("mem-reserve".to_owned(), (16_u32 << 20).into());
    }
    device_arguments(&slot)
}

/// The guest port behind a root port of its own.
pub fn port_arguments(socket: &str) -> Vec<String> {
    // A comma would end the path, unless there are two.
    let path = socket.replace(',', ",,");
    let chardev = format!("socket,id={PORT_CHARDEV},path={path}");
    let mut arguments = vec!["-chardev".to_owned(), chardev];
    arguments.extend(port_slot_arguments());
    arguments.extend(device_arguments(&port_device()));
    arguments
}

/// An empty slot for the guest port.
pub fn port_slot_arguments() -> Vec<String> {
    device_arguments(&root_port(PORT_SLOT, PORT_CHASSIS))
}

/// A disk with the guest's root, which it can only read: any number of guests share the image.
pub fn root_arguments(image: &str) -> Vec<String> {
    let disk = json!({
        "driver": "raw",
        "node-name": ROOT,
        "read-only": true,
        "file": { "driver": "file", "filename": image, "read-only": true },
    });
    let device = json!({
        "driver": "virtio-blk-pci",
        "id": format!("{ROOT}-disk"),
        "drive": ROOT,
        "serial": ROOT_SERIAL,
    });
    let mut arguments = vec!["-blockdev".to_owned(), disk.to_string()];
    arguments.extend(device_arguments(&device));
    arguments
}

/// The GPU as `-device` and `device_add` take it.
pub fn gpu_device(socket: &str) -> Value {
    json!({
        "driver": GPU_DRIVER,
        "id": GPU,
        "bus": GPU_SLOT,
        "socket": { "type": "unix", "path": socket },
        "x-msg-timeout": REPLY_LIMIT_MS,
    })
}

/// The guest port as `-device` and `device_add` take it: QEMU's device for any virtio device that another process serves. Three ports
/// have eight rings; its configuration space is 12 bytes long.
pub fn port_device() -> Value {
    json!({
        "driver": "vhost-user-test-device-pci",
        "id": PORT,
        "bus": PORT_SLOT,
        "chardev": PORT_CHARDEV,
        "virtio-id": 3,
        "num_vqs": 8,
        "config_size": 12,
        "vq_size": 128,
    })
}

/// What `chardev-add` takes for the socket of the guest port.
pub fn port_chardev(socket: &str) -> Value {
    json!({
        "id": PORT_CHARDEV,
        "backend": {
            "type": "socket",
            "data": { "addr": { "type": "unix", "data": { "path": socket } }, "server": false },
        },
    })
}

fn gpu_slot() -> Value {
    root_port(GPU_SLOT, GPU_CHASSIS)
}

/// A root port. Its bus is named, so that a machine without PCI Express says what it lacks.
fn root_port(id: &str, chassis: u8) -> Value {
    json!({ "driver": "pcie-root-port", "id": id, "bus": "pcie.0", "chassis": chassis })
}

fn device_arguments(device: &Value) -> Vec<String> {
    vec!["-device".to_owned(), device.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_json_and_each_sits_in_its_own_slot() {
        let arguments = [gpu_arguments("/g"), port_arguments("/p")].concat();
        let devices: Vec<Value> = arguments
            .iter()
            .filter(|word| word.starts_with('{'))
            .map(|word| serde_json::from_str(word).unwrap())
            .collect();
        let ids: Vec<_> = devices
            .iter()
            .filter_map(|device| device["id"].as_str())
            .collect();
        assert_eq!(ids, [GPU_SLOT, GPU, PORT_SLOT, PORT]);
        let buses: Vec<_> = devices
            .iter()
            .filter_map(|device| device["bus"].as_str())
            .collect();
        assert_eq!(buses, ["pcie.0", GPU_SLOT, "pcie.0", PORT_SLOT]);
        assert_ne!(devices[0]["chassis"], devices[2]["chassis"]);
    }

    #[test]
    fn a_comma_does_not_end_the_path_of_a_socket() {
        let arguments = port_arguments("/a,b/port.sock");
        assert!(arguments[1].ends_with(",path=/a,,b/port.sock"), "{arguments:?}");
    }
}
