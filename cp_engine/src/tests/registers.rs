//! The register side alone.

use mmio::{Fidelity, RegOffset, RegisterBlock, RegisterFile, Router};

use super::rig::*;
use crate::spec::{GfxLayout, Role};
use crate::*;

const LAYOUT: GfxLayout = GfxLayout::GC_10_3;

#[test]
fn the_tables_have_no_defects_and_do_not_overlap() {
    for table in LAYOUT.tables() {
        assert_eq!(RegisterFile::table_defects(table), Vec::<String>::new());
        assert_eq!(RegisterFile::unplaced(BASES, table), Vec::<&str>::new());
    }
    let registers = GfxRegisters::new(LAYOUT, BASES);
    let claims = registers
        .files()
        .into_iter()
        .enumerate()
        .flat_map(|(index, file)| file.offsets().map(move |offset| (offset, index)));
    assert!(Router::new(claims).unwrap().len() > 2000);
}

#[test]
fn every_role_is_a_modelled_register_of_the_tables_with_the_name_it_stands_for() {
    let registers = GfxRegisters::new(LAYOUT, BASES);
    let [global, ..] = registers.files()[..] else {
        panic!("no files")
    };
    let infos: Vec<_> = global.registers().collect();
    let placed = LAYOUT.place(BASES);
    assert_eq!(placed.roles.len(), 32);
    assert_eq!(placed.aliases.len(), 6);
    for (offset, role) in placed.roles.clone() {
        let info = infos
            .iter()
            .find(|info| info.offset == offset)
            .unwrap_or_else(|| panic!("{role:?}"));
        let plain = matches!(role, Role::RlcgData | Role::RlcgCommand | Role::RlcgSelection);
        assert!(
            plain || info.spec.fidelity == Fidelity::Modelled,
            "{} is {role:?}",
            info.name
        );
    }
    let name = |role| global.name(placed.offset(role).unwrap()).unwrap();
    assert_eq!(name(Role::SafeMode), "RLC_SAFE_MODE");
    assert_eq!(name(Role::VmidReset), "CP_VMID_RESET");
    assert_eq!(name(Role::MecIntCntl { me: 2, pipe: 1 }), "CP_ME2_PIPE1_INT_CNTL");
    assert_eq!(name(Role::RlcgTrigger), "RLC_SPARE_INT_0");
}

#[test]
fn every_register_resets_to_its_tables_value() {
    let mut rig = Rig::new();
    let infos: Vec<_> = rig
        .bus
        .gfx
        .files()
        .iter()
        .flat_map(|file| file.registers().collect::<Vec<_>>())
        .collect();
    for info in &infos {
        rig.mmio(info.offset.byte(), 0xffff_ffff);
    }
    rig.bus.gfx.reset();
    for info in &infos {
        // The CAM's aliases show what lies behind them, which resets to 0 as they do.
        assert_eq!(
            rig.bus.read_mmio(info.offset.byte()),
            info.spec.reset,
            "{}",
            info.name
        );
    }
}

#[test]
fn idle_and_masked_registers_ignore_writes() {
    let mut rig = Rig::new();
    for register in [0x8010, 0x8008, 0x8680, 0x98f4, 0x3ba34] {
        rig.mmio(register, u32::MAX);
        assert_eq!(rig.bus.read_mmio(register), 0, "{register:#x}");
    }
    rig.mmio(0x8020, u32::MAX);
    assert_eq!(rig.bus.read_mmio(0x8020), 0x07ff_0005);
}

#[test]
fn the_bootloader_reports_completion_and_starts_the_rlc() {
    let mut rig = Rig::new();
    assert_eq!(rig.bus.read_mmio(0x3ba34), 0);
    rig.bus.gfx.set_bootload_complete();
    assert_eq!(rig.bus.read_mmio(0x3ba34), 1 << 31);
    assert_eq!(rig.bus.read_mmio(0x3b000) & 1, 1);
    rig.bus.gfx.reset();
    assert_eq!(rig.bus.read_mmio(0x3ba34), 0);
}

#[test]
fn safe_mode_acknowledges_at_once() {
    let mut rig = Rig::new();
    rig.mmio(0x3b280, 1 | 1 << 1);
    assert_eq!(rig.bus.read_mmio(0x3b280), 1 << 1);
}

/// `gfx_v10_0_check_grbm_cam_remapping`.
#[test]
fn the_cam_maps_user_offsets_to_the_registers() {
    let mut rig = Rig::new();
    rig.mmio(0x8884, 0);
    rig.mmio(0x30900, 0xdead_beef);
    assert_eq!(rig.bus.read_mmio(0x8884), 0xdead_beef);
    assert_eq!(rig.bus.read_mmio(0x30900), 0xdead_beef);
}

