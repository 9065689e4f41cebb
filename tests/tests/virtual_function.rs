//! A virtual function and its host, as a driver sees them: coming up, resets by either side, what goes wrong.

use device::event::{Event, Record, Side};
use gpu::asic::NAVI21;
use gpu::sriov::{Access, Flr, Request};
use gpu::{EngineName, Fault, GpuConfig, LossMode, Order, VfConfig, VfRegisters};
use tests::driver::mailbox::{self, event, request};
use tests::driver::regs::{gc, mailbox as regs, mp, nbio, sdma};
use tests::driver::{Domain, Driver, Kernel, smu};
use tests::guest::{Failure, FakeGuest, PAGE, expect};

const LOST: Flr = Flr::honest(LossMode::Poison);
const KEPT: Flr = Flr::honest(LossMode::Keep);
const OLD: u32 = 0x5afe_5afe;
/// The host's data and the guest's, in VRAM.
const PF2VF: u64 = 64 << 10;

fn feature_flags(guest: &FakeGuest) -> Result<u32, Failure> {
    let bytes = guest.read_vram(PF2VF + 20, 4)?;
    let bytes = bytes.try_into().map_err(|_| Failure::Invalid("four bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

/// What guest and host said to each other, in order.
fn said(guest: &mut FakeGuest) -> Vec<(Side, &'static str)> {
    let said = |record: &Record| match record.event {
        Event::Mailbox { from, message, .. } => Some((from, message)),
        _ => None,
    };
    let journal = guest.gpu().journal();
    journal.since(0).filter_map(|record| said(record)).collect()
}

/// Arms a fault: so many times, or until it is cleared.
fn arm(guest: &mut FakeGuest, fault: Fault, count: Option<u64>) -> Result<(), Failure> {
    let order = Order {
        fault,
        after: 0,
        count,
    };
    let armed = guest.gpu().inject(order).map(drop);
    armed.map_err(|_| Failure::Invalid("the fault cannot be armed"))
}

fn access(guest: &mut FakeGuest) -> Option<Access> {
    guest.gpu().state().sriov.map(|sriov| sriov.access)
}

#[test]
fn every_kernels_driver_brings_it_up() -> Result<(), Failure> {
    for kernel in Kernel::ALL {
        let mut driver = Driver::bring_up_vf(kernel, 2)?;
        assert_eq!(access(&mut driver.guest), Some(Access::Runtime));
        assert_eq!(
            said(&mut driver.guest),
            [
                (Side::Guest, "REQ_GPU_INIT_DATA"),
                (Side::Host, "REQ_GPU_INIT_DATA_READY"),
                (Side::Guest, "REQ_GPU_INIT_ACCESS"),
                (Side::Host, "READY_TO_ACCESS_GPU"),
                (Side::Guest, "REL_GPU_INIT_ACCESS"),
            ]
        );
    }
    Ok(())
}

/// As all kernels do it after the host's notice with nothing to do: ready, reset, access, everything anew.
fn recover_from_notice(driver: &mut Driver) -> Result<(), Failure> {
    let guest = &mut driver.guest;
    expect("notice", mailbox::peek(guest), event::FLR_NOTIFICATION)?;
    mailbox::send(guest, request::READY_TO_RESET)?;
    mailbox::wait(guest, event::FLR_NOTIFICATION_CMPL)?;
    mailbox::ask(guest, request::REQ_GPU_INIT_ACCESS, event::READY_TO_ACCESS_GPU)?;
    driver.guest.forget_interrupts();
    driver.vf_hw_init()
}

#[test]
fn a_reset_that_the_host_announces_loses_vram_or_keeps_it_and_says_which() -> Result<(), Failure> {
    for (flr, found, flag) in [
        (LOST, gpu::POISON, 4),
        (KEPT, OLD, 0),
        (
            Flr {
                vram: LossMode::Keep,
                claims_lost: true,
            },
            OLD,
            4,
        ),
        (
            Flr {
                vram: LossMode::Poison,
                claims_lost: false,
            },
            gpu::POISON,
            0,
        ),
    ] {
        let mut driver = Driver::bring_up_vf(Kernel::V6_12, 2)?;
        let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
        driver.guest.store(&buffer, 0, OLD)?;
        let before = driver.guest.messages();
        assert!(driver.guest.gpu().host_flr(flr, true, None));
        driver.guest.step()?;
        assert!(
            driver.guest.messages() > before,
            "the notice comes with an interrupt"
        );
        recover_from_notice(&mut driver)?;
        assert_eq!(driver.guest.load(&buffer, 0)?, found, "{flr:?}");
        assert_eq!(feature_flags(&driver.guest)?, flag, "{flr:?}");
        assert_eq!(driver.guest.gpu().stats().resets.vf, 1);
        assert_eq!(access(&mut driver.guest), Some(Access::Runtime));
    }
    Ok(())
}

#[test]
fn a_reset_that_the_guest_asks_for_is_the_one_that_was_announced() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V7_3, 1)?;
    let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.store(&buffer, 0, OLD)?;
    driver.guest.gpu().host_flr(KEPT, true, None);
    let guest = &mut driver.guest;
    guest.mask_interrupts(true);
    mailbox::ask(guest, request::REQ_GPU_RESET_ACCESS, event::READY_TO_ACCESS_GPU)?;
    guest.forget_interrupts();
    guest.mask_interrupts(false);
    driver.vf_hw_init()?;
    assert_eq!(driver.guest.load(&buffer, 0)?, OLD);
    assert_eq!(driver.guest.gpu().stats().resets.vf, 1);
    Ok(())
}

/// A guest that never answers, as one of 6.12 and later with work pending.
#[test]
fn a_host_without_patience_resets_a_guest_that_is_not_ready() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    let guest = &mut driver.guest;
    guest.mask_interrupts(true);
    let patience = Some(std::time::Duration::from_millis(50));
    guest.gpu().host_flr(LOST, true, patience);
    mailbox::wait(guest, event::FLR_NOTIFICATION_CMPL)?;
    assert_eq!(guest.gpu().stats().resets.vf, 1);
    guest.forget_interrupts();
    guest.mask_interrupts(false);
    mailbox::ask(guest, request::REQ_GPU_RESET_ACCESS, event::READY_TO_ACCESS_GPU)?;
    driver.vf_hw_init()
}

