use std::collections::BTreeMap;

use mmio::Fidelity;

use super::*;
use crate::{FaultKind, Level, Location, MemoryError, VramOffset};

const LAYOUTS: [HubLayout; 3] = [HubLayout::GFXHUB_2_1, HubLayout::MMHUB_2, HubLayout::GFXHUB_2_0];
const FRAME_BUFFER: FrameBuffer = FrameBuffer {
    base: GpuVa::new(0x80_0000_0000),
    size: 1 << 30,
};

fn hub() -> Hub {
    Hub::new(HubLayout::GFXHUB_2_1, FRAME_BUFFER)
}

fn write(hub: &mut Hub, offset: RegOffset, value: u32) -> Vec<HubEffect> {
    let mut effects = Effects::default();
    hub.write(offset, value, &mut effects);
    effects.take()
}

fn l2(relative: RegOffset) -> RegOffset {
    HubLayout::GFXHUB_2_1.l2(relative)
}

fn fault(kind: FaultKind) -> Fault {
    Fault {
        vmid: Vmid::from_field(2),
        va: GpuVa::new(0xa987_6543_2000),
        access: Access::Read,
        kind,
    }
}

#[test]
fn the_register_tables_have_no_defects() {
    for layout in LAYOUTS {
        for table in [reg::L2, reg::MC, layout.extra] {
            assert_eq!(RegisterFile::table_defects(table), Vec::<String>::new());
        }
        let hub = Hub::new(layout, FRAME_BUFFER);
        let mut names = BTreeMap::new();
        for register in hub.files().into_iter().flat_map(RegisterFile::registers) {
            assert_eq!(
                names.insert(register.offset, register.name),
                None,
                "two at {}",
                register.offset
            );
        }
    }
}

/// Offsets as `soc15.py` computes them from the headers; the first column is GC on Navi21, the second MMHUB.
#[test]
fn registers_are_where_the_headers_put_them() {
    let expected = [
        ("VM_L2_CNTL", 0xa070, 0x69a00),
        ("VM_L2_CNTL2", 0xa074, 0x69a04),
        ("VM_L2_CNTL3", 0xa078, 0x69a08),
        ("VM_L2_CNTL4", 0xa0d0, 0x69a60),
        ("VM_L2_CNTL5", 0xa0f0, 0x69a84),
        ("VM_L2_PROTECTION_FAULT_CNTL", 0xa090, 0x69a20),
        ("VM_L2_PROTECTION_FAULT_CNTL2", 0xa094, 0x69a24),
        ("VM_L2_PROTECTION_FAULT_STATUS", 0xa0a0, 0x69a30),
        ("VM_L2_PROTECTION_FAULT_ADDR_LO32", 0xa0a4, 0x69a34),
        ("VM_L2_PROTECTION_FAULT_ADDR_HI32", 0xa0a8, 0x69a38),
        ("VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR_LO32", 0xa0b8, 0x69a48),
        ("VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET_HI32", 0xa0cc, 0x69a5c),
        ("VM_L2_MM_GROUP_RT_CLASSES", 0xa0d4, 0x69a64),
        ("VM_L2_CACHE_PARITY_CNTL", 0xa0e0, 0x69a70),
        ("VM_CONTEXT0_CNTL", 0xa170, 0x69b00),
        ("VM_CONTEXT15_CNTL", 0xa1ac, 0x69b3c),
        ("VM_CONTEXTS_DISABLE", 0xa1b0, 0x69b40),
        ("VM_INVALIDATE_ENG0_SEM", 0xa1b4, 0x69b44),
        ("VM_INVALIDATE_ENG17_SEM", 0xa1f8, 0x69b88),
        ("VM_INVALIDATE_ENG0_REQ", 0xa1fc, 0x69b8c),
        ("VM_INVALIDATE_ENG17_REQ", 0xa240, 0x69bd0),
        ("VM_INVALIDATE_ENG0_ACK", 0xa244, 0x69bd4),
        ("VM_INVALIDATE_ENG17_ACK", 0xa288, 0x69c18),
        ("VM_INVALIDATE_ENG0_ADDR_RANGE_LO32", 0xa28c, 0x69c1c),
        ("VM_INVALIDATE_ENG17_ADDR_RANGE_HI32", 0xa318, 0x69ca8),
        ("VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32", 0xa31c, 0x69cac),
        ("VM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32", 0xa39c, 0x69d2c),
        ("VM_CONTEXT0_PAGE_TABLE_END_ADDR_LO32", 0xa41c, 0x69dac),
        ("VM_CONTEXT15_PAGE_TABLE_END_ADDR_HI32", 0xa498, 0x69e28),
        ("MC_VM_FB_OFFSET", 0xa51c, 0x6a15c),
        ("MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_MSB", 0xa524, 0x6a164),
        ("MC_VM_FB_LOCATION_BASE", 0xa570, 0x6a1b0),
        ("MC_VM_FB_LOCATION_TOP", 0xa574, 0x6a1b4),
        ("MC_VM_AGP_TOP", 0xa578, 0x6a1b8),
        ("MC_VM_AGP_BOT", 0xa57c, 0x6a1bc),
        ("MC_VM_AGP_BASE", 0xa580, 0x6a1c0),
        ("MC_VM_SYSTEM_APERTURE_LOW_ADDR", 0xa584, 0x6a1c4),
        ("MC_VM_SYSTEM_APERTURE_HIGH_ADDR", 0xa588, 0x6a1c8),
        ("MC_VM_MX_L1_TLB_CNTL", 0xa58c, 0x6a1cc),
    ];
    let name = |layout: HubLayout, byte| {
        let hub = Hub::new(layout, FRAME_BUFFER);
        hub.files()
            .into_iter()
            .find_map(|file| file.name(RegOffset::from_byte(byte)))
    };
    for (register, gfx, mm) in expected {
        assert_eq!(name(HubLayout::GFXHUB_2_1, gfx), Some(format!("GC{register}")));
        assert_eq!(name(HubLayout::MMHUB_2, mm), Some(format!("MM{register}")));
        let navi12 = gfx + if register == "VM_L2_CNTL5" { 0x94 } else { 0x90 };
        assert_eq!(name(HubLayout::GFXHUB_2_0, navi12), Some(format!("GC{register}")));
    }
    for (register, byte) in [
        ("GCMC_VM_XGMI_LFB_CNTL", 0xa55c),
        ("GCMC_VM_XGMI_LFB_SIZE", 0xa560),
        ("GCVM_L2_CGTT_CLK_CTRL", 0xa0ec),
        ("GCUTCL2_CGTT_CLK_CTRL", 0xa54c),
        ("GCVM_DEBUG", 0xa0b4),
    ] {
        assert_eq!(name(HubLayout::GFXHUB_2_1, byte).as_deref(), Some(register));
    }
}