#[test]
fn banked_registers_follow_grbm_gfx_cntl() {
    let mut rig = Rig::new();
    rig.select(QueueId::new(1, 2, 3));
    rig.mmio(0xc8b8, 0x1111); // CP_HQD_EOP_BASE_ADDR
    rig.select(QueueId::new(2, 2, 3));
    assert_eq!(rig.bus.read_mmio(0xc8b8), 0);
    rig.select(QueueId::new(1, 2, 3));
    assert_eq!(rig.bus.read_mmio(0xc8b8), 0x1111);
    for vmid in 0..16 {
        rig.mmio(GRBM_GFX_CNTL, vmid << 4);
        rig.mmio(0x8c28, vmid); // SH_MEM_BASES
    }
    rig.mmio(GRBM_GFX_CNTL, 5 << 4);
    assert_eq!(rig.bus.read_mmio(0x8c28), 5);
}

/// KFD's `init_interrupts_v10_3` must not disturb what `gfx_v10_0_kiq_set_interrupt_state` has enabled.
#[test]
fn cpc_int_cntl_is_the_selected_pipes_enable() {
    let mut rig = Rig::new();
    rig.mmio(0xc2d0, 1 << 29);
    rig.select(QueueId::new(1, 3, 0));
    rig.mmio(0xc2d0, 1 << 26);
    assert_eq!(rig.bus.read_mmio(0xc220), 1 << 26, "CP_ME1_PIPE3_INT_CNTL");
    rig.mmio(GRBM_GFX_CNTL, 0);
    assert_eq!(rig.bus.read_mmio(0xc2d0), 1 << 29);
}

#[test]
fn the_rising_sdma_bits_of_a_soft_reset_reach_the_device_once() {
    let mut rig = Rig::new();
    rig.mmio(0x8020, 1 << 23);
    rig.mmio(0x8020, 1 << 23 | 1 << 24);
    rig.mmio(0x8020, 0);
    assert_eq!(
        rig.other_effects,
        [GfxEffect::ResetSdma(1), GfxEffect::ResetSdma(2)]
    );
}

#[test]
fn the_gpu_clock_is_latched_by_a_capture() {
    let mut rig = Rig::new();
    rig.bus.gfx.set_clock(0x1_2345_6789);
    assert_eq!(rig.bus.read_mmio(0x3b090), 0);
    rig.mmio(0x3b098, 1);
    assert_eq!(
        (rig.bus.read_mmio(0x3b090), rig.bus.read_mmio(0x3b094)),
        (0x2345_6789, 1)
    );
}

/// `amdgpu_virt_rlcg_reg_rw`.
#[test]
fn an_rlcg_access_is_left_to_the_device_and_then_acknowledged() {
    let mut rig = Rig::new();
    rig.mmio(SCRATCH_REG0, 0x55);
    rig.mmio(SCRATCH_REG0 + 4, 0x8000_2000);
    rig.mmio(0x3b294, 1);
    let [GfxEffect::Rlcg(request)] = rig.other_effects[..] else {
        panic!("{:?}", rig.other_effects)
    };
    assert_eq!(
        (request.register, request.command, request.value),
        (RegOffset::from_dword(0x2000), 8, 0x55)
    );
    rig.bus.gfx.finish_rlcg(None);
    assert_eq!(rig.bus.read_mmio(SCRATCH_REG0 + 4) & 0xf_ffff, 0);
}

/// From 6.12 on the driver leaves the selection to the RLC, but for the older form of a write.
#[test]
fn an_rlcg_access_selects_what_it_is_told_to() {
    const GRBM_GFX_CNTL: u32 = 0x8088;
    for (command, selected) in [(0, 0x0d), (0x1000_0000, 0x0d), (0x8000_0000, 0)] {
        let mut rig = Rig::new();
        rig.mmio(SCRATCH_REG0 + 8, 0x0d);
        rig.mmio(SCRATCH_REG0 + 4, command | 0x2000);
        rig.mmio(0x3b294, 1);
        assert_eq!(rig.bus.read_mmio(GRBM_GFX_CNTL), selected, "{command:#x}");
    }
}

#[test]
fn packet_windows_are_stored() {
    let mut rig = Rig::new();
    for register in [0x2_8000, 0xb848, 0x3_0904 + 4, 0x2_8ffc] {
        rig.mmio(register, 0x99);
        assert_eq!(rig.bus.read_mmio(register), 0x99, "{register:#x}");
    }
}
