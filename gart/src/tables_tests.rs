use super::*;
use crate::testing::{TestMemory, TestTables};
use crate::{BusAddr, VramOffset};

const MIB: u64 = 1 << 20;
const PAGE: Pte = Pte::new().with_valid(true).with_readable(true);

fn everything(
    tables: &TestTables,
    memory: &TestMemory,
    budget: WalkBudget,
) -> (TableSummary, Vec<VisitedEntry>) {
    let mut seen = Vec::new();
    let summary = walk_tables(&tables.context(), 0, memory, budget, |entry| seen.push(*entry));
    (summary, seen)
}

#[test]
fn every_present_entry_is_visited_in_order() {
    let memory = TestMemory::new(8 * MIB);
    memory.map_system(BusAddr::new(0x5000), 0x1000);
    let mut tables = TestTables::four_levels();
    let small = PAGE.with_address(0x1000);
    let on_bus = PAGE.with_system(true).with_address(0x5000);
    let big = PAGE.with_address(4 * MIB);
    let prt = Pte::new().with_prt(true);
    tables
        .map(&memory, GpuVa::new(0x3000), Level::Ptb, small)
        .unwrap();
    tables
        .map(&memory, GpuVa::new(0x5000), Level::Ptb, on_bus)
        .unwrap();
    tables
        .map(&memory, GpuVa::new(4 * MIB), Level::Pdb0, big)
        .unwrap();
    tables
        .map(&memory, GpuVa::new(1 << 30), Level::Pdb1, prt)
        .unwrap();
    tables
        .map(&memory, GpuVa::new(2 << 30), Level::Pdb1, Pte::new())
        .unwrap();

    let (summary, seen) = everything(&tables, &memory, WalkBudget::default());
    let leaves: Vec<_> = seen
        .iter()
        .filter(|entry| !matches!(entry.kind, EntryKind::Directory { .. }))
        .map(|entry| (entry.level, entry.va.get(), entry.len))
        .collect();
    assert_eq!(
        leaves,
        [
            (Level::Ptb, 0x3000, 0x1000),
            (Level::Ptb, 0x5000, 0x1000),
            (Level::Pdb0, 4 * MIB, 2 * MIB),
            (Level::Pdb1, 1 << 30, 1 << 30),
        ]
    );
    assert_eq!(
        (seen[0].level, seen[0].va.get(), seen[0].len),
        (Level::Pdb2, 0, 1 << 39)
    );
    assert_eq!(
        summary,
        TableSummary {
            tables: [1, 1, 1, 1],
            entries: [2, 2, 2, 1],
            vram_pages: 2,
            system_pages: 1,
            prt_pages: 1,
            vram_bytes: 2 * MIB + 0x1000,
            system_bytes: 0x1000,
            prt_bytes: 1 << 30,
            ..TableSummary::default()
        }
    );
    assert_eq!(summary.mapped_bytes(), 2 * MIB + 0x2000);
}

#[test]
fn addresses_count_from_the_start_and_end_with_the_context() {
    let memory = TestMemory::new(MIB);
    let mut tables = TestTables::new(1, 0, 0x100, 0x37f, VramOffset::new(0));
    tables
        .map(&memory, GpuVa::new(0x10_1000), Level::Ptb, PAGE)
        .unwrap();
    tables
        .map(&memory, GpuVa::new(0x30_0000), Level::Pdb0, PAGE)
        .unwrap();
    let (_, seen) = everything(&tables, &memory, WalkBudget::default());
    let places: Vec<_> = seen
        .iter()
        .map(|entry| (entry.level, entry.va.get(), entry.len))
        .collect();
    assert_eq!(
        places,
        [
            (Level::Pdb0, 0x10_0000, 2 * MIB),
            (Level::Ptb, 0x10_1000, 0x1000),
            (Level::Pdb0, 0x30_0000, 0x8_0000)
        ]
    );
}

