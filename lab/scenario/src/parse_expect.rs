//! Reads what has to be seen: the tables `[[expect]]`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::check::Places;
use super::condition::{Amount, Matcher};
use super::diagnostic::{Diagnostic, did_you_mean};
use super::model::{CanFail, Change, Expectation, Expected};
use super::parse::{kernels, matcher, pattern_per_asic};
use super::per_asic::PerAsic;
use super::reader::{At, Reader, json};
use super::vocabulary::{self, AnswerPlace};
use protocol::asic::Asic;

/// The kinds; each is the key that makes an expectation one.
pub(super) const KINDS: [&str; 7] = ["dmesg", "event", "oracle", "recovery", "stats", "note", "answer"];
/// The counts of a comparison of page tables.
pub(super) const ORACLE: [&str; 7] = [
    "same",
    "missing",
    "different",
    "poisoned",
    "poisoned_unmapped",
    "added",
    "spaces",
];
/// How page tables can have come back.
pub(super) const RECOVERIES: [&str; 4] = ["shadow-copies", "rewritten", "both", "none"];

pub(super) fn expectation(table: &Reader<'_>, places: &mut Places) -> Expectation {
    let label = table.text("label");
    let from = table.text("from");
    let until = table.text("until");
    let kernels = kernels(table);
    let given: Vec<_> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    let what = match given.as_slice() {
        ["dmesg"] => dmesg(table, places),
        ["event"] => event(table),
        ["oracle"] => oracle(table),
        ["recovery"] => recovery(table),
        ["stats"] => stats(table, places),
        ["note"] => table.table("note").map(|note| {
            let resolved = vocabulary::note(&note);
            Expected::Note {
                matcher: matcher(&note, &resolved),
                count: count(table),
            }
        }),
        ["answer"] => answer(table, places),
        _ => {
            for kind in KINDS {
                table.value(kind);
            }
            table.error(
                table.span.start..table.span.start,
                format!("an expectation is of one kind, but this has {}", given.len()),
                format!("expected one of: {}", KINDS.join(", ")),
            );
            None
        }
    };
    let can_fail = can_fail(table, what.as_ref(), places);
    let windows = [&from, &until].into_iter().flatten();
    places
        .references
        .extend(windows.map(|text| text.clone().map(str::to_owned)));
    places.label(table, label.as_ref());
    if let Some(
        Expected::Oracle { .. } | Expected::Recovery(_) | Expected::Stats { .. } | Expected::Answer { .. },
    ) = &what
    {
        for window in [&from, &until].into_iter().flatten() {
            table.error(
                window.span.clone(),
                "this kind of expectation is about the whole scenario",
                "expected neither `from` nor `until`",
            );
        }
    }
    // Without a kind there is no telling which keys belong to it.
    if what.is_some() || given.len() == 1 {
        table.finish();
    }
    let owned = |text: Option<At<&str>>| text.map(|text| text.value.to_owned());
    Expectation {
        label: owned(label),
        kernels,
        from: owned(from),
        until: owned(until),
        what: what.unwrap_or(Expected::Recovery(Vec::new())),
        can_fail,
    }
}

/// `uncontrolled = "why"` or `controlled-in = "NAME"`.
fn can_fail(table: &Reader<'_>, what: Option<&Expected>, places: &mut Places) -> Option<CanFail> {
    let reason = table.text("uncontrolled");
    let other = table.text("controlled-in");
    let given = reason.as_ref().or(other.as_ref()).map(|text| text.span.clone());
    places.uncontrolled.push(given);
    for text in [&reason, &other].into_iter().flatten() {
        if text.value.trim().is_empty() {
            table.error(text.span.clone(), "that says nothing", "expected words");
        } else if what.is_some_and(|what| !what.is_negative()) {
            table.error(
                text.span.clone(),
                "only what has to be absent needs that",
                "expected beside it `absent = true`, `count = 0` or `equals = 0`",
            );
        }
    }
    if let (Some(reason), Some(_)) = (&reason, &other) {
        table.error(
            reason.span.clone(),
            "either a control elsewhere shows it, or none does",
            "expected one of: uncontrolled, controlled-in",
        );
    }
    reason
        .map(|text| CanFail::Because(text.value.trim().to_owned()))
        .or(other.map(|text| CanFail::In(text.value.to_owned())))
}

