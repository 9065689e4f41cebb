//! Holds the words of a scenario against those that exist: events, requests, counters, answers, notes and orders.
//!
//! A word that does not exist would be matched by nothing. An expectation that something is absent would then hold whatever
//! happens, so that a misspelt word has to be refused before anything is booted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use protocol::event::Record;
use protocol::fault::FaultRequest;
use protocol::guest::note::{Kind, NOTES, Note};
use protocol::guest::order;
use protocol::loss::Loss;
use protocol::oracle::{OracleReport, SnapshotReport};
use protocol::request::{Armed, Cleared, Request};
use protocol::shape::{Field, Fields, Shape};
use protocol::state::{ArmedView, Flr, FunctionState};
use protocol::stats::StatsAnswer;
use protocol::tables::{TableReport, UnmodelledRegister};
use serde_json::{Map, Value};

use super::alternatives::dead_branch;
use super::condition::Wanted;
use super::diagnostic::{Diagnostic, did_you_mean};
use super::reader::{At, Reader, json};
use super::resolve::{self, Condition, Resolved, TakenPlace, named, words_for};
use protocol::asic::Asic;

pub(super) static EVENTS: LazyLock<BTreeMap<String, Fields>> =
    LazyLock::new(|| Shape::variants::<Record>("event"));
pub(super) static REQUESTS: LazyLock<BTreeMap<String, Fields>> =
    LazyLock::new(|| Shape::variants::<Request>("request"));
pub(super) static FAULTS: LazyLock<BTreeMap<String, Fields>> =
    LazyLock::new(|| Shape::variants::<FaultRequest>("kind"));
pub(super) static STATS: LazyLock<Shape> = LazyLock::new(Shape::of::<StatsAnswer>);
pub(super) static NOTED: LazyLock<BTreeMap<String, Fields>> = LazyLock::new(|| {
    NOTES
        .iter()
        .map(|note| (note.about.to_owned(), facts(note)))
        .collect()
});

/// The longest list of words that is shown whole.
const SHOWN: usize = 100;

/// The fields of an event as conditions; gives those in words of the language.
pub(super) fn event(table: &Reader<'_>) -> BTreeMap<String, Wanted> {
    object(table, "event", "event", &EVENTS)
}

/// The same of the facts of a note.
pub(super) fn note(table: &Reader<'_>) -> BTreeMap<String, Wanted> {
    object(table, "note", "about", &NOTED)
}

/// A request to the device, with plain values, names of numbers, or what earlier answers say.
pub(super) fn request(table: &Reader<'_>) -> Resolved {
    let mut resolved = Resolved::default();
    let entries = table.entries();
    let word = |key: &str| entries.iter().find(|(name, _)| name.value == key);
    let Some((_, name)) = word("request") else {
        return resolved;
    };
    let Some(fields) = chosen(table, "request", name, &REQUESTS) else {
        return resolved;
    };
    let name = name.get_ref().as_str().unwrap_or_default();
    let kind = word("kind").filter(|_| name == "fault");
    let (what, fields) = match kind {
        Some((_, kind)) => match chosen(table, "kind of fault", kind, &FAULTS) {
            Some(fields) => (
                format!("a fault `{}`", kind.get_ref().as_str().unwrap_or_default()),
                fields,
            ),
            None => return resolved,
        },
        None => (format!("the request `{name}`"), fields),
    };
    let beside = ["request", "v", "id"];
    for (key, value) in &entries {
        if beside.contains(&key.value) && !fields.contains_key(key.value) || key.value == "request" {
            continue;
        }
        match fields.get(key.value) {
            None => no_field(table, key, &what, fields),
            Some(field) => {
                let shape = &field.shape;
                if let Some(inner) = table.inner("a value from an answer", value) {
                    resolved.taken.extend(TakenPlace::read(key.value, &inner, shape));
                } else if let (Some(names), Some(text)) = (shape.names, value.get_ref().as_str()) {
                    let text = At {
                        value: text,
                        span: value.span(),
                    };
                    let number = named(table, key.value, &text, names);
                    resolved
                        .numbers
                        .extend(number.map(|number| (key.value.to_owned(), number.into())));
                } else if let Some(found) = json(value.get_ref()) {
                    plain(table, key.value, value.span(), &found, shape);
                }
            }
        }
    }
    for (name, _) in fields.iter().filter(|(_, field)| field.required) {
        if word(name).is_none() {
            table.missing(name, &format!("{what} needs it"));
        }
    }
    resolved
}

