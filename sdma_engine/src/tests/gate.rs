//! What a device may do to packets.

use std::time::Duration;

use super::fake::Gpu;
use super::packets::*;
use crate::{EngineEvent, Step, Verdict, WaitTarget, offset};

const DATA: u64 = 0x10_0000;
const FENCE: u64 = 0x3000;
const IDLE: u32 = 1;

/// A page-table update and the fence behind it.
fn update(entries: u32) -> Vec<u32> {
    let mut dwords = pte_pde(DATA, 0x71, 0x5000, 0x1000, entries);
    dwords.extend(fence(FENCE, 7));
    dwords
}

fn entry(index: u64) -> u64 {
    (0x5000 + index * 0x1000) | 0x71
}

#[test]
fn a_hang_stands_in_front_of_its_packet_and_looks_busy() {
    let mut gpu = Gpu::new();
    gpu.verdicts.extend([Verdict::Proceed, Verdict::Hang]);
    let before = nop(0);
    let mut job = before.clone();
    job.extend(update(4));
    assert_eq!(gpu.execute(&job), Step::Hung);
    assert_eq!(gpu.written_back(), 4 * before.len() as u64);
    assert_eq!(gpu.qword(0, DATA), 0, "nothing of the packet is done");
    assert_eq!(gpu.events, []);
    gpu.submit(&nop(0));
    assert_eq!(gpu.run(), Step::Hung, "nor is anything behind it");
    assert_eq!(gpu.get(offset::STATUS_REG) & IDLE, 0);
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 4 * before.len() as u32);
}

#[test]
fn only_a_reset_of_the_engine_ends_a_hang() {
    let mut gpu = Gpu::new();
    gpu.verdicts.push_back(Verdict::Hang);
    gpu.execute(&update(4));
    gpu.change(offset::F32_CNTL, 0, 1);
    gpu.run();
    gpu.change(offset::F32_CNTL, 1, 0);
    assert_eq!(gpu.run(), Step::Hung, "halting and starting it does not help");
    gpu.change(offset::FREEZE, 0, 1 << 4);
    gpu.change(offset::FREEZE, 1 << 4, 0);
    assert_eq!(gpu.run(), Step::Hung);
    gpu.registers.soft_reset();
    gpu.engine.reset();
    gpu.resume(0);
    assert_eq!(gpu.execute(&update(4)), Step::Idle);
    assert_eq!(gpu.dword(0, FENCE), 7);
    assert_eq!(gpu.get(offset::STATUS_REG) & IDLE, IDLE);
}

#[test]
fn a_hang_can_come_from_outside_while_the_ring_is_empty() {
    let mut gpu = Gpu::new();
    gpu.run();
    gpu.engine.hang();
    assert_eq!(gpu.execute(&update(1)), Step::Hung);
    assert!(gpu.engine.is_hung());
    assert_eq!(gpu.get(offset::STATUS_REG) & IDLE, 0);
    assert_eq!(gpu.written_back(), 0);
}

#[test]
fn a_frozen_engine_says_so_even_if_it_hangs() {
    let mut gpu = Gpu::new();
    gpu.verdicts.push_back(Verdict::HangAfter(8));
    gpu.execute(&update(4));
    gpu.change(offset::FREEZE, 0, 1 << 4);
    gpu.run();
    assert_eq!(gpu.get(offset::FREEZE), 0x30, "FREEZE and FROZEN");
}

#[test]
fn a_hang_in_the_middle_leaves_some_entries_written_and_the_others_not() {
    let mut gpu = Gpu::new();
    gpu.verdicts.push_back(Verdict::HangAfter(16));
    assert_eq!(gpu.execute(&update(4)), Step::Hung);
    let entries: Vec<_> = (0..4).map(|index| gpu.qword(0, DATA + 8 * index)).collect();
    assert_eq!(entries, [entry(0), entry(1), 0, 0]);
    assert_eq!(gpu.dword(0, FENCE), 0);
    assert_eq!(gpu.events, [], "an update that did not end is not announced");
    assert_eq!(gpu.written_back(), 0);
    assert_ne!(
        gpu.get(offset::STATUS1_REG) & 0x3ff,
        0x3ff,
        "its copy unit is busy"
    );
}

