//! Bring-up, tests and fences as the driver does them.

use gart::GpuVa;

use super::rig::*;
use crate::pm4::opcode;
use crate::*;

const SLOT: u64 = 0x1000;
const IB: u64 = 0x4000;

#[test]
fn the_kiq_starts_by_mmio_and_executes_its_ring() {
    let mut rig = Rig::new();
    rig.unhalt();
    rig.start_kiq();
    rig.bus.write_mmio(SCRATCH_REG0, 0xcafe_dead);
    rig.submit(KIQ, &scratch_test());
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
    assert_eq!(rig.bus.dword(rptr_at(KIQ)), 3);
}

#[test]
fn nothing_runs_while_the_mec_is_halted() {
    let mut rig = Rig::new();
    rig.start_kiq();
    rig.submit(KIQ, &scratch_test());
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0);
    rig.unhalt();
    rig.run();
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
}

#[test]
fn mapped_queues_pass_the_ring_test_and_show_in_their_windows() {
    let mut rig = Rig::up();
    assert_eq!(rig.cp.queue_mask(), 0xff);
    for queue in [COMPUTE, GFX] {
        rig.bus.write_mmio(SCRATCH_REG0, 0xcafe_dead);
        rig.submit(queue, &scratch_test());
        rig.run();
        assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef, "{queue}");
        assert_eq!(rig.bus.dword(rptr_at(queue)), 3);
    }
    rig.select(COMPUTE);
    assert_eq!(rig.bus.read_mmio(CP_HQD_ACTIVE), 1);
    assert_eq!(rig.bus.read_mmio(0xc84c), 3, "CP_HQD_PQ_RPTR");
    rig.select(GFX);
    assert_eq!(rig.bus.read_mmio(0xc380), 1, "CP_GFX_HQD_ACTIVE");
    assert_eq!(rig.bus.read_mmio(0xc3c4), 3, "CP_GFX_HQD_WPTR");
}

fn interrupts(rig: &Rig) -> Vec<CpInterrupt> {
    rig.events.iter().filter_map(CpEvent::interrupt).collect()
}

/// `gfx_v10_0_ring_test_ib`, and what stands around an IB in a ring.
#[test]
fn an_ib_writes_its_value_then_the_fence_then_the_interrupt() {
    let mut rig = Rig::up();
    rig.mmio(0xc1a8, 1 << 26);
    let ib = write_memory(SLOT, &[0xdead_beef]);
    rig.bus.set_dwords(IB, &ib);
    let stream = [
        packet(opcode::CONTEXT_CONTROL, &[0x8000_0000, 0]),
        indirect(IB, ib.len() as u32, 1),
        fence(SLOT + 8, 7, true),
    ]
    .concat();
    rig.submit(GFX, &stream);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 0xdead_beef);
    assert_eq!(rig.bus.dword(SLOT + 8), 7);
    let [told, event] = rig.events[..] else {
        panic!("{:?}", rig.events)
    };
    let (queue, at) = (GFX, GpuVa::new(SLOT + 8));
    assert_eq!(told, CpEvent::Fence { queue, at, value: 7 });
    assert!(matches!(event, CpEvent::EndOfPipe { queue: GFX, .. }));
    let interrupt = event.interrupt().unwrap();
    assert_eq!(
        (interrupt.client, interrupt.source, interrupt.ring_id),
        (0x14, 181, 0)
    );
    assert_eq!(rig.cp.stats().indirect_buffers(gart::Vmid::from_field(1)), 1);
}

