//! What the guest's console says: the kernel's log, and the guest's markers in it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Name of the file with all that came, byte by byte.
pub const LOG: &str = "console.log";
/// Name of the file with its lines, each with the time at which it came.
pub const LINES: &str = "console.jsonl";
/// What starts a marker in a line.
pub const MARK: &str = "@lab {";

/// What the guest tells us about itself. Unknown members are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "ev", rename_all = "lowercase")]
pub enum Marker {
    /// Init is up and waits for orders.
    Ready {
        /// The kernel's release.
        kernel: String,
        /// The kernel's command line.
        cmdline: String,
        /// Why it has not the root that it was to have.
        #[serde(default)]
        no_root: Option<String>,
    },
    /// A step has begun.
    Begin {
        /// The order's number.
        id: u64,
    },
    /// A step has ended.
    End {
        /// The order's number.
        id: u64,
        /// Whether it went well.
        ok: bool,
        /// What went wrong.
        #[serde(default)]
        error: String,
    },
    /// The step waits for a line from us.
    Hold {
        /// What for.
        #[serde(default)]
        why: String,
    },
    /// The console goes on elsewhere.
    Console {
        /// Where.
        to: String,
    },
    /// Facts.
    Note {
        /// What they are about.
        about: String,
        /// The facts.
        #[serde(flatten)]
        facts: serde_json::Map<String, serde_json::Value>,
    },
}

/// One line of the console, and of the file `console.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When its end arrived, in microseconds of the host's clock since 1970. A serial port takes its time: the guest
    /// printed it before.
    pub unix_us: u64,
    /// Seconds since the kernel started, if the line is from the kernel's log.
    pub time: Option<f64>,
    /// The text after the time.
    pub text: String,
}

impl Line {
    /// Reads a line as it comes from the serial port.
    pub fn parse(raw: &str) -> Self {
        Self::arrived(raw, 0)
    }

    /// The same with the time at which it came.
    pub fn arrived(raw: &str, unix_us: u64) -> Self {
        let raw = raw.trim_end_matches(['\r', '\n']);
        let stamped = raw.strip_prefix('[').and_then(|rest| {
            let (stamp, text) = rest.split_once(']')?;
            let time = stamp.trim().parse().ok()?;
            // A kernel can be configured to say who printed: "[    1.000000][    T1] ...".
            let text = match text
                .trim_start()
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
            {
                Some((caller, text)) if is_caller(caller.trim()) => text,
                _ => text,
            };
            Some(Self {
                unix_us,
                time: Some(time),
                text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
            })
        });
        stamped.unwrap_or_else(|| Self {
            unix_us,
            time: None,
            text: raw.to_owned(),
        })
    }

    /// The marker in it, if it is one.
    pub fn marker(&self) -> Option<Marker> {
        let at = self.text.find(MARK)?;
        let json = self.text.get(at + MARK.len() - 1..)?;
        serde_json::from_str(json.trim_end()).ok()
    }
}

fn is_caller(word: &str) -> bool {
    word.strip_prefix(['T', 'C'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Facts that the guest reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// What they are about.
    pub about: String,
    /// The facts.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl Note {
    /// What a line of the console reports, if it does.
    pub fn of(line: &Line) -> Option<Self> {
        match line.marker()? {
            Marker::Note { about, facts } => Some(Self { about, facts }),
            _ => None,
        }
    }
}

/// Now, in microseconds of the host's clock since 1970.
pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_time_is_taken_off() {
        let line = Line::parse("[    5.250000] amdgpu 0000:01:00.0: hello\r\n");
        assert_eq!(line.time, Some(5.25));
        assert_eq!(line.text, "amdgpu 0000:01:00.0: hello");
    }

    #[test]
    fn the_printing_task_is_taken_off_and_other_brackets_stay() {
        assert_eq!(Line::parse("[    5.250000][   T12] text").text, "text");
        assert_eq!(Line::parse("[    5.250000] [drm] text").text, "[drm] text");
        assert_eq!(Line::parse("[drm] no time").time, None);
    }

    #[test]
    fn markers_are_found_behind_the_kernels_prefix() {
        let line =
            Line::parse(r#"[    1.0] @lab {"ev":"end","id":3,"step":"modprobe","ok":false,"error":"x"}"#);
        assert_eq!(
            line.marker(),
            Some(Marker::End {
                id: 3,
                ok: false,
                error: "x".into()
            })
        );
        let line = Line::parse(r#"@lab {"ev":"hold"}"#);
        assert_eq!(line.marker(), Some(Marker::Hold { why: String::new() }));
    }

    #[test]
    fn facts_keep_their_members() {
        let line = Line::parse(r#"@lab {"ev":"note","about":"rings","names":["gfx","sdma0"]}"#);
        let Some(Marker::Note { about, facts }) = line.marker() else {
            panic!("{line:?}")
        };
        assert_eq!(about, "rings");
        assert_eq!(facts["names"][1], "sdma0");
    }

    #[test]
    fn what_is_no_marker_is_left_alone() {
        for text in [
            "@lab",
            "@lab {",
            r#"@lab {"ev":"unheard-of"}"#,
            r#"{"ev":"hold"}"#,
            "",
        ] {
            assert_eq!(Line::parse(text).marker(), None, "{text:?}");
        }
    }
}