#[test]
fn a_packet_without_data_has_no_middle() {
    let mut gpu = Gpu::new();
    gpu.verdicts.push_back(Verdict::HangAfter(16));
    assert_eq!(gpu.execute(&fence(FENCE, 7)), Step::Hung);
    assert_eq!(gpu.dword(0, FENCE), 0);
}

#[test]
fn a_packet_that_is_passed_over_leaves_no_trace() {
    let mut gpu = Gpu::new();
    gpu.verdicts.extend([Verdict::Skip, Verdict::Skip]);
    let mut job = write(DATA + 0x100, &[1, 2]);
    job.extend(update(4));
    assert_eq!(gpu.execute(&job), Step::Idle);
    assert_eq!((gpu.qword(0, DATA), gpu.qword(0, DATA + 0x100)), (0, 0));
    assert_eq!(gpu.dword(0, FENCE), 7, "what follows is done");
    let at = gart::GpuVa::new(FENCE);
    let vmid = gart::Vmid::KERNEL;
    assert_eq!(gpu.events, [EngineEvent::Fence { at, value: 7, vmid }]);
    assert_eq!(gpu.engine.stats().page_tables.set_packets, 0);
    assert_eq!(gpu.engine.stats().all_packets(), 1);
}

#[test]
fn a_delayed_packet_begins_when_its_time_has_come() {
    let delay = Duration::from_millis(5);
    let mut gpu = Gpu::new();
    gpu.verdicts.extend([Verdict::Delay(delay)]);
    let Step::Waiting(wait) = gpu.execute(&update(1)) else {
        panic!("not put off");
    };
    assert_eq!((wait.interval, wait.target), (delay, WaitTarget::Delay));
    gpu.now = Duration::from_millis(4);
    let Step::Waiting(wait) = gpu.run() else {
        panic!("begun too early");
    };
    assert_eq!(wait.interval, Duration::from_millis(1));
    assert_eq!(gpu.qword(0, DATA), 0);
    gpu.now = delay;
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!((gpu.qword(0, DATA), gpu.dword(0, FENCE)), (entry(0), 7));
}

#[test]
fn a_delayed_packet_can_still_hang() {
    let mut gpu = Gpu::new();
    gpu.verdicts
        .extend([Verdict::Delay(Duration::from_millis(1)), Verdict::Hang]);
    gpu.execute(&update(1));
    gpu.now = Duration::from_millis(1);
    assert_eq!(gpu.run(), Step::Hung);
}

#[test]
fn one_corrupted_entry_is_wrong_and_its_neighbours_are_right() {
    let mut gpu = Gpu::new();
    // More than one slice.
    gpu.verdicts.push_back(Verdict::Corrupt {
        entry: 700,
        xor: 1 << 40,
    });
    gpu.execute(&update(1000));
    for index in 0..1000 {
        let wrong = if index == 700 { 1 << 40 } else { 0 };
        assert_eq!(
            gpu.qword(0, DATA + 8 * index),
            entry(index) ^ wrong,
            "entry {index}"
        );
    }
    assert!(matches!(
        gpu.events[..],
        [
            EngineEvent::PageTableUpdate { entries: 1000, .. },
            EngineEvent::Fence { .. }
        ]
    ));
}

#[test]
fn an_entry_that_is_not_there_cannot_be_corrupted() {
    let mut gpu = Gpu::new();
    gpu.verdicts.push_back(Verdict::Corrupt {
        entry: u64::MAX,
        xor: u64::MAX,
    });
    gpu.execute(&update(2));
    assert_eq!((gpu.qword(0, DATA), gpu.qword(0, DATA + 8)), (entry(0), entry(1)));
    assert_eq!(gpu.qword(0, DATA + 16), 0);
}
