//! What each packet leaves behind.

use gart::{GpuVa, Vmid};

use super::fake::{Gpu, RING_BYTES};
use super::packets::*;
use crate::{EngineEvent, HaltReason, PacketKind, PtePacket, Step, offset};

const DATA: u64 = 0x10_0000;
const IB: u64 = 0x4_0000;

/// Puts a program into a buffer of a context and returns the INDIRECT packet for it.
fn ib(gpu: &mut Gpu, vmid: u32, program: &[Vec<u32>]) -> Vec<u32> {
    let dwords = program.concat();
    gpu.poke(vmid, IB, &dwords);
    indirect(vmid, IB, dwords.len() as u32)
}

#[test]
fn ring_test_writes_its_value_and_moves_the_read_pointer() {
    let mut gpu = Gpu::new();
    assert_eq!(gpu.execute(&write(DATA, &[0xdead_beef])), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 0xdead_beef);
    assert_eq!(gpu.written_back(), 20);
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 20);
}

#[test]
fn ib_test_reads_its_buffer_and_data_in_the_job_s_vmid() {
    let mut gpu = Gpu::new();
    let job = ib(&mut gpu, 2, &[write(DATA, &[0xdead_beef]), nop(2)]);
    gpu.execute(&[job, fence(DATA, 7)].concat());
    assert_eq!(gpu.dword(2, DATA), 0xdead_beef);
    assert_eq!(gpu.dword(0, DATA), 7, "the fence belongs to the ring's context");
}

