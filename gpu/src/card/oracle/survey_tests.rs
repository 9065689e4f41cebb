//! Looks that take more than one turn.

use gart::registers as hub;
use gart::testing::TestMemory;

use super::*;
use crate::asic::NAVI21;
use crate::card::{GpuConfig, Work};
use crate::event::ResetKind;

type Gpu = crate::card::Gpu<TestMemory>;

/// So many that a look takes several turns, and that not one of them goes on where the one before ends.
const PAGES: u64 = 1_500_000;
const ROOT: u64 = 0x10_0000;
const FLAGS: u64 = 1 | 1 << 5 | 1 << 6;

fn put(gpu: &Gpu, at: u64, entry: u64) {
    let at = Location::Vram(VramOffset::new(at));
    gpu.memory().store_u64(at, entry).unwrap();
}

/// Points VMID 1 at a root, with two levels of tables, and flushes it.
fn point(gpu: &mut Gpu, root: u64) {
    let layout = NAVI21.gfxhub;
    let mut write = |register: mmio::RegOffset, value| gpu.write_register(layout.l2(register), value);
    let address = u32::try_from(root).unwrap() | 1;
    write(hub::PAGE_TABLE_BASE.plus(8), address);
    write(hub::PAGE_TABLE_BASE.plus(12), 0);
    write(hub::PAGE_TABLE_END.plus(8), u32::MAX);
    write(hub::PAGE_TABLE_END.plus(12), 0xf);
    // ENABLE_CONTEXT, three levels of directories.
    write(hub::CONTEXT_CNTL.plus(4), 1 | 3 << 1);
    write(hub::INVALIDATE_REQ, 1 << 1);
}

/// A GPU with one user, who maps [`PAGES`] pages in no order.
fn gpu() -> Gpu {
    let config = GpuConfig::bare_metal(&NAVI21, 1);
    let memory = TestMemory::new(256 << 20);
    let mut gpu = Gpu::new(config, memory).unwrap();
    let [pdb1, pdb0, ptbs] = [0x1000, 0x1_0000, 0x10_0000].map(|at| ROOT + at);
    put(&gpu, ROOT, pdb1 | 1);
    for table in 0..PAGES.div_ceil(512) {
        put(
            &gpu,
            pdb1 + 8 * (table / 512),
            (pdb0 + 0x1000 * (table / 512)) | 1,
        );
        put(&gpu, pdb0 + 8 * table, (ptbs + 0x1000 * table) | 1);
    }
    for page in 0..PAGES {
        let target = page * 0x9e37 % (1 << 20) * 4096;
        put(&gpu, ptbs + 8 * page, target | FLAGS);
    }
    point(&mut gpu, ROOT);
    gpu
}

/// Runs until there is nothing to do; gives the turns that it took.
fn settle(gpu: &mut Gpu) -> u32 {
    (0..10_000).find(|_| gpu.run() != Work::Busy).unwrap()
}

fn user(report: &OracleReport) -> &protocol::oracle::SpaceReport {
    report.spaces.iter().find(|space| space.kind == "user").unwrap()
}

#[test]
fn a_loss_waits_until_what_was_mapped_before_it_is_kept() {
    let mut gpu = gpu();
    gpu.lose(Loss::whole(LossMode::Poison));
    // The look is under way, and nothing is lost yet.
    assert!(gpu.observers.oracle.is_surveying());
    gpu.run();
    assert!(gpu.observers.oracle.is_surveying());
    let first = Location::Vram(VramOffset::new(ROOT + 0x10_0000));
    assert_eq!(gpu.memory().load_u64(first), Ok(FLAGS));
    assert!(settle(&mut gpu) > 3);
    assert_eq!(gpu.memory().load_u64(first), Ok(POISONED_ENTRY));
    let report = gpu.compare_tables();
    let space = user(&report);
    assert_eq!((space.before.entries, space.counts.poisoned), (PAGES, PAGES));
    assert_eq!(space.before.generation, Some(0));
    assert!(space.lost && !space.truncated);
    // The next loss does not make the poison the reference.
    gpu.lose(Loss::whole(LossMode::Poison));
    settle(&mut gpu);
    assert_eq!(user(&gpu.compare_tables()).before.generation, Some(0));
}

#[test]
fn a_reset_in_the_middle_of_a_comparison_comes_first() {
    let mut gpu = gpu();
    let ticket = gpu.ask_oracle(Question::Comparison).unwrap();
    assert_eq!(gpu.ask_oracle(Question::Snapshot), None, "one at a time");
    gpu.run();
    assert_eq!(gpu.oracle_answer(ticket), Outcome::Pending);
    gpu.reset(ResetKind::FunctionLevel);
    assert_eq!(gpu.oracle_answer(ticket), Outcome::Pending);
    settle(&mut gpu);
    let Outcome::Ready(Answer::Comparison(report)) = gpu.oracle_answer(ticket) else {
        panic!("no answer")
    };
    assert_eq!(gpu.oracle_answer(ticket), Outcome::Gone, "it is given once");
    assert_eq!(report.generation, 1);
    assert_eq!(
        (user(&report).before.generation, user(&report).counts.same),
        (Some(0), PAGES)
    );
}

#[test]
fn two_resets_in_a_row_share_a_look() {
    let mut gpu = gpu();
    gpu.reset(ResetKind::FunctionLevel);
    let left = gpu.observers.oracle.survey.is_some();
    gpu.reset(ResetKind::FunctionLevel);
    settle(&mut gpu);
    assert!(left);
    let report = gpu.compare_tables();
    assert_eq!((report.generation, user(&report).before.generation), (2, Some(0)));
}

#[test]
fn a_space_that_appears_during_a_look_is_known_after_it() {
    let mut gpu = gpu();
    gpu.ask_oracle(Question::Snapshot).unwrap();
    gpu.run();
    assert!(gpu.observers.oracle.is_surveying());
    point(&mut gpu, 0x80_0000 + (64 << 20));
    assert_eq!(gpu.observers.oracle.spaces.all().len(), 1);
    settle(&mut gpu);
    assert_eq!(gpu.observers.oracle.spaces.all().len(), 2);
}

#[test]
fn engines_stand_still_during_a_look() {
    let mut gpu = gpu();
    gpu.ask_oracle(Question::Snapshot).unwrap();
    gpu.engines.cp_turn = crate::card::turn::Turn::Now;
    gpu.run();
    assert!(gpu.observers.oracle.is_surveying() && gpu.is_due(gpu.engines.cp_turn));
    settle(&mut gpu);
    assert!(!gpu.is_due(gpu.engines.cp_turn));
}

#[test]
fn what_a_look_may_keep_is_bounded_by_vram() {
    for (size, runs) in [(256 << 20, 4 << 20), (1 << 30, 16 << 20), (64 << 30, 16 << 20)] {
        let budget = survey::budget(size);
        assert_eq!(budget.runs, runs);
        assert!(budget.walk.tables <= size / 4096, "tables that VRAM cannot hold");
    }
}
