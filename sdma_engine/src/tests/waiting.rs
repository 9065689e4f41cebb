//! Packets that wait.

use std::time::Duration;

use gart::{GpuVa, Vmid};
use mmio::RegOffset;

use super::fake::{Gpu, INVALIDATE, RPTR};
use super::packets::*;
use crate::{EngineEvent, Step, WaitTarget, offset};

const DATA: u64 = 0x10_0000;
const FOREVER: u32 = 0xfff;

#[track_caller]
fn target(step: Step) -> WaitTarget {
    match step {
        Step::Waiting(wait) => wait.target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn poll_of_memory_blocks_the_ring_and_resumes() {
    let mut gpu = Gpu::new();
    let step = gpu.execute(&[poll_memory(DATA, 3, 7, 0xff, FOREVER), fence(DATA + 4, 1)].concat());
    let (vmid, at) = (Vmid::KERNEL, GpuVa::new(DATA));
    assert_eq!(target(step), WaitTarget::Memory { vmid, at });
    assert_eq!(gpu.dword(0, DATA + 4), 0);
    assert_eq!(gpu.get(offset::STATUS_REG) & 1, 0, "busy");
    assert_eq!(gpu.get(offset::STATUS1_REG), 0x3ff, "but nothing is being copied");
    gpu.poke(0, DATA, &[0xab07]);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA + 4), 1);
    assert_eq!(gpu.get(offset::STATUS_REG) & 1, 1);
}

#[test]
fn poll_functions_compare_the_masked_value() {
    // function, value, passes
    let cases = [
        (0, 0, true),
        (1, 4, true),
        (1, 5, false),
        (2, 5, true),
        (2, 6, false),
        (3, 5, true),
        (3, 4, false),
        (4, 4, true),
        (4, 5, false),
        (5, 5, true),
        (5, 4, false),
        (6, 6, true),
        (6, 5, false),
        (7, 5, false),
    ];
    for (function, value, passes) in cases {
        let mut gpu = Gpu::new();
        gpu.poke(0, DATA, &[value | 0xf00]);
        let step = gpu.execute(&poll_memory(DATA, function, 5, 0xff, FOREVER));
        assert_eq!(step == Step::Idle, passes, "function {function}, value {value}");
    }
}

#[test]
fn poll_without_end_never_gives_up() {
    let mut gpu = Gpu::new();
    gpu.submit(&poll_memory(DATA, 3, 1, 1, FOREVER));
    for _ in 0..10_000 {
        gpu.now += Duration::from_millis(1);
        assert!(matches!(gpu.run(), Step::Waiting(_)));
    }
    assert_eq!(gpu.engine.stats().poll_timeouts, 0);
}

#[test]
fn poll_with_retries_gives_up_and_the_ring_goes_on() {
    let mut gpu = Gpu::new();
    gpu.submit(&[poll_memory(DATA, 3, 1, 1, 2), fence(DATA + 4, 1)].concat());
    // The first look, then two retries, 4 microseconds apart. Looks in between do not count.
    for now in [0, 1, 3, 4, 7] {
        gpu.now = Duration::from_micros(now);
        assert!(matches!(gpu.run(), Step::Waiting(_)), "at {now} us");
    }
    gpu.now = Duration::from_micros(8);
    assert_eq!(gpu.run(), Step::Idle);
    assert!(matches!(
        gpu.events[..],
        [
            EngineEvent::PollTimeout { vmid: Vmid::KERNEL },
            EngineEvent::Fence { .. }
        ]
    ));
    assert_eq!(gpu.dword(0, DATA + 4), 1);
}

#[test]
fn poll_tells_when_to_look_again() {
    let mut gpu = Gpu::new();
    gpu.now = Duration::from_micros(100);
    gpu.submit(&poll_memory(DATA, 3, 1, 1, FOREVER));
    let Step::Waiting(first) = gpu.run() else { panic!() };
    assert_eq!((first.interval, first.since), (Duration::from_micros(4), gpu.now));
    gpu.now = Duration::from_micros(103);
    let Step::Waiting(second) = gpu.run() else {
        panic!()
    };
    assert_eq!(
        (second.interval, second.since),
        (Duration::from_micros(1), first.since)
    );
}

#[test]
fn poll_of_memory_that_faults_looks_rarely() {
    let mut gpu = Gpu::new();
    gpu.memory.hole(DATA, DATA + 0x1000);
    gpu.submit(&poll_memory(DATA, 3, 1, 1, FOREVER));
    for now in 0..2000 {
        gpu.now = Duration::from_micros(now);
        gpu.run();
    }
    assert_eq!(gpu.memory.faults.len(), 2);
}

#[test]
fn poll_of_a_register_sees_what_the_bus_sees() {
    let mut gpu = Gpu::new();
    let register = RegOffset::from_byte(0xa244);
    assert_eq!(
        target(gpu.execute(&poll_register(0xa244, 2, 2))),
        WaitTarget::Register(register)
    );
    gpu.foreign.insert(register, 0xff);
    assert_eq!(gpu.run(), Step::Idle);
}

