//! A guest that means harm, or is broken: nothing that it writes may panic the device, keep it busy for long, or outlive a reset.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::regs::{self, gc, ih, mp, nbio};
use tests::driver::{Driver, Kernel};
use tests::guest::Failure;

/// QEMU gives up on a request after 5 s, and on the device with it. Nothing here should take a thousandth of that; a debug build on
/// a busy machine may.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
enum Action {
    Write(u32, u32),
    Read(u32),
    Doorbell(u32, u64),
    /// Dwords into a ring, at the write pointer, and the doorbell.
    Submit(usize, Vec<u32>),
    /// An entry of the GART, or of whatever lies behind it in VRAM.
    Entry(u32, u64),
    Run(u8),
    Sleep(u16),
}

/// Registers where a write has consequences, first of all those of the engines.
fn register() -> impl Strategy<Value = u32> {
    let sdma = (
        0..4_usize,
        prop::sample::select(vec![
            regs::sdma::CNTL,
            regs::sdma::F32_CNTL,
            regs::sdma::FREEZE,
            regs::sdma::GFX_RB_CNTL,
            regs::sdma::GFX_RB_BASE,
            regs::sdma::GFX_RB_RPTR,
            regs::sdma::GFX_RB_WPTR,
            regs::sdma::GFX_RB_WPTR_HI,
            regs::sdma::GFX_RB_RPTR_ADDR_HI,
            regs::sdma::GFX_DOORBELL,
            regs::sdma::GFX_RB_WPTR_POLL_CNTL,
        ]),
    )
        .prop_map(|(instance, register)| regs::sdma::of(instance, register).byte());
    let named = prop::sample::select(vec![
        nbio::MM_INDEX,
        nbio::MM_INDEX_HI,
        nbio::MM_DATA,
        nbio::PCIE_INDEX2,
        nbio::PCIE_DATA2,
        ih::IH_RB_CNTL,
        ih::IH_RB_BASE_HI,
        ih::IH_RB_WPTR,
        ih::IH_RB_RPTR,
        ih::IH_DOORBELL_RPTR,
        ih::IH_RB_WPTR_ADDR_HI,
        mp::MP0_C2PMSG_35,
        mp::MP0_C2PMSG_64,
        mp::MP0_C2PMSG_67,
        mp::MP0_C2PMSG_71,
        mp::MP1_C2PMSG_66,
        gc::GRBM_SOFT_RESET,
        gc::GRBM_GFX_CNTL,
        gc::CP_HQD_ACTIVE,
        gc::CP_HQD_PQ_CONTROL,
        gc::CP_HQD_PQ_BASE_HI,
        gc::CP_HQD_PQ_WPTR_LO,
        gc::CP_HQD_DEQUEUE_REQUEST,
        gc::CP_GFX_HQD_ACTIVE,
        gc::CP_PQ_WPTR_POLL_CNTL,
        gc::RLC_CP_SCHEDULERS,
        gc::CPC_INT_STATUS,
        regs::GFXHUB.context_cntl,
        regs::GFXHUB.page_table_base,
        regs::GFXHUB.page_table_end,
        regs::GFXHUB.fb_location_base,
        regs::GFXHUB.fb_offset,
        regs::GFXHUB.agp_bot,
        regs::MMHUB.context_cntl,
        regs::MMHUB.page_table_base.plus(4),
    ])
    .prop_map(|register| register.byte());
    prop_oneof![3 => sdma, 3 => named, 2 => (0_u32..0x8_0000 / 4).prop_map(|dword| dword * 4)]
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        (0_u32..32).prop_map(|bit| 1 << bit),
        Just(0),
        Just(u32::MAX),
        Just(0x7_0000),
        Just(0x30),
        Just(0x5d)
    ]
}

