//! The matrix as a table: for a terminal, and as Markdown.

use std::fmt::Write as _;

use scenario::outcome::{Outcome, Verdict};

use super::matrix::{self, Matrix, Row};
use super::timeline::milliseconds_text;

/// The matrix for a terminal, followed by a block for each cell that is not a pass.
pub fn text(outcomes: &[Outcome], colour: bool) -> String {
    let matrix = Matrix::new(outcomes);
    let lines = lines(&matrix);
    let width = |text: &str| text.chars().count();
    let first = lines
        .iter()
        .map(|line| width(&line.name))
        .max()
        .unwrap_or_default();
    let columns: Vec<usize> = matrix
        .kernels
        .iter()
        .enumerate()
        .map(|(index, kernel)| {
            let cells = lines.iter().filter_map(|line| line.cells.get(index));
            cells
                .map(|(text, _)| width(text))
                .chain([width(kernel)])
                .max()
                .unwrap_or_default()
        })
        .collect();

    let mut text = String::new();
    let _ = write!(text, "{:first$}", "");
    for (kernel, width) in matrix.kernels.iter().zip(&columns) {
        let _ = write!(text, "   {kernel:<width$}");
    }
    end_line(&mut text);
    for Line { name, cells } in &lines {
        let _ = write!(text, "{name:<first$}");
        for ((plain, verdict), width) in cells.iter().zip(&columns) {
            let padding = width.saturating_sub(plain.chars().count());
            let shown = match verdict {
                Some(verdict) if colour => paint(verdict, plain),
                _ => plain.clone(),
            };
            let _ = write!(text, "   {shown}{:padding$}", "");
        }
        end_line(&mut text);
    }
    let seconds = outcomes.iter().fold(0.0, |sum, outcome| sum + outcome.seconds);
    let _ = writeln!(
        text,
        "\n{} in {} of scenarios",
        matrix::counts(outcomes),
        duration(seconds)
    );
    for line in matrix::remarks(outcomes) {
        let _ = writeln!(text, "{line}");
    }
    // What matters most comes last: there the eye is when a command has ended.
    let mut before = None;
    for outcome in by_weight(outcomes) {
        let not_applicable = matches!(outcome.verdict, Verdict::NotApplicable { .. });
        if !(not_applicable && before == Some(true)) {
            text.push('\n');
        }
        before = Some(not_applicable);
        text.push_str(&block(outcome, colour));
    }
    text
}

/// A line of the table.
struct Line<'a> {
    name: String,
    /// What is in the columns, and the verdict that gives it its colour.
    cells: Vec<(String, Option<&'a Verdict>)>,
}

/// The rows of the matrix. If it is of one scenario, the times that were measured are behind it.
fn lines<'a>(matrix: &Matrix<'a>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for row in &matrix.rows {
        let cells = row.cells.iter().map(|outcome| match outcome {
            Some(outcome) => (cell(outcome), Some(&outcome.verdict)),
            None => ("-".to_owned(), None),
        });
        lines.push(Line {
            name: match row.control {
                Some(control) => format!("  control: {control}"),
                None => row.scenario.to_owned(),
            },
            cells: cells.collect(),
        });
        if row.control.is_none() && is_of_one_scenario(matrix) {
            lines.extend(times(row).into_iter().map(|(label, cells)| Line {
                name: format!("  {label}"),
                cells: cells.into_iter().map(|cell| (cell, None)).collect(),
            }));
        }
    }
    lines
}

fn is_of_one_scenario(matrix: &Matrix<'_>) -> bool {
    let mut names = matrix.rows.iter().map(|row| row.scenario);
    let first = names.next();
    names.all(|name| Some(name) == first)
}

/// The times that were measured in at least one cell of a row.
fn times(row: &Row<'_>) -> Vec<(&'static str, Vec<String>)> {
    let of = |cell: &Option<&Outcome>| cell.map_or_else(|| Outcome::new().times(), Outcome::times);
    let cells: Vec<_> = row.cells.iter().map(of).collect();
    let mut lines = Vec::new();
    for (index, time) in Outcome::new().times().into_iter().enumerate() {
        let found: Vec<_> = cells.iter().map(|times| times.get(index)?.ms).collect();
        if found.iter().any(Option::is_some) {
            let shown = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), milliseconds_text);
            lines.push((time.label, found.into_iter().map(shown).collect()));
        }
    }
    lines
}

