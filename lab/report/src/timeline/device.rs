//! The device's events as lanes: resets and losses, engines, page-table updates, fences and interrupts, and what is in VRAM.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evidence::DeviceEvent;
use super::{Item, Moment, Point, Series};

/// Page-table updates by the packets that made them: as the log names them, for a reader, and the class for the page.
pub(super) const UPDATES: [(&str, &str, &str); 4] = [
    ("set-pte-pde", "PTEPDE", "pte"),
    ("write", "WRITE_LINEAR", "write"),
    ("copy", "COPY_LINEAR from the IB", "copy"),
    ("shadow-copy", "COPY_LINEAR of a shadow", "shadow-copy"),
];

/// Packets and entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) entries: u64,
}

impl Count {
    fn add(&mut self, event: &DeviceEvent) {
        self.packets = self.packets.saturating_add(event.number("packets"));
        self.entries = self.entries.saturating_add(event.number("entries"));
    }
}

/// What became of VRAM in one loss.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loss {
    pub(super) from: f64,
    pub(super) mode: String,
    /// Populated bytes; none if its end was not seen.
    pub(super) bytes: Option<u64>,
}

/// A reset of the device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reset {
    pub(super) from: f64,
    pub(super) name: String,
    /// Whether it is more than a part that is reset.
    pub(super) whole: bool,
}

/// What the device did, as it is gathered event by event.
#[derive(Debug, Default)]
pub(super) struct Device {
    /// Resets in row 0, losses in row 1, faults and messages in row 2.
    pub(super) events: Vec<Item>,
    /// Per engine: what stood still, and its fences.
    pub(super) engines: BTreeMap<String, Engine>,
    /// VRAM in row 0, page tables in row 1.
    pub(super) strips: Vec<Item>,
    pub(super) moments: Vec<Moment>,
    pub(super) resets: Vec<Reset>,
    pub(super) losses: Vec<Loss>,
    /// Updates of tables in VRAM since the last loss, by packets.
    pub(super) updates: BTreeMap<&'static str, Count>,
    /// The same by packets and whether they went to the tables themselves (else their copies in system memory).
    points: BTreeMap<(&'static str, bool), Vec<Point>>,
    pub(super) fences: Vec<Point>,
    pub(super) interrupts: Vec<Point>,
    /// Lines of the guest's trace.
    pub(super) traced: Vec<Point>,
    pub(super) vm_faults: u64,
    pub(super) poisoned_faults: u64,
    pub(super) hung: Vec<String>,
    open_resets: Vec<Item>,
    open_loss: Option<Item>,
    vram: Option<Item>,
    tables: Option<Item>,
    /// Whether anything was ever said about page tables.
    pub(super) tables_known: bool,
}

/// One engine.
#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) items: Vec<Item>,
    pub(super) fences: Vec<Point>,
    open: Option<Item>,
}

impl Device {
    /// Takes an event. `row` is its row in the log.
    pub(super) fn event(&mut self, at: f64, row: usize, event: &DeviceEvent) {
        let detail = format!("{} {}", event.kind, event.detail());
        match event.kind.as_str() {
            "started" => {
                self.vram = Some(Item::span(
                    at,
                    0,
                    "good",
                    "in use",
                    "what the driver keeps in VRAM",
                    row,
                ));
                self.tables = Some(Item::span(at, 1, "good", "as the driver wrote them", "", row));
            }
            "front-end" => {
                let connected = event.fields.get("connected").and_then(Value::as_bool) == Some(true);
                let label = if connected {
                    "machine connected"
                } else {
                    "machine gone"
                };
                self.events
                    .push(Item::instant(at, 2, "neutral", label, &detail, row));
            }
            "reset-begin" => self.reset_begin(at, row, event, &detail),
            "reset-end" => self.reset_end(at, event, &detail),
            "loss-begin" => self.loss_begin(at, row, event, &detail),
            "loss-end" => self.loss_end(at, row, event, &detail),
            "fault-armed" | "fault-fired" | "fault-cleared" => self.fault(at, row, event, &detail),
            "page-table-update" => self.update(at, row, event),
            "vm-fault" => {
                self.vm_faults += 1;
                let poisoned = event.fields.get("poisoned").and_then(Value::as_bool) == Some(true);
                self.poisoned_faults += u64::from(poisoned);
                let label = if poisoned { "fault: poison" } else { "fault" };
                self.events.push(Item::instant(at, 2, "bad", label, &detail, row));
                if self.vm_faults == 1 {
                    self.moment(at, row, "bad", "device: the first access that does not translate");
                }
            }
            "fence" => {
                self.fences.push((at, 1.0, row));
                if let Some(engine) = event.text("engine") {
                    let engine = self.engines.entry(engine.to_owned()).or_default();
                    engine.fences.push((at, 1.0, row));
                    // A fence behind a wait: it was not hung, only late.
                    engine.close(at, "waits");
                }
            }
            "mailbox" => self.mailbox(at, row, event, &detail),
            "interrupt" => self.interrupts.push((at, 1.0, row)),
            "guest-trace" => self.traced.push((at, 1.0, row)),
            "guest-request" => {
                let class = if event.text("refused").is_some() {
                    "bad"
                } else {
                    "neutral"
                };
                let label = format!("guest asks: {}", event.text("text").unwrap_or("something"));
                self.events
                    .push(Item::instant(at, 2, class, &label, &detail, row));
                self.moment(at, row, class, &label);
            }
            "engine-halted" => self.stopped(at, row, event, "hung", "halted", event.text("reason")),
            "engine-waits" => self.stopped(at, row, event, "waits", "waits", event.text("target")),
            "oracle" => self.oracle(at, row, event),
            _ => {}
        }
    }

