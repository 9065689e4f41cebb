//! The asking side of the control socket: `vhost-device-amdgpu ctl`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::VERSION;

/// A question that got no good answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Fields come as `--name value`.
    #[error("{0:?}: expected a field as --name value")]
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

/// The request line for words such as `drop-vram --mode poison --offset 4096`.
///
/// # Errors
/// [`AskError::Field`] if what follows the request are no pairs of `--name value`.
pub fn line(request: &str, fields: &[String]) -> Result<String, AskError> {
    let mut object = Map::new();
    object.insert("v".to_owned(), VERSION.into());
    object.insert("request".to_owned(), request.into());
    for pair in fields.chunks(2) {
        let [name, value] = pair else {
            return Err(AskError::Field(pair.concat()));
        };
        let name = name
            .strip_prefix("--")
            .ok_or_else(|| AskError::Field(name.clone()))?;
        let value = value
            .parse::<u64>()
            .map_or_else(|_| Value::from(value.as_str()), Value::from);
        object.insert(name.to_owned(), value);
    }
    Ok(Value::Object(object).to_string() + "\n")
}

/// Asks at `path` and gives the result.
///
/// # Errors
/// [`AskError`] if nobody answers, or the answer is an error.
pub fn ask(path: &Path, line: &str) -> Result<Value, AskError> {
    let failed = |source| AskError::Io {
        path: path.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    let no_reply = || AskError::NoReply {
        path: path.to_owned(),
        line: answer.trim_end().to_owned(),
    };
    let mut reply: Value = serde_json::from_str(&answer).map_err(|_| no_reply())?;
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

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_become_a_request_with_numbers_as_numbers() {
        let line = line("drop-vram", &words("--mode poison --offset 4096")).unwrap();
        assert_eq!(
            line,
            "{\"mode\":\"poison\",\"offset\":4096,\"request\":\"drop-vram\",\"v\":1}\n"
        );
    }

    #[test]
    fn fields_come_in_pairs() {
        assert!(matches!(line("stats", &words("--mode")), Err(AskError::Field(_))));
        assert!(matches!(
            line("stats", &words("mode poison")),
            Err(AskError::Field(_))
        ));
    }

    #[test]
    fn nobody_there_is_said_with_the_path() {
        let error = ask(Path::new("/no/such/control.sock"), "{}\n").unwrap_err();
        assert!(error.to_string().contains("/no/such/control.sock"), "{error}");
    }
}