#[test]
fn a_fence_without_the_enable_of_its_pipe_does_not_interrupt() {
    let mut rig = Rig::up();
    rig.mmio(0xc218, 1 << 26); // MEC1 pipe 1, not 0
    rig.submit(COMPUTE, &fence(SLOT, 1, true));
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
    assert_eq!(interrupts(&rig).len(), 0);
    rig.mmio(0xc214, 1 << 26);
    rig.submit(COMPUTE, &fence(SLOT, 2, true));
    rig.submit(COMPUTE, &fence(SLOT, 3, false));
    rig.run();
    let rings: Vec<_> = interrupts(&rig)
        .iter()
        .map(|interrupt| interrupt.ring_id)
        .collect();
    assert_eq!(rings, [1 << 2]);
    assert_eq!(rig.cp.stats().end_of_pipe, (2, 1));
}

/// `amdgpu_kiq_rreg`, `amdgpu_kiq_wreg`.
#[test]
fn the_kiq_reads_and_writes_registers_and_fences() {
    let mut rig = Rig::up();
    rig.bus.write_mmio(0x8000, 0x55); // GRBM_CNTL
    let stream = [
        packet(
            opcode::COPY_DATA,
            &[5 << 8 | 1 << 20, 0x8000 / 4, 0, lo(SLOT), hi(SLOT)],
        ),
        packet(opcode::WRITE_DATA, &[1 << 16, SCRATCH_REG0 / 4 + 1, 0, 0x1234]),
        write_memory(SLOT + 4, &[1]),
    ]
    .concat();
    rig.submit(KIQ, &stream);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 0x55);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0 + 4), 0x1234);
    assert_eq!(rig.bus.dword(SLOT + 4), 1);
}

/// `gfx_v10_0_ring_emit_fence_kiq` of 6.12 and 7.3.
#[test]
fn a_kiq_fence_interrupts_through_cpc_int_status_if_generic2_is_enabled() {
    let mut rig = Rig::up();
    let signal = packet(opcode::WRITE_DATA, &[1 << 20, 0xc2d4 / 4, 0, 0x2000_0000]);
    rig.submit(KIQ, &signal);
    rig.run();
    assert!(rig.events.is_empty());
    rig.mmio(0xc228, 1 << 29); // CP_ME2_PIPE1_INT_CNTL
    rig.submit(KIQ, &signal);
    rig.run();
    assert_eq!(rig.events, [CpEvent::KiqFence { queue: KIQ }]);
    assert_eq!(rig.events[0].interrupt().unwrap().source, 178);
    assert_eq!(rig.bus.read_mmio(0xc2d4), 0);
}

/// `gmc_v10_0_emit_flush_gpu_tlb`.
#[test]
fn wait_reg_mem_operation_1_writes_the_request_and_waits_for_the_acknowledge() {
    let mut rig = Rig::up();
    let body = [
        3 | 1 << 6,
        INVALIDATE_REQ / 4,
        INVALIDATE_ACK / 4,
        0x00f8_0001,
        0x0001,
        0x20,
    ];
    rig.submit(
        KIQ,
        &[packet(opcode::WAIT_REG_MEM, &body), write_memory(SLOT, &[9])].concat(),
    );
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.others[&INVALIDATE_REQ], 0x00f8_0001);
    assert_eq!(rig.bus.dword(SLOT), 9);
}

#[test]
fn a_pasid_flush_reaches_the_device_before_the_fence_behind_it_is_written() {
    let mut rig = Rig::up();
    let flush = packet(opcode::INVALIDATE_TLBS, &[1 | 1 << 4 | 0x8001 << 5 | 2 << 29]);
    rig.submit(KIQ, &[flush, write_memory(SLOT, &[1])].concat());
    let step = rig.step(&mut Budget {
        packets: 100,
        bytes: 1 << 20,
    });
    assert_eq!(step, CpStep::Progress);
    assert_eq!(
        rig.events,
        [CpEvent::InvalidateTlb {
            pasid: 0x8001,
            all_hubs: true,
            flush_type: 2
        }]
    );
    assert_eq!(rig.bus.dword(SLOT), 0);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
}

