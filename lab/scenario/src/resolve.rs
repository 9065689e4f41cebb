//! Words of the language that stand for something else: names of numbers, MODE1 by whoever does it, fields of earlier answers.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::names::Names;
use protocol::shape::Shape;
use serde_json::{Map, Value};

use super::alternatives::dead_branch;
use super::condition::{Pattern, Wanted};
use super::diagnostic::{Diagnostic, did_you_mean};
use super::model::Taken;
use super::per_asic::PerAsic;
use super::reader::{At, Reader};
use super::vocabulary::{answered, expected, kind, part, way};
use protocol::asic::Asic;

/// The word for MODE1, by whoever does it.
pub(super) const MODE1: &str = "mode1";

/// What it stands for: the SMU does it, or the PSP.
const fn reset_of(asic: Asic) -> &'static str {
    match asic {
        Asic::Navi21 => "mode1-smu",
        Asic::Navi12 => "mode1-psp",
    }
}

/// Whether [`MODE1`] can stand for a field's value.
pub(super) fn is_mode1(shape: &Shape) -> bool {
    Asic::ALL
        .into_iter()
        .all(|asic| shape.words.contains(reset_of(asic)))
}

/// The words that a field can be compared with.
pub(super) fn words_for(shape: &Shape) -> Vec<String> {
    let mut words: Vec<String> = shape.words.iter().cloned().collect();
    if is_mode1(shape) {
        words.push(MODE1.to_owned());
    }
    words
}

/// What fields of a request stand for that are no plain values.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Numbers that were named.
    pub numbers: BTreeMap<String, Value>,
    /// Fields that are taken from earlier answers.
    pub taken: Vec<TakenPlace>,
}

/// A field that is taken from an earlier answer, and where that stands.
#[derive(Debug)]
pub(super) struct TakenPlace {
    /// What.
    pub taken: Taken,
    step: Range<usize>,
    path: Range<usize>,
    /// What the field may be.
    shape: Shape,
}

impl TakenPlace {
    /// `{ answer = "STEP", field = "WAY" }` in place of a field's value.
    pub fn read(field: &str, table: &Reader<'_>, shape: &Shape) -> Option<Self> {
        let step = table.required_text("answer");
        let path = table.required_text("field");
        table.finish();
        let (step, path) = (step?, path?);
        Some(Self {
            taken: Taken {
                field: field.to_owned(),
                answer: step.value.to_owned(),
                path: path.value.to_owned(),
            },
            step: step.span,
            path: path.span,
            shape: shape.clone(),
        })
    }

    /// The label of the earlier step.
    pub fn step(&self) -> At<String> {
        At {
            value: self.taken.answer.clone(),
            span: self.step.clone(),
        }
    }

    /// Holds it against what is answered to the earlier request.
    pub fn check(&self, table: &Reader<'_>, request: &Map<String, Value>) {
        let Some(shape) = answered(request) else { return };
        let path = At {
            value: self.taken.path.as_str(),
            span: self.path.clone(),
        };
        let Some(found) = way(table, &path, &shape, "that answer") else {
            return;
        };
        let wanted = &self.shape;
        let fits = found.number && wanted.number
            || found.text.is_some() && wanted.text.is_some()
            || !found.words.is_empty() && found.words.is_subset(&wanted.words);
        // What `*` leads to is several.
        if !fits || self.taken.path.split('.').any(|word| word == "*") {
            table.error(
                path.span,
                format!("`{}` cannot be what that leads to", self.taken.field),
                format!("expected the way to one value: {}", kind(wanted)),
            );
        }
    }
}

/// A number by its name.
pub(super) fn named(table: &Reader<'_>, field: &str, text: &At<&str>, names: &Names) -> Option<u32> {
    let wrong = match names.number(text.value) {
        Ok(number) => return Some(number),
        Err(wrong) => wrong,
    };
    let known: Vec<String> = names.words().map(str::to_owned).collect();
    table.push(Diagnostic {
        span: part(text, wrong.start, wrong.word.len().max(1)),
        message: format!("`{field}` cannot be {:?}: that is not {}", wrong.word, names.what),
        expected: format!("{}, or a number", expected(&known)),
        help: did_you_mean(&wrong.word, names.words()),
    });
    None
}

/// A condition.
#[derive(Debug)]
pub(super) enum Condition {
    /// In words of the language.
    Own(Wanted),
    /// In such words, but wrong, which is told.
    Wrong,
    /// In plain values.
    Plain,
}

/// The condition that a text is on a field.
pub(super) fn condition(table: &Reader<'_>, field: &str, text: &At<&str>, shape: &Shape) -> Condition {
    if is_mode1(shape) && text.value == MODE1 {
        return Condition::Own(Wanted::PerAsic {
            word: MODE1.to_owned(),
            values: PerAsic::each(|asic| reset_of(asic).into()),
        });
    }
    let Some(names) = shape.names else {
        return Condition::Plain;
    };
    let wanted = match Wanted::from_value(text.value.into()) {
        Ok(Wanted::Equal(_)) => named(table, field, text, names).map(|number| Wanted::Named {
            text: text.value.to_owned(),
            numbers: vec![number],
        }),
        Ok(Wanted::Like(pattern)) => like(table, field, text, &pattern, names),
        _ => return Condition::Plain,
    };
    wanted.map_or(Condition::Wrong, Condition::Own)
}

/// The numbers whose names, or which themselves, a regular expression matches.
fn like(
    table: &Reader<'_>,
    field: &str,
    text: &At<&str>,
    pattern: &Pattern,
    names: &Names,
) -> Option<Wanted> {
    let texts = names.texts();
    let numbers: Vec<String> = texts.iter().map(|(_, number)| number.to_string()).collect();
    let known: Vec<&str> = texts
        .iter()
        .map(|(name, _)| name)
        .chain(&numbers)
        .map(String::as_str)
        .collect();
    let matching: Vec<u32> = texts
        .iter()
        .filter(|(name, number)| pattern.is_match(name) || pattern.is_match(&number.to_string()))
        .map(|(_, number)| *number)
        .collect();
    let dead = if matching.is_empty() {
        Some(pattern.to_string())
    } else {
        dead_branch(&pattern.to_string(), &known)
    };
    let Some(dead) = dead else {
        return Some(Wanted::Named {
            text: format!("like {pattern}"),
            numbers: matching,
        });
    };
    let words: Vec<String> = names.words().map(str::to_owned).collect();
    let letters: String = dead.chars().filter(|c| !r"^$()\".contains(*c)).collect();
    table.push(Diagnostic {
        span: text.span.clone(),
        message: format!("`{dead}` matches nothing that `{field}` can be"),
        expected: expected(&words),
        help: did_you_mean(&letters, names.words()),
    });
    None
}
