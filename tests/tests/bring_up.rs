//! The bring-up, whole and phase by phase.
//!
//! Every handshake is a bounded poll or a comparison in `tests::driver`, which names what it waited for: a device that no longer
//! answers it makes the test of that phase fail, and `bring_up` with it.

#![expect(
    clippy::cast_possible_truncation,
    reason = "every size and seed here is small, or meant to be cut"
)]

mod common;

use common::{ENGINES, everywhere, tell};
use tests::driver::gmc::{self, MMIO_ENGINE};
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::psp::command;
use tests::driver::regs::{self, element, gc, mp, nbio};
use tests::driver::{Domain, Driver, Kernel, discovery, vbios};
use tests::guest::{Failure, FakeGuest, PAGE, expect};

type Story = Result<(), String>;

/// Tells the story to a driver that has attached itself and programmed nothing yet.
fn attached(story: impl Fn(&mut Driver) -> Result<(), Failure>) -> Result<(), String> {
    for kernel in Kernel::ALL {
        for engines in ENGINES {
            let guest = FakeGuest::new(engines).map_err(tell(kernel, engines))?;
            let told = Driver::attach(guest, kernel).and_then(|mut driver| story(&mut driver));
            told.map_err(tell(kernel, engines))?;
        }
    }
    Ok(())
}

#[test]
fn every_kernel_brings_the_device_up_with_any_number_of_engines() -> Story {
    everywhere(|driver| {
        let messages = driver.guest.messages();
        // A driver whose fences came without interrupts would be woken by its fall-back timer, and pass everything else.
        if messages == 0 {
            Err(Failure::Invalid("no interrupt in a whole bring-up"))
        } else {
            Ok(())
        }
    })
}

#[test]
fn a_device_at_rest_has_nothing_to_do() -> Story {
    // Fails if an engine keeps asking for turns after its work is done: a daemon that spins.
    everywhere(|driver| driver.guest.run_until_idle())
}

#[test]
fn the_discovery_binary_lists_exactly_the_engines_that_are_there() -> Story {
    attached(|driver| {
        let engines = driver.discovery.sdma_instances();
        // Whoever is listed is brought up: an engine too many is a ring test that fails, one too few is never used.
        let halted =
            |guest: &mut FakeGuest, instance| guest.read(regs::sdma::of(instance, regs::sdma::F32_CNTL)) & 1;
        for instance in 0..4 {
            expect(
                "halted engine",
                halted(&mut driver.guest, instance),
                u32::from(instance < engines),
            )?;
        }
        Ok(())
    })
}

#[test]
fn the_index_data_window_reaches_every_part_of_vram() -> Result<(), Failure> {
    let mut driver = Driver::attach(FakeGuest::new(1)?, Kernel::V6_12)?;
    let buffer = driver.allocate(Domain::Vram, 32 << 20, PAGE)?;
    for offset in [0, 0x1004, (32 << 20) - 4] {
        let at = driver.gmc.vram_entry(buffer.mc()) + offset;
        driver.guest.store(&buffer, offset, 0x1234_5678 ^ at as u32)?;
        expect(
            "read",
            discovery::read_vram(&mut driver.guest, at),
            0x1234_5678 ^ at as u32,
        )?;
        driver.guest.write(nbio::MM_DATA, 0x55aa);
        expect("write", driver.guest.load(&buffer, offset)?, 0x55aa_u32)?;
    }
    Ok(())
}

#[test]
fn a_vbios_that_the_driver_would_choke_on_is_noticed() {
    let good = gpu::images::vbios::build(&gpu::asic::NAVI21, &gpu::asic::NAVI21.bare_metal);
    vbios::parse(&good).unwrap();
    // Signature, PCIR pointer, ATI magic, header pointer, part number.
    for at in [0x0, 0x19, 0x30, 0x48, 0x80] {
        let mut bad = good.clone();
        bad[at] = 0;
        assert_eq!(vbios::parse(&bad).ok(), None, "byte {at:#x}");
    }
}

#[test]
fn both_hubs_keep_the_contexts_that_the_driver_sets_up() -> Story {
    attached(|driver| {
        driver.common_hw_init();
        driver.gmc_hw_init()?;
        gmc::check_context0(&mut driver.guest, &driver.gmc)
    })
}

