//! What the device takes down about a story, and in which order.

mod common;

use common::everywhere;
use device::event::{EngineName, Event, Hex, Hub, LossCause, Record, ResetKind};
use gart::GpuVa;
use gpu::{Loss, LossMode, Work};
use protocol::fault::Access;
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::vm::Vm;
use tests::driver::{Domain, Driver, Kernel, ResetMethod};
use tests::guest::{Buffer, Failure, FakeGuest, PAGE, expect};

type Story = Result<(), String>;

/// What is taken down from number `since` on.
fn told(guest: &mut FakeGuest, since: u64) -> Vec<Record> {
    let gpu = guest.gpu();
    gpu.flush_journal();
    gpu.journal()
        .since(since)
        .map(|record| (**record).clone())
        .collect()
}

fn next(guest: &mut FakeGuest) -> u64 {
    let gpu = guest.gpu();
    gpu.flush_journal();
    gpu.journal().next_seq()
}

#[test]
fn a_job_is_its_fence_and_then_its_interrupt() -> Story {
    everywhere(|driver| {
        let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let since = next(&mut driver.guest);
        let (engine, guest) = driver.engine(0)?;
        engine.run(guest, &packet::write(target.mc(), &[1]))?;
        let seq = u64::from(engine.ring.seq);
        let events: Vec<_> = told(guest, since)
            .into_iter()
            .map(|record| record.event)
            .collect();
        let is_fence = |event: &Event| matches!(event, Event::Fence { engine: EngineName::Sdma(0), value, .. } if *value == seq);
        let is_trap = |event: &Event| {
            matches!(
                event,
                Event::Interrupt {
                    source: 224,
                    vmid: 0,
                    ..
                }
            )
        };
        let fence = events.iter().position(is_fence);
        let trap = events.iter().position(is_trap);
        assert!(fence.is_some() && fence < trap, "{events:?}");
        Ok(())
    })
}

#[test]
fn a_wait_is_told_once_it_has_lasted_100_ms_and_then_the_reset_that_ends_it() -> Story {
    everywhere(|driver| {
        let flag = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        let (engine, guest) = driver.engine(0)?;
        let length = engine.load_ib(guest, &packet::wait_memory(flag.mc(), 1))?;
        let ib = engine.ib().mc();
        engine.submit(guest, None, ib, length)?;
        let (queue, guest) = driver.compute(5)?;
        queue.ring.write(guest, &pm4::wait_memory(flag.mc(), 1))?;
        queue.commit(guest)?;
        let since = next(guest);
        let generation = guest.gpu().journal().generation();
        let waits = |guest: &mut FakeGuest| {
            let mut engines: Vec<_> = told(guest, since)
                .into_iter()
                .filter_map(|record| match record.event {
                    Event::EngineWaits { engine, .. } => Some(engine.to_string()),
                    _ => None,
                })
                .collect();
            engines.sort();
            engines
        };
        for _ in 0..20 {
            guest.step()?;
        }
        assert_eq!(waits(guest), Vec::<String>::new(), "not yet");
        for _ in 0..300 {
            guest.step()?;
        }
        assert_eq!(waits(guest), ["compute", "sdma0"], "each once");

        let state = guest.gpu().state();
        let shown = serde_json::to_value(&state).map_err(|_| Failure::Invalid("no JSON"))?;
        assert_eq!(shown["engines"][0]["doing"], "waiting");
        let at = format!("{:#x}", flag.mc().get());
        assert!(
            shown["engines"][0]["waits_for"].to_string().contains(&at),
            "{shown}"
        );
        let waiting = |queue: &&serde_json::Value| queue["doing"] == "waiting";
        let queues = shown["queues"]
            .as_array()
            .map_or(0, |all| all.iter().filter(waiting).count());
        assert_eq!(queues, 1, "{shown}");

        driver.mode1_reset(ResetMethod::Mode1Psp)?;
        let reset: Vec<_> = told(&mut driver.guest, since)
            .into_iter()
            .filter(|record| {
                !matches!(
                    record.event,
                    Event::EngineWaits { .. } | Event::Interrupt { .. } | Event::Fence { .. }
                )
            })
            .collect();
        let kind = ResetKind::Mode1Psp;
        let [begin, loss, lost, end] = &reset[..] else {
            return Err(Failure::Invalid("more or less than a reset and its loss"));
        };
        assert_eq!(begin.event, Event::ResetBegin { kind, target: None });
        assert!(matches!(
            loss.event,
            Event::LossBegin {
                mode: LossMode::Poison,
                offset: 0,
                cause: LossCause::Reset,
                ..
            }
        ));
        assert!(matches!(lost.event, Event::LossEnd { bytes: 1.., .. }));
        assert_eq!(end.event, Event::ResetEnd { kind, target: None });
        assert!(reset.iter().all(|record| record.generation == generation + 1));
        let summary = driver.guest.gpu().journal().summary().clone();
        assert!(summary.last_reset.is_some_and(|reset| reset.ended_us.is_some()));
        Ok(())
    })
}

