//! What the driver tells a client about its contexts.

use protocol::names::CONTEXT_FLAGS;

use super::order::StateExpected;
use super::set::Client;
use crate::json::Object;
use crate::marker;

impl Client<'_> {
    /// Reports the state of the oldest and of the newest context, and how often VRAM was lost; judges what is expected.
    pub(super) fn report_state(&self, expected: StateExpected) -> Result<(), String> {
        let oldest = self.oldest_context()?.state()?;
        let newest = self.context()?.state()?;
        let lost = self.device.vram_lost_counter()?;
        let since = lost.wrapping_sub(self.lost_at_start);
        marker::note(
            "state",
            &Object::new()
                .text("name", &self.name)
                .number(
                    "contexts",
                    u64::try_from(self.context_count()).unwrap_or(u64::MAX),
                )
                .number("flags", oldest.0.into())
                .list("words", &oldest.words())
                .number("current_flags", newest.0.into())
                .list("current_words", &newest.words())
                .number("vram_lost", lost.into())
                .number("vram_lost_since", since.into())
                .number("in_flight", self.jobs.in_flight()),
        );
        let mismatches: Vec<_> = [
            (
                "the oldest context's flags",
                oldest.0,
                expected.flags,
                flags as fn(u32) -> String,
            ),
            ("the newest context's flags", newest.0, expected.current, flags),
            ("the losses of VRAM since the start", since, expected.lost, number),
        ]
        .into_iter()
        .filter_map(|(what, found, expected, text)| {
            let expected = expected.filter(|expected| *expected != found)?;
            Some(format!("{what} are {}, not {}", text(found), text(expected)))
        })
        .collect();
        if mismatches.is_empty() {
            Ok(())
        } else {
            Err(mismatches.join("; "))
        }
    }
}

fn flags(bits: u32) -> String {
    CONTEXT_FLAGS.text(bits)
}

fn number(number: u32) -> String {
    number.to_string()
}
