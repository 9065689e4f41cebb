//! What can be made to go wrong.

use std::fmt;
use std::time::Duration;

use gart::{Access, GpuVa, HubId, Vmid};

pub use crate::event::EngineName;
use crate::sriov::Request;
pub use protocol::fault::{FaultKind, HangWhen, InterruptPart};

/// A way to go wrong, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The engine stands still, until a reset that covers it.
    Hang {
        /// Which.
        engine: EngineName,
        /// When.
        when: HangWhen,
    },
    /// Each packet of the engine begins late.
    Slow {
        /// Which.
        engine: EngineName,
        /// By how much.
        delay: Duration,
    },
    /// Bits of an entry are inverted after it has been written into a page table in VRAM.
    CorruptPte {
        /// Which bits.
        xor: u64,
    },
    /// A page-table update into VRAM is passed over.
    DropPte,
    /// A copy from system memory into VRAM is passed over: the recovery from shadows, moves of buffers.
    DropCopy,
    /// A fill of VRAM is passed over: what clears buffers.
    DropFill,
    /// An interrupt is lost.
    DropInterrupts {
        /// What of it.
        what: InterruptPart,
        /// Which: only this source, or all.
        source: Option<u8>,
    },
    /// An interrupt comes late; others overtake it.
    DelayInterrupts {
        /// By how much.
        delay: Duration,
    },
    /// An invalidation of translations is not acknowledged.
    WithholdAcknowledge {
        /// On which hub.
        hub: HubId,
    },
    /// The security processor does not answer.
    PspSilent {
        /// To which command (by its name in the statistics); `None`: to any, nor at its mailboxes.
        command: Option<&'static str>,
    },
    /// The security processor answers a command with an error, without doing anything.
    PspFail {
        /// Which command, or any.
        command: Option<&'static str>,
        /// The error.
        status: u32,
    },
    /// The management unit does not answer.
    SmuSilent {
        /// To which message, or to any.
        message: Option<u32>,
    },
    /// The management unit answers a message with an error, without doing anything.
    SmuFail {
        /// Which message, or any.
        message: Option<u32>,
        /// The error.
        result: u32,
    },
    /// A reset that the guest asks for goes wrong.
    ResetFail {
        /// How.
        how: ResetFailure,
    },
    /// A reset of only this engine's queues does nothing.
    QueueResetFail {
        /// Which, or any.
        engine: Option<EngineName>,
    },
    /// The host of a virtual function does nothing about a message and does not answer it.
    HostSilent {
        /// Which, or any.
        request: Option<Request>,
    },
    /// It does nothing about it, and answers FAIL.
    HostRefuses {
        /// Which, or any.
        request: Option<Request>,
    },
    /// It does nothing about it, and answers that the function cannot be recovered.
    HostGivesUp {
        /// Which, or any.
        request: Option<Request>,
    },
    /// It looks at it late.
    HostLate {
        /// Which, or any.
        request: Option<Request>,
        /// By how much.
        delay: Duration,
    },
    /// What the host leaves for the guest in VRAM has a wrong checksum.
    CorruptPf2Vf,
    /// Nobody answers on the bus.
    OffBus,
    /// An access that does not translate is reported.
    VmFault {
        /// In which context.
        vmid: Vmid,
        /// At which address.
        va: GpuVa,
        /// It would have been a write.
        access: Access,
    },
}

/// How a reset goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetFailure {
    /// The part does not come back: every register reads as all ones until a reset from the bus, or until the machine is switched off.
    Never,
    /// It does so for this time, and then the reset happens.
    Late(Duration),
    /// Nothing happens, and everything looks as if it had: the part answers as before.
    Lies,
}

impl Fault {
    /// Whether it lasts from the moment it is armed until it is cleared, rather than to happen a number of times.
    pub const fn lasts(&self) -> bool {
        matches!(
            self,
            Self::OffBus | Self::QueueResetFail { .. } | Self::CorruptPf2Vf
        )
    }

    /// Whether it is the host's who lends a virtual function.
    pub const fn is_of_a_host(&self) -> bool {
        matches!(
            self,
            Self::HostSilent { .. }
                | Self::HostRefuses { .. }
                | Self::HostGivesUp { .. }
                | Self::HostLate { .. }
                | Self::CorruptPf2Vf
        )
    }

    /// Whether a reset of only this engine's queues does nothing because of it.
    pub fn spoils_queue_reset(&self, which: EngineName) -> bool {
        match self {
            Self::QueueResetFail { engine } => engine.is_none_or(|engine| engine == which),
            _ => false,
        }
    }

