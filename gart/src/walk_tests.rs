use super::*;
use crate::testing::{TestMemory, TestTables};
use crate::{ContextCntl, MemoryError};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Readable and writeable, in VRAM.
const PAGE: Pte = Pte::new()
    .with_valid(true)
    .with_readable(true)
    .with_writeable(true);

fn vram(offset: u64) -> Backing {
    Backing::Memory(Location::Vram(VramOffset::new(offset)))
}

fn bus(address: u64) -> Backing {
    Backing::Memory(Location::System(BusAddr::new(address)))
}

/// Backing and remaining bytes of a read.
fn look(context: &Context, memory: &TestMemory, va: u64) -> Result<(Backing, u64), FaultKind> {
    translate(context, 0, memory, GpuVa::new(va), Access::Read).map(|found| (found.backing, found.remaining))
}

fn mapped(tables: &mut TestTables, pages: &[(u64, Level, Pte)]) -> TestMemory {
    let memory = TestMemory::new(MIB);
    for &(va, level, entry) in pages {
        tables.map(&memory, GpuVa::new(va), level, entry).unwrap();
    }
    memory
}

#[test]
fn a_flat_table_maps_the_gart_window_from_its_start() {
    // A 512 MiB window, as gfxhub_v2_1_init_gart_aperture_regs programs it: END is inclusive.
    let start = 0x7fff_0000_0000_u64;
    let mut tables = TestTables::new(
        0,
        0,
        start >> 12,
        (start + 512 * MIB - 1) >> 12,
        VramOffset::new(0),
    );
    let second = PAGE.with_system(true).with_address(0x1_2345_6000);
    let memory = mapped(&mut tables, &[(start + 0x1000, Level::Ptb, second)]);
    let context = tables.context();
    assert_eq!(
        look(&context, &memory, start + 0x1ffc),
        Ok((bus(0x1_2345_6ffc), 4))
    );
    assert_eq!(look(&context, &memory, start), Err(FaultKind::InvalidPte));
    assert_eq!(look(&context, &memory, start - 1), Err(FaultKind::OutOfRange));
    assert_eq!(
        look(&context, &memory, start + 512 * MIB),
        Err(FaultKind::OutOfRange)
    );
}

#[test]
fn each_depth_reaches_a_page() {
    for depth in 0..=3 {
        let mut tables = TestTables::new(depth, 0, 0, (1 << 36) - 1, VramOffset::new(0));
        let memory = mapped(&mut tables, &[(0x5000, Level::Ptb, PAGE.with_address(0xab000))]);
        assert_eq!(
            look(&tables.context(), &memory, 0x5678),
            Ok((vram(0xab678), 0x988)),
            "depth {depth}"
        );
    }
}

#[test]
fn a_user_address_with_sign_bits_is_canonical() {
    let mut tables = TestTables::four_levels();
    let memory = mapped(
        &mut tables,
        &[(0xffff_ffff_f000, Level::Ptb, PAGE.with_address(0xab000))],
    );
    assert_eq!(
        look(&tables.context(), &memory, 0xffff_ffff_ffff_f010),
        Ok((vram(0xab010), 0xff0))
    );
}

#[test]
fn the_block_size_widens_the_page_table() {
    // Block size 9 + 3: a page table covers 16 MiB, and so does a leaf in PDB0.
    let mut tables = TestTables::new(3, 3, 0, (1 << 36) - 1, VramOffset::new(0));
    let memory = mapped(
        &mut tables,
        &[
            (15 * MIB, Level::Ptb, PAGE.with_address(0xab000)),
            (32 * MIB, Level::Pdb0, PAGE.with_address(0x4000_0000)),
        ],
    );
    let context = tables.context();
    assert_eq!(context.block_bits, 12);
    assert_eq!(look(&context, &memory, 15 * MIB), Ok((vram(0xab000), 0x1000)));
    assert_eq!(
        look(&context, &memory, 33 * MIB),
        Ok((vram(0x4000_0000 + MIB), 15 * MIB))
    );
}

