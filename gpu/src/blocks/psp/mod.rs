//! The platform security processor (MP0 11.0.7 and 11.0.9): bootloader handshake, ring, command buffers.
//!
//! Fidelity: every handshake that the driver makes is modelled; firmware and trusted applications are acknowledged and never
//! executed or verified. Trusted applications have no state but their session, and answer as RAP does when it succeeds.

mod command;
pub mod registers;

pub use command::{Command, Frame, Response};

use std::collections::BTreeMap;

use super::segment;
use crate::limited::limited;
use command::{COMMAND_BYTES, FRAME_BYTES, NOT_SUPPORTED};
use gart::{GpuVa, VirtualMemory, Vmid};
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile};
use registers::{
    C2PMSG_33, C2PMSG_35, C2PMSG_64, C2PMSG_67, C2PMSG_69, C2PMSG_70, C2PMSG_71, C2PMSG_81, C2PMSG_101,
    C2PMSG_102, C2PMSG_103, RESPONSE,
};
use regs::mp::v11_0::MP0;

/// What the sign-of-life register reads once the secure OS runs: a version, as on a real board.
const SOS_ALIVE: u32 = 0x0021_1164;
/// Size of the trusted memory region that LOAD_TOC answers with.
const TMR_BYTES: u32 = 8 << 20;
/// Frames of the largest ring that is honoured (64 KiB): the bound on work per kick.
const MAX_FRAMES: u32 = 1024;
/// Sessions kept at once.
const MAX_SESSIONS: usize = 64;

const BOOTLOADER_LOAD_SOSDRV: u32 = 0x2_0000;
const CMD_MODE1_RESET: u32 = 0x7_0000;
const CMD_DESTROY_RINGS: u32 = 0x3_0000;
/// `GFX_CTRL_CMD_ID_INIT_GPCOM_RING`; the bare-metal driver writes it as ring type KM (2) << 16.
const CMD_INIT_KM_RING: u32 = 0x2_0000;
/// `GFX_CTRL_CMD_ID_CONSUME_CMD`: a virtual function's write pointer has moved.
const CMD_CONSUME: u32 = 0x9_0000;
/// `GFX_CTRL_CMD_ID_DESTROY_GPCOM_RING`
const CMD_DESTROY_GPCOM_RING: u32 = 0xc_0000;
/// Size of a virtual function's ring, which it does not tell (6.1 `psp_ring_init`).
const VF_RING_BYTES: u32 = 0x1000;
/// `PSP_ERR_UNKNOWN_COMMAND`
const UNKNOWN_COMMAND: u32 = 0x100;
/// What a function may have programmed, by number (`enum psp_reg_prog_id`): IH_RB_CNTL and those of the two other rings.
const IH_RING_CNTL: [RegOffset; 3] = [
    RegOffset::from_byte(0x4480),
    RegOffset::from_byte(0x44b0),
    RegOffset::from_byte(0x44e0),
];
const FRAME_DWORDS: u32 = FRAME_BYTES / 4;

/// What a register write asks of the rest of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PspEffect {
    /// Frames are waiting: call [`Psp::process`].
    Kick,
    /// MODE1 reset of the whole part.
    Mode1Reset,
}

/// What a command asks of the rest of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PspRequest {
    /// The RLC and everything behind it is up.
    RlcRunning,
    /// A register of the interrupt handler is to be written for a function that may not do it itself.
    ProgramRegister {
        /// Which.
        register: RegOffset,
        /// What.
        value: u32,
    },
}

/// How the driver finds the security processor after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootState {
    /// In its bootloader, which waits for the secure OS.
    Bootloader,
    /// In its secure OS: the host of a virtual function has loaded it.
    SecureOs,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandVerdict {
    /// It is executed.
    Proceed,
    /// Nothing of it happens, and its fence is never written.
    Silent,
    /// Nothing of it happens, and it is answered with this status.
    Fail(u32),
}

/// How far the secure OS has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecureOs {
    /// Not loaded: the bootloader answers.
    Absent,
    /// Loaded and starting. The driver reads the sign of life once, 20 ms after the command, and then waits for a *different* value
    /// (`psp_v11_0_bootloader_load_sos`): the first read still finds 0, however late it comes.
    Starting,
    /// Running.
    Alive,
}

impl SecureOs {
    const fn after_reset(boot: BootState) -> Self {
        match boot {
            BootState::Bootloader => Self::Absent,
            BootState::SecureOs => Self::Alive,
        }
    }
}

/// The kernel driver's ring.
#[derive(Debug, Clone, Copy)]
struct Ring {
    base: GpuVa,
    /// Its size; at least 1.
    frames: u32,
    /// Next frame to execute.
    read: u32,
    /// Write pointer in dwords.
    write: u32,
}

/// The security processor.
#[derive(Debug)]
pub struct Psp {
    file: RegisterFile,
    boot: BootState,
    secure_os: SecureOs,
    ring: Option<Ring>,
    sessions: BTreeMap<u32, GpuVa>,
    next_session: u32,
    commands: BTreeMap<&'static str, u64>,
}

