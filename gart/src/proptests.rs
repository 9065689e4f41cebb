//! The walkers against a naive model, and against garbage.

use std::collections::BTreeMap;

use mmio::{Effects, RegOffset, RegisterBlock};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::testing::{TestMemory, TestTables};
use crate::{
    Access, Apertures, Backing, BusAddr, ClientId, Context, ContextCntl, EntryKind, Fault, FaultKind,
    FaultSink, FrameBuffer, GpuVa, Hub, HubLayout, Level, Location, PAGE_SIZE, Pde, PhysicalMemory, Pte,
    Series, Source, Space, Translation, VirtualMemory, Vmid, VramOffset, WalkBudget, registers, translate,
    walk_tables,
};

/// What a test maps: a naturally aligned block of pages of one kind.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    /// In units of the block's size, counted from the start of the first 8 GiB.
    slot: u64,
    size: Size,
    kind: Kind,
    /// First physical page.
    target: u64,
    readable: bool,
    writeable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    Page,
    /// `1 << n` pages, each with an entry of its own that says so.
    Fragment(u8),
    /// A leaf in PDB0.
    Mib2,
    /// A leaf in PDB1.
    Gib1,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Vram,
    System,
    Prt,
}

impl Size {
    fn pages(self) -> u64 {
        match self {
            Self::Page => 1,
            Self::Fragment(n) => 1 << n,
            Self::Mib2 => 1 << 9,
            Self::Gib1 => 1 << 18,
        }
    }
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let size = prop_oneof![
        4 => Just(Size::Page),
        3 => (1..6_u8).prop_map(Size::Fragment),
        2 => Just(Size::Mib2),
        1 => Just(Size::Gib1),
    ];
    let kind = prop_oneof![Just(Kind::Vram), Just(Kind::System), Just(Kind::Prt)];
    (
        any::<u64>(),
        size,
        kind,
        0..1_u64 << 30,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(slot, size, kind, target, readable, writeable)| {
            // Crowded at the bottom, so that mappings replace each other.
            let slots = ((1_u64 << 21) / size.pages()).min(96);
            Mapping {
                slot: slot % slots,
                size,
                kind,
                target,
                readable,
                writeable,
            }
        })
}

/// One block of the model, by its first page.
type Model = BTreeMap<u64, Mapping>;

/// Removes whatever a mapping overlaps, as a driver that unmaps first; returns what was removed.
fn replace(model: &mut Model, new: Mapping) -> Vec<Mapping> {
    let first = new.slot * new.size.pages();
    let last = first + new.size.pages() - 1;
    let hit: Vec<u64> = model
        .iter()
        .filter(|(start, old)| **start <= last && **start + old.size.pages() > first)
        .map(|(start, _)| *start)
        .collect();
    let removed = hit.iter().filter_map(|start| model.remove(start)).collect();
    model.insert(first, new);
    removed
}

fn write(memory: &TestMemory, tables: &mut TestTables, mapping: Mapping, entry: Pte) {
    let (level, steps, fragment) = match mapping.size {
        Size::Page => (Level::Ptb, 1, 0),
        Size::Fragment(n) => (Level::Ptb, 1 << n, n),
        Size::Mib2 => (Level::Pdb0, 1, 9),
        Size::Gib1 => (Level::Pdb1, 1, 18),
    };
    let first = mapping.slot * mapping.size.pages();
    for step in 0..steps {
        let entry = if entry.into_bits() == 0 {
            entry
        } else {
            entry
                .with_fragment(fragment)
                .with_page_number(mapping.target + step)
        };
        tables
            .map(memory, GpuVa::new((first + step) * PAGE_SIZE), level, entry)
            .unwrap();
    }
}

fn entry_of(mapping: Mapping) -> Pte {
    let entry = Pte::new()
        .with_readable(mapping.readable)
        .with_writeable(mapping.writeable);
    match mapping.kind {
        Kind::Vram => entry.with_valid(true),
        Kind::System => entry.with_valid(true).with_system(true).with_snooped(true),
        Kind::Prt => entry.with_prt(true).with_system(true),
    }
}

/// What the model says about an address.
fn expected(model: &Model, va: u64, access: Access) -> Option<Result<(Backing, u64), FaultKind>> {
    let page = va / PAGE_SIZE;
    let (start, found) = model.range(..=page).next_back()?;
    let end = start + found.size.pages();
    if page >= end {
        return None;
    }
    let allowed = match access {
        Access::Read => found.readable,
        Access::Write => found.writeable,
    };
    let into = va - start * PAGE_SIZE;
    let address = found.target * PAGE_SIZE + into;
    let remaining = end * PAGE_SIZE - va;
    Some(match found.kind {
        Kind::Prt => Ok((Backing::Prt, remaining)),
        _ if !allowed => Err(FaultKind::Permission),
        Kind::Vram => Ok((
            Backing::Memory(Location::Vram(VramOffset::new(address))),
            remaining,
        )),
        Kind::System => Ok((
            Backing::Memory(Location::System(BusAddr::new(address))),
            remaining,
        )),
    })
}

