//! What the device does in a second, with the memory that it really has: VRAM is a memory file that two processes could share.
//!
//! Run with `cargo bench -p vhost-device-amdgpu --bench gpu`; `docs/performance.md` says what the numbers mean.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod rig;
mod scattered;
mod system;
mod transfers;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::memory::{DeviceMemory, Vram};
use gart::{
    Access, Backing, CollectBudget, FrameBuffer, GpuVa, Hub, HubLayout, Location, Mappings, PhysicalMemory,
    Vmid, VramOffset, WalkBudget, compare, registers,
};
use mmio::{Effects, RegOffset, RegisterBlock};
use rig::{FB_BASE, Rig, VRAM};
use scattered::scattered;
use transfers::{copies, fills, page_tables};

const PAGE: u64 = 4096;
/// Pages that a round of walks goes through: 4 MiB of address space. Their tables stay in the CPU's caches.
const PAGES: u64 = 1024;
const USER: u64 = 0x7f12_3400_0000;
const VMID: Vmid = Vmid::from_field(1);
/// Where transfers read and write in VRAM.
const FROM: u64 = 256 << 20;
const TO: u64 = 512 << 20;

/// PTE and PDE bits: VALID, READABLE, WRITEABLE.
const VALID: u64 = 1;
const PAGE_FLAGS: u64 = VALID | 1 << 5 | 1 << 6;

/// Writes four levels of tables for [`PAGES`] pages from [`USER`] on into VRAM; the root is at 0.
fn build_tables(memory: &DeviceMemory) {
    let write = |table: u64, index: u64, entry: u64| {
        let at = Location::Vram(VramOffset::new(table + 8 * index));
        memory.store_u64(at, entry).expect("VRAM has room");
    };
    let index = |level: u32| USER >> (12 + 9 * level) & 0x1ff;
    let (pdb1, pdb0, first_ptb) = (0x1000, 0x2000, 0x3000);
    write(0, index(3), pdb1 | VALID);
    write(pdb1, index(2), pdb0 | VALID);
    for page in 0..PAGES {
        let ptb = first_ptb + page / 512 * PAGE;
        if page % 512 == 0 {
            write(pdb0, index(1) + page / 512, ptb | VALID);
        }
        write(ptb, page % 512, (FROM + page * PAGE) | PAGE_FLAGS);
    }
}

/// A graphics hub whose VMID 1 has its root at the start of VRAM: four levels, as the driver sets contexts up.
fn hub() -> Hub {
    let layout = HubLayout::GFXHUB_2_1;
    let frame_buffer = FrameBuffer {
        base: GpuVa::new(FB_BASE),
        size: VRAM,
    };
    let mut hub = Hub::new(layout, frame_buffer);
    let vmid = u32::from(VMID.get());
    let mut write =
        |register: RegOffset, value| hub.write(layout.l2(register), value, &mut Effects::default());
    write(registers::PAGE_TABLE_BASE.plus(8 * vmid), 1); // VALID, at 0
    write(registers::PAGE_TABLE_END.plus(8 * vmid), u32::MAX);
    write(registers::PAGE_TABLE_END.plus(8 * vmid + 4), 0xf);
    // ENABLE_CONTEXT, PAGE_TABLE_DEPTH = 3: three levels of directories above the page tables.
    write(registers::CONTEXT_CNTL.plus(4 * vmid), 1 | 3 << 1);
    hub
}

fn walks(c: &mut Criterion) {
    let memory = DeviceMemory::new(Vram::new(VRAM).expect("no VRAM"));
    build_tables(&memory);
    let hub = hub();
    let page = |number: u64| GpuVa::new(USER + number * PAGE);
    for number in 0..PAGES {
        let found = hub
            .translate(&memory, VMID, page(number), Access::Read)
            .expect("the page is mapped");
        let expected = Location::Vram(VramOffset::new(FROM + number * PAGE));
        assert_eq!(found.backing, Backing::Memory(expected));
    }
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements(PAGES));
    group.bench_function("four levels in VRAM", |b| {
        b.iter(|| {
            for number in 0..PAGES {
                let _ = black_box(hub.translate(&memory, VMID, black_box(page(number)), Access::Read));
            }
        });
    });
    group.finish();
}

/// Mappings of the address space that [`oracle`] looks at, 4 KiB each.
const MANY: u64 = 100_000;
/// Where they begin: with the first entry of a table at each level below the root.
const MANY_AT: u64 = 0x7f00_0000_0000;

/// What a reset waits for before it begins, and an answer on the control socket: a look at a large address space, and its comparison.
fn oracle(c: &mut Criterion) {
    let hub = hub();
    let context = *hub.context(VMID).expect("a context");
    let budget = CollectBudget {
        walk: WalkBudget::default(),
        runs: 1 << 20,
    };
    let mut group = c.benchmark_group("oracle, 100000 pages");
    group.throughput(Throughput::Elements(MANY));
    // Pages of RAM in no order, of which no two make one run, and contiguous ones.
    for (name, scatter) in [("scattered", 0x9e37), ("contiguous", 1)] {
        let memory = DeviceMemory::new(Vram::new(VRAM).expect("no VRAM"));
        let write = |table: u64, index: u64, entry: u64| {
            let at = Location::Vram(VramOffset::new(table + 8 * index));
            memory.store_u64(at, entry).expect("VRAM has room");
        };
        write(0, MANY_AT >> 39, 0x1000 | VALID);
        write(0x1000, 0, 0x2000 | VALID);
        for page in 0..MANY {
            let ptb = 0x3000 + page / 512 * PAGE;
            write(0x2000, page / 512, ptb | VALID);
            let target = page * scatter % (1 << 20) * PAGE;
            write(ptb, page % 512, target | PAGE_FLAGS);
        }
        let look = || Mappings::collect(&context, 0, &memory, budget, |_, _| false);
        let before = look();
        assert_eq!(before.entries(), MANY);
        assert_eq!(compare(&before, &look()).counts.same, MANY);
        group.bench_function(format!("snapshot, {name}"), |b| b.iter(look));
        group.bench_function(format!("snapshot and comparison, {name}"), |b| {
            b.iter(|| compare(black_box(&before), &look()));
        });
    }
    group.finish();
}

fn halves(value: u64) -> [u32; 2] {
    [(value & 0xffff_ffff) as u32, (value >> 32) as u32]
}

/// Fences, of which each is a record in the journal: far more in a row than any driver makes.
fn fences(c: &mut Criterion) {
    const COUNT: u32 = 256;
    let [lo, hi] = halves(FB_BASE + TO);
    let program: Vec<u32> = (0..COUNT).flat_map(|seq| [5, lo, hi, seq]).collect();
    let mut rig = Rig::new(&program);
    rig.run();
    assert_eq!(rig.load(TO) & 0xffff_ffff, u64::from(COUNT - 1), "the last fence");
    let mut group = c.benchmark_group("fences");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function(format!("{COUNT} in a row"), |b| b.iter(|| rig.run()));
    group.finish();
}

/// What a register costs without the socket.
fn register_access(c: &mut Criterion) {
    /// RCC_CONFIG_MEMSIZE, in MiB.
    const MEMSIZE: RegOffset = RegOffset::from_byte(0x378c);
    let mut rig = Rig::new(&[0]);
    assert_eq!(u64::from(rig.gpu.read_register(MEMSIZE)), VRAM >> 20);
    c.bench_function("register read in the device", |b| {
        b.iter(|| rig.gpu.read_register(black_box(MEMSIZE)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = walks, scattered, page_tables, oracle, fills, copies, system::ranges, fences, register_access
}
criterion_main!(benches);
