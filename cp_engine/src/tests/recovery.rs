//! Blocked queues, and the ways to get rid of them.

use gart::Vmid;
use mmio::RegisterBlock;

use super::rig::*;
use crate::*;

const SLOT: u64 = 0x1000;
const FLAG: u64 = 0x1100;

fn blocked() -> Rig {
    let mut rig = Rig::up();
    rig.submit(GFX, &[wait_memory(FLAG, 1), write_memory(SLOT, &[1])].concat());
    assert_eq!(rig.run(), CpStep::Waiting);
    assert!(matches!(rig.state(GFX), QueueState::Waiting(_)));
    rig
}

#[test]
fn a_poll_that_is_not_met_blocks_its_queue_alone_and_for_as_long_as_it_takes() {
    let mut rig = blocked();
    rig.submit(COMPUTE, &write_memory(SLOT + 4, &[2]));
    for _ in 0..100 {
        assert_eq!(rig.run(), CpStep::Waiting);
    }
    assert_eq!((rig.bus.dword(SLOT), rig.bus.dword(SLOT + 4)), (0, 2));
    rig.bus.set_dword(FLAG, 1);
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.dword(SLOT), 1);
}

#[test]
fn an_unmapped_queue_forgets_its_poll_and_starts_afresh() {
    let mut rig = blocked();
    rig.submit(KIQ, &unmap(GFX_DOORBELL, 1));
    assert_eq!(rig.run(), CpStep::Idle);
    assert!(rig.cp.queue(GFX).is_none());
    assert_eq!(rig.bus.dword(mqd_at(GFX) + 0x82 * 4), 0, "the MQD says inactive");
    rig.select(GFX);
    assert_eq!(rig.bus.read_mmio(0xc380), 0, "CP_GFX_HQD_ACTIVE");
    assert!(!rig.cp.doorbell(GFX_DOORBELL, 100));
    rig.write_mqd(GFX, GFX_DOORBELL);
    rig.submit(KIQ, &map(GFX, GFX_DOORBELL));
    rig.run();
    rig.submit(GFX, &scratch_test());
    rig.run();
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
    assert_eq!(rig.bus.dword(SLOT), 0);
}

/// `gfx_v10_0_reset_kcq`.
#[test]
fn a_compute_queue_is_reset_by_an_unmap_and_reads_inactive() {
    let mut rig = Rig::up();
    rig.submit(COMPUTE, &wait_memory(FLAG, 1));
    rig.run();
    rig.submit(KIQ, &[unmap(COMPUTE_DOORBELL, 1), scratch_test()].concat());
    rig.run();
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
    rig.select(COMPUTE);
    assert_eq!(rig.bus.read_mmio(CP_HQD_ACTIVE), 0);
}

/// `gfx_v10_0_reset_kgq` of 7.3: CP_VMID_RESET, then polls of the MQD's active flag and of the register.
#[test]
fn a_graphics_queue_is_reset_through_cp_vmid_reset() {
    use crate::pm4::opcode;
    let mut rig = blocked();
    let active = mqd_at(GFX) + 0x208;
    rig.submit(
        KIQ,
        &[
            packet(
                opcode::WRITE_DATA,
                &[1 << 16, CP_VMID_RESET / 4, 0, 1 << 16 | 1 << 3],
            ),
            packet(
                opcode::WAIT_REG_MEM,
                &[1 << 4 | 3, lo(active), hi(active), 0, 1, 0x20],
            ),
            packet(
                opcode::WAIT_REG_MEM,
                &[3, CP_VMID_RESET / 4, 0, 0, u32::MAX, 0x20],
            ),
            scratch_test(),
        ]
        .concat(),
    );
    assert_eq!(rig.run(), CpStep::Waiting, "the MQD is written in the next step");
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
    assert!(rig.cp.queue(GFX).is_none());
}

#[test]
fn without_per_queue_reset_a_hung_queue_stays_and_the_register_never_clears() {
    let mut rig = blocked();
    rig.bus.gfx.set_queue_reset(QueueKind::Graphics, false);
    rig.submit(KIQ, &unmap(GFX_DOORBELL, 1));
    rig.run();
    assert!(rig.cp.queue(GFX).is_some());
    assert_eq!(not_reset(&rig), 1, "the packet's reset is told");
    rig.mmio(CP_VMID_RESET, 1 << 16);
    assert_eq!(rig.bus.read_mmio(CP_VMID_RESET), 1 << 16);
    assert_eq!(not_reset(&rig), 2, "and the register's");
    rig.submit(KIQ, &unmap(GFX_DOORBELL, 0));
    rig.run();
    assert!(rig.cp.queue(GFX).is_none(), "preemption still works");
}

#[test]
fn a_dequeue_request_takes_the_kiq_off_and_it_can_be_started_again() {
    let mut rig = Rig::up();
    rig.select(KIQ);
    rig.mmio(0xc884, 1);
    assert_eq!(rig.bus.read_mmio(CP_HQD_ACTIVE), 0);
    assert_eq!(rig.bus.read_mmio(0xc884), 0);
    assert!(rig.cp.queue(KIQ).is_none());
    rig.start_kiq();
    rig.submit(KIQ, &scratch_test());
    rig.run();
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
}

