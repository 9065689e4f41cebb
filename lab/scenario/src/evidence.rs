//! What was seen while a scenario ran: its part of the kernel's log, of the guest's notes and of the device's events, and
//! by how much the device's counters went up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use protocol::asic::Asic;
use protocol::guest::console::{Line, Note, unix_us};
use serde_json::{Map, Value};

use super::kernels::Version;
use super::model::Tolerated;

/// An event of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, in microseconds of the host's clock since 1970.
    pub unix_us: u64,
    /// All of its fields.
    pub fields: Map<String, Value>,
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> &str {
        self.fields
            .get("event")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// The device's event log, read while it grows.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    began_unix_us: u64,
    events: Vec<Event>,
    /// The number that the next record will have.
    next_seq: u64,
    /// The device has stopped writing.
    full: bool,
}

impl EventLog {
    /// That of a boot.
    pub fn of(folder: &Path) -> Self {
        Self {
            path: folder.join(protocol::event::LOG),
            file: None,
            partial: Vec::new(),
            began_unix_us: 0,
            events: Vec::new(),
            next_seq: 0,
            full: false,
        }
    }

    /// Whether the device writes one.
    pub fn exists(&self) -> bool {
        self.file.is_some() || self.path.is_file()
    }

    /// Why it cannot be relied on, if it cannot: `next_seq` is the number of the device's next record, if it told.
    pub fn flaw(&mut self, next_seq: Option<u64>) -> Option<String> {
        self.read();
        if !self.exists() {
            Some("the device writes no event log".to_owned())
        } else if self.full {
            Some("the event log is full, see --event-log-limit".to_owned())
        } else {
            let missing = next_seq?
                .checked_sub(self.next_seq)
                .filter(|missing| *missing > 0)?;
            Some(format!(
                "the event log lags behind: {missing} records are missing"
            ))
        }
    }

    /// Everything that was written so far.
    pub fn read(&mut self) -> &[Event] {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok().map(BufReader::new);
        }
        if let Some(file) = &mut self.file {
            // An error is an end for now: what is missing then is missed by the expectations.
            while file
                .read_until(b'\n', &mut self.partial)
                .is_ok_and(|count| count > 0)
            {
                if self.partial.last() != Some(&b'\n') {
                    break;
                }
                let line = std::mem::take(&mut self.partial);
                if let Ok(Value::Object(fields)) = serde_json::from_slice(&line) {
                    let number = |name| fields.get(name).and_then(Value::as_u64);
                    if let Some(began) = number("unix_us") {
                        self.began_unix_us = began;
                    }
                    if let Some(seq) = number("seq") {
                        self.next_seq = seq.saturating_add(1);
                    }
                    self.full |= fields.get("event").and_then(Value::as_str) == Some("log-full");
                    self.events.push(Event {
                        unix_us: self.began_unix_us.saturating_add(number("us").unwrap_or(0)),
                        fields,
                    });
                }
            }
        }
        &self.events
    }
}

/// How far log, notes and events were at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Lines of the log.
    pub log: usize,
    /// Notes.
    pub notes: usize,
    /// Events.
    pub events: usize,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the GPU is.
    pub asic: Asic,
    /// The console.
    pub log: Vec<Line>,
    /// What the guest reported.
    pub notes: Vec<Note>,
    /// What the device reported.
    pub events: Vec<Event>,
    /// Why these are not all the events, if they are not.
    pub flaw: Option<String>,
    /// By how much the device's counters went up; none if it did not tell.
    pub stats: Option<Value>,
    /// Comparisons of page tables in their order.
    pub comparisons: Vec<Comparison>,
    /// The device's answers to steps with a label; several to a step that is repeated.
    pub answers: BTreeMap<String, Vec<Value>>,
    /// Where steps with a label began and ended; of a step that is repeated from its first beginning to its last end.
    pub windows: BTreeMap<String, (Mark, Mark)>,
}

/// A comparison of page tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// When its answer came, in microseconds of the host's clock since 1970.
    pub unix_us: u64,
    /// The `result` of the answer.
    pub answer: Value,
}

impl Comparison {
    /// One that was answered just now.
    pub fn now(answer: Value) -> Self {
        Self {
            unix_us: unix_us(),
            answer,
        }
    }
}

