use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::mappings::{CollectBudget, Collector, Splitter, Table};
use crate::testing::{TestMemory, TestTables};
use crate::{Context, EntryKind, Location, PAGE_SIZE, PhysicalMemory, VramOffset, WalkBudget, walk_tables};

const MIB: u64 = 1 << 20;
const VRAM: u64 = 4 * MIB;
const POISON: u64 = 0xfbfb_fbfb_fbfb_fbfb;
const BUDGET: CollectBudget = CollectBudget {
    walk: WalkBudget {
        tables: 1 << 12,
        entries: 1 << 20,
    },
    runs: 1 << 12,
};
/// Readable and writeable, in VRAM.
const PAGE: Pte = Pte::new()
    .with_valid(true)
    .with_readable(true)
    .with_writeable(true);

fn is_poison(_: Location, bits: u64) -> bool {
    bits == POISON
}

fn look(tables: &TestTables, memory: &TestMemory) -> Mappings {
    Mappings::collect(&tables.context(), 0, memory, BUDGET, is_poison)
}

/// Does something in turns of so much, until it is over.
fn turns(much: u64, mut step: impl FnMut(&mut u64) -> bool) {
    while !step(&mut { much }) {}
}

struct World {
    memory: TestMemory,
    tables: TestTables,
}

impl World {
    fn new() -> Self {
        Self {
            memory: TestMemory::new(VRAM),
            tables: TestTables::four_levels(),
        }
    }

    fn map(&mut self, va: u64, level: Level, entry: Pte) {
        let Self { memory, tables } = self;
        tables.map(memory, GpuVa::new(va), level, entry).unwrap();
    }

    /// `count` pages from `va` on, to memory from `target` on.
    fn pages(&mut self, va: u64, count: u64, target: u64) {
        for page in 0..count {
            let entry = PAGE.with_address(target + page * PAGE_SIZE);
            self.map(va + page * PAGE_SIZE, Level::Ptb, entry);
        }
    }

    fn set(&mut self, va: u64, level: Level, bits: u64) {
        let Self { memory, tables } = self;
        let at = tables.entry(memory, GpuVa::new(va), level).unwrap();
        memory.store_u64(at, bits).unwrap();
    }

    fn look(&self) -> Mappings {
        look(&self.tables, &self.memory)
    }
}

#[test]
fn what_goes_on_is_one_run() {
    let mut world = World::new();
    world.pages(0x40_0000, 600, 0x100_0000);
    // Two pages in a row that show the same memory, and one that shows the memory in between.
    world.map(0x80_0000, Level::Ptb, PAGE.with_address(0x7000));
    world.map(0x80_1000, Level::Ptb, PAGE.with_address(0x7000));
    world.map(0x80_2000, Level::Ptb, PAGE.with_address(0x8000));
    let mappings = world.look();
    let runs: Vec<_> = mappings
        .runs()
        .iter()
        .map(|run| (run.va().get(), run.entries()))
        .collect();
    assert_eq!(runs, [(0x40_0000, 600), (0x80_0000, 2), (0x80_2000, 1)]);
    assert_eq!((mappings.entries(), mappings.bytes()), (603, 603 * PAGE_SIZE));
    let levels: Vec<_> = mappings.tables().iter().map(|table| table.level).collect();
    assert_eq!(
        levels,
        [
            Level::Pdb2,
            Level::Pdb1,
            Level::Pdb0,
            Level::Ptb,
            Level::Ptb,
            Level::Ptb
        ]
    );
    assert_eq!(
        mappings.tables().first().map(|table| (table.at, table.bytes)),
        Some((Location::Vram(VramOffset::new(0)), 4096))
    );
}