#[test]
fn every_register_resets_masks_and_resets_again() {
    for layout in LAYOUTS {
        let mut hub = Hub::new(layout, FRAME_BUFFER);
        let fresh: Vec<_> = hub
            .files()
            .into_iter()
            .flat_map(RegisterFile::registers)
            .collect();
        let values = |hub: &Hub| -> Vec<u32> {
            let files = hub.files();
            fresh
                .iter()
                .map(|r| files.iter().find_map(|file| file.read(r.offset)).unwrap())
                .collect()
        };
        let reset = values(&hub);
        for (register, value) in fresh.iter().zip(&reset) {
            if !register.name.contains("FB_LOCATION") {
                assert_eq!(*value, register.spec.reset, "{}", register.name);
            }
        }
        let mut effects = Effects::default();
        for pattern in [u32::MAX, 0] {
            for register in &fresh {
                hub.write(register.offset, pattern, &mut effects);
            }
            for (register, value) in fresh.iter().zip(values(&hub)) {
                let ack = register.name.contains("_ACK") && pattern != 0;
                let fixed = if register.spec.fidelity == Fidelity::Constant {
                    register.spec.reset
                } else {
                    0
                };
                let expected = if ack {
                    0xffff
                } else {
                    pattern & register.spec.write_mask | fixed
                };
                if pattern != 0 || !register.name.contains("_ACK") {
                    assert_eq!(value, expected, "{} after {pattern:#x}", register.name);
                }
            }
        }
        hub.reset();
        assert_eq!(values(&hub), reset);
        assert_eq!(hub.space(), Hub::new(layout, FRAME_BUFFER).space());
    }
}

#[test]
fn a_reset_restores_the_frame_buffer_and_forgets_semaphores_and_held_acknowledges() {
    let mut hub = hub();
    let base = HubLayout::GFXHUB_2_1.mc(reg::FB_LOCATION_BASE);
    let top = HubLayout::GFXHUB_2_1.mc(reg::FB_LOCATION_TOP);
    assert_eq!((hub.read(base), hub.read(top)), (0x8000, 0x803f));
    write(&mut hub, base, 0x1234);
    hub.hold_acknowledge(InvalidationEngine::MMIO, true);
    hub.read(l2(reg::INVALIDATE_SEM));
    hub.reset();
    assert_eq!(
        (hub.read(base), hub.space().apertures.fb_start),
        (0x8000, 0x80_0000_0000)
    );
    assert_eq!(hub.read(l2(reg::INVALIDATE_SEM)), 1);
    write(&mut hub, l2(reg::INVALIDATE_REQ.plus(17 * 4)), 1);
    assert_eq!(hub.read(l2(reg::INVALIDATE_ACK.plus(17 * 4))), 1);
}