#[test]
fn the_driver_can_go_and_come_again() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_1, 1)?;
    for _ in 0..3 {
        let guest = &mut driver.guest;
        mailbox::ask(guest, request::REQ_GPU_FINI_ACCESS, event::READY_TO_ACCESS_GPU)?;
        mailbox::send(guest, request::REL_GPU_FINI_ACCESS)?;
        assert_eq!(access(guest), Some(Access::None));
        mailbox::ask(guest, request::REQ_GPU_INIT_DATA, event::REQ_GPU_INIT_DATA_READY)?;
        mailbox::ask(guest, request::REQ_GPU_INIT_ACCESS, event::READY_TO_ACCESS_GPU)?;
        mailbox::send(guest, request::REL_GPU_INIT_ACCESS)?;
    }
    let stats = driver.guest.gpu().stats().sriov;
    assert_eq!(stats.map(|stats| stats.out_of_order), Some(0));
    Ok(())
}

#[test]
fn a_host_that_is_silent_late_or_refuses_is_that_and_nothing_else() -> Result<(), Failure> {
    let request = Some(Request::ResetAccess);
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    let guest = &mut driver.guest;
    guest.mask_interrupts(true);

    arm(guest, Fault::HostSilent { request }, Some(1))?;
    mailbox::send(guest, request::REQ_GPU_RESET_ACCESS)?;
    assert!(mailbox::wait(guest, event::READY_TO_ACCESS_GPU).is_err());
    assert_eq!(guest.gpu().stats().resets.vf, 0);

    arm(guest, Fault::HostRefuses { request }, Some(1))?;
    mailbox::ask(guest, request::REQ_GPU_RESET_ACCESS, event::FAIL)?;
    assert_eq!(guest.gpu().stats().resets.vf, 0);

    const UNRECOV_ERR_NOTIFICATION: u32 = 17;
    arm(guest, Fault::HostGivesUp { request }, Some(1))?;
    mailbox::ask(guest, request::REQ_GPU_RESET_ACCESS, UNRECOV_ERR_NOTIFICATION)?;
    assert_eq!(guest.gpu().stats().resets.vf, 0);

    let delay = std::time::Duration::from_secs(2);
    arm(guest, Fault::HostLate { request, delay }, Some(1))?;
    mailbox::send(guest, request::REQ_GPU_RESET_ACCESS)?;
    for _ in 0..100 {
        guest.step()?;
    }
    expect("too early", mailbox::peek(guest), 0_u32)?;
    mailbox::wait(guest, event::READY_TO_ACCESS_GPU)?;
    assert_eq!(guest.gpu().stats().resets.vf, 1);
    Ok(())
}

#[test]
fn faults_of_a_host_need_one() -> Result<(), Failure> {
    let mut guest = FakeGuest::new(1)?;
    assert!(
        arm(&mut guest, Fault::CorruptPf2Vf, None).is_err_and(|error| error.to_string().contains("armed"))
    );
    assert!(!guest.gpu().host_flr(LOST, true, None));
    assert!(guest.gpu().stats().sriov.is_none() && guest.gpu().state().sriov.is_none());
    Ok(())
}