    /// Closes what is open.
    pub(super) fn finish(&mut self, end: f64) {
        for mut reset in std::mem::take(&mut self.open_resets) {
            reset.to = end;
            reset.class = "reset-open";
            self.events.push(reset);
        }
        if let Some(mut loss) = self.open_loss.take() {
            loss.to = end;
            self.events.push(loss);
        }
        for engine in self.engines.values_mut() {
            engine.close(end, "hung");
            engine.close(end, "waits");
        }
        // Without any word about page tables there is nothing to say about them.
        if !self.tables_known {
            self.tables = None;
            self.strips.retain(|strip| strip.row == 0);
        }
        for mut strip in [self.vram.take(), self.tables.take()].into_iter().flatten() {
            strip.to = end;
            self.strips.push(strip);
        }
    }

    /// The bars of page-table updates: above the line into VRAM, below into system memory.
    pub(super) fn update_series(&mut self) -> Vec<Series> {
        UPDATES
            .iter()
            .flat_map(|(name, title, class)| [true, false].map(|up| (*name, *title, *class, up)))
            .filter_map(|(name, title, class, up)| {
                Some(Series {
                    name: format!("{title}, {}", if up { "VRAM" } else { "system memory" }),
                    class,
                    up,
                    points: self.points.remove(&(name, up))?,
                })
            })
            .collect()
    }

    fn reset_begin(&mut self, at: f64, row: usize, event: &DeviceEvent, detail: &str) {
        let (name, whole) = reset_name(event);
        self.moment(at, row, "neutral", &format!("device: {name} begins"));
        self.resets.push(Reset {
            from: at,
            name: name.clone(),
            whole,
        });
        self.open_resets
            .push(Item::span(at, 0, "reset", &name, detail, row));
    }

    fn reset_end(&mut self, at: f64, event: &DeviceEvent, detail: &str) {
        let (name, whole) = reset_name(event);
        if let Some(place) = self.open_resets.iter().rposition(|open| open.label == name) {
            let mut reset = self.open_resets.remove(place);
            reset.to = at;
            reset.text.push('\n');
            reset.text.push_str(detail);
            self.events.push(reset);
        }
        let target = event.text("target");
        let sdma = event.text("kind") == Some("soft-sdma");
        for (engine, state) in &mut self.engines {
            if whole || target == Some(engine) || (sdma && target.is_none() && engine.starts_with("sdma")) {
                state.close(at, "hung");
                state.close(at, "waits");
            }
        }
    }

    fn loss_begin(&mut self, at: f64, row: usize, event: &DeviceEvent, detail: &str) {
        let mode = event.text("mode").unwrap_or("lost").to_owned();
        if mode == "keep" {
            return;
        }
        let (label, after) = loss_words(&mode);
        self.moment(
            at,
            row,
            "bad",
            &format!(
                "device: VRAM is {after}, cause {}",
                event.text("cause").unwrap_or("unknown")
            ),
        );
        self.open_loss = Some(Item::span(at, 1, "loss", label, detail, row));
        // Whoever switches a machine off wants to lose what is in it.
        if event.text("cause") != Some("power-off") {
            self.losses.push(Loss {
                from: at,
                mode,
                bytes: None,
            });
            self.updates.clear();
        }
        self.strip(0, Item::span(at, 0, "losing", label, detail, row));
        self.strip(
            1,
            Item::span(at, 1, "lost", &format!("lost ({after})"), detail, row),
        );
    }

