//! The driver's log as marks and phases.
//!
//! The words are those of Linux 6.1, 6.12 and 7.3 (amdgpu_device.c, amdgpu_job.c, amdgpu_psp.c, amdgpu_smu.c, nv.c,
//! amdgpu_ring.c, kernel/power/suspend.c); a kernel with other words shows fewer phases, never wrong ones.

use protocol::guest::console::Line;

use super::{Item, Moment};

/// What a line of the log says about the driver's course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Probing,
    Probed,
    Hang,
    SoftRecovered,
    ResetBegin,
    /// The way in which the hardware is reset.
    Method(&'static str),
    HardwareIsBack,
    VramLost,
    /// A part that comes up again.
    Resume(&'static str),
    SmuResumed,
    ShadowStart,
    ShadowDone,
    ShadowFailed,
    Succeeded,
    Failed,
    RingResetBegin,
    RingResetDone,
    RingResetFailed,
    PageFault,
    LostFromBus,
    Fallback,
    Error,
    Trouble,
    SuspendBegin,
    SuspendEnd,
}

/// What a reset of only one ring is called.
const RING_RESET: &str = "ring reset";

/// Words and what they mean; the first that fits counts.
const MARKS: [(&str, Mark); 32] = [
    ("initializing kernel modesetting", Mark::Probing),
    ("Initialized amdgpu", Mark::Probed),
    ("timeout, but soft recovered", Mark::SoftRecovered),
    ("timeout, signaled seq", Mark::Hang),
    ("GPU reset begin!", Mark::ResetBegin),
    ("GPU smu mode1 reset", Mark::Method("MODE1 reset by the SMU")),
    ("GPU psp mode1 reset", Mark::Method("MODE1 reset by the PSP")),
    ("GPU link reset", Mark::Method("link reset")),
    ("MODE1 reset", Mark::Method("MODE1 reset")),
    ("MODE2 reset", Mark::Method("MODE2 reset")),
    ("BACO reset", Mark::Method("BACO reset")),
    ("PCI reset", Mark::Method("PCI reset")),
    ("GPU reset succeeded, trying to resume", Mark::HardwareIsBack),
    ("VRAM is lost due to GPU reset", Mark::VramLost),
    ("PSP is resuming", Mark::Resume("PSP")),
    ("SMU is resuming", Mark::Resume("SMU")),
    ("SMU is resumed successfully", Mark::SmuResumed),
    ("recover vram bo from shadow start", Mark::ShadowStart),
    ("recover vram bo from shadow done", Mark::ShadowDone),
    ("recover vram bo from shadow failed", Mark::ShadowFailed),
    ("ring reset", Mark::RingResetBegin),
    ("reset failed", Mark::RingResetFailed),
    ("reset succeeded", Mark::RingResetDone),
    ("GPU reset end with ret", Mark::Failed),
    ("page fault (src_id", Mark::PageFault),
    ("device lost from bus", Mark::LostFromBus),
    ("Fence fallback timer expired", Mark::Fallback),
    ("*ERROR*", Mark::Error),
    ("WARNING: CPU", Mark::Trouble),
    ("BUG: ", Mark::Trouble),
    ("PM: suspend entry", Mark::SuspendBegin),
    ("PM: suspend exit", Mark::SuspendEnd),
];

/// The driver's lanes: spans in row 0, the phases inside them in row 1, marks in row 2.
#[derive(Debug, Default)]
pub(super) struct Driver {
    pub(super) items: Vec<Item>,
    pub(super) moments: Vec<Moment>,
    /// The whole that is under way: probe, reset, ring reset or suspend.
    whole: Option<Item>,
    /// The part of it.
    part: Option<Item>,
    /// Begin and end of each recovery; no end if it did not come.
    pub(super) recoveries: Vec<Recovery>,
    /// When engines are reset as a matter of course: probes and recoveries.
    pub(super) busy: Vec<(f64, f64)>,
}

/// One recovery as the driver tells it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recovery {
    pub(super) from: f64,
    pub(super) to: Option<f64>,
    pub(super) method: Option<&'static str>,
    pub(super) succeeded: bool,
}