#[test]
fn a_run_is_small_and_a_long_one_goes_on_in_another() {
    assert_eq!(Run::BYTES, 16);
    // One table of many entries, as the GART's.
    let pages = 300_000;
    let memory = TestMemory::new(4 << 20);
    let context = TestTables::new(0, 0, 0, pages - 1, VramOffset::new(0)).context();
    for page in 0..pages {
        let entry = PAGE.with_address(page * PAGE_SIZE).into_bits();
        memory
            .store_u64(Location::Vram(VramOffset::new(8 * page)), entry)
            .unwrap();
    }
    let found = Mappings::collect(&context, 0, &memory, BUDGET, is_poison);
    let runs: Vec<_> = found
        .runs()
        .iter()
        .map(|run| (run.va().get(), run.entries()))
        .collect();
    assert_eq!(
        runs,
        [(0, 1 << 17), (1 << 29, 1 << 17), (1 << 30, pages - (1 << 18))]
    );
    assert_eq!((found.entries(), found.bytes()), (pages, pages * PAGE_SIZE));
    assert_eq!(compare(&found, &found).counts.same, pages);
}

#[test]
fn nothing_changed_is_all_the_same() {
    let mut world = World::new();
    world.pages(0x40_0000, 700, 0x100_0000);
    world.map(
        0x4000_0000,
        Level::Pdb0,
        PAGE.with_address(2 * MIB).with_fragment(9),
    );
    world.map(0x8000_0000, Level::Ptb, Pte::new().with_prt(true));
    let before = world.look();
    let found = compare(&before, &world.look());
    assert_eq!(
        found.counts,
        Counts {
            same: 702,
            ..Counts::default()
        }
    );
    assert!(found.examples.is_empty());
}

#[test]
fn one_entry_of_each_class_is_found_where_it_is() {
    let mut world = World::new();
    world.pages(0x40_0000, 512, 0x100_0000);
    let before = world.look();
    world.set(0x40_1000, Level::Ptb, 0);
    world.map(0x40_2000, Level::Ptb, PAGE.with_address(0x5000));
    world.set(0x40_3000, Level::Ptb, POISON);
    world.map(
        0x40_4000,
        Level::Ptb,
        PAGE.with_address(0x100_4000).with_writeable(false),
    );
    world.pages(0x60_0000, 1, 0x9000);
    world.set(0x60_1000, Level::Ptb, POISON);
    let found = compare(&before, &world.look());
    assert_eq!(
        found.counts,
        Counts {
            same: 508,
            different: 2,
            missing: 1,
            poisoned: 1,
            poisoned_unmapped: 1,
            added: 1,
            reshaped: 0,
        }
    );
    let mut examples: Vec<_> = found
        .examples
        .iter()
        .map(|example| (example.va.get(), example.class))
        .collect();
    examples.sort_unstable();
    assert_eq!(
        examples,
        [
            (0x40_1000, Class::Missing),
            (0x40_2000, Class::Different),
            (0x40_3000, Class::Poisoned),
            (0x40_4000, Class::Different),
            (0x60_0000, Class::Added),
            (0x60_1000, Class::PoisonedUnmapped),
        ]
    );
    let different = found
        .examples
        .iter()
        .find(|example| example.va.get() == 0x40_2000);
    let entries = different.map(|example| {
        (
            example.before.map(|seen| seen.entry),
            example.after.map(|seen| seen.entry),
        )
    });
    assert_eq!(
        entries,
        Some((
            Some(PAGE.with_address(0x100_2000)),
            Some(PAGE.with_address(0x5000))
        ))
    );
}

#[test]
fn a_poisoned_directory_poisons_all_that_was_below_it() {
    let mut world = World::new();
    world.pages(0x40_0000, 512, 0x100_0000);
    world.pages(0x4000_0000, 3, 0x9000);
    let before = world.look();
    world.set(0x40_0000, Level::Pdb0, POISON);
    let found = compare(&before, &world.look());
    assert_eq!(
        found.counts,
        Counts {
            same: 3,
            poisoned: 512,
            ..Counts::default()
        }
    );
    // A whole root of it: the entry that covers what was mapped, and 511 others.
    for entry in 0..512 {
        world.set(entry << 39, Level::Pdb2, POISON);
    }
    let found = compare(&before, &world.look());
    assert_eq!(
        found.counts,
        Counts {
            poisoned: 515,
            poisoned_unmapped: 511,
            ..Counts::default()
        }
    );
    let examples: Vec<_> = found
        .examples
        .iter()
        .map(|example| (example.class, example.entries))
        .collect();
    assert_eq!(
        examples,
        [
            (Class::Poisoned, 512),
            (Class::Poisoned, 3),
            (Class::PoisonedUnmapped, 511)
        ]
    );
}

