//! The security processor as `psp_v11_0.c` and `amdgpu_psp.c` drive it.

#![expect(clippy::cast_possible_truncation, reason = "the tests' addresses are small")]

use super::registers::C2PMSG_36;
use super::*;
use crate::testing::FlatMemory;

const RING: u64 = 0x1000;
const COMMAND: u64 = 0x3000;
const FENCE: u64 = 0x5000;

struct Driver {
    psp: Psp,
    memory: FlatMemory,
    effects: Effects<PspEffect>,
    wptr: u32,
}

impl Driver {
    fn new() -> Self {
        Self {
            psp: Psp::new(&[0], BootState::Bootloader),
            memory: FlatMemory::new(0x1_0000),
            effects: Effects::default(),
            wptr: 0,
        }
    }

    fn write(&mut self, offset: RegOffset, value: u32) {
        self.psp.write(offset, value, &mut self.effects);
    }

    fn load_sos(&mut self) {
        assert_eq!(self.psp.read(C2PMSG_35), RESPONSE);
        self.write(C2PMSG_36, 0x8000);
        self.write(C2PMSG_35, BOOTLOADER_LOAD_SOSDRV);
    }

    /// Secure OS and ring, as `psp_v11_0_ring_create` leaves them.
    fn with_ring() -> Self {
        let mut driver = Self::new();
        driver.load_sos();
        driver.psp.read(C2PMSG_81);
        driver.write(C2PMSG_69, RING as u32);
        driver.write(C2PMSG_70, 0);
        driver.write(C2PMSG_71, 0x1000);
        driver.write(C2PMSG_64, 2 << 16);
        driver
    }

    /// `psp_ring_cmd_submit`.
    fn submit(&mut self, id: u32, body: &[u32], fence: u32) -> Vec<PspRequest> {
        let mut command = vec![0; COMMAND_BYTES];
        command[8..12].copy_from_slice(&id.to_le_bytes());
        for (index, dword) in body.iter().enumerate() {
            command[28 + 4 * index..32 + 4 * index].copy_from_slice(&dword.to_le_bytes());
        }
        self.memory.put(COMMAND, &command);
        let mut frame = [0; FRAME_BYTES as usize];
        frame[..4].copy_from_slice(&(COMMAND as u32).to_le_bytes());
        frame[12..16].copy_from_slice(&(FENCE as u32).to_le_bytes());
        frame[20..24].copy_from_slice(&fence.to_le_bytes());
        self.memory.put(RING + u64::from(self.wptr) * 4, &frame);
        self.wptr = (self.wptr + 16) % 1024;
        self.write(C2PMSG_67, self.wptr);
        assert_eq!(self.effects.take(), [PspEffect::Kick]);
        self.psp.process(&mut self.memory, |_| CommandVerdict::Proceed)
    }

    fn response(&self, at: u64) -> u32 {
        self.memory.u32(COMMAND + Response::AT + at)
    }
}

#[test]
fn the_table_has_no_defects_and_a_reset_restores_it() {
    assert_eq!(RegisterFile::table_defects(MP0), Vec::<String>::new());
    let mut driver = Driver::with_ring();
    driver.psp.reset();
    for register in Psp::new(&[0], BootState::Bootloader).file.registers() {
        assert_eq!(
            driver.psp.read(register.offset),
            register.spec.reset,
            "{}",
            register.name
        );
    }
}

/// `psp_v11_0_bootloader_load_sos` reads the register once and then waits for it to change.
#[test]
fn the_sign_of_life_changes_after_the_first_read_that_follows_sosdrv() {
    let mut driver = Driver::new();
    assert_eq!(driver.psp.read(C2PMSG_81), 0);
    assert_eq!(driver.psp.read(C2PMSG_81), 0, "nothing is loaded yet");
    driver.load_sos();
    assert_eq!(driver.psp.read(C2PMSG_81), 0);
    assert_ne!(driver.psp.read(C2PMSG_81), 0);
}

