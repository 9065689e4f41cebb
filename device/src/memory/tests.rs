//! Tests of the memories behind the device.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use gart::{BusAddr, Location, MemoryError, PhysicalMemory, Series, VramOffset};
use proptest::prelude::*;

use super::*;
use crate::transport::{DmaRange, RequestError};

const MIB: u64 = 1 << 20;
const PAGE: u64 = PAGE_SIZE;
const LEN: usize = 4096; // the same as a length

fn vram(offset: u64) -> Location {
    Location::Vram(VramOffset::new(offset))
}

fn bus(address: u64) -> Location {
    Location::System(BusAddr::new(address))
}

fn memory(size: u64) -> DeviceMemory {
    let mut memory = DeviceMemory::new(Vram::new(size).unwrap());
    memory.guest.set_bus_master(true);
    memory
}

fn file(size: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    file
}

fn range(address: u64, size: u64, file: &File, offset: u64) -> DmaRange {
    DmaRange {
        address,
        size,
        readable: true,
        writable: true,
        backing: Some((file.try_clone().unwrap(), offset)),
    }
}

fn bytes_at(mut file: &File, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut data).unwrap();
    data
}

/// VRAM of every kind that the host allows.
fn kinds(size: u64) -> Vec<DeviceMemory> {
    let mut kinds = vec![Vram::new(size).unwrap()];
    match Vram::backed(size, Backing::Huge) {
        Ok(huge) => kinds.push(huge),
        Err(error) => eprintln!("skipped: {:#}", anyhow::Error::new(error)),
    }
    kinds.into_iter().map(DeviceMemory::new).collect()
}

#[test]
fn untouched_vram_takes_no_memory() {
    for memory in kinds(16 << 30) {
        let page = memory.vram.page();
        let at = 12 << 30;
        memory.write(vram(at + 8192), &[1; 4096]).unwrap();
        // A host whose free memory is in pieces has no page of 2 MiB, and gives small ones.
        let page = match memory.vram.resident().unwrap() {
            PAGE => PAGE,
            resident => {
                assert_eq!(resident, page);
                page
            }
        };
        let populated = at + 8192 - (at + 8192) % page;
        assert_eq!(
            memory.vram.populated_from(0).unwrap(),
            Some(populated),
            "only the page that was written is populated"
        );
        assert_eq!(memory.vram.populated_to(populated).unwrap(), populated + page);
        assert_eq!(memory.vram.populated_from(populated + page).unwrap(), None);
    }
}

#[test]
fn discarded_vram_reads_as_zero_through_the_same_mapping() {
    for memory in kinds(16 * MIB) {
        let page = memory.vram.page();
        memory.fill(vram(0), 0xdead_beef, 16 * MIB).unwrap();
        memory.vram.discard(page, u64::MAX).unwrap();
        assert_eq!(memory.vram.resident().unwrap(), page);
        assert_eq!(memory.load_u64(vram(page)), Ok(0));
        assert_eq!(memory.load_u64(vram(page - 8)), Ok(0xdead_beef_dead_beef));
        // A part of a page.
        memory.vram.discard(PAGE / 2, PAGE).unwrap();
        assert_eq!(memory.load_u64(vram(PAGE / 2 - 8)), Ok(0xdead_beef_dead_beef));
        assert_eq!(memory.load_u64(vram(PAGE / 2)), Ok(0));
        assert_eq!(memory.load_u64(vram(PAGE + PAGE / 2 - 8)), Ok(0));
    }
}

#[test]
fn overwritten_vram_has_the_pattern_and_its_neighbours_have_not() {
    for memory in kinds(16 * MIB) {
        for (start, len) in [
            (0, MIB),
            (3 * MIB + 4, 2 * MIB),
            (5 * MIB + 2, 30),
            (15 * MIB, 2 * MIB),
        ] {
            memory.fill(vram(0), 0, 16 * MIB).unwrap();
            memory.vram.overwrite(start, len, 0x4433_2211).unwrap();
            let end = (start + len).min(16 * MIB);
            let mut bytes = vec![0; 16 << 20];
            memory.read(vram(0), &mut bytes).unwrap();
            let written = |at: &usize| (start..end).contains(&(*at as u64));
            let wrong = (0..bytes.len()).find(|at| {
                let number = (*at as u64).wrapping_sub(start) % 4;
                bytes[*at]
                    != if written(at) {
                        [0x11, 0x22, 0x33, 0x44][number as usize]
                    } else {
                        0
                    }
            });
            assert_eq!(wrong, None, "{start:#x}+{len:#x}");
        }
    }
}

