use gart::testing::{TestMemory, TestTables};
use gart::{GpuVa, Pde, Pte};

use super::*;

const MIB: u64 = 1 << 20;
const PAGE: Pte = Pte::new()
    .with_valid(true)
    .with_readable(true)
    .with_writeable(true);
const START: Duration = Duration::ZERO;

/// A four-level tree with one page, its tables from an offset in VRAM on.
fn tree(memory: &TestMemory, at: u64) -> TestTables {
    let mut tables = TestTables::new(3, 0, 0, (1 << 36) - 1, VramOffset::new(at));
    tables
        .map(
            memory,
            GpuVa::new(0x40_0000),
            Level::Ptb,
            PAGE.with_address(0x1000),
        )
        .unwrap();
    tables
}

fn point(oracle: &mut Oracle, memory: &TestMemory, vmid: u32, context: Context, generation: u64) {
    oracle.context_set(memory, Vmid::from_field(vmid), context, 0, generation);
}

fn moment(generation: u64) -> Moment {
    Moment {
        generation,
        now: START,
        losing: false,
    }
}

/// Takes a look at every space.
fn snapshot(oracle: &mut Oracle, memory: &TestMemory, moment: Moment, always: bool) {
    let purpose = if always {
        Purpose::Snapshot
    } else {
        Purpose::Generation
    };
    let mut survey = Survey::new(purpose, moment, oracle, memory.vram_size());
    while !survey.advance(oracle, memory) {}
}

/// Where the only page's table is, and its directory.
fn leaf_table(memory: &TestMemory, tables: &mut TestTables, level: Level) -> VramOffset {
    match tables.entry(memory, GpuVa::new(0x40_0000), level).unwrap() {
        Location::Vram(at) => VramOffset::new(at.get() & !4095),
        Location::System(_) => panic!("tables are in VRAM"),
    }
}

fn poison(oracle: &mut Oracle, memory: &TestMemory, offset: u64, length: u64) {
    let loss = Loss {
        mode: LossMode::Poison,
        offset,
        length,
    };
    oracle.lose(loss, memory.vram_size());
    memory
        .fill(Location::Vram(VramOffset::new(offset)), POISON, length)
        .unwrap();
}

#[test]
fn a_space_is_its_root_whatever_its_vmid() {
    let memory = TestMemory::new(MIB);
    let tables = tree(&memory, 0);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 3, tables.context(), 0);
    point(&mut oracle, &memory, 5, tables.context(), 1);
    let [space] = oracle.spaces.all() else {
        panic!("one space")
    };
    assert_eq!((space.vmid.get(), space.used), (5, 1));
    assert_eq!(oracle.tables.all().count(), 4, "its tables are known at once");
}

#[test]
fn spaces_references_and_tables_are_bounded() {
    let memory = TestMemory::new(32 * MIB);
    let mut oracle = Oracle::default();
    for number in 0..200_u64 {
        let tables = tree(&memory, number * 0x2_0000);
        point(&mut oracle, &memory, 1, tables.context(), number);
        snapshot(&mut oracle, &memory, moment(number), false);
    }
    assert_eq!(oracle.spaces.all().len(), spaces::LIMIT);
    assert_eq!(
        oracle.tables.all().count(),
        4 * spaces::LIMIT,
        "those of forgotten spaces went with them"
    );
    // The oldest went.
    let oldest = oracle.spaces.all().iter().map(|space| space.used).min();
    assert_eq!(oldest, Some(200 - spaces::LIMIT as u64));
}

#[test]
fn a_root_whose_memory_becomes_anothers_table_is_no_space_any_more() {
    let memory = TestMemory::new(MIB);
    let old = tree(&memory, 0);
    let mut new = tree(&memory, 0x2_0000);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 1, old.context(), 0);
    point(&mut oracle, &memory, 2, new.context(), 0);
    // A directory of the new space points at the old root's memory, as a page table.
    let directory = leaf_table(&memory, &mut new, Level::Pdb0);
    let entry = Pde::new().with_valid(true).with_address(0);
    memory
        .store_u64(Location::Vram(directory.plus(8)), entry.into_bits())
        .unwrap();
    let hit = oracle.updated(&memory, directory.plus(8), 1, START);
    assert_eq!(
        hit,
        Some(Hit {
            vmid: 2,
            level: Level::Pdb0
        })
    );
    assert_eq!(oracle.spaces.all().len(), 1);
    // And what is written there is attributed to the new one.
    let hit = oracle.updated(&memory, VramOffset::new(8), 1, START);
    assert_eq!(
        hit,
        Some(Hit {
            vmid: 2,
            level: Level::Ptb
        })
    );
}