impl Psp {
    /// In the state after power-on.
    pub fn new(bases: &[u32], boot: BootState) -> Self {
        let mut psp = Self {
            file: RegisterFile::new("", segment(bases, 0), MP0),
            boot,
            secure_os: SecureOs::after_reset(boot),
            ring: None,
            sessions: BTreeMap::new(),
            next_session: 1,
            commands: BTreeMap::new(),
        };
        psp.reset();
        psp
    }

    /// Commands taken since the start, by name: those of the ring, and MODE1_RESET, which comes through the mailbox.
    pub const fn commands(&self) -> &BTreeMap<&'static str, u64> {
        &self.commands
    }

    fn start_secure_os(&mut self) {
        self.secure_os = SecureOs::Starting;
        self.file.set(C2PMSG_64, RESPONSE);
    }

    fn ring_control(&mut self, value: u32, effects: &mut Effects<PspEffect>) {
        let mut response = RESPONSE;
        match value {
            CMD_MODE1_RESET => {
                *self.commands.entry("MODE1_RESET").or_default() += 1;
                effects.push(PspEffect::Mode1Reset);
            }
            CMD_DESTROY_RINGS => self.ring = None,
            CMD_INIT_KM_RING => {
                // Both pointers start at 0. A ring holds whole frames.
                let frames = (self.file.get(C2PMSG_71) / FRAME_BYTES).min(MAX_FRAMES);
                let base = GpuVa::new(self.file.get_pair(C2PMSG_69, C2PMSG_70));
                self.ring = (frames > 0).then_some(Ring {
                    base,
                    frames,
                    read: 0,
                    write: 0,
                });
                self.file.set(C2PMSG_67, 0);
            }
            _ => {
                limited!(Warn, target: "amdgpu::psp", "unimplemented: ring control command {value:#x}");
                response |= UNKNOWN_COMMAND;
            }
        }
        self.file.set(C2PMSG_64, response);
    }

    /// The same for a virtual function, which tells the write pointer by a command too (6.1 `psp_v11_0_ring_set_wptr`).
    fn vf_ring_control(&mut self, value: u32, effects: &mut Effects<PspEffect>) {
        let mut response = RESPONSE;
        match value {
            CMD_INIT_KM_RING => {
                self.ring = Some(Ring {
                    base: GpuVa::new(self.file.get_pair(C2PMSG_102, C2PMSG_103)),
                    frames: VF_RING_BYTES / FRAME_BYTES,
                    read: 0,
                    write: 0,
                });
            }
            CMD_DESTROY_GPCOM_RING => self.ring = None,
            CMD_CONSUME => self.kick(self.file.get(C2PMSG_102), effects),
            _ => {
                limited!(Warn, target: "amdgpu::psp", "unimplemented: a function's ring control command {value:#x}");
                response |= UNKNOWN_COMMAND;
            }
        }
        self.file.set(C2PMSG_101, response);
    }

    /// The write pointer has moved.
    fn kick(&mut self, write: u32, effects: &mut Effects<PspEffect>) {
        if let Some(ring) = &mut self.ring {
            ring.write = write;
        }
        effects.push(PspEffect::Kick);
    }

    /// Which of its [`registers`] lies at an offset in the register BAR.
    pub fn register(&self, offset: RegOffset) -> Option<RegOffset> {
        self.file.relative(offset)
    }

    /// Writes a register, and nothing else happens: nobody listens at the mailbox.
    pub fn write_unheard(&mut self, offset: RegOffset, value: u32) {
        self.file.write(offset, value);
    }

    /// Executes the frames between the read and the write pointer; `verdict` is asked about each command before.
    pub fn process(
        &mut self,
        memory: &mut impl VirtualMemory,
        mut verdict: impl FnMut(&Command) -> CommandVerdict,
    ) -> Vec<PspRequest> {
        let mut requests = Vec::new();
        let Some(mut ring) = self.ring.filter(|_| self.secure_os == SecureOs::Alive) else {
            return requests;
        };
        let write = ring.write / FRAME_DWORDS % ring.frames;
        while ring.read != write {
            let mut bytes = [0; FRAME_BYTES as usize];
            let at = ring.base.plus(u64::from(ring.read * FRAME_BYTES));
            ring.read = (ring.read + 1) % ring.frames;
            if memory.read(Vmid::KERNEL, at, &mut bytes).is_ok() {
                self.execute(&Frame::decode(&bytes), memory, &mut verdict, &mut requests);
            }
        }
        self.ring = Some(ring);
        requests
    }

    fn execute(
        &mut self,
        frame: &Frame,
        memory: &mut impl VirtualMemory,
        verdict: &mut impl FnMut(&Command) -> CommandVerdict,
        requests: &mut Vec<PspRequest>,
    ) {
        let mut buffer = [0; COMMAND_BYTES];
        if memory.read(Vmid::KERNEL, frame.command, &mut buffer).is_err() {
            return;
        }
        let command = Command::decode(&buffer);
        *self.commands.entry(command.name()).or_default() += 1;
        log::debug!(target: "amdgpu::psp", "{command:x?}");
        let response = match verdict(&command) {
            CommandVerdict::Proceed => self.answer(command, memory, requests),
            CommandVerdict::Silent => return,
            CommandVerdict::Fail(status) => Response {
                status,
                ..Response::default()
            },
        };
        // The response and then the fence: the driver reads the response as soon as it sees the fence. A fault in between has been
        // reported, and the fence is what the driver times out on.
        let answered = memory.write(Vmid::KERNEL, frame.command.plus(Response::AT), &response.encode());
        if answered.is_ok() {
            let _reported = memory.store_u32(Vmid::KERNEL, frame.fence, frame.fence_value);
        }
    }

    fn answer(
        &mut self,
        command: Command,
        memory: &mut impl VirtualMemory,
        requests: &mut Vec<PspRequest>,
    ) -> Response {
        let mut response = Response::default();
        match command {
            Command::LoadToc => response.tmr_size = TMR_BYTES,
            Command::LoadAsd => response.session = self.open_session(GpuVa::default()),
            Command::LoadTa { shared, .. } => response.session = self.open_session(shared),
            Command::UnloadTa { session } => {
                self.sessions.remove(&session);
            }
            Command::InvokeTa { session, .. } => self.invoke(session, memory),
            Command::AutoloadRlc => requests.push(PspRequest::RlcRunning),
            Command::SetupTmr
            | Command::DestroyTmr
            | Command::LoadIpFirmware { .. }
            | Command::GetFirmwareAttestation
            | Command::BootConfig => {}
            Command::ProgramRegister { value, register } => match IH_RING_CNTL.get(register as usize) {
                Some(register) => requests.push(PspRequest::ProgramRegister {
                    register: *register,
                    value,
                }),
                None => {
                    limited!(Warn, target: "amdgpu::psp", "guest error: no register {register} to program");
                    response.status = UNKNOWN_COMMAND;
                }
            },
            Command::Unknown { id } => {
                limited!(Warn, target: "amdgpu::psp", "unimplemented: command {id:#x}, answered as not supported");
                response.status = NOT_SUPPORTED;
            }
        }
        response
    }

    fn open_session(&mut self, shared: GpuVa) -> u32 {
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.pop_first();
        }
        let session = self.next_session;
        self.next_session = self.next_session.wrapping_add(1).max(1);
        self.sessions.insert(session, shared);
        session
    }

    /// Calls a trusted application. None is executed, and their images do not say in the clear which one they are. So the buffer of
    /// each stays as the driver filled it but for the dword at 12, which gets RAP's "success" (`ta_rap_if.h`: `rap_status` 1): RAP is
    /// the only one that a part without display and without RAS calls.
    fn invoke(&self, session: u32, memory: &mut impl VirtualMemory) {
        const RAP_STATUS_AT: u64 = 12;
        const RAP_SUCCESS: u32 = 1;
        if let Some(shared) = self.sessions.get(&session).filter(|shared| shared.get() != 0) {
            let _reported = memory.store_u32(Vmid::KERNEL, shared.plus(RAP_STATUS_AT), RAP_SUCCESS);
        }
    }
}