/// `count = 2`, `count = ">0"`, `at-least = 2` or `absent = true`; at least one if nothing is said.
fn count(table: &Reader<'_>) -> Amount {
    let exact = amount(table, "count");
    let least = table
        .number("at-least")
        .and_then(|number| i64::try_from(number.value).ok())
        .map(Amount::at_least);
    let absent = table.flag("absent");
    if let Some(flag) = absent.as_ref().filter(|flag| !flag.value) {
        table.error(
            flag.span.clone(),
            "`absent` can only be true",
            "expected true; at least one is what is expected without it",
        );
    }
    let absent = absent.filter(|flag| flag.value).map(|_| Amount::is(0));
    let given: Vec<_> = [exact, least, absent].into_iter().flatten().collect();
    if given.len() > 1 {
        table.error(
            table.span.start..table.span.start,
            "how many is said more than once",
            "expected one of: count, at-least, absent",
        );
    }
    given.first().copied().unwrap_or(Amount::at_least(1))
}

fn amount(table: &Reader<'_>, key: &'static str) -> Option<Amount> {
    let value = table.value(key)?;
    let amount = json(value.get_ref()).as_ref().and_then(Amount::from_value);
    if amount.is_none() {
        table.error(value.span(), format!("`{key}` is no amount"), Amount::EXPECTED);
    }
    amount
}

fn dmesg(table: &Reader<'_>, places: &mut Places) -> Option<Expected> {
    let texts = table.texts_per_asic("dmesg")?;
    let patterns: Vec<_> = texts
        .value
        .iter()
        .filter_map(|text| pattern_per_asic(table, text, places))
        .collect();
    match <[_; 1]>::try_from(patterns) {
        Ok([pattern]) => Some(Expected::Dmesg {
            pattern,
            count: count(table),
        }),
        Err(patterns) => {
            some(table, texts.span, patterns.len(), texts.value.len());
            Some(Expected::DmesgOrder(patterns))
        }
    }
}

fn event(table: &Reader<'_>) -> Option<Expected> {
    let one = table
        .value("event")
        .is_some_and(|value| value.get_ref().is_table());
    let events = if one {
        table.table("event").into_iter().collect()
    } else {
        table.tables("event")
    };
    let matchers: Vec<_> = events.iter().map(|event| event_matcher(event)).collect();
    if one {
        return Some(Expected::Event {
            matcher: matchers.into_iter().next()?,
            count: count(table),
        });
    }
    let span = table.value("event").map(toml::Spanned::span).unwrap_or_default();
    some(table, span, matchers.len(), matchers.len());
    Some(Expected::EventOrder(matchers))
}

fn event_matcher(event: &Reader<'_>) -> Matcher {
    if event.required_text("event").is_none() {
        return Matcher::default();
    }
    let resolved = vocabulary::event(event);
    matcher(event, &resolved)
}

/// An empty list expects nothing and would hold always.
fn some(table: &Reader<'_>, span: Range<usize>, good: usize, given: usize) {
    if good == 0 && given == 0 {
        table.error(span, "an empty list expects nothing", "expected at least one");
    }
}

fn oracle(table: &Reader<'_>) -> Option<Expected> {
    let counts = table.table("oracle")?;
    let all_spaces = match table.text("spaces") {
        None => false,
        Some(word) if word.value == "in-use" => false,
        Some(word) if word.value == "all" => true,
        Some(word) => {
            table.error(
                word.span,
                format!("`spaces` cannot be {:?}", word.value),
                "expected \"in-use\" or \"all\"",
            );
            false
        }
    };
    let amounts: Vec<_> = ORACLE
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), amount(&counts, name)?)))
        .collect();
    counts.finish();
    if counts.entries().is_empty() {
        table.error(
            counts.span.clone(),
            "oracle names no count",
            format!("expected some of: {}", ORACLE.join(", ")),
        );
    }
    Some(Expected::Oracle { amounts, all_spaces })
}

fn recovery(table: &Reader<'_>) -> Option<Expected> {
    let words = table.texts("recovery")?;
    for word in &words.value {
        if !RECOVERIES.contains(&word.value) {
            table.push(Diagnostic {
                span: word.span.clone(),
                message: format!("{:?} is no way to recover page tables", word.value),
                expected: format!("expected one of: {}", RECOVERIES.join(", ")),
                help: did_you_mean(word.value, RECOVERIES),
            });
        }
    }
    some(table, words.span, words.value.len(), words.value.len());
    Some(Expected::Recovery(
        words
            .value
            .into_iter()
            .map(|word| word.value.to_owned())
            .collect(),
    ))
}

