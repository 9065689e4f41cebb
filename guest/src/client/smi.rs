//! A client that listens as a system-management program does: resets and page faults as lines of text.

use std::time::Duration;

use super::set::Client;
use crate::json::Object;
use crate::kfd::{self, Smi, SmiEvent};
use crate::marker;

/// Events that are reported one by one; the rest is counted.
const REPORTED: usize = 16;

impl Client<'_> {
    /// Opens KFD's file of events.
    pub(super) fn open_smi(&mut self) -> Result<(), String> {
        let kfd = self
            .kfd
            .ok_or("client-smi-open: the client was not opened with vm=compute")?;
        self.smi = Some(Smi::open(kfd)?);
        Ok(())
    }

    /// Reports what came since the last time. No event at all is a report as well.
    pub(super) fn smi(&mut self, limit: Duration) -> Result<(), String> {
        let smi = self
            .smi
            .as_mut()
            .ok_or("client-smi: there was no client-smi-open")?;
        let events = smi.take(limit)?;
        for event in events.iter().take(REPORTED) {
            marker::note(
                "smi-event",
                &Object::new()
                    .text("name", &self.name)
                    .number("event", event.kind.into())
                    .text("text", &event.text),
            );
        }
        let count = |kind| events.iter().filter(|event| event.kind == kind).count() as u64;
        let kinds: Vec<_> = events.iter().map(|event| word(event.kind)).collect();
        marker::note(
            "smi",
            &Object::new()
                .text("name", &self.name)
                .number("events", events.len() as u64)
                .number("pre_resets", count(kfd::SMI_PRE_RESET))
                .number("post_resets", count(kfd::SMI_POST_RESET))
                .number("vm_faults", count(kfd::SMI_VM_FAULT))
                .text("pre_sequence", &sequence(&events, kfd::SMI_PRE_RESET))
                .text("post_sequence", &sequence(&events, kfd::SMI_POST_RESET))
                .text("cause", cause(&events))
                .text(
                    "order",
                    &kinds
                        .get(..REPORTED.min(kinds.len()))
                        .unwrap_or_default()
                        .join(" "),
                ),
        );
        Ok(())
    }
}

/// The sequence numbers of the resets, with blanks between.
fn sequence(events: &[SmiEvent], kind: u32) -> String {
    let numbers = events
        .iter()
        .filter(|event| event.kind == kind)
        .map(|event| event.text.split(' ').next().unwrap_or_default());
    numbers.collect::<Vec<_>>().join(" ")
}

/// Why the last reset was, as the kernel says; 6.1 does not.
fn cause(events: &[SmiEvent]) -> &str {
    let last = events.iter().rev().find(|event| event.kind == kfd::SMI_PRE_RESET);
    last.and_then(|event| event.text.split_once(' '))
        .map_or("", |(_, cause)| cause)
}

const fn word(kind: u32) -> &'static str {
    match kind {
        kfd::SMI_PRE_RESET => "pre-reset",
        kfd::SMI_POST_RESET => "post-reset",
        kfd::SMI_VM_FAULT => "vm-fault",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_has_a_number_and_later_kernels_say_why() {
        let event = |kind, text: &str| SmiEvent {
            kind,
            text: text.to_owned(),
        };
        let events = [
            event(3, "1 debugfs"),
            event(4, "1"),
            event(3, "2"),
            event(1, "f:x"),
        ];
        assert_eq!(sequence(&events, 3), "1 2");
        assert_eq!(sequence(&events, 4), "1");
        assert_eq!(cause(&events), "");
        assert_eq!(cause(&events[..2]), "debugfs");
    }
}