#[test]
fn contexts_are_decoded_when_any_of_their_registers_is_written() {
    let mut hub = hub();
    for vmid in Vmid::all() {
        let n = u32::from(vmid.get());
        write(&mut hub, l2(reg::CONTEXT_CNTL.plus(4 * n)), 0x7 | n << 9);
        for (register, lo, hi) in [
            (reg::PAGE_TABLE_BASE, (0x1000 * n) | 1, 0),
            (reg::PAGE_TABLE_START, 0x10 + n, 0x1),
            (reg::PAGE_TABLE_END, 0x20 + n, 0xfff2),
        ] {
            write(&mut hub, l2(register.plus(8 * n)), lo);
            write(&mut hub, l2(register.plus(8 * n + 4)), hi);
        }
    }
    for vmid in Vmid::all() {
        let n = u64::from(vmid.get());
        let context = hub.context(vmid).unwrap();
        assert!(context.enabled);
        assert_eq!((context.root_level, context.block_bits), (Level::Pdb2, 9));
        assert_eq!(context.root.address(), 0x1000 * n);
        // Four bits of the high halves exist.
        assert_eq!(
            (context.start_page, context.end_page),
            (0x1_0000_0010 + n, 0x2_0000_0020 + n)
        );
    }
}

#[test]
fn disabling_a_context_by_either_register_is_an_effect_once() {
    let mut hub = hub();
    let vmid = Vmid::from_field(3);
    let disabled = vec![HubEffect::ContextDisabled {
        hub: HubId::Gfx,
        vmid,
    }];
    let cntl = l2(reg::CONTEXT_CNTL.plus(12));
    assert_eq!(write(&mut hub, cntl, 1), vec![]);
    assert_eq!(write(&mut hub, l2(reg::CONTEXTS_DISABLE), 1 << 3), disabled);
    assert!(!hub.context(vmid).unwrap().enabled);
    assert_eq!(write(&mut hub, l2(reg::CONTEXTS_DISABLE), 0), vec![]);
    assert!(hub.context(vmid).unwrap().enabled);
    assert_eq!(write(&mut hub, cntl, 0), disabled);
    assert_eq!(write(&mut hub, cntl, 0), vec![]);
}

#[test]
fn a_semaphore_is_taken_by_a_read_and_released_by_a_zero() {
    let mut hub = hub();
    let sem = l2(reg::INVALIDATE_SEM.plus(17 * 4));
    assert_eq!([hub.read(sem), hub.read(sem)], [1, 0]);
    // Another engine has its own.
    assert_eq!(hub.read(l2(reg::INVALIDATE_SEM)), 1);
    write(&mut hub, sem, 1);
    assert_eq!(hub.read(sem), 0, "a one does not release");
    write(&mut hub, sem, 0);
    assert_eq!(hub.read(sem), 1);
}

#[test]
fn a_request_is_acknowledged_for_its_vmids_and_is_an_effect() {
    let mut hub = hub();
    let effects = write(
        &mut hub,
        l2(reg::INVALIDATE_REQ.plus(17 * 4)),
        0x00f8_0000 | 1 << 5,
    );
    let request = InvalidateRequest::from_bits(0x00f8_0020);
    assert_eq!(
        effects,
        [HubEffect::Invalidate {
            hub: HubId::Gfx,
            engine: InvalidationEngine::MMIO,
            request
        }]
    );
    assert_eq!(
        (request.vmids(), request.l1_ptes(), request.l2_pde2()),
        (1 << 5, true, true)
    );
    let ack = l2(reg::INVALIDATE_ACK.plus(17 * 4));
    assert_eq!(hub.read(ack), 1 << 5);
    write(&mut hub, l2(reg::INVALIDATE_REQ.plus(17 * 4)), 1 << 6);
    assert_eq!(
        hub.read(ack),
        1 << 5 | 1 << 6,
        "other VMIDs keep their acknowledge"
    );
    assert_eq!(
        hub.read(l2(reg::INVALIDATE_ACK)),
        0,
        "other engines are not touched"
    );
}