#[test]
fn huge_pages_are_mapped_as_such_and_bounded_by_the_size() {
    let Ok(huge) = Vram::backed(16 * MIB, Backing::Huge) else {
        eprintln!("skipped: the host allows no huge pages");
        return;
    };
    let start = huge.piece(0, 1).unwrap().ptr_guard().as_ptr().addr();
    assert_eq!(
        start as u64 % huge.page(),
        0,
        "a huge page can be mapped in one piece"
    );
    let shared = huge.share().unwrap();
    shared.set_len(64 * MIB).unwrap();
    rustix::fs::fallocate(&shared, rustix::fs::FallocateFlags::empty(), 0, 32 * MIB)
        .expect_err("nobody can make it take more memory than VRAM has");
}

#[test]
fn where_huge_pages_cannot_be_had_vram_is_a_memfd() {
    // Of a size that none of them has.
    assert!(matches!(
        Vram::backed(3 * PAGE, Backing::Huge),
        Err(VramError::Huge { .. })
    ));
    let small = Vram::backed(3 * PAGE, Backing::Auto).unwrap();
    assert_eq!((small.size(), small.page()), (3 * PAGE, PAGE));
    assert!(small.share().unwrap().set_len(0).is_err(), "sealed");
}

#[test]
fn the_front_end_sees_vram_and_cannot_shrink_it() {
    let memory = memory(MIB);
    memory.write(vram(0x123), b"shared").unwrap();
    let shared = memory.vram.share().unwrap();
    assert_eq!(bytes_at(&shared, 0x123, 6), b"shared");
    assert!(shared.set_len(0).is_err());
    assert!(shared.set_len(2 * MIB).is_err());
}

#[test]
fn a_size_that_is_not_in_pages_is_refused() {
    for size in [0, 1, PAGE + 1] {
        assert!(matches!(Vram::new(size), Err(VramError::Size { .. })));
    }
    assert!(
        Vram::new(1 << 62).is_err(),
        "more than an address space holds is an error, not a crash"
    );
}

#[test]
fn an_access_outside_vram_does_nothing() {
    let memory = memory(MIB);
    let end = MIB - 4;
    let outside = |at, len| MemoryError::OutsideVram {
        at: VramOffset::new(at),
        len,
        size: MIB,
    };
    assert_eq!(memory.write(vram(end), &[1; 8]), Err(outside(end, 8)));
    assert_eq!(memory.read(vram(end), &mut [0; 4]), Ok(()));
    assert_eq!(memory.load_u64(vram(end)), Err(outside(end, 8)));
    assert_eq!(memory.fill(vram(0), 1, MIB + 1), Err(outside(0, MIB + 1)));
    assert_eq!(
        memory.copy(vram(0), vram(end), 5),
        Err(outside(end, 5)),
        "the target of a copy is checked too"
    );
    assert_eq!(
        memory.store_u32(vram(u64::MAX), 1),
        Err(outside(u64::MAX, 4)),
        "an address that wraps around is outside"
    );
    assert_eq!(
        memory.vram.resident().unwrap(),
        PAGE,
        "only the read touched a page"
    );
}

#[test]
fn an_access_of_no_bytes_succeeds_anywhere() {
    let memory = memory(MIB);
    assert_eq!(memory.read(bus(0), &mut []), Ok(()));
    assert_eq!(memory.copy(vram(u64::MAX), bus(7), 0), Ok(()));
    assert_eq!(memory.fill(vram(u64::MAX), 0, 0), Ok(()));
}

