//! What happened to the device: the records of the event log.

use schemars::JsonSchema;
use serde::Serialize;

use super::engine::{EngineName, Hex, Hub};
use super::fault::{Access, FaultKind};
use super::loss::LossMode;
use super::oracle::{By, Sums};
use super::words::{Asic, Message, Personality};

/// Usual name of the event log.
pub const LOG: &str = "events.jsonl";

/// One event with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Record {
    /// Counts from 0 without gaps.
    pub seq: u64,
    /// Microseconds since the daemon started.
    pub us: u64,
    /// How many resets that stop engines, and losses, came before: what was in VRAM or in flight earlier is of an older generation.
    pub generation: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The daemon began; the first record.
    Started {
        /// Microseconds since 1970, UTC: puts the other records on the host's clock.
        unix_us: u64,
        /// The part.
        #[schemars(with = "Asic")]
        asic: &'static str,
        /// What the function is to its driver: `bare-metal` or `vf`.
        #[schemars(with = "Personality")]
        personality: &'static str,
        /// Bytes of VRAM.
        vram_size: u64,
    },
    /// A front end came or went.
    FrontEnd {
        /// Whether it is there now.
        connected: bool,
    },
    /// A reset begins: what ran has been stopped.
    ResetBegin {
        /// Which.
        kind: ResetKind,
        /// The engine or queue, for a reset of only that.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// What was reset is as after power-on and answers again.
    ResetEnd {
        /// Which.
        kind: ResetKind,
        /// The engine or queue, for a reset of only that.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Contents of VRAM begin to be lost.
    LossBegin {
        /// How.
        mode: LossMode,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Why.
        cause: LossCause,
    },
    /// Everything that was to be lost is.
    LossEnd {
        /// How.
        mode: LossMode,
        /// Why.
        cause: LossCause,
        /// Bytes that had been populated and were lost.
        bytes: u64,
        /// Microseconds since its beginning.
        us_taken: u64,
    },
    /// A fault on command waits for its moment.
    FaultArmed {
        /// Its number.
        id: u64,
        /// Its kind.
        fault: FaultKind,
        /// Its engine, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<EngineName>,
        /// The rest of it in words.
        detail: String,
    },
    /// A fault on command has happened once.
    FaultFired {
        /// Its number.
        id: u64,
        /// Its kind.
        fault: FaultKind,
        /// Its engine, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<EngineName>,
        /// What it did.
        detail: String,
    },
    /// A fault on command will not happen again.
    FaultCleared {
        /// Its number.
        id: u64,
        /// Its kind.
        fault: FaultKind,
    },
    /// Page-table entries were written; several packets of one kind in a row are one record.
    PageTableUpdate {
        /// By which packets.
        kind: UpdateKind,
        /// Into what.
        target: UpdateTarget,
        /// Whose tables, if that is known.
        vmid: Option<u8>,
        /// Which level of table, if that is known.
        level: Option<TableLevel>,
        /// Packets.
        packets: u64,
        /// Entries.
        entries: u64,
    },
    /// An access that did not translate.
    VmFault {
        /// `gfxhub` or `mmhub`.
        hub: Hub,
        /// Its context.
        vmid: u8,
        /// Its address.
        va: Hex,
        /// `read` or `write`.
        access: Access,
        /// The client on the hub.
        client: u16,
        /// The walk met the poison of a loss.
        poisoned: bool,
    },
    /// A fence was written.
    Fence {
        /// By whom.
        engine: EngineName,
        /// Where, in the context that the packet is of.
        at: Hex,
        /// The value.
        value: u64,
    },
    /// An entry went into the interrupt ring.
    Interrupt {
        /// Who.
        #[schemars(extend("x-names" = "interrupt-client"))]
        client: u8,
        /// Why.
        #[schemars(extend("x-names" = "interrupt-source"))]
        source: u8,
        /// Ring id.
        ring: u8,
        /// Context.
        vmid: u8,
    },
    /// A packet stopped an engine.
    EngineHalted {
        /// Which.
        engine: EngineName,
        /// Why.
        reason: String,
    },
    /// Guest and host of a virtual function say something to each other.
    Mailbox {
        /// Who.
        from: Side,
        /// What, by its name in `mxgpu_nv.h` without the prefix.
        #[schemars(with = "Message")]
        message: &'static str,
        /// The dwords that it consists of.
        data: [u32; 4],
        /// What has become of it, if not what was to be expected.
        #[serde(skip_serializing_if = "Option::is_none")]
        fate: Option<Fate>,
    },
    /// What page tables map was compared with what they mapped before.
    Oracle {
        /// How tables came back.
        by: By,
        /// Over the address spaces that are in use.
        in_use: Sums,
        /// Over all that are known.
        all: Sums,
        /// Since when the spaces in use are whole again.
        whole_us: Option<u64>,
    },
    /// The guest asked for something at its port.
    GuestRequest {
        /// What, as it wrote it.
        text: String,
        /// Why it got nothing, if it did not.
        #[serde(skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// The guest wrote a line into its port for traces.
    GuestTrace {
        /// The line.
        text: String,
        /// It was longer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// An engine has waited for long.
    EngineWaits {
        /// Which.
        engine: EngineName,
        /// For what.
        target: String,
    },
}

/// What is reset, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResetKind {
    /// Graphics and SDMA, by the SMU's mailbox.
    Mode2,
    /// BACO is left: the chip has power again, behind a bus interface that never lost it.
    BacoExit,
    /// BACO is entered: the chip loses its power, the bus interface stays.
    BacoEnter,
    /// Everything but the PCI function, by the SMU's mailbox.
    Mode1Smu,
    /// The same by the PSP's mailbox.
    Mode1Psp,
    /// A virtual function, by its host: everything of it but its configuration space.
    VfFlr,
    /// The function's own: configuration space, Device Control bit 15.
    FunctionLevel,
    /// From the bus: DEVICE_RESET.
    Bus,
    /// The way back from D3hot, on a board without No_Soft_Reset.
    D3hot,
    /// The machine around the card was switched off.
    PowerOff,
    /// An SDMA engine, by GRBM_SOFT_RESET. A driver pulses it at each start of the engine, too.
    SoftSdma,
    /// All graphics or all compute queues, by GRBM_SOFT_RESET.
    SoftGfx,
    /// One queue with what it had in flight: by CP_VMID_RESET or CP_HQD_DEQUEUE_REQUEST, by an UNMAP_QUEUES of kind RESET that found
    /// work, or, of an SDMA engine, by GRBM_SOFT_RESET while it was frozen. No new generation begins: everything else goes on.
    Queue,
}

/// An end of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The driver of a virtual function.
    Guest,
    /// Who lends it.
    Host,
}

/// Why contents of VRAM are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossCause {
    /// Somebody asked for it.
    Control,
    /// A reset.
    Reset,
    /// The machine was switched off.
    PowerOff,
}

