//! What happened in one sentence or two, and the few numbers that count.

use std::fmt::Write as _;

use scenario::outcome::{Outcome, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::device::{Compared, Count, Device, UPDATES};
use super::driver::Recovery;
use super::size;
use crate::matrix;

/// A number that counts, with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: &'static str,
    /// The number with its unit.
    pub value: String,
    /// `good`, `bad` or nothing.
    pub class: &'static str,
}

/// What happened in a scenario, or in a boot with only one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// In words.
    pub sentence: String,
    /// The numbers beside the words.
    pub facts: Vec<Fact>,
}

impl Story {
    pub(super) fn new(
        device: &Device,
        recoveries: &[Recovery],
        outcome: Option<&Outcome>,
        compared: Option<&Compared>,
    ) -> Self {
        Self {
            sentence: sentence(device, recoveries, outcome, compared),
            facts: facts(device, recoveries, outcome, compared),
        }
    }
}

/// What to say about several scenarios in one boot.
pub(super) fn several(outcomes: &[Outcome]) -> String {
    let names = |wanted: fn(&Verdict) -> bool| {
        let names: Vec<_> = outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.verdict))
            .map(|outcome| matrix::name(&outcome.scenario, outcome.control.as_deref()))
            .collect();
        list(&names)
    };
    let mut text = format!(
        "{} scenarios ran one after the other in one boot: {}.",
        outcomes.len(),
        matrix::counts(outcomes)
    );
    for (who, what) in [
        (names(|cell| matches!(cell, Verdict::Fail)), "failed"),
        (
            names(|cell| matches!(cell, Verdict::Unknown)),
            "could not be judged",
        ),
        (
            names(|cell| matches!(cell, Verdict::DriverBug { .. })),
            "met a known driver bug",
        ),
    ] {
        if !who.is_empty() {
            let _ = write!(text, " {who} {what}.");
        }
    }
    text
}

fn sentence(
    device: &Device,
    recoveries: &[Recovery],
    outcome: Option<&Outcome>,
    compared: Option<&Compared>,
) -> String {
    let mut sentences = vec![happened(device, recoveries)];
    // A loss is what tables come back from; without one nothing had to.
    if !device.losses.is_empty()
        && let Some(how) = came_back(device, outcome)
    {
        sentences.push(how);
    }
    if let Some(compared) = compared {
        sentences.push(match (compared.same, compared.wrong()) {
            (0, 0) => "There was no mapping to compare.".to_owned(),
            (same, 0) => format!("All {same} mappings are as they were before."),
            (_, wrong) => format!(
                "{wrong} mappings are not as they were before: {}.",
                compared.text()
            ),
        });
    }
    sentences.join(" ")
}

fn happened(device: &Device, recoveries: &[Recovery]) -> String {
    let mut parts = Vec::new();
    if !device.hung.is_empty() {
        parts.push(format!("{} hung", list(&device.hung)));
    }
    let mut names: Vec<(&str, usize)> = Vec::new();
    // A bus reset before the driver is there is the machine's start.
    let resets = device
        .resets
        .iter()
        .filter(|reset| !matches!(reset.name.as_str(), "bus reset" | "power off"));
    for reset in resets {
        match names.iter_mut().find(|(name, _)| *name == reset.name) {
            Some((_, count)) => *count += 1,
            None => names.push((&reset.name, 1)),
        }
    }
    let names: Vec<_> = names
        .into_iter()
        .map(|(name, count)| counted(name, count))
        .collect();
    if !names.is_empty() {
        parts.push(format!("the GPU went through {}", list(&names)));
    } else if let Some(recovery) = recoveries.first() {
        let method = recovery
            .method
            .map(|method| format!(" ({method})"))
            .unwrap_or_default();
        parts.push(format!("the driver reset the GPU{method}"));
    }
    let bytes: u64 = device.losses.iter().filter_map(|loss| loss.bytes).sum();
    if let Some(loss) = device.losses.last() {
        let word = match loss.mode.as_str() {
            "poison" => "poisoned",
            "zero" => "zeroed",
            _ => "lost",
        };
        parts.push(format!("{} of VRAM were {word}", size(bytes)));
    }
    if device.vm_faults > 0 {
        let poison = match device.poisoned_faults {
            0 => String::new(),
            count => format!(" ({count} into the poison)"),
        };
        parts.push(format!("{} accesses did not translate{poison}", device.vm_faults));
    }
    match recoveries.iter().filter(|recovery| recovery.succeeded).count() {
        _ if recoveries.is_empty() => {}
        0 => parts.push("the driver did not recover".to_owned()),
        1 if recoveries.len() == 1 => {
            if let Some(milliseconds) = recoveries.first().and_then(Recovery::milliseconds) {
                parts.push(format!(
                    "the driver recovered in {}",
                    milliseconds_text(milliseconds)
                ));
            }
        }
        good => parts.push(format!(
            "the driver recovered {good} of {} times",
            recoveries.len()
        )),
    }
    if parts.is_empty() {
        return "Nothing was reset and nothing was lost.".to_owned();
    }
    let mut text = list(&parts);
    if let Some(first) = text.get(..1) {
        text.replace_range(..1, &first.to_uppercase());
    }
    text.push('.');
    text
}