#[test]
fn an_invalidation_engine_is_taken_by_reading_and_given_back_by_writing() -> Result<(), Failure> {
    let mut driver = Driver::attach(FakeGuest::new(1)?, Kernel::V6_1)?;
    driver.gmc_hw_init()?;
    let sem = element(regs::MMHUB.sem, MMIO_ENGINE, 4);
    expect("free", driver.guest.read(sem) & 1, 1_u32)?;
    // A second CPU that flushes at the same time has to be kept out.
    expect("taken", driver.guest.read(sem) & 1, 0_u32)?;
    driver.guest.write(sem, 0);
    expect("free again", driver.guest.read(sem) & 1, 1_u32)
}

#[test]
fn an_acknowledge_names_only_the_vmids_that_were_asked_for() -> Result<(), Failure> {
    let mut driver = Driver::attach(FakeGuest::new(1)?, Kernel::V6_1)?;
    driver.gmc_hw_init()?;
    gmc::flush_tlb(&mut driver.guest, &regs::GFXHUB, 3)?;
    let ack = driver.guest.read(element(regs::GFXHUB.ack, MMIO_ENGINE, 4));
    expect("acknowledge of another VMID", ack & 1 << 4, 0_u32)
}

#[test]
fn no_firmware_runs_before_the_psp_has_loaded_it() -> Story {
    attached(|driver| {
        driver.common_hw_init();
        driver.gmc_hw_init()?;
        driver.ih_hw_init()?;
        expect(
            "RLC before",
            driver.guest.read(gc::RLC_RLCS_BOOTLOAD_STATUS) >> 31,
            0_u32,
        )?;
        driver.psp_hw_init()?;
        expect(
            "RLC after",
            driver.guest.read(gc::RLC_RLCS_BOOTLOAD_STATUS) >> 31,
            1_u32,
        )
    })
}

#[test]
fn the_sign_of_life_still_reads_0_once_however_late_it_is_read() -> Result<(), Failure> {
    // The driver waits for a value other than the one that it has read first. A device that shows life at once is waited for in vain.
    const SOSDRV: u32 = 0x2_0000;
    let mut driver = Driver::attach(FakeGuest::new(1)?, Kernel::V6_12)?;
    driver.gmc_hw_init()?;
    driver.guest.write(mp::MP0_C2PMSG_35, SOSDRV);
    driver.guest.pass(std::time::Duration::from_secs(1));
    expect("first look", driver.guest.read(mp::MP0_C2PMSG_81), 0_u32)?;
    let alive = driver.guest.read(mp::MP0_C2PMSG_81);
    assert_ne!(alive, 0);
    expect("from then on", driver.guest.read(mp::MP0_C2PMSG_81), alive)
}

#[test]
fn the_psp_answers_an_unknown_command_with_an_error() -> Story {
    attached(|driver| {
        driver.gmc_hw_init()?;
        driver.psp_hw_init()?;
        let answer = driver.psp.submit(&mut driver.guest, 0x7777, &[])?;
        assert_ne!(answer.status, 0, "success for a command that nobody knows");
        // And it goes on, also where the ring wraps: 64 frames fit.
        for _ in 0..100 {
            expect(
                "status",
                driver
                    .psp
                    .submit(&mut driver.guest, command::LOAD_ASD, &[])?
                    .status,
                0_u32,
            )?;
        }
        Ok(())
    })
}

#[test]
fn the_management_unit_answers_before_anything_else_is_up() -> Story {
    attached(|driver| {
        driver.gmc_hw_init()?;
        driver.psp_hw_init()?;
        driver.smu_hw_init()
    })
}

#[test]
fn queues_mapped_by_the_kiq_execute_what_is_in_their_rings() -> Story {
    attached(|driver| {
        driver.common_hw_init();
        driver.gmc_hw_init()?;
        driver.ih_hw_init()?;
        driver.psp_hw_init()?;
        driver.gfx_hw_init()
    })
}

#[test]
fn a_ring_wraps() -> Story {
    everywhere(|driver| {
        // Each test is padded to 256 of 2048 dwords, and to 16 of 4096.
        for _ in 0..20 {
            driver.gfx.test_ibs(&mut driver.guest)?;
        }
        let (engine, guest) = driver.engine(0)?;
        (0..150).try_for_each(|_| engine.test_ib(guest))
    })
}

