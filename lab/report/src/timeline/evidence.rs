//! What a boot left in its folder: the console's lines and the device's events, on the host's clock.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use protocol::guest::console::Line;
use serde_json::{Map, Value};

/// An event of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    /// When, in microseconds of the host's clock since 1970.
    pub at_us: u64,
    /// How often engines were stopped or memory was lost before.
    pub generation: u64,
    /// Its kind.
    pub kind: String,
    /// What else it says.
    pub fields: Map<String, Value>,
}

impl DeviceEvent {
    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field that is a number; 0 if it is not there.
    pub fn number(&self, name: &str) -> u64 {
        self.fields.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    /// The fields as they are shown: `name=value`, in the alphabet's order.
    pub fn detail(&self) -> String {
        let parts: Vec<_> = self
            .fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            })
            .collect();
        parts.join(" ")
    }
}

/// Everything that was kept of a boot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The console, in its order.
    /// A line that was not read by a clock has the time 0 on the host's.
    pub console: Vec<Line>,
    /// The device's events, in their order.
    pub events: Vec<DeviceEvent>,
    /// What is missing or could not be read, for the reader of the page.
    pub gaps: Vec<String>,
}

impl Evidence {
    /// Reads a boot's folder. Files that are not there leave gaps; a file that cannot be read is an error.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut evidence = Self::default();
        match optional(&folder.join("console.jsonl"))? {
            Some(text) => evidence.console_lines(&text),
            None => match optional(&folder.join("console.log"))? {
                Some(text) => {
                    evidence.console = text.lines().map(Line::parse).collect();
                    evidence.gaps.push(
                        "The console's lines are on the guest's clock only (no console.jsonl).".to_owned(),
                    );
                }
                None => evidence.gaps.push("There is no log of the console.".to_owned()),
            },
        }
        match optional(&folder.join("events.jsonl"))? {
            Some(text) => evidence.device_events(&text),
            None => evidence
                .gaps
                .push("The device wrote no event log, so its side of the story is missing.".to_owned()),
        }
        Ok(evidence)
    }

    /// Takes `console.jsonl`.
    pub fn console_lines(&mut self, text: &str) {
        let mut bad = 0_usize;
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(line) => self.console.push(line),
                Err(_) => bad += 1,
            }
        }
        self.bad_lines("console.jsonl", bad);
    }

    /// Takes `events.jsonl`. The daemon counts from its own start, which its first event puts on the host's clock.
    pub fn device_events(&mut self, text: &str) {
        let mut bad = 0_usize;
        let mut epoch = 0;
        for object in text.lines().map(object) {
            let Some(mut object) = object else {
                bad += 1;
                continue;
            };
            let mut number = |name: &str| object.remove(name).and_then(|value| value.as_u64());
            let (us, generation) = (number("us"), number("generation"));
            number("seq");
            let (Some(us), Some(Value::String(kind))) = (us, object.remove("event")) else {
                bad += 1;
                continue;
            };
            if let Some(unix_us) = object.get("unix_us").and_then(Value::as_u64) {
                epoch = unix_us.saturating_sub(us);
            }
            self.events.push(DeviceEvent {
                at_us: epoch.saturating_add(us),
                generation: generation.unwrap_or_default(),
                kind,
                fields: object,
            });
        }
        self.bad_lines("events.jsonl", bad);
        if epoch == 0 && !self.events.is_empty() {
            self.gaps.push(
                "The event log does not say when it began: its events are not on the console's clock."
                    .to_owned(),
            );
        }
    }

    /// What there is from one moment of the host's clock to another.
    pub fn window(&self, from: u64, to: u64) -> Self {
        let within = from..to;
        let times = self.console_times();
        let console = self
            .console
            .iter()
            .zip(times)
            .filter(|(_, at)| within.contains(at));
        Self {
            console: console.map(|(line, _)| line.clone()).collect(),
            events: self
                .events
                .iter()
                .filter(|event| within.contains(&event.at_us))
                .cloned()
                .collect(),
            gaps: Vec::new(),
        }
    }

    fn bad_lines(&mut self, file: &str, count: usize) {
        if count > 0 {
            self.gaps
                .push(format!("{count} lines of {file} could not be read."));
        }
    }

    /// When each line of the console was printed, in microseconds of the host's clock.
    ///
    /// A line is read when it has come through the serial port, which takes longer when many are printed at once; the
    /// kernel's own stamp is from before that. The least delay around a line tells how the two clocks lie. It is looked for
    /// only nearby, because the kernel's clock stands still while it is suspended and begins anew when it is restarted.
    pub fn console_times(&self) -> Vec<u64> {
        /// Width of a slice of the host's clock, of which the neighbours on both sides count.
        const SLICE: u64 = 1_000_000;
        /// The kernel's stamps of one boot may be a little out of order, by no more than this.
        const BACK: i64 = 500_000;

        let mut least: BTreeMap<(u32, u64), i64> = BTreeMap::new();
        let mut boot = 0;
        let mut latest = i64::MIN;
        let mut stamps = Vec::with_capacity(self.console.len());
        for line in &self.console {
            let stamp = line.time.map(microseconds);
            if let Some(stamp) = stamp {
                if stamp.saturating_add(BACK) < latest {
                    boot += 1;
                    latest = stamp;
                }
                latest = latest.max(stamp);
            }
            if let (Some(stamp), Some(read)) = (stamp, read(line)) {
                let delay = signed(read).saturating_sub(stamp);
                let slot = least.entry((boot, read / SLICE)).or_insert(delay);
                *slot = delay.min(*slot);
            }
            stamps.push((stamp, boot));
        }
        let start = self.events.first().map_or(0, |event| event.at_us);
        let mut before = start;
        let mut times = Vec::with_capacity(stamps.len());
        for (line, (stamp, boot)) in self.console.iter().zip(stamps) {
            let at = match (stamp, read(line)) {
                (Some(stamp), Some(read)) => {
                    let slice = read / SLICE;
                    let nearby = (boot, slice.saturating_sub(2))..=(boot, slice.saturating_add(2));
                    let delay = least.range(nearby).map(|(_, delay)| *delay).min();
                    unsigned(stamp.saturating_add(delay.unwrap_or_default())).min(read)
                }
                (Some(stamp), None) => start.saturating_add(unsigned(stamp)),
                (None, Some(read)) => read,
                (None, None) => before,
            };
            before = at;
            times.push(at);
        }
        times
    }
}