#[test]
fn sdma_copy_moves_every_byte_and_no_other() {
    let mut gpu = Gpu::new();
    gpu.poke(0, DATA, &[0x0302_0100, 0x0706_0504]);
    gpu.execute(&copy(DATA + 1, DATA + 0x1ffe, 5));
    assert_eq!(gpu.bytes(0, DATA + 0x1ffd, 7), [0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(gpu.engine.stats().copy_bytes, 5);
}

#[test]
fn sdma_copy_into_itself_repeats_what_lies_before() {
    let mut gpu = Gpu::new();
    gpu.poke(0, DATA, &[0x0003_0201]);
    gpu.execute(&copy(DATA, DATA + 3, 10));
    assert_eq!(gpu.bytes(0, DATA, 14), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 0]);
}

#[test]
fn sdma_fill_repeats_its_pattern_whatever_fillsize_says() {
    for fillsize in [0, 2] {
        let mut gpu = Gpu::new();
        gpu.execute(&fill(DATA, 0x0403_0201, 10, fillsize));
        assert_eq!(gpu.bytes(0, DATA, 11), [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 0]);
    }
}

#[test]
fn sdma_pte_pde_writes_a_run_of_entries_with_flags() {
    let mut gpu = Gpu::new();
    // An entry before a page boundary, so that the run crosses it.
    let table = DATA + 0xff8;
    gpu.execute(&pte_pde(
        table,
        0x8000_0000_0000_0077,
        0x1_2345_6000,
        0x1000,
        1000,
    ));
    for i in 0..1000 {
        let expected = (0x1_2345_6000 + i * 0x1000) | 0x8000_0000_0000_0077;
        assert_eq!(gpu.qword(0, table + 8 * i), expected, "entry {i}");
    }
    assert_eq!(gpu.qword(0, table + 8000), 0);
    let expected = EngineEvent::PageTableUpdate {
        kind: PtePacket::SetPtePde,
        dst: GpuVa::new(table),
        entries: 1000,
        vmid: Vmid::KERNEL,
    };
    assert_eq!(gpu.events, [expected]);
}

#[test]
fn page_table_writes_are_told_apart_from_other_ones() {
    let mut gpu = Gpu::new();
    // `amdgpu_vm_sdma_update` puts entries behind the packets, outside of the length of the buffer.
    gpu.poke(0, IB + 0x300, &[0x77, 0, 0x1077, 0]);
    let update = [
        write(DATA, &[0x3077, 0]),
        copy(IB + 0x300, DATA + 8, 16),
        pte_pde(DATA + 24, 0x77, 0x5000, 0x1000, 3),
        copy(DATA, DATA + 0x8000, 40), // a buffer move: not from the buffer
        write(DATA + 0x1000, &[1]),    // a ring test: half an entry
    ];
    let job = ib(&mut gpu, 0, &update);
    gpu.execute(&job);
    let kinds: Vec<_> = gpu
        .events
        .iter()
        .filter_map(|event| match event {
            EngineEvent::PageTableUpdate { kind, entries, .. } => Some((*kind, *entries)),
            EngineEvent::Copied { .. } => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (PtePacket::Write, 1),
            (PtePacket::Copy, 2),
            (PtePacket::SetPtePde, 3)
        ]
    );
    assert_eq!(gpu.qword(0, DATA + 16), 0x1077);
    let stats = gpu.engine.stats();
    assert_eq!(
        (stats.page_tables.set_packets, stats.page_tables.set_entries),
        (1, 3)
    );
    assert_eq!(
        (stats.page_tables.write_packets, stats.page_tables.write_qwords),
        (2, 1)
    );
    assert_eq!(
        (stats.page_tables.copy_packets, stats.page_tables.copy_bytes),
        (1, 16)
    );
    assert_eq!(stats.copy_bytes, 40);
    assert_eq!(stats.packets(PacketKind::WriteLinear), 2);
}

#[test]
fn user_vmids_write_no_page_tables() {
    let mut gpu = Gpu::new();
    let job = ib(
        &mut gpu,
        1,
        &[pte_pde(DATA, 1, 0, 0x1000, 4), write(DATA, &[1, 2])],
    );
    gpu.execute(&job);
    assert_eq!(gpu.events, []);
    assert_eq!(gpu.engine.stats().page_tables.set_packets, 0);
}

#[test]
fn a_copy_that_could_be_a_table_is_told_once_it_is_over() {
    let mut gpu = Gpu::new();
    gpu.memory.hole(DATA + 0x2_0000, DATA + 0x2_1000);
    gpu.execute(
        &[
            copy(DATA, DATA + 0x1000, 4096),
            copy(DATA, DATA + 0x1000, 4092),            // not whole entries
            copy(DATA + 0x2_0000, DATA + 0x1000, 4096), // faults
        ]
        .concat(),
    );
    let expected = EngineEvent::Copied {
        src: GpuVa::new(DATA),
        dst: GpuVa::new(DATA + 0x1000),
        bytes: 4096,
        vmid: Vmid::KERNEL,
    };
    assert_eq!(gpu.events, [expected]);
}

#[test]
fn of_moves_of_buffers_nothing_is_told() {
    let mut gpu = Gpu::new();
    let bytes = u32::try_from(EngineEvent::LARGEST_TABLE).unwrap();
    gpu.execute(&copy(0, 0x8_0000, bytes + 8));
    // A user's copy is no table, whatever its size.
    let job = ib(&mut gpu, 1, &[copy(DATA, DATA + 0x1000, 4096)]);
    gpu.execute(&job);
    assert_eq!(gpu.events, []);
}

#[test]
fn sdma_fence_crossing_a_page_writes_both_pages() {
    let mut gpu = Gpu::new();
    gpu.execute(&fence(DATA + 0xffe, 0x4433_2211));
    assert_eq!(gpu.bytes(0, DATA + 0xffd, 6), [0, 0x11, 0x22, 0x33, 0x44, 0]);
}

#[test]
fn trap_comes_after_its_data_and_fence() {
    let mut gpu = Gpu::new();
    gpu.execute(&[write(DATA, &[1, 2]), fence(DATA + 8, 3), trap(5)].concat());
    let vmid = Vmid::KERNEL;
    assert!(matches!(gpu.events[0], EngineEvent::PageTableUpdate { .. }));
    let at = GpuVa::new(DATA + 8);
    assert_eq!(
        gpu.events[1..],
        [
            EngineEvent::Fence { at, value: 3, vmid },
            EngineEvent::Trap { context: 5, vmid }
        ]
    );
    assert_eq!(gpu.dword(0, DATA + 8), 3);
    assert_eq!(gpu.engine.stats().traps, 1);
}

#[test]
fn trap_is_silent_unless_enabled() {
    let mut gpu = Gpu::new();
    gpu.change(offset::CNTL, 1, 0);
    gpu.execute(&trap(0));
    assert_eq!(gpu.events, []);
    assert_eq!(gpu.engine.stats().packets(PacketKind::Trap), 1);
}

#[test]
fn trap_context_has_28_bits() {
    let mut gpu = Gpu::new();
    gpu.execute(&trap(0xffff_ffff));
    let vmid = Vmid::KERNEL;
    assert_eq!(
        gpu.events,
        [EngineEvent::Trap {
            context: 0x0fff_ffff,
            vmid
        }]
    );
}

#[test]
fn cond_exe_executes_or_skips() {
    for (condition, expected) in [(1, 5), (0, 0)] {
        let mut gpu = Gpu::new();
        gpu.poke(0, DATA, &[condition]);
        gpu.execute(&[cond_exe(DATA, 4), fence(DATA + 4, 5), fence(DATA + 8, 6)].concat());
        assert_eq!(gpu.dword(0, DATA + 4), expected);
        assert_eq!(gpu.dword(0, DATA + 8), 6);
    }
}

#[test]
fn cond_exe_waits_for_what_it_skips() {
    let mut gpu = Gpu::new();
    assert_eq!(gpu.execute(&cond_exe(DATA, 4)), Step::Idle);
    assert_eq!(gpu.written_back(), 0);
    gpu.execute(&[fence(DATA + 4, 5), fence(DATA + 8, 6)].concat());
    assert_eq!((gpu.dword(0, DATA + 4), gpu.dword(0, DATA + 8)), (0, 6));
    assert_eq!(gpu.written_back(), gpu.wptr);
}

#[test]
fn srbm_write_honours_its_byte_enables() {
    let mut gpu = Gpu::new();
    gpu.execute(&srbm_write(0xa31c, 0x1122_3344, 0xf));
    gpu.execute(&srbm_write(0xa31c, 0xaabb_ccdd, 0b0101));
    gpu.execute(&srbm_write(0xa320, 0xffff_ffff, 0));
    let values: Vec<_> = gpu.writes.iter().map(|(at, value)| (at.byte(), *value)).collect();
    assert_eq!(values, [(0xa31c, 0x1122_3344), (0xa31c, 0x11bb_33dd)]);
}

#[test]
fn register_write_ends_the_step_so_that_its_effects_come_first() {
    let mut gpu = Gpu::new();
    gpu.submit(&[srbm_write(0xa31c, 1, 0xf), fence(DATA, 1)].concat());
    assert_eq!(gpu.step(&mut super::fake::PLENTY.clone()), Step::Progress);
    assert_eq!(gpu.dword(0, DATA), 0);
    assert_eq!(gpu.run(), Step::Idle);
    assert_eq!(gpu.dword(0, DATA), 1);
}

#[test]
fn engine_that_halts_itself_stops_behind_the_packet() {
    let mut gpu = Gpu::new();
    let f32_cntl = 0x4a28;
    gpu.execute(&[srbm_write(f32_cntl, 1, 0xf), fence(DATA, 1)].concat());
    assert_eq!(gpu.dword(0, DATA), 0);
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 12);
    gpu.set(offset::F32_CNTL, 0);
    gpu.run();
    assert_eq!(gpu.dword(0, DATA), 1);
    assert_eq!(
        gpu.engine.stats().packets(PacketKind::SrbmWrite),
        1,
        "not replayed"
    );
}

