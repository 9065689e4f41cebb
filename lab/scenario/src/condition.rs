//! What a single value has to be: a number, a text, a set of fields.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde_json::{Map, Value};

use super::per_asic::PerAsic;
use super::relation::Relation;
use protocol::asic::Asic;

/// A regular expression that compares by its text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether it matches somewhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Pattern {
    type Err = String;

    /// The error is the last line of what the regex parser says: the first ones repeat the text.
    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        })
    }
}

/// What a number has to be: `5`, or `">0"`, `">=2"`, `"<10"`, `"<=3"`, `"!=0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    relation: Relation,
    number: i64,
}

impl Amount {
    /// What is one, for messages.
    pub const EXPECTED: &'static str = "expected a whole number, or a comparison such as \">0\" or \"<=3\"";

    /// Exactly this.
    pub const fn is(number: i64) -> Self {
        Self {
            relation: Relation::Is,
            number,
        }
    }

    /// This or more.
    pub const fn at_least(number: i64) -> Self {
        Self {
            relation: Relation::AtLeast,
            number,
        }
    }

    /// Whether a number is as it has to be.
    pub fn holds(self, number: i64) -> bool {
        self.relation.holds(number.cmp(&self.number))
    }

    /// Reads a JSON number, or a text with a comparison.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Self::is),
            Value::String(text) => {
                let (relation, number) = Relation::split(text.trim())?;
                Some(Self {
                    relation,
                    number: number.trim().parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::Is => "",
            Relation::IsNot => "not ",
            Relation::AtLeast => "at least ",
            Relation::Above => "more than ",
            Relation::AtMost => "at most ",
            Relation::Below => "less than ",
        };
        write!(f, "{sign}{}", self.number)
    }
}

/// What one field has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Exactly this value.
    Equal(Value),
    /// A number in a range.
    Amount(Amount),
    /// A text that matches: `"~regex"`.
    Like(Pattern),
    /// A number that has a name: one of these.
    Named {
        /// As the file has it.
        text: String,
        /// The numbers.
        numbers: Vec<u32>,
    },
    /// A word that stands for another value with each ASIC.
    PerAsic {
        /// The word.
        word: String,
        /// The values.
        values: PerAsic<Value>,
    },
    /// Something is there, or (false) nothing: `true`/`false` would be values, so this is `"*"` and `"-"`.
    Present(bool),
}

impl Wanted {
    /// Reads it. `"~..."` is a regular expression, `">0"` and the like a comparison, `"*"` any value, `"-"` no such field.
    pub fn from_value(value: Value) -> Result<Self, String> {
        if let Value::String(text) = &value {
            if let Some(pattern) = text.strip_prefix('~') {
                return pattern.parse().map(Self::Like);
            }
            match text.as_str() {
                "*" => return Ok(Self::Present(true)),
                "-" => return Ok(Self::Present(false)),
                _ => {}
            }
            if let Some(amount) = Amount::from_value(&value) {
                return Ok(Self::Amount(amount));
            }
        }
        Ok(Self::Equal(value))
    }

    /// Whether a field is as it has to be, of an ASIC.
    pub fn holds(&self, found: Option<&Value>, asic: Asic) -> bool {
        let found = found.filter(|value| !value.is_null());
        match (self, found) {
            (Self::Present(wanted), found) => *wanted == found.is_some(),
            (_, None) => false,
            (Self::Equal(wanted), Some(found)) => wanted == found,
            (Self::Named { numbers, .. }, Some(found)) => {
                let found = found.as_u64().and_then(|number| u32::try_from(number).ok());
                found.is_some_and(|number| numbers.contains(&number))
            }
            (Self::PerAsic { values, .. }, Some(found)) => values.of(asic) == found,
            (Self::Amount(amount), Some(found)) => found.as_i64().is_some_and(|number| amount.holds(number)),
            (Self::Like(pattern), Some(Value::String(text))) => pattern.is_match(text),
            (Self::Like(pattern), Some(other)) => pattern.is_match(&other.to_string()),
        }
    }
}

/// What an object has to be: each of these fields as it is wanted; others do not count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matcher {
    /// By name of the field.
    pub fields: BTreeMap<String, Wanted>,
}

