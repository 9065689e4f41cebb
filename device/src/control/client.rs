//! The asking side of the control socket: `vhost-device-amdgpu ctl`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::VERSION;

/// A question that got no good answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Fields come as `--name value`.
    #[error("{0:?}: expected a field as --name value, or --name for true")]
    Field(String),
    /// The socket cannot be used.
    #[error("cannot ask at {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The answer is none.
    #[error("{} answered with something that is no reply: {line}", path.display())]
    NoReply {
        /// The socket.
        path: PathBuf,
        /// What came.
        line: String,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// A question, as words on a command line put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    line: String,
    /// The answer has no end: one line for each event.
    follows: bool,
}

impl Question {
    /// From words such as `drop-vram --mode poison --offset 4096` or `events --follow`.
    ///
    /// # Errors
    /// [`AskError::Field`] if what follows the request are no fields.
    pub fn new(request: &str, fields: &[String]) -> Result<Self, AskError> {
        let mut object = Map::new();
        object.insert("v".to_owned(), VERSION.into());
        object.insert("request".to_owned(), request.into());
        let mut words = fields.iter().peekable();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .filter(|name| !name.is_empty())
                .ok_or_else(|| AskError::Field(word.clone()))?;
            let given = words.next_if(|next| !next.starts_with("--"));
            let field = given.map_or(Value::Bool(true), |text| value(text));
            object.insert(name.to_owned(), field);
        }
        Ok(Self {
            follows: object.get("follow") == Some(&Value::Bool(true)),
            line: Value::Object(object).to_string() + "\n",
        })
    }

    /// The request line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Asks at `path` and prints the result, or line by line what comes, until nothing comes or `print` says that nobody reads.
    ///
    /// # Errors
    /// [`AskError`] if nobody answers, or the answer is an error.
    pub fn ask(&self, path: &Path, mut print: impl FnMut(&str) -> bool) -> Result<(), AskError> {
        let failed = |source| AskError::Io {
            path: path.to_owned(),
            source,
        };
        let mut stream = UnixStream::connect(path).map_err(failed)?;
        stream.write_all(self.line.as_bytes()).map_err(failed)?;
        let mut reader = BufReader::new(stream);
        if !self.follows {
            let mut answer = String::new();
            reader.read_line(&mut answer).map_err(failed)?;
            let result = result(path, answer.trim_end())?;
            print(&format!("{result:#}"));
            return Ok(());
        }
        // Nothing more is asked, so the daemon closes the connection when it has told all that was asked for.
        let asked = reader.get_ref().shutdown(Shutdown::Write);
        asked.map_err(failed)?;
        for line in reader.lines() {
            let line = line.map_err(failed)?;
            let is_reply = serde_json::from_str::<Value>(&line).is_ok_and(|value| value.get("ok").is_some());
            if is_reply {
                result(path, &line)?;
            } else if !print(&line) {
                break;
            }
        }
        Ok(())
    }
}

/// A word as the value of a field: a number, true, false, or itself.
fn value(word: &str) -> Value {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    match (number, word) {
        (Ok(number), _) => number.into(),
        (_, "true") => true.into(),
        (_, "false") => false.into(),
        _ => word.into(),
    }
}

/// The result in a reply.
fn result(path: &Path, line: &str) -> Result<Value, AskError> {
    let no_reply = || AskError::NoReply {
        path: path.to_owned(),
        line: line.to_owned(),
    };
    let mut reply: Value = serde_json::from_str(line).map_err(|_| no_reply())?;
    if reply.get("ok") == Some(&Value::Bool(true)) {
        return reply.get_mut("result").map(Value::take).ok_or_else(no_reply);
    }
    let text = |name: &str| reply.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    match (text("field"), text("message")) {
        (Some(field), Some(message)) => Err(AskError::Refused(format!("{field}: {message}"))),
        _ => Err(no_reply()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(request: &str, fields: &str) -> Result<Question, AskError> {
        let fields: Vec<_> = fields.split_whitespace().map(str::to_owned).collect();
        Question::new(request, &fields)
    }

    #[test]
    fn words_become_a_request_with_numbers_as_numbers() {
        let question = question("drop-vram", "--mode poison --offset 4096 --length 0x1000").unwrap();
        assert_eq!(
            question.line(),
            "{\"length\":4096,\"mode\":\"poison\",\"offset\":4096,\"request\":\"drop-vram\",\"v\":1}\n"
        );
        assert!(!question.follows);
    }

    #[test]
    fn a_field_without_a_value_is_true() {
        for fields in [
            "--follow --since 3",
            "--since 3 --follow",
            "--follow true --since 3",
        ] {
            let question = question("events", fields).unwrap();
            assert_eq!(
                question.line(),
                "{\"follow\":true,\"request\":\"events\",\"since\":3,\"v\":1}\n"
            );
            assert!(question.follows);
        }
        assert!(!question("events", "--follow false").unwrap().follows);
    }

    #[test]
    fn what_is_no_field_is_named() {
        for fields in ["mode poison", "--mode poison zero", "--"] {
            assert!(
                matches!(question("stats", fields), Err(AskError::Field(_))),
                "{fields}"
            );
        }
    }

    #[test]
    fn nobody_there_is_said_with_the_path() {
        let asked = question("stats", "")
            .unwrap()
            .ask(Path::new("/no/such/control.sock"), |_| true);
        let error = asked.unwrap_err();
        assert!(error.to_string().contains("/no/such/control.sock"), "{error}");
    }
}
