//! What the GPU does at this moment, for somebody who looks for a hang: who is busy, who waits for what, and since when.

use std::time::Duration;

use gart::{HubId, Vmid};
use sdma_engine::Wait;
use serde::Serialize;

use super::engines::{SdmaSlot, Turn};
use super::{ArmedView, Gpu, SriovState};
use crate::event::{EngineName, Hex, LossSummary, ResetKind, ResetSummary};
use crate::gfx::{HaltReason, QueueState};
use crate::ih::IhState;

/// What an engine does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
pub struct ContextState {
    /// `gfxhub` or `mmhub`.
    pub hub: &'static str,
    /// Which.
    pub vmid: u8,
    /// Where the root table is.
    pub root: String,
    /// The process address space that the driver has entered for it.
    pub pasid: u16,
}

/// What the GPU does at this moment.
#[derive(Debug, Clone, Serialize)]
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Gpu {
    /// What the GPU does at this moment. Changes nothing.
    pub fn state(&self) -> State {
        let summary = self.journal.summary();
        State {
            us: micros(self.now),
            generation: self.journal.generation(),
            next_event: self.journal.next_seq(),
            in_reset: [&summary.last_reset, &summary.last_engine_reset]
                .into_iter()
                .flatten()
                .any(|reset| reset.ended_us.is_none()),
            reset_pending: self.pending_reset,
            losing: self.losing.is_some(),
            last_reset: summary.last_reset.clone(),
            last_engine_reset: summary.last_engine_reset.clone(),
            last_loss: summary.last_loss.clone(),
            engines: self
                .sdma
                .iter()
                .enumerate()
                .filter_map(|(index, slot)| self.sdma_state(index, slot))
                .collect(),
            queues: self.queue_reports(),
            contexts: self.live_contexts(),
            interrupts: self.fabric.ih.state(),
            faults: self.armed_faults(),
            sriov: self.sriov_state(),
        }
    }

    fn sdma_state(&self, index: usize, slot: &SdmaSlot) -> Option<SdmaState> {
        let config = self.fabric.sdma.get(index)?.queue_config();
        let status = slot.engine.status();
        let doing = match (status.halted, slot.wait) {
            (Some(reason), _) => Doing::Halted {
                reason: reason.to_string(),
            },
            _ if slot.engine.is_hung() => Doing::Hung,
            _ if !config.ring_enabled || config.halted => Doing::Off,
            _ if config.frozen => Doing::Frozen,
            (None, Some(wait)) if status.in_flight => self.waiting(&wait),
            _ if status.busy || slot.turn == Turn::Now => Doing::Busy,
            _ => Doing::Idle,
        };
        Some(SdmaState {
            engine: EngineName::Sdma(index),
            doing,
            ring: Hex(config.ring_base.get()),
            ring_bytes: config.ring_bytes,
            rptr: status.rptr,
            wptr: status.wptr.unwrap_or(config.wptr),
            packet: Hex(status.header.into()),
            vmid: status.vmid.get(),
            indirect: status.ib.map(|ib| IndirectState {
                vmid: ib.vmid.get(),
                at: Hex(ib.base.get()),
                bytes: u64::from(ib.dwords).saturating_mul(4),
                position: ib.position,
            }),
        })
    }

    fn waiting(&self, wait: &Wait) -> Doing {
        Doing::Waiting {
            waits_for: self.describe(&wait.target),
            since_us: micros(wait.since),
        }
    }

    fn queue_reports(&self) -> Vec<QueueReport> {
        let config = self.fabric.gfx.cp_config();
        let report = |view: crate::gfx::QueueView| {
            let pending = (view.wptr & 0xffff_ffff) as u32 & view.setup.mask != view.rptr;
            let doing = match view.state {
                QueueState::Halted(HaltReason::Hung) => Doing::Hung,
                QueueState::Halted(reason) => Doing::Halted {
                    reason: format!("{reason:?}"),
                },
                _ if config.halted(view.queue) => Doing::Off,
                QueueState::Waiting(wait) => Doing::Waiting {
                    waits_for: self.describe_poll(&wait),
                    // The reference clock has 100 ticks in a microsecond.
                    since_us: wait.since / 100,
                },
                // On command; it begins by itself when its time has come.
                QueueState::Delayed(_) => Doing::Busy,
                QueueState::Running if pending || !view.indirect.is_empty() => Doing::Busy,
                QueueState::Running => Doing::Idle,
            };
            QueueReport {
                engine: EngineName::of_queue(view.queue, config.kiq),
                queue: view.queue.to_string(),
                doing,
                vmid: view.setup.vmid.get(),
                ring: Hex(view.setup.base.get()),
                ring_dwords: u64::from(view.setup.mask) + 1,
                rptr: view.rptr,
                wptr: view.wptr,
                doorbell: view.setup.doorbell,
                indirect: view.indirect.iter().map(|vmid| vmid.get()).collect(),
            }
        };
        self.cp.queues().map(report).collect()
    }

    fn live_contexts(&self) -> Vec<ContextState> {
        let hubs = [
            (HubId::Gfx, "gfxhub", &self.fabric.gfxhub),
            (HubId::Mm, "mmhub", &self.fabric.mmhub),
        ];
        let live = |(id, name, hub): (HubId, &'static str, &gart::Hub), vmid: Vmid| {
            let context = hub.context(vmid)?;
            (context.enabled && context.root.valid()).then(|| ContextState {
                hub: name,
                vmid: vmid.get(),
                root: context.root.location(hub.space().apertures.fb_offset).to_string(),
                pasid: self.fabric.ih.pasid(vmid, id == HubId::Mm),
            })
        };
        hubs.into_iter()
            .flat_map(|hub| Vmid::all().filter_map(move |vmid| live(hub, vmid)))
            .collect()
    }
}