/// An order for the guest.
pub(super) fn order(table: &Reader<'_>, order: &At<&str>) {
    let words: Vec<(usize, &str)> = words_of(order.value);
    let Err(wrong) = order::check(words.iter().map(|(_, word)| *word)) else {
        return;
    };
    let span = match words.get(wrong.word) {
        Some((start, word)) => {
            let length = wrong
                .found
                .len()
                .clamp(1, word.len().saturating_sub(wrong.at).max(1));
            part(order, start + wrong.at, length)
        }
        None => order.span.clone(),
    };
    let message = if wrong.word == 0 {
        format!("the guest knows no order {:?}", wrong.found)
    } else {
        wrong.message
    };
    table.push(Diagnostic {
        span,
        message,
        expected: expected(&wrong.known),
        help: did_you_mean(&wrong.found, wrong.known.iter().map(String::as_str)),
    });
}

/// The way to a counter.
pub(super) fn counter(table: &Reader<'_>, path: &At<&str>) {
    let Some(shape) = way(table, path, &STATS, "the counters") else {
        return;
    };
    if !shape.number {
        leads_to_no_number(table, path, &shape);
    }
}

/// What an expectation says about the answers to a step.
#[derive(Debug, Default)]
pub(super) struct AnswerPlace {
    /// The step.
    pub step: String,
    /// Where that stands.
    pub span: Range<usize>,
    /// The ways to fields, with what they have to be and where that stands.
    pub fields: Vec<(At<String>, At<Value>)>,
    /// The ways to numbers that change.
    pub changes: Vec<At<String>>,
}

/// Holds an expectation about answers against what is answered to such a request.
pub(super) fn answer(table: &Reader<'_>, request: &Map<String, Value>, place: &AnswerPlace) {
    let Some(shape) = answered(request) else { return };
    let what = "that answer";
    for (path, value) in &place.fields {
        let path = path.clone();
        let path = At {
            value: path.value.as_str(),
            span: path.span,
        };
        if let Some(field) = way(table, &path, &shape, what) {
            condition(table, path.value, value.span.clone(), &value.value, &field, false);
        }
    }
    for path in &place.changes {
        let path = At {
            value: path.value.as_str(),
            span: path.span.clone(),
        };
        if let Some(field) = way(table, &path, &shape, what)
            && !field.number
        {
            leads_to_no_number(table, &path, &field);
        }
    }
}

/// What the device answers to a request.
pub(super) fn answered(request: &Map<String, Value>) -> Option<Shape> {
    let word = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(match word("request") {
        "stats" => STATS.clone(),
        "state" => Shape::of::<FunctionState>(),
        "events" => Shape::of::<Vec<Record>>(),
        "page-tables" => Shape::of::<Vec<TableReport>>(),
        "unmodelled" => Shape::of::<Vec<UnmodelledRegister>>(),
        "drop-vram" => Shape::of::<Loss>(),
        "oracle" if word("action") == "snapshot" => Shape::of::<SnapshotReport>(),
        "oracle" => Shape::of::<OracleReport>(),
        "hang" | "fault" => Shape::of::<Armed>(),
        "faults" => Shape::of::<Vec<ArmedView>>(),
        "clear" => Shape::of::<Cleared>(),
        "flr" => Shape::of::<Flr>(),
        _ => return None,
    })
}

