//! What each reset clears: the table of `docs/resets.md` is found by doing it.
//!
//! A driver brings everything up, every register without an effect of its own is overwritten, every engine has work in flight; then comes
//! the reset, and a look at everything. Whoever changes what a reset does changes the table, or this fails.

use std::collections::BTreeMap;
use std::time::Duration;

use device::event::ResetKind;
use gart::GpuVa;
use mmio::{Fidelity, RegOffset};
use tests::driver::packet::{pm4, sdma as packet};
use tests::driver::regs::{gc, mp, nbio, sdma};
use tests::driver::{Domain, Driver, Kernel, mailbox, smu};
use tests::guest::{Buffer, Failure, FakeGuest, PAGE};

const BEGIN: &str = "<!-- made by tests/tests/reset_table.rs -->\n";
const END: &str = "<!-- end -->";
const SDMA0_FREEZE: RegOffset = RegOffset::from_byte(0x4a2c);
const CP_VMID_RESET: RegOffset = RegOffset::from_byte(0xc2cc);
const ENTER_BACO: u32 = 0x15;
const EXIT_BACO: u32 = 0x16;
/// What the waits in flight wait for lies here in a page of VRAM, and behind it what they write then.
const FLAG: u64 = 0;
const OLD: u32 = 0x5afe_5afe;
const WRITTEN: u32 = 0xbad;

const VF_FLR: &str = "vf-flr";

type Cause = fn(&mut Driver) -> Result<(), Failure>;

/// The columns. Those of the name `vf-...` are of a virtual function.
const RESETS: [(&str, Cause); 14] = [
    ("mode1-smu", |driver| {
        smu::send(&mut driver.guest, smu::message::MODE1_RESET, 0).map(drop)
    }),
    ("mode1-psp", |driver| {
        driver.guest.write(mp::MP0_C2PMSG_64, 0x7_0000);
        Ok(())
    }),
    ("mode2", |driver| {
        smu::send(&mut driver.guest, smu::message::MODE2_RESET, 0).map(drop)
    }),
    ("baco", |driver| {
        smu::send(&mut driver.guest, ENTER_BACO, 0)?;
        driver.guest.step()?;
        smu::send(&mut driver.guest, EXIT_BACO, 0).map(drop)
    }),
    (VF_FLR, |driver| {
        let guest = &mut driver.guest;
        let (asked, answer) = (
            mailbox::request::REQ_GPU_RESET_ACCESS,
            mailbox::event::READY_TO_ACCESS_GPU,
        );
        mailbox::ask(guest, asked, answer).map(drop)
    }),
    ("function-level", |driver| reset(driver, ResetKind::FunctionLevel)),
    ("bus", |driver| reset(driver, ResetKind::Bus)),
    ("d3hot", |driver| reset(driver, ResetKind::D3hot)),
    ("power-off", |driver| {
        driver.guest.gpu().power_off();
        Ok(())
    }),
    ("soft-sdma (sdma0)", |driver| {
        soft_reset(&mut driver.guest, 1 << 23);
        Ok(())
    }),
    ("soft-gfx (SOFT_RESET_CP)", |driver| {
        soft_reset(&mut driver.guest, 1);
        Ok(())
    }),
    ("queue (sdma0)", |driver| {
        driver.guest.write(SDMA0_FREEZE, 1 << 4);
        driver.guest.step()?;
        soft_reset(&mut driver.guest, 1 << 23);
        Ok(())
    }),
    ("queue (gfx_0.0.0)", |driver| {
        driver.guest.write(CP_VMID_RESET, 1 << 16);
        Ok(())
    }),
    ("queue (comp_1.0.0)", |driver| {
        let Driver { gfx, guest, .. } = driver;
        let queue = gfx.compute.first().ok_or(Failure::Invalid("no compute queue"))?;
        let doorbell = queue.ring.doorbell;
        gfx.run_on_kiq(guest, &pm4::unmap_queue(0, 1, doorbell))
    }),
];

fn reset(driver: &mut Driver, kind: ResetKind) -> Result<(), Failure> {
    driver.guest.gpu().reset(kind);
    Ok(())
}