#[test]
fn timestamps_count_the_reference_clock() {
    let mut gpu = Gpu::new();
    gpu.now = std::time::Duration::from_micros(3);
    gpu.execute(&[timestamp(2, DATA), timestamp(0, 1 << 40), timestamp(1, DATA + 8)].concat());
    assert_eq!(gpu.qword(0, DATA), 300);
    assert_eq!(gpu.qword(0, DATA + 8), 1 << 40);
    gpu.now = std::time::Duration::from_micros(4);
    gpu.execute(&timestamp(1, DATA + 8));
    assert_eq!(gpu.qword(0, DATA + 8), (1 << 40) + 100);
}

#[test]
fn atomics_compute_in_their_width() {
    let minus_one = u64::MAX;
    let cases: &[(u32, u64, u64, u64)] = &[
        (0x47, 5, 9, 9),
        (0x4f, 0xffff_ffff, 2, 1),
        (0x6f, 0xffff_ffff, 2, 0x1_0000_0001),
        (0x50, 1, 2, 0xffff_ffff),
        (0x70, 1, 2, minus_one),
        (0x71, minus_one, 1, minus_one),
        (0x72, minus_one, 1, 1),
        (0x73, minus_one, 1, 1),
        (0x74, minus_one, 1, minus_one),
        (0x55, 0b1100, 0b1010, 0b1000),
        (0x56, 0b1100, 0b1010, 0b1110),
        (0x57, 0b1100, 0b1010, 0b0110),
        (0x58, 4, 4, 0),
        (0x58, 3, 4, 4),
        (0x59, 0, 4, 4),
        (0x59, 5, 4, 4),
        (0x59, 4, 4, 3),
        (0x0f, 1, 1, 2), // with return
    ];
    for &(number, old, operand, expected) in cases {
        let mut gpu = Gpu::new();
        gpu.poke(
            0,
            DATA,
            &[
                old as u32,
                if number & 0x20 != 0 { (old >> 32) as u32 } else { 0 },
            ],
        );
        gpu.execute(&atomic(number, DATA, operand, 0, false));
        assert_eq!(
            gpu.qword(0, DATA),
            expected,
            "operation {number:#x} on {old:#x}, {operand:#x}"
        );
    }
}

