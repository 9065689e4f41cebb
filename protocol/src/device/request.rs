//! What can be asked at the control socket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::EngineName;
use super::fault::{FaultRequest, HangWhen};
use super::loss::{LossMode, When};

/// A request with its fields, but for `v` and `id`, which every one may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Counters of every block since the daemon started.
    Stats {},
    /// What every engine does at this moment.
    State {},
    /// What happened.
    Events {
        /// Go on with those that happen from now on, one a line.
        #[serde(skip_serializing_if = "Option::is_none")]
        follow: Option<bool>,
        /// The first of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// How many at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// A walk of page tables.
    PageTables {
        /// Of one context, 0 to 15; of all that are live if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        vmid: Option<u8>,
    },
    /// Registers that the guest touched and that are not modelled, most frequent first.
    Unmodelled {},
    /// Contents of VRAM are lost.
    DropVram {
        /// How.
        mode: LossMode,
        /// First byte; 0 if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        /// Bytes; to the end if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
        /// When; at once if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        when: Option<When>,
    },
    /// What page tables map is kept, or compared with what was kept.
    Oracle {
        /// Which of the two.
        action: OracleAction,
    },
    /// An engine stands still.
    Hang {
        /// Which.
        engine: EngineName,
        /// When; at once if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        when: Option<HangWhen>,
        /// Which packet, command buffer or update; the first if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// Something goes wrong.
    Fault(FaultRequest),
    /// The faults that are armed.
    Faults {},
    /// Faults are disarmed.
    Clear {
        /// Which; all if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    /// The host resets a virtual function.
    Flr {
        /// What becomes of VRAM.
        vram: FlrVram,
        /// What the host says of it; the truth if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        claim: Option<FlrVram>,
        /// When; now if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        when: Option<FlrWhen>,
        /// Milliseconds that the host waits for the guest to be ready; for ever if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        patience_ms: Option<u64>,
    },
}

/// What is done with a look at page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OracleAction {
    /// It is kept, to be compared with later.
    Snapshot,
    /// It is compared with what was kept.
    Compare,
}

/// What becomes of VRAM in a reset of a virtual function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlrVram {
    /// It is lost.
    Lost,
    /// It is kept.
    Kept,
}

/// When the host resets a virtual function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlrWhen {
    /// The guest is told now, and says when.
    Now,
    /// When the guest asks for a reset.
    Asked,
}

/// The answer to `hang` and `fault`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Armed {
    /// Number of the fault.
    pub id: u64,
}

/// The answer to `clear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cleared {
    /// How many faults there were.
    pub cleared: usize,
}
