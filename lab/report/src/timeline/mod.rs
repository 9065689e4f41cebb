//! A boot on one clock: what the driver said, what the device did, what became of VRAM and the page tables.
//!
//! Everything is worked out here, where it is tested; the page only draws it.

mod device;
mod driver;
mod evidence;
mod story;
#[cfg(test)]
mod tests;

pub use evidence::{DeviceEvent, Evidence};
pub use story::{Fact, Story, milliseconds_text};

use device::{Compared, Device};
use driver::Driver;
use protocol::guest::console::{Line, Marker};
use scenario::outcome::{Outcome, Verdict};
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

/// More rows than this make a page slow: fences and interrupts are then only drawn, not listed.
const MOST_ROWS: usize = 40_000;

/// A boot, ready to be drawn. Times are in milliseconds since `start_unix_us`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// Where time 0 is on the host's clock.
    pub start_unix_us: u64,
    /// The end.
    pub end: f64,
    /// What happened, for the whole boot; if several scenarios ran in it, how many of them passed.
    pub story: Story,
    /// What happened in each scenario, if there are several.
    pub stories: Vec<Story>,
    /// What is worth a look, with the place where it is best seen.
    pub views: Vec<View>,
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
    /// The moments that matter, in order.
    pub moments: Vec<Moment>,
    /// Every line and every event, in order.
    pub log: Vec<Row>,
    /// What is missing.
    pub gaps: Vec<String>,
}

/// A part of the time line worth looking at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// What it shows.
    pub title: String,
    /// Left edge.
    pub from: f64,
    /// Right edge.
    pub to: f64,
    /// Where its clock starts.
    pub zero: f64,
    /// The scenario that it belongs to, as an index into the outcomes.
    pub outcome: Option<usize>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lane {
    /// Its title.
    pub title: String,
    /// What it shows, for those who do not know.
    pub about: &'static str,
    /// How it is drawn.
    pub kind: LaneKind,
    /// Titles of its rows, if they have any.
    pub rows: Vec<&'static str>,
    /// Spans and instants.
    pub items: Vec<Item>,
    /// Bars.
    pub series: Vec<Series>,
}

/// How a lane is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneKind {
    /// Spans and instants in rows.
    Items,
    /// Bars that go up and down from a line.
    Bars,
    /// One row: spans over a band whose shade is how much there is.
    Activity,
    /// Spans that touch each other.
    Strip,
}

/// A span, or an instant if both ends are the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Begin.
    pub from: f64,
    /// End.
    pub to: f64,
    /// Row in the lane.
    pub row: u8,
    /// How it is coloured.
    pub class: &'static str,
    /// A word or two.
    pub label: String,
    /// All of it.
    pub text: String,
    /// Its row in the log.
    pub log: usize,
}

impl Item {
    fn span(at: f64, row: u8, class: &'static str, label: &str, text: &str, log: usize) -> Self {
        Self {
            from: at,
            to: at,
            row,
            class,
            label: label.to_owned(),
            text: text.to_owned(),
            log,
        }
    }

    fn instant(at: f64, row: u8, class: &'static str, label: &str, text: &str, log: usize) -> Self {
        Self::span(at, row, class, label, text, log)
    }
}

/// A bar: time, height, row in the log.
pub type Point = (f64, f64, usize);

/// Bars of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// How it is coloured.
    pub class: &'static str,
    /// Above the line, or below.
    pub up: bool,
    /// The bars.
    pub points: Vec<Point>,
}

/// A moment that matters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// When.
    pub at: f64,
    /// `good`, `bad` or `neutral`.
    pub class: &'static str,
    /// What.
    pub what: String,
    /// Its row in the log.
    pub log: usize,
}