#[test]
fn dma_reaches_the_file_at_its_offset() {
    let mut memory = memory(MIB);
    let file = file(4 * PAGE);
    memory
        .guest
        .add(range(0x8000_0000, 2 * PAGE, &file, 2 * PAGE))
        .unwrap();
    memory.write(bus(0x8000_0010), b"dma").unwrap();
    assert_eq!(bytes_at(&file, 2 * PAGE + 0x10, 3), b"dma");
    memory.copy(bus(0x8000_0010), vram(64), 3).unwrap();
    assert_eq!(memory.load_u64(vram(64)), Ok(0x61_6d64));
}

#[test]
fn with_bus_mastering_off_no_guest_memory_is_reached() {
    let mut memory = memory(MIB);
    let file = file(PAGE);
    memory.guest.add(range(0, PAGE, &file, 0)).unwrap();
    memory.guest.set_bus_master(false);
    let refused = MemoryError::BusMasterOff { at: BusAddr::new(8) };
    assert_eq!(memory.write(bus(8), &[1]), Err(refused));
    assert_eq!(memory.load_u64(bus(8)), Err(refused));
    assert_eq!(memory.copy(bus(8), vram(0), 8), Err(refused));
    assert_eq!(memory.write(vram(8), &[1]), Ok(()), "VRAM is the GPU's own");
    memory.guest.set_bus_master(true);
    assert_eq!(memory.write(bus(8), &[1]), Ok(()));
}

#[test]
fn a_read_only_range_is_not_written() {
    let mut memory = memory(MIB);
    let file = file(PAGE);
    let read_only = DmaRange {
        writable: false,
        ..range(0, PAGE, &file, 0)
    };
    memory.guest.add(read_only).unwrap();
    let refused = Err(MemoryError::Unmapped {
        at: BusAddr::new(0),
        len: 4,
    });
    assert_eq!(memory.write(bus(0), &[1; 4]), refused);
    assert_eq!(memory.store_u32(bus(0), 1), refused);
    assert_eq!(memory.fill(bus(0), 1, 4), refused);
    assert_eq!(memory.copy(vram(0), bus(0), 4), refused);
    assert_eq!(
        memory.update_u32(bus(0), &mut |_| 1),
        Err(MemoryError::Unmapped {
            at: BusAddr::new(0),
            len: 4
        })
    );
    assert_eq!(memory.load_u64(bus(0)), Ok(0));
}

#[test]
fn a_range_from_a_read_only_descriptor_can_be_mapped_for_reading() {
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().set_len(PAGE).unwrap();
    let read_only = File::open(named.path()).unwrap();
    let mut guest = GuestMemory::new();
    assert!(matches!(
        guest.add(range(0, PAGE, &read_only, 0)),
        Err(RequestError::Host { .. })
    ));
    let readable = DmaRange {
        writable: false,
        ..range(0, PAGE, &read_only, 0)
    };
    guest.add(readable).unwrap();
}

#[test]
fn a_range_without_a_descriptor_exists_but_is_out_of_reach() {
    let mut memory = memory(MIB);
    let bar = || DmaRange {
        address: 0xe000_0000,
        size: MIB,
        readable: true,
        writable: true,
        backing: None,
    };
    memory.guest.add(bar()).unwrap();
    assert!(matches!(
        memory.guest.add(bar()),
        Err(RequestError::DmaOverlap { .. })
    ));
    assert!(matches!(
        memory.write(bus(0xe000_0000), &[1]),
        Err(MemoryError::Unmapped { .. })
    ));
    memory.guest.remove(0xe000_0000, MIB).unwrap();
    assert!(memory.guest.is_empty());
}

