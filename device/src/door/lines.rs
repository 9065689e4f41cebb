//! Lines out of a stream of bytes.

/// Lines, none of which is longer than a bound.
#[derive(Debug)]
pub(super) struct Lines {
    line: Vec<u8>,
    longest: usize,
    cut: bool,
}

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub text: String,
    /// It was longer.
    pub cut: bool,
}

impl Lines {
    pub const fn new(longest: usize) -> Self {
        Self {
            line: Vec::new(),
            longest,
            cut: false,
        }
    }

    /// Forgets a line that has no end yet.
    pub fn clear(&mut self) {
        self.line.clear();
        self.cut = false;
    }

    /// Takes bytes in, and gives each line that they end.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Line)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.extend(line);
            take(self.end());
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend(rest);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.longest.saturating_sub(self.line.len());
        self.cut |= bytes.len() > room;
        self.line.extend(bytes.iter().take(room));
    }

    fn end(&mut self) -> Line {
        let text = String::from_utf8_lossy(&self.line)
            .trim_end_matches('\r')
            .to_owned();
        let cut = self.cut;
        self.clear();
        Line { text, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::new(5);
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(piece, |line| found.push(line));
        }
        found
    }

    #[test]
    fn lines_come_out_wherever_the_stream_breaks() {
        let line = |text: &str, cut| Line {
            text: text.into(),
            cut,
        };
        assert_eq!(
            lines(&[b"a\nb", b"c\r\n\n", b"12345\n1234", b"56\nrest"]),
            [
                line("a", false),
                line("bc", false),
                line("", false),
                line("12345", false),
                line("12345", true)
            ]
        );
    }

    #[test]
    fn what_is_no_text_does_no_harm() {
        assert_eq!(lines(&[b"\xff\xfe\n"])[0].text, "\u{fffd}\u{fffd}");
    }
}