/// Who said a row of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The guest's kernel.
    Kernel = 0,
    /// The driver and DRM.
    Driver = 1,
    /// The lab and its program in the guest.
    Lab = 2,
    /// The device: resets, losses, faults and the like.
    Device = 3,
    /// The device: page-table updates.
    Tables = 4,
    /// The device: fences and interrupts.
    Signals = 5,
    /// The guest's tracepoints, through the guest port.
    Trace = 6,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When.
    pub at: f64,
    /// Who.
    pub source: Source,
    /// Whether it is something that went wrong.
    pub bad: bool,
    /// What.
    pub text: String,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.at)?;
        tuple.serialize_element(&(self.source as u8))?;
        tuple.serialize_element(&u8::from(self.bad))?;
        tuple.serialize_element(&self.text)?;
        tuple.end()
    }
}

/// What can stand at a place of the clock.
#[derive(Debug, Clone, Copy)]
enum Entry<'a> {
    Line(&'a Line),
    Event(&'a DeviceEvent),
}

impl Timeline {
    /// Puts everything on one clock.
    pub fn new(evidence: &Evidence, outcomes: &[Outcome]) -> Self {
        let times = evidence.console_times();
        let lines = times
            .iter()
            .zip(&evidence.console)
            .map(|(at, line)| (*at, Entry::Line(line)));
        let events = evidence
            .events
            .iter()
            .map(|event| (event.at_us, Entry::Event(event)));
        let mut entries: Vec<(u64, Entry<'_>)> = lines.chain(events).collect();
        entries.sort_by_key(|(at, _)| *at);
        let steps = || outcomes.iter().flat_map(|outcome| &outcome.steps);
        let started = entries.first().map(|(at, _)| *at);
        let start = started
            .into_iter()
            .chain(steps().map(|step| step.began_unix_us).filter(|began| *began > 0));
        let start = start.min().unwrap_or_default();
        let clock = |at: u64| milliseconds(at.saturating_sub(start));
        let end = entries.last().map_or(0.0, |(at, _)| clock(*at));
        let end = steps()
            .filter(|step| step.began_unix_us > 0)
            .map(|step| clock(step.began_unix_us) + step.seconds * 1000.0)
            .fold(end, f64::max);

        let mut gaps = evidence.gaps.clone();
        let quiet = entries.len() > MOST_ROWS;
        let mut left_out = 0_usize;
        let mut log: Vec<Row> = Vec::new();
        let mut driver = Driver::default();
        let mut device = Device::default();
        let mut known_recoveries = 0;
        for (at, entry) in entries {
            let at = clock(at);
            let row = log.len();
            match entry {
                Entry::Line(line) => {
                    let marker = line.marker();
                    if matches!(marker, Some(Marker::Ready { .. })) {
                        driver.restart(at);
                    }
                    let bad = marker.is_none() && driver.line(at, row, line);
                    let ended = driver
                        .recoveries
                        .iter()
                        .filter(|recovery| recovery.succeeded)
                        .count();
                    if ended > known_recoveries {
                        known_recoveries = ended;
                        device.recovered(at, row);
                    }
                    let source = if marker.is_some() {
                        Source::Lab
                    } else {
                        source(&line.text)
                    };
                    log.push(Row {
                        at,
                        source,
                        bad,
                        text: line.text.clone(),
                    });
                }
                Entry::Event(event) => {
                    let source = event_source(&event.kind);
                    let listed = !(quiet && source == Source::Signals);
                    device.event(at, if listed { row } else { row.saturating_sub(1) }, event);
                    if !listed {
                        left_out += 1;
                        continue;
                    }
                    log.push(Row {
                        at,
                        source,
                        bad: matches!(event.kind.as_str(), "vm-fault" | "engine-halted" | "fault-fired"),
                        text: match event.text("text").filter(|_| source == Source::Trace) {
                            Some(text) => text.trim().to_owned(),
                            None => format!("{} {}", event.kind, event.detail()).trim_end().to_owned(),
                        },
                    });
                }
            }
        }
        if left_out > 0 {
            gaps.push(format!(
                "{left_out} fences and interrupts are drawn but not listed below; events.jsonl has them."
            ));
        }
        let compared = compared(&mut device, outcomes, &log, &clock);
        device.finish(end);
        driver.finish(end);
        // The driver resets engines on its way through a probe or a recovery: that is no event of its own.
        device.resets.retain(|reset| {
            let inside = |(from, to): &(f64, f64)| (*from..=*to).contains(&reset.from);
            reset.whole || !driver.busy.iter().any(inside)
        });
        let recoveries = driver.recoveries;
        let mut moments = driver.moments;
        moments.append(&mut device.moments);
        moments.sort_by(|a, b| a.at.total_cmp(&b.at));
        let (story, stories) = match outcomes {
            [] | [_] => (
                Story::new(&device, &recoveries, outcomes.first(), compared.as_ref()),
                Vec::new(),
            ),
            several => (
                Story {
                    sentence: story::several(several),
                    facts: Vec::new(),
                },
                stories(evidence, several),
            ),
        };
        let views = views(end, outcomes, &recoveries, &device, &clock);
        let lanes = lanes(steps_lane(outcomes, &log, &clock, end), driver.items, device);
        Self {
            start_unix_us: start,
            end,
            story,
            stories,
            views,
            lanes,
            moments,
            log,
            gaps,
        }
    }
}

/// What happened in each of several scenarios, from the evidence of its own time.
fn stories(evidence: &Evidence, outcomes: &[Outcome]) -> Vec<Story> {
    let mut ends: Vec<u64> = outcomes
        .iter()
        .skip(1)
        .map(|outcome| outcome.began_unix_us)
        .collect();
    ends.push(u64::MAX);
    outcomes
        .iter()
        .zip(ends)
        .map(|(outcome, end)| {
            let window = evidence.window(outcome.began_unix_us, end);
            Timeline::new(&window, std::slice::from_ref(outcome)).story
        })
        .collect()
}

/// The last comparison of page tables; one that the event log does not have is put at the end of its scenario.
fn compared(
    device: &mut Device,
    outcomes: &[Outcome],
    log: &[Row],
    clock: &impl Fn(u64) -> f64,
) -> Option<Compared> {
    let mut last = None;
    for outcome in outcomes {
        let Some(found) = outcome.oracle.as_ref().and_then(Compared::read) else {
            continue;
        };
        last = Some(found);
        if device
            .moments
            .iter()
            .any(|moment| moment.what.starts_with("oracle:"))
        {
            continue;
        }
        let began = clock(outcome.began_unix_us);
        let loss = device
            .losses
            .iter()
            .find(|loss| loss.from >= began)
            .map(|loss| loss.from);
        if let (Some(loss), Some(verified)) = (loss, outcome.loss_to_verified_ms) {
            let at = loss + verified;
            device.compared(at, row_at(log, at), &found);
        }
    }
    last
}

/// The steps: as the outcomes have them, or by the marks that the guest puts into its log.
fn steps_lane(outcomes: &[Outcome], log: &[Row], clock: &impl Fn(u64) -> f64, end: f64) -> Vec<Item> {
    let mut items = Vec::new();
    for step in outcomes.iter().flat_map(|outcome| &outcome.steps) {
        if step.began_unix_us == 0 {
            continue;
        }
        let from = clock(step.began_unix_us);
        let (class, text) = match &step.failure {
            None => ("step", step.title.clone()),
            Some(failure) => ("step-bad", format!("{}\nfailed: {failure}", step.title)),
        };
        items.push(Item {
            to: from + step.seconds * 1000.0,
            ..Item::span(from, 0, class, &step.title, &text, row_at(log, from))
        });
    }
    if !items.is_empty() {
        return items;
    }
    let titles: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.steps)
        .skip(1)
        .map(|step| step.title.as_str())
        .collect();
    let mut begun = 0;
    let mut open: Option<Item> = None;
    for (index, row) in log
        .iter()
        .enumerate()
        .filter(|(_, row)| row.source == Source::Lab)
    {
        match Line::parse(&row.text).marker() {
            Some(Marker::Begin { .. }) => {
                let title = titles.get(begun).copied().unwrap_or("step");
                begun += 1;
                open = Some(Item::span(row.at, 0, "step", title, title, index));
            }
            Some(Marker::End { ok, error, .. }) => {
                if let Some(mut item) = open.take() {
                    item.to = row.at;
                    if !ok {
                        item.class = "step-bad";
                        item.text = format!("{}\nfailed: {error}", item.text);
                    }
                    items.push(item);
                }
            }
            _ => {}
        }
    }
    items.extend(open.map(|item| Item { to: end, ..item }));
    items
}

fn lanes(steps: Vec<Item>, driver: Vec<Item>, mut device: Device) -> Vec<Lane> {
    let lane = |title: &str, about, kind, rows: &[&'static str], items, series| Lane {
        title: title.to_owned(),
        about,
        kind,
        rows: rows.to_vec(),
        items,
        series,
    };
    let series = |name: &str, class, up, points: Vec<_>| {
        (!points.is_empty()).then(|| Series {
            name: name.to_owned(),
            class,
            up,
            points,
        })
    };
    let updates = device.update_series();
    let traced = series("tracepoints", "trace", true, std::mem::take(&mut device.traced));
    let signals = [
        series("fences", "fence", true, std::mem::take(&mut device.fences)),
        series(
            "interrupts",
            "interrupt",
            false,
            std::mem::take(&mut device.interrupts),
        ),
    ];
    let mut lanes = vec![
        lane(
            "Steps",
            "What the lab ordered",
            LaneKind::Items,
            &[],
            steps,
            vec![],
        ),
        lane(
            "Driver",
            "What the driver's log says: the whole, its phases, and what stands out",
            LaneKind::Items,
            &[],
            driver,
            vec![],
        ),
        lane(
            "Device",
            "What the device did: resets, losses of VRAM, faults",
            LaneKind::Items,
            &[],
            std::mem::take(&mut device.events),
            vec![],
        ),
    ];
    lanes.push(lane(
        "Tracepoints",
        "How many of the driver's tracepoints the guest told through its port",
        LaneKind::Bars,
        &[],
        vec![],
        traced.into_iter().collect(),
    ));
    for (name, engine) in std::mem::take(&mut device.engines) {
        let fences = series("fences", "fence", true, engine.fences);
        lanes.push(lane(
            &name,
            "Fences of the engine (the darker, the more), and when it stood still",
            LaneKind::Activity,
            &[],
            engine.items,
            fences.into_iter().collect(),
        ));
    }
    lanes.push(lane(
        "Page-table updates",
        "Entries that SDMA packets wrote: upwards into the tables in VRAM, downwards into their shadows in system memory",
        LaneKind::Bars,
        &[],
        vec![],
        updates,
    ));
    lanes.push(lane(
        "Fences and interrupts",
        "How many: fences upwards, interrupts downwards",
        LaneKind::Bars,
        &[],
        vec![],
        signals.into_iter().flatten().collect(),
    ));
    lanes.push(lane(
        "Memory",
        "What is in VRAM, and whether the page tables are what the driver had written",
        LaneKind::Strip,
        &["VRAM", "page tables"],
        std::mem::take(&mut device.strips),
        vec![],
    ));
    lanes.retain(|lane| !lane.items.is_empty() || !lane.series.is_empty());
    lanes
}

/// The whole, each scenario, and each reset or loss with a little around it. The first is where a page opens.
fn views(
    end: f64,
    outcomes: &[Outcome],
    recoveries: &[driver::Recovery],
    device: &Device,
    clock: &impl Fn(u64) -> f64,
) -> Vec<View> {
    /// More buttons than this help nobody.
    const MOST: usize = 8;

    let mut spans: Vec<(f64, f64, &str)> = recoveries
        .iter()
        .map(|recovery| (recovery.from, recovery.to.unwrap_or(end), "Reset"))
        .collect();
    // What no recovery of the driver's contains: a reset of its own making, and a loss on command, outside of any reset.
    let whole = device.resets.iter().filter(|reset| reset.whole);
    let others = whole
        .map(|reset| (reset.from, "Reset"))
        .chain(device.losses.iter().map(|loss| (loss.from, "Loss")));
    for (at, what) in others {
        if at > 0.0
            && !spans
                .iter()
                .any(|(from, to, _)| (*from - 1.0..=*to).contains(&at))
        {
            spans.push((at, at + 200.0, what));
        }
    }
    // The machine's own start and end are no events to look at. A guest that goes on from a checkpoint is quick to begin with what it is for.
    let begun = outcomes
        .iter()
        .map(|outcome| clock(outcome.began_unix_us))
        .reduce(f64::min)
        .unwrap_or_default();
    let after_start = |from: f64| {
        let first_recovery = recoveries.first().map_or(0.0, |first| first.from);
        recoveries.is_empty() || from >= begun.max(first_recovery - 5000.0)
    };
    spans.retain(|(from, to, _)| {
        after_start(*from) && *to < end || recoveries.iter().any(|recovery| recovery.from == *from)
    });
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));

    let mut views = Vec::new();
    for (index, (from, to, what)) in spans.iter().copied().take(MOST).enumerate() {
        let width = (to - from).max(1.0);
        let alike = |spans: &[(f64, f64, &str)]| spans.iter().filter(|(_, _, other)| *other == what).count();
        views.push(View {
            title: match alike(&spans) {
                1 => what.to_owned(),
                _ => format!("{what} {}", alike(spans.get(..=index).unwrap_or_default())),
            },
            from: (from - width * 0.15).max(0.0),
            to: (to + width * 0.25).min(end),
            zero: from,
            outcome: None,
        });
    }
    // A comparison that comes long after the only reset would make its view wide and the reset small.
    let verified = device.strips.iter().rfind(|strip| strip.class == "verified");
    if let ([reset], Some(verified)) = (views.as_slice(), verified)
        && verified.from > reset.to
    {
        views.push(View {
            title: "Until verified".to_owned(),
            to: (verified.from + (verified.from - reset.zero) * 0.1).min(end),
            ..reset.clone()
        });
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        if outcomes.len() < 2
            || matches!(outcome.verdict, Verdict::NotApplicable { .. })
            || outcome.steps.is_empty()
        {
            continue;
        }
        let from = clock(outcome.began_unix_us);
        views.push(View {
            title: super::matrix::name(&outcome.scenario, outcome.control.as_deref()),
            from,
            to: (from + outcome.seconds * 1000.0).min(end),
            zero: from,
            outcome: Some(index),
        });
    }
    views.push(View {
        title: "Whole run".to_owned(),
        from: 0.0,
        to: end,
        zero: 0.0,
        outcome: None,
    });
    views
}

/// The first row at or after a time.
fn row_at(log: &[Row], at: f64) -> usize {
    log.partition_point(|row| row.at < at)
        .min(log.len().saturating_sub(1))
}

fn source(text: &str) -> Source {
    const WORDS: [&str; 4] = ["amdgpu", "[drm", "drm:", "kfd kfd"];
    if WORDS.iter().any(|word| text.contains(word)) {
        Source::Driver
    } else {
        Source::Kernel
    }
}

fn event_source(kind: &str) -> Source {
    match kind {
        "page-table-update" => Source::Tables,
        "fence" | "interrupt" => Source::Signals,
        "guest-trace" => Source::Trace,
        _ => Source::Device,
    }
}

/// Microseconds as milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a run has fewer than 2^53 microseconds"
)]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

/// Bytes as people say them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