#[test]
fn a_range_that_its_file_does_not_hold_is_refused() {
    let mut guest = GuestMemory::new();
    let file = file(2 * PAGE);
    for (address, size, offset) in [
        (0, 3 * PAGE, 0),
        (0, PAGE, 2 * PAGE),
        (0, PAGE, u64::MAX - PAGE + 1),
        (0, PAGE, 1),
        (0, 1, 0),
        (1, PAGE, 0),
        (0, 0, 0),
        (u64::MAX - PAGE + 1, 2 * PAGE, 0),
    ] {
        assert!(
            matches!(
                guest.add(range(address, size, &file, offset)),
                Err(RequestError::Invalid(_))
            ),
            "{address:#x}+{size:#x} at {offset:#x}"
        );
    }
    let pipe = File::from(std::os::fd::OwnedFd::from(std::io::pipe().unwrap().0));
    assert!(matches!(
        guest.add(range(0, PAGE, &pipe, 0)),
        Err(RequestError::Invalid(_))
    ));
    assert!(guest.is_empty());
}

#[test]
fn overlapping_ranges_are_refused_and_neighbours_are_not() {
    let mut guest = GuestMemory::new();
    let file = file(PAGE);
    guest.add(range(4 * PAGE, PAGE, &file, 0)).unwrap();
    guest.add(range(3 * PAGE, PAGE, &file, 0)).unwrap();
    guest.add(range(5 * PAGE, PAGE, &file, 0)).unwrap();
    for page in 3..6 {
        let overlap = guest.add(range(page * PAGE, PAGE, &file, 0)).unwrap_err();
        assert_eq!(overlap.errno(), libc::EEXIST.unsigned_abs());
    }
    assert_eq!(guest.len(), 3);
}

#[test]
fn unmapping_takes_whole_ranges_only() {
    let mut guest = GuestMemory::new();
    let file = file(2 * PAGE);
    guest.add(range(0, 2 * PAGE, &file, 0)).unwrap();
    guest.add(range(8 * PAGE, PAGE, &file, 0)).unwrap();
    assert!(matches!(guest.remove(0, PAGE), Err(RequestError::Invalid(_))));
    assert!(matches!(guest.remove(PAGE, PAGE), Err(RequestError::Invalid(_))));
    assert!(matches!(
        guest.remove(4 * PAGE, PAGE),
        Err(RequestError::DmaNotMapped { .. })
    ));
    assert!(matches!(
        guest.remove(PAGE, u64::MAX),
        Err(RequestError::Invalid(_))
    ));
    assert_eq!(guest.len(), 2);
    guest.remove(0, 9 * PAGE).unwrap();
    assert!(guest.is_empty());
}

#[test]
fn removed_memory_is_out_of_reach_at_once() {
    let mut memory = memory(MIB);
    let file = file(PAGE);
    memory.guest.add(range(0, PAGE, &file, 0)).unwrap();
    memory.guest.add(range(PAGE, PAGE, &file, 0)).unwrap();
    memory.write(bus(PAGE), &[1]).unwrap();
    memory.guest.remove(PAGE, PAGE).unwrap();
    assert!(memory.write(bus(PAGE), &[1]).is_err());
    memory.write(bus(0), &[1]).unwrap();
    memory.guest.remove_all();
    assert!(memory.write(bus(0), &[1]).is_err());
    assert!(memory.guest.bus_master(), "only the memory went away");
    memory.guest.clear();
    assert!(!memory.guest.bus_master());
}

#[test]
fn an_access_may_cross_from_one_range_to_the_next() {
    let mut memory = memory(MIB);
    let (first, second) = (file(PAGE), file(PAGE));
    memory.guest.add(range(0, PAGE, &first, 0)).unwrap();
    memory.guest.add(range(PAGE, PAGE, &second, 0)).unwrap();
    memory.write(bus(PAGE - 2), &[1, 2, 3, 4]).unwrap();
    assert_eq!(bytes_at(&first, PAGE - 2, 2), [1, 2]);
    assert_eq!(bytes_at(&second, 0, 2), [3, 4]);
    assert_eq!(memory.update_u32(bus(PAGE - 2), &mut |old| !old), Ok(0x0403_0201));
    assert_eq!(bytes_at(&second, 0, 2), [!3, !4]);
    memory.fill(bus(PAGE - 3), 0xddcc_bbaa, 8).unwrap();
    assert_eq!(bytes_at(&second, 0, 5), [0xdd, 0xaa, 0xbb, 0xcc, 0xdd]);
}

