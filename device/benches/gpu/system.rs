//! System memory, in as many DMA ranges as a front end makes of it.

use std::fs::File;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use device::memory::{DeviceMemory, Vram};
use device::transport::DmaRange;
use gart::{BusAddr, Location, PhysicalMemory, VramOffset};

const PAGE: u64 = 4096;
/// Pages of system memory, whatever the number of ranges: so few that they stay in the CPU's caches, and what differs is the search.
const PAGES: u64 = 200;
/// From the start of one range to that of the next.
const APART: u64 = 16 << 20;

fn bus(page: u64, ranges: u64) -> Location {
    let each = PAGES / ranges;
    Location::System(BusAddr::new(page / each * APART + page % each * PAGE))
}

fn memory(ranges: u64) -> DeviceMemory {
    let mut memory = DeviceMemory::new(Vram::new(PAGES * PAGE).expect("no VRAM"));
    let file: File = tempfile::tempfile().expect("no file");
    file.set_len(PAGES * PAGE).expect("no room");
    let each = PAGES / ranges * PAGE;
    for number in 0..ranges {
        let range = DmaRange {
            address: number * APART,
            size: each,
            readable: true,
            writable: true,
            backing: Some((file.try_clone().expect("no descriptor"), number * each)),
        };
        memory.guest.add(range).expect("the range is sound");
    }
    memory.guest.set_bus_master(true);
    for page in 0..PAGES {
        memory.store_u64(bus(page, ranges), page).expect("mapped");
    }
    memory
}

pub(crate) fn ranges(c: &mut Criterion) {
    for ranges in [1, 10, 200] {
        let memory = memory(ranges);
        // In no order, so that the range that served last seldom serves again.
        let pages = || (0..PAGES).map(|number| number * 77 % PAGES);
        let vram = |page: u64| Location::Vram(VramOffset::new(page * PAGE));
        let mut group = c.benchmark_group(format!("system memory in {ranges} ranges"));
        group.throughput(Throughput::Elements(PAGES));
        group.bench_function("loads of a word", |b| {
            b.iter(|| {
                for page in pages() {
                    let _ = black_box(memory.load_u64(black_box(bus(page, ranges))));
                }
            });
        });
        group.throughput(Throughput::Bytes(PAGES * PAGE));
        group.bench_function("copies of 4 KiB to VRAM", |b| {
            b.iter(|| {
                for page in pages() {
                    let _ = black_box(memory.copy(bus(page, ranges), vram(page), PAGE));
                }
            });
        });
        group.bench_function("copies of 4 KiB from VRAM", |b| {
            b.iter(|| {
                for page in pages() {
                    let _ = black_box(memory.copy(vram(page), bus(page, ranges), PAGE));
                }
            });
        });
        assert_eq!(memory.load_u64(bus(7, ranges)), Ok(7));
        group.finish();
    }
}
