//! Finds the place of a mutant in the driver's source, and says which lines stand there in addition.
//!
//! This is no parser of C: a function begins with an unindented line that has its name and a parenthesis and ends with an unindented
//! brace, as the kernel's style has it, and a place where an inserted statement could mean something else is refused.

use super::file::Mutant;

/// Name of the selector in the driver.
pub const SELECTOR: &str = "amdgpu_lab_mutant";

/// Why a mutant has no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// No such function.
    #[error("{file} has no function {function}")]
    Function {
        /// The file.
        file: String,
        /// The function.
        function: String,
    },
    /// No such line.
    #[error("{function} in {file} has no line {nth} that contains {text:?}")]
    Line {
        /// The file.
        file: String,
        /// The function.
        function: String,
        /// The text.
        text: String,
        /// Which of them.
        nth: usize,
    },
    /// A place where a statement would change what stands around it.
    #[error("{file}:{line}: {what}: {text:?}")]
    Unfit {
        /// The file.
        file: String,
        /// The line's number, from one.
        line: usize,
        /// The line.
        text: String,
        /// Why.
        what: &'static str,
    },
}

/// A line that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The index of the line before which it stands.
    pub at: usize,
    /// It.
    pub line: String,
}

/// The line that a mutant adds to a file.
///
/// # Errors
/// [`PlaceError`] if the place is not there exactly as said, or a statement there would change others.
pub fn added(mutant: &Mutant, number: usize, lines: &[&str]) -> Result<Added, PlaceError> {
    let (first, last) = body(lines, &mutant.function).ok_or_else(|| PlaceError::Function {
        file: mutant.file.clone(),
        function: mutant.function.clone(),
    })?;
    let text = mutant
        .before
        .as_ref()
        .or(mutant.after.as_ref())
        .map_or("", String::as_str);
    let found = (first..last)
        .filter(|index| lines.get(*index).is_some_and(|line| line.contains(text)))
        .nth(mutant.nth.saturating_sub(1));
    let index = found.ok_or_else(|| PlaceError::Line {
        file: mutant.file.clone(),
        function: mutant.function.clone(),
        text: text.to_owned(),
        nth: mutant.nth,
    })?;
    let line = lines.get(index).copied().unwrap_or_default();
    let unfit = |what| PlaceError::Unfit {
        file: mutant.file.clone(),
        line: index + 1,
        text: line.trim().to_owned(),
        what,
    };
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let before = before(lines, first, index);
    if mutant.skip {
        if CONTROL.contains(&first_word(line)) {
            return Err(unfit("only a simple statement can be skipped"));
        }
        if !matches!(before, Before::Statement | Before::Condition) {
            return Err(unfit("no statement begins here"));
        }
        let end = end_of_statement(lines, index, last).ok_or_else(|| unfit("the statement has no end"))?;
        if follows_else(lines, end + 1) {
            return Err(unfit(
                "the `else` behind the statement would belong to the mutant",
            ));
        }
        return Ok(Added {
            at: index,
            line: format!("{indent}if (likely({SELECTOR} != {number}))"),
        });
    }
    let insert = mutant.insert.as_deref().unwrap_or_default();
    if mutant.before.is_some() {
        if before != Before::Statement {
            return Err(unfit("no block can be put before this line"));
        }
        if first_word(line) == "else" || line.trim_start().starts_with('}') {
            return Err(unfit("no block can be put before this line"));
        }
        return Ok(Added {
            at: index,
            line: guarded(&indent, number, insert),
        });
    }
    let end = if line.trim_end().ends_with('{') || line.trim_end().ends_with('}') {
        index
    } else {
        end_of_statement(lines, index, last).ok_or_else(|| unfit("the statement has no end"))?
    };
    if before == Before::Condition || follows_else(lines, end + 1) {
        return Err(unfit("no block can be put behind a statement without braces"));
    }
    let deeper = if line.trim_end().ends_with('{') { "\t" } else { "" };
    Ok(Added {
        at: end + 1,
        line: guarded(&format!("{indent}{deeper}"), number, insert),
    })
}

const CONTROL: [&str; 9] = [
    "if", "else", "for", "while", "do", "switch", "case", "default", "goto",
];

fn guarded(indent: &str, number: usize, insert: &str) -> String {
    format!("{indent}if (unlikely({SELECTOR} == {number})) {{ {insert} }}")
}

fn first_word(line: &str) -> &str {
    let line = line.trim_start();
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default()
}

/// The lines of a function's body, without its braces.
fn body(lines: &[&str], function: &str) -> Option<(usize, usize)> {
    let begins = |line: &&str| {
        let outside = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let Some(at) = line.find(&format!("{function}(")) else {
            return false;
        };
        let name_begins = line
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        outside && name_begins
    };
    let candidates = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| begins(line))
        .map(|(index, _)| index);
    for start in candidates {
        let rest = lines.get(start..)?;
        let open = rest.iter().position(|line| line.starts_with('{'))?;
        let declared = rest
            .get(..open)?
            .iter()
            .any(|line| line.trim_end().ends_with(';'));
        if declared {
            continue;
        }
        let close = rest.iter().position(|line| line.starts_with('}'))?;
        return Some((start + open + 1, start + close));
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The end of another statement, or the beginning of a block.
    Statement,
    /// A condition without braces.
    Condition,
    /// Something that goes on.
    Unfinished,
}

