//! Resets and power states as a driver and a front end bring them about, and what is written down about them.

use super::*;
use crate::event::Event;
use gpu::asic::{Board, NAVI21};

const VRAM: u64 = 256 << 20;
const DISCOVERY: u64 = VRAM - gpu::images::discovery::OFFSET_FROM_TOP;
const DISCOVERY_SIGNATURE: u32 = 0x2821_1407;
const COMMAND: u64 = 0x4;
const COMMAND_MASTER: u8 = 0x4;
const PM_CTRL: u64 = 0x54;
const D3HOT: u8 = 3;
const DEVICE_CONTROL_HIGH: u64 = 0x64 + 9;
const FLR: u8 = 0x80;

const BIOS_SCRATCH_7: u64 = 0x130 + 7 * 4;
const RCC_CONFIG_MEMSIZE: u64 = 0x378c;
const GRBM_SOFT_RESET: u64 = 0x8020;
const SOFT_RESET_CP: u32 = 1;
const SOFT_RESET_SDMA0: u32 = 1 << 23;
const SDMA0_FREEZE: u64 = 0x4a2c;
const SCRATCH_REG0: u64 = 0x3_0100;
const C2PMSG_64: u64 = 0x58200;
const C2PMSG_35: u64 = 0x5818c;
const C2PMSG_66: u64 = 0x58a08;
const C2PMSG_81: u64 = 0x58244;
const C2PMSG_82: u64 = 0x58a48;
const C2PMSG_90: u64 = 0x58a68;
const THM_BACO_CNTL: u64 = 0x59a04;
const MSG_ENTER_BACO: u32 = 0x15;
const MSG_EXIT_BACO: u32 = 0x16;
const MSG_ARM_D3: u32 = 0x17;
const MSG_MODE1_RESET: u32 = 0x30;
const MSG_MODE2_RESET: u32 = 0x5d;

struct Rig(GpuFunction);

impl Rig {
    fn new() -> Self {
        Self::on_board(NAVI21.board())
    }

    fn on_board(board: Board) -> Self {
        let config = GpuConfig {
            board,
            ..GpuConfig::bare_metal(&NAVI21, 2)
        };
        Self(GpuFunction::with(config, Vram::new(VRAM).unwrap()).unwrap())
    }