#[test]
fn directory_entries_can_be_pages() {
    let mut tables = TestTables::four_levels();
    let memory = mapped(
        &mut tables,
        &[
            (2 * MIB, Level::Pdb0, PAGE.with_address(0x20_0000)),
            (GIB, Level::Pdb1, PAGE.with_system(true).with_address(0x4000_0000)),
            (512 * GIB, Level::Pdb2, PAGE.with_system(true)),
        ],
    );
    let context = tables.context();
    assert_eq!(
        look(&context, &memory, 2 * MIB + 0x1234),
        Ok((vram(0x20_1234), 2 * MIB - 0x1234))
    );
    assert_eq!(look(&context, &memory, GIB + 5), Ok((bus(0x4000_0005), GIB - 5)));
    assert_eq!(
        look(&context, &memory, 512 * GIB + GIB),
        Ok((bus(GIB), 511 * GIB))
    );
}

#[test]
fn a_big_page_keeps_a_base_that_is_less_aligned_than_it() {
    let mut tables = TestTables::four_levels();
    let memory = mapped(
        &mut tables,
        &[(2 * MIB, Level::Pdb0, PAGE.with_address(0x1f_f000))],
    );
    assert_eq!(
        look(&tables.context(), &memory, 2 * MIB + 0x3000),
        Ok((vram(0x20_2000), 2 * MIB - 0x3000))
    );
}

#[test]
fn a_fragment_is_contiguous_to_its_end() {
    let mut tables = TestTables::four_levels();
    // FRAG 4: 16 pages from 0x10000 on; the third of them.
    let third = PAGE.with_fragment(4).with_address(0x8_2000);
    let memory = mapped(&mut tables, &[(0x1_2000, Level::Ptb, third)]);
    assert_eq!(
        look(&tables.context(), &memory, 0x1_2010),
        Ok((vram(0x8_2010), 0xdff0))
    );
}

#[test]
fn a_fragment_ends_with_the_context() {
    let mut tables = TestTables::new(3, 0, 0, 0x12, VramOffset::new(0));
    let memory = mapped(&mut tables, &[(0x1_2000, Level::Ptb, PAGE.with_fragment(31))]);
    assert_eq!(
        look(&tables.context(), &memory, 0x1_2010),
        Ok((vram(0x10), 0xff0))
    );
}

#[test]
fn prt_pages_are_no_fault_for_reads_and_writes_at_every_level() {
    // What gmc_v10_0_get_vm_pte leaves: no V, R and W as asked.
    let prt = Pte::new()
        .with_prt(true)
        .with_system(true)
        .with_snooped(true)
        .with_log(true);
    for (level, size) in [(Level::Ptb, 0x1000), (Level::Pdb0, 2 * MIB), (Level::Pdb1, GIB)] {
        let mut tables = TestTables::four_levels();
        let memory = mapped(&mut tables, &[(0, level, prt)]);
        for access in [Access::Read, Access::Write] {
            let found = translate(&tables.context(), 0, &memory, GpuVa::new(8), access).unwrap();
            assert_eq!((found.backing, found.remaining), (Backing::Prt, size - 8));
        }
    }
}

#[test]
fn a_valid_page_with_the_prt_bit_is_an_ordinary_page() {
    // AMDGPU_VM_NORETRY_FLAGS_TF counts on it: V, S and T without R is to fault.
    let mut tables = TestTables::four_levels();
    let entry = Pte::new().with_valid(true).with_system(true).with_prt(true);
    let memory = mapped(&mut tables, &[(0, Level::Ptb, entry)]);
    assert_eq!(look(&tables.context(), &memory, 0), Err(FaultKind::Permission));
}

#[test]
fn permissions_are_checked_for_the_access() {
    let mut tables = TestTables::four_levels();
    let valid = Pte::new().with_valid(true);
    let memory = mapped(
        &mut tables,
        &[
            (0, Level::Ptb, valid.with_readable(true)),
            (0x1000, Level::Ptb, valid.with_writeable(true)),
        ],
    );
    let result = |va, access| {
        translate(&tables.context(), 0, &memory, GpuVa::new(va), access).map(|found| found.remaining)
    };
    assert_eq!(result(0, Access::Read), Ok(0x1000));
    assert_eq!(result(0, Access::Write), Err(FaultKind::Permission));
    assert_eq!(result(0x1000, Access::Read), Err(FaultKind::Permission));
    assert_eq!(result(0x1000, Access::Write), Ok(0x1000));
}

