//! Before each packet the engines ask the faults on command, with what those want to know of it.

use cp_engine::{QueueAhead, QueueGate, QueueId, QueueVerdict};
use gart::{Access, Backing, GpuVa, Location, Translation, Vmid};
use sdma_engine::{Ahead, Gate, Packet, Verdict};

use super::bus::EngineBus;
use super::fabric::Fabric;
use super::inject::Facts;
use crate::event::EngineName;
use crate::memory::CardMemory;

impl<M: CardMemory> Fabric<M> {
    /// Where an access of VMID 0 through the graphics hub leads.
    fn place(&self, va: GpuVa, access: Access) -> Option<Location> {
        match self
            .blocks
            .gfxhub
            .translate(&self.memory, Vmid::KERNEL, va, access)
        {
            Ok(Translation {
                backing: Backing::Memory(location),
                ..
            }) => Some(location),
            Ok(_) | Err(_) => None,
        }
    }

    /// The facts of a packet. Where its first byte goes decides for all of them, as it does in the statistics.
    fn facts(&self, engine: EngineName, ahead: &Ahead<'_>) -> Facts {
        let kernels = ahead.vmid == Vmid::KERNEL;
        let (to, source, fill) = match (ahead.update, ahead.packet) {
            (Some(update), _) => (update.dst, None, false),
            (None, Packet::CopyLinear(copy)) if kernels => (copy.dst, Some(copy.src), false),
            (None, Packet::ConstFill(fill)) if kernels => (fill.dst, None, true),
            _ => (GpuVa::default(), None, false),
        };
        let mut facts = Facts {
            engine,
            delayed: ahead.delayed,
            enters: matches!(ahead.packet, Packet::Indirect(_)),
            entries: 0,
            uploads: false,
            fills: false,
            to,
        };
        if let Some(update) = ahead.update
            && let Some(place @ Location::Vram(_)) = self.place(to, Access::Write)
            && !self.is_gart_table(place)
        {
            facts.entries = update.entries;
        }
        if let Some(source) = source {
            facts.uploads = matches!(self.place(source, Access::Read), Some(Location::System(_)))
                && matches!(self.place(to, Access::Write), Some(Location::Vram(_)));
        }
        if fill {
            facts.fills = matches!(self.place(to, Access::Write), Some(Location::Vram(_)));
        }
        facts
    }

    /// What a queue of the command processor is called.
    pub(super) fn engine_of(&self, queue: QueueId) -> EngineName {
        crate::event::engine_of_queue(queue, self.blocks.gfx.cp_config().kiq)
    }
}

impl<M: CardMemory> Gate for EngineBus<'_, M> {
    #[inline]
    fn verdict(&mut self, ahead: &Ahead<'_>) -> Verdict {
        if self.fabric.inject.is_empty() {
            return Verdict::Proceed;
        }
        let facts = self.fabric.facts(self.engine, ahead);
        self.fabric.inject.packet(&facts)
    }
}

impl<M: CardMemory> QueueGate for EngineBus<'_, M> {
    #[inline]
    fn queue_verdict(&mut self, queue: QueueId, ahead: QueueAhead) -> QueueVerdict {
        if self.fabric.inject.is_empty() {
            return QueueVerdict::Proceed;
        }
        let engine = self.fabric.engine_of(queue);
        self.fabric.inject.queue(engine, ahead)
    }
}