/// Packets that almost make sense.
fn packets() -> impl Strategy<Value = Vec<u32>> {
    let pm4_header =
        (any::<u8>(), 0_u32..40).prop_map(|(op, count)| 3 << 30 | count << 16 | u32::from(op) << 8);
    let sdma_header =
        (0_u32..20, 0_u32..6, any::<u16>()).prop_map(|(op, sub, rest)| op | sub << 8 | u32::from(rest) << 16);
    let dword = prop_oneof![2 => value(), 2 => pm4_header, 2 => sdma_header, 1 => 0x80_u32..0x84];
    let address = prop_oneof![
        Just(0_u64),
        0_u64..0x2000_0000,
        0x80_0000_0000..0x80_1000_0000_u64,
        any::<u64>()
    ];
    prop_oneof![
        4 => prop::collection::vec(dword, 1..48),
        1 => (address.clone(), address.clone(), any::<u32>())
            .prop_map(|(from, to, bytes)| packet::copy(gart::GpuVa::new(from), gart::GpuVa::new(to), bytes).to_vec()),
        1 => (address.clone(), any::<u64>(), any::<u32>())
            .prop_map(|(to, flags, count)| packet::ptepde(gart::GpuVa::new(to), flags, 4096, flags, count).to_vec()),
        1 => (0_u32..16, address.clone(), any::<u32>())
            .prop_map(|(vmid, at, dwords)| packet::indirect(vmid, gart::GpuVa::new(at), dwords).to_vec()),
        1 => (0_u32..16, address.clone(), any::<u32>(), any::<bool>())
            .prop_map(|(vmid, at, dwords, valid)| pm4::indirect(vmid, gart::GpuVa::new(at), dwords, valid).to_vec()),
        1 => (0_u32..6, 0_u32..4, 0_u32..4, any::<u32>(), address)
            .prop_map(|(engine, me, pipe, doorbell, at)| {
                let at = gart::GpuVa::new(at);
                pm4::map_queue(engine, (me, pipe, 0), doorbell, at, at).to_vec()
            }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (register(), value()).prop_map(|(register, value)| Action::Write(register, value)),
        1 => register().prop_map(Action::Read),
        1 => (0_u32..0x400, any::<u64>()).prop_map(|(index, value)| Action::Doorbell(index, value)),
        4 => (0_usize..16, packets()).prop_map(|(ring, dwords)| Action::Submit(ring, dwords)),
        1 => (0_u32..0x2_0000, any::<u64>()).prop_map(|(index, entry)| Action::Entry(index, entry)),
        3 => (1_u8..20).prop_map(Action::Run),
        1 => any::<u16>().prop_map(Action::Sleep),
    ]
}

fn act(driver: &mut Driver, action: &Action) -> Result<(), Failure> {
    match action {
        Action::Write(register, value) => driver.guest.write(mmio::RegOffset::from_byte(*register), *value),
        Action::Read(register) => {
            driver.guest.read(mmio::RegOffset::from_byte(*register));
        }
        Action::Doorbell(index, value) => driver.guest.doorbell(*index, *value),
        Action::Submit(ring, dwords) => submit(driver, *ring, dwords)?,
        Action::Entry(index, entry) => {
            let table = driver.gmc.table().clone();
            driver
                .guest
                .write_bytes(&table, u64::from(*index) * 8, &entry.to_le_bytes())?;
        }
        Action::Run(times) => {
            for _ in 0..*times {
                driver.guest.step()?;
            }
        }
        Action::Sleep(milliseconds) => driver.guest.pass(Duration::from_millis((*milliseconds).into())),
    }
    Ok(())
}

/// Compute queues, graphics queue, KIQ, engines.
fn submit(driver: &mut Driver, ring: usize, dwords: &[u32]) -> Result<(), Failure> {
    let Driver { guest, gfx, sdma, .. } = driver;
    let engine = ring.saturating_sub(gfx.compute.len() + 2) % sdma.len();
    let queue = match ring {
        0..8 => gfx.compute.get_mut(ring),
        8 => gfx.graphics.first_mut(),
        9 => Some(&mut gfx.kiq),
        _ => None,
    };
    if let Some(queue) = queue {
        queue.ring.write(guest, dwords)?;
        return queue.commit(guest);
    }
    let engine = sdma.get_mut(engine).ok_or(Failure::Invalid("no such engine"))?;
    engine.ring.write(guest, dwords)?;
    engine.commit(guest)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_a_guest_does_breaks_the_device(
        actions in prop::collection::vec(action(), 1..80),
        engines in 1_usize..=4,
    ) {
        let mut driver = Driver::bring_up(Kernel::V7_3, engines).unwrap();
        // The interrupt ring is among what gets broken: the driver does not look at it meanwhile.
        driver.guest.mask_interrupts(true);
        for action in &actions {
            let start = Instant::now();
            act(&mut driver, action).unwrap();
            prop_assert!(start.elapsed() < PATIENCE, "{action:?} took {:?}", start.elapsed());
        }
        for _ in 0..50 {
            let start = Instant::now();
            driver.guest.step().unwrap();
            prop_assert!(start.elapsed() < PATIENCE, "a step took {:?}", start.elapsed());
        }
        // And none of it outlives a reset.
        driver.guest.set_bus_master(true);
        driver.guest.reset_function();
        driver.guest.mask_interrupts(false);
        driver.hw_init().unwrap();
    }
}
