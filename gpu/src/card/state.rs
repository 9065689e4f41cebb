//! What the GPU does at this moment, for somebody who looks for a hang: who is busy, who waits for what, and since when.

use std::time::Duration;

use gart::{HubId, Vmid};
use protocol::engine::Hub;
use protocol::state::{ContextState, Doing, IndirectState, QueueReport, SdmaState, State};
use sdma_engine::Wait;

use super::engines::SdmaSlot;
use super::gpu::Gpu;
use super::turn::Turn;
use crate::event::{EngineName, Hex, engine_of_queue};
use crate::memory::CardMemory;
use cp_engine::{HaltReason, QueueState};

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl<M: CardMemory> Gpu<M> {
    /// What the GPU does at this moment. Changes nothing.
    pub fn state(&self) -> State {
        let summary = self.observers.journal.summary();
        State {
            us: micros(self.now),
            generation: self.observers.journal.generation(),
            next_event: self.observers.journal.next_seq(),
            in_reset: [&summary.last_reset, &summary.last_engine_reset]
                .into_iter()
                .flatten()
                .any(|reset| reset.ended_us.is_none()),
            reset_pending: self.power.pending,
            losing: self.losses.is_under_way(),
            last_reset: summary.last_reset.clone(),
            last_engine_reset: summary.last_engine_reset.clone(),
            last_loss: summary.last_loss.clone(),
            engines: self
                .engines
                .sdma
                .iter()
                .enumerate()
                .filter_map(|(index, slot)| self.sdma_state(index, slot))
                .collect(),
            queues: self.queue_reports(),
            contexts: self.live_contexts(),
            interrupts: self.fabric.blocks.ih.state(),
            faults: self.armed_faults(),
            sriov: self.sriov_state(),
        }
    }

    fn sdma_state(&self, index: usize, slot: &SdmaSlot) -> Option<SdmaState> {
        let config = self.fabric.blocks.sdma.get(index)?.queue_config();
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
        let config = self.fabric.blocks.gfx.cp_config();
        let report = |view: cp_engine::QueueView| {
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
                engine: engine_of_queue(view.queue, config.kiq),
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
        self.engines.cp.queues().map(report).collect()
    }

    fn live_contexts(&self) -> Vec<ContextState> {
        let hubs = [
            (HubId::Gfx, Hub::Gfxhub, &self.fabric.blocks.gfxhub),
            (HubId::Mm, Hub::Mmhub, &self.fabric.blocks.mmhub),
        ];
        let live = |(id, name, hub): (HubId, Hub, &gart::Hub), vmid: Vmid| {
            let context = hub.context(vmid)?;
            (context.enabled && context.root.valid()).then(|| ContextState {
                hub: name,
                vmid: vmid.get(),
                root: context.root.location(hub.space().apertures.fb_offset).to_string(),
                pasid: self.fabric.blocks.ih.pasid(vmid, id == HubId::Mm),
            })
        };
        hubs.into_iter()
            .flat_map(|hub| Vmid::all().filter_map(move |vmid| live(hub, vmid)))
            .collect()
    }
}
