//! The page about a matrix: a table with links to the pages of the boots.

use std::fmt::Write as _;
use std::path::Path;

use scenario::outcome::{Outcome, Verdict};

use super::super::matrix::{self, Matrix};
use super::super::{files, table};
use super::{badge, document, escape, slug};
use crate::date;

/// The page. `folder` is where it will be, so that the links can be relative.
pub fn index(outcomes: &[Outcome], folder: &Path) -> String {
    let matrix = Matrix::new(outcomes);
    let mut body = "<header>\n<h1>Scenarios</h1>\n".to_owned();
    let began = outcomes
        .iter()
        .map(|outcome| outcome.began_unix_us)
        .filter(|began| *began > 0)
        .min();
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let when = began.map(|began| date::utc(began).replace('T', " ").replace('Z', " UTC"));
    let _ = write!(
        body,
        "<ul class=\"meta\"><li>{}</li><li>{}</li>{}</ul>\n</header>\n<main>\n",
        escape(&matrix::counts(outcomes)),
        table::duration(seconds),
        when.map(|when| format!("<li>{when}</li>")).unwrap_or_default()
    );
    body.push_str("<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th scope=\"col\">scenario</th>");
    for kernel in &matrix.kernels {
        let _ = write!(body, "<th scope=\"col\">{}</th>", escape(kernel));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in &matrix.rows {
        let (class, name, about) = match row.control {
            Some(control) => (
                " class=\"control\"",
                control,
                "negative control: passes if the sabotage is caught",
            ),
            None => ("", row.scenario, row.title),
        };
        let _ = write!(
            body,
            "<tr{class}><th scope=\"row\">{}<small>{}</small></th>",
            escape(name),
            escape(about)
        );
        for outcome in &row.cells {
            let _ = write!(
                body,
                "<td>{}</td>",
                outcome.map_or_else(String::new, |outcome| cell(outcome, folder))
            );
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
    for line in matrix::remarks(outcomes) {
        let _ = writeln!(body, "<p>{}</p>", escape(&line));
    }
    let bad: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome.verdict, Verdict::Pass | Verdict::NotApplicable { .. }))
        .collect();
    if !bad.is_empty() {
        body.push_str("<section><h2>Not passed</h2>\n");
        for outcome in bad {
            block(&mut body, outcome, folder);
        }
        body.push_str("</section>\n");
    }
    body.push_str(
        "</main>\n<footer><p>Also as <a href=\"matrix.md\">Markdown</a>, <a href=\"junit.xml\">JUnit XML</a>, \
         <a href=\"results.ktap\">KTAP</a> and <a href=\"outcomes.json\">JSON</a>.</p></footer>\n",
    );
    document(&format!("Scenarios: {}", matrix::counts(outcomes)), &body)
}

fn cell(outcome: &Outcome, folder: &Path) -> String {
    let badge = badge(&outcome.verdict);
    match &outcome.verdict {
        Verdict::NotApplicable { reason } => format!("{badge}<small>{}</small>", escape(reason)),
        _ => {
            let time = table::duration(outcome.seconds);
            match link(outcome, folder) {
                Some(link) => format!("<a href=\"{link}\">{badge}<small>{time}</small></a>"),
                None => format!("{badge}<small>{time}</small>"),
            }
        }
    }
}

fn block(body: &mut String, outcome: &Outcome, folder: &Path) {
    let name = escape(&format!(
        "{} on {}",
        matrix::name(&outcome.scenario, outcome.control.as_deref()),
        matrix::kernel(outcome)
    ));
    let name = match link(outcome, folder) {
        Some(link) => format!("<a href=\"{link}\">{name}</a>"),
        None => name,
    };
    let _ = writeln!(
        body,
        "<div class=\"block\"><h3>{} {name}</h3>\n<ul class=\"reasons {}\">",
        badge(&outcome.verdict),
        super::class(&outcome.verdict)
    );
    for reason in matrix::reasons(outcome) {
        let _ = writeln!(body, "<li>{}</li>", escape(&reason));
    }
    body.push_str("</ul></div>\n");
}

/// The address of an outcome's page, seen from the folder; none if nothing was booted.
fn link(outcome: &Outcome, folder: &Path) -> Option<String> {
    if outcome.folder.as_os_str().is_empty() {
        return None;
    }
    let relative = outcome.folder.strip_prefix(folder).unwrap_or(&outcome.folder);
    let mut address = String::new();
    for byte in relative.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                address.push(char::from(byte));
            }
            byte => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    let separator = if address.is_empty() { "" } else { "/" };
    Some(format!(
        "{address}{separator}{}#{}",
        files::PAGE,
        slug(&outcome.scenario, outcome.control.as_deref())
    ))
}
