//! Resets, and the whole bring-up again after each.

mod common;

use common::{ENGINES, everywhere};
use gart::GpuVa;
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::regs::{self, gc};
use tests::driver::smu;
use tests::driver::{Domain, Driver, Kernel, ResetMethod, expect_cold};
use tests::guest::{Failure, FakeGuest, PAGE, expect};

type Story = Result<(), String>;

#[test]
fn after_a_function_reset_the_device_is_cold_and_comes_up_again_with_its_memory() -> Story {
    everywhere(|driver| {
        let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
        driver.guest.store(&buffer, 8, 0x5afe)?;
        driver.guest.reset_function();
        expect_cold(&mut driver.guest)?;
        expect("VRAM kept", driver.guest.load(&buffer, 8)?, 0x5afe_u32)?;
        assert!(!driver.vram_is_lost()?, "the driver would take VRAM for lost");
        driver.hw_init()
    })
}

#[test]
fn a_new_driver_finds_a_device_that_was_reset_as_good_as_new() -> Result<(), Failure> {
    for engines in ENGINES {
        let mut driver = Driver::bring_up(Kernel::V6_1, engines)?;
        driver.guest.reset_function();
        let Driver { mut guest, .. } = driver;
        guest.set_interrupt_ring(None);
        Driver::attach(guest, Kernel::V7_3)?.hw_init()?;
    }
    Ok(())
}

/// What the driver does around MODE1, and that memory is lost by it.
fn recover(driver: &mut Driver, method: ResetMethod) -> Result<(), Failure> {
    let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.store(&buffer, 8, 0x5afe)?;
    driver.mode1_reset(method)?;
    assert_ne!(driver.guest.load(&buffer, 8)?, 0x5afe, "MODE1 loses VRAM");
    driver.common_hw_init();
    driver.gmc_hw_init()?;
    driver.ih_hw_init()?;
    // The bytes that are compared belong to the transfer window, which the GART's recovery does not rewrite.
    assert!(driver.vram_is_lost()?, "the driver would take VRAM for kept");
    driver.psp_hw_init()?;
    driver.smu_hw_init()?;
    driver.gfx_hw_init()?;
    driver.sdma_hw_init()?;
    driver.late_init()
}

#[test]
fn mode1_through_the_smu_leaves_a_cold_device_that_comes_up_again() -> Story {
    everywhere(|driver| (0..3).try_for_each(|_| recover(driver, ResetMethod::Mode1Smu)))
}

#[test]
fn mode1_through_the_psp_leaves_a_cold_device_that_comes_up_again() -> Story {
    everywhere(|driver| (0..3).try_for_each(|_| recover(driver, ResetMethod::Mode1Psp)))
}

#[test]
fn the_discovery_binary_is_there_again_after_vram_was_lost() -> Result<(), Failure> {
    let mut driver = Driver::bring_up(Kernel::V7_3, 2)?;
    driver.mode1_reset(ResetMethod::Mode1Smu)?;
    let Driver { mut guest, .. } = driver;
    guest.set_interrupt_ring(None);
    // A reload of the module: discovery, and everything after it.
    Driver::attach(guest, Kernel::V7_3)?.hw_init()
}

#[test]
fn an_address_space_works_again_once_its_tables_are_rewritten() -> Story {
    const VA: u64 = 0x1_0000_0000;
    everywhere(|driver| {
        for round in 0..2 {
            let mut vm = driver.new_vm(1, 1)?;
            let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
            let gtt = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
            driver.map(&mut vm, VA, &ib)?;
            driver.map(&mut vm, VA + PAGE, &gtt)?;
            driver.run_user(
                0,
                &vm,
                (&ib, VA),
                &packet::write(GpuVa::new(VA + PAGE), &[round + 5]),
            )?;
            expect("written", driver.guest.load(&gtt, 0)?, round + 5)?;
            recover(driver, ResetMethod::Mode1Smu)?;
        }
        Ok(())
    })
}

/// Blocks engine 0 on a flag; returns the flag.
fn block(driver: &mut Driver) -> Result<(tests::guest::Buffer, u32), Failure> {
    let flag = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let (engine, guest) = driver.engine(0)?;
    let length = engine.load_ib(guest, &packet::wait_memory(flag.mc(), 1))?;
    let ib = engine.ib().mc();
    let seq = engine.submit(guest, None, ib, length)?;
    for _ in 0..20 {
        guest.step()?;
    }
    expect("blocked", engine.ring.fence.load(guest)?, seq - 1)?;
    Ok((flag, seq))
}

#[test]
fn a_blocked_job_does_not_survive_a_reset() -> Story {
    // A fence that arrives after the reset lands in memory that the driver has given to something else.
    everywhere(|driver| {
        for method in [ResetMethod::Mode1Smu, ResetMethod::Mode1Psp] {
            let (flag, seq) = block(driver)?;
            driver.mode1_reset(method)?;
            driver.guest.store(&flag, 0, 1)?;
            driver.guest.run_until_idle()?;
            let (engine, guest) = driver.engine(0)?;
            expect("fence", engine.ring.fence.load(guest)?, seq - 1)?;
            driver.hw_init()?;
        }
        Ok(())
    })
}

