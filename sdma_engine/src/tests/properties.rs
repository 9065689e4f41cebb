//! What must hold for every program.

use std::time::Duration;

use proptest::prelude::*;

use super::fake::{Gpu, RING, RING_BYTES, SPACE};
use super::packets::*;
use crate::{Budget, Step};

const IB: u64 = 0x4_0000;
/// Programs read and write here, and cannot reach themselves.
const ARENA: u64 = 0x8_0000;

fn place() -> impl Strategy<Value = u64> {
    (0..0x4000_u64).prop_map(|at| ARENA + at)
}

fn packet() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        (0..20_u32).prop_map(nop),
        (place(), place(), 1..20_000_u32).prop_map(|(src, dst, bytes)| copy(src, dst, bytes)),
        (place(), 1..64_u64, 1..9000_u32).prop_map(|(src, by, bytes)| copy(src, src + by, bytes)),
        (place(), prop::collection::vec(any::<u32>(), 1..50)).prop_map(|(dst, data)| write(dst, &data)),
        (place(), any::<u32>()).prop_map(|(dst, value)| fence(dst, value)),
        any::<u32>().prop_map(trap),
        (place(), any::<u32>(), 1..20_000_u32).prop_map(|(dst, pattern, bytes)| fill(dst, pattern, bytes, 0)),
        (place(), any::<u64>(), any::<u64>(), any::<u32>(), 1..2000_u32)
            .prop_map(|(dst, flags, addr, by, count)| pte_pde(dst, flags, addr, by, count)),
        (
            place(),
            prop::sample::select(vec![0x47_u32, 0x4f, 0x70, 0x31, 0x58, 0x59]),
            any::<u64>()
        )
            .prop_map(|(at, number, operand)| atomic(number, at, operand, 0, false)),
        (place(), 0..12_u32).prop_map(|(at, skip)| cond_exe(at, skip)),
        (0..16_u32, any::<u32>(), 0..16_u32).prop_map(|(at, value, lanes)| srbm_write(
            0xa300 + at * 4,
            value,
            lanes
        )),
        Just(gcr_req()),
    ]
}

/// A GPU with the program in a buffer of VMID 1, between two fences in the ring.
fn prepared(program: &[Vec<u32>], seed: u8) -> Gpu {
    prepared_at(IB, program, seed)
}

