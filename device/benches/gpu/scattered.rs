//! Walks all over an address space whose page tables do not fit into the CPU's nearer caches: 32 GiB in 4 KiB pages.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use device::memory::{DeviceMemory, Vram};
use gart::{Access, Backing, GpuVa, Location, PhysicalMemory, VramOffset};

use crate::rig::{Mapped, VRAM};
use crate::{PAGE, PAGE_FLAGS, VALID, VMID, hub};

/// Pages of the address space: 64 MiB of page tables.
const PAGES: u64 = 1 << 23;
/// First address: the first entry of a table at each level below the root.
const START: u64 = 0x7f00_0000_0000;
/// Where the tables lie in VRAM; the root is at 0.
const PDB1: u64 = 0x1000;
const PDB0: u64 = 0x10_0000;
const PTB: u64 = 64 << 20;
/// Walks in one round.
const ROUND: u64 = 4096;

/// Numbers below `2^bits` without order (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self, bits: u32) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> (64 - bits)
    }
}

/// Where a page leads: neighbours are not contiguous.
const fn target(page: u64) -> u64 {
    (page * 0x9e37 % PAGES) * PAGE
}

fn build(memory: &DeviceMemory) {
    let write = |at: u64, entry: u64| {
        let at = Location::Vram(VramOffset::new(at));
        memory.store_u64(at, entry).expect("VRAM has room");
    };
    write((START >> 39) * 8, PDB1 | VALID);
    for gib in 0..PAGES >> 18 {
        write(PDB1 + gib * 8, (PDB0 + gib * PAGE) | VALID);
    }
    for table in 0..PAGES >> 9 {
        write(PDB0 + table * 8, (PTB + table * PAGE) | VALID);
    }
    for page in 0..PAGES {
        write(PTB + page * 8, target(page) | PAGE_FLAGS);
    }
}

pub(crate) fn scattered(c: &mut Criterion) {
    let memory = DeviceMemory::new(Vram::new(VRAM).expect("no VRAM"));
    build(&memory);
    let hub = hub();
    let bits = PAGES.ilog2();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUND {
        let page = random.next(bits);
        let found = hub
            .translate(&memory, VMID, GpuVa::new(START + page * PAGE), Access::Read)
            .expect("the page is mapped");
        let expected = Location::Vram(VramOffset::new(target(page)));
        assert_eq!(found.backing, Backing::Memory(expected));
    }
    let mut group = c.benchmark_group("at random over 32 GiB");
    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("walks", |b| {
        b.iter(|| {
            for _ in 0..ROUND {
                let va = GpuVa::new(START + random.next(bits) * PAGE);
                let _ = black_box(hub.translate(&memory, VMID, black_box(va), Access::Read));
            }
        });
    });
    // What the memory allows: the page-table entries alone, one load each.
    let mapped = Mapped::new(&memory.vram);
    (0..PAGES).step_by(512).for_each(|page| {
        black_box(mapped.load(PTB + page * 8));
    });
    group.bench_function("loads of the last entry", |b| {
        b.iter(|| {
            for _ in 0..ROUND {
                black_box(mapped.load(PTB + random.next(bits) * 8));
            }
        });
    });
    // The same, where no load begins before the one before it has ended.
    group.bench_function("loads that wait for each other", |b| {
        b.iter(|| {
            let mut last = 0;
            for _ in 0..ROUND {
                let page = random.next(bits) ^ (last & 1);
                last = black_box(mapped.load(PTB + page * 8));
            }
        });
    });
    group.finish();
}