fn soft_reset(guest: &mut FakeGuest, bits: u32) {
    guest.write(gc::GRBM_SOFT_RESET, bits);
    guest.write(gc::GRBM_SOFT_RESET, 0);
}

/// A register that keeps what is written to it and does nothing else.
struct Stored {
    block: &'static str,
    offset: RegOffset,
    smn: bool,
    before: u32,
    dirty: u32,
}

fn read(guest: &mut FakeGuest, offset: RegOffset, smn: bool) -> u32 {
    if !smn {
        return guest.read(offset);
    }
    guest.write(nbio::PCIE_INDEX2, offset.byte());
    guest.read(nbio::PCIE_DATA2)
}

fn write(guest: &mut FakeGuest, offset: RegOffset, smn: bool, value: u32) {
    if smn {
        guest.write(nbio::PCIE_INDEX2, offset.byte());
        guest.write(nbio::PCIE_DATA2, value);
    } else {
        guest.write(offset, value);
    }
}

/// Overwrites every such register with something else than it has after power-on.
fn dirty_registers(guest: &mut FakeGuest) -> Vec<Stored> {
    let mut all = Vec::new();
    for block in guest.gpu().registers() {
        for info in block.files.iter().flat_map(|file| file.registers()) {
            if info.spec.fidelity == Fidelity::Stored && info.spec.write_mask != 0 {
                all.push(Stored {
                    block: block.block,
                    offset: info.offset,
                    smn: block.smn,
                    before: info.spec.reset,
                    dirty: info.spec.reset ^ info.spec.write_mask,
                });
            }
        }
    }
    for register in &all {
        write(guest, register.offset, register.smn, register.dirty);
    }
    // A few lie behind a window that another one of them moves: only what shows its value is looked at.
    all.retain(|register| read(guest, register.offset, register.smn) == register.dirty);
    all
}

fn verdict(cleared: usize, kept: usize, all: usize) -> String {
    match (cleared, kept) {
        (cleared, _) if cleared == all => "cleared".to_owned(),
        (_, kept) if kept == all => "kept".to_owned(),
        _ => "in part".to_owned(),
    }
}

/// Blocks every engine on the flag. Each writes at a place of its own once it is set.
fn put_work_in_flight(driver: &mut Driver, page: &Buffer) -> Result<Vec<(String, u64)>, Failure> {
    let flag = page.mc().plus(FLAG);
    let mut work = Vec::new();
    let mut place = |name: String| {
        let at = 0x40 + 8 * work.len() as u64;
        work.push((name, at));
        page.mc().plus(at)
    };
    for index in 0..driver.sdma.len() {
        let at = place(format!("work of sdma{index}"));
        let (engine, guest) = driver.engine(index)?;
        engine.ring.write(guest, &packet::wait_memory(flag, 1))?;
        engine.ring.write(guest, &packet::write(at, &[WRITTEN]))?;
        engine.commit(guest)?;
    }
    let queue_work = |at: GpuVa| {
        [
            pm4::wait_memory(flag, 1).to_vec(),
            pm4::write_memory(at, WRITTEN).to_vec(),
        ]
    };
    let Driver { gfx, guest, .. } = driver;
    let graphics = gfx.graphics.iter_mut().map(|queue| ("gfx", queue));
    let compute = gfx.compute.iter_mut().take(1).map(|queue| ("comp", queue));
    for (kind, queue) in graphics.chain(compute) {
        let (me, pipe, number) = queue.place;
        let at = place(format!("work of {kind}_{me}.{pipe}.{number}"));
        for packet in queue_work(at) {
            queue.ring.write(guest, &packet)?;
        }
        queue.commit(guest)?;
    }
    for _ in 0..20 {
        driver.guest.step()?;
    }
    for (name, at) in &work {
        assert_eq!(driver.guest.load(page, *at)?, 0, "{name} waits");
    }
    Ok(work)
}

