use mmio::{Effects, RegisterBlock};

use super::*;
use crate::testing::{TestMemory, TestTables};
use crate::{BusAddr, FrameBuffer, HubLayout, Level, Pte, VramOffset, registers as reg};

const VRAM: u64 = 1 << 20;
const USER: Vmid = Vmid::from_field(4);
const PAGE: Pte = Pte::new()
    .with_valid(true)
    .with_readable(true)
    .with_writeable(true);
/// A run of user pages: two in VRAM that are apart, one on the bus, one PRT, one read-only, one write-only, a hole, one beyond VRAM.
const BASE: u64 = 0x4000_0000;
const BUS: u64 = 0x1_0000_0000;

struct Machine {
    hub: Hub,
    memory: TestMemory,
    sink: FaultSink,
}

impl Machine {
    fn new() -> Self {
        let memory = TestMemory::new(VRAM);
        memory.map_system(BusAddr::new(BUS), 0x1000);
        let mut tables = TestTables::four_levels();
        let valid = Pte::new().with_valid(true);
        let pages = [
            PAGE.with_address(0x8_0000),
            PAGE.with_address(0xa_0000),
            PAGE.with_system(true).with_address(BUS),
            Pte::new().with_prt(true),
            valid.with_readable(true).with_address(0xb_0000),
            valid.with_writeable(true).with_address(0xc_0000),
            Pte::new(),
            PAGE.with_address(VRAM),
        ];
        for (page, entry) in (0..).zip(pages) {
            tables
                .map(&memory, GpuVa::new(BASE + page * PAGE_SIZE), Level::Ptb, entry)
                .unwrap();
        }
        // One fragment whose second half lies beyond VRAM.
        for page in 0..16 {
            let entry = PAGE
                .with_fragment(4)
                .with_address(VRAM - 0x8000 + page * PAGE_SIZE);
            tables
                .map(
                    &memory,
                    GpuVa::new(0x5000_0000 + page * PAGE_SIZE),
                    Level::Ptb,
                    entry,
                )
                .unwrap();
        }
        let frame_buffer = FrameBuffer {
            base: GpuVa::new(0x80_0000_0000),
            size: VRAM,
        };
        let layout = HubLayout::GFXHUB_2_1;
        let mut hub = Hub::new(layout, frame_buffer);
        let context = tables.context();
        let vmid = u32::from(USER.get());
        for (register, value) in [
            (
                reg::PAGE_TABLE_BASE.plus(8 * vmid),
                (context.root.into_bits() & 0xffff_ffff) as u32,
            ),
            (reg::PAGE_TABLE_END.plus(8 * vmid), u32::MAX),
            (reg::PAGE_TABLE_END.plus(8 * vmid + 4), 0xf),
            (reg::CONTEXT_CNTL.plus(4 * vmid), context.cntl.into_bits()),
        ] {
            hub.write(layout.l2(register), value, &mut Effects::default());
        }
        Self {
            hub,
            memory,
            sink: FaultSink::default(),
        }
    }

    fn space(&mut self) -> Space<'_, TestMemory> {
        Space::new(&mut self.hub, &self.memory, ClientId::SDMA0, &mut self.sink)
    }

    fn vram(&self, at: u64, len: usize) -> Vec<u8> {
        self.memory
            .bytes(Location::Vram(VramOffset::new(at)), len)
            .unwrap()
    }

    fn bus(&self, at: u64, len: usize) -> Vec<u8> {
        self.memory
            .bytes(Location::System(BusAddr::new(BUS + at)), len)
            .unwrap()
    }
}

const fn page(number: u64) -> GpuVa {
    GpuVa::new(BASE + number * PAGE_SIZE)
}

fn counting(len: usize) -> Vec<u8> {
    (1..=251).cycle().take(len).collect()
}

#[test]
fn a_write_across_pages_lands_in_each_of_them() {
    let mut machine = Machine::new();
    let data = counting(0x2008);
    machine.space().write(USER, page(0).plus(0xffc), &data).unwrap();
    assert_eq!(machine.vram(0x8_0ffc, 4), data[..4]);
    assert_eq!(machine.vram(0xa_0000, 0x1000), data[4..0x1004]);
    assert_eq!(machine.bus(0, 0x1000), data[0x1004..0x2004]);
    // The last four bytes fell on a PRT page.
    let mut back = vec![0xff; 0x2008];
    machine
        .space()
        .read(USER, page(0).plus(0xffc), &mut back)
        .unwrap();
    assert_eq!(back[..0x2004], data[..0x2004]);
    assert_eq!(back[0x2004..], [0; 4]);
    assert_eq!(machine.sink.faults(), 0);
}

#[test]
fn a_faulting_read_zeroes_the_rest() {
    let mut machine = Machine::new();
    machine.space().fill(USER, page(5), 0x1111_1111, 0x1000).unwrap();
    let mut data = [0xff; 8];
    let fault = machine
        .space()
        .read(USER, page(4).plus(0xffc), &mut data)
        .unwrap_err();
    assert_eq!(
        fault,
        Fault {
            vmid: USER,
            va: page(5),
            access: Access::Read,
            kind: FaultKind::Permission
        }
    );
    assert_eq!(data, [0; 8]);
}