    fn get(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read(Region::Bar(REGISTER_BAR), offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn set(&mut self, offset: u64, value: u32) {
        let data = value.to_le_bytes();
        self.0.write(Region::Bar(REGISTER_BAR), offset, &data).unwrap();
    }

    fn vram(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read(Region::Bar(VRAM_BAR), offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    fn set_vram(&mut self, offset: u64, value: u32) {
        let data = value.to_le_bytes();
        self.0.write(Region::Bar(VRAM_BAR), offset, &data).unwrap();
    }

    fn config(&mut self, offset: u64, value: u8) {
        self.0.write(Region::Config, offset, &[value]).unwrap();
    }

    fn message(&mut self, message: u32) {
        self.set(C2PMSG_90, 0);
        self.set(C2PMSG_66, message);
    }

    fn arm_d3(&mut self, sequence: u32) {
        self.set(C2PMSG_90, 0);
        self.set(C2PMSG_82, sequence);
        self.set(C2PMSG_66, MSG_ARM_D3);
    }

    /// Runs until there is nothing to do at once.
    fn run(&mut self) {
        for _ in 0..1000 {
            if self.0.run() != Activity::Busy {
                return;
            }
        }
        panic!("still busy");
    }

    fn bus_master(&self) -> bool {
        self.0.gpu().memory().guest.bus_master()
    }

    /// Begins and ends of resets, and how many generations began.
    fn resets(&self) -> (Vec<String>, u64) {
        let journal = self.0.gpu().journal();
        let resets = journal.since(0).filter_map(|record| match &record.event {
            Event::ResetBegin { kind, target } => {
                Some(format!("+{kind:?} {}", target.as_deref().unwrap_or("")))
            }
            Event::ResetEnd { kind, target } => {
                Some(format!("-{kind:?} {}", target.as_deref().unwrap_or("")))
            }
            _ => None,
        });
        let resets = resets.map(|text| text.trim_end().to_owned()).collect();
        (resets, journal.generation())
    }
}

#[test]
fn every_reset_of_the_part_is_written_down_with_its_kind_and_begins_a_generation() {
    type Cause = fn(&mut Rig);
    let start_secure_os: Cause = |rig| {
        rig.set(C2PMSG_35, 0x2_0000);
        rig.get(C2PMSG_81);
        rig.set(C2PMSG_64, 0x7_0000);
    };
    let causes: [(&str, Cause); 5] = [
        ("Mode1Smu", |rig| rig.message(MSG_MODE1_RESET)),
        ("Mode1Psp", start_secure_os),
        ("Mode2", |rig| rig.message(MSG_MODE2_RESET)),
        ("FunctionLevel", |rig| rig.config(DEVICE_CONTROL_HIGH, FLR)),
        ("Bus", |rig| rig.0.reset()),
    ];
    for (kind, cause) in causes {
        let mut rig = Rig::new();
        cause(&mut rig);
        rig.run();
        assert_eq!(rig.resets(), (vec![format!("+{kind}"), format!("-{kind}")], 1));
    }
}

#[test]
fn a_soft_reset_is_written_down_with_its_target_and_begins_no_generation() {
    let mut rig = Rig::new();
    rig.set(GRBM_SOFT_RESET, SOFT_RESET_SDMA0 << 1 | SOFT_RESET_CP);
    rig.set(GRBM_SOFT_RESET, 0);
    let all = ["SoftSdma sdma1", "SoftGfx gfx", "SoftGfx compute"];
    let all: Vec<_> = all
        .iter()
        .flat_map(|one| [format!("+{one}"), format!("-{one}")])
        .collect();
    assert_eq!(rig.resets(), (all, 0));
    assert_eq!(rig.0.gpu().stats().resets.soft, 3);
}

/// `sdma_v5_2_stop_queue`, then `sdma_v5_2_soft_reset_engine` (7.3).
#[test]
fn a_soft_reset_of_a_frozen_engine_is_the_reset_of_its_queue() {
    let mut rig = Rig::new();
    rig.set(SDMA0_FREEZE, 1 << 4);
    rig.set(GRBM_SOFT_RESET, SOFT_RESET_SDMA0);
    rig.set(GRBM_SOFT_RESET, 0);
    rig.set(GRBM_SOFT_RESET, SOFT_RESET_SDMA0);
    let all = [
        "+Queue sdma0",
        "-Queue sdma0",
        "+SoftSdma sdma0",
        "-SoftSdma sdma0",
    ];
    assert_eq!(rig.resets(), (all.map(str::to_owned).to_vec(), 0));
    assert_eq!(rig.0.gpu().stats().resets.queue, 1);
}

#[test]
fn in_baco_only_the_bus_interface_and_the_mailbox_answer() {
    let mut rig = Rig::new();
    rig.set(SCRATCH_REG0, 0x1234);
    rig.set(BIOS_SCRATCH_7, 0x5678);
    rig.set_vram(0x1000, 0x5afe);
    rig.message(MSG_ENTER_BACO);
    assert_eq!(rig.get(C2PMSG_90), 1, "the answer comes before the power goes");
    rig.run();
    for off in [SCRATCH_REG0, C2PMSG_81, SDMA0_FREEZE] {
        rig.set(off, 0x77);
        assert_eq!(rig.get(off), u32::MAX, "{off:#x}");
    }
    assert_eq!(
        rig.get(BIOS_SCRATCH_7),
        0x5678,
        "the bus interface keeps its registers"
    );
    assert_eq!(rig.get(THM_BACO_CNTL), 0x100);
    rig.message(MSG_EXIT_BACO);
    assert_eq!(rig.get(C2PMSG_90), 0, "not before it is done");
    rig.run();
    assert_eq!((rig.get(C2PMSG_90), rig.get(THM_BACO_CNTL)), (1, 0));
    assert_eq!((rig.get(SCRATCH_REG0), rig.get(C2PMSG_81)), (0, 0), "cold");
    assert_eq!(rig.vram(0x1000), gpu::POISON);
    assert_eq!(rig.vram(DISCOVERY), DISCOVERY_SIGNATURE);
    let all = ["+BacoEnter", "-BacoEnter", "+BacoExit", "-BacoExit"];
    assert_eq!(rig.resets(), (all.map(str::to_owned).to_vec(), 2));
}

#[test]
fn baco_is_left_only_when_the_old_contents_are_gone() {
    let mut rig = Rig::new();
    for at in (0..VRAM - (1 << 20)).step_by(1 << 15) {
        rig.set_vram(at, 0x5afe);
    }
    rig.message(MSG_ENTER_BACO);
    rig.0.run();
    rig.message(MSG_EXIT_BACO);
    while rig.get(C2PMSG_90) == 0 {
        rig.0.run();
    }
    for at in (0..VRAM - (1 << 20)).step_by(1 << 15) {
        assert_eq!(rig.vram(at), gpu::POISON, "{at:#x}");
    }
}

/// `amdgpu_pmops_runtime_suspend` and `_resume`: a part without an audio function is armed, and D3hot does the rest.
#[test]
fn armed_for_it_the_chip_is_in_baco_while_the_function_is_in_d3hot() {
    const BACO: u32 = 0;
    const ULPS: u32 = 3;
    let mut rig = Rig::new();
    rig.set(SCRATCH_REG0, 0x1234);
    rig.set_vram(0x1000, 0x5afe);
    rig.arm_d3(BACO);
    assert_eq!(
        (rig.get(C2PMSG_90), rig.get(SCRATCH_REG0)),
        (1, 0x1234),
        "armed only"
    );
    rig.config(PM_CTRL, D3HOT);
    rig.run();
    rig.config(PM_CTRL, 0);
    rig.arm_d3(ULPS);
    rig.run();
    assert_eq!((rig.get(C2PMSG_90), rig.get(SCRATCH_REG0)), (1, 0));
    assert_eq!(rig.vram(0x1000), gpu::POISON);
    let all = ["+BacoEnter", "-BacoEnter", "+BacoExit", "-BacoExit"];
    assert_eq!(rig.resets(), (all.map(str::to_owned).to_vec(), 2));
    // No longer armed.
    rig.config(PM_CTRL, D3HOT);
    rig.config(PM_CTRL, 0);
    rig.run();
    assert_eq!(rig.resets().1, 2);
}

#[test]
fn leaving_baco_without_being_in_it_is_answered_and_changes_nothing() {
    let mut rig = Rig::new();
    rig.set(SCRATCH_REG0, 0x1234);
    rig.message(MSG_EXIT_BACO);
    rig.run();
    assert_eq!((rig.get(C2PMSG_90), rig.get(SCRATCH_REG0)), (1, 0x1234));
    assert_eq!(rig.resets(), (vec![], 0));
}

#[test]
fn a_function_level_reset_ends_baco() {
    let mut rig = Rig::new();
    rig.message(MSG_ENTER_BACO);
    rig.run();
    rig.config(DEVICE_CONTROL_HIGH, FLR);
    rig.run();
    assert_eq!((rig.get(SCRATCH_REG0), rig.get(THM_BACO_CNTL)), (0, 0));
    assert_eq!(rig.vram(DISCOVERY), DISCOVERY_SIGNATURE);
}

/// The guest's CPUs do not wait for a reset, and reset again.
#[test]
fn a_reset_that_keeps_vram_does_not_save_what_one_before_it_is_losing() {
    let mut rig = Rig::new();
    let pages = || (0..VRAM - (1 << 20)).step_by(1 << 15);
    for at in pages() {
        rig.set_vram(at, 0x5afe);
    }
    rig.message(MSG_MODE1_RESET);
    rig.0.run();
    rig.config(DEVICE_CONTROL_HIGH, FLR);
    assert_eq!(rig.get(RCC_CONFIG_MEMSIZE), u32::MAX, "still under way");
    rig.run();
    assert_eq!(rig.get(RCC_CONFIG_MEMSIZE), 256);
    for at in pages() {
        assert_eq!(rig.vram(at), gpu::POISON, "{at:#x}");
    }
    assert_eq!(rig.vram(DISCOVERY), DISCOVERY_SIGNATURE);
    let all = ["+Mode1Smu", "+FunctionLevel", "-FunctionLevel"];
    assert_eq!(rig.resets(), (all.map(str::to_owned).to_vec(), 2));
}

#[test]
fn in_d3hot_nothing_answers_and_nothing_is_reached() {
    let mut rig = Rig::new();
    rig.config(COMMAND, COMMAND_MASTER);
    rig.set(SCRATCH_REG0, 0x1234);
    rig.set_vram(0x1000, 0x5afe);
    rig.config(PM_CTRL, D3HOT);
    assert!(!rig.bus_master());
    assert_eq!((rig.get(SCRATCH_REG0), rig.vram(0x1000)), (u32::MAX, u32::MAX));
    rig.set(SCRATCH_REG0, 1);
    rig.set_vram(0x1000, 1);
    // Command may be written; it lets nothing out.
    rig.config(COMMAND, 0);
    rig.config(COMMAND, COMMAND_MASTER);
    assert!(!rig.bus_master());
    rig.config(PM_CTRL, 0);
    assert!(rig.bus_master());
    assert_eq!(
        (rig.get(SCRATCH_REG0), rig.vram(0x1000)),
        (0x1234, 0x5afe),
        "No_Soft_Reset"
    );
    assert_eq!(rig.resets(), (vec![], 0));
}

#[test]
fn without_no_soft_reset_the_way_back_from_d3hot_is_a_reset() {
    let board = Board {
        no_soft_reset: false,
        ..NAVI21.board()
    };
    let mut rig = Rig::on_board(board);
    let mut control = [0];
    rig.0.read(Region::Config, PM_CTRL, &mut control).unwrap();
    assert_eq!(control, [0], "No_Soft_Reset reads as clear");
    rig.config(COMMAND, COMMAND_MASTER);
    rig.set(SCRATCH_REG0, 0x1234);
    rig.set_vram(0x1000, 0x5afe);
    rig.config(PM_CTRL, D3HOT);
    rig.config(PM_CTRL, 0);
    assert!(!rig.bus_master(), "configuration space is reset too");
    assert_eq!((rig.get(SCRATCH_REG0), rig.vram(0x1000)), (0, 0x5afe));
    assert_eq!(rig.get(RCC_CONFIG_MEMSIZE), 256);
    assert_eq!(rig.resets(), (vec!["+D3hot".to_owned(), "-D3hot".to_owned()], 1));
}

#[test]
fn a_reset_from_the_bus_wakes_the_function() {
    let mut rig = Rig::new();
    rig.config(PM_CTRL, D3HOT);
    rig.0.reset();
    assert_eq!(rig.get(RCC_CONFIG_MEMSIZE), 256);
}