impl RegisterBlock for Psp {
    type Effect = PspEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.file]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        let value = self.file.read(offset).unwrap_or(0);
        if self.register(offset) == Some(C2PMSG_81) && self.secure_os == SecureOs::Starting {
            self.secure_os = SecureOs::Alive;
            self.file.set(C2PMSG_81, SOS_ALIVE);
        }
        value
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<PspEffect>) {
        let Some(_) = self.file.write(offset, value) else {
            return;
        };
        match self.register(offset) {
            Some(C2PMSG_33) => self.file.set(C2PMSG_33, RESPONSE),
            Some(C2PMSG_35) => {
                // Every component is taken at once; the bootloader is ready for the next.
                self.file.set(C2PMSG_35, RESPONSE);
                if value == BOOTLOADER_LOAD_SOSDRV && self.secure_os == SecureOs::Absent {
                    self.start_secure_os();
                }
            }
            Some(C2PMSG_64) if self.secure_os != SecureOs::Absent => self.ring_control(value, effects),
            Some(C2PMSG_67) => self.kick(value, effects),
            Some(C2PMSG_101) if self.secure_os == SecureOs::Alive => self.vf_ring_control(value, effects),
            _ => {}
        }
    }

    fn reset(&mut self) {
        let Self {
            file,
            boot,
            secure_os,
            ring,
            sessions,
            next_session,
            commands: _,
        } = self;
        file.reset();
        *secure_os = SecureOs::after_reset(*boot);
        if *boot == BootState::SecureOs {
            file.set(C2PMSG_81, SOS_ALIVE);
            file.set(C2PMSG_64, RESPONSE);
            file.set(C2PMSG_101, RESPONSE);
        }
        *ring = None;
        sessions.clear();
        *next_session = 1;
    }
}

#[cfg(test)]
mod tests;