#[test]
fn disabled_and_rootless_contexts_have_no_entries() {
    let memory = TestMemory::new(MIB);
    let mut tables = TestTables::four_levels();
    tables.map(&memory, GpuVa::new(0), Level::Ptb, PAGE).unwrap();
    let context = tables.context();
    for context in [
        Context {
            enabled: false,
            ..context
        },
        Context {
            root: context.root.with_valid(false),
            ..context
        },
        Context {
            start_page: 5,
            end_page: 4,
            ..context
        },
        Context {
            start_page: 5,
            end_page: 3,
            ..context
        },
    ] {
        let summary = walk_tables(&context, 0, &memory, WalkBudget::default(), |_| panic!("visited"));
        assert_eq!(summary, TableSummary::default());
    }
}

#[test]
fn what_lies_in_no_memory_is_counted() {
    let memory = TestMemory::new(MIB);
    let mut tables = TestTables::four_levels();
    tables
        .map(&memory, GpuVa::new(0), Level::Ptb, PAGE.with_address(MIB))
        .unwrap();
    tables
        .map(&memory, GpuVa::new(0x1000), Level::Ptb, PAGE.with_system(true))
        .unwrap();
    // Begins inside, ends outside.
    tables
        .map(&memory, GpuVa::new(2 * MIB), Level::Pdb0, PAGE)
        .unwrap();
    let lost = tables.entry(&memory, GpuVa::new(4 * MIB), Level::Pdb0).unwrap();
    memory
        .store_u64(lost, Pde::new().with_valid(true).with_address(MIB).into_bits())
        .unwrap();
    let (summary, _) = everything(&tables, &memory, WalkBudget::default());
    assert_eq!(
        (summary.pages_out_of_memory, summary.tables_out_of_memory),
        (3, 1)
    );
    assert!(!summary.truncated);
}

#[test]
fn tables_that_point_at_themselves_end_with_the_budget() {
    let memory = TestMemory::new(MIB);
    let tables = TestTables::four_levels();
    for index in 0..512 {
        memory
            .store_u64(
                Location::Vram(VramOffset::new(index * 8)),
                tables.root().into_bits(),
            )
            .unwrap();
    }
    let (summary, seen) = everything(
        &tables,
        &memory,
        WalkBudget {
            tables: 100,
            entries: u64::MAX,
        },
    );
    assert!(summary.truncated);
    assert_eq!(summary.tables.iter().sum::<u64>(), 100);
    assert!(seen.len() <= 100 * 512);

    let (summary, seen) = everything(
        &tables,
        &memory,
        WalkBudget {
            tables: u64::MAX,
            entries: 1000,
        },
    );
    assert!(summary.truncated);
    assert_eq!(seen.len(), 1000);
}

#[test]
fn a_single_self_reference_ends_with_the_levels() {
    let memory = TestMemory::new(MIB);
    let tables = TestTables::four_levels();
    memory
        .store_u64(Location::Vram(VramOffset::new(0)), tables.root().into_bits())
        .unwrap();
    let (summary, _) = everything(&tables, &memory, WalkBudget::default());
    assert_eq!(
        (summary.tables, summary.entries, summary.truncated),
        ([1; 4], [1; 4], false)
    );
    assert_eq!(summary.vram_pages, 1);
}

#[test]
fn two_walks_of_the_same_tables_are_equal_and_a_loss_shows() {
    let memory = TestMemory::new(MIB);
    let mut tables = TestTables::four_levels();
    for page in 0..8 {
        let entry = PAGE.with_address(0x8_0000 + page * 0x1000);
        tables
            .map(&memory, GpuVa::new(page << 12), Level::Ptb, entry)
            .unwrap();
    }
    let before = everything(&tables, &memory, WalkBudget::default());
    assert_eq!(before, everything(&tables, &memory, WalkBudget::default()));
    // Valid entries that point outside.
    memory.lose_vram(PAGE.with_address(0x7fff_0000_0000).into_bits());
    let after = everything(
        &tables,
        &memory,
        WalkBudget {
            tables: 4,
            entries: 4096,
        },
    );
    assert_ne!(before.0, after.0);
    assert!(after.0.tables_out_of_memory > 0);
}
