//! Regular expressions about words that are known: an alternative that matches none of them is misspelt.

use regex::Regex;
use regex_syntax::ast::{Ast, parse::Parser};

/// The first alternative of a regular expression that can be left out without that it matches fewer of the words.
pub(super) fn dead_branch(pattern: &str, words: &[&str]) -> Option<String> {
    let ast = Parser::new().parse(pattern).ok()?;
    let mut found = None;
    look(&ast, &mut |whole: (usize, usize), branch: (usize, usize)| {
        let (Some(before), Some(text), Some(behind)) = (
            pattern.get(..whole.0),
            pattern.get(branch.0..branch.1),
            pattern.get(whole.1..),
        ) else {
            return;
        };
        let only = Regex::new(&format!("{before}(?:{text}){behind}"));
        let matches = only.is_ok_and(|only| words.iter().any(|word| only.is_match(word)));
        if !matches && found.is_none() {
            found = Some(text.to_owned());
        }
    });
    found
}

/// Calls for every alternative with the place of all of them and its own.
fn look(ast: &Ast, found: &mut impl FnMut((usize, usize), (usize, usize))) {
    let place = |ast: &Ast| (ast.span().start.offset, ast.span().end.offset);
    match ast {
        Ast::Alternation(all) => {
            for branch in &all.asts {
                found((all.span.start.offset, all.span.end.offset), place(branch));
                look(branch, found);
            }
        }
        Ast::Concat(all) => all.asts.iter().for_each(|part| look(part, found)),
        Ast::Group(group) => look(&group.ast, found),
        Ast::Repetition(repetition) => look(&repetition.ast, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_that_matches_nothing_is_found() {
        let words = ["reset-begin", "reset-end", "vm-fault"];
        for (pattern, dead) in [
            ("^(vm-fault|reset-begin)$", None),
            ("^reset-(begin|end)$", None),
            ("^(vm-fault|reset-begn)$", Some("reset-begn")),
            ("^reset-(begin|ned)$", Some("ned")),
            ("vm-fault|reset", None),
            ("vm-fualt|reset", Some("vm-fualt")),
            ("^(reset|x)+-begin$", Some("x")),
            ("fault", None),
        ] {
            assert_eq!(dead_branch(pattern, &words).as_deref(), dead, "{pattern}");
        }
    }
}