#[test]
fn only_what_restores_counts_as_recovery() {
    let memory = TestMemory::new(MIB);
    let mut tables = tree(&memory, 0);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 1, tables.context(), 0);
    let ptb = leaf_table(&memory, &mut tables, Level::Ptb);
    let counts = |oracle: &Oracle| (oracle.recovery.copies, oracle.recovery.rewrites);

    // Nothing was lost.
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(counts(&oracle), (0, 0));
    snapshot(&mut oracle, &memory, moment(0), false);
    poison(&mut oracle, &memory, ptb.get(), 4096);
    // Packets that did not write what they should have.
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(oracle.copied(&memory, ptb, 4096, START), None);
    assert_eq!(counts(&oracle), (0, 0));
    // An entry that maps nothing.
    memory.store_u64(Location::Vram(ptb), 0).unwrap();
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(counts(&oracle), (0, 0));
    // A copy that is longer than the table, or begins inside it.
    assert_eq!(oracle.copied(&memory, ptb, 8192, START), None);
    assert_eq!(oracle.copied(&memory, ptb.plus(8), 8, START), None);
    // One that maps something.
    memory
        .store_u64(Location::Vram(ptb), PAGE.with_address(0x1000).into_bits())
        .unwrap();
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(counts(&oracle), (0, 1));
    assert!(oracle.copied(&memory, ptb, 4096, START).is_some());
    // What is written into a table that was copied back is no recovery.
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(counts(&oracle), (1, 1));
}

#[test]
fn a_lost_table_that_is_emptied_is_another_one() {
    let memory = TestMemory::new(MIB);
    let mut tables = tree(&memory, 0);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 1, tables.context(), 0);
    let ptb = leaf_table(&memory, &mut tables, Level::Ptb);
    poison(&mut oracle, &memory, ptb.get(), 4096);
    memory.fill(Location::Vram(ptb), 0, 4096).unwrap();
    oracle.updated(&memory, ptb, 512, START);
    memory.store_u64(Location::Vram(ptb), PAGE.into_bits()).unwrap();
    oracle.updated(&memory, ptb, 1, START);
    assert_eq!(oracle.recovery.rewrites, 0);
    let state = oracle.tables.at(ptb.get()).map(|known| known.state);
    assert_eq!(state, Some(State::Recycled));
}

#[test]
fn a_root_that_is_emptied_is_the_root_of_another_space() {
    let memory = TestMemory::new(MIB);
    let tables = tree(&memory, 0);
    let root = VramOffset::new(0);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 1, tables.context(), 0);
    poison(&mut oracle, &memory, 0, MIB);
    // A packet whose entries do not arrive empties nothing.
    oracle.updated(&memory, root, 512, START);
    assert_eq!(oracle.spaces.all().len(), 1);
    // The machine has started again, and its driver makes the first address space at the same place.
    memory.fill(Location::Vram(root), 0, MIB).unwrap();
    oracle.updated(&memory, root, 512, START);
    assert_eq!(oracle.spaces.all().len(), 0);
    let tables = tree(&memory, 0);
    point(&mut oracle, &memory, 1, tables.context(), 1);
    let states: Vec<_> = oracle.tables.all().map(|known| known.state).collect();
    assert_eq!(states, [State::Kept; 4]);
}

#[test]
fn while_contents_are_being_lost_no_reference_is_taken() {
    let memory = TestMemory::new(MIB);
    let tables = tree(&memory, 0);
    let mut oracle = Oracle::default();
    point(&mut oracle, &memory, 1, tables.context(), 0);
    snapshot(&mut oracle, &memory, moment(0), false);
    // The loss has begun and has not come to the tables.
    oracle.lose(Loss::whole(LossMode::Poison), MIB);
    let losing = Moment {
        losing: true,
        ..moment(1)
    };
    let generation = |oracle: &Oracle| {
        let reference = oracle.spaces.all().first()?.reference.as_ref()?;
        Some(reference.generation)
    };
    snapshot(&mut oracle, &memory, losing, false);
    assert_eq!(generation(&oracle), Some(0));
    snapshot(&mut oracle, &memory, losing, true);
    assert_eq!(generation(&oracle), Some(1), "asked for");
}

#[test]
fn a_zeroed_range_holds_no_poison() {
    let memory = TestMemory::new(MIB);
    let mut oracle = Oracle::default();
    poison(&mut oracle, &memory, 0x1000, 0x3000);
    let loss = Loss {
        mode: LossMode::Zero,
        offset: 0x2000,
        length: 0x1000,
    };
    oracle.lose(loss, MIB);
    let reads = |at| oracle.is_poison(Location::Vram(VramOffset::new(at)), POISONED_ENTRY);
    assert_eq!(
        [reads(0x0ff8), reads(0x1000), reads(0x2ff8), reads(0x3000)],
        [false, true, false, true]
    );
    assert!(!oracle.is_poison(Location::Vram(VramOffset::new(0x1000)), 1));
}
