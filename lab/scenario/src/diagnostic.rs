//! What is wrong with a scenario file, shown as compilers show it: file, line, column, the text, and what was expected.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What was expected there.
    pub expected: String,
    /// A way out, if one is known.
    pub help: Option<String>,
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    text: String,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Rejected {}

/// Collects what is wrong while a file is read, so that one look shows all of it.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: RefCell<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// Something is wrong.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, expected: impl Into<String>) {
        self.push(Diagnostic {
            span,
            message: message.into(),
            expected: expected.into(),
            help: None,
        });
    }

    /// The same, with a way out.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// All of it, in the order of the file; none if nothing is wrong.
    pub fn rejected(self, file: &str, source: &str) -> Option<Rejected> {
        let mut list = self.list.into_inner();
        if list.is_empty() {
            return None;
        }
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        let shown: Vec<_> = list
            .iter()
            .map(|diagnostic| render(diagnostic, file, source))
            .collect();
        Some(Rejected {
            text: shown.join("\n\n"),
        })
    }
}

fn render(diagnostic: &Diagnostic, file: &str, source: &str) -> String {
    let start = diagnostic.span.start.min(source.len());
    let before = source.get(..start).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let number = before.matches('\n').count() + 1;
    let line = source
        .get(line_start..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    let column = source.get(line_start..start).unwrap_or_default().chars().count();
    let line_end = line_start + line.len();
    // Of a span over several lines only the first is shown.
    let end = diagnostic.span.end.clamp(start, line_end.max(start));
    let width = source.get(start..end).unwrap_or_default().chars().count().max(1);
    let gutter = number.to_string().len();
    let mut text = format!("error: {}\n", diagnostic.message);
    let _ = writeln!(text, "{:gutter$}--> {file}:{number}:{}", "", column + 1);
    let _ = writeln!(text, "{:gutter$} |", "");
    let _ = writeln!(text, "{number} | {line}");
    let marks = "^".repeat(width);
    let _ = write!(
        text,
        "{:gutter$} | {:column$}{marks} {}",
        "", "", diagnostic.expected
    );
    if let Some(help) = &diagnostic.help {
        let _ = write!(text, "\n{:gutter$} |\n{:gutter$} = help: {help}", "", "");
    }
    text
}

/// The known word that is nearest to what was written, if one is near.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .min()?;
    (nearest.0 <= word.chars().count().div_ceil(3)).then(|| format!("did you mean `{}`?", nearest.1))
}

/// How many letters must be put in, taken out, replaced, or swapped with the next.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(from != to);
            let mut least = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let (Some(i), Some(j)) = (i.checked_sub(1), j.checked_sub(1)) else {
                next.push(least);
                continue;
            };
            if a.get(i) == Some(to) && b.get(j) == Some(from) {
                least = least.min(at(&before, j) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown_with_what_was_expected() {
        let diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic {
            span: 14..19,
            message: "unknown key `tilte`".into(),
            expected: "expected `title`".into(),
            help: Some("did you mean `title`?".into()),
        });
        let shown = diagnostics
            .rejected("my.toml", "about = \"ü\"\n\ntilte = \"x\"\n")
            .unwrap()
            .to_string();
        assert_eq!(
            shown,
            "error: unknown key `tilte`\n \
             --> my.toml:3:1\n  \
             |\n\
             3 | tilte = \"x\"\n  \
             | ^^^^^ expected `title`\n  \
             |\n  \
             = help: did you mean `title`?"
        );
    }

    #[test]
    fn columns_count_letters_and_spans_end_with_their_line() {
        let source = "a = \"ü\" b = \"\"\"\nx\n\"\"\"";
        let at = source.find("\"\"\"").unwrap();
        let diagnostics = Diagnostics::default();
        diagnostics.error(at..source.len(), "m", "e");
        let shown = diagnostics.rejected("f", source).unwrap().to_string();
        assert!(
            shown.contains("f:1:13\n") && shown.ends_with("  |             ^^^ e"),
            "{shown}"
        );
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        let diagnostics = Diagnostics::default();
        diagnostics.error(90..99, "m", "e");
        let shown = diagnostics.rejected("f", "a = 1").unwrap().to_string();
        assert!(shown.contains("f:1:6"), "{shown}");
    }

    #[test]
    fn near_words_are_proposed_and_far_ones_are_not() {
        let known = ["title", "about", "tags"];
        assert_eq!(did_you_mean("tilte", known), Some("did you mean `title`?".into()));
        assert_eq!(did_you_mean("machine", known), None);
        // Swapped letters are one mistake, also in a short word.
        assert_eq!(
            did_you_mean("gxf", ["sdma", "gfx"]),
            Some("did you mean `gfx`?".into())
        );
        for (a, b, far) in [
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("abcd", "badc", 2),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