#[test]
fn an_access_that_is_partly_unmapped_changes_nothing() {
    let mut memory = memory(MIB);
    let file = file(PAGE);
    memory.guest.add(range(0, PAGE, &file, 0)).unwrap();
    memory.guest.add(range(2 * PAGE, PAGE, &file, 0)).unwrap();
    let refused = MemoryError::Unmapped {
        at: BusAddr::new(PAGE - 4),
        len: 8,
    };
    assert_eq!(memory.write(bus(PAGE - 4), &[1; 8]), Err(refused));
    assert_eq!(memory.copy(vram(0), bus(PAGE - 4), 8), Err(refused));
    assert_eq!(memory.update_u64(bus(PAGE - 4), &mut |_| 1), Err(refused));
    assert_eq!(bytes_at(&file, PAGE - 4, 4), [0; 4]);
    let mut data = [7; 8];
    assert_eq!(memory.read(bus(PAGE - 4), &mut data), Err(refused));
    assert_eq!(data, [7; 8]);
}

#[test]
fn overlapping_copies_behave_as_memmove_across_ranges() {
    let mut memory = memory(MIB);
    let files = [file(PAGE), file(PAGE), file(PAGE)];
    for (page, file) in (0..).zip(&files) {
        memory.guest.add(range(page * PAGE, PAGE, file, 0)).unwrap();
    }
    let pattern: Vec<u8> = (0..2 * PAGE).map(|i| (i % 251) as u8).collect();
    for (from, to) in [(0, 100), (100, 0), (0, PAGE - 1), (PAGE - 1, 0)] {
        memory.write(bus(from), &pattern).unwrap();
        memory.copy(bus(from), bus(to), 2 * PAGE).unwrap();
        let mut moved = vec![0; pattern.len()];
        memory.read(bus(to), &mut moved).unwrap();
        assert_eq!(moved, pattern, "{from} to {to}");
    }
}

