//! What the engine itself costs: memory is one flat `Vec` without translation, so that nothing else is measured.
//!
//! Run with `cargo bench -p sdma_engine`. The copies have a plain `copy_within` of the same size beside them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use gart::{Fault, GpuVa, VirtualMemory, Vmid};
use mmio::{RegOffset, RegisterBus};
use sdma_engine::{Budget, Engine, InvalidateRegisters, QueueConfig, Step};

const MEMORY: usize = 256 << 20;
const RING_BYTES: u64 = 1 << 20;
/// Where copies, fills and tables go.
const DATA: usize = 64 << 20;

struct Flat(Vec<u8>);

fn at(va: GpuVa) -> usize {
    usize::try_from(va.get()).unwrap()
}

impl VirtualMemory for Flat {
    fn read(&mut self, _: Vmid, va: GpuVa, data: &mut [u8]) -> Result<(), Fault> {
        data.copy_from_slice(&self.0[at(va)..][..data.len()]);
        Ok(())
    }

    fn write(&mut self, _: Vmid, va: GpuVa, data: &[u8]) -> Result<(), Fault> {
        self.0[at(va)..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn copy(&mut self, _: Vmid, from: GpuVa, to: GpuVa, len: u64) -> Result<(), Fault> {
        let from = at(from);
        self.0
            .copy_within(from..from + usize::try_from(len).unwrap(), at(to));
        Ok(())
    }

    fn fill(&mut self, _: Vmid, va: GpuVa, pattern: u32, len: u64) -> Result<(), Fault> {
        let range = &mut self.0[at(va)..][..usize::try_from(len).unwrap()];
        for chunk in range.chunks_mut(4) {
            chunk.copy_from_slice(&pattern.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn store_u32(&mut self, vmid: Vmid, va: GpuVa, value: u32) -> Result<(), Fault> {
        self.write(vmid, va, &value.to_le_bytes())
    }

    fn store_u64(&mut self, vmid: Vmid, va: GpuVa, value: u64) -> Result<(), Fault> {
        self.write(vmid, va, &value.to_le_bytes())
    }

    fn update_u32(&mut self, _: Vmid, _: GpuVa, _: &mut dyn FnMut(u32) -> u32) -> Result<u32, Fault> {
        Ok(0)
    }

    fn update_u64(&mut self, _: Vmid, _: GpuVa, _: &mut dyn FnMut(u64) -> u64) -> Result<u64, Fault> {
        Ok(0)
    }
}

impl sdma_engine::Gate for Flat {}

impl RegisterBus for Flat {
    fn read_register(&mut self, _: RegOffset) -> u32 {
        0
    }

    fn write_register(&mut self, _: RegOffset, _: u32) {}
}

/// One program in the ring, executed again and again.
struct Bench {
    memory: Flat,
    engine: Engine,
    config: QueueConfig,
}

impl Bench {
    fn new(program: &[u32], repeat: usize) -> Self {
        let mut memory = Flat(vec![1; MEMORY]);
        let mut wptr = 0;
        for dword in program.iter().cycle().take(program.len() * repeat) {
            memory.0[wptr..wptr + 4].copy_from_slice(&dword.to_le_bytes());
            wptr += 4;
        }
        Self {
            memory,
            engine: Engine::new(InvalidateRegisters {
                gfx_req: RegOffset::from_byte(0),
                gfx_ack: RegOffset::from_byte(0),
                stride: 4,
            }),
            config: QueueConfig {
                halted: false,
                frozen: false,
                ring_enabled: true,
                ib_enabled: true,
                trap_enabled: true,
                ring_base: GpuVa::new(0),
                ring_bytes: RING_BYTES,
                ring_vmid: Vmid::KERNEL,
                rptr: 0,
                rptr_generation: 0,
                stop_generation: 0,
                wptr: wptr as u64,
                wptr_shadow: None,
                rptr_writeback: Some(GpuVa::new(RING_BYTES)),
            },
        }
    }

    fn run(&mut self) {
        self.config.rptr_generation = self.config.rptr_generation.wrapping_add(1);
        let mut events = Vec::new();
        loop {
            let mut budget = Budget {
                packets: 256,
                bytes: 16 << 20,
            };
            let step = self.engine.step(
                &self.config,
                &mut self.memory,
                Duration::ZERO,
                &mut budget,
                &mut events,
            );
            events.clear();
            if step != Step::Progress {
                assert_eq!(step, Step::Idle);
                return;
            }
        }
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, program: &[u32], repeat: usize) {
    let mut bench = Bench::new(program, repeat);
    group.bench_function(name, |b| b.iter(|| bench.run()));
}

fn page_tables(c: &mut Criterion) {
    let dst = u32::try_from(DATA).unwrap();
    let mut group = c.benchmark_group("pte_pde");
    for entries in [512_u32, 1 << 18] {
        let program = [12, dst, 0, 0x77, 0, 0x1000, 0, 0x1000, 0, entries - 1];
        let repeat = if entries == 512 { 64 } else { 1 };
        group.throughput(Throughput::Elements(u64::from(entries) * repeat as u64));
        measure(
            &mut group,
            &format!("{entries} entries a packet"),
            &program,
            repeat,
        );
    }
    group.finish();
}

fn copies(c: &mut Criterion) {
    let src = u32::try_from(DATA).unwrap();
    let mut group = c.benchmark_group("copy");
    for bytes in [4 << 10, 64 << 20] {
        let dst = src + (96 << 20);
        let length = u32::try_from(bytes).unwrap();
        group.throughput(Throughput::Bytes(bytes as u64));
        let program = [1, length - 1, 0, src, 0, dst, 0];
        measure(
            &mut group,
            &format!("COPY_LINEAR of {} KiB", bytes >> 10),
            &program,
            1,
        );
        let mut memory = vec![1_u8; MEMORY];
        group.bench_function(format!("copy_within of {} KiB", bytes >> 10), |b| {
            b.iter(|| black_box(&mut memory).copy_within(DATA..DATA + bytes, DATA + (96 << 20)));
        });
    }
    group.finish();
}

fn small_packets(c: &mut Criterion) {
    let dst = u32::try_from(DATA).unwrap();
    let mut group = c.benchmark_group("packets");
    group.throughput(Throughput::Elements(10_000));
    measure(&mut group, "NOP", &[0], 10_000);
    measure(&mut group, "FENCE", &[5, dst, 0, 1], 10_000);
    measure(
        &mut group,
        "WRITE_LINEAR of 1 entry",
        &[2, dst, 0, 1, 0x77, 0],
        10_000,
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = page_tables, copies, small_packets
}
criterion_main!(benches);