/// What is not a pass at the first try, the failures last.
fn by_weight(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let mut sorted: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.elsewhere.is_none())
        .filter(|outcome| outcome.verdict != Verdict::Pass || !outcome.earlier.is_empty())
        .collect();
    sorted.sort_by_key(|outcome| matrix::weight(&outcome.verdict));
    sorted
}

/// The same for pasting.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let matrix = Matrix::new(outcomes);
    let mut text = "| |".to_owned();
    for kernel in &matrix.kernels {
        let _ = write!(text, " {} |", escape_markdown(kernel));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(matrix.kernels.len()));
    text.push('\n');
    for row in &matrix.rows {
        let name = escape_markdown(&row.name());
        let _ = write!(text, "| {name} |");
        for outcome in &row.cells {
            let shown = match outcome {
                Some(outcome) if outcome.verdict == Verdict::Pass => cell(outcome),
                Some(outcome) => format!("**{}**", cell(outcome)),
                None => "-".to_owned(),
            };
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
        if row.control.is_none() && is_of_one_scenario(&matrix) {
            for (label, cells) in times(row) {
                let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
            }
        }
    }
    let _ = writeln!(text, "\n{}", matrix::counts(outcomes));
    for line in matrix::remarks(outcomes) {
        let _ = writeln!(text, "\n{}", escape_markdown(&line));
    }
    for outcome in by_weight(outcomes).into_iter().rev() {
        let _ = writeln!(
            text,
            "\n**{}** {} on {}\n",
            matrix::word(&outcome.verdict),
            escape_markdown(&matrix::name(&outcome.scenario, outcome.control.as_deref())),
            escape_markdown(matrix::kernel(outcome)),
        );
        for reason in matrix::reasons(outcome) {
            let _ = writeln!(text, "* {}", escape_markdown(&reason));
        }
    }
    text
}

/// Why one cell is not a pass, or not at once, and where its logs are.
fn block(outcome: &Outcome, colour: bool) -> String {
    let word = matrix::word(&outcome.verdict);
    let shown = if colour {
        paint(&outcome.verdict, word)
    } else {
        word.to_owned()
    };
    let mut text = format!(
        "{shown}  {} on {}",
        matrix::name(&outcome.scenario, outcome.control.as_deref()),
        matrix::kernel(outcome)
    );
    if let Verdict::NotApplicable { reason } = &outcome.verdict {
        let _ = writeln!(text, ": {reason}");
        return text;
    }
    text.push('\n');
    for reason in matrix::reasons(outcome) {
        let _ = writeln!(text, "  {}", reason.trim_end().replace('\n', "\n    "));
    }
    if !outcome.folder.as_os_str().is_empty() {
        let _ = writeln!(text, "  logs in {}", outcome.folder.display());
    }
    text
}

fn cell(outcome: &Outcome) -> String {
    let word = matrix::word(&outcome.verdict);
    match outcome.verdict {
        Verdict::NotApplicable { .. } => word.to_owned(),
        _ => format!("{word:<7} {:>6.1} s", outcome.seconds),
    }
}

