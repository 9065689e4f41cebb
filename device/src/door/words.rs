//! Requests as a shell writes them: `drop-vram poison`, `hang sdma0 when=packet count=3`, `state`.

use serde_json::Value;

use crate::control::RequestError;
use crate::control::client::Question;

/// Fields that may be given by their place, in this order.
const PLACES: [(&str, &[&str]); 7] = [
    ("drop-vram", &["mode", "when"]),
    ("hang", &["engine", "when", "count"]),
    ("fault", &["kind", "engine"]),
    ("clear", &["id"]),
    ("oracle", &["action"]),
    ("page-tables", &["vmid"]),
    ("flr", &["vram", "claim"]),
];

/// The request that a line of words puts, as a line of JSON.
pub(super) fn as_json(line: &str) -> Result<String, RequestError> {
    let mut words = line.split_whitespace().peekable();
    let request = words.next().unwrap_or_default();
    let places = PLACES.iter().find(|(name, _)| *name == request);
    let mut places = places.map(|(_, fields)| fields.iter()).into_iter().flatten();
    let mut fields: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            fields.push(word.to_owned());
            fields.extend(words.next_if(|next| !next.starts_with("--")).map(str::to_owned));
        } else if let Some((name, value)) = word.split_once('=') {
            fields.extend([format!("--{name}"), value.to_owned()]);
        } else if let Some(name) = places.next() {
            fields.extend([format!("--{name}"), word.to_owned()]);
        } else {
            let message = format!("{word:?} has no place here, expected NAME=VALUE");
            return Err(RequestError::new("line", message));
        }
    }
    Question::new(request, &fields)
        .map(|question| question.line().trim_end().to_owned())
        .map_err(|error| RequestError::new("line", error.to_string()))
}

/// An answer as a shell reads it: `ok` and the result, or `error` and why.
pub(super) fn answer(outcome: &Result<Value, RequestError>) -> String {
    match outcome {
        Ok(result) => format!("ok {result}"),
        Err(error) => format!("error {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Request;

    fn same(words: &str, json: &str) {
        let line = as_json(words).unwrap();
        assert_eq!(Request::parse(&line), Request::parse(json), "{words}");
        assert!(Request::parse(json).is_ok(), "{json}");
    }

    #[test]
    fn words_say_what_json_says() {
        same("state", r#"{"request":"state"}"#);
        same("drop-vram poison", r#"{"request":"drop-vram","mode":"poison"}"#);
        same(
            "  drop-vram  zero next-reset length=0x1000 ",
            r#"{"request":"drop-vram","mode":"zero","when":"next-reset","length":4096}"#,
        );
        same("hang sdma0", r#"{"request":"hang","engine":"sdma0"}"#);
        same(
            "hang sdma0 packet 3",
            r#"{"request":"hang","engine":"sdma0","when":"packet","count":3}"#,
        );
        same(
            "fault slow gfx --delay_us 50",
            r#"{"request":"fault","kind":"slow","engine":"gfx","delay_us":50}"#,
        );
        same("clear 4", r#"{"request":"clear","id":4}"#);
    }

    #[test]
    fn a_word_too_many_is_named() {
        assert!(as_json("state now").unwrap_err().message.contains("\"now\""));
        as_json("drop-vram zero now today").unwrap_err();
        as_json("state --").unwrap_err();
    }

    #[test]
    fn answers_begin_with_a_word_that_a_shell_can_test() {
        assert_eq!(answer(&Ok(serde_json::json!({ "a": 1 }))), r#"ok {"a":1}"#);
        let error = RequestError::new("mode", "missing");
        assert_eq!(answer(&Err(error)), "error mode: missing");
    }
}
