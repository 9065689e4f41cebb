//! The answer to `state`: what everybody does at this moment.

use schemars::JsonSchema;
use serde::Serialize;

use super::engine::{EngineName, Hex, Hub};
use super::event::{LossCause, ResetKind};
use super::fault::FaultKind;
use super::loss::LossMode;
use super::words::PowerState;

/// What an engine does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "doing", rename_all = "kebab-case")]
pub enum Doing {
    /// It is not enabled, or the driver has halted it.
    Off,
    /// It stands still until the driver lets it go on: FREEZE.
    Frozen,
    /// It has nothing to do.
    Idle,
    /// It executes.
    Busy,
    /// It looks at something again and again.
    Waiting {
        /// At what.
        waits_for: String,
        /// When that began, in microseconds since the daemon started.
        since_us: u64,
    },
    /// It stands still, and no packet has stopped it: a hang, on command. Only a reset helps.
    Hung,
    /// It has stopped until it is reset.
    Halted {
        /// Why.
        reason: String,
    },
}

/// One SDMA engine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SdmaState {
    /// Its name.
    pub engine: EngineName,
    /// What it does.
    #[serde(flatten)]
    pub doing: Doing,
    /// Address of the ring.
    pub ring: Hex,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Read pointer in bytes.
    pub rptr: u64,
    /// Write pointer in bytes.
    pub wptr: u64,
    /// Header of the latest packet.
    pub packet: Hex,
    /// Context of the latest packet.
    pub vmid: u8,
    /// The indirect buffer that it is in.
    pub indirect: Option<IndirectState>,
}

/// Where an engine is in an indirect buffer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IndirectState {
    /// Context of the buffer.
    pub vmid: u8,
    /// Its address.
    pub at: Hex,
    /// Its length in bytes.
    pub bytes: u64,
    /// The packet that is being executed, in bytes from the beginning.
    pub position: u64,
}

/// One queue of the command processor.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QueueReport {
    /// What its engine is called.
    pub engine: EngineName,
    /// Micro engine, pipe and queue.
    pub queue: String,
    /// What it does.
    #[serde(flatten)]
    pub doing: Doing,
    /// Context of the ring.
    pub vmid: u8,
    /// Address of the ring.
    pub ring: Hex,
    /// Dwords of the ring.
    pub ring_dwords: u64,
    /// Read pointer in dwords.
    pub rptr: u32,
    /// Write pointer in dwords.
    pub wptr: u64,
    /// Doorbell, in dwords.
    pub doorbell: Option<u32>,
    /// Contexts of the indirect buffers that it is in, outermost first.
    pub indirect: Vec<u8>,
}

/// A context that is enabled and has a root.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ContextState {
    /// `gfxhub` or `mmhub`.
    pub hub: Hub,
    /// Which.
    pub vmid: u8,
    /// Where the root table is.
    pub root: String,
    /// The process address space that the driver has entered for it.
    pub pasid: u16,
}

/// What the GPU does at this moment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct State {
    /// Microseconds since the daemon started.
    pub us: u64,
    /// Resets that stop engines, and losses, so far.
    pub generation: u64,
    /// The number that the next event will have.
    pub next_event: u64,
    /// A reset has begun and not ended.
    pub in_reset: bool,
    /// The reset that has been asked for and is about to begin.
    pub reset_pending: Option<ResetKind>,
    /// A loss is under way.
    pub losing: bool,
    /// The latest reset of more than one engine or queue.
    pub last_reset: Option<ResetSummary>,
    /// The latest reset of one engine or queue.
    pub last_engine_reset: Option<ResetSummary>,
    /// The latest loss.
    pub last_loss: Option<LossSummary>,
    /// SDMA engines. Those of the command processor are its queues.
    pub engines: Vec<SdmaState>,
    /// Queues of the command processor that are mapped.
    pub queues: Vec<QueueReport>,
    /// Contexts that are live.
    pub contexts: Vec<ContextState>,
    /// The interrupt handler.
    pub interrupts: IhState,
    /// Faults on command that wait for their moment.
    pub faults: Vec<ArmedView>,
    /// A virtual function and its host; none on bare metal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov: Option<SriovState>,
}

