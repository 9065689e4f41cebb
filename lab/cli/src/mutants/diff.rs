//! The patch that all mutants are: lines that are added, in the form that `patch` reads.

use std::fmt::Write as _;

use super::place::Added;

/// Lines around a change.
const CONTEXT: usize = 3;

/// The unified diff that adds lines to a file.
pub fn unified(file: &str, lines: &[&str], added: &[Added]) -> String {
    let mut added: Vec<&Added> = added.iter().collect();
    added.sort_by_key(|added| added.at);
    let mut text = format!("--- a/{file}\n+++ b/{file}\n");
    let mut before = 0;
    let near = |one: &&Added, two: &&Added| two.at - one.at <= 2 * CONTEXT;
    for hunk in added.chunk_by(near) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
            continue;
        };
        let start = first.at.saturating_sub(CONTEXT);
        let end = (last.at + CONTEXT).min(lines.len());
        let (old, new) = (end - start, end - start + hunk.len());
        let _ = writeln!(text, "@@ -{},{old} +{},{new} @@", start + 1, start + 1 + before);
        let mut rest = hunk.iter().peekable();
        for at in start..=end {
            while let Some(added) = rest.next_if(|added| added.at == at) {
                let _ = writeln!(text, "+{}", added.line);
            }
            if at < end {
                let _ = writeln!(text, " {}", lines.get(at).copied().unwrap_or_default());
            }
        }
        before += hunk.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn patch_makes_the_same_of_it() {
        let old: Vec<_> = (0..40).map(|n| format!("line {n}")).collect();
        let lines: Vec<_> = old.iter().map(String::as_str).collect();
        let add = |at: usize, line: &str| Added {
            at,
            line: line.to_owned(),
        };
        // At the beginning, twice at one place, near each other, far away, and at the end.
        let added = [
            add(40, "end"),
            add(0, "begin"),
            add(10, "a"),
            add(10, "b"),
            add(14, "c"),
            add(30, "d"),
        ];
        let mut wanted: Vec<String> = Vec::new();
        for at in 0..=40 {
            wanted.extend(
                added
                    .iter()
                    .filter(|added| added.at == at)
                    .map(|added| added.line.clone()),
            );
            wanted.extend(old.get(at).cloned());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.c");
        std::fs::write(&path, old.join("\n") + "\n").unwrap();
        let mut patch = Command::new("patch")
            .args(["-p1", "--fuzz=0"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let text = unified("x.c", &lines, &added);
        patch.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(patch.wait().unwrap().success(), "{text}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted.join("\n") + "\n");
    }
}