#[test]
fn entries_that_are_not_valid_name_their_level() {
    let mut tables = TestTables::four_levels();
    let memory = mapped(&mut tables, &[(0, Level::Ptb, PAGE)]);
    let context = tables.context();
    assert_eq!(look(&context, &memory, 0x1000), Err(FaultKind::InvalidPte));
    assert_eq!(
        look(&context, &memory, 2 * MIB),
        Err(FaultKind::InvalidPde { level: 0 })
    );
    assert_eq!(
        look(&context, &memory, GIB),
        Err(FaultKind::InvalidPde { level: 1 })
    );
    assert_eq!(
        look(&context, &memory, 512 * GIB),
        Err(FaultKind::InvalidPde { level: 2 })
    );
    let rootless = Context {
        root: context.root.with_valid(false),
        ..context
    };
    assert_eq!(
        look(&rootless, &memory, 0),
        Err(FaultKind::InvalidPde { level: 3 })
    );
}

#[test]
fn a_cleared_directory_faults_as_a_page() {
    // amdgpu_vm_pt_clear fills directories with P and no V.
    let mut tables = TestTables::four_levels();
    let memory = mapped(&mut tables, &[(0, Level::Pdb0, Pte::new())]);
    assert_eq!(look(&tables.context(), &memory, 0), Err(FaultKind::InvalidPte));
}

#[test]
fn a_disabled_context_faults() {
    let tables = TestTables::four_levels();
    let context = Context {
        enabled: false,
        ..tables.context()
    };
    assert_eq!(
        look(&context, &TestMemory::new(4096), 0),
        Err(FaultKind::ContextDisabled)
    );
}

#[test]
fn a_table_in_no_memory_is_a_memory_fault() {
    let tables = TestTables::new(3, 0, 0, (1 << 36) - 1, VramOffset::new(0x10_0000));
    let outside = MemoryError::OutsideVram {
        at: VramOffset::new(0x10_0000),
        len: 8,
        size: 4096,
    };
    assert_eq!(
        look(&tables.context(), &TestMemory::new(4096), 0),
        Err(FaultKind::Memory(outside))
    );
}

#[test]
fn tables_can_be_on_the_bus() {
    let memory = TestMemory::new(0);
    memory.map_system(BusAddr::new(0x4000), 0x1000);
    let page = PAGE.with_system(true).with_address(0x4000);
    memory
        .store_u64(Location::System(BusAddr::new(0x4008)), page.into_bits())
        .unwrap();
    let root = Pde::new().with_valid(true).with_system(true).with_address(0x4000);
    let context = Context::new(ContextCntl::new().with_enable_context(true), root, 0, 1);
    assert_eq!(look(&context, &memory, 0x1000), Ok((bus(0x4000), 0x1000)));
}

#[test]
fn frame_buffer_offset_is_taken_from_table_and_page_addresses() {
    let memory = TestMemory::new(MIB);
    let tables = TestTables::new(0, 0, 0, 15, VramOffset::new(0x8_0000));
    // As the driver writes them with an FB_OFFSET of 48 MiB.
    let offset = 48 * MIB;
    let page = PAGE.with_address(0x5000 + offset);
    memory
        .store_u64(Location::Vram(VramOffset::new(0x8_0000)), page.into_bits())
        .unwrap();
    let context = Context {
        root: tables.root().with_address(0x8_0000 + offset),
        ..tables.context()
    };
    let found = translate(&context, offset, &memory, GpuVa::new(0x10), Access::Read).unwrap();
    assert_eq!(found.backing, vram(0x5010));
}

