//! The engines, and when each of them wants its next turn.

use std::time::Duration;

use cp_engine::CommandProcessor;
use sdma_engine::{Engine, InvalidateRegisters, Wait};

use super::config::GpuConfig;
use super::turn::Turn;
use crate::asic::{AsicProfile, SdmaInstance};

#[derive(Debug)]
pub(super) struct SdmaSlot {
    pub(super) instance: &'static SdmaInstance,
    pub(super) engine: Engine,
    pub(super) turn: Turn,
    /// What it waits for, if it does.
    pub(super) wait: Option<Wait>,
    /// Start of the wait that was told last.
    pub(super) told: Option<Duration>,
    /// Start of the wait that was logged last.
    pub(super) logged: Option<Duration>,
}

impl SdmaSlot {
    /// Drops the work in flight.
    pub(super) fn stop(&mut self) {
        self.engine.reset();
        self.turn = Turn::None;
        self.wait = None;
    }
}

/// All engines.
#[derive(Debug)]
pub(super) struct Engines {
    pub(super) sdma: Vec<SdmaSlot>,
    pub(super) cp: CommandProcessor,
    pub(super) cp_turn: Turn,
    pub(super) cp_waits_since: Option<Duration>,
}

impl Engines {
    /// After power-on, as many as were asked for.
    pub(super) fn new(config: &GpuConfig) -> Self {
        let sdma = config
            .asic
            .sdma
            .iter()
            .take(config.sdma_instances)
            .map(|instance| SdmaSlot {
                instance,
                engine: Engine::new(invalidate_registers(config.asic)),
                turn: Turn::None,
                wait: None,
                told: None,
                logged: None,
            })
            .collect();
        Self {
            sdma,
            cp: CommandProcessor::new(),
            cp_turn: Turn::None,
            cp_waits_since: None,
        }
    }

    /// Drops all work in flight.
    pub(super) fn stop(&mut self) {
        let Self {
            sdma,
            cp,
            cp_turn,
            cp_waits_since,
        } = self;
        for slot in sdma {
            slot.stop();
        }
        cp.reset();
        *cp_turn = Turn::None;
        *cp_waits_since = None;
    }

    /// When each of them wants its next turn.
    pub(super) fn turns(&self) -> impl Iterator<Item = Turn> + '_ {
        self.sdma.iter().map(|slot| slot.turn).chain([self.cp_turn])
    }

    /// One of the SDMA engines wants its turn at once.
    pub(super) fn kick_sdma(&mut self, index: usize) {
        if let Some(slot) = self.sdma.get_mut(index) {
            slot.turn = Turn::Now;
        }
    }
}

/// Where the engines find the graphics hub's invalidation registers, for their VM_INVALIDATION packet.
const fn invalidate_registers(asic: &AsicProfile) -> InvalidateRegisters {
    InvalidateRegisters {
        gfx_req: asic.gfxhub.l2(gart::registers::INVALIDATE_REQ),
        gfx_ack: asic.gfxhub.l2(gart::registers::INVALIDATE_ACK),
        stride: 4,
    }
}