/// A part of the evidence.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Lines of the console.
    pub log: &'a [Line],
    /// Notes.
    pub notes: &'a [Note],
    /// Events.
    pub events: &'a [Event],
}

impl Evidence {
    /// The last comparison of page tables.
    pub fn comparison(&self) -> Option<&Value> {
        Some(&self.comparisons.last()?.answer)
    }

    /// What was seen from the beginning of one step to the end of another; none if one of them never began.
    pub fn window(&self, from: Option<&str>, until: Option<&str>) -> Option<Window<'_>> {
        let (begin, end) = self.bounds(from, until)?;
        Some(Window {
            log: part(&self.log, begin.log..end.log),
            notes: part(&self.notes, begin.notes..end.notes),
            events: part(&self.events, begin.events..end.events),
        })
    }

    fn bounds(&self, from: Option<&str>, until: Option<&str>) -> Option<(Mark, Mark)> {
        let begin = match from {
            None => Mark::default(),
            Some(label) => self.windows.get(label)?.0,
        };
        let end = match until {
            None => Mark {
                log: self.log.len(),
                notes: self.notes.len(),
                events: self.events.len(),
            },
            Some(label) => self.windows.get(label)?.1,
        };
        Some((begin, end))
    }
}

impl Evidence {
    /// The log without the lines that are tolerated on a kernel.
    pub fn untolerated(&self, tolerated: &[Tolerated], version: &Version) -> Vec<Line> {
        let mut log: Vec<_> = self.log.iter().map(Some).collect();
        for rule in tolerated.iter().filter(|rule| rule.kernels.include(version)) {
            let Some((begin, end)) = self.bounds(rule.from.as_deref(), rule.until.as_deref()) else {
                continue;
            };
            let lines = log.get_mut(begin.log..end.log).unwrap_or_default();
            for line in lines {
                if line.is_some_and(|line| line.text.contains(&rule.text)) {
                    *line = None;
                }
            }
        }
        log.into_iter().flatten().cloned().collect()
    }
}

fn part<T>(all: &[T], range: Range<usize>) -> &[T] {
    all.get(range).unwrap_or_default()
}

/// By how much every number went up. What is no number is as it is afterwards.
pub fn difference(before: &Value, after: &Value) -> Value {
    match (before, after) {
        (_, Value::Number(now)) => match (before.as_i64(), now.as_i64()) {
            (was, Some(now)) => now.saturating_sub(was.unwrap_or(0)).into(),
            (_, None) => after.clone(),
        },
        (_, Value::Object(now)) => Value::Object(
            now.iter()
                .map(|(name, value)| {
                    let was = before.get(name).unwrap_or(&Value::Null);
                    (name.clone(), difference(was, value))
                })
                .collect(),
        ),
        (_, Value::Array(now)) if now.iter().all(Value::is_object) => Value::Array(
            now.iter()
                .enumerate()
                .map(|(index, value)| difference(before.get(index).unwrap_or(&Value::Null), value))
                .collect(),
        ),
        _ => after.clone(),
    }
}