/// VRAM at 512 GiB, an AGP window above it, the GART at 0.
fn kernel_space(memory: &TestMemory) -> AddressSpace {
    let mut tables = TestTables::new(0, 0, 0, 0xf, VramOffset::new(0));
    tables
        .map(
            memory,
            GpuVa::new(0x2000),
            Level::Ptb,
            PAGE.with_system(true).with_address(0x9000),
        )
        .unwrap();
    AddressSpace {
        apertures: Apertures::new(0x8000, 0x80ff, 0, 0x9000, 0x9001, 0x12),
        contexts: [tables.context(); Vmid::COUNT],
    }
}

#[test]
fn vmid_0_looks_in_frame_buffer_then_agp_then_gart() {
    let memory = TestMemory::new(MIB);
    let space = kernel_space(&memory);
    let look = |vmid: u32, va| {
        let found = space.translate(&memory, Vmid::from_field(vmid), GpuVa::new(va), Access::Read);
        found
            .map(|found| (found.backing, found.remaining))
            .map_err(|fault| fault.kind)
    };
    assert_eq!(look(0, 0x80_0000_1234), Ok((vram(0x1234), 4 * GIB - 0x1234)));
    assert_eq!(look(0, 0x80_ffff_ffff), Ok((vram(0xffff_ffff), 1)));
    assert_eq!(look(0, 0x81_0000_0000), Err(FaultKind::OutOfRange));
    assert_eq!(look(0, 0x90_0000_0010), Ok((bus(0x1200_0010), 32 * MIB - 0x10)));
    assert_eq!(look(0, 0x2004), Ok((bus(0x9004), 0xffc)));
    assert_eq!(look(0, 0x3004), Err(FaultKind::InvalidPte));
    // Other contexts have no apertures.
    assert_eq!(look(1, 0x80_0000_1234), Err(FaultKind::OutOfRange));
    assert_eq!(look(1, 0x2004), Ok((bus(0x9004), 0xffc)));
}

#[test]
fn the_frame_buffer_does_not_need_context_0() {
    let memory = TestMemory::new(MIB);
    let mut space = kernel_space(&memory);
    space.contexts[0].enabled = false;
    let look = |va| space.translate(&memory, Vmid::KERNEL, GpuVa::new(va), Access::Write);
    assert_eq!(look(0x80_0000_0000).unwrap().source, Source::FrameBuffer);
    assert_eq!(look(0x90_0000_0000).unwrap().source, Source::Agp);
    assert_eq!(look(0x2000).unwrap_err().kind, FaultKind::ContextDisabled);
}

#[test]
fn apertures_after_reset_or_switched_off_hide_nothing() {
    let memory = TestMemory::new(MIB);
    let mut space = kernel_space(&memory);
    // Reset leaves AGP_BOT and AGP_TOP at zero; the driver switches the window off with BOT above TOP.
    for (bot, top) in [(0, 0), (0xff_ffff, 0)] {
        space.apertures = Apertures::new(0x8000, 0x80ff, 0, bot, top, 0);
        let found = space
            .translate(&memory, Vmid::KERNEL, GpuVa::new(0x2000), Access::Read)
            .unwrap();
        assert_eq!(found.backing, bus(0x9000));
    }
}

#[test]
fn the_deciding_entry_is_the_leaf_or_the_first_that_is_not_valid() {
    let mut tables = TestTables::four_levels();
    let page = PAGE.with_address(0x5000);
    let memory = mapped(&mut tables, &[(0x40_1000, Level::Ptb, page)]);
    let leaf = tables.entry(&memory, GpuVa::new(0x40_1000), Level::Ptb).unwrap();
    let look = |va| deciding_entry(&tables.context(), 0, &memory, GpuVa::new(va));
    assert_eq!(look(0x40_1abc), Some((leaf, page.into_bits())));
    assert_eq!(look(0x40_2000), Some((leaf.plus(8), 0)));
    // The root's second entry: nothing below it.
    let root = tables.root().location(0);
    assert_eq!(look(1 << 39), Some((root.plus(8), 0)));
    let rootless = Context {
        root: tables.root().with_valid(false),
        ..tables.context()
    };
    assert_eq!(deciding_entry(&rootless, 0, &memory, GpuVa::new(0)), None);
}
