//! Resets, and what is there after power-on.

use gart::{Location, VramOffset};

use super::blocks::Scope;
use super::gpu::Gpu;
use super::losing::{Loss, LossMode};
use super::power::Baco;
use super::turn::Turn;
use crate::event::{Event, LossCause, ResetKind};
use crate::images::discovery;
use crate::limited::limited;
use crate::memory::CardMemory;

impl<M: CardMemory> Gpu<M> {
    /// As after power-on: a function level reset, or a reset from the bus. The contents of VRAM stay, unless a loss was asked for.
    pub fn reset(&mut self, kind: ResetKind) {
        if !self.reset_goes_wrong(kind) {
            self.reset_now(kind);
        }
    }

    pub(super) fn reset_now(&mut self, kind: ResetKind) {
        self.power.resets.function += 1;
        self.forget_guest();
        match kind {
            ResetKind::Bus => self.power.resets.bus += 1,
            ResetKind::D3hot => self.power.resets.d3hot += 1,
            _ => {}
        }
        self.begin_reset(kind);
        self.begin_reset_loss(Some(kind), LossMode::Keep);
        self.cold(kind);
    }

    /// The machine around the card has been switched off: nothing of what its guest left in VRAM is there for the next one.
    pub fn power_off(&mut self) {
        self.losses.next = None;
        self.forget_guest();
        self.reset_goes_wrong(ResetKind::PowerOff);
        self.begin_reset(ResetKind::PowerOff);
        self.finish_loss();
        self.begin_loss(Loss::whole(LossMode::Zero), LossCause::PowerOff, None);
        // Nobody waits for an answer meanwhile.
        self.finish_loss();
        self.cold(ResetKind::PowerOff);
    }

    /// Carries out a reset that a register write asked for. Not inside that write: its reply must not wait for it.
    pub(super) fn carry_out(&mut self, kind: ResetKind) {
        limited!(Info, target: "amdgpu::reset", "{kind:?} reset");
        match kind {
            ResetKind::Mode2 => {
                self.power.resets.mode2 += 1;
                self.begin_reset(kind);
                self.fabric.reset(Scope::Graphics);
                self.stop_engines();
                self.end_reset(kind);
            }
            ResetKind::BacoEnter => self.enter_baco(),
            ResetKind::VfFlr => {
                self.power.resets.vf += 1;
                self.begin_reset(kind);
                self.begin_reset_loss(Some(kind), self.flr_loss());
                self.cold(kind);
            }
            _ => {
                self.power.resets.mode1 += 1;
                self.power.resets.mode1_psp += u64::from(kind == ResetKind::Mode1Psp);
                self.begin_reset(kind);
                self.begin_reset_loss(Some(kind), LossMode::Poison);
                self.cold(kind);
            }
        }
    }

    /// Bus active, chip off. The bus interface keeps its registers and the SMU's mailbox answers; everything else stands as after
    /// power-on, and does not answer. VRAM is without power too.
    fn enter_baco(&mut self) {
        match self.power.baco {
            Baco::Out => {}
            Baco::In => return,
            Baco::Leaving => self.finish_loss(),
        }
        self.power.resets.baco += 1;
        self.begin_reset(ResetKind::BacoEnter);
        self.begin_reset_loss(None, LossMode::Poison);
        self.fabric.power_chip_off();
        self.stop_everything();
        self.power.baco = Baco::In;
        self.end_reset(ResetKind::BacoEnter);
    }

    /// The SMU answers when the part is up, which it is when nothing of its former contents is left.
    pub(super) fn leave_baco(&mut self) {
        match self.power.baco {
            Baco::In => {}
            // Nothing to do, and that is done.
            Baco::Out => return self.fabric.blocks.smu.finish(),
            Baco::Leaving => return,
        }
        self.begin_reset(ResetKind::BacoExit);
        self.power.baco = Baco::Leaving;
        if self.losses.current.is_none() {
            self.end_baco();
        }
    }