/// A table of conditions on the fields of an object, which is of one of several kinds: `tag` says of which.
/// Gives the conditions in words of the language.
fn object(
    table: &Reader<'_>,
    what: &'static str,
    tag: &str,
    kinds: &BTreeMap<String, Fields>,
) -> BTreeMap<String, Wanted> {
    let mut resolved = BTreeMap::new();
    let entries = table.entries();
    let tagged = entries.iter().find(|(key, _)| key.value == tag);
    let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
    let (which, fields) = match tagged {
        None => (format!("any {what}"), union(kinds.values())),
        Some((_, value)) => {
            let Some(text) = value.get_ref().as_str() else {
                let kind = value.get_ref().type_str();
                table.error(
                    value.span(),
                    format!("`{tag}` is the name of a kind of {what}, and no {kind}"),
                    "expected a text",
                );
                return resolved;
            };
            let wanted = Wanted::from_value(text.into());
            let matching: Vec<&str> = match &wanted {
                Ok(wanted) => names
                    .iter()
                    .copied()
                    .filter(|name| wanted.holds(Some(&Value::from(*name)), Asic::default()))
                    .collect(),
                Err(_) => return resolved,
            };
            if matching.is_empty() && matches!(wanted, Ok(Wanted::Equal(_))) {
                table.push(Diagnostic {
                    span: value.span(),
                    message: format!("there is no {what} {text:?}"),
                    expected: expected(kinds.keys()),
                    help: did_you_mean(text, names.iter().copied()),
                });
            } else {
                condition(
                    table,
                    tag,
                    value.span(),
                    &Value::from(text),
                    &one_of(&names),
                    true,
                );
            }
            match matching.as_slice() {
                [] => match nearest(text, &names).and_then(|name| kinds.get(name).cloned()) {
                    // The rest is held against what was meant.
                    Some(fields) => (format!("such {what}"), fields),
                    None => return resolved,
                },
                [one] => (
                    format!("{what} `{one}`"),
                    kinds.get(*one).cloned().unwrap_or_default(),
                ),
                several => (
                    format!("such {what}"),
                    union(several.iter().filter_map(|name| kinds.get(*name))),
                ),
            }
        }
    };
    for (key, value) in entries.iter().filter(|(key, _)| key.value != tag) {
        let Some(field) = fields.get(key.value) else {
            no_field(table, key, &format!("the {which}"), &fields);
            continue;
        };
        if let Some(text) = value.get_ref().as_str() {
            let text = At {
                value: text,
                span: value.span(),
            };
            match resolve::condition(table, key.value, &text, &field.shape) {
                Condition::Own(wanted) => {
                    resolved.insert(key.value.to_owned(), wanted);
                    continue;
                }
                Condition::Wrong => continue,
                Condition::Plain => {}
            }
        }
        if let Some(found) = json(value.get_ref()) {
            let always = field.required && !field.shape.null;
            condition(table, key.value, value.span(), &found, &field.shape, always);
        }
    }
    resolved
}

