//! A writer of one-line JSON objects: all that marker lines need.

use std::fmt::Write as _;

/// A JSON object under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    body: String,
}

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a string.
    #[must_use]
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        quote(&mut self.body, value);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        let _ = write!(self.body, "{value}");
        self
    }

    /// Adds a truth value.
    #[must_use]
    pub fn flag(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.body.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds a list of strings.
    #[must_use]
    pub fn list(mut self, key: &str, values: &[impl AsRef<str>]) -> Self {
        self.key(key);
        self.body.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.body.push(',');
            }
            quote(&mut self.body, value.as_ref());
        }
        self.body.push(']');
        self
    }

    /// Adds the members of another object.
    #[must_use]
    pub fn append(mut self, other: &Self) -> Self {
        if !self.body.is_empty() && !other.body.is_empty() {
            self.body.push(',');
        }
        self.body.push_str(&other.body);
        self
    }

    /// The finished line.
    pub fn finish(&self) -> String {
        format!("{{{}}}", self.body)
    }

    fn key(&mut self, key: &str) {
        if !self.body.is_empty() {
            self.body.push(',');
        }
        quote(&mut self.body, key);
        self.body.push(':');
    }
}

fn quote(output: &mut String, value: &str) {
    output.push('"');
    for character in value.chars() {
        match character {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\t' => output.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(output, "\\u{:04x}", u32::from(control));
            }
            // The console takes bytes, and the kernel's log escapes what is not ASCII.
            wide if !wide.is_ascii() => {
                let mut units = [0; 2];
                for unit in wide.encode_utf16(&mut units) {
                    let _ = write!(output, "\\u{unit:04x}");
                }
            }
            plain => output.push(plain),
        }
    }
    output.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_written_in_order() {
        let line = Object::new()
            .text("step", "probe")
            .flag("ok", true)
            .number("ms", 12)
            .list("rings", &["gfx", "sdma0"])
            .finish();
        assert_eq!(
            line,
            r#"{"step":"probe","ok":true,"ms":12,"rings":["gfx","sdma0"]}"#
        );
    }

    #[test]
    fn what_would_break_the_line_is_escaped() {
        let line = Object::new()
            .text("a\"b", "\\ \n \u{1} \u{e9} \u{1f600}")
            .finish();
        assert_eq!(line, r#"{"a\"b":"\\ \n \u0001 \u00e9 \ud83d\ude00"}"#);
    }
}