#[test]
fn a_faulting_write_keeps_what_came_before() {
    let mut machine = Machine::new();
    let fault = machine
        .space()
        .write(USER, page(5).plus(0xffe), &[1, 2, 3, 4])
        .unwrap_err();
    assert_eq!((fault.va, fault.kind), (page(6), FaultKind::InvalidPte));
    assert_eq!(machine.vram(0xc_0ffe, 2), [1, 2]);
}

#[test]
fn every_fault_is_recorded_and_interrupts_for_its_client() {
    let mut machine = Machine::new();
    let fault = machine
        .space()
        .store_u32(USER, page(6).plus(0x10), 1)
        .unwrap_err();
    let interrupts = machine.sink.take();
    assert_eq!(interrupts.len(), 1);
    assert_eq!((interrupts[0].va, interrupts[0].vmid), (page(6).plus(0x10), USER));
    assert_eq!(fault.access, Access::Write);
    let status = machine
        .hub
        .read(HubLayout::GFXHUB_2_1.l2(reg::L2_PROTECTION_FAULT_STATUS));
    assert_eq!(status, interrupts[0].status.into_bits());
    assert_eq!(interrupts[0].status.cid(), ClientId::SDMA0.get());
    assert_eq!(machine.sink.take(), []);
}

#[test]
fn a_full_sink_counts_what_it_drops() {
    let mut machine = Machine::new();
    for _ in 0..FaultSink::CAPACITY + 3 {
        machine.space().store_u32(USER, page(6), 1).unwrap_err();
    }
    assert_eq!(
        (machine.sink.faults(), machine.sink.dropped()),
        (FaultSink::CAPACITY as u64 + 3, 3)
    );
    assert_eq!(machine.sink.take().len(), FaultSink::CAPACITY);
}

#[test]
fn a_page_in_no_memory_is_a_memory_fault() {
    let mut machine = Machine::new();
    let fault = machine.space().write(USER, page(7).plus(4), &[1; 4]).unwrap_err();
    assert!(matches!(
        fault.kind,
        FaultKind::Memory(MemoryError::OutsideVram { .. })
    ));
    assert_eq!(fault.va, page(7).plus(4));
    machine.memory.set_bus_master(false);
    let fault = machine.space().read(USER, page(2), &mut [0; 4]).unwrap_err();
    assert!(matches!(
        fault.kind,
        FaultKind::Memory(MemoryError::BusMasterOff { .. })
    ));
}

#[test]
fn a_run_that_leaves_memory_is_done_up_to_the_bad_page() {
    let mut machine = Machine::new();
    let va = GpuVa::new(0x5000_0000);
    let fault = machine
        .space()
        .fill(USER, va.plus(0x800), 0xaabb_ccdd, 0x1_0000 - 0x800)
        .unwrap_err();
    assert_eq!(fault.va, va.plus(0x8000));
    assert_eq!(machine.vram(VRAM - 4, 4), [0xdd, 0xcc, 0xbb, 0xaa]);
    let mut data = vec![0xff; 0x9000];
    let fault = machine.space().read(USER, va, &mut data).unwrap_err();
    assert_eq!(fault.va, va.plus(0x8000));
    assert_eq!(
        data[0x7ffc..],
        [&[0xdd, 0xcc, 0xbb, 0xaa][..], &[0; 0x1000]].concat()
    );
}

#[test]
fn a_copy_goes_from_run_to_run() {
    let mut machine = Machine::new();
    let data = counting(0x2000);
    machine.space().write(USER, page(0).plus(0x10), &data).unwrap();
    // From VRAM and bus into one fragment.
    machine
        .space()
        .copy(USER, page(0).plus(0x10), GpuVa::new(0x5000_0004), 0x2000)
        .unwrap();
    assert_eq!(machine.vram(VRAM - 0x8000 + 4, 0x2000), data);
}

#[test]
fn copies_from_prt_give_zeros_and_copies_to_prt_are_dropped() {
    let mut machine = Machine::new();
    machine.space().fill(USER, page(0), u32::MAX, 0x1000).unwrap();
    machine.space().copy(USER, page(3), page(0).plus(8), 8).unwrap();
    assert_eq!(
        machine.vram(0x8_0000, 24),
        [[0xff; 8], [0; 8], [0xff; 8]].concat()
    );
    machine.space().copy(USER, page(0), page(3), 0x1000).unwrap();
    machine.space().copy(USER, page(3), page(3).plus(8), 8).unwrap();
    assert_eq!(machine.sink.faults(), 0);
}

#[test]
fn a_faulting_copy_names_the_side_that_faulted() {
    let mut machine = Machine::new();
    let mut copy = |from, to| {
        let fault = machine.space().copy(USER, from, to, 16).unwrap_err();
        (fault.va, fault.access)
    };
    assert_eq!(copy(page(5), page(0)), (page(5), Access::Read));
    assert_eq!(copy(page(0), page(4)), (page(4), Access::Write));
    assert_eq!(copy(page(7), page(0)), (page(7), Access::Read));
    assert_eq!(copy(page(0), page(7)), (page(7), Access::Write));
}

