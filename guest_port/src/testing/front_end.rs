//! A front end with a guest's driver behind it, for tests of whoever serves the device.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{BUFFER, Driver, MEMORY, Place, SIZE};
use crate::machine::{Machine, ring_of};
use crate::message::Message;
use crate::ring::Memory;

const PATIENCE: Duration = Duration::from_secs(10);

/// A front end with a guest's driver behind it.
#[expect(missing_debug_implementations, reason = "the library's front end has none")]
pub struct Vm {
    pub front_end: Frontend,
    pub memory: Memory,
    pub kicks: Vec<EventFd>,
    pub calls: Vec<EventFd>,
    pub drivers: Vec<Driver>,
    ports: usize,
}

/// Memory that can be given away.
pub fn file_memory() -> (Memory, File) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(MEMORY).unwrap();
    let range = (
        GuestAddress(0),
        usize::try_from(MEMORY).unwrap(),
        Some(FileOffset::new(file.try_clone().unwrap(), 0)),
    );
    (GuestMemoryMmap::from_ranges_with_files([range]).unwrap(), file)
}

/// A region of it, as it is announced.
pub fn region(memory: &Memory, file: &File) -> VhostUserMemoryRegionInfo {
    let region = memory.iter().next().unwrap();
    VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: region.len(),
        userspace_addr: region.as_ptr() as u64,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

impl Vm {
    /// Connects and starts all rings of a device with so many ports.
    pub fn connect(path: &Path, ports: usize) -> Self {
        let rings = 2 * ports + 2;
        let mut front_end = Frontend::connect(path, rings as u64).unwrap();
        front_end.set_owner().unwrap();
        let features = front_end.get_features().unwrap();
        assert_eq!(features & !(1 << 30), Machine::features());
        let protocol = front_end.get_protocol_features().unwrap();
        front_end.set_protocol_features(protocol).unwrap();
        assert_eq!(front_end.get_queue_num().unwrap(), rings as u64);
        front_end.set_features(features).unwrap();
        let (memory, file) = file_memory();
        front_end.set_mem_table(&[region(&memory, &file)]).unwrap();
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let mut vm = Self {
            front_end,
            memory,
            kicks: (0..rings).map(|_| event()).collect(),
            calls: (0..rings).map(|_| event()).collect(),
            drivers: (0..rings).map(Driver::new).collect(),
            ports,
        };
        for index in 0..rings {
            vm.start(index, 0);
        }
        vm
    }

    /// Starts a ring.
    pub fn start(&mut self, index: usize, base: u16) {
        let place = Place::of(index);
        let host = self.memory.iter().next().unwrap().as_ptr() as u64;
        let front_end = &mut self.front_end;
        front_end.set_vring_num(index, SIZE).unwrap();
        front_end.set_vring_base(index, base).unwrap();
        let addresses = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: host + place.descriptors,
            used_ring_addr: host + place.used,
            avail_ring_addr: host + place.available,
            log_addr: None,
        };
        front_end.set_vring_addr(index, &addresses).unwrap();
        front_end.set_vring_call(index, &self.calls[index]).unwrap();
        front_end.set_vring_kick(index, &self.kicks[index]).unwrap();
        front_end.set_vring_enable(index, true).unwrap();
    }

    /// What comes back on a ring.
    pub fn back(&mut self, ring: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(bytes) = self.drivers[ring].back(&self.memory) {
                return bytes;
            }
            assert!(Instant::now() < deadline, "nothing came back on ring {ring}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Tells the device to look at a ring.
    pub fn kick(&self, ring: usize) {
        self.kicks[ring].write(1).unwrap();
    }

    /// A message of the driver.
    pub fn say(&mut self, message: &Message) {
        self.drivers[3].send(&self.memory, &message.encode());
        self.kick(3);
        self.back(3);
    }

    /// The driver starts: all ports are known and open.
    pub fn bring_up(&mut self) {
        for _ in 0..SIZE {
            self.drivers[2].post(&self.memory, 64);
        }
        self.kick(2);
        self.say(&Message::DeviceReady { ready: true });
        for port in 0..self.ports as u32 {
            assert_eq!(self.back(2), Message::PortAdd { port }.encode());
            self.say(&Message::PortReady { port, ready: true });
            self.say(&Message::PortOpen { port, open: true });
        }
        // A name and an opening for each, and that the first is a console.
        for _ in 0..=2 * self.ports {
            self.back(2);
        }
    }

    /// Writes into a port as long as the device takes it.
    pub fn send(&mut self, port: usize, bytes: &[u8]) {
        let ring = ring_of(port) + 1;
        for piece in bytes.chunks(BUFFER as usize) {
            self.write(ring, piece);
            self.back(ring);
        }
    }

    /// The next bytes out of a port.
    pub fn receive(&mut self, port: usize) -> Vec<u8> {
        let ring = ring_of(port);
        self.drivers[ring].post(&self.memory, BUFFER as u32);
        self.kick(ring);
        self.back(ring)
    }

    /// The next line out of a port, without its end. Fails if there is more behind it.
    pub fn line(&mut self, port: usize) -> String {
        let mut line = Vec::new();
        loop {
            line.append(&mut self.receive(port));
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                assert_eq!(end + 1, line.len(), "there is more behind the line");
                line.pop();
                return String::from_utf8(line).unwrap();
            }
        }
    }

    /// Bytes in one buffer.
    pub fn write(&mut self, ring: usize, bytes: &[u8]) {
        self.drivers[ring].send(&self.memory, bytes);
        self.kick(ring);
    }
}
