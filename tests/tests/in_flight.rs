//! Nothing of what was under way before a reset touches anything after it: random work on every engine, then a reset of every kind.

use std::time::Duration;

use device::event::ResetKind;
use gart::{Location, PhysicalMemory, VramOffset};
use gpu::Work;
use mmio::RegOffset;
use proptest::prelude::*;
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::regs::{self, mp};
use tests::driver::{Domain, Driver, Kernel, smu};
use tests::guest::{Buffer, Failure, FakeGuest, PAGE, RAM_BASE, RAM_SIZE};

/// Space that work writes in, per domain.
const TARGET: u64 = 4 << 20;
/// Values that waits wait for: never there before the reset, all over the place after it.
const SET: u32 = 0x5e7;

/// A piece of work.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// A copy or fill of so many KiB, and a fence with an interrupt behind it.
    Copy(u32),
    Fill(u32),
    /// A wait for memory, and a write behind it.
    Wait,
}

#[derive(Debug, Clone, Copy)]
enum Reset {
    Mode1Smu,
    Mode1Psp,
    Mode2,
    Baco,
    Function(ResetKind),
    PowerOff,
}

fn work() -> impl Strategy<Value = Job> {
    prop_oneof![
        (1_u32..1024).prop_map(Job::Copy),
        (1_u32..1024).prop_map(Job::Fill),
        Just(Job::Wait),
    ]
}

fn resets() -> impl Strategy<Value = Reset> {
    prop_oneof![
        Just(Reset::Mode1Smu),
        Just(Reset::Mode1Psp),
        Just(Reset::Mode2),
        Just(Reset::Baco),
        Just(Reset::Function(ResetKind::FunctionLevel)),
        Just(Reset::Function(ResetKind::Bus)),
        Just(Reset::Function(ResetKind::D3hot)),
        Just(Reset::PowerOff),
    ]
}

/// Puts work on SDMA engine `index`: from `from` to `to`, which are in any domain.
fn on_sdma(
    driver: &mut Driver,
    index: usize,
    work: Job,
    flag: &Buffer,
    from: &Buffer,
    to: &Buffer,
) -> Result<(), Failure> {
    let (engine, guest) = driver.engine(index)?;
    let mut packets = match work {
        Job::Copy(kib) => packet::copy(from.mc(), to.mc(), kib << 10).to_vec(),
        Job::Fill(kib) => packet::fill(to.mc(), 0xf111_f111, kib << 10).to_vec(),
        Job::Wait => packet::wait_memory(flag.mc(), SET).to_vec(),
    };
    packets.extend(packet::write(to.mc().plus(64), &[0xbad]));
    packets.extend(packet::trap(0));
    engine.ring.write(guest, &packets)?;
    engine.commit(guest)
}

/// Puts work on a compute or graphics queue.
fn on_queue(driver: &mut Driver, graphics: bool, flag: &Buffer, to: &Buffer) -> Result<(), Failure> {
    let Driver { gfx, guest, .. } = driver;
    let queues = if graphics {
        &mut gfx.graphics
    } else {
        &mut gfx.compute
    };
    let queue = queues.first_mut().ok_or(Failure::Invalid("no such queue"))?;
    queue.ring.write(guest, &pm4::wait_memory(flag.mc(), SET))?;
    queue
        .ring
        .write(guest, &pm4::write_memory(to.mc().plus(128), 0xbad))?;
    queue.ring.write(guest, &pm4::fence(to.mc().plus(136), 0xbad))?;
    queue.commit(guest)
}

fn reset(driver: &mut Driver, reset: Reset) -> Result<(), Failure> {
    let guest = &mut driver.guest;
    match reset {
        Reset::Mode1Smu => smu::send(guest, smu::message::MODE1_RESET, 0).map(drop)?,
        Reset::Mode1Psp => guest.write(mp::MP0_C2PMSG_64, 0x7_0000),
        Reset::Mode2 => smu::send(guest, smu::message::MODE2_RESET, 0).map(drop)?,
        Reset::Baco => {
            smu::send(guest, 0x15, 0)?;
            guest.gpu().run();
            smu::send(guest, 0x16, 0)?;
        }
        Reset::Function(kind) => guest.gpu().reset(kind),
        Reset::PowerOff => guest.gpu().power_off(),
    }
    // Carried out, with whatever becomes of VRAM.
    for _ in 0..10_000 {
        if guest.gpu().run() != Work::Busy {
            return Ok(());
        }
    }
    Err(Failure::Invalid("the reset does not end"))
}