    /// Its name in requests and events.
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Hang { .. } => FaultKind::Hang,
            Self::Slow { .. } => FaultKind::Slow,
            Self::CorruptPte { .. } => FaultKind::CorruptPte,
            Self::DropPte => FaultKind::DropPte,
            Self::DropCopy => FaultKind::DropCopy,
            Self::DropFill => FaultKind::DropFill,
            Self::DropInterrupts { .. } => FaultKind::DropInterrupts,
            Self::DelayInterrupts { .. } => FaultKind::DelayInterrupts,
            Self::WithholdAcknowledge { .. } => FaultKind::WithholdAcknowledge,
            Self::PspSilent { .. } => FaultKind::PspSilent,
            Self::PspFail { .. } => FaultKind::PspFail,
            Self::SmuSilent { .. } => FaultKind::SmuSilent,
            Self::SmuFail { .. } => FaultKind::SmuFail,
            Self::ResetFail { .. } => FaultKind::ResetFail,
            Self::QueueResetFail { .. } => FaultKind::QueueResetFail,
            Self::HostSilent { .. } => FaultKind::HostSilent,
            Self::HostRefuses { .. } => FaultKind::HostRefuses,
            Self::HostGivesUp { .. } => FaultKind::HostGivesUp,
            Self::HostLate { .. } => FaultKind::HostLate,
            Self::CorruptPf2Vf => FaultKind::CorruptPf2Vf,
            Self::OffBus => FaultKind::OffBus,
            Self::VmFault { .. } => FaultKind::VmFault,
        }
    }

    /// Its engine, if it concerns only one.
    pub const fn engine(&self) -> Option<EngineName> {
        match self {
            Self::Hang { engine, .. } | Self::Slow { engine, .. } => Some(*engine),
            Self::QueueResetFail { engine } => *engine,
            _ => None,
        }
    }
}

/// The parameters in words, without kind and engine.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hang { when, .. } => f.write_str(match when {
                HangWhen::Now => "now",
                HangWhen::Packet => "in front of a packet",
                HangWhen::CommandBuffer => "in front of a command buffer",
                HangWhen::PageTableUpdate => "in the middle of a page-table update",
            }),
            Self::Slow { delay, .. } => write!(f, "each packet {} us late", delay.as_micros()),
            Self::CorruptPte { xor } => write!(f, "xor {xor:#x}"),
            Self::DropPte => f.write_str("updates into VRAM are passed over"),
            Self::DropCopy => f.write_str("copies from system memory into VRAM are passed over"),
            Self::DropFill => f.write_str("fills of VRAM are passed over"),
            Self::DropInterrupts { what, source } => {
                f.write_str(match what {
                    InterruptPart::Entry => "entries are lost",
                    InterruptPart::Message => "messages are lost",
                })?;
                match source {
                    Some(source) => write!(f, ", source {source}"),
                    None => Ok(()),
                }
            }
            Self::DelayInterrupts { delay } => write!(f, "{} ms late", delay.as_millis()),
            Self::WithholdAcknowledge { hub } => f.write_str(hub_name(*hub)),
            Self::PspSilent { command } => {
                write!(f, "no answer to {}", command.unwrap_or("any command"))
            }
            Self::PspFail { command, status } => {
                write!(f, "{} fails with {status:#x}", command.unwrap_or("any command"))
            }
            Self::SmuSilent { message: None } => f.write_str("no answer to any message"),
            Self::SmuSilent {
                message: Some(message),
            } => write!(f, "no answer to message {message}"),
            Self::SmuFail {
                message: None,
                result,
            } => write!(f, "any message fails with {result:#x}"),
            Self::SmuFail {
                message: Some(message),
                result,
            } => write!(f, "message {message} fails with {result:#x}"),
            Self::ResetFail { how } => match how {
                ResetFailure::Never => f.write_str("the part does not come back"),
                ResetFailure::Late(delay) => write!(f, "the part comes back after {} ms", delay.as_millis()),
                ResetFailure::Lies => f.write_str("nothing is reset"),
            },
            Self::QueueResetFail { .. } => f.write_str("a reset of the queue does nothing"),
            Self::HostSilent { request } => write!(f, "no answer to {}", request_name(*request)),
            Self::HostRefuses { request } => write!(f, "{} is refused", request_name(*request)),
            Self::HostGivesUp { request } => write!(f, "no recovery after {}", request_name(*request)),
            Self::HostLate { request, delay } => {
                write!(f, "{} {} ms late", request_name(*request), delay.as_millis())
            }
            Self::CorruptPf2Vf => f.write_str("the checksum is wrong"),
            Self::OffBus => f.write_str("nobody answers"),
            Self::VmFault { vmid, va, access } => write!(f, "{access:?} at {va} in VMID {vmid}"),
        }
    }
}

/// What the guest says to the host, or all of it.
fn request_name(request: Option<Request>) -> &'static str {
    request.map_or("any message", Request::name)
}

/// What a hub is called.
pub(super) const fn hub_name(hub: HubId) -> &'static str {
    match hub {
        HubId::Gfx => "gfxhub",
        HubId::Mm => "mmhub",
    }
}
