//! What guests get wrong, and bounds.

use proptest::prelude::*;

use super::rig::*;
use crate::pm4::opcode;
use crate::*;

const SLOT: u64 = 0x1000;
const IB: u64 = 0x4000;

#[test]
fn a_bad_opcode_stops_its_queue_and_interrupts_if_enabled() {
    let mut rig = Rig::up();
    rig.submit(COMPUTE, &[packet(0xfe, &[0]), write_memory(SLOT, &[1])].concat());
    rig.mmio(0xc1a8, 1 << 24);
    rig.submit(GFX, &packet(0xfe, &[0]));
    rig.submit(KIQ, &scratch_test());
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.state(COMPUTE), QueueState::Halted(HaltReason::BadOpcode));
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::BadOpcode));
    assert_eq!(rig.bus.dword(SLOT), 0);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
    let interrupts: Vec<_> = rig.events.iter().filter_map(CpEvent::interrupt).collect();
    assert_eq!(rig.events.len(), 2);
    assert_eq!(interrupts.len(), 1);
    assert_eq!((interrupts[0].source, interrupts[0].ring_id), (183, 0));
}

#[test]
fn a_users_stream_may_not_touch_the_kernels_registers() {
    let mut rig = Rig::up();
    rig.mmio(0xc1a8, 1 << 23);
    let ib = [
        packet(opcode::SET_SH_REG, &[0, 7]),
        packet(opcode::WRITE_DATA, &[0, 0x8000 / 4, 0, 0x77]),
    ]
    .concat();
    rig.bus.set_dwords(IB, &ib);
    rig.submit(GFX, &indirect(IB, ib.len() as u32, 3));
    rig.run();
    assert_eq!(rig.bus.read_mmio(0xb000), 7);
    assert_ne!(rig.bus.read_mmio(0x8000), 0x77);
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::PrivilegedRegister));
    assert_eq!(rig.events[0].interrupt().unwrap().source, 184);
}

#[test]
fn a_users_stream_may_not_map_queues() {
    let mut rig = Rig::up();
    let ib = unmap(COMPUTE_DOORBELL, 0);
    rig.bus.set_dwords(IB, &ib);
    rig.submit(GFX, &indirect(IB, ib.len() as u32, 3));
    rig.run();
    assert!(rig.cp.queue(COMPUTE).is_some());
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::BadOpcode));
}

#[test]
fn a_packet_longer_than_its_buffer_and_a_nest_too_deep_are_bad() {
    let mut rig = Rig::up();
    rig.bus.set_dwords(IB, &packet(opcode::NOP, &[0; 8]));
    rig.submit(GFX, &indirect(IB, 4, 1));
    rig.bus.set_dwords(IB + 0x100, &indirect(IB + 0x100, 4, 1));
    rig.submit(COMPUTE, &indirect(IB + 0x100, 4, 1));
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::BadOpcode));
    assert_eq!(rig.state(COMPUTE), QueueState::Halted(HaltReason::BadOpcode));
}

#[test]
fn an_indirect_buffer_that_faults_is_left_and_its_fence_comes() {
    let mut rig = Rig::up();
    rig.bus.holes.insert((5, IB >> 12));
    rig.submit(GFX, &[indirect(IB, 64, 5), fence(SLOT, 1, false)].concat());
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.dword(SLOT), 1);
    assert_eq!((rig.bus.faults, rig.cp.stats().faults), (1, 1));
}

#[test]
fn a_poll_that_faults_stays_blocked_and_is_not_repeated() {
    let mut rig = Rig::up();
    rig.bus.holes.insert((0, 0x30));
    rig.submit(GFX, &wait_memory(0x3_0000, 1));
    for _ in 0..10 {
        assert_eq!(rig.run(), CpStep::Idle);
    }
    assert!(matches!(rig.state(GFX), QueueState::Waiting(wait) if wait.faulted));
    assert_eq!(rig.bus.faults, 1);
}

#[test]
fn a_read_pointer_report_that_faults_is_not_repeated() {
    let mut rig = Rig::up();
    rig.bus.holes.insert((0, rptr_at(COMPUTE) >> 12));
    for _ in 0..5 {
        rig.submit(COMPUTE, &scratch_test());
        rig.run();
    }
    assert_eq!(rig.bus.faults, 1);
    assert_eq!(rig.cp.queue(COMPUTE).unwrap().rptr, 15);
}

#[test]
fn a_queue_whose_mqd_is_out_of_reach_is_not_mapped() {
    let mut rig = Rig::up();
    rig.submit(KIQ, &unmap(COMPUTE_DOORBELL, 0));
    rig.bus.holes.insert((0, mqd_at(COMPUTE) >> 12));
    rig.submit(KIQ, &[map(COMPUTE, COMPUTE_DOORBELL), scratch_test()].concat());
    assert_eq!(rig.run(), CpStep::Idle);
    assert!(rig.cp.queue(COMPUTE).is_none());
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
}

