//! What is answered to an order.

use std::fmt::{self, Display, Write as _};

use ash::vk;

/// A call of Vulkan's that did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The call.
    pub call: &'static str,
    /// What it returned.
    pub result: vk::Result,
}

/// For `map_err`: the call that it came from.
pub fn in_call(call: &'static str) -> impl Fn(vk::Result) -> Failed {
    move |result| Failed { call, result }
}

/// A result by the name that the specification gives it, or by its number.
#[derive(Debug, Clone, Copy)]
pub struct Name(pub vk::Result);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.0);
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            write!(f, "VK_{name}")
        } else {
            write!(f, "VkResult({})", self.0.as_raw())
        }
    }
}

/// Bytes that were compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// All of them.
    pub bytes: u64,
    /// Those that were not as they had to be.
    pub wrong: u64,
}

impl Compared {
    /// Compares two pieces of the same length.
    pub fn of(found: &[u8], expected: &[u8]) -> Self {
        let wrong = found
            .iter()
            .zip(expected)
            .filter(|(one, other)| one != other)
            .count();
        Self {
            bytes: to_u64(expected.len()),
            wrong: to_u64(wrong + expected.len().saturating_sub(found.len())),
        }
    }

    /// Adds what another comparison found.
    pub const fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.wrong += other.wrong;
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The whole answer.
#[derive(Debug, Default)]
pub struct Answer {
    text: String,
}

impl Answer {
    /// Adds facts about something.
    pub fn note(&mut self, about: &str, facts: &[(&str, String)]) {
        let _ = write!(self.text, "note\t{about}");
        for (name, value) in facts {
            let _ = write!(self.text, "\t{name}={}", plain(value));
        }
        self.text.push('\n');
    }

    /// Ends it with what Vulkan said, and with what was compared.
    pub fn end(&mut self, result: Result<(), Failed>, compared: Compared) {
        let (result, call) = match result {
            Ok(()) => (vk::Result::SUCCESS, ""),
            Err(failed) => (failed.result, failed.call),
        };
        let Compared { bytes, wrong } = compared;
        let _ = writeln!(self.text, "end\t{}\t{call}\t{bytes}\t{wrong}", Name(result));
    }

    /// Ends it with something that is not Vulkan's.
    pub fn refuse(&mut self, why: &str) {
        let _ = writeln!(self.text, "refused\t{}", plain(why));
    }

    /// As it is sent.
    pub fn lines(&self) -> &str {
        &self.text
    }
}

/// Without what separates fields and lines.
fn plain(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_names_of_the_specification() {
        assert_eq!(Name(vk::Result::SUCCESS).to_string(), "VK_SUCCESS");
        assert_eq!(
            Name(vk::Result::ERROR_DEVICE_LOST).to_string(),
            "VK_ERROR_DEVICE_LOST"
        );
        assert_eq!(Name(vk::Result::from_raw(-77)).to_string(), "VkResult(-77)");
    }

    #[test]
    fn an_answer_is_lines_of_fields() {
        let mut answer = Answer::default();
        answer.note(
            "vulkan",
            &[("device", "a\tb".to_owned()), ("queues", 2.to_string())],
        );
        let lost = in_call("vkQueueSubmit")(vk::Result::ERROR_DEVICE_LOST);
        answer.end(Err(lost), Compared { bytes: 8, wrong: 3 });
        assert_eq!(
            answer.lines(),
            "note\tvulkan\tdevice=a b\tqueues=2\nend\tVK_ERROR_DEVICE_LOST\tvkQueueSubmit\t8\t3\n"
        );
    }

    #[test]
    fn bytes_that_are_not_there_are_wrong() {
        assert_eq!(Compared::of(b"abd", b"abcd"), Compared { bytes: 4, wrong: 2 });
        assert_eq!(Compared::of(b"abcd", b"abcd"), Compared { bytes: 4, wrong: 0 });
    }
}