impl Driver {
    /// Takes a line. Tells whether the log should show it as something that went wrong.
    pub(super) fn line(&mut self, at: f64, row: usize, line: &Line) -> bool {
        let text = line.text.as_str();
        let Some(mark) = mark(text) else {
            return false;
        };
        match mark {
            Mark::Probing => self.begin(at, row, "probe", "probe", text),
            Mark::Probed => self.end(at, "good", text),
            Mark::SuspendBegin => {
                self.begin(at, row, "suspend", "suspend", text);
                self.moment(at, row, "neutral", "suspend begins");
            }
            Mark::SuspendEnd => self.end(at, "good", text),
            Mark::Hang => self.mark(at, row, "bad", &format!("hang of {} noticed", ring(text)), text),
            Mark::SoftRecovered => {
                self.mark(at, row, "good", &format!("{} soft recovered", ring(text)), text);
            }
            Mark::ResetBegin => {
                self.begin(at, row, "reset", "GPU reset", text);
                self.part(at, row, "stop the engines", text);
                self.moment(at, row, "neutral", "driver: GPU reset begins");
                self.recoveries.push(Recovery {
                    from: at,
                    to: None,
                    method: None,
                    succeeded: false,
                });
            }
            Mark::Method(method) => {
                // "MODE1 reset" and "GPU smu mode1 reset" are one after the other: the later says more.
                if let Some(recovery) = self
                    .recoveries
                    .last_mut()
                    .filter(|recovery| recovery.to.is_none())
                {
                    recovery.method = Some(method);
                }
                match &mut self.part {
                    Some(part) if part.class == "hardware" => part.label = method.to_owned(),
                    _ => self.part_of(at, row, "hardware", method, text),
                }
            }
            Mark::HardwareIsBack => self.part(at, row, "resume", text),
            Mark::VramLost => self.mark(at, row, "bad", "VRAM lost", text),
            Mark::Resume(block) => self.part(at, row, &format!("resume {block}"), text),
            Mark::SmuResumed => self.part(at, row, "resume engines, ring tests", text),
            Mark::ShadowStart => {
                self.part_of(at, row, "shadow", "recover from shadow", text);
                self.moment(at, row, "neutral", "driver: recover from shadow starts");
            }
            Mark::ShadowDone => {
                self.part(at, row, "finish", text);
                self.moment(at, row, "good", "driver: recover from shadow done");
            }
            Mark::ShadowFailed => self.mark(at, row, "bad", "shadow recovery failed", text),
            Mark::Succeeded | Mark::Failed => self.recovered(at, row, mark == Mark::Succeeded, text),
            Mark::RingResetBegin => {
                self.begin(at, row, "reset", RING_RESET, text);
                self.moment(at, row, "neutral", "driver: ring reset begins");
            }
            Mark::RingResetDone => {
                self.end(at, "good", text);
                self.moment(at, row, "good", "driver: ring reset succeeded");
            }
            Mark::RingResetFailed => {
                self.end(at, "bad", text);
                self.mark(at, row, "bad", "ring reset failed", text);
            }
            Mark::PageFault => self.mark(at, row, "bad", "page fault", text),
            Mark::LostFromBus => self.mark(at, row, "bad", "lost from the bus", text),
            Mark::Fallback => self.mark(at, row, "bad", "interrupt lost", text),
            Mark::Error => self.mark(at, row, "bad", "*ERROR*", text),
            Mark::Trouble => self.mark(at, row, "bad", "kernel warned", text),
        }
        matches!(
            mark,
            Mark::Hang
                | Mark::ShadowFailed
                | Mark::Failed
                | Mark::RingResetFailed
                | Mark::PageFault
                | Mark::LostFromBus
                | Mark::Fallback
                | Mark::Error
                | Mark::Trouble
        )
    }

    /// The restart of a guest ends whatever was under way.
    pub(super) fn restart(&mut self, at: f64) {
        self.end(at, "open", "the guest restarted");
    }

    /// Closes what is open.
    pub(super) fn finish(&mut self, end: f64) {
        if self.whole.is_some() {
            self.end(end, "open", "no end of it was seen");
        }
    }

