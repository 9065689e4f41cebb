//! Waits until sources are saved, for a verdict after each change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use machine::interrupt;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// Files that are watched.
#[derive(Debug)]
pub struct Watched {
    roots: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, SystemTime>,
}

impl Watched {
    /// Watches sources below folders, and single files.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let seen = times(&roots);
        Self { roots, seen }
    }

    /// How many files there are.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Waits until files were changed, and no more follow at once. None when the user ends it.
    pub fn wait(&mut self) -> Option<Vec<PathBuf>> {
        loop {
            std::thread::sleep(INTERVAL);
            if interrupt::requested() {
                return None;
            }
            let mut changed = self.look();
            if changed.is_empty() {
                continue;
            }
            // An editor that saves all its files takes a moment.
            loop {
                std::thread::sleep(INTERVAL);
                let more = self.look();
                if more.is_empty() || interrupt::requested() {
                    break;
                }
                changed.extend(more);
            }
            changed.sort();
            changed.dedup();
            return Some(changed);
        }
    }

    /// What was changed, made or removed since the last look.
    fn look(&mut self) -> Vec<PathBuf> {
        let now = times(&self.roots);
        let changed = now
            .iter()
            .filter(|(path, time)| self.seen.get(*path) != Some(*time));
        let gone = self.seen.keys().filter(|path| !now.contains_key(*path));
        let all: Vec<_> = changed.map(|(path, _)| path).chain(gone).cloned().collect();
        self.seen = now;
        all
    }
}

fn times(roots: &[PathBuf]) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = roots.to_vec();
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            // A folder that goes away meanwhile has no files.
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(
                entries
                    .filter(|entry| {
                        entry
                            .file_type()
                            .is_ok_and(|kind| kind.is_dir() || is_source(&entry.path()))
                    })
                    .map(|entry| entry.path()),
            );
        } else if let Ok(time) = metadata.modified() {
            found.insert(path, time);
        }
    }
    found
}

/// What a build reads; objects of a build in the same tree come and go.
fn is_source(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("c" | "h" | "S")) || matches!(name, "Makefile" | "Kconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_saved_made_or_removed_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("deep")).unwrap();
        fs::write(path("deep/a.c"), "1").unwrap();
        let mut watched = Watched::new(vec![folder.path().to_owned()]);
        assert_eq!(watched.count(), 1);
        assert!(watched.look().is_empty());

        let file = fs::File::options().write(true).open(path("deep/a.c")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::write(path("b.h"), "").unwrap();
        fs::write(path("b.o"), "").unwrap();
        assert_eq!(watched.look(), [path("b.h"), path("deep/a.c")]);
        fs::remove_file(path("b.h")).unwrap();
        assert_eq!(watched.look(), [path("b.h")]);
        assert!(watched.look().is_empty());
    }
}