fn optional(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("reading {}: {error}", path.display()),
        )),
    }
}

/// When a line was read; none if nobody looked at a clock.
const fn read(line: &Line) -> Option<u64> {
    match line.unix_us {
        0 => None,
        unix_us => Some(unix_us),
    }
}

fn object(line: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float that does not fit saturates, and no kernel runs that long"
)]
fn microseconds(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[(u64, Option<f64>)]) -> Evidence {
        Evidence {
            console: lines
                .iter()
                .map(|(unix_us, time)| Line {
                    unix_us: *unix_us,
                    time: *time,
                    text: String::new(),
                })
                .collect(),
            ..Evidence::default()
        }
    }

    #[test]
    fn lines_that_waited_for_the_serial_port_are_put_where_they_were_printed() {
        let base = 1_000_000_000;
        let times = console(&[
            (base + 1_000_100, Some(1.0)),
            (base + 1_300_000, Some(1.1)),
            (base + 1_600_000, Some(1.2)),
        ])
        .console_times();
        assert_eq!(times, [base + 1_000_100, base + 1_100_100, base + 1_200_100]);
    }

    #[test]
    fn a_restart_and_a_sleep_move_the_guests_clock() {
        let base = 1_000_000_000;
        let times = console(&[
            (base + 5_000_000, Some(5.0)),
            // Ten seconds asleep, which the kernel's clock does not count.
            (base + 15_100_000, Some(5.1)),
            // A restart.
            (base + 20_000_000, Some(0.0)),
            (base + 21_000_000, None),
        ])
        .console_times();
        assert_eq!(
            times,
            [
                base + 5_000_000,
                base + 15_100_000,
                base + 20_000_000,
                base + 21_000_000
            ]
        );
    }

    #[test]
    fn events_are_put_on_the_hosts_clock_by_their_first_one() {
        let mut evidence = Evidence::default();
        evidence.device_events(
            "{\"seq\":0,\"us\":0,\"generation\":0,\"event\":\"started\",\"unix_us\":1000}\n\
             {\"seq\":1,\"us\":50,\"generation\":0,\"event\":\"fence\",\"engine\":\"sdma0\",\"value\":7,\"vmid\":null}\n\
             nonsense\n{\"us\":\"x\"}\n",
        );
        let [_, fence] = evidence.events.as_slice() else {
            panic!("{evidence:?}")
        };
        assert_eq!((fence.at_us, fence.kind.as_str()), (1050, "fence"));
        assert_eq!(fence.detail(), "engine=sdma0 value=7");
        assert_eq!(evidence.gaps, ["2 lines of events.jsonl could not be read."]);
    }

    #[test]
    fn an_empty_folder_is_told_as_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence::read(folder.path()).unwrap();
        assert_eq!(evidence.gaps.len(), 2, "{evidence:?}");
    }
}