fn stats(table: &Reader<'_>, places: &mut Places) -> Option<Expected> {
    let path = table.text_per_asic("stats")?;
    let mut found: Option<At<&str>> = None;
    for asic in Asic::ALL {
        match path.texts.of(asic) {
            None => places.asics.push((path.span.clone(), asic)),
            Some(text) if found.as_ref() != Some(text) => {
                vocabulary::counter(table, text);
                found = Some(text.clone());
            }
            Some(_) => {}
        }
    }
    let any = found?.value;
    let paths = PerAsic::each(|asic| {
        let text = path.texts.of(asic).as_ref();
        text.map_or(any, |text| text.value).to_owned()
    });
    let given: Vec<_> = ["equals", "at-least"]
        .into_iter()
        .filter_map(|key| amount(table, key).map(|amount| (key, amount)))
        .collect();
    let amount = match given.as_slice() {
        [("equals", amount)] => *amount,
        [(_, least)] => match table.number("at-least") {
            Some(number) => Amount::at_least(i64::try_from(number.value).unwrap_or(i64::MAX)),
            None => *least,
        },
        _ => {
            table.error(
                path.span,
                "a counter needs one condition",
                "expected `equals` (a number or a comparison) or `at-least` beside it",
            );
            return None;
        }
    };
    Some(Expected::Stats { path: paths, amount })
}

fn answer(table: &Reader<'_>, places: &mut Places) -> Option<Expected> {
    let step = table.text("answer")?;
    places.references.push(step.clone().map(str::to_owned));
    let fields = table.table("fields");
    let mut place = AnswerPlace {
        step: step.value.to_owned(),
        span: step.span.clone(),
        ..AnswerPlace::default()
    };
    for (path, value) in fields.as_ref().map(Reader::entries).unwrap_or_default() {
        if let Some(found) = json(value.get_ref()) {
            let value = At {
                value: found,
                span: value.span(),
            };
            place.fields.push((path.map(str::to_owned), value));
        }
    }
    let change = change(table, &mut place);
    places.answers.push(place);
    if fields.is_none() && change.is_none() {
        table.missing(
            "fields or change",
            "what fields of the answer have to be, or by how much numbers go up from answer to answer",
        );
        return None;
    }
    Some(Expected::Answer {
        step: step.value.to_owned(),
        matcher: fields.map(|fields| matcher(&fields, &BTreeMap::new())),
        change,
    })
}

fn change(table: &Reader<'_>, place: &mut AnswerPlace) -> Option<Change> {
    let numbers = table.table("change");
    let since = table.number("since");
    if let (Some(since), None) = (&since, &numbers) {
        table.error(
            since.span.clone(),
            "`since` says which answer others are compared with, but nothing is compared",
            "expected `change` beside it",
        );
    }
    let numbers = numbers?;
    let mut amounts = Vec::new();
    for (path, value) in numbers.entries() {
        place.changes.push(path.clone().map(str::to_owned));
        match json(value.get_ref()).as_ref().and_then(Amount::from_value) {
            Some(amount) => amounts.push((path.value.to_owned(), amount)),
            None => table.error(
                value.span(),
                format!("`{}` in change is no amount", path.value),
                Amount::EXPECTED,
            ),
        }
    }
    if numbers.entries().is_empty() {
        table.error(
            numbers.span.clone(),
            "change names no number",
            "expected at least one",
        );
    }
    let first = since.map_or(Some(1), |since| {
        let number = usize::try_from(since.value).ok().filter(|number| *number > 0);
        if number.is_none() {
            table.error(
                since.span,
                "`since` cannot be that",
                "expected the number of an answer, from 1",
            );
        }
        number
    });
    Some(Change {
        amounts,
        since: first.unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use protocol::oracle::{OracleReport, SpaceReport};
    use protocol::shape::Shape;

    use super::*;

    #[test]
    fn counts_and_ways_of_recovery_are_those_of_the_device() {
        let space = Shape::of::<SpaceReport>();
        for name in ORACLE.into_iter().filter(|name| *name != "spaces") {
            assert!(
                space
                    .at(name)
                    .is_ok_and(|found| found.iter().all(|shape| shape.number)),
                "{name}"
            );
        }
        let report = Shape::of::<OracleReport>();
        let by = report.at("recovery.by").unwrap()[0].words.iter();
        let mut known = RECOVERIES;
        known.sort_unstable();
        assert!(by.eq(known), "{known:?}");
    }
}