#[test]
fn words_are_little_endian_and_updates_return_the_old_value() {
    let memory = memory(MIB);
    memory.store_u64(vram(8), 0x0807_0605_0403_0201).unwrap();
    memory.store_u32(vram(16), 0x0c0b_0a09).unwrap();
    let mut data = [0; 12];
    memory.read(vram(8), &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(memory.load_u64(vram(10)), Ok(0x0a09_0807_0605_0403));
    assert_eq!(memory.update_u32(vram(16), &mut |old| old + 1), Ok(0x0c0b_0a09));
    assert_eq!(memory.update_u64(vram(16), &mut |old| old * 2), Ok(0x0c0b_0a0a));
    assert_eq!(memory.load_u64(vram(16)), Ok(0x1816_1414));
}

#[test]
fn updates_are_atomic_against_another_mapping() {
    const ROUNDS: u32 = 20_000;
    let memory = memory(MIB);
    let other = Vram::share(&memory.vram).unwrap();
    let other = vm_memory::MmapRegion::<()>::from_file(vm_memory::FileOffset::new(other, 0), 4096).unwrap();
    let guest_cpu = std::thread::spawn(move || {
        use vm_memory::VolatileMemory;
        let counter = other.get_atomic_ref::<std::sync::atomic::AtomicU32>(64).unwrap();
        for _ in 0..ROUNDS {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    for _ in 0..ROUNDS {
        memory
            .update_u32(vram(64), &mut |old| old.wrapping_add(1))
            .unwrap();
    }
    guest_cpu.join().unwrap();
    assert_eq!(memory.load_u64(vram(64)), Ok(u64::from(2 * ROUNDS)));
}

#[test]
fn a_file_is_released_when_its_range_goes() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(PAGE).unwrap();
    file.write_all(b"guest").unwrap();
    let open = |path: &std::path::Path| {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .contains(path.to_str().unwrap())
    };
    let mut guest = GuestMemory::new();
    guest.add(range(0, PAGE, file.as_file(), 0)).unwrap();
    assert!(open(file.path()));
    guest.remove(0, PAGE).unwrap();
    assert!(!open(file.path()));
}

proptest! {
    /// Whatever is asked of a sparse map, the result is that of a plain array, or an error that changes nothing.
    #[test]
    fn accesses_match_a_plain_array(
        operations in prop::collection::vec((0u8..5, 0..6 * LEN, 0..6 * LEN, 0..2 * LEN), 1..40)
    ) {
        // Pages 0, 1 and 3, 4 are mapped; 2 and 5 are holes.
        let mut memory = memory(PAGE);
        let files: Vec<File> = (0..4).map(|_| file(PAGE)).collect();
        for (page, file) in [0, 1, 3, 4].into_iter().zip(&files) {
            memory.guest.add(range(page * PAGE, PAGE, file, 0)).unwrap();
        }
        let mapped = |at: u64, len: u64| {
            len == 0 || (at..at + len).step_by(512).chain([at + len - 1]).all(|byte| [0, 1, 3, 4].contains(&(byte / PAGE)))
        };
        let mut model = vec![0u8; 8 * LEN];
        for (value, (kind, start, target, length)) in (1u8..).zip(operations) {
            let (at, to, len, end) = (start as u64, target as u64, length as u64, start + length);
            match kind {
                0 => {
                    prop_assert_eq!(memory.write(bus(at), &vec![value; length]).is_ok(), mapped(at, len));
                    if mapped(at, len) { model[start..end].fill(value); }
                }
                1 => {
                    let mut data = vec![0; length];
                    let result = memory.read(bus(at), &mut data);
                    prop_assert_eq!(result.is_ok(), mapped(at, len));
                    if result.is_ok() { prop_assert_eq!(&data[..], &model[start..end]); }
                }
                2 => {
                    let fine = mapped(at, len) && mapped(to, len);
                    prop_assert_eq!(memory.copy(bus(at), bus(to), len).is_ok(), fine);
                    if fine { model.copy_within(start..end, target); }
                }
                3 => {
                    let series = Series { first: target as u64, step: u64::from(value) << 40 | 0x1000, flags: 0x61 };
                    prop_assert_eq!(memory.write_series(bus(at), series, to, len).is_ok(), mapped(at, len));
                    if mapped(at, len) { series.bytes(to, &mut model[start..end]); }
                }
                _ => {
                    let pattern = u32::from(value) * 0x0102_0304;
                    prop_assert_eq!(memory.fill(bus(at), pattern, len).is_ok(), mapped(at, len));
                    if mapped(at, len) {
                        for (byte, value) in model[start..end].iter_mut().zip(pattern.to_le_bytes().iter().cycle()) { *byte = *value; }
                    }
                }
            }
        }
    }

    /// Words at a time or bytes at a time: the same bytes are written, and none beside them.
    #[test]
    fn fills_and_series_are_those_of_bytes_at_any_alignment(
        start in LEN - 24..LEN + 24,
        length in prop_oneof![0..40_usize, 0..3 * LEN],
        phase in 0..24_usize,
        pattern in prop_oneof![any::<u32>(), Just(0)],
        (first, step, flags) in any::<(u64, u64, u64)>(),
    ) {
        let memory = memory(16 * PAGE);
        memory.write(vram(0), &[0xa5; 8 * LEN]).unwrap();
        let check = |expected: &[u8]| {
            let mut found = vec![0; 8 * LEN];
            memory.read(vram(0), &mut found).unwrap();
            found == expected
        };
        let mut model = vec![0xa5; 8 * LEN];
        memory.fill(vram(start as u64), pattern, length as u64).unwrap();
        for (byte, value) in model[start..start + length].iter_mut().zip(pattern.to_le_bytes().iter().cycle()) { *byte = *value; }
        prop_assert!(check(&model), "fill");
        let series = Series { first, step, flags };
        memory.write_series(vram(start as u64), series, phase as u64, length as u64).unwrap();
        for (at, byte) in model[start..start + length].iter_mut().enumerate() {
            let word = first.wrapping_add(step.wrapping_mul((at + phase) as u64 / 8)) | flags;
            *byte = word.to_le_bytes()[(at + phase) % 8];
        }
        prop_assert!(check(&model), "series");
    }
}