#[test]
fn compare_swap_swaps_only_what_it_expects() {
    let mut gpu = Gpu::new();
    gpu.poke(0, DATA, &[5]);
    gpu.execute(&atomic(0x48, DATA, 9, 4, false));
    assert_eq!(gpu.dword(0, DATA), 5);
    gpu.execute(&atomic(0x48, DATA, 9, 5, false));
    assert_eq!(gpu.dword(0, DATA), 9);
}

#[test]
fn nops_of_any_length_and_cache_operations_do_nothing() {
    let mut gpu = Gpu::new();
    gpu.execute(&[nop(0), nop(7), gcr_req(), fence(DATA, 1)].concat());
    assert_eq!(gpu.dword(0, DATA), 1);
    assert_eq!(gpu.engine.stats().packets(PacketKind::Nop), 2);
    assert_eq!(gpu.engine.stats().packets(PacketKind::GcrReq), 1);
    assert_eq!(gpu.engine.stats().all_packets(), 4);
}

#[test]
fn ring_wraps_inside_packets_and_inside_data() {
    let mut gpu = Gpu::new();
    for round in 0..600_u32 {
        let data: Vec<u32> = (0..10).map(|i| round * 16 + i).collect();
        gpu.execute(&[write(DATA, &data), nop(0)].concat());
        let read: Vec<u32> = (0..10).map(|i| gpu.dword(0, DATA + 4 * i)).collect();
        assert_eq!(read, data);
    }
    assert!(gpu.wptr > 8 * RING_BYTES);
    assert_eq!(gpu.written_back(), gpu.wptr, "a byte count that does not wrap");
}

#[test]
fn packet_cut_off_by_the_write_pointer_waits_for_the_rest() {
    let mut gpu = Gpu::new();
    let packet = write(DATA, &[1, 2, 3]);
    for dword in &packet {
        assert_eq!(gpu.dword(0, DATA), 0);
        assert_eq!(gpu.execute(&[*dword]), Step::Idle);
    }
    assert_eq!(gpu.dword(0, DATA + 8), 3);
    assert_eq!(gpu.engine.stats().all_packets(), 1);
}

#[test]
fn unknown_packet_stops_the_engine_until_reset() {
    let mut gpu = Gpu::new();
    let reason = HaltReason::UnknownPacket {
        header: 0xfe,
        vmid: Vmid::KERNEL,
    };
    let step = gpu.execute(&[nop(0), vec![0xfe], fence(DATA, 1)].concat());
    assert_eq!(step, Step::Halted(reason));
    assert_eq!(gpu.run(), Step::Halted(reason), "sticky");
    assert_eq!(gpu.events, [EngineEvent::Halted(reason)], "told once");
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 4, "at the packet");
    assert_eq!(gpu.get(offset::STATUS_REG) & 1, 0, "not idle");
    assert_eq!(gpu.get(offset::STATUS2_REG) >> 16, 0xfe);
    assert_ne!(gpu.get(offset::GFX_CONTEXT_STATUS) & 0x70, 0);
    gpu.registers.soft_reset();
    gpu.engine.reset();
    gpu.resume(0);
    gpu.execute(&fence(DATA, 1));
    assert_eq!(gpu.dword(0, DATA), 1);
}