#[test]
fn a_blocked_queue_does_not_survive_a_reset() -> Story {
    everywhere(|driver| {
        let flag = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let (queue, guest) = driver.compute(5)?;
        queue.ring.write(guest, &pm4::wait_memory(flag.mc(), 1))?;
        queue
            .ring
            .write(guest, &pm4::write_memory(flag.mc().plus(8), 0xbad))?;
        queue.commit(guest)?;
        for _ in 0..20 {
            guest.step()?;
        }
        driver.mode1_reset(ResetMethod::Mode1Smu)?;
        driver.guest.store(&flag, 0, 1)?;
        // Also once context 0 shows the same memory at the same address again.
        driver.hw_init()?;
        driver.guest.run_until_idle()?;
        expect("what follows the wait", driver.guest.load(&flag, 8)?, 0_u32)
    })
}

#[test]
fn what_was_blocked_in_vram_does_not_go_on_after_a_function_reset() -> Story {
    // VRAM is kept, and VMID 0 sees it without any page table: nothing but the reset itself stops these two.
    everywhere(|driver| {
        let memory = driver.allocate(Domain::Vram, PAGE, PAGE)?;
        let (flag, ib) = (memory.mc(), memory.mc().plus(0x100));
        let mut packets = packet::wait_memory(flag, 1).to_vec();
        packets.extend(packet::write(flag.plus(8), &[0xbad]));
        packets.resize(16, packet::NOP);
        driver.guest.write_dwords(&memory, 0x100, &packets)?;
        let (engine, guest) = driver.engine(0)?;
        engine.submit(guest, None, ib, 16)?;

        let mut packets = pm4::wait_memory(flag, 1).to_vec();
        packets.extend(pm4::write_memory(flag.plus(16), 0xbad));
        driver.guest.write_dwords(&memory, 0x200, &packets)?;
        let length = u32::try_from(packets.len()).map_err(|_| Failure::Exhausted("indirect buffer"))?;
        let (queue, guest) = driver.compute(0)?;
        queue.submit(guest, None, flag.plus(0x200), length)?;
        for _ in 0..20 {
            guest.step()?;
        }

        guest.reset_function();
        guest.store(&memory, 0, 1)?;
        // Also once both engines get turns again.
        driver.hw_init()?;
        expect(
            "what SDMA would have written",
            driver.guest.load(&memory, 8)?,
            0_u32,
        )?;
        expect(
            "what the CP would have written",
            driver.guest.load(&memory, 16)?,
            0_u32,
        )
    })
}

#[test]
fn a_blocked_engine_starts_anew_after_its_soft_reset() -> Story {
    everywhere(|driver| {
        let (flag, seq) = block(driver)?;
        let (engine, guest) = driver.engine(0)?;
        engine.soft_reset(guest);
        guest.store(&flag, 0, 1)?;
        guest.run_until_idle()?;
        expect(
            "fence of the dropped job",
            engine.ring.fence.load(guest)?,
            seq - 1,
        )?;
        engine.unhalt(guest);
        engine.resume(guest)?;
        engine.test_ring(guest)?;
        engine.enable_trap(guest);
        engine.test_ib(guest)
    })
}

#[test]
fn nothing_is_written_while_bus_mastering_is_off() -> Story {
    // MODE1 begins with it: an engine that goes on writing would corrupt the guest.
    everywhere(|driver| {
        let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        driver.guest.store(&target, 0, 7)?;
        let (engine, guest) = driver.engine(0)?;
        let length = engine.load_ib(guest, &packet::write(target.mc(), &[8]))?;
        let ib = engine.ib().mc();
        guest.set_bus_master(false);
        let seq = engine.submit(guest, None, ib, length)?;
        for _ in 0..50 {
            guest.step()?;
        }
        expect("data", guest.load(&target, 0)?, 7_u32)?;
        expect("fence", engine.ring.fence.load(guest)?, seq - 1)
    })
}

#[test]
fn mode2_stops_graphics_and_sdma_and_keeps_everything_else() -> Story {
    everywhere(|driver| {
        let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
        driver.guest.store(&buffer, 8, 0x5afe)?;
        smu::send(&mut driver.guest, smu::message::MODE2_RESET, 0)?;
        for _ in 0..10 {
            driver.guest.step()?;
        }
        expect("VRAM", driver.guest.load(&buffer, 8)?, 0x5afe_u32)?;
        assert_ne!(
            driver.guest.read(regs::mp::MP0_C2PMSG_81),
            0,
            "the secure OS lives on"
        );
        expect("SDMA ring", driver.guest.read(regs::sdma::GFX_RB_CNTL) & 1, 0_u32)?;
        let (me, pipe, queue) = driver.gfx.kiq.place;
        driver.guest.write(gc::GRBM_GFX_CNTL, pipe | me << 2 | queue << 8);
        expect("KIQ", driver.guest.read(gc::CP_HQD_ACTIVE) & 1, 0_u32)
    })
}

#[test]
fn after_mode2_graphics_and_sdma_come_up_with_the_secure_os_alive() -> Story {
    everywhere(|driver| {
        let interrupts = driver.guest.interrupts().len();
        driver.mode2_reset()?;
        assert!(!driver.vram_is_lost()?, "MODE2 keeps VRAM");
        driver.late_init()?;
        assert!(
            driver.guest.interrupts().len() > interrupts,
            "the interrupt ring lives on"
        );
        Ok(())
    })
}

#[test]
fn a_guest_that_never_had_a_driver_can_be_reset() -> Result<(), Failure> {
    let mut guest = FakeGuest::new(4)?;
    for _ in 0..3 {
        guest.reset_function();
        guest.run_until_idle()?;
    }
    Driver::attach(guest, Kernel::V6_12)?.hw_init()
}