/// A counter by its way: names and numbers of members with dots between them, `*` for the sum over all members.
pub fn counter(value: &Value, path: &str) -> Option<i64> {
    let Some((first, rest)) = path
        .split_once('.')
        .map_or((!path.is_empty()).then_some((path, "")), |(first, rest)| {
            Some((first, rest))
        })
    else {
        return value.as_i64();
    };
    let sum = |members: &mut dyn Iterator<Item = &Value>| {
        let mut found = members.filter_map(|member| counter(member, rest)).peekable();
        found.peek()?;
        Some(found.fold(0_i64, i64::saturating_add))
    };
    match (first, value) {
        ("*", Value::Object(members)) => sum(&mut members.values()),
        ("*", Value::Array(members)) => sum(&mut members.iter()),
        (index, Value::Array(members)) => counter(members.get(index.parse::<usize>().ok()?)?, rest),
        (name, value) => counter(value.get(name)?, rest),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_as_they_come_and_put_on_the_hosts_clock() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::of(folder.path());
        assert!(!log.exists());
        assert_eq!(log.read(), []);
        let mut file = File::create(folder.path().join("events.jsonl")).unwrap();
        file.write_all(
            b"{\"seq\":0,\"us\":0,\"event\":\"started\",\"unix_us\":1000}\n{\"seq\":1,\"us\":7,\"ev",
        )
        .unwrap();
        assert_eq!(log.read().len(), 1);
        file.write_all(b"ent\":\"reset-begin\"}\nnot json\n").unwrap();
        let events = log.read();
        assert_eq!(events.len(), 2);
        assert_eq!((events[1].unix_us, events[1].kind()), (1007, "reset-begin"));
    }

    #[test]
    fn a_log_with_something_missing_has_a_flaw() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::of(folder.path());
        assert!(log.flaw(None).unwrap().contains("no event log"));
        let mut file = File::create(folder.path().join("events.jsonl")).unwrap();
        file.write_all(b"{\"seq\":0,\"event\":\"started\"}\n").unwrap();
        assert_eq!((log.flaw(None), log.flaw(Some(1))), (None, None));
        assert!(log.flaw(Some(3)).unwrap().contains("2 records are missing"));
        file.write_all(b"{\"event\":\"log-full\"}\n").unwrap();
        assert!(log.flaw(Some(1)).unwrap().contains("is full"));
    }

    #[test]
    fn the_difference_counts_what_is_new_from_nothing() {
        let before =
            json!({"resets": {"mode1": 2}, "sdma": [{"faults": 1}], "asic": "navi21", "q": [[0, 1]]});
        let after = json!({"resets": {"mode1": 3, "bus": 1}, "sdma": [{"faults": 1}, {"faults": 4}],
                           "asic": "navi21", "q": [[1, 1]]});
        assert_eq!(
            difference(&before, &after),
            json!({"resets": {"mode1": 1, "bus": 1}, "sdma": [{"faults": 0}, {"faults": 4}],
                   "asic": "navi21", "q": [[1, 1]]})
        );
    }

    #[test]
    fn counters_are_found_by_their_way_or_not_at_all() {
        let stats = json!({"resets": {"mode1": 3}, "sdma": [{"faults": 1}, {"faults": 4}], "asic": "navi21"});
        assert_eq!(counter(&stats, "resets.mode1"), Some(3));
        assert_eq!(counter(&stats, "sdma.1.faults"), Some(4));
        assert_eq!(counter(&stats, "sdma.*.faults"), Some(5));
        for path in [
            "resets",
            "resets.mode9",
            "sdma.7.faults",
            "sdma.*.fualts",
            "asic",
            "",
        ] {
            assert_eq!(counter(&stats, path), None, "{path}");
        }
    }

    #[test]
    fn a_window_needs_steps_that_began() {
        let mut evidence = Evidence {
            log: ["a", "b", "c"].map(Line::parse).to_vec(),
            ..Evidence::default()
        };
        let mark = |log| Mark {
            log,
            ..Mark::default()
        };
        evidence.windows.insert("middle".into(), (mark(1), mark(2)));
        let texts = |from, until| {
            let window = evidence.window(from, until)?;
            Some(
                window
                    .log
                    .iter()
                    .map(|line| line.text.as_str())
                    .collect::<String>(),
            )
        };
        assert_eq!(texts(None, None).as_deref(), Some("abc"));
        assert_eq!(texts(Some("middle"), None).as_deref(), Some("bc"));
        assert_eq!(texts(None, Some("middle")).as_deref(), Some("ab"));
        assert_eq!(texts(Some("middle"), Some("middle")).as_deref(), Some("b"));
        assert_eq!(texts(Some("never"), None), None);
    }

    #[test]
    fn lines_are_tolerated_on_their_kernels_and_in_their_steps() {
        let mut evidence = Evidence {
            log: ["ring failed", "ring failed", "other"].map(Line::parse).to_vec(),
            ..Evidence::default()
        };
        let mark = |log| Mark {
            log,
            ..Mark::default()
        };
        evidence.windows.insert("first".into(), (mark(0), mark(1)));
        let rule = |kernels: &str, until: Option<&str>| Tolerated {
            text: "ring".into(),
            kernels: kernels.parse().unwrap(),
            from: None,
            until: until.map(str::to_owned),
        };
        let left = |rule| evidence.untolerated(&[rule], &Version::leading("6.1")).len();
        assert_eq!(left(rule("6.1", None)), 1);
        assert_eq!(left(rule("6.1", Some("first"))), 2);
        assert_eq!(left(rule("6.12", None)), 3);
        assert_eq!(left(rule("6.1", Some("never"))), 3);
    }
}
