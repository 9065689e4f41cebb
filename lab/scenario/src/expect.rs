//! Holds expectations against the evidence. Evidence that is not there never satisfies one.

use protocol::guest::note;
use serde_json::{Map, Value};

use super::condition::{Amount, Matcher};
use super::evidence::{Evidence, Window, counter};
use super::model::{Change, Expectation, Expected};
use super::outcome::Checked;
use protocol::asic::Asic;

/// Holds one expectation against what was seen.
pub fn check(expectation: &Expectation, evidence: &Evidence) -> Checked {
    let (ok, found) = holds(expectation, evidence);
    Checked {
        text: expectation.title(),
        ok,
        found,
    }
}

type Held = (bool, String);

fn holds(expectation: &Expectation, evidence: &Evidence) -> Held {
    let Some(window) = evidence.window(expectation.from.as_deref(), expectation.until.as_deref()) else {
        return (false, "a step that it is about never began".to_owned());
    };
    let asic = evidence.asic;
    match &expectation.what {
        Expected::Dmesg { pattern, count } => {
            let lines = messages(window).filter(|text| pattern.of(asic).is_match(text));
            counted(lines.collect(), *count)
        }
        Expected::DmesgOrder(patterns) => in_order(
            patterns,
            &messages(window).collect::<Vec<_>>(),
            |pattern, text| pattern.of(asic).is_match(text),
            |text| (*text).to_owned(),
        ),
        Expected::Event { .. } | Expected::EventOrder(_) if evidence.flaw.is_some() => {
            (false, evidence.flaw.clone().unwrap_or_default())
        }
        Expected::Event { .. } | Expected::EventOrder(_)
            if window.events.iter().any(|event| event.kind() == "lagged") =>
        {
            (false, "the event log has a gap: the disk was too slow".to_owned())
        }
        Expected::Event { matcher, count } => {
            let events = window
                .events
                .iter()
                .filter(|event| matcher.matches(&event.fields, asic));
            counted(events.map(|event| shown(&event.fields)).collect(), *count)
        }
        Expected::EventOrder(matchers) => in_order(
            matchers,
            &window.events.iter().collect::<Vec<_>>(),
            |matcher, event| matcher.matches(&event.fields, asic),
            |event| shown(&event.fields),
        ),
        Expected::Oracle { amounts, all_spaces } => oracle(evidence, amounts, *all_spaces),
        Expected::Recovery(words) => match recovered_by(evidence) {
            Some(by) => (words.contains(&by), by),
            None => (false, "the device gave no comparison of page tables".to_owned()),
        },
        Expected::Stats { path, amount } => {
            match evidence.stats.as_ref().map(|stats| counter(stats, path.of(asic))) {
                Some(Some(number)) => (amount.holds(number), number.to_string()),
                Some(None) => (false, "the device has no such counter".to_owned()),
                None => (false, "the device gave no counters".to_owned()),
            }
        }
        Expected::Note { matcher, count } => {
            let notes = window.notes.iter().filter_map(|note| {
                let mut fields = note.facts.clone();
                fields.insert("about".to_owned(), note.about.clone().into());
                matcher
                    .matches(&fields, asic)
                    .then(|| shown_note(&note.about, &fields))
            });
            let (ok, found) = counted(notes.collect(), *count);
            (ok, near_note(window, matcher, (ok, found), asic))
        }
        Expected::Answer {
            step,
            matcher,
            change,
        } => match evidence.answers.get(step) {
            None => (false, "that step got no answer".to_owned()),
            Some(answers) => {
                let fields = matcher
                    .as_ref()
                    .map(|matcher| answers_hold(answers, matcher, asic));
                let change = change.as_ref().map(|change| change_holds(answers, change));
                both(fields, change)
            }
        },
    }
}

/// The kernel's log without our own markers.
fn messages(window: Window<'_>) -> impl Iterator<Item = &str> {
    window
        .log
        .iter()
        .filter(|line| line.marker().is_none())
        .map(|line| line.text.as_str())
}