/// What stands before a line.
fn before(lines: &[&str], first: usize, index: usize) -> Before {
    let mut comment = false;
    for line in lines.get(first..index).unwrap_or_default().iter().rev() {
        let line = line.trim();
        // Comments, from their end.
        if line.ends_with("*/") {
            comment = !line.contains("/*");
            if line.starts_with("/*") {
                continue;
            }
            if comment {
                continue;
            }
        } else if comment {
            comment = !line.starts_with("/*");
            continue;
        }
        let code = line.split("/*").next().unwrap_or_default().trim_end();
        if code.is_empty() || code.starts_with('#') {
            continue;
        }
        return match code.chars().next_back() {
            Some(';' | '{' | '}' | ':') => Before::Statement,
            Some(')') if CONTROL.contains(&first_word(code)) || first_word(code).contains("for_each") => {
                Before::Condition
            }
            _ if code == "else" || code == "} else" => Before::Condition,
            _ => Before::Unfinished,
        };
    }
    Before::Statement
}

/// The last line of a simple statement.
fn end_of_statement(lines: &[&str], index: usize, last: usize) -> Option<usize> {
    (index..last).find(|at| {
        let line = lines.get(*at).copied().unwrap_or_default();
        let code = line.split("/*").next().unwrap_or_default().trim_end();
        code.ends_with(';')
    })
}

fn follows_else(lines: &[&str], from: usize) -> bool {
    let next = lines.get(from..).unwrap_or_default().iter();
    let mut code = next.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("/*"));
    code.next().is_some_and(|line| first_word(line) == "else")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#include <x.h>\n\
        int f(int a);\n\
        static int\nf(int a)\n{\n\tint r;\n\n\t/* a comment\n\t * of two lines;\n\t */\n\tr = g(a,\n\t      1);\n\
        \tif (r)\n\t\treturn r;\n\tif (a)\n\t\th(1);\n\telse\n\t\th(2);\n\tfor (;;) {\n\t\th(3);\n\t}\n\treturn 0;\n}\n\
        int other(void)\n{\n\th(1);\n}\n";

    fn mutant(text: &str) -> Mutant {
        let head = "name = \"m\"\nabout = \"x\"\nfile = \"a.c\"\nfunction = \"f\"\nopen = \"x\"\n";
        crate::mutants::file::read("x", &format!("[[mutant]]\n{head}{text}"))
            .unwrap()
            .remove(0)
    }

    fn at(text: &str) -> Result<(usize, String), PlaceError> {
        let lines: Vec<_> = SOURCE.lines().collect();
        added(&mutant(text), 7, &lines).map(|added| (added.at + 1, added.line))
    }

    #[test]
    fn a_statement_is_skipped_with_all_its_lines() {
        let line = "\tif (likely(amdgpu_lab_mutant != 7))".to_owned();
        assert_eq!(at("before = \"r = g(a\"\nskip = true").unwrap(), (11, line));
        // The only statement of a condition.
        assert_eq!(at("before = \"return r;\"\nskip = true").unwrap().0, 14);
    }

    #[test]
    fn a_block_stands_before_or_behind() {
        let block = |tabs: &str| format!("{tabs}if (unlikely(amdgpu_lab_mutant == 7)) {{ return 5; }}");
        let insert = "\ninsert = \"return 5;\"";
        assert_eq!(
            at(&format!("before = \"if (r)\"{insert}")).unwrap(),
            (13, block("\t"))
        );
        assert_eq!(
            at(&format!("after = \"r = g(a\"{insert}")).unwrap(),
            (13, block("\t"))
        );
        assert_eq!(
            at(&format!("after = \"for (;;)\"{insert}")).unwrap(),
            (20, block("\t\t"))
        );
    }

    #[test]
    fn what_would_change_the_code_around_it_is_refused() {
        for bad in [
            "before = \"h(1)\"\nskip = true",
            "before = \"h(1)\"\ninsert = \"x();\"",
            "after = \"h(1)\"\ninsert = \"x();\"",
            "before = \"      1);\"\ninsert = \"x();\"",
            "before = \"else\"\ninsert = \"x();\"",
            "before = \"if (a)\"\nskip = true",
            "after = \"return r;\"\ninsert = \"x();\"",
        ] {
            let error = at(bad).unwrap_err();
            assert!(matches!(error, PlaceError::Unfit { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let error = at("before = \"nothing\"\nskip = true").unwrap_err().to_string();
        assert!(error.contains("f in a.c") && error.contains("nothing"), "{error}");
        at("before = \"return\"\nnth = 3\nskip = true").unwrap_err();
        assert_eq!(at("before = \"return\"\nnth = 2\nskip = true").unwrap().0, 22);
        let lines = ["int g(void);"];
        let error = added(&mutant("before = \"x\"\nskip = true"), 1, &lines).unwrap_err();
        assert!(matches!(error, PlaceError::Function { .. }), "{error}");
    }
}