/// Gives every engine turns, as a guest can without handing in anything new: old doorbells, write pointers, a poll of them.
fn wake(driver: &mut Driver) {
    const CP_PQ_WPTR_POLL_CNTL1: RegOffset = RegOffset::from_byte(0xc210);
    let Driver { guest, gfx, sdma, .. } = driver;
    for engine in sdma.iter() {
        guest.doorbell(engine.ring.doorbell, engine.ring.wptr << 2);
        let wptr = engine.at(regs::sdma::GFX_RB_WPTR);
        let value = guest.read(wptr);
        guest.write(wptr, value);
    }
    let queues = gfx.graphics.iter().chain(&gfx.compute).chain([&gfx.kiq]);
    for queue in queues {
        guest.doorbell(queue.ring.doorbell, queue.ring.wptr);
    }
    guest.write(regs::gc::CP_ME_CNTL, 0);
    guest.write(regs::gc::CP_MEC_CNTL, 0);
    guest.write(CP_PQ_WPTR_POLL_CNTL1, u32::MAX);
}

/// Everything that an engine could write to: guest memory, and what is populated of VRAM.
fn everything(guest: &mut FakeGuest) -> Result<Vec<u8>, Failure> {
    let memory = guest.gpu().memory();
    let mut all = vec![0; usize::try_from(RAM_SIZE).unwrap_or(0)];
    let lost = |_| Failure::Invalid("memory cannot be read");
    memory
        .read(Location::System(gart::BusAddr::new(RAM_BASE)), &mut all)
        .map_err(lost)?;
    let mut from = 0;
    while let Ok(Some(at)) = memory.vram.populated_from(from) {
        let Ok(end) = memory.vram.populated_to(at) else {
            break;
        };
        let mut piece = vec![0; usize::try_from(end - at).unwrap_or(0)];
        memory
            .read(Location::Vram(VramOffset::new(at)), &mut piece)
            .map_err(lost)?;
        all.extend(at.to_le_bytes());
        all.extend(piece);
        from = end;
    }
    Ok(all)
}

fn story(
    on_engines: &[(usize, bool, Job)],
    on_queues: &[(bool, bool)],
    steps: u32,
    which: Reset,
) -> Result<(), Failure> {
    let mut driver = Driver::bring_up(Kernel::V7_3, 2)?;
    let buffers = |driver: &mut Driver, domain| -> Result<[Buffer; 3], Failure> {
        Ok([
            driver.allocate(domain, PAGE, PAGE)?,
            driver.allocate(domain, TARGET, PAGE)?,
            driver.allocate(domain, TARGET, PAGE)?,
        ])
    };
    let vram = buffers(&mut driver, Domain::Vram)?;
    let gtt = buffers(&mut driver, Domain::Gtt)?;
    let pick = |in_vram: bool| if in_vram { &vram } else { &gtt };
    for (engine, in_vram, work) in on_engines {
        let [flag, from, to] = pick(*in_vram);
        on_sdma(&mut driver, *engine, *work, flag, from, to)?;
    }
    for (graphics, in_vram) in on_queues {
        let [flag, _, to] = pick(*in_vram);
        on_queue(&mut driver, *graphics, flag, to)?;
    }
    for _ in 0..steps {
        driver.guest.step()?;
    }

    driver.guest.mask_interrupts(true);
    reset(&mut driver, which)?;

    let guest = &mut driver.guest;
    // The bus is open, and what the waits waited for is there.
    guest.set_bus_master(true);
    for [flag, ..] in [&vram, &gtt] {
        guest.store(flag, 0, SET)?;
    }
    guest.gpu().take_interrupt();
    let before = everything(guest)?;
    for turn in 0..300 {
        if turn % 100 == 50 {
            wake(&mut driver);
        }
        let guest = &mut driver.guest;
        guest.pass(Duration::from_millis(7));
        guest.gpu().run();
        assert!(!guest.gpu().take_interrupt(), "an interrupt of old work");
    }
    assert!(everything(&mut driver.guest)? == before, "old work has written");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn nothing_of_an_older_generation_touches_anything(
        on_engines in prop::collection::vec((0_usize..2, any::<bool>(), work()), 0..8),
        on_queues in prop::collection::vec((any::<bool>(), any::<bool>()), 0..4),
        steps in 0_u32..12,
        which in resets(),
    ) {
        story(&on_engines, &on_queues, steps, which).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}
