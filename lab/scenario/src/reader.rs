//! TOML read table by table: every key is asked for by name, and what nobody asked for is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use super::per_asic::PerAsic;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place, in bytes of the text.
    pub span: Range<usize>,
}

impl<T> At<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            span: self.span,
        }
    }
}

/// A text that may differ from ASIC to ASIC; none for one that is not named.
#[derive(Debug, Clone)]
pub struct AsicText<'a> {
    /// The texts.
    pub texts: PerAsic<Option<At<&'a str>>>,
    /// The place of all of it.
    pub span: Range<usize>,
}

/// A table that is being read.
#[derive(Debug)]
pub struct Reader<'a> {
    /// What it is called in messages.
    pub what: &'static str,
    /// Its place.
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
    diagnostics: &'a Diagnostics,
}

impl<'a> Reader<'a> {
    /// Reads a table.
    pub fn new(
        what: &'static str,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        diagnostics: &'a Diagnostics,
    ) -> Self {
        Self {
            what,
            span,
            table,
            asked: RefCell::default(),
            diagnostics,
        }
    }

    /// Something is wrong at a place.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, expected: impl Into<String>) {
        self.diagnostics.error(span, message, expected);
    }

    /// The same, with a way out.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The value of a key.
    pub fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// Whether a key is there; it still has to be read.
    pub fn has(&self, key: &'static str) -> bool {
        self.table.get(key).is_some()
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<At<&'a str>> {
        let value = self.value(key)?;
        self.wanted(key, value, "a text", value.get_ref().as_str())
    }

    /// A text that must be there.
    pub fn required_text(&self, key: &'static str) -> Option<At<&'a str>> {
        if !self.has(key) {
            self.missing(key, "a text");
        }
        self.text(key)
    }

    /// true or false.
    pub fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.value(key)?;
        self.wanted(key, value, "true or false", value.get_ref().as_bool())
    }

    /// A whole number that is not negative.
    pub fn number(&self, key: &'static str) -> Option<At<u64>> {
        let value = self.value(key)?;
        let number = integer(value.get_ref()).and_then(|number| u64::try_from(number).ok());
        self.wanted(key, value, "a whole number, 0 or more", number)
    }

    /// A text or a list of texts.
    pub fn texts(&self, key: &'static str) -> Option<At<Vec<At<&'a str>>>> {
        let value = self.value(key)?;
        let list = match value.get_ref() {
            DeValue::String(text) => Some(vec![At {
                value: text.as_ref(),
                span: value.span(),
            }]),
            DeValue::Array(items) => items
                .iter()
                .map(|item| {
                    Some(At {
                        value: item.get_ref().as_str()?,
                        span: item.span(),
                    })
                })
                .collect(),
            _ => None,
        };
        self.wanted(key, value, "a text or a list of texts", list)
    }

    /// A text, or one for each ASIC: `{ navi21 = "...", navi12 = "..." }`.
    pub fn text_per_asic(&self, key: &'static str) -> Option<AsicText<'a>> {
        let value = self.value(key)?;
        self.per_asic(key, value, "a text")
    }

    /// A list of these, or one.
    pub fn texts_per_asic(&self, key: &'static str) -> Option<At<Vec<AsicText<'a>>>> {
        let value = self.value(key)?;
        let expected = "a text or a list of texts";
        let texts = match value.get_ref().as_array() {
            Some(items) => items
                .iter()
                .filter_map(|item| self.per_asic(key, item, expected))
                .collect(),
            None => self.per_asic(key, value, expected).into_iter().collect(),
        };
        Some(At {
            value: texts,
            span: value.span(),
        })
    }

    /// A value of this table that is a table itself, whatever its key.
    pub fn inner(&self, what: &'static str, value: &'a Spanned<DeValue<'a>>) -> Option<Reader<'a>> {
        let table = value.get_ref().as_table()?;
        Some(Reader::new(what, table, value.span(), self.diagnostics))
    }

    fn per_asic(
        &self,
        key: &'static str,
        value: &'a Spanned<DeValue<'a>>,
        expected: &str,
    ) -> Option<AsicText<'a>> {
        let Some(table) = value.get_ref().as_table() else {
            let text = self.wanted(key, value, expected, value.get_ref().as_str())?;
            return Some(AsicText {
                span: text.span.clone(),
                texts: PerAsic::same(Some(text)),
            });
        };
        let table = Reader::new("a text for each ASIC", table, value.span(), self.diagnostics);
        let texts = PerAsic::each(|asic| table.text(asic.name()));
        table.finish();
        Some(AsicText {
            texts,
            span: value.span(),
        })
    }

    /// A table inside.
    pub fn table(&self, key: &'static str) -> Option<Reader<'a>> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        let found = self.wanted(key, value, "a table", table)?;
        Some(Reader::new(key, found.value, found.span, self.diagnostics))
    }

    /// A list of tables: `[[key]]`.
    pub fn tables(&self, key: &'static str) -> Vec<Reader<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let list = value.get_ref().as_array();
        let tables: Option<Vec<_>> = list.map(|list| {
            list.iter()
                .filter_map(|item| Some((item.get_ref().as_table()?, item.span())))
                .collect()
        });
        let tables = tables.filter(|tables| Some(tables.len()) == list.map(|list| list.iter().count()));
        let Some(found) = self.wanted(key, value, &format!("tables: [[{key}]]"), tables) else {
            return Vec::new();
        };
        found
            .value
            .into_iter()
            .map(|(table, span)| Reader::new(key, table, span, self.diagnostics))
            .collect()
    }

    /// Every key with its value, in the order of the file: for tables whose keys are the user's.
    pub fn entries(&self) -> Vec<(At<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value): (&Spanned<DeString<'_>>, _)| {
                (
                    At {
                        value: key.get_ref().as_ref(),
                        span: key.span(),
                    },
                    value,
                )
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// A key that has to be there is not.
    pub fn missing(&self, key: &str, expected: &str) {
        let what = self.what;
        // A table's place is its whole text: its first line says enough.
        self.error(
            self.span.start..self.span.start,
            format!("`{key}` is missing in {what}"),
            format!("expected `{key}`: {expected}"),
        );
    }

    /// Refuses the keys that nobody has asked for.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        #[cfg(test)]
        asked::note(self.what, &asked);
        for (key, _) in self.entries() {
            if asked.contains(key.value) {
                continue;
            }
            let known: Vec<_> = asked.iter().copied().collect();
            self.diagnostics.push(Diagnostic {
                span: key.span,
                message: format!("unknown key `{}` in {}", key.value, self.what),
                expected: format!("expected one of: {}", known.join(", ")),
                help: did_you_mean(key.value, known),
            });
        }
    }

    fn wanted<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        found: Option<T>,
    ) -> Option<At<T>> {
        if found.is_none() {
            let kind = value.get_ref().type_str();
            self.error(
                value.span(),
                format!("`{key}` in {} is of the wrong type ({kind})", self.what),
                format!("expected {expected}"),
            );
        }
        Some(At {
            value: found?,
            span: value.span(),
        })
    }
}

/// A whole number in any of TOML's forms.
pub fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// The value as JSON has it; none for dates and for numbers that are too large.
pub fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(_) => integer(value)?.into(),
        DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok()?.into(),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| json(item.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Which keys a thread has asked for, by table.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    type Keys = BTreeMap<&'static str, BTreeSet<&'static str>>;

    thread_local!(static KEYS: RefCell<Keys> = const { RefCell::new(BTreeMap::new()) });

    pub(super) fn note(table: &'static str, keys: &BTreeSet<&'static str>) {
        KEYS.with_borrow_mut(|all| all.entry(table).or_default().extend(keys));
    }

    /// Those since the last call.
    pub fn take() -> Keys {
        KEYS.take()
    }
}
