//! Faults of engines: asked before each packet.

use gart::{Access, Backing, GpuVa, Location, Translation, Vmid};
use sdma_engine::{Ahead, Gate, Packet, Verdict};

use super::armory::Armory;
use super::fault::{EngineName, Fault, HangWhen};
use crate::gpu::bus::EngineBus;
use crate::gpu::fabric::Fabric;
use cp_engine::{QueueAhead, QueueGate, QueueId, QueueVerdict};

/// Nanoseconds in a tick of the reference clock.
const TICK: u128 = 10;

/// What faults want to know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Who executes it.
    pub(super) engine: EngineName,
    /// It has been put off before.
    pub(super) delayed: bool,
    /// It enters an indirect buffer.
    pub(super) enters: bool,
    /// Entries that it writes into page tables in VRAM.
    pub(super) entries: u64,
    /// It copies from system memory into VRAM.
    pub(super) uploads: bool,
    /// It fills VRAM.
    pub(super) fills: bool,
    /// Where it writes.
    pub(super) to: GpuVa,
}

impl Armory {
    /// What becomes of a packet of an SDMA engine. Each delay is one opportunity, and so is each packet that is begun: one that was
    /// delayed does not count twice.
    pub(super) fn packet(&mut self, facts: &Facts) -> Verdict {
        let Facts {
            engine,
            delayed,
            enters,
            entries,
            uploads,
            fills,
            to,
        } = *facts;
        if !delayed && let Some(delay) = self.delay(engine) {
            return Verdict::Delay(delay);
        }
        if self.hangs(engine, enters) {
            return Verdict::Hang;
        }
        // One entry has no middle.
        if entries > 1
            && let Some(()) = self.fire(
                |fault| hang(fault, engine, HangWhen::PageTableUpdate),
                || format!("after {} of {entries} entries at {to}", entries / 2),
            )
        {
            return Verdict::HangAfter(entries / 2 * 8);
        }
        if entries > 0 && self.drops(&Fault::DropPte, || format!("{entries} entries at {to}"))
            || uploads && self.drops(&Fault::DropCopy, || format!("to {to}"))
            || fills && self.drops(&Fault::DropFill, || format!("at {to}"))
        {
            return Verdict::Skip;
        }
        let corrupt = |fault: &Fault| match fault {
            Fault::CorruptPte { xor } => Some(*xor),
            _ => None,
        };
        if entries > 0
            && let Some((entry, xor)) =
                self.fire_among(entries, corrupt, || format!("one of {entries} entries at {to}"))
        {
            return Verdict::Corrupt { entry, xor };
        }
        Verdict::Proceed
    }

    /// What becomes of a queue of the command processor.
    pub(super) fn queue(&mut self, engine: EngineName, ahead: QueueAhead) -> QueueVerdict {
        if !ahead.delayed
            && let Some(delay) = self.delay(engine)
        {
            return QueueVerdict::Delay(u64::try_from(delay.as_nanos() / TICK).unwrap_or(u64::MAX));
        }
        match self.hangs(engine, ahead.enters) {
            true => QueueVerdict::Hang,
            false => QueueVerdict::Proceed,
        }
    }

    /// Whether a packet that this fault is about is passed over.
    fn drops(&mut self, which: &Fault, detail: impl FnOnce() -> String) -> bool {
        self.fire(|fault| (fault == which).then_some(()), detail)
            .is_some()
    }

    fn delay(&mut self, engine: EngineName) -> Option<std::time::Duration> {
        self.fire(
            |fault| match fault {
                Fault::Slow {
                    engine: slow, delay, ..
                } if *slow == engine => Some(*delay),
                _ => None,
            },
            || "a packet".to_owned(),
        )
    }

    fn hangs(&mut self, engine: EngineName, enters: bool) -> bool {
        let fits = |fault: &Fault| {
            let buffer = if enters {
                hang(fault, engine, HangWhen::CommandBuffer)
            } else {
                None
            };
            buffer.or_else(|| hang(fault, engine, HangWhen::Packet))
        };
        self.fire(fits, || "stands still".to_owned()).is_some()
    }
}

fn hang(fault: &Fault, which: EngineName, moment: HangWhen) -> Option<()> {
    match fault {
        Fault::Hang { engine, when } => (*engine == which && *when == moment).then_some(()),
        _ => None,
    }
}

impl Fabric {
    /// Where an access of VMID 0 through the graphics hub leads.
    fn place(&self, va: GpuVa, access: Access) -> Option<Location> {
        match self.gfxhub.translate(&self.memory, Vmid::KERNEL, va, access) {
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
    pub(in crate::gpu) fn engine_of(&self, queue: QueueId) -> EngineName {
        crate::event::engine_of_queue(queue, self.gfx.cp_config().kiq)
    }
}

impl Gate for EngineBus<'_> {
    #[inline]
    fn verdict(&mut self, ahead: &Ahead<'_>) -> Verdict {
        if self.fabric.inject.is_empty() {
            return Verdict::Proceed;
        }
        let facts = self.fabric.facts(self.engine, ahead);
        self.fabric.inject.packet(&facts)
    }
}

impl QueueGate for EngineBus<'_> {
    #[inline]
    fn queue_verdict(&mut self, queue: QueueId, ahead: QueueAhead) -> QueueVerdict {
        if self.fabric.inject.is_empty() {
            return QueueVerdict::Proceed;
        }
        let engine = self.fabric.engine_of(queue);
        self.fabric.inject.queue(engine, ahead)
    }
}
