//! The fields of a request: taken out one by one, so that what is left over is what nobody knows.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

/// A request that cannot be understood; `field` names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[error("{field}: {message}")]
pub struct RequestError {
    /// The field, or `line` for the whole line.
    pub field: &'static str,
    /// What was found and what was expected.
    pub message: String,
}

impl RequestError {
    /// An error about a field.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// The fields that are not yet read.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Those of a line.
    ///
    /// # Errors
    /// [`RequestError`] if it is no JSON object.
    pub fn parse(line: &str) -> Result<Self, RequestError> {
        match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(RequestError::new("line", "expected a JSON object")),
            Err(error) => Err(RequestError::new("line", format!("not JSON: {error}"))),
        }
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        #[cfg(test)]
        asked::note(name);
        self.0.remove(name)
    }

    /// A field that is a number; `what` it counts is for the error.
    ///
    /// # Errors
    /// [`RequestError`] if it is something else.
    pub fn number(&mut self, name: &'static str, what: &str) -> Result<Option<u64>, RequestError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64();
        number
            .map(Some)
            .ok_or_else(|| RequestError::new(name, format!("{value} is no number of {what}")))
    }

    /// A field that is one of several words; which ones is for the error.
    ///
    /// # Errors
    /// [`RequestError`] if it is something else.
    pub fn word<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, RequestError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        T::deserialize(&value)
            .map(Some)
            .map_err(|_| RequestError::new(name, format!("{value} is not known, expected {expected}")))
    }

    /// The same for a field that has to be there.
    ///
    /// # Errors
    /// [`RequestError`] if it is missing or something else.
    pub fn required_word<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<T, RequestError> {
        self.word(name, expected)?
            .ok_or_else(|| RequestError::new(name, format!("missing, expected {expected}")))
    }

    /// The end: nothing may be left.
    ///
    /// # Errors
    /// [`RequestError`] with a field that nobody took.
    pub fn finish(self) -> Result<(), RequestError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(extra) => Err(RequestError::new(
                "line",
                format!("field {extra:?} is not known for this request"),
            )),
        }
    }
}

/// Which fields a thread has asked for.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local!(static NAMES: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) });

    pub(super) fn note(name: &'static str) {
        NAMES.with_borrow_mut(|names| names.insert(name));
    }

    /// Those since the last call.
    pub fn take() -> BTreeSet<&'static str> {
        NAMES.take()
    }
}
