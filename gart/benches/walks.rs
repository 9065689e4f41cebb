//! How fast addresses are translated while the tables are in the CPU's caches.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gart::testing::{TestMemory, TestTables};
use gart::{
    Access, ClientId, Context, FaultSink, FrameBuffer, GpuVa, Hub, HubLayout, Level, PAGE_SIZE, Pte, Space,
    VirtualMemory, Vmid, VramOffset, WalkBudget, registers, translate, walk_tables,
};
use mmio::{Effects, RegOffset, RegisterBlock};

const VRAM: u64 = 64 << 20;
/// Pages that each round goes through: 4 MiB.
const PAGES: u64 = 1024;
const USER: u64 = 0x7f12_3400_0000;
const VMID: Vmid = Vmid::from_field(1);

/// `PAGES` single pages from `base` on.
fn build(mut tables: TestTables, base: u64) -> (TestMemory, Context) {
    let memory = TestMemory::new(VRAM);
    let page = Pte::new()
        .with_valid(true)
        .with_readable(true)
        .with_writeable(true);
    for number in 0..PAGES {
        let offset = number * PAGE_SIZE;
        let va = GpuVa::new(base + offset);
        tables
            .map(&memory, va, Level::Ptb, page.with_address((32 << 20) + offset))
            .expect("VRAM has room");
    }
    (memory, tables.context())
}

fn walks(c: &mut Criterion) {
    let user = build(TestTables::four_levels(), USER);
    let gart = build(TestTables::new(0, 0, 0, (512 << 8) - 1, VramOffset::new(0)), 0);
    let mut group = c.benchmark_group("walks");
    group.throughput(Throughput::Elements(PAGES));
    for (name, base, (memory, context)) in [("four levels", USER, &user), ("gart", 0, &gart)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                for number in 0..PAGES {
                    let va = GpuVa::new(base + number * PAGE_SIZE);
                    let _ = black_box(translate(context, 0, memory, black_box(va), Access::Read));
                }
            });
        });
    }
    group.finish();
}

/// A hub whose VMID 1 has this context.
fn hub(context: &Context) -> Hub {
    let layout = HubLayout::GFXHUB_2_1;
    let mut hub = Hub::new(
        layout,
        FrameBuffer {
            base: GpuVa::new(0x80_0000_0000),
            size: VRAM,
        },
    );
    let vmid = u32::from(VMID.get());
    let mut write =
        |register: RegOffset, value| hub.write(layout.l2(register), value, &mut Effects::default());
    let root = u32::try_from(context.root.into_bits()).expect("the root is at the bottom of VRAM");
    write(registers::PAGE_TABLE_BASE.plus(8 * vmid), root);
    write(registers::PAGE_TABLE_END.plus(8 * vmid), u32::MAX);
    write(registers::PAGE_TABLE_END.plus(8 * vmid + 4), 0xf);
    write(registers::CONTEXT_CNTL.plus(4 * vmid), context.cntl.into_bits());
    hub
}

fn virtual_memory(c: &mut Criterion) {
    let (memory, context) = build(TestTables::four_levels(), USER);
    let mut hub = hub(&context);
    let mut sink = FaultSink::default();
    let mut group = c.benchmark_group("virtual memory");
    group.throughput(Throughput::Bytes(PAGE_SIZE));
    let mut data = vec![0; 4096];
    for (name, offset) in [
        ("read 4 KiB in one page", 0),
        ("read 4 KiB across two pages", 0x800),
    ] {
        let mut space = Space::new(&mut hub, &memory, ClientId::SDMA0, &mut sink);
        group.bench_function(name, |b| {
            b.iter(|| {
                space
                    .read(VMID, black_box(GpuVa::new(USER + offset)), &mut data)
                    .expect("the pages are mapped");
            });
        });
    }
    group.throughput(Throughput::Bytes(PAGES / 2 * PAGE_SIZE));
    group.bench_function("copy 2 MiB page by page", |b| {
        let mut space = Space::new(&mut hub, &memory, ClientId::SDMA0, &mut sink);
        let (from, to) = (GpuVa::new(USER), GpuVa::new(USER + PAGES / 2 * PAGE_SIZE));
        b.iter(|| {
            space
                .copy(VMID, from, to, PAGES / 2 * PAGE_SIZE)
                .expect("the pages are mapped");
        });
    });
    group.finish();
}

fn tables(c: &mut Criterion) {
    let (memory, context) = build(TestTables::four_levels(), USER);
    let mut group = c.benchmark_group("enumerating walk");
    group.throughput(Throughput::Elements(PAGES));
    group.bench_function("1024 pages", |b| {
        b.iter(|| {
            walk_tables(black_box(&context), 0, &memory, WalkBudget::default(), |entry| {
                black_box(entry);
            })
        });
    });
    group.finish();
}

criterion_group!(benches, walks, virtual_memory, tables);
criterion_main!(benches);
