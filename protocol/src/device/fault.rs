//! What can be made to go wrong.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::engine::{EngineName, Hub};
use super::words::{GuestRequest, PspCommand};

/// The kinds of faults. `hang` has a request of its own, the others are those of `fault`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// An engine stands still, until a reset that covers it.
    Hang,
    /// Each packet of an engine begins late.
    Slow,
    /// Bits of a page-table entry are inverted after it has been written.
    CorruptPte,
    /// A page-table update into VRAM is passed over.
    DropPte,
    /// A copy from system memory into VRAM is passed over.
    DropCopy,
    /// A fill of VRAM is passed over.
    DropFill,
    /// An interrupt is lost.
    DropInterrupts,
    /// An interrupt comes late.
    DelayInterrupts,
    /// An invalidation of translations is not acknowledged.
    WithholdAcknowledge,
    /// The security processor does not answer.
    PspSilent,
    /// The security processor answers with an error.
    PspFail,
    /// The management unit does not answer.
    SmuSilent,
    /// The management unit answers with an error.
    SmuFail,
    /// A reset that the guest asks for goes wrong.
    ResetFail,
    /// A reset of one engine's queues does nothing.
    QueueResetFail,
    /// The host of a virtual function does nothing about a message.
    HostSilent,
    /// It does nothing about it, and answers FAIL.
    HostRefuses,
    /// It does nothing about it, and answers that the function cannot be recovered.
    HostGivesUp,
    /// It looks at it late.
    HostLate,
    /// What the host leaves for the guest in VRAM has a wrong checksum.
    #[serde(rename = "corrupt-pf2vf")]
    CorruptPf2Vf,
    /// Nobody answers on the bus.
    OffBus,
    /// An access that does not translate is reported.
    VmFault,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Hang,
        Self::Slow,
        Self::CorruptPte,
        Self::DropPte,
        Self::DropCopy,
        Self::DropFill,
        Self::DropInterrupts,
        Self::DelayInterrupts,
        Self::WithholdAcknowledge,
        Self::PspSilent,
        Self::PspFail,
        Self::SmuSilent,
        Self::SmuFail,
        Self::ResetFail,
        Self::QueueResetFail,
        Self::HostSilent,
        Self::HostRefuses,
        Self::HostGivesUp,
        Self::HostLate,
        Self::CorruptPf2Vf,
        Self::OffBus,
        Self::VmFault,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::CorruptPte => "corrupt-pte",
            Self::DropPte => "drop-pte",
            Self::DropCopy => "drop-copy",
            Self::DropFill => "drop-fill",
            Self::DropInterrupts => "drop-interrupts",
            Self::DelayInterrupts => "delay-interrupts",
            Self::WithholdAcknowledge => "withhold-acknowledge",
            Self::PspSilent => "psp-silent",
            Self::PspFail => "psp-fail",
            Self::SmuSilent => "smu-silent",
            Self::SmuFail => "smu-fail",
            Self::ResetFail => "reset-fail",
            Self::QueueResetFail => "queue-reset-fail",
            Self::HostSilent => "host-silent",
            Self::HostRefuses => "host-refuses",
            Self::HostGivesUp => "host-gives-up",
            Self::HostLate => "host-late",
            Self::CorruptPf2Vf => "corrupt-pf2vf",
            Self::OffBus => "off-bus",
            Self::VmFault => "vm-fault",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When an engine hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HangWhen {
    /// At once.
    Now,
    /// In front of a packet.
    Packet,
    /// In front of a command buffer.
    CommandBuffer,
    /// In the middle of a page-table update: the first half of its entries is written.
    PageTableUpdate,
}

/// What of an interrupt is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptPart {
    /// Its entry: the ring never has it, and no message is sent for it.
    Entry,
    /// The message: the entry is in the ring, and nobody is told.
    Message,
}

/// An access to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Of reading.
    Read,
    /// Of writing; atomic accesses are.
    Write,
}

/// How a reset goes wrong, in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResetFailure {
    /// The ASIC does not come back.
    Never,
    /// It comes back late.
    Late,
    /// Nothing is reset, and everything looks as if it had been.
    Lies,
}

/// An address, or bits: a number, or text in hexadecimal with "0x" in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bits(pub u64);

impl JsonSchema for Bits {
    fn schema_name() -> Cow<'static, str> {
        "Bits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^0x[0-9a-fA-F]+$" },
        ] })
    }
}

/// When a fault happens, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Times {
    /// Opportunities that are let pass first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How often it happens then; until it is cleared if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The fields of a request for a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FaultRequest {
    /// See [`FaultKind::Slow`].
    Slow {
        /// Which engine.
        engine: EngineName,
        /// Microseconds.
        delay_us: u64,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::CorruptPte`].
    CorruptPte {
        /// Which bits; the valid bit if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        xor: Option<Bits>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::DropPte`].
    DropPte {
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::DropCopy`].
    DropCopy {
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::DropFill`].
    DropFill {
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::DropInterrupts`].
    DropInterrupts {
        /// What of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<InterruptPart>,
        /// Which source; all if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-names" = "interrupt-source"))]
        source: Option<u8>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::DelayInterrupts`].
    DelayInterrupts {
        /// Milliseconds.
        ms: u64,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::WithholdAcknowledge`].
    WithholdAcknowledge {
        /// On which hub; gfxhub if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        hub: Option<Hub>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::PspSilent`].
    PspSilent {
        /// To which command; to any, and at its mailboxes, if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<PspCommand>")]
        command: Option<&'static str>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::PspFail`].
    PspFail {
        /// Which command; any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<PspCommand>")]
        command: Option<&'static str>,
        /// The error; TEE_ERROR_GENERIC if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Bits>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::SmuSilent`].
    SmuSilent {
        /// To which message; to any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Bits>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::SmuFail`].
    SmuFail {
        /// Which message; any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Bits>,
        /// The error; SMU_RESP_CMD_FAIL if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Bits>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::ResetFail`].
    ResetFail {
        /// How.
        how: ResetFailure,
        /// Milliseconds, of a reset that is late.
        #[serde(skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::QueueResetFail`].
    QueueResetFail {
        /// Of which engine; of any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<EngineName>,
    },
    /// See [`FaultKind::HostSilent`].
    HostSilent {
        /// About which message; about any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<GuestRequest>")]
        message: Option<&'static str>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::HostRefuses`].
    HostRefuses {
        /// Which message; any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<GuestRequest>")]
        message: Option<&'static str>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::HostGivesUp`].
    HostGivesUp {
        /// After which message; after any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<GuestRequest>")]
        message: Option<&'static str>,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::HostLate`].
    HostLate {
        /// At which message; at any if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<GuestRequest>")]
        message: Option<&'static str>,
        /// Milliseconds.
        ms: u64,
        /// When.
        #[serde(flatten)]
        times: Times,
    },
    /// See [`FaultKind::CorruptPf2Vf`].
    #[serde(rename = "corrupt-pf2vf")]
    CorruptPf2Vf {},
    /// See [`FaultKind::OffBus`].
    OffBus {},
    /// See [`FaultKind::VmFault`].
    VmFault {
        /// In which context, 0 to 15.
        vmid: u8,
        /// At which address.
        va: Bits,
        /// Which; read if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        access: Option<Access>,
    },
}
