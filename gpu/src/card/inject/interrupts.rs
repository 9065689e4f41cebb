//! Faults of interrupts and of acknowledgements.

use std::time::Duration;

use gart::{Hub, HubId};
use mmio::RegOffset;

use super::armory::Armory;
use super::fault::{Fault, InterruptPart, hub_name};
use crate::blocks::ih::IvEntry;

/// Interrupts that can be late at once; a further one is in time.
const MAX_LATE: usize = 4096;

/// What becomes of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::card) enum InterruptVerdict {
    /// It comes.
    Proceed,
    /// Its entry goes into the ring, and no message is sent.
    WithoutMessage,
    /// It is lost.
    Lost,
    /// It comes after this time.
    Late(Duration),
}

impl Armory {
    /// What becomes of an interrupt; one that is late is not asked about again.
    pub(in crate::card) fn interrupt(&mut self, entry: &IvEntry) -> InterruptVerdict {
        let detail = || format!("client {:#x} source {}", entry.client, entry.source);
        let lost = |fault: &Fault| match fault {
            Fault::DropInterrupts { what, source } if source.is_none_or(|source| source == entry.source) => {
                Some(match what {
                    InterruptPart::Entry => InterruptVerdict::Lost,
                    InterruptPart::Message => InterruptVerdict::WithoutMessage,
                })
            }
            Fault::DelayInterrupts { delay } => Some(InterruptVerdict::Late(*delay)),
            _ => None,
        };
        self.fire(lost, detail).unwrap_or(InterruptVerdict::Proceed)
    }

    fn withholds(&mut self, hub: HubId) -> bool {
        let fits = |fault: &Fault| match fault {
            Fault::WithholdAcknowledge { hub: faulty } => (*faulty == hub).then_some(()),
            _ => None,
        };
        self.fire(fits, || format!("a request on the {}", hub_name(hub)))
            .is_some()
    }

    /// Asked before a register of a hub is written: the acknowledgement of the request that this may be comes or does not. The next
    /// request of the same invalidation engine decides anew, and if that one is acknowledged, so is what was withheld before.
    pub(in crate::card) fn before_hub_write(&mut self, hub: &mut Hub, offset: RegOffset) {
        // A fault that is used up leaves its engine held until the next request.
        if self.is_empty() && !hub.is_holding() {
            return;
        }
        if let Some(engine) = hub.request_engine(offset) {
            let hold = self.withholds(hub.id());
            hub.hold_acknowledge(engine, hold);
        }
    }
}

/// Interrupts that are late.
#[derive(Debug, Default)]
pub(in crate::card) struct Late(Vec<(Duration, IvEntry)>);

impl Late {
    /// Puts an interrupt off. Returns false if there is no room for it.
    pub(in crate::card) fn put_off(&mut self, until: Duration, entry: &IvEntry) -> bool {
        let room = self.0.len() < MAX_LATE;
        if room {
            self.0.push((until, *entry));
        }
        room
    }

    /// When the next one is due.
    pub(in crate::card) fn next(&self) -> Option<Duration> {
        self.0.iter().map(|(until, _)| *until).min()
    }

    /// Takes those that are due, in the order of their times.
    pub(in crate::card) fn due(&mut self, now: Duration) -> Vec<IvEntry> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut due: Vec<_> = self.0.extract_if(.., |(until, _)| *until <= now).collect();
        due.sort_by_key(|(until, _)| *until);
        due.into_iter().map(|(_, entry)| entry).collect()
    }

    /// They never come: a reset.
    pub(in crate::card) fn forget(&mut self) {
        self.0.clear();
    }
}