#[test]
fn an_unmapped_queue_does_not_hear_its_doorbell() -> Story {
    const DISABLE: u32 = 2;
    everywhere(|driver| {
        let doorbell = driver.compute(3)?.0.ring.doorbell;
        driver
            .gfx
            .run_on_kiq(&mut driver.guest, &pm4::unmap_queue(0, DISABLE, doorbell))?;
        let (queue, guest) = driver.compute(3)?;
        guest.write(gc::SCRATCH_REG0, 0xcafe_dead);
        queue
            .ring
            .write(guest, &pm4::set_uconfig(gc::SCRATCH_REG0, 0xdead_beef))?;
        queue.commit(guest)?;
        guest.run_until_idle()?;
        expect("nothing executed", guest.read(gc::SCRATCH_REG0), 0xcafe_dead_u32)?;
        // Its neighbours do.
        driver
            .compute(4)?
            .0
            .ring
            .doorbell
            .ne(&doorbell)
            .then_some(())
            .ok_or(Failure::Invalid("one doorbell for two"))?;
        let (neighbour, guest) = driver.compute(4)?;
        neighbour.test_ib(guest)?;
        // And it does again once it is mapped.
        driver.gfx.map_compute(&mut driver.guest)?;
        let (queue, guest) = driver.compute(3)?;
        queue.test_ib(guest)
    })
}

#[test]
fn the_kiq_reads_the_registers_that_the_bus_reads() -> Story {
    everywhere(|driver| {
        for register in [
            nbio::RCC_CONFIG_MEMSIZE,
            regs::GFXHUB.fb_location_base,
            regs::GFXHUB.context_cntl,
        ] {
            let direct = driver.guest.read(register);
            assert_ne!(direct, 0, "{register} proves nothing");
            expect(
                "by COPY_DATA",
                driver.gfx.read_on_kiq(&mut driver.guest, register)?,
                direct,
            )?;
        }
        Ok(())
    })
}

#[test]
fn the_kiq_flushes_translations() -> Story {
    // The reference is the whole request, the mask one bit of the acknowledge: a comparison without the mask on both sides never ends.
    everywhere(|driver| driver.gfx.flush_tlb_on_kiq(&mut driver.guest, 5))
}

#[test]
fn every_engine_copies_between_vram_and_scattered_pages() -> Story {
    const SIZE: u64 = 5 * PAGE + 12;
    everywhere(|driver| {
        for index in 0..driver.sdma.len() {
            let vram = driver.allocate(Domain::Vram, SIZE, PAGE)?;
            let pages = driver.allocate(Domain::Gtt, SIZE, PAGE)?;
            let pattern: Vec<u8> = (0..SIZE).map(|byte| (byte * 7 + index as u64) as u8).collect();
            driver.guest.write_bytes(&vram, 0, &pattern)?;
            let (engine, guest) = driver.engine(index)?;
            engine.run(guest, &packet::copy(vram.mc(), pages.mc(), SIZE as u32))?;
            assert_eq!(guest.read_bytes(&pages, 0, SIZE as usize)?, pattern);
            engine.run(guest, &packet::fill(vram.mc(), 0x0102_0304, SIZE as u32))?;
            engine.run(guest, &packet::copy(pages.mc(), vram.mc(), SIZE as u32))?;
            assert_eq!(guest.read_bytes(&vram, 0, SIZE as usize)?, pattern);
        }
        Ok(())
    })
}

#[test]
fn the_agp_window_shows_bus_addresses_where_the_driver_opens_it() -> Story {
    everywhere(|driver| {
        let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let source = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        driver.guest.store(&source, 0x10, 0x600d_f00d)?;
        let page = source.pages().first().copied().ok_or(Failure::Exhausted("RAM"))?;
        let Some(window) = driver.gmc.agp_address(page) else {
            return expect("6.1 opens it", u32::from(driver.kernel == Kernel::V6_1), 0_u32);
        };
        let (engine, guest) = driver.engine(0)?;
        engine.run(guest, &packet::copy(window.plus(0x10), target.mc(), 4))?;
        expect("through the window", guest.load(&target, 0)?, 0x600d_f00d_u32)
    })
}

#[test]
fn a_bring_up_stays_within_the_accesses_of_a_probe() -> Result<(), Failure> {
    // A real probe makes 4000 to 7000 (90 us each in a guest). A handshake that has begun to need many polls shows here first.
    for engines in ENGINES {
        let driver = Driver::bring_up(Kernel::V7_3, engines)?;
        let accesses = driver.guest.accesses();
        assert!(accesses < 12_000, "{accesses} accesses with {engines} engines");
    }
    Ok(())
}