#[test]
fn a_copy_from_a_run_that_leaves_memory_is_done_up_to_the_bad_page() {
    let mut machine = Machine::new();
    let from = GpuVa::new(0x5000_7000);
    machine.space().fill(USER, from, 0x0101_0101, 0x1000).unwrap();
    let fault = machine
        .space()
        .copy(USER, from, GpuVa::new(0x80_0000_0000 + 0x8_0000), 0x2000);
    assert!(fault.is_err(), "VMID 4 has no frame buffer aperture");
    let fault = machine
        .space()
        .copy(USER, from, GpuVa::new(0x5000_0000), 0x2000)
        .unwrap_err();
    assert_eq!((fault.va, fault.access), (GpuVa::new(0x5000_8000), Access::Read));
    assert_eq!(machine.vram(VRAM - 0x8000, 0x1000), vec![1; 0x1000]);
}

#[test]
fn a_fill_continues_its_pattern_across_an_odd_page_end() {
    let mut machine = Machine::new();
    machine
        .space()
        .fill(USER, page(0).plus(0xffd), 0x4433_2211, 9)
        .unwrap();
    assert_eq!(machine.vram(0x8_0ffd, 3), [0x11, 0x22, 0x33]);
    assert_eq!(machine.vram(0xa_0000, 7), [0x44, 0x11, 0x22, 0x33, 0x44, 0x11, 0]);
}

#[test]
fn words_drop_their_low_address_bits() {
    let mut machine = Machine::new();
    // Unaligned, these would cross into the next page.
    machine
        .space()
        .store_u32(USER, page(0).plus(0xffe), 0x0403_0201)
        .unwrap();
    assert_eq!(machine.vram(0x8_0ffc, 4), [1, 2, 3, 4]);
    machine
        .space()
        .store_u64(USER, page(1).plus(0xfff), 0x0807_0605_0403_0201)
        .unwrap();
    assert_eq!(machine.vram(0xa_0ff8, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        machine
            .space()
            .update_u32(USER, page(0).plus(0xffd), &mut |old| old + 1),
        Ok(0x0403_0201)
    );
    assert_eq!(machine.vram(0x8_0ffc, 4), [2, 2, 3, 4]);
    assert_eq!(
        machine
            .space()
            .update_u64(USER, page(1).plus(0xffa), &mut |old| old << 8),
        Ok(0x0807_0605_0403_0201)
    );
    assert_eq!(machine.vram(0xa_0ff8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn words_on_a_prt_page_are_dropped_and_read_as_zero() {
    let mut machine = Machine::new();
    let mut seen = vec![];
    let mut space = machine.space();
    space.store_u32(USER, page(3), 7).unwrap();
    space.store_u64(USER, page(3), 7).unwrap();
    assert_eq!(
        space.update_u32(USER, page(3), &mut |old| (seen.push(u64::from(old)), 7).1),
        Ok(0)
    );
    assert_eq!(
        space.update_u64(USER, page(3), &mut |old| (seen.push(old), 7).1),
        Ok(0)
    );
    assert_eq!(seen, [0, 0]);
}

#[test]
fn words_in_no_memory_fault() {
    let mut machine = Machine::new();
    let mut space = machine.space();
    let faults = [
        space.store_u32(USER, page(7), 7).unwrap_err(),
        space.store_u64(USER, page(7), 7).unwrap_err(),
        space.update_u32(USER, page(7), &mut |old| old).unwrap_err(),
        space.update_u64(USER, page(7), &mut |old| old).unwrap_err(),
    ];
    for fault in faults {
        assert!(matches!(fault.kind, FaultKind::Memory(_)), "{fault}");
        assert_eq!(fault.access, Access::Write);
    }
}

#[test]
fn empty_accesses_touch_nothing() {
    let mut machine = Machine::new();
    let mut space = machine.space();
    space.read(USER, page(6), &mut []).unwrap();
    space.write(USER, page(6), &[]).unwrap();
    space.copy(USER, page(6), page(6), 0).unwrap();
    space.fill(USER, page(6), 0, 0).unwrap();
    assert_eq!(machine.sink.faults(), 0);
}

#[test]
fn vmid_0_reaches_vram_through_the_frame_buffer() {
    let mut machine = Machine::new();
    let va = GpuVa::new(0x80_0000_0000 + 0x8_0000);
    machine.space().store_u32(Vmid::KERNEL, va, 0x0403_0201).unwrap();
    assert_eq!(machine.vram(0x8_0000, 4), [1, 2, 3, 4]);
    // The aperture counts in 16 MiB and so is larger than this VRAM.
    let fault = machine
        .space()
        .store_u32(Vmid::KERNEL, va.plus(VRAM), 1)
        .unwrap_err();
    assert!(matches!(
        fault.kind,
        FaultKind::Memory(MemoryError::OutsideVram { .. })
    ));
}