#[test]
fn a_reset_drops_every_queue_and_what_it_was_doing() {
    let mut rig = blocked();
    rig.cp.reset();
    rig.bus.gfx.reset();
    assert_eq!(rig.cp.queues().count(), 0);
    rig.bus.set_dword(FLAG, 1);
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.dword(SLOT), 0);
    rig.select(KIQ);
    assert_eq!(rig.bus.read_mmio(CP_HQD_ACTIVE), 0);
}

#[test]
fn a_soft_reset_drops_the_queues_of_its_units() {
    let mut rig = Rig::up();
    rig.mmio(0x8020, 1 << 19); // CPG
    assert!(rig.cp.queue(GFX).is_none());
    assert!(rig.cp.queue(COMPUTE).is_some());
    rig.mmio(0x8020, 0);
    rig.mmio(0x8020, 1 << 0);
    assert_eq!(rig.cp.queues().count(), 0);
}

#[test]
fn a_blocked_queue_stops_for_good_when_its_context_is_disabled() {
    let mut rig = blocked();
    rig.cp.context_disabled(Vmid::KERNEL);
    rig.bus.set_dword(FLAG, 1);
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::ContextDisabled));
    assert_eq!(rig.bus.dword(SLOT), 0);
    assert_eq!(rig.state(COMPUTE), QueueState::Running);
}

#[test]
fn a_queue_may_unmap_itself() {
    let mut rig = Rig::up();
    rig.submit(
        COMPUTE,
        &[unmap(COMPUTE_DOORBELL, 0), write_memory(SLOT, &[1])].concat(),
    );
    assert_eq!(rig.run(), CpStep::Idle);
    assert!(rig.cp.queue(COMPUTE).is_none());
    assert_eq!(rig.bus.dword(SLOT), 0);
}

fn not_reset(rig: &Rig) -> usize {
    let told = |event: &&CpEvent| matches!(event, CpEvent::QueueNotReset { queue: GFX });
    rig.events.iter().filter(told).count()
}

fn long_waits(rig: &Rig) -> usize {
    let told = |event: &&CpEvent| matches!(event, CpEvent::LongWait { queue: COMPUTE, .. });
    rig.events.iter().filter(told).count()
}

#[test]
fn a_long_wait_is_told_once_and_the_next_one_again() {
    let mut rig = Rig::up();
    for value in [1, 2] {
        rig.submit(COMPUTE, &wait_memory(0x1000, value));
        assert_eq!(rig.run(), CpStep::Waiting);
        rig.clock += LONG_WAIT - 10;
        rig.run();
        assert_eq!(long_waits(&rig), value as usize - 1, "not yet");
        rig.clock += 100;
        for _ in 0..3 {
            assert_eq!(rig.run(), CpStep::Waiting);
        }
        assert_eq!(long_waits(&rig), value as usize);
        rig.bus.set_dwords(0x1000, &[value]);
        assert_eq!(rig.run(), CpStep::Idle);
    }
}

#[test]
fn a_poll_that_faults_is_told_at_once_for_it_is_not_repeated() {
    let mut rig = Rig::up();
    rig.bus.holes.insert((0, 1));
    rig.submit(COMPUTE, &wait_memory(0x1000, 1));
    rig.run();
    assert_eq!(long_waits(&rig), 1);
}

#[test]
fn a_queue_that_hangs_stands_in_front_of_its_packet_and_holds_up_nobody_else() {
    let mut rig = Rig::up();
    rig.submit(GFX, &write_memory(SLOT, &[1]));
    rig.run();
    let rptr = rig.cp.queue(GFX).unwrap().rptr;
    rig.bus.verdict = Some((GFX, QueueVerdict::Hang));
    rig.submit(GFX, &write_memory(SLOT, &[2]));
    rig.submit(COMPUTE, &write_memory(SLOT + 4, &[3]));
    rig.run();
    assert_eq!((rig.bus.dword(SLOT), rig.bus.dword(SLOT + 4)), (1, 3));
    assert_eq!(rig.state(GFX), QueueState::Halted(HaltReason::Hung));
    assert_eq!(rig.cp.queue(GFX).unwrap().rptr, rptr);
    rig.bus.verdict = None;
    rig.submit(GFX, &write_memory(SLOT, &[4]));
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.dword(SLOT), 1, "it does not come back by itself");
    rig.submit(KIQ, &unmap(GFX_DOORBELL, 1));
    rig.run();
    rig.write_mqd(GFX, GFX_DOORBELL);
    rig.submit(KIQ, &map(GFX, GFX_DOORBELL));
    rig.run();
    rig.submit(GFX, &write_memory(SLOT, &[5]));
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 5, "a reset of the queue helps");
}

#[test]
fn a_queue_can_be_hung_while_it_has_nothing_to_do() {
    let mut rig = Rig::up();
    assert_eq!(rig.cp.hang(|queue| queue == COMPUTE), 1);
    rig.submit(COMPUTE, &write_memory(SLOT, &[1]));
    rig.submit(GFX, &write_memory(SLOT + 4, &[2]));
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!((rig.bus.dword(SLOT), rig.bus.dword(SLOT + 4)), (0, 2));
}

#[test]
fn a_delayed_queue_waits_for_its_time_and_not_for_ever() {
    let mut rig = Rig::up();
    rig.bus.verdict = Some((GFX, QueueVerdict::Delay(100)));
    rig.submit(GFX, &write_memory(SLOT, &[1]));
    let start = rig.clock;
    while rig.clock < start + 100 {
        assert_eq!(rig.run(), CpStep::Waiting);
        assert_eq!(rig.bus.dword(SLOT), 0);
    }
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
}