fn build(mappings: &[Mapping]) -> (TestMemory, TestTables, Model) {
    let memory = TestMemory::new(4 << 20);
    let mut tables = TestTables::four_levels();
    let mut model = Model::new();
    for mapping in mappings {
        for old in replace(&mut model, *mapping) {
            write(&memory, &mut tables, old, Pte::new());
        }
        write(&memory, &mut tables, *mapping, entry_of(*mapping));
    }
    (memory, tables, model)
}

/// VRAM of [`sparse`].
const SPARSE_VRAM: u64 = 256 << 10;

/// A hub whose VMID 1 has a few pages from 0 on: in VRAM in no order, read-only, not resident, outside of VRAM, or not there.
fn sparse(pages: &[u64]) -> (TestMemory, Hub) {
    let memory = TestMemory::new(SPARSE_VRAM);
    let mut tables = TestTables::four_levels();
    let page = Pte::new()
        .with_valid(true)
        .with_readable(true)
        .with_writeable(true);
    for (number, kind) in (0..).zip(pages) {
        let scattered = page.with_address(SPARSE_VRAM / 2 + (number * 5 % 8) * PAGE_SIZE);
        let entry = match kind {
            0 => Pte::new(),
            1 => scattered.with_writeable(false),
            2 => Pte::new().with_prt(true),
            3 => page.with_address(2 * SPARSE_VRAM),
            _ => scattered,
        };
        tables
            .map(&memory, GpuVa::new(number * PAGE_SIZE), Level::Ptb, entry)
            .unwrap();
    }
    let layout = HubLayout::GFXHUB_2_1;
    let frame_buffer = FrameBuffer {
        base: GpuVa::new(0x80_0000_0000),
        size: SPARSE_VRAM,
    };
    let mut hub = Hub::new(layout, frame_buffer);
    let mut write =
        |register: RegOffset, value| hub.write(layout.l2(register), value, &mut Effects::default());
    write(
        registers::PAGE_TABLE_BASE.plus(8),
        u32::try_from(tables.root().into_bits()).unwrap(),
    );
    write(registers::PAGE_TABLE_END.plus(8), u32::MAX);
    write(registers::PAGE_TABLE_END.plus(12), 0xf);
    write(registers::CONTEXT_CNTL.plus(4), tables.context().cntl.into_bits());
    (memory, hub)
}

