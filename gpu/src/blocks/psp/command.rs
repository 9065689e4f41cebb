//! The secure OS's command buffers.
//!
//! Layout: Linux 6.1 `psp_gfx_if.h` (`psp_gfx_rb_frame`, `psp_gfx_cmd_resp`). All fields little endian.

use gart::GpuVa;

/// Bytes of a ring frame.
pub const FRAME_BYTES: u32 = 64;
/// Bytes of a command buffer.
pub const COMMAND_BYTES: usize = 1024;
/// Where the response begins in a command buffer.
const RESPONSE_AT: usize = 864;
/// Where the command's own fields begin.
const BODY_AT: usize = 28;

/// `TEE_ERROR_NOT_SUPPORTED`: the answer to a command that this model does not know.
pub const NOT_SUPPORTED: u32 = 0xffff_000a;

fn dword(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|slice| slice.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn address(bytes: &[u8], at: usize) -> GpuVa {
    GpuVa::new(u64::from(dword(bytes, at + 4)) << 32 | u64::from(dword(bytes, at)))
}

/// One entry of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where the command buffer is.
    pub command: GpuVa,
    /// Where the fence goes.
    pub fence: GpuVa,
    /// What goes there when the command has been answered.
    pub fence_value: u32,
}

impl Frame {
    /// Decodes a frame.
    pub fn decode(bytes: &[u8; FRAME_BYTES as usize]) -> Self {
        Self {
            command: address(bytes, 0),
            fence: address(bytes, 12),
            fence_value: dword(bytes, 20),
        }
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Load a trusted application: its image and the buffer that it shares with the driver.
    LoadTa {
        /// Size of the image in bytes.
        size: u32,
        /// Shared buffer.
        shared: GpuVa,
    },
    /// Unload the trusted application of a session.
    UnloadTa {
        /// Session.
        session: u32,
    },
    /// Call the trusted application of a session.
    InvokeTa {
        /// Session.
        session: u32,
        /// What is asked of it.
        command: u32,
    },
    /// Load the trusted application that loads the others.
    LoadAsd,
    /// Where the trusted memory region is.
    SetupTmr,
    /// Load one firmware.
    LoadIpFirmware {
        /// Which (`enum psp_gfx_fw_type`).
        kind: u32,
        /// Its size in bytes.
        size: u32,
    },
    /// Give the trusted memory region back.
    DestroyTmr,
    /// Program a register on behalf of a function that may not.
    ProgramRegister {
        /// The value.
        value: u32,
        /// The register (`enum psp_reg_prog_id`).
        register: u32,
    },
    /// Where the firmware attestation database is.
    GetFirmwareAttestation,
    /// The firmware's table of contents; answered with the size of the trusted memory region.
    LoadToc,
    /// All firmware is loaded: start the RLC, which starts the rest.
    AutoloadRlc,
    /// Query or change the boot configuration.
    BootConfig,
    /// Anything else.
    Unknown {
        /// `cmd_id`.
        id: u32,
    },
}

impl Command {
    /// Decodes the command in a buffer.
    pub fn decode(buffer: &[u8; COMMAND_BYTES]) -> Self {
        let body = |at: usize| dword(buffer, BODY_AT + at);
        match dword(buffer, 8) {
            0x01 => Self::LoadTa {
                size: body(8),
                shared: address(buffer, BODY_AT + 12),
            },
            0x02 => Self::UnloadTa { session: body(0) },
            0x03 => Self::InvokeTa {
                session: body(0),
                command: body(4),
            },
            0x04 => Self::LoadAsd,
            0x05 | 0x09 => Self::SetupTmr,
            0x06 => Self::LoadIpFirmware {
                size: body(8),
                kind: body(12),
            },
            0x07 | 0x0a => Self::DestroyTmr,
            0x0b => Self::ProgramRegister {
                value: body(0),
                register: body(4),
            },
            0x0f => Self::GetFirmwareAttestation,
            0x20 => Self::LoadToc,
            0x21 => Self::AutoloadRlc,
            0x22 => Self::BootConfig,
            id => Self::Unknown { id },
        }
    }

    /// All names that [`name`](Self::name) gives.
    pub const NAMES: [&str; 13] = [
        "LOAD_TA",
        "UNLOAD_TA",
        "INVOKE_CMD",
        "LOAD_ASD",
        "SETUP_TMR",
        "LOAD_IP_FW",
        "DESTROY_TMR",
        "PROG_REG",
        "GET_FW_ATTESTATION",
        "LOAD_TOC",
        "AUTOLOAD_RLC",
        "BOOT_CFG",
        "unknown",
    ];

    /// The name in `psp_gfx_if.h`, without its prefix.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LoadTa { .. } => "LOAD_TA",
            Self::UnloadTa { .. } => "UNLOAD_TA",
            Self::InvokeTa { .. } => "INVOKE_CMD",
            Self::LoadAsd => "LOAD_ASD",
            Self::SetupTmr => "SETUP_TMR",
            Self::LoadIpFirmware { .. } => "LOAD_IP_FW",
            Self::DestroyTmr => "DESTROY_TMR",
            Self::ProgramRegister { .. } => "PROG_REG",
            Self::GetFirmwareAttestation => "GET_FW_ATTESTATION",
            Self::LoadToc => "LOAD_TOC",
            Self::AutoloadRlc => "AUTOLOAD_RLC",
            Self::BootConfig => "BOOT_CFG",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Response {
    /// 0 for success.
    pub status: u32,
    /// Session of a loaded application.
    pub session: u32,
    /// Size of the trusted memory region in bytes.
    pub tmr_size: u32,
}

impl Response {
    /// Offset in the command buffer.
    pub const AT: u64 = RESPONSE_AT as u64;

    /// Bytes from [`Self::AT`] on: status, session, firmware address (none), size of the trusted region.
    pub fn encode(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        for (slot, dword) in bytes
            .chunks_exact_mut(4)
            .zip([self.status, self.session, 0, 0, self.tmr_size])
        {
            slot.copy_from_slice(&dword.to_le_bytes());
        }
        bytes
    }
}
