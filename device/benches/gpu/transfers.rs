//! Packets that move data, each beside what the CPU takes for the same bytes in another mapping of the same memory file.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use crate::rig::{FB_BASE, Mapped, Rig};
use crate::{FROM, PAGE, PAGE_FLAGS, TO, halves};

/// PTEPDE: entries that map contiguous system pages, as `amdgpu_vm_sdma_set_ptes` emits it.
fn pte_pde(at: u64, entries: u32) -> [u32; 10] {
    let [lo, hi] = halves(FB_BASE + at);
    let [flags, _] = halves(PAGE_FLAGS);
    [12, lo, hi, flags, 0, 0x1000, 0, 0x1000, 0, entries - 1]
}

fn copy_linear(from: u64, to: u64, bytes: u32) -> [u32; 7] {
    let ([from_lo, from_hi], [to_lo, to_hi]) = (halves(FB_BASE + from), halves(FB_BASE + to));
    [1, bytes - 1, 0, from_lo, from_hi, to_lo, to_hi]
}

fn const_fill(at: u64, pattern: u32, bytes: u32) -> [u32; 5] {
    let [lo, hi] = halves(FB_BASE + at);
    [11, lo, hi, pattern, bytes - 1]
}

/// A memset of `packets` pieces of `piece` bytes at [`TO`], to compare with.
fn memset(b: &mut criterion::Bencher<'_>, rig: &Rig, packets: u32, piece: u32) {
    let mapped = Mapped::new(rig.vram());
    mapped.set(TO, 1, u64::from(packets) * u64::from(piece)); // maps all pages
    b.iter(|| {
        for packet in 0..packets {
            mapped.set(
                black_box(TO + u64::from(packet) * u64::from(piece)),
                0x5a,
                u64::from(piece),
            );
        }
    });
}

/// Page tables: one at a time, which is what a driver's update of many small mappings looks like, and the longest packet, once and for
/// 4 and 64 MiB of tables.
pub(crate) fn page_tables(c: &mut Criterion) {
    for (entries, packets) in [(512_u32, 64_u32), (1 << 18, 1), (1 << 18, 2), (1 << 18, 32)] {
        let mut group = c.benchmark_group(format!("PTEPDE {packets} x {entries} into VRAM"));
        let program: Vec<u32> = (0..packets)
            .flat_map(|packet| pte_pde(TO + u64::from(packet * entries) * 8, entries))
            .collect();
        let mut rig = Rig::new(&program);
        rig.run();
        let last = TO + u64::from(packets * entries - 1) * 8;
        let expected = (u64::from(entries) * PAGE) | PAGE_FLAGS;
        assert_eq!(rig.load(last), expected, "the last entry");
        group.throughput(Throughput::Bytes(u64::from(entries * packets) * 8));
        group.bench_function("PTEPDE", |b| b.iter(|| rig.run()));
        group.bench_function("memset", |b| memset(b, &rig, packets, entries * 8));
        group.finish();
    }
}

/// Fills of VRAM, one doorbell for all packets: with the driver's poison, and with zeros, which a plain memset can do as well.
pub(crate) fn fills(c: &mut Criterion) {
    /// AMDGPU_POISON (`amdgpu_bo_release_notify`).
    const POISON: u32 = 0xd0be_d0be;
    for (packets, kib) in [(1, 4), (64, 4), (1, 256), (1, 4096), (16, 4096)] {
        let piece: u32 = kib << 10;
        let bytes = u64::from(packets) * u64::from(piece);
        let mut group = c.benchmark_group(format!("fill {packets} x {kib} KiB in VRAM"));
        group.throughput(Throughput::Bytes(bytes));
        for (name, pattern) in [("CONST_FILL poison", POISON), ("CONST_FILL zero", 0)] {
            let program: Vec<u32> = (0..packets)
                .flat_map(|packet| const_fill(TO + u64::from(packet * piece), pattern, piece))
                .collect();
            let mut rig = Rig::new(&program);
            rig.touch(TO, bytes);
            rig.run();
            let word = u64::from(pattern) << 32 | u64::from(pattern);
            assert_eq!(rig.load(TO + bytes - 8), word, "the last word");
            group.bench_function(name, |b| b.iter(|| rig.run()));
        }
        let rig = Rig::new(&[0]);
        group.bench_function("memset", |b| memset(b, &rig, packets, piece));
        group.finish();
    }
}

/// Copies from VRAM to VRAM, one doorbell for all packets, each beside a plain memcpy of the same pieces in another mapping of the same
/// memory file. 4 MiB is the longest copy that the driver makes with one packet (`sdma_v5_2_buffer_funcs`).
pub(crate) fn copies(c: &mut Criterion) {
    for (packets, kib) in [(1, 4), (64, 4), (1, 256), (1, 4096), (16, 4096)] {
        let piece: u32 = kib << 10;
        let bytes = u64::from(packets * piece);
        let mut group = c.benchmark_group(format!("copy {packets} x {kib} KiB in VRAM"));
        group.throughput(Throughput::Bytes(bytes));
        let pieces = move || (0..packets).map(move |packet| u64::from(packet * piece));
        let program: Vec<u32> = pieces()
            .flat_map(|at| copy_linear(FROM + at, TO + at, piece))
            .collect();
        let mut rig = Rig::new(&program);
        // The host gives memory at the first write; that is not what is measured.
        rig.touch(FROM, bytes);
        rig.store(FROM + bytes - 8, 0x0123_4567_89ab_cdef);
        rig.run();
        assert_eq!(rig.load(TO + bytes - 8), 0x0123_4567_89ab_cdef, "the last word");
        group.bench_function("COPY_LINEAR", |b| b.iter(|| rig.run()));
        let mapped = Mapped::new(rig.vram());
        group.bench_function("memcpy", |b| {
            b.iter(|| {
                for at in pieces() {
                    mapped.copy(black_box(FROM + at), black_box(TO + at), u64::from(piece));
                }
            });
        });
        group.finish();
    }
}
