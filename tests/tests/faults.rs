//! Faults on command, as a driver meets them.

use std::time::Duration;

use device::event::{Event, ResetKind};
use gart::{Access, GpuVa, HubId, Vmid};
use gpu::{EngineName, Fault, HangWhen, InjectError, InterruptPart, Order, ResetFailure};
use tests::driver::packet::sdma as packet;
use tests::driver::regs::{GFXHUB, gc, mp, nbio, sdma as reg};
use tests::driver::{Domain, Driver, Kernel, ResetMethod, expect_cold, gmc, psp, smu};
use tests::guest::{Buffer, Failure, PAGE, expect};

const SDMA0: EngineName = EngineName::Sdma(0);
const IB_VA: u64 = 0x10_0000;
const DATA_VA: u64 = 0x4000_0000;
/// F32_CNTL, STATUS_REG.IDLE and FREEZE are at the same bits in every kernel's headers.
const IDLE: u32 = 1;
const FREEZE: u32 = 1 << 4;
const FROZEN: u32 = 1 << 5;
const GRBM_STATUS: mmio::RegOffset = mmio::RegOffset::from_byte(0x8010);

type Story = Result<(), Failure>;

fn driver() -> Result<Driver, Failure> {
    Driver::bring_up(Kernel::V7_3, 2)
}

fn inject(driver: &mut Driver, fault: Fault, after: u64, count: Option<u64>) -> Story {
    let order = Order { fault, after, count };
    match driver.guest.gpu().inject(order) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::Invalid("the fault cannot be armed")),
    }
}

fn hang(driver: &mut Driver, engine: EngineName, when: HangWhen) -> Story {
    inject(driver, Fault::Hang { engine, when }, 0, Some(1))
}