/// What a field is compared with has to be something that it can be.
fn condition(table: &Reader<'_>, name: &str, span: Range<usize>, value: &Value, shape: &Shape, always: bool) {
    match Wanted::from_value(value.clone()) {
        // That is told where conditions are read.
        Err(_) => {}
        Ok(Wanted::Present(false)) if always => table.error(
            span,
            format!("`{name}` is always there"),
            "expected something that it can be",
        ),
        // Those in words of the language are read elsewhere.
        Ok(Wanted::Present(_) | Wanted::Named { .. } | Wanted::PerAsic { .. }) => {}
        Ok(Wanted::Amount(_)) if shape.number => {}
        Ok(Wanted::Amount(_)) => table.error(
            span,
            format!("`{name}` is no number, so that no comparison holds"),
            format!("expected {}", kind(shape)),
        ),
        Ok(Wanted::Equal(value)) => plain(table, name, span, &value, shape),
        Ok(Wanted::Like(pattern)) if shape.text.is_none() && !shape.words.is_empty() => {
            let known: Vec<&str> = shape.words.iter().map(String::as_str).collect();
            let dead = if known.iter().any(|word| pattern.is_match(word)) {
                dead_branch(&pattern.to_string(), &known)
            } else {
                Some(pattern.to_string())
            };
            if let Some(dead) = dead {
                let letters: String = dead.chars().filter(|c| !r"^$()\".contains(*c)).collect();
                table.push(Diagnostic {
                    span,
                    message: format!("`{dead}` matches nothing that `{name}` can be"),
                    expected: expected(&shape.words),
                    help: did_you_mean(&letters, known),
                });
            }
        }
        Ok(Wanted::Like(_)) => {}
    }
}

/// A value that a field can have.
fn plain(table: &Reader<'_>, name: &str, span: Range<usize>, value: &Value, shape: &Shape) {
    if shape.describes(value).is_ok() {
        return;
    }
    match value {
        Value::String(word) if !shape.words.is_empty() => {
            let words = words_for(shape);
            table.push(Diagnostic {
                span,
                message: format!("`{name}` cannot be {word:?}"),
                expected: expected(&words),
                help: did_you_mean(word, words.iter().map(String::as_str)),
            });
        }
        Value::Object(_) => table.error(
            span,
            format!("`{name}` cannot be compared as a whole"),
            format!("expected its members, each by its way: \"{name}.member\" = ..."),
        ),
        value => table.error(
            span,
            format!("`{name}` cannot be {value}"),
            format!("expected {}", kind(shape)),
        ),
    }
}

/// One of the words that a table is chosen by.
fn chosen<'a>(
    table: &Reader<'_>,
    what: &str,
    value: &toml::Spanned<toml::de::DeValue<'_>>,
    kinds: &'a BTreeMap<String, Fields>,
) -> Option<&'a Fields> {
    // What is no text is refused where the table is read.
    let word = value.get_ref().as_str()?;
    let found = kinds.get(word);
    if found.is_none() {
        table.push(Diagnostic {
            span: value.span(),
            message: format!("there is no {what} {word:?}"),
            expected: expected(kinds.keys()),
            help: did_you_mean(word, kinds.keys().map(String::as_str)),
        });
    }
    found
}

/// What a way leads to.
pub(super) fn way(table: &Reader<'_>, path: &At<&str>, root: &Shape, what: &str) -> Option<Shape> {
    match root.at(path.value) {
        Ok(found) => Some(
            found
                .into_iter()
                .cloned()
                .reduce(Shape::either)
                .unwrap_or_default(),
        ),
        Err(wrong) => {
            let words: Vec<&str> = path.value.split('.').collect();
            let before: Vec<&str> = words.iter().copied().take(wrong.word).collect();
            let start = before.iter().map(|word| word.len() + 1).sum();
            let word = words.get(wrong.word).copied().unwrap_or_default();
            let place = match before.as_slice() {
                [] => what.to_owned(),
                before => format!("`{}`", before.join(".")),
            };
            let members = match (wrong.known.is_empty(), wrong.numbered) {
                (true, true) => "expected the number of a member, or `*` for all".to_owned(),
                (true, false) => "expected the end of the way here".to_owned(),
                (false, _) => expected(&wrong.known),
            };
            table.push(Diagnostic {
                span: part(path, start, word.len()),
                message: format!("there is no `{word}` in {place}"),
                expected: members,
                help: did_you_mean(word, wrong.known.iter().map(String::as_str)),
            });
            None
        }
    }
}