#[test]
fn poison_that_was_there_before_mapped_nothing() {
    let mut world = World::new();
    world.pages(0x40_0000, 2, 0x9000);
    world.set(0x40_2000, Level::Ptb, POISON);
    world.set(0x40_3000, Level::Ptb, POISON);
    let before = world.look();
    assert_eq!(before.entries(), 2);
    world.map(0x40_3000, Level::Ptb, PAGE);
    let found = compare(&before, &world.look());
    assert_eq!(
        found.counts,
        Counts {
            same: 2,
            poisoned_unmapped: 1,
            added: 1,
            ..Counts::default()
        }
    );
}

#[test]
fn a_large_page_instead_of_small_ones_is_the_same_in_another_shape() {
    let mut small = World::new();
    small.pages(0x40_0000, 512, 2 * MIB);
    let mut large = World::new();
    large.map(
        0x40_0000,
        Level::Pdb0,
        PAGE.with_address(2 * MIB).with_fragment(9),
    );
    let found = compare(&small.look(), &large.look());
    assert_eq!((found.counts.same, found.counts.reshaped), (512, 512));
    let found = compare(&large.look(), &small.look());
    assert_eq!((found.counts.same, found.counts.reshaped), (1, 1));
    // One of the small pages is wrong, and one is gone.
    small.map(0x40_7000, Level::Ptb, PAGE.with_address(0x1000));
    let found = compare(&large.look(), &small.look());
    assert_eq!(found.counts.different, 1);
    assert_eq!(
        found.examples.first().map(|example| example.va),
        Some(GpuVa::new(0x40_7000))
    );
    small.set(0x40_9000, Level::Ptb, 0);
    assert_eq!(compare(&large.look(), &small.look()).counts.missing, 1);
    // What the large page shows beyond the small ones is new.
    let mut few = World::new();
    few.pages(0x40_0000, 2, 2 * MIB);
    let found = compare(&few.look(), &large.look());
    assert_eq!((found.counts.same, found.counts.added), (2, 1));
}

#[test]
fn small_pages_that_all_show_one_place_are_no_large_page() {
    let mut large = World::new();
    large.map(0x40_0000, Level::Pdb0, PAGE.with_address(2 * MIB));
    let mut small = World::new();
    for page in 0..512 {
        small.map(
            0x40_0000 + page * PAGE_SIZE,
            Level::Ptb,
            PAGE.with_address(2 * MIB),
        );
    }
    assert_eq!(compare(&large.look(), &small.look()).counts.different, 1);
    assert_eq!(
        compare(&small.look(), &large.look()).counts,
        Counts {
            same: 1,
            reshaped: 1,
            different: 511,
            ..Counts::default()
        }
    );
}

#[test]
fn beyond_the_end_of_a_truncated_walk_nothing_is_judged() {
    let mut world = World::new();
    for page in 0..8 {
        world.map(
            0x40_0000 + 2 * page * PAGE_SIZE,
            Level::Ptb,
            PAGE.with_address(0x9000),
        );
    }
    let context = world.tables.context();
    let few = CollectBudget { runs: 3, ..BUDGET };
    let part = Mappings::collect(&context, 0, &world.memory, few, is_poison);
    assert!(part.truncated());
    for (before, after) in [(&part, &world.look()), (&world.look(), &part)] {
        let found = compare(before, after);
        assert!(found.truncated);
        assert_eq!(
            found.counts,
            Counts {
                same: 3,
                ..Counts::default()
            }
        );
    }
    let walk = WalkBudget {
        entries: 520,
        ..BUDGET.walk
    };
    let short = CollectBudget { walk, ..BUDGET };
    assert!(Mappings::collect(&context, 0, &world.memory, short, is_poison).truncated());
}

