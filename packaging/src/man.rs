//! Man pages: names, options and commands out of the definition of the command line, the rest by hand.
//!
//! One page for a program with all of its commands, as they are few.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;

use crate::Program;

const CHANGELOG: &str = include_str!("../debian/changelog");

/// Where the page lies under a prefix such as `/usr`.
pub fn path(program: &Program) -> PathBuf {
    format!("share/man/man1/{}.1", program.name).into()
}

/// The whole page.
///
/// # Errors
/// If what was made is no text, which would be a fault of its maker.
pub fn page(program: &Program) -> io::Result<String> {
    let version = program.command.get_version().unwrap_or_default();
    let man = Man::new(program.command.clone())
        .title(program.name.to_uppercase())
        .date(date(CHANGELOG).unwrap_or_default())
        .source(format!("{} {version}", program.name))
        .manual("User Commands");
    let mut page = text(|to| man.render_title(to))?;
    for (heading, section) in [
        ("NAME", text(|to| man.render_name_section(to))?),
        ("SYNOPSIS", text(|to| man.render_synopsis_section(to))?),
        ("DESCRIPTION", text(|to| man.render_description_section(to))?),
        ("OPTIONS", text(|to| man.render_options_section(to))?),
    ] {
        let _ = write!(page, ".SH {heading}\n{}", body(&section));
    }
    page.push_str(".SH COMMANDS\n");
    for command in program.command.get_subcommands() {
        page.push_str(&subsection(program.name, command)?);
    }
    page.push_str(program.sections);
    Ok(tidied(&page))
}

/// One command of a program.
fn subsection(program: &str, command: &Command) -> io::Result<String> {
    let name = format!("{program} {}", command.get_name());
    let man = Man::new(command.clone().bin_name(&name));
    let synopsis = text(|to| man.render_synopsis_section(to))?;
    let description = text(|to| man.render_description_section(to))?;
    let options = text(|to| man.render_options_section(to))?;
    let after = command.get_after_help().map(ToString::to_string);
    Ok(format!(
        ".SS {}\n{}.PP\n{}{}{}",
        escaped(&name),
        body(&synopsis),
        body(&description),
        body(&options),
        list(after.as_deref().unwrap_or_default()),
    ))
}

/// The page without spaces at the ends of lines, with one empty line in front of a list of values instead of three breaks, and with places
/// to break the words of QEMU's command line, which are longer than a line.
fn tidied(page: &str) -> String {
    let lines = page.lines().fold(String::new(), |mut tidy, line| {
        let mut pieces = line.trim_end().split(',').peekable();
        while let Some(piece) = pieces.next() {
            tidy.push_str(piece);
            match pieces.peek() {
                Some(next) if !line.starts_with('.') && next.starts_with(char::is_alphanumeric) => {
                    tidy.push_str(",\\:");
                }
                Some(_) => tidy.push(','),
                None => {}
            }
        }
        tidy.push('\n');
        tidy
    });
    lines.replace("\n.br\n\n.br\n", "\n.sp\n")
}

/// A text in which what is indented is a name, two spaces or more, and what it means.
fn list(text: &str) -> String {
    text.lines().fold(String::new(), |mut roff, line| {
        let _ = match line.trim_start().split_once("  ") {
            Some((name, meaning)) if line.starts_with(' ') => {
                write!(
                    roff,
                    ".TP\n\\fB{}\\fR\n{}\n",
                    escaped(name),
                    escaped(meaning.trim_start())
                )
            }
            _ => write!(roff, ".PP\n{}\n", escaped(line)),
        };
        roff
    })
}

/// What of a text would be markup. No line of ours begins with a dot or an apostrophe.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}

fn text(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    render(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// A section without its heading, and without what its maker puts before it.
fn body(section: &str) -> &str {
    let heading = section.find(".SH ").and_then(|at| section.get(at..));
    heading
        .and_then(|rest| rest.split_once('\n'))
        .map_or("", |(_, body)| body)
}

/// The date of the newest entry of a changelog as Debian writes it (`Sun, 29 Nov 2026 ...`), as man pages write it.
fn date(changelog: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let trailer = changelog.lines().find(|line| line.starts_with(" -- "))?;
    let (_, date) = trailer.rsplit_once(", ")?;
    let mut words = date.split_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}-{month:02}-{day:0>2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_newest_entry() {
        let changelog = "x (1) unstable; urgency=low\n\n  * y\n\n -- N <m@x>  Fri, 02 Jan 2026 10:00:00 +0000\n\
                         \n -- N <m@x>  Thu, 01 Jan 2026 10:00:00 +0000\n";
        assert_eq!(date(changelog).as_deref(), Some("2026-01-02"));
        assert_eq!(date("nothing"), None);
        assert!(date(CHANGELOG).is_some());
    }

    #[test]
    fn what_is_indented_becomes_a_list() {
        assert_eq!(
            list("All:\n  a-b   what --c does"),
            ".PP\nAll:\n.TP\n\\fBa\\-b\\fR\nwhat \\-\\-c does\n"
        );
    }

    #[test]
    fn long_words_can_be_broken_and_markup_cannot() {
        let page = ".BR a ,b\nport,path=x, and\n.br\n\n.br\nlast  \n";
        assert_eq!(tidied(page), ".BR a ,b\nport,\\:path=x, and\n.sp\nlast\n");
    }

    #[test]
    fn a_section_loses_its_heading_only() {
        assert_eq!(body(".el .ds Aq '\n.SH NAME\nx\ny\n"), "x\ny\n");
        assert_eq!(body("x"), "");
    }
}
