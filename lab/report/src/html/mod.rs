//! A boot as a page to look at, and a matrix as a page of links. Each is one file that fetches nothing.

mod index;
mod page;
#[cfg(test)]
mod tests;

pub use index::index;
pub use page::page;

use scenario::outcome::Verdict;
use serde::Serialize;

use super::matrix;

/// What every page looks like.
const STYLE: &str = include_str!("style.css");

/// A whole page. Nothing but what stands in it is ever loaded: the policy sees to it.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// Text as HTML, for elements and for quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            // A page has no use for them, and a parser of pages its own ideas.
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Data for a script element: JSON in which nothing can end the element or begin a comment in it.
fn embed(value: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            character => safe.push(character),
        }
    }
    Ok(safe)
}

/// The badge of a verdict.
fn badge(cell: &Verdict) -> String {
    format!(
        "<span class=\"badge {}\">{}</span>",
        class(cell),
        escape(matrix::word(cell))
    )
}

const fn class(cell: &Verdict) -> &'static str {
    match cell {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Unknown => "unknown",
        Verdict::NotApplicable { .. } => "na",
        Verdict::DriverBug { .. } => "bug",
    }
}

/// A name that can stand in an address and in an `id`.
fn slug(scenario: &str, control: Option<&str>) -> String {
    let mut slug = String::new();
    for character in matrix::name(scenario, control).chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}
