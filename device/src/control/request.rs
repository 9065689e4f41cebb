//! Requests and replies: one JSON object a line.

use gart::Vmid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::gpu::Loss;

/// Version of the protocol. A request may leave `v` out; another number is refused.
pub const VERSION: u64 = 1;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Counters of every block since the daemon started.
    Stats,
    /// A walk of the page tables of one context, or of all.
    PageTables(Option<Vmid>),
    /// Registers that the guest touched and that are not modelled, most frequent first.
    Unmodelled,
    /// Contents of VRAM are lost.
    DropVram {
        /// Which, and how.
        loss: Loss,
        /// When.
        when: When,
    },
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At once, whatever runs.
    Now,
    /// With the next reset of the whole part.
    NextReset,
}

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
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

impl Request {
    /// Parses a line.
    ///
    /// # Errors
    /// [`RequestError`] with the first field that is wrong.
    pub fn parse(line: &str) -> Result<Self, RequestError> {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| RequestError::new("line", format!("not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(RequestError::new("line", "expected a JSON object"));
        };
        match fields.get("v") {
            None => {}
            Some(version) if version.as_u64() == Some(VERSION) => {}
            Some(version) => {
                return Err(RequestError::new(
                    "v",
                    format!("{version} is not spoken here, expected {VERSION}"),
                ));
            }
        }
        let (request, known): (Self, &[&str]) = match fields.get("request").and_then(Value::as_str) {
            Some("stats") => (Self::Stats, &[]),
            Some("unmodelled") => (Self::Unmodelled, &[]),
            Some("page-tables") => (Self::PageTables(vmid(&fields)?), &["vmid"]),
            Some("drop-vram") => (drop_vram(&fields)?, &["mode", "offset", "length", "when"]),
            Some(other) => {
                return Err(RequestError::new(
                    "request",
                    format!("{other:?} is not known, expected stats, page-tables, unmodelled or drop-vram"),
                ));
            }
            None => return Err(RequestError::new("request", "missing, or not a string")),
        };
        if let Some(extra) = fields
            .keys()
            .find(|key| !["v", "id", "request"].contains(&key.as_str()) && !known.contains(&key.as_str()))
        {
            return Err(RequestError::new(
                "line",
                format!("field {extra:?} is not known for this request"),
            ));
        }
        Ok(request)
    }
}

fn vmid(fields: &Map<String, Value>) -> Result<Option<Vmid>, RequestError> {
    let Some(value) = fields.get("vmid") else {
        return Ok(None);
    };
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number < 16)
        .map(|number| Some(Vmid::from_field(number)))
        .ok_or_else(|| RequestError::new("vmid", format!("{value} is no context, expected 0 to 15")))
}

fn drop_vram(fields: &Map<String, Value>) -> Result<Request, RequestError> {
    let bytes = |name: &'static str, otherwise: u64| match fields.get(name) {
        None => Ok(otherwise),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| RequestError::new(name, format!("{value} is no number of bytes"))),
    };
    let mode = word(fields, "mode", "keep, zero or poison")?
        .ok_or_else(|| RequestError::new("mode", "missing, expected keep, zero or poison"))?;
    let loss = Loss {
        mode,
        offset: bytes("offset", 0)?,
        length: bytes("length", u64::MAX)?,
    };
    let when = word(fields, "when", "now or next-reset")?.unwrap_or(When::Now);
    Ok(Request::DropVram { loss, when })
}

/// A field that is one of several words.
fn word<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, RequestError> {
    let Some(value) = fields.get(name) else {
        return Ok(None);
    };
    T::deserialize(value)
        .map(Some)
        .map_err(|_| RequestError::new(name, format!("{value} is not known, expected {expected}")))
}

/// The reply line, without its line feed. `id` is given back as it came.
pub fn reply(line: &str, outcome: Result<Value, RequestError>) -> String {
    let id = serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|value| value.get("id").cloned());
    let mut reply = match outcome {
        Ok(result) => json!({ "v": VERSION, "ok": true, "result": result }),
        Err(error) => json!({ "v": VERSION, "ok": false, "error": error }),
    };
    if let (Some(id), Some(fields)) = (id, reply.as_object_mut()) {
        fields.insert("id".to_owned(), id);
    }
    reply.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::LossMode;

    #[test]
    fn requests_are_understood() {
        assert_eq!(Request::parse(r#"{"v":1,"request":"stats"}"#), Ok(Request::Stats));
        assert_eq!(
            Request::parse(r#"{"request":"unmodelled","id":7}"#),
            Ok(Request::Unmodelled)
        );
        assert_eq!(
            Request::parse(r#"{"request":"page-tables","vmid":3}"#),
            Ok(Request::PageTables(Some(Vmid::from_field(3))))
        );
    }

    #[test]
    fn a_loss_is_of_everything_and_at_once_unless_said_otherwise() {
        assert_eq!(
            Request::parse(r#"{"request":"drop-vram","mode":"poison"}"#),
            Ok(Request::DropVram {
                loss: Loss::whole(LossMode::Poison),
                when: When::Now
            })
        );
        assert_eq!(
            Request::parse(
                r#"{"request":"drop-vram","mode":"zero","offset":4096,"length":8192,"when":"next-reset"}"#
            ),
            Ok(Request::DropVram {
                loss: Loss {
                    mode: LossMode::Zero,
                    offset: 4096,
                    length: 8192
                },
                when: When::NextReset
            })
        );
    }

    #[test]
    fn a_wrong_request_names_its_field() {
        for (line, field) in [
            ("{", "line"),
            ("[]", "line"),
            (r#"{"v":2,"request":"stats"}"#, "v"),
            (r#"{"request":"reset"}"#, "request"),
            (r#"{"v":1}"#, "request"),
            (r#"{"request":"page-tables","vmid":16}"#, "vmid"),
            (r#"{"request":"page-tables","vmid":-1}"#, "vmid"),
            (r#"{"request":"stats","vmid":1}"#, "line"),
            (r#"{"request":"drop-vram"}"#, "mode"),
            (r#"{"request":"drop-vram","mode":"burn"}"#, "mode"),
            (r#"{"request":"drop-vram","mode":"zero","offset":-1}"#, "offset"),
            (r#"{"request":"drop-vram","mode":"zero","length":"1G"}"#, "length"),
            (r#"{"request":"drop-vram","mode":"zero","when":"later"}"#, "when"),
        ] {
            assert_eq!(Request::parse(line).unwrap_err().field, field, "{line}");
        }
    }

    #[test]
    fn replies_carry_the_version_and_the_id() {
        assert_eq!(
            reply(r#"{"id":7}"#, Ok(json!(1))),
            r#"{"id":7,"ok":true,"result":1,"v":1}"#
        );
        let error = RequestError::new("v", "no");
        assert_eq!(
            reply("{", Err(error)),
            r#"{"error":{"field":"v","message":"no"},"ok":false,"v":1}"#
        );
    }
}