fn leads_to_no_number(table: &Reader<'_>, path: &At<&str>, shape: &Shape) {
    let further = match (
        shape.fields.is_empty(),
        shape.items.is_some() || shape.numbered.is_some(),
    ) {
        (false, _) => format!("expected one of its members: {}", list(shape.fields.keys())),
        (true, true) => "expected the number of a member behind it, or `*` for all".to_owned(),
        (true, false) => "expected the way to a number".to_owned(),
    };
    table.error(
        path.span.clone(),
        format!("`{}` is no number", path.value),
        further,
    );
}

fn no_field(table: &Reader<'_>, key: &At<&str>, what: &str, fields: &Fields) {
    table.push(Diagnostic {
        span: key.span.clone(),
        message: format!("{what} has no `{}`", key.value),
        expected: expected(fields.keys()),
        help: did_you_mean(key.value, fields.keys().map(String::as_str)),
    });
}

fn facts(note: &Note) -> Fields {
    let shape = |kind: Kind| {
        let mut shape = Shape::default();
        match kind {
            Kind::Text => shape.text = Some(None),
            Kind::Word(words) => shape.words = words.iter().map(|word| (*word).to_owned()).collect(),
            Kind::Number => shape.number = true,
            Kind::Named(names) => {
                shape.number = true;
                shape.names = Some(names);
            }
            Kind::Flag => shape.flag = true,
            Kind::List => {
                shape.items = Some(Box::new(Shape {
                    text: Some(None),
                    ..Shape::default()
                }));
            }
        }
        shape
    };
    let field = |kind| Field {
        shape: shape(kind),
        required: false,
        about: String::new(),
    };
    let facts = note.facts.iter();
    facts
        .map(|(name, kind)| ((*name).to_owned(), field(*kind)))
        .collect()
}

fn union<'a>(kinds: impl Iterator<Item = &'a Fields>) -> Fields {
    kinds
        .cloned()
        .map(|fields| Shape {
            fields,
            ..Shape::default()
        })
        .reduce(Shape::either)
        .unwrap_or_default()
        .fields
}

fn one_of(words: &[&str]) -> Shape {
    Shape {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Shape::default()
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let help = did_you_mean(word.trim_matches(['~', '^', '$']), known.iter().copied())?;
    known
        .iter()
        .copied()
        .find(|name| help == format!("did you mean `{name}`?"))
}

/// What kind of value a field has, in words.
pub(super) fn kind(shape: &Shape) -> String {
    let mut kinds = Vec::new();
    if shape.number {
        kinds.push("a number".to_owned());
    }
    if shape.flag {
        kinds.push("true or false".to_owned());
    }
    match &shape.text {
        Some(Some(pattern)) => kinds.push(format!("a text such as {pattern}")),
        Some(None) => kinds.push("a text".to_owned()),
        None => {}
    }
    if !shape.words.is_empty() {
        kinds.push(format!("one of: {}", list(&shape.words)));
    }
    if shape.items.is_some() {
        kinds.push("a list".to_owned());
    }
    kinds.join(", or ")
}

pub(super) fn expected<'a>(known: impl IntoIterator<Item = &'a String>) -> String {
    match list(known) {
        known if known.is_empty() => "expected something else".to_owned(),
        known => format!("expected one of: {known}"),
    }
}

fn list<'a>(known: impl IntoIterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.into_iter().map(String::as_str).collect();
    let shown: Vec<_> = known.iter().copied().take(SHOWN).collect();
    match known.len().checked_sub(shown.len()) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Words with where they begin.
fn words_of(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut rest = 0;
    for word in text.split_whitespace() {
        let start = rest + text.get(rest..).and_then(|text| text.find(word)).unwrap_or(0);
        rest = start + word.len();
        found.push((start, word));
    }
    found
}

/// The place of a part of a text; of all of it where the file writes it otherwise than it reads.
pub(super) fn part(text: &At<&str>, start: usize, length: usize) -> Range<usize> {
    let quotes = match text.span.len().checked_sub(text.value.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return text.span.clone(),
    };
    let start = text.span.start + quotes + start;
    start..start + length
}
