//! The register tables.

use mmio::{Effects, Fidelity, RegOffset, RegisterBlock, RegisterFile};

use crate::{NAVI12, NAVI21, Placement, SDMA_5_0, SDMA_5_2, SdmaRegisters, StartedBy, offset};

/// The instances of every part.
fn parts() -> [&'static [Placement]; 2] {
    const PARTS: [&[Placement]; 2] = [&NAVI12, &NAVI21];
    PARTS
}

fn all(part: &[Placement]) -> Vec<SdmaRegisters> {
    let registers = |placement: &Placement| SdmaRegisters::new(*placement, StartedBy::Driver);
    part.iter().map(registers).collect()
}

#[test]
fn tables_have_no_defects() {
    for generation in [&SDMA_5_0, &SDMA_5_2] {
        for specs in [
            generation.main,
            generation.page,
            generation.rlc,
            generation.hypervisor,
        ] {
            assert_eq!(RegisterFile::table_defects(specs), Vec::<String>::new());
        }
    }
}

#[test]
fn no_two_registers_of_any_instances_share_an_offset() {
    for part in parts() {
        let instances = all(part);
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
    for part in parts() {
        for (registers, (rb_cntl, ucode)) in all(part).iter().zip(expected) {
            assert!(name(registers, rb_cntl).ends_with("_GFX_RB_CNTL"));
            assert!(name(registers, ucode).ends_with("_UCODE_ADDR"));
        }
    }
}

fn name(registers: &SdmaRegisters, byte: u32) -> String {
    let at = RegOffset::from_byte(byte);
    registers.files().iter().find_map(|file| file.name(at)).unwrap()
}

/// What lies behind the kernel queue is somewhere else in each generation (`gc_10_1_0_offset.h`, `gc_10_3_0_offset.h`).
#[test]
fn each_generation_has_its_other_queues_where_its_header_says() {
    for (placement, page, rlc) in [
        (NAVI12[1], 0xe0, [0x140, 0x3e0]),
        (NAVI21[1], 0xd8, [0x130, 0x398]),
    ] {
        let registers = SdmaRegisters::new(placement, StartedBy::Driver);
        let at = |dword: u32| placement.base.plus(dword * 4).byte();
        assert_eq!(name(&registers, at(page)), "SDMA1_PAGE_RB_CNTL");
        assert_eq!(name(&registers, at(rlc[0])), "SDMA1_RLC0_RB_CNTL");
        assert_eq!(name(&registers, at(rlc[1])), "SDMA1_RLC7_RB_CNTL");
    }
}

#[test]
fn every_register_reads_its_reset_value_and_reset_restores_it() {
    for (placement, starter) in [
        (NAVI12[0], StartedBy::Driver),
        (NAVI12[0], StartedBy::Host),
        (NAVI21[0], StartedBy::Driver),
        (NAVI21[0], StartedBy::Host),
    ] {
        let mut registers = SdmaRegisters::new(placement, starter);
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
    for (placement, first, stride) in [(NAVI12[0], 0x151, 0x60), (NAVI21[0], 0x141, 0x58)] {
        let mut registers = SdmaRegisters::new(placement, StartedBy::Driver);
        for queue in 0..8 {
            let status = placement.base.plus((first + stride * queue) * 4);
            assert_eq!(registers.read(status), 4);
        }
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