#[test]
fn without_the_secure_os_ring_commands_get_no_response() {
    let mut driver = Driver::new();
    driver.write(C2PMSG_64, 2 << 16);
    assert_eq!(driver.psp.read(C2PMSG_64), 2 << 16);
}

#[test]
fn ring_creation_responds_and_starts_at_pointer_zero() {
    let mut driver = Driver::with_ring();
    assert_eq!(driver.psp.read(C2PMSG_64) & 0x8000_ffff, RESPONSE);
    assert_eq!(driver.psp.read(C2PMSG_67), 0);
}

#[test]
fn a_command_is_answered_before_its_fence_is_written() {
    let mut driver = Driver::with_ring();
    driver.submit(0x20, &[], 1);
    assert_eq!(driver.response(0), 0);
    assert_eq!(driver.response(16), TMR_BYTES);
    assert_eq!(driver.memory.u32(FENCE), 1);
    assert_eq!(driver.memory.order(), [COMMAND + Response::AT, FENCE]);
}

#[test]
fn the_ring_wraps() {
    let mut driver = Driver::with_ring();
    for fence in 1..=200 {
        driver.submit(0x06, &[], fence);
        assert_eq!(driver.memory.u32(FENCE), fence);
    }
    assert_eq!(driver.psp.commands()["LOAD_IP_FW"], 200);
}

#[test]
fn autoload_starts_the_rlc() {
    let mut driver = Driver::with_ring();
    assert_eq!(driver.submit(0x21, &[], 1), [PspRequest::RlcRunning]);
}

#[test]
fn an_unknown_command_is_not_supported_and_still_completes() {
    let mut driver = Driver::with_ring();
    driver.submit(0xdead, &[], 9);
    assert_eq!(driver.response(0), NOT_SUPPORTED);
    assert_eq!(driver.memory.u32(FENCE), 9);
}

#[test]
fn sessions_are_numbered_and_bounded() {
    let mut driver = Driver::with_ring();
    for fence in 1..=500 {
        driver.submit(0x01, &[], fence);
        assert_eq!(driver.response(4), fence, "session");
    }
    assert!(driver.psp.sessions.len() <= MAX_SESSIONS);
}

#[test]
fn mode1_is_acknowledged_and_handed_on() {
    let mut driver = Driver::with_ring();
    driver.write(C2PMSG_64, CMD_MODE1_RESET);
    assert_eq!(driver.effects.take(), [PspEffect::Mode1Reset]);
}

#[test]
fn a_ring_in_no_memory_ends() {
    let mut driver = Driver::with_ring();
    driver.write(C2PMSG_70, u32::MAX);
    driver.write(C2PMSG_67, 512);
    assert_eq!(
        driver
            .psp
            .process(&mut driver.memory, |_| CommandVerdict::Proceed),
        []
    );
}

#[test]
fn a_ring_that_is_no_multiple_of_a_frame_executes_each_frame_once() {
    let mut driver = Driver::with_ring();
    driver.write(C2PMSG_71, 0x1000 - 4);
    driver.write(C2PMSG_64, CMD_INIT_KM_RING);
    driver.submit(0x06, &[], 1);
    assert_eq!(driver.psp.commands()["LOAD_IP_FW"], 1);
}

#[test]
fn a_destroyed_ring_takes_nothing() {
    let mut driver = Driver::with_ring();
    driver.write(C2PMSG_64, CMD_DESTROY_RINGS);
    assert_eq!(driver.psp.read(C2PMSG_64), RESPONSE);
    driver.submit(0x06, &[], 1);
    assert_eq!(driver.memory.u32(FENCE), 0);
}

#[test]
fn an_unknown_ring_control_command_is_answered_with_an_error() {
    let mut driver = Driver::with_ring();
    driver.write(C2PMSG_64, 0xab_0000);
    assert_ne!(driver.psp.read(C2PMSG_64) & 0xffff, 0);
}