    /// The end of the way out of BACO.
    pub(super) fn end_baco(&mut self) {
        if self.power.baco == Baco::Leaving {
            self.power.baco = Baco::Out;
            self.fabric.power_chip_on();
            self.boot();
            self.fabric.blocks.smu.finish();
            self.end_reset(ResetKind::BacoExit);
        }
    }

    /// One SDMA engine, by its bit in GRBM_SOFT_RESET. A driver that resets the engine's queue only (7.3 `sdma_v5_2_reset_queue`) has
    /// frozen it before.
    pub(super) fn reset_sdma(&mut self, index: usize) {
        let Some(registers) = self.fabric.blocks.sdma.get_mut(index) else {
            return;
        };
        let kind = if registers.queue_config().frozen {
            ResetKind::Queue
        } else {
            ResetKind::SoftSdma
        };
        registers.soft_reset();
        if let Some(slot) = self.engines.sdma.get_mut(index) {
            slot.stop();
            // One step, so that its registers show that it stands still.
            slot.turn = Turn::Now;
        }
        self.record_part_reset(kind, format!("sdma{index}"));
    }

    /// Takes down a reset of an engine or a queue, which is over as soon as it begins.
    pub(super) fn record_part_reset(&mut self, kind: ResetKind, target: String) {
        if kind == ResetKind::Queue {
            self.power.resets.queue += 1;
        } else {
            self.power.resets.soft += 1;
        }
        self.observers.journal.record(Event::ResetBegin {
            kind,
            target: Some(target.clone()),
        });
        self.observers.journal.record(Event::ResetEnd {
            kind,
            target: Some(target),
        });
    }

    /// Stops the engines for as long as the function is in D3hot; they go on where they stood. If the driver has armed BACO for
    /// D3hot (`smu_v11_0_baco_set_armd3_sequence`), the chip loses its power instead, until D0.
    pub fn set_asleep(&mut self, asleep: bool) {
        if std::mem::replace(&mut self.power.asleep, asleep) == asleep || !self.fabric.blocks.smu.baco_in_d3()
        {
            return;
        }
        if asleep {
            self.enter_baco();
        } else if self.power.baco == Baco::In {
            self.leave_baco();
        }
    }

    fn begin_reset(&mut self, kind: ResetKind) {
        self.begin_generation();
        self.observers
            .journal
            .record(Event::ResetBegin { kind, target: None });
    }

    pub(super) fn end_reset(&mut self, kind: ResetKind) {
        self.observers
            .journal
            .record(Event::ResetEnd { kind, target: None });
        self.flr_done(kind);
    }

    fn cold(&mut self, kind: ResetKind) {
        self.fabric.reset(match kind {
            ResetKind::VfFlr => Scope::Function,
            _ => Scope::Whole,
        });
        self.power.baco = Baco::Out;
        self.stop_everything();
        if self.losses.current.is_none() {
            self.boot();
            self.end_reset(kind);
        } else {
            self.fabric.set_in_reset(true);
        }
    }

    /// The engines, and whatever was asked for and not yet done.
    fn stop_everything(&mut self) {
        self.stop_engines();
        self.interrupts.due = false;
        self.power.forget_asked();
    }

    /// Nothing of what ran before touches memory after this.
    fn stop_engines(&mut self) {
        self.engines.stop();
        self.interrupts.late.forget();
    }

    /// What the board's firmware does before any driver: it leaves the discovery binary at the top of VRAM.
    pub(super) fn boot(&mut self) {
        self.fabric.set_in_reset(false);
        let binary = discovery::build(self.config.asic, self.config.sdma_instances);
        let memory = &self.fabric.memory;
        let at = memory.vram_size().saturating_sub(discovery::OFFSET_FROM_TOP);
        if let Err(error) = memory.write(Location::Vram(VramOffset::new(at)), &binary) {
            log::error!(target: "amdgpu::boot", "no room for the discovery binary: {error}");
        }
        self.publish();
    }
}