#[test]
fn damage_of_the_hosts_data_comes_and_goes_with_its_fault() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    let good = driver.guest.read_vram(PF2VF, 1024)?;
    arm(&mut driver.guest, Fault::CorruptPf2Vf, None)?;
    assert_ne!(driver.guest.read_vram(PF2VF, 1024)?, good);
    driver.guest.gpu().clear_faults(None);
    assert_eq!(driver.guest.read_vram(PF2VF, 1024)?, good);
    Ok(())
}

/// A message that nobody ends: the host does not wait for ever.
#[test]
fn a_guest_that_keeps_its_valid_bit_is_answered_all_the_same() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    let guest = &mut driver.guest;
    guest.mask_interrupts(true);
    guest.write(regs::TRN_DW0, request::REQ_GPU_FINI_ACCESS);
    guest.write_byte(regs::CONTROL_TRN, 1)?;
    expect("not at once", mailbox::peek(guest), 0_u32)?;
    mailbox::wait(guest, event::READY_TO_ACCESS_GPU)
}

#[test]
fn a_function_resets_nothing_but_itself() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    let buffer = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    let guest = &mut driver.guest;
    guest.store(&buffer, 0, OLD)?;
    smu::send(guest, smu::message::MODE1_RESET, 0)?;
    guest.write(mp::MP0_C2PMSG_64, 0x7_0000);
    for _ in 0..100 {
        guest.step()?;
    }
    assert_eq!(guest.load(&buffer, 0)?, OLD);
    assert_eq!(guest.gpu().stats().resets.mode1, 0);
    Ok(())
}

#[test]
fn registers_of_a_function_that_runs_are_counted_and_can_be_blocked() -> Result<(), Failure> {
    for (registers, found) in [(VfRegisters::Open, 0), (VfRegisters::Blocked, u32::MAX)] {
        let config = GpuConfig {
            vf: VfConfig {
                registers,
                ..VfConfig::default()
            },
            ..GpuConfig::virtual_function(&NAVI21, 1)
        };
        let mut driver = Driver::attach_vf(FakeGuest::with(config)?, Kernel::V6_12)?;
        driver.vf_hw_init()?;
        let guest = &mut driver.guest;
        assert_eq!(guest.read(gc::GRBM_STATUS), found);
        assert_ne!(guest.read(nbio::RCC_CONFIG_MEMSIZE), u32::MAX);
        guest.write(sdma::F32_CNTL, 1);
        let stats = guest
            .gpu()
            .stats()
            .sriov
            .ok_or(Failure::Invalid("no statistics"))?;
        assert_eq!((stats.foreign_reads, stats.foreign_writes), (1, 1));
        let names: Vec<_> = stats
            .foreign_registers
            .iter()
            .map(|(name, ..)| name.as_str())
            .collect();
        assert!(names.contains(&"GRBM_STATUS"), "{names:?}");
        // The way through the KIQ stays: what engines reach is not what the CPU reaches.
        mailbox::ask(guest, request::REQ_GPU_FINI_ACCESS, event::READY_TO_ACCESS_GPU)?;
        assert_eq!(
            guest.read(gc::GRBM_STATUS),
            0,
            "the function is the driver's again"
        );
    }
    Ok(())
}

#[test]
fn a_hung_engine_is_free_after_a_reset_of_the_function() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V7_3, 1)?;
    let hang = Fault::Hang {
        engine: EngineName::Sdma(0),
        when: gpu::HangWhen::Now,
    };
    arm(&mut driver.guest, hang, Some(1))?;
    let guest = &mut driver.guest;
    guest.mask_interrupts(true);
    mailbox::ask(guest, request::REQ_GPU_RESET_ACCESS, event::READY_TO_ACCESS_GPU)?;
    guest.forget_interrupts();
    guest.mask_interrupts(false);
    driver.vf_hw_init()
}

#[test]
fn a_bus_reset_makes_the_host_forget_the_guest() -> Result<(), Failure> {
    let mut driver = Driver::bring_up_vf(Kernel::V6_12, 1)?;
    driver.guest.gpu().host_flr(KEPT, true, None);
    driver.guest.reset_function();
    assert_eq!(access(&mut driver.guest), Some(Access::None));
    let state = driver.guest.gpu().state().sriov;
    assert!(state.is_some_and(|state| state.announced.is_none() && state.claims_lost));
    let guest = driver.guest;
    // What it allocated is its own business: a fresh driver comes up on the same function.
    Driver::attach_vf(guest, Kernel::V6_12)?.vf_hw_init()
}