#[test]
fn splitting_loses_nothing() {
    let mut world = World::new();
    world.pages(0x40_0000, 100, 0x9000);
    let all = world.look();
    let (inside, outside) = all.split(&[(0x40_1000, 0x40_3000), (0x40_5000, 0x40_6000), (1 << 40, 1 << 41)]);
    assert_eq!((inside.entries(), outside.entries()), (3, 97));
    let found = compare(&inside, &all);
    assert_eq!((found.counts.same, found.counts.added), (3, 97));
    assert_eq!(compare(&outside, &all).counts.same, 97);
}

#[test]
fn a_range_has_something_mapped_in_it_or_not() {
    let mut world = World::new();
    world.pages(0x40_0000, 4, 0x9000);
    world.pages(0x60_0000, 1, 0x9000);
    let all = world.look();
    for (start, bytes, expected) in [
        (0x3f_f000, 0x1000, false),
        (0x3f_f000, 0x1001, true),
        (0x40_3fff, 1, true),
        (0x40_4000, 0x1f_c000, false),
        (0x40_4000, 0x1f_c001, true),
        (0x60_1000, u64::MAX, false),
        (0, u64::MAX, true),
        (0x40_0000, 0, false),
    ] {
        assert_eq!(
            all.maps_in(GpuVa::new(start), bytes),
            expected,
            "{start:#x} {bytes:#x}"
        );
    }
}

#[test]
fn a_root_that_reaches_beyond_itself_is_as_long_as_its_context() {
    let tables = TestTables::new(0, 0, 0, (512 << 8) - 1, VramOffset::new(0x1000));
    let root = Table::root(&tables.context(), 0);
    assert_eq!((root.bytes, root.level), (MIB, Level::Ptb));
}

/// Every address that is mapped, page by page: its leaf's first address, level, bits, and where it leads.
type Model = BTreeMap<u64, (u64, Level, u64, Option<u64>)>;

fn model(context: &Context, memory: &TestMemory) -> Model {
    let mut model = Model::new();
    walk_tables(context, 0, memory, BUDGET.walk, |visited| {
        let (entry, prt) = match visited.kind {
            EntryKind::Directory { .. } => return,
            EntryKind::Page { entry, .. } => (entry, false),
            EntryKind::Prt { entry } => (entry, true),
        };
        for offset in (0..visited.len).step_by(4096) {
            let target = (!prt).then_some(entry.address() + offset);
            model.insert(
                visited.va.get() + offset,
                (visited.va.get(), visited.level, entry.into_bits(), target),
            );
        }
    });
    model
}

/// The same comparison, page by page.
fn naive(before: &Model, after: &Model) -> Counts {
    let poison = |page: Option<&(u64, Level, u64, Option<u64>)>| page.is_some_and(|page| page.2 == POISON);
    let mut classes: BTreeMap<u64, (Class, bool)> = BTreeMap::new();
    for (va, old) in before.iter().filter(|(_, old)| !poison(Some(old))) {
        let new = after.get(va);
        let class = match new {
            None => Class::Missing,
            Some(_) if poison(new) => Class::Poisoned,
            Some(new) if new.3 == old.3 && flags(new.2.into()) == flags(old.2.into()) => Class::Same,
            Some(_) => Class::Different,
        };
        let reshaped = new.is_some_and(|new| {
            new.1 != old.1 || Pte::from_bits(new.2).fragment() != Pte::from_bits(old.2).fragment()
        });
        let worst = classes.entry(old.0).or_insert((class, reshaped));
        *worst = (worst.0.max(class), worst.1 || reshaped);
    }
    let mut counts = Counts::default();
    for (class, reshaped) in classes.into_values() {
        counts.add(class, 1);
        if reshaped && class == Class::Same {
            counts.reshaped += 1;
        }
    }
    // New entries: whether any, or no, page of theirs was mapped before.
    let mut new: BTreeMap<u64, (bool, bool, bool)> = BTreeMap::new();
    for (va, page) in after {
        let mapped = before.get(va).is_some_and(|old| !poison(Some(old)));
        let entry = new.entry(page.0).or_insert((false, false, poison(Some(page))));
        *entry = (entry.0 || mapped, entry.1 || !mapped, entry.2);
    }
    for (mapped, unmapped, poison) in new.into_values() {
        match (poison, mapped, unmapped) {
            (true, false, _) => counts.poisoned_unmapped += 1,
            (false, _, true) => counts.added += 1,
            _ => {}
        }
    }
    counts
}