    fn loss_end(&mut self, at: f64, row: usize, event: &DeviceEvent, detail: &str) {
        let Some(mut item) = self.open_loss.take() else {
            return;
        };
        item.to = at;
        item.text.push('\n');
        item.text.push_str(detail);
        self.events.push(item);
        let bytes = event.number("bytes");
        if let Some(loss) = self.losses.last_mut().filter(|loss| loss.bytes.is_none()) {
            loss.bytes = Some(bytes);
        }
        let (_, after) = loss_words(event.text("mode").unwrap_or("lost"));
        self.moment(at, row, "bad", &format!("device: {} {after}", super::size(bytes)));
        self.strip(0, Item::span(at, 0, "lost", after, detail, row));
    }

    /// The driver's own word that it is done: VRAM is in use again, whatever is in it.
    pub(super) fn recovered(&mut self, at: f64, row: usize) {
        if self.vram.as_ref().is_some_and(|vram| vram.class == "lost") {
            self.strip(
                0,
                Item::span(
                    at,
                    0,
                    "good",
                    "in use again",
                    "the driver said that the reset succeeded",
                    row,
                ),
            );
        }
    }

    /// What guest and host of a virtual function say to each other; that a reset is announced is a moment of its own.
    fn mailbox(&mut self, at: f64, row: usize, event: &DeviceEvent, detail: &str) {
        let from = event.text("from").unwrap_or("somebody");
        let message = event.text("message").unwrap_or("something");
        let fate = event.text("fate");
        let class = if fate.is_some() { "bad" } else { "neutral" };
        let label = match fate {
            Some(fate) => format!("{from}: {message}, {fate}"),
            None => format!("{from}: {message}"),
        };
        self.events.push(Item::instant(at, 2, class, &label, detail, row));
        if message == "FLR_NOTIFICATION" || fate.is_some() {
            self.moment(at, row, class, &label);
        }
    }

    fn fault(&mut self, at: f64, row: usize, event: &DeviceEvent, detail: &str) {
        let fault = event.text("fault").unwrap_or("fault");
        let (class, what) = match event.kind.as_str() {
            "fault-armed" => ("armed", "armed"),
            "fault-fired" => ("bad", "fired"),
            _ => ("neutral", "cleared"),
        };
        let label = format!("{fault} {what}");
        self.events.push(Item::instant(at, 2, class, &label, detail, row));
        self.moment(at, row, class, &format!("on command: {label}"));
        if fault == "hang" && what == "fired" {
            self.stopped(at, row, event, "hung", "hangs", event.text("detail"));
        }
    }

    fn stopped(
        &mut self,
        at: f64,
        row: usize,
        event: &DeviceEvent,
        class: &'static str,
        label: &str,
        why: Option<&str>,
    ) {
        let Some(name) = event.text("engine") else {
            return;
        };
        let why = why.unwrap_or_default();
        let engine = self.engines.entry(name.to_owned()).or_default();
        engine.close(at, "waits");
        if engine.open.is_none() {
            engine.open = Some(Item::span(
                at,
                0,
                class,
                label,
                &format!("{name} {label}: {why}"),
                row,
            ));
            if class == "hung" && !self.hung.iter().any(|known| known == name) {
                self.hung.push(name.to_owned());
            }
            self.moment(at, row, "bad", &format!("device: {name} {label}"));
        }
    }

    fn update(&mut self, at: f64, row: usize, event: &DeviceEvent) {
        let Some((name, _, _)) = UPDATES
            .iter()
            .find(|(name, _, _)| event.text("kind") == Some(name))
        else {
            return;
        };
        let vram = match event.text("target") {
            Some("vram") => true,
            Some("system") => false,
            // The table of context 0 has no shadow and belongs to no VM; what faulted went nowhere.
            _ => return,
        };
        self.tables_known = true;
        let entries = event.number("entries");
        #[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
        let height = entries as f64;
        self.points
            .entry((name, vram))
            .or_default()
            .push((at, height, row));
        if !vram {
            return;
        }
        self.updates.entry(name).or_default().add(event);
        if self
            .tables
            .as_ref()
            .is_some_and(|tables| matches!(tables.class, "lost" | "bad"))
        {
            self.strip(
                1,
                Item::span(
                    at,
                    1,
                    "rewriting",
                    "written, not compared yet",
                    "packets have written tables since the loss",
                    row,
                ),
            );
        }
    }