fn counted<T: Into<String>>(found: Vec<T>, count: Amount) -> Held {
    /// A line that is longer says no more in a table.
    const LONGEST: usize = 160;
    let number = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let ok = count.holds(number);
    let first = found.into_iter().next().map(Into::into);
    let text = match first {
        None => "none".to_owned(),
        Some(first) => {
            let first: String = first.chars().take(LONGEST).collect();
            format!("{number}: {first}")
        }
    };
    (ok, text)
}

fn in_order<W: std::fmt::Display, T>(
    wanted: &[W],
    found: &[T],
    matches: impl Fn(&W, &T) -> bool,
    show: impl Fn(&T) -> String,
) -> Held {
    let mut rest = found.iter();
    let mut last = None;
    for (index, item) in wanted.iter().enumerate() {
        match rest.find(|candidate| matches(item, candidate)) {
            Some(candidate) => last = Some(candidate),
            None => {
                let elsewhere = found.iter().any(|candidate| matches(item, candidate));
                let place = match (last, elsewhere) {
                    (None, _) => "none".to_owned(),
                    (Some(last), false) => format!("none at all, the one before it is \"{}\"", show(last)),
                    (Some(last), true) => format!("only before \"{}\"", show(last)),
                };
                return (false, format!("number {} (\"{item}\"): {place}", index + 1));
            }
        }
    }
    (!wanted.is_empty(), format!("all {}", wanted.len()))
}

/// An event or a note in few words.
fn shown(fields: &Map<String, Value>) -> String {
    const SKIPPED: [&str; 4] = ["seq", "us", "generation", "ev"];
    let words = fields
        .iter()
        .filter(|(name, _)| !SKIPPED.contains(&name.as_str()))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            value => format!("{name} {value}"),
        });
    words.collect::<Vec<_>>().join(", ")
}

/// The same of a note about something, with names in place of the numbers that have some.
fn shown_note(about: &str, facts: &Map<String, Value>) -> String {
    let kinds = note::about(about).map(|note| note.facts).unwrap_or_default();
    let named = |name: &str, value: &Value| {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok())?;
        kinds.iter().find_map(|(fact, kind)| match kind {
            note::Kind::Named(names) if *fact == name => Some(names.text(number)),
            _ => None,
        })
    };
    let facts = facts.iter().map(|(name, value)| {
        let value = named(name, value).map_or_else(|| value.clone(), Value::String);
        (name.clone(), value)
    });
    shown(&facts.collect())
}

/// If no note is as wanted, the last one about the same says why.
fn near_note(window: Window<'_>, matcher: &Matcher, (ok, found): Held, asic: Asic) -> String {
    let about = matcher.fields.get("about");
    let near = window
        .notes
        .iter()
        .rfind(|note| about.is_none_or(|about| about.holds(Some(&Value::String(note.about.clone())), asic)));
    match near {
        Some(note) if !ok && found == "none" => {
            let facts = shown_note(&note.about, &note.facts);
            format!("none; the last about {} has {facts}", note.about)
        }
        _ => found,
    }
}

/// Sums over the address spaces. Without a space, or with spaces in which nothing was mapped, nothing was shown.
fn oracle(evidence: &Evidence, amounts: &[(String, Amount)], all_spaces: bool) -> Held {
    let comparison = evidence.comparison();
    let spaces = comparison.and_then(|comparison| comparison.get("spaces")?.as_array());
    let Some(spaces) = spaces else {
        return (false, "the device gave no comparison of page tables".to_owned());
    };
    let counted: Vec<_> = spaces
        .iter()
        .filter(|space| all_spaces || space.get("in_use").and_then(Value::as_bool) == Some(true))
        .collect();
    let flag = |value: &Value, name: &str| value.get(name).and_then(Value::as_bool) == Some(true);
    let losing = comparison.is_some_and(|comparison| flag(comparison, "losing"));
    if losing || counted.iter().any(|space| flag(space, "truncated")) {
        return (
            false,
            "the comparison is not of everything: it was cut short, or made while contents were being lost"
                .to_owned(),
        );
    }
    let sum = |name: &str| -> Option<i64> {
        counted.iter().try_fold(0_i64, |sum, space| {
            Some(sum.saturating_add(space.get(name)?.as_i64()?))
        })
    };
    if counted.is_empty() {
        let found = format!(
            "none of the {} address spaces that were compared is in use",
            spaces.len()
        );
        return (false, found);
    }
    const BEFORE: [&str; 4] = ["same", "missing", "different", "poisoned"];
    let before: Option<i64> = BEFORE.iter().map(|name| sum(name)).sum();
    if before == Some(0) {
        return (false, "nothing was mapped before, so nothing is shown".to_owned());
    }
    let mut ok = true;
    let mut found = Vec::new();
    for (name, amount) in amounts {
        let number = match name.as_str() {
            "spaces" => i64::try_from(counted.len()).ok(),
            name => sum(name),
        };
        match number {
            Some(number) => {
                ok &= amount.holds(number);
                found.push(format!("{name} {number}"));
            }
            None => {
                ok = false;
                found.push(format!("no count {name}"));
            }
        }
    }
    (ok && !amounts.is_empty(), found.join(", "))
}