#[test]
fn cond_exec_skips_what_its_dword_forbids() {
    let mut rig = Rig::up();
    let guarded = write_memory(SLOT, &[1]);
    let cond = |at| packet(opcode::COND_EXEC, &[lo(at), hi(at), 0, guarded.len() as u32]);
    rig.bus.set_dword(SLOT + 0x10, 0);
    rig.bus.set_dword(SLOT + 0x14, 1);
    rig.submit(
        GFX,
        &[cond(SLOT + 0x10), guarded.clone(), write_memory(SLOT + 4, &[2])].concat(),
    );
    rig.run();
    assert_eq!((rig.bus.dword(SLOT), rig.bus.dword(SLOT + 4)), (0, 2));
    rig.submit(GFX, &[cond(SLOT + 0x14), guarded.clone()].concat());
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
}

#[test]
fn a_ring_wraps_in_the_middle_of_a_packet() {
    let mut rig = Rig::up();
    for round in 1..=700 {
        rig.submit(
            COMPUTE,
            &[write_memory(SLOT, &[round]), vec![0xffff_1000; 2]].concat(),
        );
        rig.run();
        assert_eq!(rig.bus.dword(SLOT), round);
    }
    assert!(rig.wptr[&COMPUTE] > 4 * RING_DWORDS);
    assert_eq!(
        u64::from(rig.bus.dword(rptr_at(COMPUTE))),
        rig.wptr[&COMPUTE] % RING_DWORDS
    );
}

#[test]
fn a_packet_that_is_not_all_there_waits_for_the_rest() {
    let mut rig = Rig::up();
    let packet = write_memory(SLOT, &[5]);
    rig.submit(COMPUTE, &packet[..2]);
    assert_eq!(rig.run(), CpStep::Idle);
    rig.submit(COMPUTE, &packet[2..]);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 5);
}

#[test]
fn indirect_buffers_nest_and_chain_in_their_callers_context() {
    let mut rig = Rig::up();
    let leaf = write_memory(SLOT, &[1]);
    rig.bus.set_dwords(IB + 0x100, &leaf);
    let chained = write_memory(SLOT + 4, &[2]);
    rig.bus.set_dwords(IB + 0x200, &chained);
    let outer = [
        indirect(IB + 0x100, leaf.len() as u32, 9),
        packet(
            opcode::INDIRECT_BUFFER,
            &[lo(IB + 0x200), 0, chained.len() as u32 | 1 << 20],
        ),
        write_memory(SLOT + 8, &[3]),
    ]
    .concat();
    rig.bus.set_dwords(IB, &outer);
    rig.submit(GFX, &indirect(IB, outer.len() as u32, 2));
    assert_eq!(rig.run(), CpStep::Idle);
    let results: Vec<u32> = (0..3).map(|slot| rig.bus.dword(SLOT + slot * 4)).collect();
    assert_eq!(results, [1, 2, 0], "what follows a chain is never reached");
    assert_eq!(rig.cp.stats().indirect_buffers(gart::Vmid::from_field(2)), 3);
    assert_eq!(rig.cp.stats().indirect_buffers(gart::Vmid::from_field(9)), 0);
}

#[test]
fn dma_data_copies_and_fills() {
    let mut rig = Rig::up();
    rig.bus.set_dwords(0x8000, &[0x1111_1111, 0x2222_2222]);
    rig.submit(
        GFX,
        &[
            packet(opcode::DMA_DATA, &[0, 0x8000, 0, 0x9000, 0, 8]),
            packet(opcode::DMA_DATA, &[2 << 29, 0xabcd_ef01, 0, 0xa000, 0, 0x2_0000]),
            packet(opcode::DMA_DATA, &[3 << 29 | 2 << 20, 0x8000, 0, 0x9100, 0, 8]),
        ]
        .concat(),
    );
    rig.run();
    assert_eq!(
        (rig.bus.dword(0x9000), rig.bus.dword(0x9004)),
        (0x1111_1111, 0x2222_2222)
    );
    assert_eq!(
        (rig.bus.dword(0xa000), rig.bus.dword(0x2_9ffc)),
        (0xabcd_ef01, 0xabcd_ef01)
    );
    assert_eq!((rig.bus.dword(0x2_a000), rig.bus.dword(0x9100)), (0, 0));
}