/// Escape sequences around a text (<https://no-color.org> is up to the caller).
fn paint(cell: &Verdict, text: &str) -> String {
    let code = match cell {
        Verdict::Pass => "32",
        Verdict::Fail => "1;31",
        Verdict::Unknown => "33",
        Verdict::NotApplicable { .. } => "2",
        Verdict::DriverBug { .. } => "35",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Seconds as people say them.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
}

fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// What Markdown would take for its own; a line break would end the item.
fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '#' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\r' => {}
            '\n' => escaped.push_str("<br>"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use scenario::outcome::Attempt;

    use super::super::fixture;
    use super::*;

    #[test]
    fn a_table_has_kernels_across_and_scenarios_down_with_their_controls_behind_them() {
        let text = text(&fixture::outcomes(), false);
        assert_eq!(
            format!("\n{text}"),
            "
                             6.1.0-56-amd64     6.12.117+deb13-amd64
mode1-poison                 PASS      12.5 s   FAIL      20.0 s
  control: copies that lie   PASS       9.0 s   n/a
flr                          BUG        3.3 s   UNKNOWN    0.0 s

2 pass, 1 fail, 1 unknown, 1 known driver bug, 1 not applicable in 44.8 s of scenarios

n/a  mode1-poison, control: copies that lie on 6.12.117+deb13-amd64: no shadow copies since 6.12

BUG  flr on 6.1.0-56-amd64
  known driver bug: docs/findings/0001-zero-entry-copy.md
  logs in /runs/6.1/flr

UNKNOWN  flr on 6.12.117+deb13-amd64
  the guest did not start
  logs in /runs/6.12/flr

FAIL  mode1-poison on 6.12.117+deb13-amd64
  page tables: 3 entries are missing
  the driver reported an error: <b>*ERROR*</b> ]]> & \u{1b}[31m \"x\"
    second line # SKIP
  logs in /runs/6.12/mode1 poison
"
        );
    }

    #[test]
    fn scenarios_for_another_kind_of_gpu_are_counted_below_the_table() {
        let table = text(&fixture::with_others(), false);
        let plain = text(&fixture::outcomes(), false);
        assert_eq!(
            table,
            plain.replacen(
                " of scenarios\n",
                " of scenarios\n2 scenarios are for a virtual function: --personality vf\n",
                1
            )
        );
        let pasted = markdown(&fixture::with_others());
        assert!(!pasted.contains("vf-flr"), "{pasted}");
        assert!(pasted.contains("\n2 scenarios are for a virtual function: --personality vf\n"));
    }

    #[test]
    fn the_table_of_one_scenario_has_its_times() {
        let mut outcomes = fixture::outcomes();
        outcomes.retain(|outcome| outcome.scenario == "mode1-poison");
        outcomes[0].loss_to_recovered_ms = Some(812.4);
        outcomes[0].loss_to_tables_ms = Some(1203.7);
        let table = text(&outcomes, false);
        assert!(
            table.starts_with(
                "                             6.1.0-56-amd64     6.12.117+deb13-amd64
mode1-poison                 PASS      12.5 s   FAIL      20.0 s
  loss to recovered          812 ms             -
  loss to tables             1.20 s             -
  control: copies that lie   PASS       9.0 s   n/a
"
            ),
            "{table}"
        );
        assert!(markdown(&outcomes).contains("| loss to tables | 1.20 s | - |\n"));
        // With several there is no room for them.
        assert!(!text(&[fixture::outcomes(), outcomes].concat(), false).contains("loss to"));
    }

    #[test]
    fn colour_does_not_move_the_columns() {
        let strip = |text: &str| {
            let mut plain = String::new();
            let mut parts = text.split("\x1b[");
            plain.push_str(parts.next().unwrap());
            for part in parts {
                plain.push_str(part.split_once('m').unwrap().1);
            }
            plain
        };
        let mut outcomes = fixture::outcomes();
        for outcome in &mut outcomes {
            outcome.reasons.clear();
        }
        let coloured = text(&outcomes, true);
        assert!(coloured.contains("\x1b[1;31mFAIL"), "{coloured}");
        assert_eq!(strip(&coloured), text(&outcomes, false));
    }

    #[test]
    fn markdown_keeps_its_cells_apart_whatever_is_in_them() {
        let mut outcomes = fixture::outcomes();
        outcomes[0].scenario = "a|b".into();
        let text = markdown(&outcomes);
        let row = text.lines().find(|line| line.contains("a\\|b")).unwrap();
        assert_eq!(row, "| a\\|b | PASS      12.5 s | - |");
        assert!(text.contains("\\<b\\>\\*ERROR\\*\\</b\\> \\]\\]\\> &"), "{text}");
        assert!(text.contains("| **FAIL      20.0 s** |"), "{text}");
    }

    #[test]
    fn a_pass_at_the_second_try_tells_of_the_first() {
        let mut outcomes = fixture::outcomes();
        outcomes.truncate(1);
        outcomes[0].earlier = vec![Attempt {
            folder: "/runs/6.1/first".into(),
            reasons: vec!["shadows came too late\nmore".into()],
            host_wait_ms: 87.4,
        }];
        let told = "
PASS  mode1-poison on 6.1.0-56-amd64
  try 1 failed while the host let a thread of the guest or its device wait 87 ms for a processor: shadows came too late; logs in /runs/6.1/first
  logs in /runs/6.1/mode1 poison
";
        let text = text(&outcomes, false);
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn nothing_is_a_table_too() {
        assert_eq!(text(&[], false), "\n\nnothing ran in 0.0 s of scenarios\n");
    }
}