/// `a MODE1 reset`, `40 MODE1 resets`, `an entry into BACO`.
fn counted(name: &str, count: usize) -> String {
    match count {
        1 if name.starts_with(['e', 'a', 'i', 'o']) => format!("an {name}"),
        1 => format!("a {name}"),
        count if name.contains("reset") => format!("{count} {}", name.replacen("reset", "resets", 1)),
        count => format!("{count} times a {name}"),
    }
}

impl Recovery {
    pub(super) fn milliseconds(&self) -> Option<f64> {
        Some(self.to? - self.from)
    }
}

/// How page tables came back: in the oracle's words if there are any, else from the packets since the last loss.
fn came_back(device: &Device, outcome: Option<&Outcome>) -> Option<String> {
    let oracle = outcome.and_then(|outcome| outcome.oracle.as_ref());
    if let Some(recovery) = oracle.and_then(|oracle| oracle.get("recovery")) {
        let number = |group: &str, name: &str| {
            recovery
                .get(group)
                .and_then(|group| group.get(name))
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        let copies = format!(
            "{} shadow copies ({} tables, {})",
            number("shadow_copies", "packets"),
            number("shadow_copies", "tables"),
            size(number("shadow_copies", "bytes"))
        );
        let written = format!(
            "{} packets ({} entries, {} tables)",
            number("rewritten", "packets"),
            number("rewritten", "entries"),
            number("rewritten", "tables")
        );
        return match recovery.get("by").and_then(Value::as_str)? {
            "shadow-copies" => Some(format!("Page tables came back by {copies}.")),
            "rewritten" => Some(format!("Page tables were written again by {written}.")),
            "both" => Some(format!(
                "Page tables came back by {copies} and were written again by {written}."
            )),
            "none" if recovery.get("lost").and_then(Value::as_bool) == Some(true) => {
                Some("No packet has written any page table since.".to_owned())
            }
            _ => None,
        };
    }
    if !device.tables_known {
        return None;
    }
    let mut copies = Count::default();
    let mut written = Vec::new();
    for (name, title, _) in UPDATES {
        let Some(count) = device.updates.get(name).filter(|count| count.packets > 0) else {
            continue;
        };
        if name == "shadow-copy" {
            copies = *count;
        } else {
            written.push(format!("{} {title} ({} entries)", count.packets, count.entries));
        }
    }
    Some(match (copies.packets, written.is_empty()) {
        (0, true) => "No packet wrote a page table in VRAM since.".to_owned(),
        (0, false) => format!("Since then page tables were written by {}.", list(&written)),
        (count, true) => format!("Since then page tables came back by {count} shadow copies."),
        (count, false) => format!(
            "Since then page tables came back by {count} shadow copies and were written by {}.",
            list(&written)
        ),
    })
}

fn facts(
    device: &Device,
    recoveries: &[Recovery],
    outcome: Option<&Outcome>,
    compared: Option<&Compared>,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name, value: Option<String>, class| {
        if let Some(value) = value {
            facts.push(Fact { name, value, class });
        }
    };
    let resets = recoveries.len();
    let good = recoveries.iter().filter(|recovery| recovery.succeeded).count();
    fact(
        "recoveries by the driver",
        (resets > 0).then(|| format!("{good} of {resets}")),
        if good == resets { "good" } else { "bad" },
    );
    let longest = recoveries
        .iter()
        .filter_map(Recovery::milliseconds)
        .reduce(f64::max);
    fact(
        if resets > 1 {
            "longest recovery"
        } else {
            "recovery"
        },
        longest.map(milliseconds_text),
        "",
    );
    for time in outcome.iter().flat_map(|outcome| outcome.times()) {
        fact(time.label, time.ms.map(milliseconds_text), "");
    }
    let bytes: u64 = device.losses.iter().filter_map(|loss| loss.bytes).sum();
    fact("VRAM lost", (bytes > 0).then(|| size(bytes)), "");
    fact(
        "mappings as before",
        compared.map(|found| format!("{} of {}", found.same, found.same + found.wrong())),
        match compared {
            Some(found) if found.wrong() > 0 => "bad",
            Some(_) => "good",
            None => "",
        },
    );
    fact(
        "accesses that did not translate",
        (device.vm_faults > 0).then(|| device.vm_faults.to_string()),
        "bad",
    );
    facts
}

/// Milliseconds as people say them.
pub fn milliseconds_text(milliseconds: f64) -> String {
    if milliseconds < 1000.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{:.2} s", milliseconds / 1000.0)
    }
}

/// `a, b and c`.
fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