#[test]
fn copy_data_takes_immediates_clock_and_memory() {
    let mut rig = Rig::up();
    rig.bus.set_dwords(SLOT, &[0x33, 0x44]);
    let copy = |control: u32, from: u64, to: u64| {
        packet(opcode::COPY_DATA, &[control, lo(from), hi(from), lo(to), hi(to)])
    };
    rig.submit(
        COMPUTE,
        &[
            copy(1 | 5 << 8 | 1 << 16, SLOT, SLOT + 0x10),
            copy(5 | 5 << 8, 0x77, SLOT + 0x20),
            copy(9 | 5 << 8 | 1 << 16, 0, SLOT + 0x30),
            copy(1, SLOT, u64::from(SCRATCH_REG0 / 4)),
        ]
        .concat(),
    );
    rig.run();
    assert_eq!(
        (rig.bus.dword(SLOT + 0x10), rig.bus.dword(SLOT + 0x14)),
        (0x33, 0x44)
    );
    assert_eq!(rig.bus.dword(SLOT + 0x20), 0x77);
    assert_ne!(rig.bus.dword(SLOT + 0x30), 0);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0x33);
}

#[test]
fn fences_of_query_status_and_of_a_preemption_without_unmap_are_written() {
    let mut rig = Rig::up();
    let unmap = packet(
        opcode::UNMAP_QUEUES,
        &[3 | 1 << 29 | 4 << 26, GFX_DOORBELL << 2, lo(SLOT), hi(SLOT), 5],
    );
    let query = packet(
        opcode::QUERY_STATUS,
        &[2 << 30, GFX_DOORBELL << 2, lo(SLOT + 8), 0, 6, 7],
    );
    rig.submit(KIQ, &[unmap, query].concat());
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 5);
    assert_eq!((rig.bus.dword(SLOT + 8), rig.bus.dword(SLOT + 12)), (6, 7));
    assert!(rig.cp.queue(GFX).is_some());
}

#[test]
fn packets_without_a_model_are_passed_by_their_length_and_counted() {
    let mut rig = Rig::up();
    let stream = [
        packet(opcode::PREAMBLE_CNTL, &[2 << 28]),
        packet(opcode::DRAW_INDEX_AUTO, &[3, 0]),
        packet(opcode::RUN_CLEANER_SHADER, &[0]),
        packet(opcode::WRITE_DATA, &[8 << 8 | 1 << 20, 0x40, 0, 1, 2, 3]),
        packet(opcode::NOP, &[0, 0, 0]),
        vec![0x8000_0000, 0xffff_1000],
        write_memory(SLOT, &[1]),
    ]
    .concat();
    rig.submit(GFX, &stream);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
    assert_eq!(rig.bus.dword(0x40), 0);
    assert_eq!(rig.cp.stats().unmodelled, 1);
    assert!(
        rig.cp
            .stats()
            .opcodes()
            .any(|entry| entry == ("DRAW_INDEX_AUTO", 1))
    );
}

#[test]
fn the_write_pointer_comes_from_the_register_or_from_memory_without_a_doorbell() {
    let mut rig = Rig::up();
    rig.place(COMPUTE, &write_memory(SLOT, &[1]));
    rig.select(COMPUTE);
    rig.mmio(0xc8fc, 5);
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 1);
    rig.place(COMPUTE, &write_memory(SLOT, &[2]));
    assert_eq!(rig.run(), CpStep::Idle);
    assert_eq!(rig.bus.dword(SLOT), 1);
    rig.mmio(0xc210, 1); // CP_PQ_WPTR_POLL_CNTL1: MEC1 pipe 0 queue 0, once
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 2);
    rig.mmio(0xc20c, 1 << 31); // CP_PQ_WPTR_POLL_CNTL.EN
    rig.place(COMPUTE, &write_memory(SLOT, &[3]));
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 3);
}