    fn recovered(&mut self, at: f64, row: usize, succeeded: bool, text: &str) {
        if let Some(recovery) = self
            .recoveries
            .last_mut()
            .filter(|recovery| recovery.to.is_none())
        {
            recovery.to = Some(at);
            recovery.succeeded = succeeded;
        }
        if succeeded {
            self.end(at, "good", text);
            self.moment(at, row, "good", "driver: GPU reset succeeded");
        } else {
            self.end(at, "bad", text);
            self.mark(at, row, "bad", "GPU reset failed", text);
        }
    }

    fn begin(&mut self, at: f64, row: usize, class: &'static str, label: &str, text: &str) {
        if self.whole.is_some() {
            self.end(at, "open", "another one began");
        }
        self.whole = Some(Item::span(at, 0, class, label, text, row));
    }

    fn part(&mut self, at: f64, row: usize, label: &str, text: &str) {
        self.part_of(at, row, "part", label, text);
    }

    /// The next phase; outside of a whole there are none (a probe resumes nothing, a first bring-up says the same words).
    fn part_of(&mut self, at: f64, row: usize, class: &'static str, label: &str, text: &str) {
        self.end_part(at);
        if self.whole.as_ref().is_some_and(|whole| whole.class != "probe") {
            self.part = Some(Item::span(at, 1, class, label, text, row));
        }
    }

    fn end_part(&mut self, at: f64) {
        // One that took no time of the kernel's clock is no phase.
        if let Some(mut part) = self.part.take().filter(|part| part.from < at) {
            part.to = at;
            self.items.push(part);
        }
    }

    fn end(&mut self, at: f64, how: &str, text: &str) {
        self.end_part(at);
        if let Some(mut whole) = self.whole.take() {
            whole.to = at;
            whole.text.push('\n');
            whole.text.push_str(text);
            if whole.label != RING_RESET {
                self.busy.push((whole.from, at));
            }
            whole.class = match (whole.class, how) {
                (_, "bad") => "reset-bad",
                (_, "open") => "reset-open",
                (class, _) => class,
            };
            self.items.push(whole);
        }
    }

    fn mark(&mut self, at: f64, row: usize, class: &'static str, label: &str, text: &str) {
        self.items.push(Item::instant(at, 2, class, label, text, row));
        self.moment(at, row, class, &format!("driver: {label}"));
    }

    fn moment(&mut self, at: f64, row: usize, class: &'static str, what: &str) {
        self.moments.push(Moment {
            at,
            class,
            what: what.to_owned(),
            log: row,
        });
    }
}

fn mark(text: &str) -> Option<Mark> {
    // "GPU reset(2) succeeded!", "GPU reset(2) failed".
    if let Some((_, rest)) = text.split_once("GPU reset(") {
        return match rest.split_once(") ").map(|(_, word)| word) {
            Some(word) if word.starts_with("succeeded") => Some(Mark::Succeeded),
            Some(word) if word.starts_with("failed") => Some(Mark::Failed),
            _ => None,
        };
    }
    let (_, mark) = MARKS.iter().find(|(words, _)| text.contains(words))?;
    // "Starting gfx ring reset", and nothing else, begins one; "Ring gfx reset failed" is about one, "mode1 reset failed" is not.
    match mark {
        Mark::RingResetBegin if !text.contains("Starting ") => None,
        Mark::RingResetFailed | Mark::RingResetDone if !text.contains("Ring ") => {
            text.contains("*ERROR*").then_some(Mark::Error)
        }
        mark => Some(*mark),
    }
}

