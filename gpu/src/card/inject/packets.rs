//! Faults of engines: asked before each packet.

use gart::GpuVa;
use sdma_engine::Verdict;

use super::armory::Armory;
use super::fault::{EngineName, Fault, HangWhen};
use cp_engine::{QueueAhead, QueueVerdict};

/// Nanoseconds in a tick of the reference clock.
const TICK: u128 = 10;

/// What faults want to know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::card) struct Facts {
    /// Who executes it.
    pub(in crate::card) engine: EngineName,
    /// It has been put off before.
    pub(in crate::card) delayed: bool,
    /// It enters an indirect buffer.
    pub(in crate::card) enters: bool,
    /// Entries that it writes into page tables in VRAM.
    pub(in crate::card) entries: u64,
    /// It copies from system memory into VRAM.
    pub(in crate::card) uploads: bool,
    /// It fills VRAM.
    pub(in crate::card) fills: bool,
    /// Where it writes.
    pub(in crate::card) to: GpuVa,
}

impl Armory {
    /// What becomes of a packet of an SDMA engine. Each delay is one opportunity, and so is each packet that is begun: one that was
    /// delayed does not count twice.
    pub(in crate::card) fn packet(&mut self, facts: &Facts) -> Verdict {
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
    pub(in crate::card) fn queue(&mut self, engine: EngineName, ahead: QueueAhead) -> QueueVerdict {
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