/// How the page tables came back, in the oracle's word.
pub fn recovered_by(evidence: &Evidence) -> Option<String> {
    Some(
        evidence
            .comparison()?
            .get("recovery")?
            .get("by")?
            .as_str()?
            .to_owned(),
    )
}

/// Every answer has to be so: a step that is repeated has several.
fn answers_hold(answers: &[Value], matcher: &Matcher, asic: Asic) -> Held {
    let mut last = (false, "none".to_owned());
    for (number, answer) in answers.iter().enumerate() {
        last = answer_holds(answer, matcher, asic);
        if !last.0 && answers.len() > 1 {
            return (
                false,
                format!("number {} of {}: {}", number + 1, answers.len(), last.1),
            );
        }
    }
    last
}

/// Whatever of the two is wanted has to hold.
fn both(one: Option<Held>, other: Option<Held>) -> Held {
    match (one, other) {
        (Some((one, found)), Some((other, more))) => (one && other, format!("{found}; {more}")),
        (Some(held), None) | (None, Some(held)) => held,
        (None, None) => (false, "nothing is expected of it".to_owned()),
    }
}

/// Each later answer is compared with the one that is named, so that a number which goes up and down again shows as well. Without
/// a later one nothing is shown.
fn change_holds(answers: &[Value], change: &Change) -> Held {
    let since = change.since;
    let later = answers.get(since..).unwrap_or_default();
    let first = since.checked_sub(1).and_then(|index| answers.get(index));
    let Some(first) = first.filter(|_| !later.is_empty()) else {
        return (
            false,
            format!(
                "{} answers, of which none is later than number {since}",
                answers.len()
            ),
        );
    };
    let mut found = Vec::new();
    for (path, amount) in &change.amounts {
        let Some(before) = number_at(first, path) else {
            return (false, format!("number {since}: {path} is no number"));
        };
        let mut range: Option<(i64, i64)> = None;
        for (number, answer) in (since + 1..).zip(later) {
            let Some(now) = number_at(answer, path) else {
                return (false, format!("number {number}: {path} is no number"));
            };
            let by = now.saturating_sub(before);
            if !amount.holds(by) {
                let total = answers.len();
                return (
                    false,
                    format!(
                        "number {number} of {total}: {path} {now}, which was {before} in number {since}: {by:+}"
                    ),
                );
            }
            range = Some(range.map_or((by, by), |(least, most)| (least.min(by), most.max(by))));
        }
        let (least, most) = range.unwrap_or_default();
        found.push(format!("{path} {before}, then {least:+} to {most:+}"));
    }
    (!change.amounts.is_empty(), found.join(", "))
}

fn number_at(answer: &Value, path: &str) -> Option<i64> {
    value_at(answer, path)?.as_i64()
}

/// A value by its way: names and numbers of members with dots between them.
pub fn value_at<'a>(answer: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(answer, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    })
}

fn answer_holds(answer: &Value, matcher: &Matcher, asic: Asic) -> Held {
    let mut ok = !matcher.fields.is_empty();
    let mut found = Vec::new();
    for (path, wanted) in &matcher.fields {
        let value = value_at(answer, path);
        ok &= wanted.holds(value, asic);
        found.push(match value {
            Some(value) => format!("{path} {value}"),
            None => format!("no {path}"),
        });
    }
    (ok, found.join(", "))
}

#[cfg(test)]
#[path = "expect_tests.rs"]
mod tests;