proptest! {
    #[test]
    fn the_walker_agrees_with_the_model(
        mappings in vec(mapping(), 1..24),
        probes in vec((any::<prop::sample::Index>(), -8192_i64..8192, any::<bool>()), 64),
    ) {
        let (memory, tables, model) = build(&mappings);
        let context = tables.context();
        for (near, distance, write) in probes {
            // Around the beginning of something that was mapped once.
            let mapping = near.get(&mappings);
            let start = mapping.slot * mapping.size.pages() * PAGE_SIZE;
            let va = start.saturating_add_signed(distance);
            let access = if write { Access::Write } else { Access::Read };
            let found = translate(&context, 0, &memory, GpuVa::new(va), access);
            match expected(&model, va, access) {
                Some(expected) => {
                    prop_assert_eq!(found.map(|found| (found.backing, found.remaining)), expected, "at {:#x}", va);
                }
                None => prop_assert!(
                    matches!(found, Err(FaultKind::InvalidPte | FaultKind::InvalidPde { .. })),
                    "{:?} at {:#x}, where nothing is mapped", found, va
                ),
            }
        }
    }

    #[test]
    fn the_enumerating_walk_finds_exactly_the_model(mappings in vec(mapping(), 1..24)) {
        let (memory, tables, model) = build(&mappings);
        let mut leaves = Vec::new();
        let summary = walk_tables(&tables.context(), 0, &memory, WalkBudget::default(), |entry| {
            if !matches!(entry.kind, EntryKind::Directory { .. }) {
                leaves.push((entry.va.get(), entry.len));
            }
        });
        let expected: Vec<(u64, u64)> = model
            .iter()
            .flat_map(|(start, mapping)| {
                let step = match mapping.size {
                    Size::Fragment(_) => 1,
                    size => size.pages(),
                };
                (0..mapping.size.pages() / step).map(move |n| ((start + n * step) * PAGE_SIZE, step * PAGE_SIZE))
            })
            .collect();
        prop_assert_eq!(leaves, expected);
        prop_assert!(!summary.truncated);
        let bytes = |kind| -> u64 {
            model.values().filter(|mapping| mapping.kind == kind).map(|mapping| mapping.size.pages() * PAGE_SIZE).sum()
        };
        prop_assert_eq!(summary.vram_bytes, bytes(Kind::Vram));
        prop_assert_eq!(summary.system_bytes, bytes(Kind::System));
        prop_assert_eq!(summary.prt_bytes, bytes(Kind::Prt));
    }

    /// Wherever the apertures lie: an address is in the first that has it, or in none.
    #[test]
    fn apertures_agree_with_plain_arithmetic(
        (fb_base, fb_size) in (0..64_u32, 0..8_u32),
        (agp_base, agp_size) in (0..64_u32, 0..8_u32),
        bus in 0..1_u32 << 24,
        vas in vec((0..80_u64, prop_oneof![Just(0), Just(0xff_ffff), 0..0x100_0000_u64]), 16),
    ) {
        let apertures = Apertures::new(fb_base, fb_base + fb_size, 0, agp_base, agp_base + agp_size, bus);
        let inside = |base: u32, size: u32, va: u64| {
            let (first, end) = (u64::from(base) << 24, u64::from(base + size + 1) << 24);
            (first..end).contains(&va).then(|| (va - first, end - va))
        };
        for (high, low) in vas {
            let va = high << 24 | low;
            let agp = inside(agp_base, agp_size, va).filter(|_| agp_base + agp_size > 0);
            let expected = match (inside(fb_base, fb_size, va), agp) {
                (Some((offset, left)), _) => Some((Location::Vram(VramOffset::new(offset)), left, Source::FrameBuffer)),
                (None, Some((offset, left))) => {
                    Some((Location::System(BusAddr::new((u64::from(bus) << 24) + offset)), left, Source::Agp))
                }
                (None, None) => None,
            };
            // 48 bits count.
            prop_assert_eq!(apertures.find(GpuVa::new(va | 0xffff << 48)), expected, "{:#x}", va);
        }
    }

    /// A series is written as its bytes are: to the same places, up to the same fault.
    #[test]
    fn a_series_is_written_as_its_bytes_are(
        pages in vec(0..8_u64, 8),
        at in 0..4 * PAGE_SIZE,
        aligned in any::<bool>(),
        len in 0..5 * PAGE_SIZE,
        (first, step, flags) in any::<(u64, u64, u64)>(),
    ) {
        const VMID: Vmid = Vmid::from_field(1);
        let at = GpuVa::new(if aligned { at & !7 } else { at });
        let series = Series { first, step, flags };
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        series.bytes(0, &mut bytes);
        let run = |write: &dyn Fn(&mut Space<'_, TestMemory>) -> Result<(), Fault>| {
            let (memory, mut hub) = sparse(&pages);
            let mut sink = FaultSink::default();
            let result = write(&mut Space::new(&mut hub, &memory, ClientId::SDMA0, &mut sink));
            let vram = memory.bytes(Location::Vram(VramOffset::new(0)), usize::try_from(SPARSE_VRAM).unwrap()).unwrap();
            (result, vram, sink.faults())
        };
        let expected = run(&|space| space.write(VMID, at, &bytes));
        let found = run(&|space| space.write_series(VMID, at, series, len));
        prop_assert_eq!(found.0, expected.0);
        prop_assert_eq!(found.2, expected.2);
        prop_assert!(found.1 == expected.1, "other bytes in VRAM");
    }

    /// Entries that lead into memory often enough to go deep.
    #[test]
    fn garbage_neither_panics_nor_loops(
        words in vec(prop_oneof![any::<u64>(), (0..64_u64, 0..8_u64).prop_map(|(at, low)| at << 6 | low)], 512),
        cntl: u32,
        root: u64,
        low_root in any::<bool>(),
        (start, end) in (0..1_u64 << 36, 0..1_u64 << 36),
        fb_offset in 0..1_u64 << 48,
        vas in vec(any::<u64>(), 16),
    ) {
        let memory = TestMemory::new(4096);
        for (index, word) in (0..).zip(&words) {
            memory.store_u64(Location::Vram(VramOffset::new(index * 8)), *word).unwrap();
        }
        let cntl = ContextCntl::from_bits(cntl).with_enable_context(true);
        let (root, start, fb_offset) = if low_root { (root & 0xfc0 | 1, start & 0xff, 0) } else { (root, start, fb_offset) };
        let context = Context::new(cntl, Pde::from_bits(root), start, end);
        for va in vas {
            for access in [Access::Read, Access::Write] {
                if let Ok(Translation { remaining, .. }) = translate(&context, fb_offset, &memory, GpuVa::new(va), access) {
                    prop_assert!(remaining > 0);
                    let last = GpuVa::new(va).canonical().get() + (remaining - 1);
                    prop_assert!(last >> 12 <= end, "{remaining:#x} bytes at {va:#x} leave the context");
                }
            }
        }
        let budget = WalkBudget { tables: 64, entries: 4096 };
        let mut visits = 0;
        let summary = walk_tables(&context, fb_offset, &memory, budget, |_| visits += 1);
        prop_assert!(visits <= 4096);
        prop_assert!(summary.tables.iter().sum::<u64>() <= 64);
    }
}