impl Matcher {
    /// Whether an object is such, of an ASIC.
    pub fn matches(&self, object: &Map<String, Value>, asic: Asic) -> bool {
        self.fields
            .iter()
            .all(|(name, wanted)| wanted.holds(object.get(name), asic))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, wanted)) in self.fields.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            match wanted {
                Wanted::Equal(Value::String(text)) => write!(f, "{separator}{name} {text}")?,
                Wanted::Equal(value) => write!(f, "{separator}{name} {value}")?,
                Wanted::Named { text, .. } | Wanted::PerAsic { word: text, .. } => {
                    write!(f, "{separator}{name} {text}")?;
                }
                Wanted::Amount(amount) => write!(f, "{separator}{name} {amount}")?,
                Wanted::Like(pattern) => write!(f, "{separator}{name} like {pattern}")?,
                Wanted::Present(true) => write!(f, "{separator}with {name}")?,
                Wanted::Present(false) => write!(f, "{separator}without {name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_amount_is_a_number_or_a_comparison() {
        for (value, good, bad) in [
            (json!(2), 2, 3),
            (json!("=2"), 2, 1),
            (json!(">0"), 1, 0),
            (json!(">= 2"), 2, 1),
            (json!("<10"), 9, 10),
            (json!("<=3"), 3, 4),
            (json!("!=0"), -1, 0),
        ] {
            let amount = Amount::from_value(&value).unwrap();
            assert!(amount.holds(good) && !amount.holds(bad), "{value}");
        }
        for value in [json!("2"), json!("many"), json!(true), json!(1.5), json!(">x")] {
            assert_eq!(Amount::from_value(&value), None, "{value}");
        }
    }

    #[test]
    fn a_field_can_be_equal_like_in_a_range_there_or_not() {
        for (wanted, good, bad) in [
            (json!("mode1"), json!("mode1"), json!("mode10")),
            (json!(true), json!(true), json!("true")),
            (json!(">0"), json!(1), json!("1")),
            (json!("~^mode[12]$"), json!("mode2"), json!("mode3")),
            (json!("~12"), json!(123), json!(13)),
            (json!("*"), json!(0), Value::Null),
            (json!("-"), Value::Null, json!(0)),
        ] {
            let wanted = Wanted::from_value(wanted).unwrap();
            assert!(wanted.holds(Some(&good), Asic::Navi21), "{wanted:?} {good}");
            assert!(!wanted.holds(Some(&bad), Asic::Navi21), "{wanted:?} {bad}");
        }
        assert!(!Wanted::from_value(json!("x")).unwrap().holds(None, Asic::Navi21));
        Wanted::from_value(json!("~(")).unwrap_err();
    }

    #[test]
    fn a_named_number_is_a_number_and_a_word_of_the_asic_is_its_value() {
        let named = Wanted::Named {
            text: "~^(ETIME|ECANCELED)$".to_owned(),
            numbers: vec![62, 125],
        };
        for (found, holds) in [
            (json!(62), true),
            (json!(125), true),
            (json!(5), false),
            (json!("ETIME"), false),
        ] {
            assert_eq!(named.holds(Some(&found), Asic::Navi21), holds, "{found}");
        }
        let word = Wanted::PerAsic {
            word: "x".to_owned(),
            values: PerAsic::each(|asic| asic.name().into()),
        };
        for asic in Asic::ALL {
            for other in Asic::ALL {
                assert_eq!(word.holds(Some(&json!(other.name())), asic), asic == other);
            }
            assert!(!word.holds(None, asic));
        }
    }

    #[test]
    fn an_object_needs_every_field() {
        let matcher = Matcher {
            fields: [("a", json!(1)), ("b", json!("x"))]
                .map(|(name, value)| (name.to_owned(), Wanted::from_value(value).unwrap()))
                .into(),
        };
        let object = |value: Value| value.as_object().cloned().unwrap();
        assert!(matcher.matches(&object(json!({"a": 1, "b": "x", "c": 3})), Asic::Navi12));
        assert!(!matcher.matches(&object(json!({"a": 1, "b": "y"})), Asic::Navi12));
        assert!(!matcher.matches(&object(json!({"a": 1})), Asic::Navi12));
        assert_eq!(matcher.to_string(), "a 1, b x");
    }
}
