//! What the guest tells the host: lines of `@lab` and a JSON object.
//!
//! They go through the kernel's log (`/dev/kmsg`), not through the terminal: there they are whole lines with a time,
//! in order with the driver's own messages, and the driver cannot print into the middle of one.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::Instant;

use crate::json::Object;

/// Level "notice": above what a quiet console leaves out.
const LEVEL: &str = "<5>";
/// A record of the kernel's log takes less than 1024 bytes with its header (kernel/printk/printk.c, `devkmsg_write`).
const LONGEST: usize = 960;

/// Sends one object.
pub fn send(object: &Object) {
    let line = format!("{LEVEL}@lab {}\n", object.finish());
    if line.len() > LONGEST {
        let short = Object::new()
            .text("ev", "note")
            .text("error", "a marker was too long for the kernel's log")
            .text("start", line.get(..200).unwrap_or_default());
        send(&short);
        return;
    }
    if write(&line).is_err() {
        // Without /dev/kmsg the console is better than nothing.
        print!("{}", line.trim_start_matches(LEVEL));
        let _ = io::stdout().flush();
    }
}

/// Sends facts about a subject. Both are in the table of notes, which is what a scenario can name.
pub fn note(subject: &str, facts: &Object) {
    send(
        &Object::new()
            .text("ev", "note")
            .text("about", subject)
            .append(facts),
    );
}

/// The time since then, for a note.
pub fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn write(line: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")?
        .write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use protocol::guest::note::{self, Kind, NOTES, Note};

    use crate::drm::FIRMWARE;

    /// A file of this program without its tests.
    struct Source {
        path: PathBuf,
        text: String,
    }

    fn sources(folder: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }

    fn all() -> Vec<Source> {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 20);
        found
    }

    /// The arguments of every call of `function`.
    fn calls<'a>(text: &'a str, function: &str) -> Vec<&'a str> {
        let mut found = Vec::new();
        for (at, _) in text.match_indices(function) {
            let rest = &text[at + function.len()..];
            let mut depth = 1;
            let end = rest.find(|letter| {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                depth == 0
            });
            found.push(&rest[..end.unwrap()]);
        }
        found
    }

    /// The text that the arguments begin with.
    fn literal(arguments: &str) -> Option<&str> {
        arguments.trim_start().strip_prefix('"')?.split('"').next()
    }

    /// The facts that an expression adds.
    fn facts(text: &str) -> BTreeSet<(&str, &'static str)> {
        ["text", "number", "flag", "list"]
            .into_iter()
            .flat_map(|kind| {
                let added = calls(text, &format!(".{kind}("));
                added
                    .into_iter()
                    .filter_map(move |call| Some((literal(call)?, kind)))
            })
            .collect()
    }

    fn written(kind: Kind) -> &'static str {
        match kind {
            Kind::Text | Kind::Word(_) => "text",
            Kind::Number | Kind::Named(_) => "number",
            Kind::Flag => "flag",
            Kind::List => "list",
        }
    }

    fn has(subject: &str, fact: (&str, &str)) -> bool {
        let note = note::about(subject);
        note.is_some_and(|note| {
            let mut known = note.facts.iter().map(|(name, kind)| (*name, written(*kind)));
            known.any(|known| known == fact)
        })
    }

    /// Those that the Vulkan program answers with, which is no part of this one.
    fn is_of_vulkan(note: &Note) -> bool {
        ["vulkan", "vulkan-look", "vulkan-use"].contains(&note.about)
    }

    /// It has its facts as pairs.
    #[test]
    fn what_the_vulkan_program_tells_is_in_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest_vulkan/src/server.rs");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let told: BTreeSet<_> = text
            .match_indices("(\"")
            .filter_map(|(at, _)| text[at + 2..].split_once("\", "))
            .map(|(name, _)| name)
            .filter(|name| name.bytes().all(|letter| letter.is_ascii_lowercase()))
            // Its orders are pairs as well.
            .filter(|name| protocol::guest::order::named(&format!("vulkan-{name}")).is_none())
            .collect();
        let notes = NOTES.iter().filter(|note| is_of_vulkan(note));
        let known = notes.flat_map(|note| note.facts).map(|(name, _)| *name);
        // Whose program it is is added here.
        let known: BTreeSet<_> = known.filter(|name| *name != "name").collect();
        assert_eq!(told, known);
    }

    #[test]
    fn every_note_is_in_the_table() {
        let mut notes = 0;
        for Source { path, text } in all() {
            for call in calls(&text, "marker::note(") {
                notes += 1;
                let Some(subject) = literal(call) else { continue };
                assert!(note::about(subject).is_some(), "{subject} of {path:?} is missing");
                for fact in facts(call) {
                    assert!(has(subject, fact), "{subject} of {path:?} has {fact:?}");
                }
            }
        }
        assert!(notes > 40, "{notes}");
    }

    /// Facts may be put together before they are sent: each is one of a subject that the same file names.
    #[test]
    fn every_fact_is_in_the_table() {
        for Source { path, mut text } in all() {
            // Nothing is told there, or markers that are no notes.
            let told = text.contains("Object::new()");
            if !told
                || path.ends_with("vulkan.rs")
                || path.ends_with("agent.rs")
                || path.ends_with("marker.rs")
            {
                continue;
            }
            for call in calls(&text.clone(), "marker::send(") {
                text = text.replace(call, "");
            }
            let subjects: Vec<_> = NOTES
                .iter()
                .filter(|note| text.contains(&format!("\"{}\"", note.about)))
                .collect();
            for fact in facts(&text) {
                let known = subjects.iter().any(|note| has(note.about, fact));
                assert!(known, "{fact:?} of {path:?} is missing");
            }
        }
    }

    #[test]
    fn the_table_has_nothing_that_is_never_told() {
        let sources = all();
        let told_elsewhere = |note: &&Note| note.about == "firmware" || is_of_vulkan(note);
        for note in NOTES.iter().filter(|note| !told_elsewhere(note)) {
            let quoted = format!("\"{}\"", note.about);
            // One function tells the lines of all programs.
            let quoted = match note.about {
                "vulkan-says" => "\"root-run\"".to_owned(),
                _ => quoted,
            };
            let files: Vec<_> = sources
                .iter()
                .filter(|source| source.text.contains(&quoted))
                .collect();
            for (name, kind) in note.facts {
                let told = files
                    .iter()
                    .any(|source| facts(&source.text).contains(&(*name, written(*kind))));
                assert!(told, "{} {name}", note.about);
                if let Kind::Word(words) = kind {
                    for word in *words {
                        let said = sources
                            .iter()
                            .any(|source| source.text.contains(&format!("\"{word}\"")));
                        assert!(said, "{} {name} {word}", note.about);
                    }
                }
            }
        }
        let firmware = note::about("firmware")
            .unwrap()
            .facts
            .iter()
            .map(|(name, _)| *name);
        assert_eq!(firmware.collect::<Vec<_>>(), FIRMWARE.map(|(name, _)| name));
    }
}
