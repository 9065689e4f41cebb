//! How fast addresses are translated when the tables are in the CPU's caches.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gart::testing::{TestMemory, TestTables};
use gart::{
    Access, ClientId, FaultSink, FrameBuffer, GpuVa, Hub, HubLayout, Level, Location, PAGE_SIZE, PhysicalMemory, Pte,
    Space, VirtualMemory, Vmid, VramOffset, WalkBudget, registers, translate, walk_tables,
};
use mmio::{Effects, RegisterBlock};

const VRAM: u64 = 64 << 20;
/// Pages that the walks go through, 4 MiB: two page tables.
const PAGES: u64 = 1024;
const USER: u64 = 0x7f12_3400_0000;

fn page(number: u64) -> Pte {
    Pte::new()
        .with_valid(true)
        .with_readable(true)
        .with_writeable(true)
        .with_address((32 << 20) + number * PAGE_SIZE)
}

fn build(mut tables: TestTables, base: u64) -> (TestMemory, TestTables) {
    let memory = TestMemory::new(VRAM);
    for number in 0..PAGES {
        let va = GpuVa::new(base + number * PAGE_SIZE);
        tables.map(&memory, va, Level::Ptb, page(number)).unwrap();
    }
    (memory, tables)
}

/// The least that a memory can do: what is left is the walker.
struct Words(Vec<u64>);

impl Words {
    fn of(memory: &TestMemory) -> Self {
        let word = |index| memory.load_u64(Location::Vram(VramOffset::new(index * 8))).unwrap();
        Self((0..VRAM / 8).map(word).collect())
    }
}

impl PhysicalMemory for Words {
    fn vram_size(&self) -> u64 {
        VRAM
    }
    fn load_u64(&self, at: Location) -> Result<u64, gart::MemoryError> {
        let outside = |at| gart::MemoryError::OutsideVram { at, len: 8, size: VRAM };
        match at {
            Location::Vram(at) => self.0.get((at.get() / 8) as usize).copied().ok_or(outside(at)),
            Location::System(at) => Err(gart::MemoryError::Unmapped { at, len: 8 }),
        }
    }
    fn read(&self, _: Location, _: &mut [u8]) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn write(&self, _: Location, _: &[u8]) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn copy(&self, _: Location, _: Location, _: u64) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn fill(&self, _: Location, _: u32, _: u64) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn store_u32(&self, _: Location, _: u32) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn store_u64(&self, _: Location, _: u64) -> Result<(), gart::MemoryError> {
        unimplemented!()
    }
    fn update_u32(&self, _: Location, _: &mut dyn FnMut(u32) -> u32) -> Result<u32, gart::MemoryError> {
        unimplemented!()
    }
    fn update_u64(&self, _: Location, _: &mut dyn FnMut(u64) -> u64) -> Result<u64, gart::MemoryError> {
        unimplemented!()
    }
}