#[test]
fn hdp_flush_asks_and_waits_for_its_own_bits() {
    let mut gpu = Gpu::new();
    let (request, done) = (RegOffset::from_byte(0x3898), RegOffset::from_byte(0x389c));
    let step = gpu.execute(&hdp_flush(0x3898, 0x389c, 0x400));
    assert_eq!(gpu.foreign[&request], 0x400);
    assert_eq!(target(step), WaitTarget::Register(done));
    gpu.foreign.insert(done, 0x400);
    assert_eq!(gpu.run(), Step::Idle);
}

#[test]
fn vm_flush_of_6_1_passes_with_its_acknowledgement() {
    let mut gpu = Gpu::new();
    let (req, ack) = (INVALIDATE.request(6), INVALIDATE.acknowledgement(6));
    let flush = [
        srbm_write(0xa324, 0x1000, 0xf),
        srbm_write(0xa328, 0, 0xf),
        srbm_write(req.byte(), 0x00f8_0002, 0xf),
        poll_register(req.byte(), 0, 0),
        poll_register(ack.byte(), 2, 2),
    ];
    assert_eq!(target(gpu.execute(&flush.concat())), WaitTarget::Register(ack));
    let last = gpu.writes.last().copied();
    assert_eq!(last, Some((req, 0x00f8_0002)));
    gpu.foreign.insert(ack, 2);
    assert_eq!(gpu.run(), Step::Idle);
}

#[test]
fn vm_invalidation_of_7_3_asks_its_engine_and_waits_for_it() {
    let mut gpu = Gpu::new();
    let (req, ack) = (INVALIDATE.request(6), INVALIDATE.acknowledgement(6));
    let step = gpu.execute(&[vm_invalidation(6, 0x00f8_0004, 4), fence(DATA, 1)].concat());
    assert_eq!(gpu.writes, [(req, 0x00f8_0004)]);
    assert_eq!(target(step), WaitTarget::Register(ack));
    gpu.foreign.insert(ack, 0xffff);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 1);
}

#[test]
fn vm_invalidation_without_an_engine_does_nothing() {
    let mut gpu = Gpu::new();
    assert_eq!(gpu.execute(&vm_invalidation(0x1f, 1, 1)), Step::Idle);
    assert_eq!(gpu.writes, []);
}

#[test]
fn looping_compare_swap_is_a_lock() {
    let mut gpu = Gpu::new();
    gpu.poke(0, DATA, &[1]);
    let step = gpu.execute(&[atomic(0x08, DATA, 9, 0, true), fence(DATA + 4, 1)].concat());
    assert!(matches!(step, Step::Waiting(wait) if wait.interval == Duration::from_micros(20)));
    assert_eq!(gpu.dword(0, DATA), 1);
    gpu.poke(0, DATA, &[0]);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!((gpu.dword(0, DATA), gpu.dword(0, DATA + 4)), (9, 1));
}

/// Every way in which a driver gets rid of a hung engine.
#[test]
fn halt_disable_and_reset_drop_a_poll() {
    type Way = fn(&mut Gpu);
    let ways: [(&str, Way); 3] = [
        ("halt", |gpu| gpu.set(offset::F32_CNTL, 1)),
        ("disable", |gpu| {
            let rb_cntl = gpu.get(offset::GFX_RB_CNTL);
            gpu.set(offset::GFX_RB_CNTL, rb_cntl & !1);
        }),
        ("soft reset", |gpu| {
            gpu.registers.soft_reset();
            gpu.engine.reset();
        }),
    ];
    for (name, way) in ways {
        let mut gpu = Gpu::new();
        gpu.execute(&poll_memory(DATA, 3, 1, 1, FOREVER));
        way(&mut gpu);
        assert_eq!(gpu.run(), Step::Idle, "{name}");
        assert_eq!(gpu.engine.stats().dropped, 1, "{name}");
        assert_eq!(gpu.get(offset::STATUS_REG) & 1, 1, "{name}: idle");
        gpu.resume(0);
        assert_eq!(gpu.execute(&fence(DATA + 4, 1)), Step::Idle, "{name}");
        assert_eq!(gpu.dword(0, DATA + 4), 1, "{name}");
    }
}

#[test]
fn halt_between_two_steps_drops_a_poll_as_well() {
    let mut gpu = Gpu::new();
    gpu.execute(&[poll_memory(DATA, 3, 1, 1, FOREVER), fence(DATA + 4, 1)].concat());
    gpu.set(offset::F32_CNTL, 1);
    gpu.set(offset::F32_CNTL, 0);
    assert!(matches!(gpu.run(), Step::Waiting(_)), "begun anew");
    assert_eq!(gpu.engine.stats().dropped, 1);
    assert_eq!(gpu.qword(0, RPTR), 0);
}