/// One thing that is written: where, how far it goes, and what.
#[derive(Debug, Clone, Copy)]
struct Change {
    slot: u64,
    count: u64,
    large: bool,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Linear(u64),
    Same(u64),
    Prt,
    Nothing,
    Poison,
    /// The whole table that holds the entry.
    PoisonedTable,
}

fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        4 => (0..64_u64).prop_map(What::Linear),
        2 => (0..4_u64).prop_map(What::Same),
        1 => Just(What::Prt),
        2 => Just(What::Nothing),
        2 => Just(What::Poison),
        1 => Just(What::PoisonedTable),
    ];
    (0..1600_u64, 1..40_u64, prop::bool::weighted(0.2), what).prop_map(|(slot, count, large, what)| Change {
        slot,
        count,
        large,
        what,
    })
}

fn carry_out(world: &mut World, change: Change) {
    let (level, size, slot, count) = match change.large {
        false => (Level::Ptb, PAGE_SIZE, change.slot, change.count),
        true => (Level::Pdb0, 512 * PAGE_SIZE, change.slot % 4, change.count % 3),
    };
    for step in 0..count {
        let va = (slot + step) * size;
        match change.what {
            // Linear from one origin, so that small pages and large ones can agree.
            What::Linear(shift) => {
                let target = (shift % 3) * (512 * PAGE_SIZE) + va;
                world.map(va, level, PAGE.with_address(target));
            }
            What::Same(target) => world.map(va, level, PAGE.with_address(target * PAGE_SIZE)),
            What::Prt => world.map(va, level, Pte::new().with_prt(true)),
            What::Nothing => world.set(va, level, 0),
            What::Poison => world.set(va, level, POISON),
            What::PoisonedTable => {
                let at = world.tables.entry(&world.memory, GpuVa::new(va), level).unwrap();
                let Location::Vram(at) = at else { continue };
                let table = Location::Vram(VramOffset::new(at.get() & !4095));
                world.memory.fill(table, 0xfbfb_fbfb, 4096).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_those_of_a_naive_comparison(first in vec(change(), 0..24), second in vec(change(), 0..12)) {
        let mut world = World::new();
        for change in first {
            carry_out(&mut world, change);
        }
        let context = world.tables.context();
        let (before, old) = (world.look(), model(&context, &world.memory));
        for change in second {
            carry_out(&mut world, change);
        }
        let (after, new) = (world.look(), model(&context, &world.memory));
        let found = compare(&before, &after);
        prop_assert_eq!(found.counts, naive(&old, &new));
        prop_assert_eq!(found.counts.before(), before.entries());
        // And whatever way it is cut, the parts have what the whole has.
        let windows = [(0x3000, 0x20_1000), (0x30_0000, 0x30_1000)];
        let (inside, outside) = before.split(&windows);
        prop_assert_eq!(inside.entries() + outside.entries(), before.entries());
        // However often all of that is interrupted.
        for turn in [1, 100] {
            let mut collector = Collector::new(&context, 0, BUDGET);
            turns(61 * turn, |left| collector.step(&world.memory, left, is_poison));
            let after = collector.finish();
            prop_assert_eq!(&after, &world.look());
            let mut splitter = Splitter::default();
            turns(turn, |left| splitter.step(&before, &windows, left));
            prop_assert_eq!(splitter.finish(), (inside.clone(), outside.clone()));
            let (mut before, mut sieve) = (before.clone(), Sieve::default());
            turns(turn, |left| before.drop_poison(&mut sieve, left));
            prop_assert!(before.runs().iter().all(|run| run.kind() != LeafKind::Poison));
            let mut comparer = Comparer::default();
            turns(turn, |left| comparer.step(&before, &after, left));
            prop_assert_eq!(comparer.finish(), found.clone());
            turns(turn, |left| before.release(left));
            prop_assert!(before.runs().is_empty());
        }
    }
}
