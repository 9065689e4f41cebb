//! What register writes asked for, carried out in order once the write is done; interrupts and faults.

use std::time::Duration;

use gart::{Access, ClientId, FaultInterrupt, FaultSink, HubEffect, HubId, Vmid};
use sdma_engine::SdmaEffect;

use super::blocks::{Blocks, Effect};
use super::bus::mm_space;
use super::fabric::Fabric;
use super::gpu::Gpu;
use super::inject::InterruptVerdict;
use super::turn::Turn;
use crate::blocks::ih::{IhEffect, IvEntry};
use crate::blocks::psp::{PspEffect, PspRequest};
use crate::blocks::smu::SmuEffect;
use crate::event::{EngineName, Event, Hex, Hub, ResetKind};
use crate::limited::limited;
use crate::memory::CardMemory;
use cp_engine::{CpCommand, GfxEffect};

impl<M: CardMemory> Gpu<M> {
    /// Carries out what register writes asked for, until nothing is left. Bounded: effects of effects only ever kick an engine or
    /// raise an interrupt.
    pub(super) fn settle(&mut self) {
        while !self.fabric.effects.is_empty() {
            // Two buffers take turns, so that a doorbell costs no allocation.
            let mut effects = std::mem::take(&mut self.fabric.settled);
            std::mem::swap(&mut effects, &mut self.fabric.effects);
            for effect in effects.drain() {
                self.apply(effect);
            }
            self.fabric.settled = effects;
        }
        self.report_faults();
        self.note_faults();
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Ih(IhEffect::Interrupt) => self.interrupts.due = true,
            Effect::Hub(HubEffect::Invalidate { .. } | HubEffect::ContextSet { hub: HubId::Mm, .. }) => {}
            Effect::Hub(HubEffect::ContextSet {
                hub: HubId::Gfx,
                vmid,
                context,
            }) => self.context_set(vmid, context),
            // Engines are clients of the graphics hub.
            Effect::Hub(HubEffect::ContextDisabled {
                hub: HubId::Gfx,
                vmid: Vmid::KERNEL,
            }) => {
                self.drop_blocked_work();
            }
            Effect::Hub(HubEffect::ContextDisabled { .. }) => {}
            Effect::Psp(PspEffect::Kick) => self.run_psp(),
            Effect::Psp(PspEffect::Mode1Reset) => self.ask_for(ResetKind::Mode1Psp),
            Effect::Smu(SmuEffect::Mode1Reset) => self.ask_for(ResetKind::Mode1Smu),
            Effect::Smu(SmuEffect::Mode2Reset) => self.ask_for(ResetKind::Mode2),
            Effect::Smu(SmuEffect::EnterBaco) => self.ask_for(ResetKind::BacoEnter),
            Effect::Smu(SmuEffect::ExitBaco) => self.power.baco_exit_asked = true,
            Effect::Mailbox(effect) => self.apply_mailbox(effect),
            Effect::Gfx(effect) => self.apply_gfx(effect),
            Effect::Sdma(index, SdmaEffect::Kick | SdmaEffect::Stop) => {
                self.engines.kick_sdma(index);
            }
        }
    }

    fn apply_gfx(&mut self, effect: GfxEffect) {
        match effect {
            GfxEffect::Cp(command) => {
                if let CpCommand::SoftReset { graphics, compute } = command {
                    for (target, is_reset) in [("gfx", graphics), ("compute", compute)] {
                        if is_reset {
                            self.record_part_reset(ResetKind::SoftGfx, target.to_owned());
                        }
                    }
                }
                self.engines.cp.apply(command);
                self.engines.cp_turn = Turn::Now;
            }
            GfxEffect::Event(event) => self.cp_event(&event),
            GfxEffect::ResetSdma(mask) => {
                for index in (0..self.engines.sdma.len()).filter(|index| mask >> index & 1 != 0) {
                    if !self.fabric.inject.soft_reset_fails(EngineName::Sdma(index)) {
                        self.reset_sdma(index);
                    }
                }
            }
            GfxEffect::Rlcg(request) => self.access_through_rlcg(&request),
        }
    }

    /// Context 0 is gone: what waits for memory through it would wait for ever, or walk a table that is no longer one.
    fn drop_blocked_work(&mut self) {
        for queue in self.engines.cp.context_disabled(Vmid::KERNEL) {
            self.queue_halted(queue, "blocked when context 0 was disabled");
        }
        for (slot, registers) in self.engines.sdma.iter_mut().zip(&mut self.fabric.blocks.sdma) {
            if matches!(slot.turn, Turn::At(_)) {
                slot.stop();
                registers.publish(slot.engine.status());
            }
        }
    }

    /// A virtual function resets nothing but itself: it is not heard by those who reset the part.
    pub(super) fn ask_for(&mut self, kind: ResetKind) {
        if self.host.is_some() && kind != ResetKind::VfFlr {
            limited!(Warn, target: "amdgpu::sriov", "guest error: a virtual function asks for a reset of the part: {kind:?}");
            return;
        }
        self.power.ask_for(kind);
    }

    fn run_psp(&mut self) {
        let Fabric {
            blocks: Blocks { psp, mmhub, .. },
            memory,
            faults,
            inject,
            ..
        } = &mut self.fabric;
        let mut memory = mm_space(mmhub, memory, ClientId::MP0, faults);
        let requests = psp.process(&mut memory, |command| inject.psp_command(command));
        for request in requests {
            match request {
                PspRequest::RlcRunning => self.fabric.blocks.gfx.set_bootload_complete(),
                PspRequest::ProgramRegister { register, value } => self.fabric.write(register, value),
            }
        }
    }

    /// An interrupt, unless a fault decides otherwise.
    pub(super) fn raise(&mut self, entry: &IvEntry) {
        match self.fabric.inject.interrupt(entry) {
            InterruptVerdict::Proceed => self.raise_now(entry, true),
            InterruptVerdict::WithoutMessage => self.raise_now(entry, false),
            InterruptVerdict::Lost => {}
            InterruptVerdict::Late(delay) => {
                if !self.put_off(entry, delay) {
                    self.raise_now(entry, true);
                }
            }
        }
    }

    /// Puts an entry into the interrupt ring, and asks for the message if one is sent.
    pub(super) fn raise_now(&mut self, entry: &IvEntry, message: bool) {
        // A ring that does not translate cannot report that it does not: its own faults go nowhere but into its counters.
        let mut unreported = FaultSink::default();
        let clock = self.fabric.clock();
        // The handler itself looks up whose address space a VMID is at the moment.
        let pasid = self.fabric.blocks.ih.pasid(entry.vmid, entry.mm_hub);
        let entry = IvEntry { pasid, ..*entry };
        self.observers.journal.record(Event::Interrupt {
            client: entry.client,
            source: entry.source,
            ring: entry.ring,
            vmid: entry.vmid.get(),
        });
        let Fabric {
            blocks: Blocks { ih, mmhub, .. },
            memory,
            ..
        } = &mut self.fabric;
        let mut space = mm_space(mmhub, memory, ClientId::OSS, &mut unreported);
        self.interrupts.due |= ih.raise(&entry, clock, &mut space) && message;
    }

    /// Puts an interrupt off, if there is room for it.
    fn put_off(&mut self, entry: &IvEntry, delay: Duration) -> bool {
        self.interrupts
            .late
            .put_off(self.now.saturating_add(delay), entry)
    }

    /// Raises late interrupts whose time has come.
    pub(super) fn raise_late(&mut self) {
        for entry in self.interrupts.late.due(self.now) {
            self.raise_now(&entry, true);
        }
    }

    fn report_faults(&mut self) {
        for fault in self.fabric.faults.take() {
            log::debug!(
                target: "amdgpu::gart",
                "{:?} fault: VMID {} {:?} at {}", fault.hub, fault.vmid, fault.access, fault.va
            );
            let poisoned = self.meets_poison(fault.hub, fault.vmid, fault.va);
            self.observers.journal.record(Event::VmFault {
                hub: match fault.hub {
                    HubId::Gfx => Hub::Gfxhub,
                    HubId::Mm => Hub::Mmhub,
                },
                vmid: fault.vmid.get(),
                va: Hex(fault.va.get()),
                access: match fault.access {
                    Access::Read => protocol::fault::Access::Read,
                    Access::Write => protocol::fault::Access::Write,
                },
                client: fault.status.cid(),
                poisoned,
            });
            self.raise(&IvEntry {
                client: fault.client_id(),
                source: FaultInterrupt::SOURCE_ID,
                ring: fault.ring_id(),
                vmid: fault.vmid,
                mm_hub: fault.vmid_src(),
                data: fault.source_data(),
                ..IvEntry::default()
            });
        }
    }
}