/// The ring that a line about a timeout names.
fn ring(text: &str) -> &str {
    text.split_once("ring ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or("a ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(lines: &[(f64, &str)]) -> (Vec<Item>, Vec<Recovery>) {
        let mut driver = Driver::default();
        for (row, (at, text)) in lines.iter().enumerate() {
            driver.line(
                *at,
                row,
                &Line {
                    unix_us: 0,
                    time: Some(*at),
                    text: (*text).to_owned(),
                },
            );
        }
        driver.finish(99.0);
        (driver.items, driver.recoveries)
    }

    #[test]
    fn a_reset_falls_into_phases() {
        let (items, recoveries) = follow(&[
            (1.0, "amdgpu 0000:01:00.0: amdgpu: GPU reset begin!"),
            (2.0, "amdgpu 0000:01:00.0: amdgpu: MODE1 reset"),
            (2.1, "amdgpu 0000:01:00.0: amdgpu: GPU mode1 reset"),
            (2.2, "amdgpu 0000:01:00.0: amdgpu: GPU smu mode1 reset"),
            (
                3.0,
                "amdgpu 0000:01:00.0: amdgpu: GPU reset succeeded, trying to resume",
            ),
            (4.0, "[drm] VRAM is lost due to GPU reset!"),
            (5.0, "amdgpu 0000:01:00.0: amdgpu: PSP is resuming..."),
            (6.0, "amdgpu 0000:01:00.0: amdgpu: SMU is resuming..."),
            (7.0, "amdgpu 0000:01:00.0: amdgpu: SMU is resumed successfully!"),
            (
                8.0,
                "amdgpu 0000:01:00.0: amdgpu: recover vram bo from shadow start",
            ),
            (
                9.0,
                "amdgpu 0000:01:00.0: amdgpu: recover vram bo from shadow done",
            ),
            (10.0, "amdgpu 0000:01:00.0: amdgpu: GPU reset(2) succeeded!"),
        ]);
        let mut spans: Vec<_> = items
            .iter()
            .map(|item| (item.row, item.from, item.to, item.label.as_str()))
            .collect();
        spans.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap());
        assert_eq!(
            spans,
            [
                (0, 1.0, 10.0, "GPU reset"),
                (1, 1.0, 2.0, "stop the engines"),
                (1, 2.0, 3.0, "MODE1 reset by the SMU"),
                (1, 3.0, 5.0, "resume"),
                (1, 5.0, 6.0, "resume PSP"),
                (1, 6.0, 7.0, "resume SMU"),
                (1, 7.0, 8.0, "resume engines, ring tests"),
                (1, 8.0, 9.0, "recover from shadow"),
                (1, 9.0, 10.0, "finish"),
                (2, 4.0, 4.0, "VRAM lost"),
            ]
        );
        assert_eq!(
            recoveries,
            [Recovery {
                from: 1.0,
                to: Some(10.0),
                method: Some("MODE1 reset by the SMU"),
                succeeded: true
            }]
        );
    }

    #[test]
    fn a_reset_that_does_not_end_stays_open() {
        let (items, recoveries) = follow(&[(1.0, "amdgpu: GPU reset begin!. Source:  3")]);
        let whole = items.iter().find(|item| item.row == 0).unwrap();
        assert_eq!((whole.class, whole.to), ("reset-open", 99.0));
        assert_eq!(recoveries[0].to, None);
    }

    #[test]
    fn failures_are_told_apart_from_successes() {
        for (text, wanted) in [
            ("amdgpu: GPU reset(3) succeeded!", Some(Mark::Succeeded)),
            ("amdgpu: GPU reset(3) failed", Some(Mark::Failed)),
            ("amdgpu: GPU reset(3) failed with error -110", Some(Mark::Failed)),
            ("amdgpu: GPU reset end with ret = -110", Some(Mark::Failed)),
            (
                "amdgpu: GPU reset succeeded, trying to resume",
                Some(Mark::HardwareIsBack),
            ),
            ("amdgpu: Ring sdma0 reset succeeded", Some(Mark::RingResetDone)),
            ("amdgpu: Ring sdma0 reset failed", Some(Mark::RingResetFailed)),
            ("amdgpu: Starting sdma0 ring reset", Some(Mark::RingResetBegin)),
            (
                "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring sdma0 timeout, signaled seq=1, emitted seq=2",
                Some(Mark::Hang),
            ),
            ("amdgpu: nothing of note", None),
        ] {
            assert_eq!(mark(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_words_of_a_probe_make_no_phases() {
        let (items, _) = follow(&[
            (1.0, "[drm] initializing kernel modesetting (SIENNA_CICHLID)"),
            (2.0, "amdgpu: SMU is resumed successfully!"),
            (3.0, "[drm] Initialized amdgpu 3.49.0"),
        ]);
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].class, "probe");
    }
}