/// The same with the buffer at another place.
fn prepared_at(ib: u64, program: &[Vec<u32>], seed: u8) -> Gpu {
    let mut gpu = Gpu::new();
    let arena = usize::try_from(SPACE + ARENA).unwrap();
    for (i, byte) in gpu.memory.bytes[arena..arena + 0x8000].iter_mut().enumerate() {
        *byte = (i as u8).wrapping_mul(seed);
    }
    let dwords = program.concat();
    gpu.poke(1, ib, &dwords);
    let job = indirect(1, ib, dwords.len() as u32);
    gpu.submit(&[fence(0x3000, 1), job, fence(0x3004, 2), trap(3)].concat());
    gpu
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn budget_changes_nothing_but_the_number_of_steps(
        program in prop::collection::vec(packet(), 1..12),
        budgets in prop::collection::vec((1..5_u32, Budget::MIN_BYTES..30_000), 1..6),
        seed in any::<u8>(),
    ) {
        let mut whole = prepared(&program, seed);
        let end = whole.run();
        let mut sliced = prepared(&program, seed);
        let mut step = Step::Progress;
        for (packets, bytes) in budgets.iter().cycle().take(200_000) {
            let mut budget = Budget { packets: *packets, bytes: *bytes };
            let before = sliced.memory.moved;
            step = sliced.step(&mut budget);
            let fences_and_pointers = 32;
            prop_assert!(sliced.memory.moved - before <= bytes - budget.bytes + fences_and_pointers);
            if step != Step::Progress {
                break;
            }
        }
        prop_assert_eq!(step, end);
        prop_assert!(sliced.memory.bytes == whole.memory.bytes, "memory differs");
        prop_assert_eq!(sliced.events, whole.events);
        prop_assert_eq!(sliced.writes, whole.writes);
        prop_assert_eq!(sliced.engine.stats(), whole.engine.stats());
        prop_assert_eq!(sliced.engine.status(), whole.engine.status());
    }

    /// Packets that straddle pages, and those at the end of a buffer, are read in other pieces.
    #[test]
    fn where_a_program_lies_changes_nothing(
        program in prop::collection::vec(packet(), 1..12),
        line in 0..128_u64,
        seed in any::<u8>(),
    ) {
        let mut here = prepared(&program, seed);
        let mut there = prepared_at(IB + 32 * line, &program, seed);
        prop_assert_eq!(here.run(), there.run());
        let arena = usize::try_from(SPACE + ARENA).unwrap();
        prop_assert!(here.memory.bytes[arena..arena + 0x8000] == there.memory.bytes[arena..arena + 0x8000], "memory differs");
        prop_assert_eq!(here.events, there.events);
        prop_assert_eq!(here.writes, there.writes);
        prop_assert_eq!(here.engine.stats(), there.engine.stats());
    }

    #[test]
    fn copies_behave_as_if_byte_by_byte(src in 0..600_usize, dst in 0..600_usize, bytes in 1..500_u32, slice in 8..64_u64) {
        let mut gpu = Gpu::new();
        let mut model: Vec<u8> = (0..1200_u32).map(|i| (i * 7 + i / 256) as u8).collect();
        let start = ARENA as usize;
        gpu.memory.bytes[start..start + 1200].copy_from_slice(&model);
        for i in 0..bytes as usize {
            model[dst + i] = model[src + i];
        }
        gpu.submit(&copy(ARENA + src as u64, ARENA + dst as u64, bytes));
        for _ in 0..500 {
            gpu.step(&mut Budget { packets: 1, bytes: slice });
        }
        prop_assert_eq!(&gpu.memory.bytes[start..start + 1200], &model[..]);
    }

    #[test]
    fn any_ring_contents_stay_within_budget_and_never_panic(
        contents in prop::collection::vec(
            prop_oneof![
                2 => any::<u32>(),
                6 => (0..18_u32, 0..4_u32, any::<u16>()).prop_map(|(op, sub, rest)| op | (sub / 3) << 8 | u32::from(rest) << 16),
                3 => 0..0x40_0000_u32,
                4 => Just(0_u32),
            ],
            16..400,
        ),
        rptr in any::<u64>(),
        wptr in any::<u64>(),
        packets in 0..40_u32,
        bytes in 0..100_000_u64,
        halted in any::<bool>(),
    ) {
        let mut gpu = Gpu::new();
        gpu.resume(rptr);
        for (i, dword) in contents.iter().cycle().take(RING_BYTES as usize / 4).enumerate() {
            gpu.poke(0, RING + 4 * i as u64, &[*dword]);
            gpu.poke(1, IB + 4 * i as u64, &[*dword]);
        }
        gpu.registers.ring_doorbell(wptr);
        for round in 0..20_u64 {
            let mut budget = Budget { packets, bytes };
            let (moved, count, events) = (gpu.memory.moved, gpu.engine.stats().all_packets(), gpu.events.len());
            gpu.step(&mut budget);
            prop_assert!(budget.packets <= packets && budget.bytes <= bytes);
            // Fences that are not aligned and the read pointer are written past the byte budget.
            prop_assert!(gpu.memory.moved - moved <= bytes + 4 * u64::from(packets) + 8);
            prop_assert!(gpu.engine.stats().all_packets() - count <= u64::from(packets));
            prop_assert!(gpu.events.len() - events <= 2 * packets as usize + 1);
            gpu.now += Duration::from_micros(round * 50);
            if halted && round == 10 {
                gpu.registers.soft_reset();
                gpu.engine.reset();
                gpu.resume(rptr.rotate_left(7));
                gpu.registers.ring_doorbell(wptr.rotate_left(9));
            }
        }
    }
}