    fn oracle(&mut self, at: f64, row: usize, event: &DeviceEvent) {
        let fields = Value::Object(event.fields.clone());
        let Some(found) = Compared::read(&fields) else {
            return;
        };
        self.tables_known = true;
        let (class, label) = if found.wrong() == 0 {
            ("verified", format!("verified: {} as before", found.same))
        } else {
            ("bad", format!("{} not as before", found.wrong()))
        };
        self.moment(
            at,
            row,
            if found.wrong() == 0 { "good" } else { "bad" },
            &format!("oracle: {}", found.text()),
        );
        self.strip(1, Item::span(at, 1, class, &label, &found.text(), row));
    }

    /// What the lab asked the oracle, if the event log has no answer of its own.
    pub(super) fn compared(&mut self, at: f64, row: usize, found: &Compared) {
        self.tables_known = true;
        let class = if found.wrong() == 0 { "verified" } else { "bad" };
        let label = match class {
            "verified" => format!("verified: {} as before", found.same),
            _ => format!("{} not as before", found.wrong()),
        };
        self.strip(1, Item::span(at, 1, class, &label, &found.text(), row));
    }

    fn strip(&mut self, which: u8, next: Item) {
        let place = if which == 0 {
            &mut self.vram
        } else {
            &mut self.tables
        };
        if let Some(mut before) = place.replace(next) {
            before.to = place.as_ref().map_or(before.to, |next| next.from);
            self.strips.push(before);
        }
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

impl Engine {
    fn close(&mut self, at: f64, class: &str) {
        if let Some(mut item) = self.open.take_if(|open| open.class == class) {
            item.to = at;
            self.items.push(item);
        }
    }
}

/// How mappings compare with those before the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) same: u64,
    missing: u64,
    different: u64,
    poisoned: u64,
}

impl Compared {
    /// Reads the oracle's answer, or its event: the sums over the spaces that are in use.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
        let of = |value: &Value| {
            Some(Self {
                same: number(value, "same")?,
                missing: number(value, "missing").unwrap_or_default(),
                different: number(value, "different").unwrap_or_default(),
                poisoned: number(value, "poisoned").unwrap_or_default(),
            })
        };
        of(answer.get("in_use").unwrap_or(answer))
    }

    pub(super) const fn wrong(&self) -> u64 {
        self.missing + self.different + self.poisoned
    }

    pub(super) fn text(&self) -> String {
        let mut parts = vec![format!("{} mappings as before", self.same)];
        for (count, what) in [
            (self.missing, "missing"),
            (self.different, "different"),
            (self.poisoned, "poisoned"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.join(", ")
    }
}

/// A reset in words, and whether it is more than a part that is reset.
fn reset_name(event: &DeviceEvent) -> (String, bool) {
    let (name, whole) = match event.text("kind").unwrap_or("reset") {
        "mode1-smu" => ("MODE1 reset by the SMU", true),
        "mode1-psp" => ("MODE1 reset by the PSP", true),
        "mode2" => ("MODE2 reset", true),
        "baco-enter" => ("entry into BACO", true),
        "baco-exit" => ("exit from BACO", true),
        "vf-flr" => ("reset of the function by its host", true),
        "function-level" => ("function level reset", true),
        "bus" => ("bus reset", true),
        "d3hot" => ("stay in D3hot", true),
        "power-off" => ("power off", true),
        "soft-sdma" => ("soft reset of SDMA", false),
        "soft-gfx" => ("soft reset of graphics", false),
        "queue" => ("queue reset", false),
        other => (other, true),
    };
    match event.text("target") {
        Some(target) => (format!("{name} {target}"), whole),
        None => (name.to_owned(), whole),
    }
}

/// What a loss is called while it goes on, and what VRAM is afterwards.
fn loss_words(mode: &str) -> (&'static str, &'static str) {
    match mode {
        "poison" => ("being poisoned", "poisoned"),
        "zero" => ("being zeroed", "zeroed"),
        _ => ("being lost", "lost"),
    }
}