/// One column: what became of every row.
fn column(name: &str, cause: Cause) -> Result<Vec<(String, String)>, Failure> {
    let mut driver = match name {
        VF_FLR => Driver::bring_up_vf(Kernel::V7_3, 2)?,
        _ => Driver::bring_up(Kernel::V7_3, 2)?,
    };
    let page = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    let contents = driver.allocate(Domain::Vram, PAGE, PAGE)?;
    driver.guest.write_dwords(&page, 0, &[0; 1024])?;
    driver.guest.store(&contents, 0, OLD)?;
    let work = put_work_in_flight(&mut driver, &page)?;
    let registers = dirty_registers(&mut driver.guest);

    cause(&mut driver)?;
    for _ in 0..500 {
        driver.guest.step()?;
    }
    driver.guest.set_bus_master(true);
    driver.guest.forget_interrupts();

    let guest = &mut driver.guest;
    let mut blocks: Vec<&str> = Vec::new();
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for register in &registers {
        let value = read(guest, register.offset, register.smn);
        if !blocks.contains(&register.block) {
            blocks.push(register.block);
        }
        let [cleared, kept, all] = counts.entry(register.block).or_default();
        *cleared += usize::from(value == register.before);
        *kept += usize::from(value == register.dirty);
        *all += 1;
    }
    let mut rows: Vec<(String, String)> = Vec::new();
    for block in blocks {
        let [cleared, kept, all] = counts.get(block).copied().unwrap_or_default();
        rows.push((format!("{block}: registers"), verdict(cleared, kept, all)));
    }
    let lives = |lives: bool| if lives { "kept" } else { "cleared" }.to_owned();
    rows.push(("secure OS".to_owned(), lives(guest.read(mp::MP0_C2PMSG_81) != 0)));
    for (index, engine) in driver.sdma.iter().enumerate() {
        let enabled = driver.guest.read(engine.at(sdma::GFX_RB_CNTL)) & 1 != 0;
        rows.push((format!("queue of sdma{index}"), lives(enabled)));
    }
    let guest = &mut driver.guest;
    let queues = [&driver.gfx.kiq].into_iter().chain(driver.gfx.compute.first());
    for (name, queue) in ["kiq", "comp"].into_iter().zip(queues) {
        let (me, pipe, number) = queue.place;
        guest.write(gc::GRBM_GFX_CNTL, pipe | me << 2 | number << 8);
        let active = guest.read(gc::CP_HQD_ACTIVE) & 1 != 0;
        rows.push((format!("queue {name}_{me}.{pipe}.{number}"), lives(active)));
    }
    guest.write(gc::GRBM_GFX_CNTL, 0);
    let found = match guest.load(&contents, 0)? {
        OLD => "kept",
        0 => "zero",
        gpu::POISON => "poison",
        _ => "something else",
    };
    rows.push(("VRAM (by default)".to_owned(), found.to_owned()));

    // Whatever still waits goes on now.
    guest.store(&page, FLAG, 1)?;
    for (_, at) in &work {
        guest.store(&page, *at, 0)?;
    }
    for _ in 0..200 {
        guest.pass(Duration::from_millis(1));
        guest.step()?;
    }
    for (name, at) in work {
        let goes_on = guest.load(&page, at)? == WRITTEN;
        rows.push((name, if goes_on { "goes on" } else { "dropped" }.to_owned()));
    }
    Ok(rows)
}

fn table() -> Result<String, Failure> {
    let mut text = String::from("| |");
    let mut lines: Vec<String> = Vec::new();
    for (index, (name, cause)) in RESETS.into_iter().enumerate() {
        text.push_str(&format!(" {name} |"));
        for (row, (what, became)) in column(name, cause)?.into_iter().enumerate() {
            if index == 0 {
                lines.push(format!("| {what} |"));
            }
            let line = lines
                .get_mut(row)
                .ok_or(Failure::Invalid("a row that is not in every column"))?;
            assert!(line.starts_with(&format!("| {what} |")), "{line} is not {what}");
            line.push_str(&format!(" {became} |"));
        }
    }
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(RESETS.len())));
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

#[test]
fn the_table_of_the_documentation_is_what_resets_do() -> Result<(), Failure> {
    let document = include_str!("../../docs/resets.md");
    let found = document
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(table, _)| table);
    let expected = table()?;
    assert_eq!(
        found,
        Some(expected.as_str()),
        "the table of docs/resets.md has to be:\n{expected}"
    );
    Ok(())
}