/// Something that must not come: the wait for it ends, and nothing else goes wrong.
fn stays_away<T>(outcome: Result<T, Failure>) -> Story {
    match outcome {
        Ok(_) => Err(Failure::Invalid("what should not come has come")),
        Err(Failure::Timeout { .. } | Failure::Stalled { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// What the faults that happened say, in order.
fn fired(driver: &mut Driver) -> Vec<String> {
    let journal = driver.guest.gpu().journal();
    let details = journal.since(0).filter_map(|record| match &record.event {
        Event::FaultFired { fault, detail, .. } => Some(format!("{fault}: {detail}")),
        _ => None,
    });
    details.collect()
}

/// A copy by the kernel on an engine.
fn copy(driver: &mut Driver, engine: usize, from: &Buffer, to: &Buffer) -> Story {
    let (engine, guest) = driver.engine(engine)?;
    engine
        .run(guest, &packet::copy(from.mc(), to.mc(), 64))
        .map(|_| ())
}

fn works(driver: &mut Driver, engine: usize) -> Story {
    let (engine, guest) = driver.engine(engine)?;
    engine.test_ring(guest)?;
    engine.test_ib(guest)
}

fn stands_still(driver: &mut Driver, engine: usize) -> Story {
    let (engine, guest) = driver.engine(engine)?;
    let rptr = engine.ring.rptr.load_u64(guest)?;
    stays_away(engine.test_ring(guest))?;
    expect("read pointer", engine.ring.rptr.load_u64(guest)?, rptr)?;
    expect("IDLE", guest.read(engine.at(reg::STATUS_REG)) & IDLE, 0_u32)
}

fn restart(driver: &mut Driver, engine: usize) -> Story {
    let (engine, guest) = driver.engine(engine)?;
    engine.unhalt(guest);
    engine.resume(guest)?;
    engine.test_ring(guest)?;
    engine.enable_trap(guest);
    engine.test_ib(guest)
}

/// An address space with an indirect buffer and eight pages of VRAM; with what became of mapping these.
fn user(driver: &mut Driver) -> Result<(tests::driver::vm::Vm, Buffer, Buffer, Story), Failure> {
    let mut vm = driver.new_vm(1, 0x8001)?;
    let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let data = driver.allocate(Domain::Vram, 8 * PAGE, PAGE)?;
    driver.map(&mut vm, IB_VA, &ib)?;
    // So that the tables exist, and one update of eight entries is left.
    driver.map(&mut vm, DATA_VA, &data)?;
    driver.unmap(&mut vm, DATA_VA, 8)?;
    Ok((vm, ib, data, Ok(())))
}

#[test]
fn a_hung_engine_holds_up_only_itself_and_its_own_reset_helps() -> Story {
    let mut driver = driver()?;
    hang(&mut driver, SDMA0, HangWhen::Now)?;
    stands_still(&mut driver, 0)?;
    works(&mut driver, 1)?;
    let (queue, guest) = driver.compute(0)?;
    queue.test_ring(guest)?;
    let (engine, guest) = driver.engine(0)?;
    guest.modify(engine.at(reg::F32_CNTL), 0, 1);
    guest.modify(engine.at(reg::F32_CNTL), 1, 0);
    stands_still(&mut driver, 0)?;
    let (engine, guest) = driver.engine(0)?;
    guest.write(engine.at(reg::FREEZE), FREEZE);
    guest.run_until_idle()?;
    expect("FREEZE", guest.read(engine.at(reg::FREEZE)), FREEZE | FROZEN)?;
    engine.soft_reset(guest);
    restart(&mut driver, 0)
}

#[test]
fn every_reset_of_the_part_ends_a_hang() -> Story {
    for method in [Some(ResetMethod::Mode1Smu), Some(ResetMethod::Mode1Psp), None] {
        let mut driver = driver()?;
        for engine in [SDMA0, EngineName::Gfx, EngineName::Compute] {
            hang(&mut driver, engine, HangWhen::Now)?;
        }
        match method {
            Some(method) => driver.mode1_reset(method)?,
            None => driver.guest.reset_function(),
        }
        driver.hw_init()?;
        works(&mut driver, 0)?;
    }
    Ok(())
}

#[test]
fn hung_queues_of_one_kind_leave_the_others_alone_until_mode2() -> Story {
    let mut driver = driver()?;
    hang(&mut driver, EngineName::Compute, HangWhen::Now)?;
    let (queue, guest) = driver.compute(3)?;
    stays_away(queue.test_ring(guest))?;
    expect("GUI_ACTIVE", guest.read(GRBM_STATUS) >> 31, 1_u32)?;
    driver.gfx.read_on_kiq(&mut driver.guest, gc::GRBM_GFX_CNTL)?;
    works(&mut driver, 0)?;
    driver.mode2_reset()?;
    let (queue, guest) = driver.compute(3)?;
    queue.test_ring(guest)?;
    expect("GRBM_STATUS", guest.read(GRBM_STATUS), 0_u32)
}

#[test]
fn nothing_hangs_that_is_not_there() -> Story {
    let mut driver = driver()?;
    let mut ask = |engine| {
        let fault = Fault::Hang {
            engine,
            when: HangWhen::Now,
        };
        let order = Order {
            fault,
            after: 0,
            count: Some(1),
        };
        driver.guest.gpu().inject(order)
    };
    let engine = EngineName::Sdma(2);
    assert_eq!(ask(engine), Err(InjectError::NoEngine(engine)));
    driver.guest.gpu().reset(ResetKind::Bus);
    let engine = EngineName::Gfx;
    let fault = Fault::Hang {
        engine,
        when: HangWhen::Now,
    };
    let order = Order {
        fault,
        after: 0,
        count: Some(1),
    };
    assert_eq!(
        driver.guest.gpu().inject(order),
        Err(InjectError::NoQueue(engine))
    );
    Ok(())
}

#[test]
fn a_hang_at_a_command_buffer_shows_in_the_test_of_one_and_not_of_the_ring() -> Story {
    let mut driver = driver()?;
    hang(&mut driver, SDMA0, HangWhen::CommandBuffer)?;
    hang(&mut driver, EngineName::Compute, HangWhen::CommandBuffer)?;
    let (engine, guest) = driver.engine(0)?;
    engine.test_ring(guest)?;
    stays_away(engine.test_ib(guest))?;
    expect("IDLE", guest.read(engine.at(reg::STATUS_REG)) & IDLE, 0_u32)?;
    let (queue, guest) = driver.compute(2)?;
    queue.test_ring(guest)?;
    stays_away(queue.test_ib(guest))?;
    let (queue, guest) = driver.compute(3)?;
    queue.test_ib(guest)?;
    assert_eq!(fired(&mut driver).len(), 2);
    works(&mut driver, 1)
}

#[test]
fn a_hang_in_a_page_table_update_leaves_it_half_done() -> Story {
    let mut driver = driver()?;
    let (mut vm, ib, data, _) = user(&mut driver)?;
    hang(&mut driver, SDMA0, HangWhen::PageTableUpdate)?;
    stays_away(driver.map(&mut vm, DATA_VA, &data))?;
    assert!(fired(&mut driver)[0].contains("after 4 of 8 entries"));
    stands_still(&mut driver, 0)?;
    // The other engine walks what is there: the fourth page is mapped, the fifth is not.
    for (page, value) in [(3, 0xfeed_u32), (4, 0)] {
        let to = GpuVa::new(DATA_VA + page * PAGE);
        driver.run_user(1, &vm, (&ib, IB_VA), &packet::write(to, &[0xfeed]))?;
        expect("written", driver.guest.load(&data, page * PAGE)?, value)?;
    }
    Ok(())
}

#[test]
fn a_dropped_update_is_silent_and_its_pages_fault() -> Story {
    let mut driver = driver()?;
    let (mut vm, ib, data, _) = user(&mut driver)?;
    inject(&mut driver, Fault::DropPte, 0, Some(1))?;
    driver.map(&mut vm, DATA_VA, &data)?;
    expect("no fault yet", driver.guest.read(GFXHUB.fault_status), 0_u32)?;
    let write = packet::write(GpuVa::new(DATA_VA), &[0xfeed]);
    driver.run_user(0, &vm, (&ib, IB_VA), &write)?;
    assert_ne!(driver.guest.read(GFXHUB.fault_status), 0);
    expect("not written", driver.guest.load(&data, 0)?, 0_u32)?;
    driver.map(&mut vm, DATA_VA, &data)?;
    driver.run_user(0, &vm, (&ib, IB_VA), &write)?;
    expect("written", driver.guest.load(&data, 0)?, 0xfeed_u32)
}

#[test]
fn one_corrupted_entry_loses_one_page() -> Story {
    let mut driver = driver()?;
    let (mut vm, ib, data, _) = user(&mut driver)?;
    inject(&mut driver, Fault::CorruptPte { xor: 1 }, 2, Some(1))?;
    driver.map(&mut vm, DATA_VA, &data)?;
    for page in 0..8 {
        let to = GpuVa::new(DATA_VA + page * PAGE);
        driver.run_user(1, &vm, (&ib, IB_VA), &packet::write(to, &[0xfeed]))?;
        let expected = if page == 2 { 0 } else { 0xfeed_u32 };
        expect("written", driver.guest.load(&data, page * PAGE)?, expected)?;
    }
    Ok(())
}

#[test]
fn a_dropped_copy_is_silent_and_only_goes_into_vram() -> Story {
    let mut driver = driver()?;
    let system = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let vram = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.store(&system, 0, 5)?;
    driver.guest.store(&vram, 0, 6)?;
    inject(&mut driver, Fault::DropCopy, 0, Some(1))?;
    copy(&mut driver, 0, &system, &vram)?;
    expect("VRAM", driver.guest.load(&vram, 0)?, 6_u32)?;
    copy(&mut driver, 0, &system, &vram)?;
    expect("VRAM", driver.guest.load(&vram, 0)?, 5_u32)?;
    inject(&mut driver, Fault::DropCopy, 0, None)?;
    driver.guest.store(&vram, 0, 7)?;
    copy(&mut driver, 1, &vram, &system)?;
    expect("system memory", driver.guest.load(&system, 0)?, 7_u32)
}

#[test]
fn a_dropped_fill_is_silent_and_only_that_of_vram() -> Story {
    let mut driver = driver()?;
    let system = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let vram = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.store(&vram, 0, 6)?;
    inject(&mut driver, Fault::DropFill, 0, Some(1))?;
    for (buffer, expected) in [(&system, 9_u32), (&vram, 6), (&vram, 9)] {
        let (engine, guest) = driver.engine(0)?;
        engine.run(guest, &packet::fill(buffer.mc(), 9, 64))?;
        expect("filled", driver.guest.load(buffer, 0)?, expected)?;
    }
    Ok(())
}

#[test]
fn a_slow_engine_is_late_and_the_other_is_not() -> Story {
    let mut driver = driver()?;
    let delay = Duration::from_millis(5);
    inject(&mut driver, Fault::Slow { engine: SDMA0, delay }, 0, Some(1))?;
    let (engine, guest) = driver.engine(0)?;
    let length = engine.load_ib(guest, &packet::write(engine.ib().mc().plus(512), &[1]))?;
    let ib = engine.ib().mc();
    let seq = engine.submit(guest, None, ib, length)?;
    for _ in 0..4 {
        guest.pass(Duration::from_millis(1));
        guest.step()?;
    }
    expect("fence", engine.ring.fence.load(guest)?, seq - 1)?;
    works(&mut driver, 1)?;
    let (engine, guest) = driver.engine(0)?;
    let fence = engine.ring.fence.clone();
    guest.pass(delay);
    guest.run_until("the late fence", |guest| Ok(fence.load(guest)? == seq))
}

#[test]
fn a_lost_interrupt_does_not_come_and_the_next_one_does() -> Story {
    for what in [InterruptPart::Entry, InterruptPart::Message] {
        let mut driver = driver()?;
        let source = Some(224);
        inject(&mut driver, Fault::DropInterrupts { what, source }, 0, Some(1))?;
        let mark = driver.guest.interrupts().len();
        let messages = driver.guest.messages();
        let (engine, guest) = driver.engine(0)?;
        // Its trap is awaited.
        stays_away(engine.test_ib(guest))?;
        expect("fence", engine.ring.fence.load(guest)?, engine.ring.seq)?;
        expect("messages", guest.messages(), messages)?;
        assert_eq!(guest.interrupts().len(), mark);
        if what == InterruptPart::Entry {
            works(&mut driver, 0)?;
        }
    }
    Ok(())
}

#[test]
fn a_late_interrupt_comes_after_its_time() -> Story {
    let mut driver = driver()?;
    let delay = Duration::from_millis(50);
    inject(&mut driver, Fault::DelayInterrupts { delay }, 0, Some(1))?;
    let (engine, guest) = driver.engine(0)?;
    let mark = guest.interrupts().len();
    let length = engine.load_ib(guest, &packet::write(engine.ib().mc().plus(512), &[1]))?;
    let ib = engine.ib().mc();
    let seq = engine.submit(guest, None, ib, length)?;
    let fence = engine.ring.fence.clone();
    guest.run_until("the fence", |guest| Ok(fence.load(guest)? == seq))?;
    for _ in 0..20 {
        guest.pass(Duration::from_millis(1));
        guest.step()?;
    }
    assert_eq!(guest.interrupts().len(), mark, "too early");
    guest.pass(delay);
    guest.run_until("the late interrupt", |guest| Ok(guest.interrupts().len() > mark))
}

#[test]
fn a_withheld_acknowledgement_stays_away_until_the_next_request_or_the_end_of_the_fault() -> Story {
    let mut driver = driver()?;
    inject(
        &mut driver,
        Fault::WithholdAcknowledge { hub: HubId::Gfx },
        0,
        Some(1),
    )?;
    stays_away(gmc::flush_tlb(&mut driver.guest, &GFXHUB, 1))?;
    gmc::flush_tlb(&mut driver.guest, &GFXHUB, 1)?;
    inject(
        &mut driver,
        Fault::WithholdAcknowledge { hub: HubId::Gfx },
        0,
        None,
    )?;
    stays_away(gmc::flush_tlb(&mut driver.guest, &GFXHUB, 1))?;
    driver.guest.gpu().clear_faults(None);
    driver
        .guest
        .poll("acknowledge", GFXHUB.ack.plus(17 * 4), 2, 2)
        .map(|_| ())
}

#[test]
fn the_security_processor_is_silent_or_fails_for_one_command() -> Story {
    let mut driver = driver()?;
    let (load_toc, boot) = (psp::command::LOAD_TOC, psp::command::AUTOLOAD_RLC);
    let command = Some("LOAD_TOC");
    inject(
        &mut driver,
        Fault::PspFail {
            command,
            status: 0xffff_0000,
        },
        0,
        Some(1),
    )?;
    let Driver { psp, guest, .. } = &mut driver;
    expect("another command", psp.submit(guest, boot, &[])?.status, 0_u32)?;
    expect(
        "status",
        psp.submit(guest, load_toc, &[])?.status,
        0xffff_0000_u32,
    )?;
    expect("afterwards", psp.submit(guest, load_toc, &[])?.status, 0_u32)?;
    inject(&mut driver, Fault::PspSilent { command }, 0, Some(1))?;
    let Driver { psp, guest, .. } = &mut driver;
    stays_away(psp.submit(guest, load_toc, &[]))?;
    expect("afterwards", psp.submit(guest, load_toc, &[])?.status, 0_u32)?;
    inject(&mut driver, Fault::PspSilent { command: None }, 0, None)?;
    // The mailbox that the driver looks at afterwards said "ready" before, and still does.
    psp::Psp::mode1_reset(&mut driver.guest)?;
    driver.guest.run_until_idle()?;
    assert_ne!(driver.guest.read(mp::MP0_C2PMSG_81), 0, "no reset happened");
    assert_eq!(
        fired(&mut driver).last().map(String::as_str),
        Some("psp-silent: time 1: a mailbox")
    );
    Ok(())
}

#[test]
fn the_management_unit_is_silent_or_fails_for_one_message() -> Story {
    let mut driver = driver()?;
    let message = Some(smu::message::MODE1_RESET);
    inject(
        &mut driver,
        Fault::SmuFail {
            message,
            result: 0xff,
        },
        0,
        Some(1),
    )?;
    let guest = &mut driver.guest;
    smu::send(guest, smu::message::GET_SMU_VERSION, 0)?;
    stays_away(smu::send(guest, smu::message::MODE1_RESET, 0))?;
    expect("result", guest.read(mp::MP1_C2PMSG_90), 0xff_u32)?;
    inject(&mut driver, Fault::SmuSilent { message }, 0, Some(1))?;
    let guest = &mut driver.guest;
    stays_away(smu::send(guest, smu::message::MODE1_RESET, 0))?;
    expect("result", guest.read(mp::MP1_C2PMSG_90), 0_u32)?;
    assert_ne!(guest.read(mp::MP0_C2PMSG_81), 0, "no reset happened");
    Ok(())
}

#[test]
fn a_part_that_does_not_come_back_needs_a_reset_from_the_bus() -> Story {
    let mut driver = driver()?;
    inject(
        &mut driver,
        Fault::ResetFail {
            how: ResetFailure::Never,
        },
        0,
        Some(1),
    )?;
    let outcome = driver.mode1_reset(ResetMethod::Mode1Smu);
    assert!(matches!(
        outcome,
        Err(Failure::Invalid("memory size after the reset"))
    ));
    let guest = &mut driver.guest;
    for register in [nbio::RCC_CONFIG_MEMSIZE, mp::MP0_C2PMSG_81, gc::GRBM_GFX_CNTL] {
        expect("all ones", guest.read(register), u32::MAX)?;
    }
    guest.gpu().reset(ResetKind::FunctionLevel);
    expect("all ones", guest.read(nbio::RCC_CONFIG_MEMSIZE), u32::MAX)?;
    guest.gpu().reset(ResetKind::Bus);
    expect_cold(guest)?;
    driver.hw_init()?;
    works(&mut driver, 0)
}

#[test]
fn a_part_can_come_back_late() -> Story {
    let mut driver = driver()?;
    let how = ResetFailure::Late(Duration::from_secs(2));
    inject(&mut driver, Fault::ResetFail { how }, 0, Some(1))?;
    smu::send(&mut driver.guest, smu::message::MODE1_RESET, 0)?;
    let guest = &mut driver.guest;
    guest.step()?;
    expect("the mailbox's answer", guest.read(mp::MP1_C2PMSG_90), 1_u32)?;
    guest.pass(Duration::from_millis(1900));
    guest.step()?;
    expect("memory size", guest.read(nbio::RCC_CONFIG_MEMSIZE), u32::MAX)?;
    guest.pass(Duration::from_millis(101));
    guest.run_until_idle()?;
    expect_cold(guest)?;
    driver.hw_init()
}

#[test]
fn a_reset_can_lie() -> Story {
    let mut driver = driver()?;
    let vram = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.store(&vram, 0, 0x5afe)?;
    let how = ResetFailure::Lies;
    inject(&mut driver, Fault::ResetFail { how }, 0, Some(1))?;
    smu::send(&mut driver.guest, smu::message::MODE1_RESET, 0)?;
    driver.guest.run_until_idle()?;
    assert_ne!(
        driver.guest.read(mp::MP0_C2PMSG_81),
        0,
        "the secure OS still runs"
    );
    expect("VRAM", driver.guest.load(&vram, 0)?, 0x5afe_u32)?;
    works(&mut driver, 0)
}

#[test]
fn a_queue_reset_that_fails_leaves_the_hang_to_mode1() -> Story {
    for engine in [Some(SDMA0), None] {
        let mut driver = driver()?;
        inject(&mut driver, Fault::QueueResetFail { engine }, 0, None)?;
        hang(&mut driver, SDMA0, HangWhen::Now)?;
        let (engine, guest) = driver.engine(0)?;
        guest.write(engine.at(reg::FREEZE), FREEZE);
        guest.run_until_idle()?;
        expect("FREEZE", guest.read(engine.at(reg::FREEZE)), FREEZE)?;
        engine.soft_reset(guest);
        stays_away(restart(&mut driver, 0))?;
        driver.mode1_reset(ResetMethod::Mode1Smu)?;
        driver.hw_init()?;
        works(&mut driver, 0)?;
    }
    Ok(())
}

#[test]
fn off_the_bus_nothing_answers_and_nothing_is_written() -> Story {
    let mut driver = driver()?;
    let system = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let vram = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    inject(&mut driver, Fault::OffBus, 0, None)?;
    expect("a register", driver.guest.read(gc::SCRATCH_REG0), u32::MAX)?;
    driver.guest.write(gc::SCRATCH_REG0, 7);
    driver.guest.store(&vram, 0, 8)?;
    stays_away(copy(&mut driver, 0, &vram, &system))?;
    expect("system memory", driver.guest.load(&system, 0)?, 0_u32)?;
    driver.guest.gpu().clear_faults(None);
    assert_ne!(driver.guest.read(gc::SCRATCH_REG0), 7);
    let (queue, guest) = driver.compute(0)?;
    queue.test_ring(guest)
}

#[test]
fn a_fault_on_command_looks_like_a_real_one() -> Story {
    let mut driver = driver()?;
    // The context has to want interrupts: a job has been there.
    let (mut vm, ib, data, _) = user(&mut driver)?;
    driver.map(&mut vm, DATA_VA, &data)?;
    driver.run_user(0, &vm, (&ib, IB_VA), &packet::write(GpuVa::new(DATA_VA), &[1]))?;
    // Behind what is mapped, in the same table.
    let va = GpuVa::new(DATA_VA + 16 * PAGE);
    let access = Access::Write;
    let mark = driver.guest.interrupts().len();
    let mut seen = Vec::new();
    for round in 0..2 {
        if round == 0 {
            let vmid = Vmid::from_field(1);
            inject(&mut driver, Fault::VmFault { vmid, va, access }, 0, None)?;
        } else {
            driver.run_user(0, &vm, (&ib, IB_VA), &packet::write(va, &[1]))?;
        }
        driver.guest.run_until_idle()?;
        let status = driver.guest.read(GFXHUB.fault_status);
        let entry = driver.guest.interrupts()[mark..]
            .iter()
            .rfind(|interrupt| interrupt.source == 0)
            .copied()
            .expect("a fault's interrupt");
        seen.push((status & !1, entry.client, entry.ring, entry.pasid, entry.data));
        driver.guest.modify(GFXHUB.fault_cntl, 0, 1);
    }
    assert_eq!(seen[0], seen[1]);
    Ok(())
}