#[test]
fn indirect_inside_a_buffer_stops_the_engine() {
    let mut gpu = Gpu::new();
    let job = ib(&mut gpu, 1, &[nop(0), indirect(1, IB, 8)]);
    let vmid = Vmid::from_field(1);
    assert_eq!(
        gpu.execute(&job),
        Step::Halted(HaltReason::NestedIndirect { vmid })
    );
    assert_eq!(gpu.get(offset::GFX_RB_RPTR), 0, "still at INDIRECT");
    assert_eq!(gpu.get(offset::GFX_IB_OFFSET), 4);
    assert_eq!(gpu.get(offset::GFX_IB_BASE_LO), IB as u32);
}

#[test]
fn buffer_that_ends_inside_a_packet_stops_the_engine() {
    for (program, length) in [(fence(DATA, 1), 3), (write(DATA, &[1, 2]), 5)] {
        let mut gpu = Gpu::new();
        gpu.poke(1, IB, &program);
        let step = gpu.execute(&indirect(1, IB, length));
        assert!(
            matches!(step, Step::Halted(HaltReason::TruncatedIb { .. })),
            "{step:?}"
        );
    }
}

#[test]
fn empty_buffer_and_padding_beyond_its_end_are_harmless() {
    let mut gpu = Gpu::new();
    gpu.poke(1, IB, &nop(7));
    gpu.execute(&[indirect(1, IB, 0), indirect(1, IB, 4), fence(DATA, 1)].concat());
    assert_eq!(gpu.dword(0, DATA), 1);
}

#[test]
fn indirect_waits_until_buffers_are_enabled() {
    let mut gpu = Gpu::new();
    gpu.set(offset::GFX_IB_CNTL, 0);
    let job = ib(&mut gpu, 1, &[write(DATA, &[1])]);
    assert_eq!(gpu.execute(&job), Step::Idle);
    assert_eq!(gpu.dword(1, DATA), 0);
    gpu.set(offset::GFX_IB_CNTL, 1);
    gpu.run();
    assert_eq!(gpu.dword(1, DATA), 1);
}

#[test]
fn faulting_destination_ends_its_packet_and_not_the_ring() {
    let mut gpu = Gpu::new();
    gpu.memory.hole(DATA + 0x1000, DATA + 0x2000);
    gpu.execute(&[fill(DATA, 0x0101_0101, 0x3000, 0), fence(DATA + 0x8000, 1)].concat());
    assert_eq!(gpu.bytes(0, DATA + 0xfff, 1), [1]);
    assert_eq!(gpu.bytes(0, DATA + 0x2000, 1), [0], "dropped from the fault on");
    assert_eq!(gpu.dword(0, DATA + 0x8000), 1);
    assert_eq!((gpu.memory.faults.len(), gpu.engine.stats().faults), (1, 1));
}

#[test]
fn page_of_a_buffer_that_faults_reads_as_nops() {
    let mut gpu = Gpu::new();
    gpu.memory.hole(IB, IB + 0x1000);
    gpu.poke(1, IB + 0x1000, &fence(DATA, 1));
    assert_eq!(gpu.execute(&indirect(1, IB, 1024 + 4)), Step::Idle);
    assert_eq!(gpu.dword(1, DATA), 1);
    assert_eq!(
        gpu.memory.faults.len(),
        1,
        "one for the page, not one for each NOP"
    );
}

#[test]
fn fetching_never_touches_a_page_behind_the_packet() {
    let mut gpu = Gpu::new();
    gpu.memory.hole(IB + 0x1000, IB + 0x2000);
    gpu.poke(1, IB + 0xff0, &fence(DATA, 1));
    gpu.execute(&indirect(1, IB + 0xfe0, 8));
    assert_eq!(gpu.dword(1, DATA), 1);
    assert_eq!(gpu.memory.faults, []);
}
