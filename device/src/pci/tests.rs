//! Tests of configuration space.

use mmio::AccessError;
use proptest::prelude::*;

use super::layout::Register;
use super::*;

const VRAM: u64 = 16 << 30;
const COMMAND: u64 = 0x04;
const PM_CTRL: u64 = 0x54;
const DEVCTL: u64 = 0x6c;
const MSI_FLAGS: u64 = 0xa2;

fn layout() -> Layout {
    let bar = |index, size, kind| Bar { index, size, kind };
    Layout {
        identity: PciIdentity {
            vendor: 0x1002,
            device: 0x73bf,
            revision: 0xc1,
            class: 0x03_80_00,
            subsystem_vendor: 0x1002,
            subsystem: 0x0e3a,
        },
        bars: vec![
            bar(0, VRAM, BarKind::Memory64Prefetchable),
            bar(2, 2 << 20, BarKind::Memory64Prefetchable),
            bar(5, 1 << 20, BarKind::Memory32),
        ],
        rom_size: 128 << 10,
        no_soft_reset: true,
    }
}

fn space() -> ConfigSpace {
    ConfigSpace::new(&layout()).unwrap()
}

fn u8_at(space: &ConfigSpace, offset: u64) -> u8 {
    let mut data = [0];
    space.read(offset, &mut data).unwrap();
    data[0]
}

fn u16_at(space: &ConfigSpace, offset: u64) -> u16 {
    let mut data = [0; 2];
    space.read(offset, &mut data).unwrap();
    u16::from_le_bytes(data)
}

