//! A guest's driver, as far as tests need one: rings in memory, filled and looked at by hand.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "of tests, which end where something goes wrong, and whose numbers are small"
)]

pub mod front_end;

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::ring::{Memory, Rings};

pub use front_end::Vm;

pub const MEMORY: u64 = 4 << 20;
/// Chains of a ring.
pub const SIZE: u16 = 16;
/// Bytes of one buffer.
pub const BUFFER: u64 = 4096;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

pub fn memory() -> Memory {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap()
}

/// Where a ring has its parts.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    pub buffers: u64,
}

impl Place {
    pub fn of(ring: usize) -> Self {
        let base = 0x10000 + ring as u64 * 0x20000;
        Self {
            descriptors: base,
            available: base + 0x1000,
            used: base + 0x2000,
            buffers: base + 0x4000,
        }
    }
}

/// The driver's side of one ring.
#[derive(Debug)]
pub struct Driver {
    pub place: Place,
    available: u16,
    seen: u16,
    next: u16,
}

impl Driver {
    pub fn new(ring: usize) -> Self {
        Self {
            place: Place::of(ring),
            available: 0,
            seen: 0,
            next: 0,
        }
    }

    fn buffer(&self, index: u16) -> u64 {
        self.place.buffers + u64::from(index) * BUFFER
    }

    pub fn describe(&self, memory: &Memory, index: u16, at: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&next.to_le_bytes());
        let to = self.place.descriptors + u64::from(index) * 16;
        memory.write_slice(&bytes, GuestAddress(to)).unwrap();
    }

    /// Makes the chain that begins at a descriptor available.
    pub fn offer(&mut self, memory: &Memory, head: u16) {
        let slot = self.place.available + 4 + u64::from(self.available % SIZE) * 2;
        memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        memory
            .write_obj(self.available, GuestAddress(self.place.available + 2))
            .unwrap();
    }

    fn index(&mut self) -> u16 {
        let index = self.next;
        self.next = (self.next + 1) % SIZE;
        index
    }

    /// A buffer with these bytes in it.
    pub fn send(&mut self, memory: &Memory, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= BUFFER);
        let index = self.index();
        memory
            .write_slice(bytes, GuestAddress(self.buffer(index)))
            .unwrap();
        self.describe(memory, index, self.buffer(index), bytes.len() as u32, 0, 0);
        self.offer(memory, index);
    }

    /// The same through an indirect table of several descriptors.
    pub fn send_indirect(&mut self, memory: &Memory, pieces: &[&[u8]]) {
        let index = self.index();
        let table = self.buffer(index);
        let mut at = table + 1024;
        for (number, piece) in pieces.iter().enumerate() {
            let flags = if number + 1 < pieces.len() { NEXT } else { 0 };
            memory.write_slice(piece, GuestAddress(at)).unwrap();
            let mut bytes = at.to_le_bytes().to_vec();
            bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
            bytes.extend_from_slice(&(number as u16 + 1).to_le_bytes());
            memory
                .write_slice(&bytes, GuestAddress(table + number as u64 * 16))
                .unwrap();
            at += piece.len() as u64;
        }
        self.describe(memory, index, table, pieces.len() as u32 * 16, INDIRECT, 0);
        self.offer(memory, index);
    }

    /// An empty buffer.
    pub fn post(&mut self, memory: &Memory, length: u32) {
        let index = self.index();
        self.describe(memory, index, self.buffer(index), length, WRITE, 0);
        self.offer(memory, index);
    }

    /// What came back next: how many bytes the device says that it wrote, and the buffer's start.
    pub fn back(&mut self, memory: &Memory) -> Option<Vec<u8>> {
        let used: u16 = memory.read_obj(GuestAddress(self.place.used + 2)).unwrap();
        if used == self.seen {
            return None;
        }
        let slot = self.place.used + 4 + u64::from(self.seen % SIZE) * 8;
        let head: u32 = memory.read_obj(GuestAddress(slot)).unwrap();
        let length: u32 = memory.read_obj(GuestAddress(slot + 4)).unwrap();
        self.seen = self.seen.wrapping_add(1);
        let mut bytes = vec![0; length as usize];
        memory
            .read_slice(&mut bytes, GuestAddress(self.buffer(head as u16)))
            .unwrap();
        Some(bytes)
    }
}

/// The device's side of all rings, without a front end.
#[derive(Debug)]
pub struct Plain {
    pub memory: Memory,
    pub queues: Vec<Queue>,
    pub running: Vec<bool>,
    pub signals: Vec<usize>,
}

impl Plain {
    pub fn new(count: usize) -> Self {
        let queue = |ring| {
            let place = Place::of(ring);
            let mut queue = Queue::new(SIZE).unwrap();
            queue
                .try_set_desc_table_address(GuestAddress(place.descriptors))
                .unwrap();
            queue
                .try_set_avail_ring_address(GuestAddress(place.available))
                .unwrap();
            queue.try_set_used_ring_address(GuestAddress(place.used)).unwrap();
            queue.set_ready(true);
            queue
        };
        Self {
            memory: memory(),
            queues: (0..count).map(queue).collect(),
            running: vec![true; count],
            signals: Vec::new(),
        }
    }
}

impl Rings for Plain {
    fn with<R>(&mut self, index: usize, run: impl FnOnce(&mut Queue, &Memory) -> R) -> Option<R> {
        if !self.running.get(index).copied().unwrap_or(false) {
            return None;
        }
        let memory = self.memory.clone();
        self.queues.get_mut(index).map(|queue| run(queue, &memory))
    }

    fn signal(&mut self, index: usize) {
        self.signals.push(index);
    }
}