#[test]
fn an_invalidation_tells_what_the_context_is_now_if_it_was_set_since() {
    let mut hub = hub();
    let set = |hub: &mut Hub| {
        let effects = write(hub, l2(reg::INVALIDATE_REQ), 0x00f8_0000 | 1 << 5);
        let told = effects.iter().filter_map(|effect| match effect {
            HubEffect::ContextSet { vmid, context, .. } => {
                Some((vmid.get(), context.root.address(), context.root_level))
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    // Without a valid root it is nothing yet.
    write(&mut hub, l2(reg::CONTEXT_CNTL.plus(5 * 4)), 7);
    assert_eq!(set(&mut hub), []);
    write(&mut hub, l2(reg::PAGE_TABLE_BASE.plus(5 * 8)), 0x7001);
    assert_eq!(set(&mut hub), [(5, 0x7000, Level::Pdb2)]);
    assert_eq!(set(&mut hub), [], "nothing was written since");
    // The root of another space may be where the last one's was; any other register with the value that it has says nothing.
    write(&mut hub, l2(reg::PAGE_TABLE_BASE.plus(5 * 8)), 0x7001);
    assert_eq!(set(&mut hub), [(5, 0x7000, Level::Pdb2)]);
    write(&mut hub, l2(reg::CONTEXT_CNTL.plus(5 * 4)), 7);
    assert_eq!(set(&mut hub), []);
    // A change that is taken back, of another context, or followed by a reset.
    write(&mut hub, l2(reg::PAGE_TABLE_BASE.plus(6 * 8)), 0x7001);
    assert_eq!(set(&mut hub), []);
    write(&mut hub, l2(reg::PAGE_TABLE_BASE.plus(5 * 8)), 0x8001);
    hub.reset();
    assert_eq!(set(&mut hub), []);
}

#[test]
fn a_held_acknowledge_arrives_when_it_is_released() {
    let mut hub = hub();
    let engine = InvalidationEngine::new(4).unwrap();
    let [req, ack] = [reg::INVALIDATE_REQ, reg::INVALIDATE_ACK].map(|first| l2(first.plus(16)));
    write(&mut hub, req, 0b11);
    hub.hold_acknowledge(engine, true);
    assert_eq!(hub.read(ack), 0b11, "holding takes nothing back");
    write(&mut hub, req, 0b10);
    write(&mut hub, req, 0b100);
    assert_eq!(hub.read(ack), 0b01);
    hub.hold_acknowledge(engine, false);
    assert_eq!(hub.read(ack), 0b111);
    write(&mut hub, req, 0b1000);
    assert_eq!(hub.read(ack), 0b1111);
}

#[test]
fn engine_numbers_beyond_the_last_do_not_exist() {
    assert_eq!(InvalidationEngine::new(18), None);
    assert_eq!(InvalidationEngine::all().last(), Some(InvalidationEngine::MMIO));
}

#[test]
fn the_first_fault_stays_and_later_ones_set_more_faults() {
    let mut hub = hub();
    let [status, lo, hi] = [
        reg::L2_PROTECTION_FAULT_STATUS,
        reg::L2_PROTECTION_FAULT_ADDR_LO32,
        reg::L2_PROTECTION_FAULT_ADDR_HI32,
    ]
    .map(l2);
    hub.record_fault(&fault(FaultKind::InvalidPte), ClientId::SDMA0);
    let first = FaultStatus::from_bits(hub.read(status));
    assert_eq!(
        (first.cid(), first.vmid(), first.more_faults(), first.rw()),
        (13, 2, false, false)
    );
    assert_eq!((hub.read(lo), hub.read(hi)), (0x9876_5432, 0xa));

    let later = Fault {
        access: Access::Write,
        va: GpuVa::new(0),
        ..fault(FaultKind::Permission)
    };
    hub.record_fault(&later, ClientId::CPG);
    assert_eq!(hub.read(status), first.with_more_faults(true).into_bits());
    assert_eq!(hub.read(lo), 0x9876_5432);

    // gmc_v10_0_process_interrupt: read-modify-write of bit 0, never back to 0.
    let cntl = l2(reg::L2_PROTECTION_FAULT_CNTL);
    let value = hub.read(cntl);
    write(&mut hub, cntl, value | 1);
    assert_eq!((hub.read(status), hub.read(lo), hub.read(hi)), (0, 0, 0));
    assert_eq!(hub.read(cntl), value, "the clear bit reads as zero");
    hub.record_fault(&later, ClientId::CPG);
    assert_eq!(FaultStatus::from_bits(hub.read(status)).cid(), 6);
}

#[test]
fn subsequent_updates_overwrite_when_allowed() {
    let mut hub = hub();
    let cntl = l2(reg::L2_PROTECTION_FAULT_CNTL);
    let value = hub.read(cntl);
    write(
        &mut hub,
        cntl,
        value | reg::ALLOW_SUBSEQUENT_PROTECTION_FAULT_STATUS_ADDR_UPDATES,
    );
    hub.record_fault(&fault(FaultKind::InvalidPte), ClientId::SDMA0);
    hub.record_fault(&fault(FaultKind::Permission), ClientId::SDMA1);
    let status = FaultStatus::from_bits(hub.read(l2(reg::L2_PROTECTION_FAULT_STATUS)));
    assert_eq!(
        (status.cid(), status.permission_faults(), status.more_faults()),
        (14, 2, true)
    );
}

#[test]
fn a_request_can_clear_the_fault() {
    let mut hub = hub();
    hub.record_fault(&fault(FaultKind::InvalidPte), ClientId::SDMA0);
    let clear = InvalidateRequest::new().with_clear_protection_fault_status_addr(true);
    write(&mut hub, l2(reg::INVALIDATE_REQ), clear.into_bits());
    assert_eq!(hub.read(l2(reg::L2_PROTECTION_FAULT_STATUS)), 0);
}

#[test]
fn each_kind_of_fault_has_its_interrupt_enable_and_its_status() {
    let nowhere = MemoryError::OutsideVram {
        at: VramOffset::new(0),
        len: 8,
        size: 0,
    };
    let cases = [
        (FaultKind::ContextDisabled, Access::Read, 0x200, (1, 0)),
        (FaultKind::OutOfRange, Access::Write, 0x200, (1, 0)),
        (FaultKind::InvalidPde { level: 0 }, Access::Read, 0x2000, (2, 0)),
        (FaultKind::InvalidPde { level: 1 }, Access::Read, 0x2000, (3, 0)),
        (FaultKind::InvalidPde { level: 2 }, Access::Read, 0x2000, (4, 0)),
        (FaultKind::InvalidPde { level: 3 }, Access::Read, 0x2000, (4, 0)),
        (FaultKind::InvalidPte, Access::Read, 0x8000, (0, 3)),
        (FaultKind::InvalidPte, Access::Write, 0x8000, (0, 5)),
        (FaultKind::Permission, Access::Read, 0x2_0000, (0, 2)),
        (FaultKind::Permission, Access::Write, 0x8_0000, (0, 4)),
        (FaultKind::Memory(nowhere), Access::Read, 0x8000, (6, 0)),
    ];
    for (kind, access, enable, (walker_error, permission)) in cases {
        let fault = Fault {
            access,
            ..fault(kind)
        };
        for (cntl, expected) in [(enable, true), (0x007f_ffff & !enable, false)] {
            let mut hub = hub();
            write(&mut hub, l2(reg::CONTEXT_CNTL.plus(8)), cntl);
            let interrupt = hub.record_fault(&fault, ClientId::SDMA0);
            assert_eq!(interrupt.is_some(), expected, "{fault} with {cntl:#x}");
            let status = FaultStatus::from_bits(hub.read(l2(reg::L2_PROTECTION_FAULT_STATUS)));
            assert_eq!(
                (status.walker_error(), status.permission_faults()),
                (walker_error, permission),
                "{fault}"
            );
            assert_eq!(status.mapping_error(), walker_error != 0);
            assert_eq!(status.rw(), access == Access::Write);
            if let Some(interrupt) = interrupt {
                assert_eq!(
                    (interrupt.vmid, interrupt.va, interrupt.status),
                    (fault.vmid, fault.va, status)
                );
            }
        }
    }
}

#[test]
fn the_vf_driver_can_move_the_frame_buffer() {
    let mut hub = Hub::new(
        HubLayout::GFXHUB_2_1,
        FrameBuffer {
            base: GpuVa::new(0),
            size: 1 << 30,
        },
    );
    write(&mut hub, HubLayout::GFXHUB_2_1.mc(reg::FB_LOCATION_BASE), 0x10);
    write(&mut hub, HubLayout::GFXHUB_2_1.mc(reg::FB_LOCATION_TOP), 0x1f);
    let memory = crate::testing::TestMemory::new(0);
    let found = hub
        .translate(&memory, Vmid::KERNEL, GpuVa::new(0x1000_0123), Access::Write)
        .unwrap();
    assert_eq!(
        found.backing,
        crate::Backing::Memory(Location::Vram(VramOffset::new(0x123)))
    );
    assert_eq!(found.remaining, 0x1000_0000 - 0x123);
}