const IB_VA: u64 = 0x1000_0000;
const UNMAPPED: u64 = 0x5000_0000;
const VMID: u8 = 2;

/// Has a user read an address, and gives what is told about its faults: where, and whether the walk met poison.
fn faults(driver: &mut Driver, vm: &Vm, ib: &Buffer, va: u64) -> Result<Vec<(Hex, bool)>, Failure> {
    let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let since = next(&mut driver.guest);
    let job = packet::copy(GpuVa::new(va), target.mc(), 8);
    driver.run_user(0, vm, (ib, IB_VA), &job)?;
    let faults = told(&mut driver.guest, since).into_iter();
    Ok(faults
        .filter_map(|record| match record.event {
            Event::VmFault {
                hub: Hub::Gfxhub,
                vmid: VMID,
                va,
                access: Access::Read,
                poisoned,
                ..
            } => Some((va, poisoned)),
            _ => None,
        })
        .collect())
}

#[test]
fn a_fault_tells_whether_its_walk_met_the_poison_of_a_loss() -> Story {
    everywhere(|driver| {
        let mut vm = driver.new_vm(VMID.into(), 7)?;
        let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
        driver.map(&mut vm, IB_VA, &ib)?;
        let at = faults(driver, &vm, &ib, UNMAPPED)?;
        assert_eq!(at.first(), Some(&(Hex(UNMAPPED), false)), "nothing was lost");

        let roots = driver.guest.gpu().state().contexts;
        let root = roots
            .iter()
            .find(|context| (context.hub, context.vmid) == (Hub::Gfxhub, VMID))
            .and_then(|context| u64::from_str_radix(context.root.strip_prefix("vram+0x")?, 16).ok())
            .ok_or(Failure::Invalid("the context is not live"))?;
        let table = Buffer::in_vram(gart::VramOffset::new(root), GpuVa::default(), PAGE);
        let kept = driver.guest.read_bytes(&table, 0, 4096)?;
        // What looks like poison is none as long as nothing was lost.
        driver.guest.write_bytes(&table, 0, &[0xfb; 4096])?;
        let at = faults(driver, &vm, &ib, UNMAPPED)?;
        assert_eq!(at.first(), Some(&(Hex(IB_VA), false)), "the guest's own doing");
        driver.guest.write_bytes(&table, 0, &kept)?;

        driver.guest.gpu().lose(Loss {
            mode: LossMode::Poison,
            offset: root,
            length: PAGE,
        });
        let at = faults(driver, &vm, &ib, UNMAPPED)?;
        assert_eq!(at.first(), Some(&(Hex(IB_VA), true)), "poison");
        driver.guest.write_bytes(&table, 0, &kept)?;
        let at = faults(driver, &vm, &ib, UNMAPPED)?;
        assert_eq!(at.first(), Some(&(Hex(UNMAPPED), false)), "recovered");
        Ok(())
    })
}

#[test]
fn an_illegal_packet_is_a_halt_with_its_queue_and_header() -> Story {
    everywhere(|driver| {
        let since = next(&mut driver.guest);
        let (queue, guest) = driver.compute(0)?;
        // Type 3, opcode 0xff.
        queue.ring.write(guest, &[0xc000_ff00, 0])?;
        queue.commit(guest)?;
        guest.run_until_idle()?;
        let halts: Vec<_> = told(guest, since)
            .into_iter()
            .filter_map(|record| match record.event {
                Event::EngineHalted { engine, reason } => Some((engine, reason)),
                _ => None,
            })
            .collect();
        let [(engine, reason)] = &halts[..] else {
            return Err(Failure::Invalid("one halt, told once"));
        };
        assert_eq!(*engine, EngineName::Compute);
        assert!(
            reason.starts_with("queue 1.") && reason.contains("0xc000ff00"),
            "{reason}"
        );
        Ok(())
    })
}

#[test]
fn generations_count_resets_and_losses_and_never_go_back() -> Result<(), Failure> {
    let mut driver = Driver::bring_up(Kernel::V6_12, 2)?;
    assert_eq!(driver.guest.gpu().journal().generation(), 0);
    driver.guest.reset_function();
    assert_eq!(driver.guest.gpu().journal().generation(), 1);
    driver.guest.gpu().lose(Loss::whole(LossMode::Zero));
    assert_eq!(driver.guest.gpu().journal().generation(), 2);
    while driver.guest.step()? == Work::Busy {}
    let records = told(&mut driver.guest, 0);
    assert!(records.is_sorted_by_key(|record| (record.us, record.generation)));
    expect(
        "last",
        records.last().map_or(0, |record| record.generation),
        2_u64,
    )
}
