//! The register tables.

use mmio::{Effects, Fidelity, RegOffset, RegisterBlock, RegisterFile};

use crate::table;
use crate::{NAVI21, SdmaRegisters, StartedBy, offset};

fn all() -> [SdmaRegisters; 4] {
    NAVI21.map(|placement| SdmaRegisters::new(placement, StartedBy::Driver))
}

#[test]
fn tables_have_no_defects() {
    for specs in [table::MAIN, table::PAGE, table::RLC, table::HYP] {
        assert_eq!(RegisterFile::table_defects(specs), Vec::<String>::new());
    }
}

#[test]
fn no_two_registers_of_any_instances_share_an_offset() {
    let instances = all();
    let mut offsets: Vec<RegOffset> = instances
        .iter()
        .flat_map(|registers| registers.files())
        .flat_map(RegisterFile::offsets)
        .collect();
    let count = offsets.len();
    offsets.sort();
    offsets.dedup();
    assert_eq!(offsets.len(), count);
}

#[test]
fn instances_lie_where_the_driver_looks() {
    // RB_CNTL of the four instances, in bytes, and UCODE_ADDR.
    let expected = [
        (0x4b80, 0x3e200),
        (0x6380, 0x3e280),
        (0x70200, 0x3e300),
        (0x71200, 0x3e380),
    ];
    for (registers, (rb_cntl, ucode)) in all().iter().zip(expected) {
        let name = |byte| {
            let at = RegOffset::from_byte(byte);
            registers.files().iter().find_map(|file| file.name(at)).unwrap()
        };
        assert!(name(rb_cntl).ends_with("_GFX_RB_CNTL"), "{}", name(rb_cntl));
        assert!(name(ucode).ends_with("_UCODE_ADDR"), "{}", name(ucode));
    }
}

#[test]
fn every_register_reads_its_reset_value_and_reset_restores_it() {
    for starter in [StartedBy::Driver, StartedBy::Host] {
        let mut registers = SdmaRegisters::new(NAVI21[0], starter);
        let infos: Vec<_> = registers
            .files()
            .iter()
            .flat_map(|file| file.registers())
            .collect();
        for round in 0..2 {
            for info in &infos {
                let expected = match (info.name.as_str(), starter) {
                    ("SDMA0_F32_CNTL", StartedBy::Host) => 0,
                    ("SDMA0_CNTL", StartedBy::Host) => info.spec.reset | 1,
                    _ => info.spec.reset,
                };
                assert_eq!(
                    registers.read(info.offset),
                    expected,
                    "{} in round {round}",
                    info.name
                );
            }
            for info in &infos {
                registers.write(info.offset, 0x5a5a_5a5a, &mut Effects::default());
            }
            registers.reset();
        }
    }
}

#[test]
fn only_writable_bits_stick() {
    let mut registers = SdmaRegisters::new(NAVI21[0], StartedBy::Driver);
    let infos: Vec<_> = registers
        .files()
        .iter()
        .flat_map(|file| file.registers())
        .collect();
    for info in infos {
        if info.name == "SDMA0_UCODE_ADDR" || info.name == "SDMA0_FREEZE" {
            continue; // they move by themselves
        }
        registers.write(info.offset, u32::MAX, &mut Effects::default());
        let expected = info.spec.reset | info.spec.write_mask;
        assert_eq!(registers.read(info.offset), expected, "{}", info.name);
        if info.spec.fidelity == Fidelity::Constant {
            assert_eq!(expected, info.spec.reset);
        }
    }
}

#[test]
fn user_queues_are_idle_for_kfd() {
    let mut registers = SdmaRegisters::new(NAVI21[0], StartedBy::Driver);
    for queue in 0..8 {
        let status = NAVI21[0].base.plus((0x141 + 0x58 * queue) * 4);
        assert_eq!(registers.read(status), 4);
    }
}

#[test]
fn soft_reset_keeps_what_the_driver_does_not_write_again() {
    let mut registers = SdmaRegisters::new(NAVI21[0], StartedBy::Driver);
    let at = |relative: RegOffset| NAVI21[0].base.plus(relative.byte());
    let effects = &mut Effects::default();
    registers.write(at(offset::CNTL), 0xc3, effects);
    registers.write(at(offset::GFX_RB_CNTL), 0x1015, effects);
    registers.write(at(offset::GFX_RB_WPTR), 64, effects);
    registers.write(at(offset::FREEZE), 0x10, effects);
    registers.soft_reset();
    assert_eq!(registers.read(at(offset::CNTL)), 0xc3);
    assert_eq!(registers.read(at(offset::GFX_RB_CNTL)) & 0x3f, 0x14);
    assert_eq!(registers.read(at(offset::GFX_RB_WPTR)), 0);
    assert_eq!(registers.read(at(offset::FREEZE)), 0);
}
