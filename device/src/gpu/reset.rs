//! Resets, and what is there after power-on.

use gart::{Location, PhysicalMemory, VramOffset};
use sdma_engine::InvalidateRegisters;

use super::Gpu;
use super::engines::Turn;
use super::loss::{Loss, LossMode};
use crate::asic::AsicProfile;
use crate::event::{Event, LossCause, ResetKind};
use crate::images::discovery;
use crate::limited::limited;

/// Resets so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ResetCounts {
    /// MODE1, through the SMU or the PSP.
    pub mode1: u64,
    /// MODE2.
    pub mode2: u64,
    /// From the bus: function level reset, DEVICE_RESET.
    pub function: u64,
}

impl Gpu {
    /// As after power-on: a function level reset, or a reset from the bus. The contents of VRAM stay, unless a loss was asked for.
    pub fn reset(&mut self, kind: ResetKind) {
        self.resets.function += 1;
        self.begin_reset(kind);
        self.begin_reset_loss(kind, LossMode::Keep);
        self.cold(kind);
    }

    /// The machine around the card has been switched off: nothing of what its guest left in VRAM is there for the next one.
    pub fn power_off(&mut self) {
        self.next_loss = None;
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
                self.resets.mode2 += 1;
                self.begin_reset(kind);
                self.fabric.reset_graphics();
                self.stop_engines();
                self.end_reset(kind);
            }
            _ => {
                self.resets.mode1 += 1;
                self.begin_reset(kind);
                self.begin_reset_loss(kind, LossMode::Poison);
                self.cold(kind);
            }
        }
    }

    fn begin_reset(&mut self, kind: ResetKind) {
        self.journal.begin_generation();
        self.journal.record(Event::ResetBegin { kind, target: None });
    }

    pub(super) fn end_reset(&mut self, kind: ResetKind) {
        self.journal.record(Event::ResetEnd { kind, target: None });
    }

    fn cold(&mut self, kind: ResetKind) {
        self.fabric.reset();
        self.stop_engines();
        self.interrupt = false;
        self.pending_reset = None;
        if self.losing.is_none() {
            self.boot();
            self.end_reset(kind);
        } else {
            self.fabric.set_in_reset(true);
        }
    }

    /// Nothing of what ran before touches memory after this.
    fn stop_engines(&mut self) {
        for slot in &mut self.sdma {
            slot.stop();
        }
        self.cp.reset();
        self.cp_turn = Turn::None;
        self.cp_waits_since = None;
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
    }
}

/// Where the engines find the graphics hub's invalidation registers, for their VM_INVALIDATION packet.
pub(super) const fn invalidate_registers(asic: &AsicProfile) -> InvalidateRegisters {
    InvalidateRegisters {
        gfx_req: asic.gfxhub.l2(gart::registers::INVALIDATE_REQ),
        gfx_ack: asic.gfxhub.l2(gart::registers::INVALIDATE_ACK),
        stride: 4,
    }
}