/// The ring at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IhState {
    /// Entries are taken.
    pub enabled: bool,
    /// Bytes of the ring.
    pub ring_bytes: u32,
    /// Read pointer in bytes.
    pub rptr: u32,
    /// Write pointer in bytes.
    pub wptr: u32,
    /// Entries that the driver has not read yet.
    pub pending: u32,
    /// The oldest entries were overwritten, and the driver has not said yet that it knows.
    pub overflow: bool,
    /// The next entry is an interrupt. Otherwise one is on its way, and the driver has to read first.
    pub armed: bool,
}

/// What a guest's driver tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Vf2Pf {
    /// Version of the area's form.
    pub version: u32,
    /// Version of the driver.
    pub driver_version: String,
    /// MiB of VRAM that are used.
    pub fb_usage_mib: u32,
    /// Of these, in the part that processors can reach.
    pub fb_visible_usage_mib: u32,
    /// MiB of VRAM.
    pub fb_size_mib: u32,
    /// The checksum is right: the driver has finished writing.
    pub valid: bool,
}

/// What the guest may do with the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nothing: no driver has asked for it.
    #[default]
    None,
    /// Everything: it has the function for itself.
    Full,
    /// Work through rings. Registers are the host's, but for a few.
    Runtime,
}

/// A reset of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Flr {
    /// What becomes of the function's part of VRAM.
    pub vram: LossMode,
    /// What the host says about it: HOST_FLR_VRAMLOST in its data.
    pub claims_lost: bool,
}

/// A virtual function at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SriovState {
    /// What the guest may do with the function.
    pub access: Access,
    /// A reset that the guest has been told of, or that the next question for one gets.
    pub announced: Option<Flr>,
    /// A reset of the function is under way.
    pub resetting: bool,
    /// What the host's data says: a reset loses VRAM.
    pub claims_lost: bool,
    /// The host's notice that is in the mailbox and not acknowledged, as it lies there.
    pub notice: Option<[u32; 4]>,
    /// What the guest's driver tells of itself.
    pub vf2pf: Option<Vf2Pf>,
}

/// An armed fault, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArmedView {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub fault: FaultKind,
    /// Its engine, if it concerns only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineName>,
    /// The rest of it in words.
    pub detail: String,
    /// Opportunities that it still lets pass.
    pub after: u64,
    /// How often it will still happen; null until it is cleared.
    pub left: Option<u64>,
    /// How often it has happened.
    pub fired: u64,
}

/// What the function does now, for somebody who looks for a hang.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FunctionState {
    /// A front end is connected.
    pub front_end: bool,
    /// The front end listens for the function's interrupt.
    pub msi_connected: bool,
    /// The guest lets the function reach its memory.
    pub bus_master: bool,
    /// The power state that the guest has put the function into.
    #[schemars(with = "PowerState")]
    pub power_state: &'static str,
    /// The GPU.
    #[serde(flatten)]
    pub gpu: State,
}

/// A reset, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResetSummary {
    /// Which.
    pub kind: ResetKind,
    /// The engine or queue, for a reset of only that.
    pub target: Option<String>,
    /// The generation that began with it.
    pub generation: u64,
    /// When it began, in microseconds since the daemon started.
    pub began_us: u64,
    /// When it ended, if it has.
    pub ended_us: Option<u64>,
}

/// A loss of VRAM's contents, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LossSummary {
    /// What became of the contents.
    pub mode: LossMode,
    /// Why.
    pub cause: LossCause,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// When it began, in microseconds since the daemon started.
    pub began_us: u64,
    /// When it ended, if it has.
    pub ended_us: Option<u64>,
    /// Populated bytes that were lost; 0 until it has ended.
    pub bytes: u64,
}

impl Flr {
    /// A reset of which the host says the truth.
    pub const fn honest(vram: LossMode) -> Self {
        Self {
            vram,
            claims_lost: !matches!(vram, LossMode::Keep),
        }
    }
}