#[test]
fn while_write_pointers_are_polled_the_processor_is_never_idle() {
    let mut rig = Rig::up();
    rig.mmio(0xc20c, 1 << 31);
    assert_eq!(rig.run(), CpStep::Waiting);
}

#[test]
fn queues_and_counters_are_shown_with_names() {
    let mut rig = Rig::up();
    rig.submit(GFX, &wait_memory(SLOT, 7));
    rig.run();
    let view = serde_json::to_value(rig.cp.queue(GFX).unwrap()).unwrap();
    assert_eq!(view["queue"], "0.0.0");
    assert_eq!(
        view["state"],
        "waiting: VMID 0 memory 0x1000 & 0xffffffff Equal 0x7"
    );
    let stats = serde_json::to_value(rig.cp.stats()).unwrap();
    assert_eq!(stats["opcodes"]["MAP_QUEUES"], 2);
    assert_eq!(stats["opcodes"]["WAIT_REG_MEM"], 1);
}

/// `hiq_mqd_load_v10_3`: KFD's scheduler queue, mapped with ENGINE_SEL 1 on MEC2 pipe 0.
#[test]
fn kfds_hiq_is_mapped_and_answers_a_query() {
    const HIQ: QueueId = QueueId::new(2, 0, 0);
    const HIQ_DOORBELL: u32 = 0x3000 / 4;
    let mut rig = Rig::up();
    rig.write_mqd(HIQ, HIQ_DOORBELL);
    let mut packet_map = map(HIQ, HIQ_DOORBELL);
    packet_map[1] |= 1 << 26;
    rig.submit(KIQ, &packet_map);
    rig.run();
    assert_eq!(rig.cp.queue(HIQ).unwrap().setup.doorbell, Some(HIQ_DOORBELL));
    rig.place(
        HIQ,
        &[
            packet(opcode::RUN_LIST, &[0; 3]),
            packet(opcode::QUERY_STATUS, &[2 << 30, 0, lo(SLOT), hi(SLOT), 0x55, 0]),
        ]
        .concat(),
    );
    assert!(rig.cp.doorbell(HIQ_DOORBELL, rig.wptr[&HIQ]));
    rig.run();
    assert_eq!(rig.bus.dword(SLOT), 0x55);
    // "All" means user queues: the kernel's stay.
    rig.submit(KIQ, &packet(opcode::UNMAP_QUEUES, &[2 << 4, 0, 0, 0, 0]));
    rig.run();
    assert_eq!(rig.cp.queues().count(), 4);
}

/// `gfx_v10_0_cp_gfx_start`: clear state with its context registers, then SET_BASE.
#[test]
fn the_clear_state_preamble_sets_context_registers() {
    let mut rig = Rig::up();
    let stream = [
        packet(opcode::PREAMBLE_CNTL, &[2 << 28]),
        packet(opcode::CONTEXT_CONTROL, &[0x8000_0000, 0x8000_0000]),
        packet(opcode::SET_CONTEXT_REG, &[0, 1, 2, 3]),
        packet(opcode::SET_CONTEXT_REG, &[0x3ff, 4, 5]),
        packet(opcode::PREAMBLE_CNTL, &[3 << 28]),
        packet(opcode::CLEAR_STATE, &[0]),
        packet(opcode::SET_BASE, &[3, 0x8000, 0x8000]),
        scratch_test(),
    ]
    .concat();
    rig.submit(GFX, &stream);
    rig.run();
    assert_eq!(rig.bus.read_mmio(0x2_8008), 3);
    assert_eq!(rig.bus.read_mmio(0x2_8ffc), 4);
    assert_eq!(rig.bus.read_mmio(0x2_9000), 0, "beyond the range of the packet");
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0), 0xdead_beef);
}