fn u32_at(space: &ConfigSpace, offset: u64) -> u32 {
    let mut data = [0; 4];
    space.read(offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

fn all(space: &ConfigSpace) -> Vec<u8> {
    let mut data = vec![0; CONFIG_SIZE];
    space.read(0, &mut data).unwrap();
    data
}

#[test]
fn no_two_registers_share_a_byte_and_none_is_misaligned() {
    let mut taken = vec![None; CONFIG_SIZE];
    for Register {
        name,
        offset,
        width,
        reset,
        write_mask,
        w1c_mask,
    } in layout().registers().unwrap()
    {
        let offset = usize::from(offset);
        assert!(offset.is_multiple_of(width), "{name}");
        let bits = 8 * u32::try_from(width).unwrap();
        for mask in [reset, write_mask, w1c_mask] {
            assert_eq!(u64::from(mask) >> bits, 0, "{name} has bits beyond {width} bytes");
        }
        assert_eq!(write_mask & w1c_mask, 0, "{name}");
        for byte in &mut taken[offset..offset + width] {
            assert_eq!(byte.replace(name), None, "{name}");
        }
    }
}

#[test]
fn the_function_identifies_itself() {
    let space = space();
    assert_eq!(u32_at(&space, 0x00), 0x73bf_1002);
    assert_eq!(u32_at(&space, 0x08), 0x0380_00c1);
    assert_eq!(u32_at(&space, 0x2c), 0x0e3a_1002);
    assert_eq!(u8_at(&space, 0x0e), 0, "type 0, single function");
    assert_eq!(u8_at(&space, 0x3d), 0, "no INTx");
}

#[test]
fn the_capability_lists_can_be_walked() {
    let space = space();
    let mut ids = Vec::new();
    let mut at = u8_at(&space, 0x34);
    while at != 0 {
        ids.push(u8_at(&space, at.into()));
        at = u8_at(&space, u64::from(at) + 1);
    }
    assert_eq!(ids, [0x01, 0x10, 0x05], "PM, PCI Express, MSI");
    assert_eq!(
        u32_at(&space, 0x100),
        0x0001_000b,
        "vendor specific, version 1, the last"
    );
    assert_eq!(u32_at(&space, 0x104) >> 20, 16, "length");
    assert_eq!(u16_at(&space, 0x66) & 0xff, 0x02, "version 2 endpoint");
    assert_ne!(u32_at(&space, 0x68) & 1 << 28, 0, "FLR");
    assert_eq!(u32_at(&space, 0x70) & 0xc00, 0, "no ASPM");
}

#[test]
fn software_finds_the_size_of_every_bar() {
    let mut space = space();
    for (low, expected_flags, size) in [(0x10, 0xc, VRAM), (0x18, 0xc, 2 << 20)] {
        space.write(low, &[0xff; 8]).unwrap();
        let value = u64::from(u32_at(&space, low)) | u64::from(u32_at(&space, low + 4)) << 32;
        assert_eq!(value & 0xf, expected_flags);
        assert_eq!(!(value & !0xf) + 1, size);
    }
    for (offset, expected_flags, size) in [(0x24, 0, 1 << 20), (0x30, 1, 128 << 10)] {
        space.write(offset, &[0xff; 4]).unwrap();
        let value = u32_at(&space, offset);
        assert_eq!(value & 0xf, expected_flags);
        assert_eq!(!(value & !0xf) + 1, size);
    }
    space.write(0x20, &[0xff; 4]).unwrap();
    assert_eq!(u32_at(&space, 0x20), 0, "there is no BAR 4");
    space.write(0x10, &0x40_0000_0000u64.to_le_bytes()).unwrap();
    assert_eq!((space.bar(0), space.bar(1), space.bar(6)), (0xc, 0x40, 0));
}

#[test]
fn impossible_bars_are_refused() {
    let with = |bars: Vec<Bar>| ConfigSpace::new(&Layout { bars, ..layout() }).unwrap_err();
    let bar = |index, size| Bar {
        index,
        size,
        kind: BarKind::Memory64Prefetchable,
    };
    assert_eq!(with(vec![bar(5, 4096)]), LayoutError::BarIndex(5));
    assert_eq!(with(vec![bar(6, 4096)]), LayoutError::BarIndex(6));
    assert_eq!(with(vec![bar(0, 4096), bar(1, 4096)]), LayoutError::BarOverlap(1));
    for size in [0, 8, 4097] {
        assert_eq!(with(vec![bar(0, size)]), LayoutError::BarSize { index: 0, size });
    }
    let large = Bar {
        index: 0,
        size: 1 << 32,
        kind: BarKind::Memory32,
    };
    assert_eq!(
        with(vec![large]),
        LayoutError::BarSize {
            index: 0,
            size: 1 << 32
        }
    );
    let rom = Layout {
        rom_size: 1024,
        ..layout()
    };
    assert_eq!(ConfigSpace::new(&rom).unwrap_err(), LayoutError::RomSize(1024));
}

#[test]
fn read_only_bytes_ignore_writes() {
    let mut space = space();
    let before = all(&space);
    for (offset, len) in [
        (0x00, 4),
        (0x08, 4),
        (0x2c, 4),
        (0x34, 4),
        (0x100, 256),
        (0xff0, 16),
    ] {
        assert_eq!(space.write(offset, &vec![0xa5; len]).unwrap(), []);
    }
    assert_eq!(all(&space), before);
}

#[test]
fn lanes_are_written_one_by_one() {
    let mut space = space();
    space.write(0xa4, &[0x11, 0x22]).unwrap();
    space.write(0xa7, &[0x44]).unwrap();
    space.write(0xa6, &[0x33]).unwrap();
    assert_eq!(
        u32_at(&space, 0xa4),
        0x4433_2210,
        "the two lowest bits of the address are hardwired"
    );
    space.write(0xa5, &[0xaa, 0xbb, 0xcc]).unwrap();
    assert_eq!(u32_at(&space, 0xa4), 0xccbb_aa10);
    assert_eq!(u16_at(&space, 0xa5), 0xbbaa);
}

#[test]
fn the_command_register_opens_and_shuts_the_gates() {
    let mut space = space();
    assert_eq!(
        space.write(COMMAND, &[0x07, 0x04]).unwrap(),
        [ConfigEffect::MemoryEnable(true), ConfigEffect::BusMaster(true)]
    );
    assert_eq!(u16_at(&space, COMMAND), 0x0406, "there is no I/O space");
    assert_eq!(space.write(COMMAND, &[0x06]).unwrap(), [], "nothing changed");
    assert_eq!(
        space.write(COMMAND, &[0x02]).unwrap(),
        [ConfigEffect::BusMaster(false)]
    );
    assert!(space.memory_enabled() && !space.bus_master());
}

#[test]
fn function_level_reset_is_reported_and_reads_as_zero() {
    let mut space = space();
    let control = u16_at(&space, DEVCTL);
    let flr = (control | 0x8000).to_le_bytes();
    assert_eq!(
        space.write(DEVCTL, &flr).unwrap(),
        [ConfigEffect::FunctionLevelReset]
    );
    assert_eq!(u16_at(&space, DEVCTL), control);
    assert_eq!(
        space.write(DEVCTL + 1, &flr[1..]).unwrap(),
        [ConfigEffect::FunctionLevelReset],
        "the high byte alone"
    );
    assert_eq!(space.write(DEVCTL, &flr[..1]).unwrap(), []);
    assert_eq!(
        space.write(DEVCTL - 4, &[0, 0, 0, 0, 0, 0x80]).unwrap(),
        [ConfigEffect::FunctionLevelReset],
        "inside a longer write"
    );
}

#[test]
fn msi_is_what_was_written() {
    let mut space = space();
    let message = [0x08, 0x10, 0xe0, 0xfe, 0x01, 0, 0, 0, 0x41, 0x00];
    assert_eq!(
        space.write(MSI_FLAGS + 2, &message).unwrap(),
        [ConfigEffect::MsiChanged]
    );
    assert!(!space.msi().enabled);
    assert_eq!(
        space.write(MSI_FLAGS, &[0x01, 0x00]).unwrap(),
        [ConfigEffect::MsiChanged]
    );
    assert_eq!(u16_at(&space, MSI_FLAGS), 0x0081, "64-bit, one vector, on");
    assert_eq!(
        space.msi(),
        Msi {
            enabled: true,
            address: 0x1_fee0_1008,
            data: 0x41
        }
    );
    assert_eq!(space.write(MSI_FLAGS, &[0x01, 0x00]).unwrap(), []);
}

#[test]
fn only_existing_power_states_are_entered() {
    let mut space = space();
    assert_eq!(
        space.write(PM_CTRL, &[0x03]).unwrap(),
        [ConfigEffect::PowerState(PowerState::D3Hot)]
    );
    assert_eq!(space.write(PM_CTRL, &[0x01]).unwrap(), [], "there is no D1");
    assert_eq!(u8_at(&space, PM_CTRL) & 3, 3);
    assert_eq!(
        space.write(PM_CTRL, &[0x00]).unwrap(),
        [ConfigEffect::PowerState(PowerState::D0)]
    );
    assert_eq!(space.write(PM_CTRL, &[0x02]).unwrap(), [], "there is no D2");
    assert_eq!(space.power_state(), PowerState::D0);
}

#[test]
fn any_read_inside_is_served_and_none_outside() {
    let mut space = space();
    assert_eq!(all(&space).len(), 4096);
    let mut three = [0; 3];
    space.read(0x01, &mut three).unwrap();
    assert_eq!(three, [0x10, 0xbf, 0x73]);
    for (offset, len) in [(4096, 1), (4093, 4), (0, 4097), (u64::MAX, 2)] {
        let outside = AccessError::OutOfRange {
            offset,
            len,
            size: 4096,
        };
        assert_eq!(space.read(offset, &mut vec![0; len]), Err(outside));
        assert_eq!(space.write(offset, &vec![0xff; len]), Err(outside));
    }
    assert_eq!(space.read(4096, &mut []), Ok(()));
}

#[test]
fn reset_restores_everything() {
    let mut space = space();
    let fresh = all(&space);
    for offset in 0..CONFIG_SIZE as u64 {
        space.write(offset, &[0xff]).unwrap();
    }
    assert_ne!(all(&space), fresh);
    space.reset();
    assert_eq!(all(&space), fresh);
    assert!(!space.bus_master() && !space.msi().enabled);
}

proptest! {
    /// A long write and the same bytes one at a time leave the same space behind.
    #[test]
    fn the_width_of_a_write_does_not_matter(offset in 0u64..4096, data in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut whole = space();
        let mut single = space();
        let data = &data[..data.len().min(usize::try_from(4096 - offset).unwrap())];
        whole.write(offset, data).unwrap();
        for (at, byte) in (offset..).zip(data) {
            single.write(at, &[*byte]).unwrap();
        }
        prop_assert_eq!(all(&whole), all(&single));
    }
}