/// Which packets wrote page-table entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateKind {
    /// PTEPDE.
    SetPtePde,
    /// WRITE_LINEAR.
    Write,
    /// COPY_LINEAR out of the packet's own indirect buffer.
    Copy,
    /// COPY_LINEAR of a table's shadow in system memory.
    ShadowCopy,
}

/// Where page-table entries went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateTarget {
    /// Tables in VRAM.
    Vram,
    /// The table of context 0.
    Gart,
    /// System memory.
    System,
    /// Nowhere: the address does not translate.
    Faulted,
}

/// A level of page tables, as the driver names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum TableLevel {
    /// The root.
    #[serde(rename = "PDB2")]
    Pdb2,
    /// Below it.
    #[serde(rename = "PDB1")]
    Pdb1,
    /// Above the last.
    #[serde(rename = "PDB0")]
    Pdb0,
    /// The last.
    #[serde(rename = "PTB")]
    Ptb,
}

/// What has become of a message in a mailbox, by a fault on command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Fate {
    /// Nothing was done about it, and nothing said.
    #[serde(rename = "not answered")]
    NotAnswered,
    /// Nothing was done about it, and the guest was told so.
    #[serde(rename = "refused")]
    Refused,
    /// The guest was told that its function cannot be recovered.
    #[serde(rename = "given up")]
    GivenUp,
    /// It was looked at late.
    #[serde(rename = "late")]
    Late,
}