#[test]
fn a_ring_out_of_reach_stops_its_queue() {
    let mut rig = Rig::up();
    rig.bus.holes.insert((0, home(COMPUTE) >> 12));
    rig.submit(COMPUTE, &scratch_test());
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.state(COMPUTE), QueueState::Halted(HaltReason::RingFault));
    assert_eq!(rig.events, [CpEvent::RingFault { queue: COMPUTE }], "told once");
}

#[test]
fn an_endless_chain_of_buffers_never_exceeds_the_budget() {
    let mut rig = Rig::up();
    rig.bus
        .set_dwords(IB, &packet(opcode::INDIRECT_BUFFER, &[lo(IB), 0, 4 | 1 << 20]));
    rig.submit(GFX, &indirect(IB, 4, 1));
    let before = rig.cp.stats().packets;
    let mut budget = Budget {
        packets: 500,
        bytes: 1 << 20,
    };
    assert_eq!(rig.step(&mut budget), CpStep::Progress);
    assert_eq!((budget.packets, rig.cp.stats().packets - before), (0, 500));
}

/// A stream with a bit of everything.
fn mixed() -> Vec<u32> {
    [
        packet(
            opcode::DMA_DATA,
            &[2 << 29, 0x0102_0304, 0, 0x2_0002, 0, 0x1_2345],
        ),
        packet(opcode::DMA_DATA, &[0, 0x2_0001, 0, 0x4_0000, 0, 0x1_0001]),
        write_memory(SLOT, &[3; 100]),
        packet(opcode::COND_EXEC, &[0x3000, 0, 0, 5]),
        write_memory(SLOT, &[9]),
        fence(SLOT + 0x800, 4, true),
    ]
    .concat()
}

fn run_with(budget: Budget) -> (Vec<u8>, Vec<CpEvent>) {
    let mut rig = Rig::up();
    rig.mmio(0xc214, 1 << 26);
    rig.submit(COMPUTE, &mixed());
    let mut steps = 0;
    while rig.step(&mut { budget }) == CpStep::Progress {
        steps += 1;
        assert!(steps < 100_000, "no progress");
    }
    assert_eq!(rig.bus.faults, 0);
    (rig.bus.memory, rig.events)
}

#[test]
fn many_small_steps_do_what_one_does() {
    let whole = run_with(Budget {
        packets: 1000,
        bytes: 1 << 30,
    });
    assert!(matches!(
        whole.1[..],
        [CpEvent::Fence { .. }, CpEvent::EndOfPipe { .. }]
    ));
    for (packets, bytes) in [(1, 1 << 30), (1000, 1), (3, 777), (1000, 0x1003)] {
        assert!(
            run_with(Budget { packets, bytes }) == whole,
            "{packets} packets, {bytes} bytes"
        );
    }
}

/// Dwords that are likely to be packets.
fn dword() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => (any::<u8>(), 0_u32..12).prop_map(|(op, count)| 3 << 30 | count << 16 | u32::from(op) << 8),
        2 => prop::sample::select(vec![
            opcode::WRITE_DATA, opcode::COPY_DATA, opcode::WAIT_REG_MEM, opcode::INDIRECT_BUFFER, opcode::DMA_DATA,
            opcode::RELEASE_MEM, opcode::COND_EXEC, opcode::MAP_QUEUES, opcode::UNMAP_QUEUES, opcode::SET_UCONFIG_REG,
        ])
        .prop_flat_map(|op| (0_u32..10).prop_map(move |count| 3 << 30 | count << 16 | u32::from(op) << 8)),
        3 => 0_u32..0x4_0000,
        1 => any::<u32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_ring_contents_panic_or_exceed_the_budget(
        ring in prop::collection::vec(dword(), 1..400),
        packets in 1_u32..200,
        bytes in 1_u64..0x1_0000,
    ) {
        let mut rig = Rig::up();
        rig.bus.set_dwords(0, &ring);
        for queue in [KIQ, COMPUTE, GFX] {
            rig.submit(queue, &ring);
        }
        for _ in 0..20 {
            let before = rig.cp.stats().clone();
            let mut budget = Budget { packets, bytes };
            rig.step(&mut budget);
            let after = rig.cp.stats();
            prop_assert!(after.packets - before.packets <= u64::from(packets));
            prop_assert!(after.bytes - before.bytes <= bytes + 0x1_0004);
            prop_assert!(rig.events.len() <= 20 * packets as usize);
            prop_assert!(rig.cp.queues().all(|queue| queue.indirect.len() <= 4));
        }
    }

    #[test]
    fn no_register_writes_panic(writes in prop::collection::vec((0_usize..3000, any::<u32>()), 1..200)) {
        let mut rig = Rig::up();
        let offsets: Vec<u32> = mmio::RegisterBlock::files(&rig.bus.gfx)
            .iter()
            .flat_map(|file| file.offsets().map(mmio::RegOffset::byte))
            .collect();
        for (index, value) in writes {
            rig.mmio(offsets[index % offsets.len()], value);
            rig.step(&mut Budget { packets: 50, bytes: 0x1000 });
        }
    }
}
