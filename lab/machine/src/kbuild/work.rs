//! The folder in which something is built again and again: what was changed in its source, and its objects.
//!
//! `make` knows by times what to build again. A patch that comes or goes touches the files that it changes and no other, so that a
//! changed series costs the files that it changes.
//!
//! What is in an upper folder hides the source's own file, which the user may edit: so the source's is looked at each time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde::{Deserialize, Serialize};

use super::BuildError;
use super::patches::{Patch, Series};
use super::root::{INPUT, Mount, OUT, Root, SOURCE};
use crate::fetch::Cache;
use crate::lock;
use crate::progress::Progress;

/// A folder of the host's that is seen as a part of the source.
#[derive(Debug, Clone)]
struct Layer {
    /// Relative to the source: empty for all of it.
    prefix: PathBuf,
    lower: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Which series is applied; none while one is being applied, or after that has failed.
    digest: Option<String>,
    /// The files that hide the source's, patched or put back, with what the source's was then; none if it has no such file.
    files: BTreeMap<PathBuf, Option<Stamp>>,
}

/// What tells a file from what it was before: its time in nanoseconds, and its size.
type Stamp = (i64, u64);

/// A folder to build in. Nobody else builds there while it is held.
#[derive(Debug)]
pub(super) struct Workplace {
    folder: PathBuf,
    layers: Vec<Layer>,
    _lock: File,
}

impl Workplace {
    /// Opens the one with this name, waiting for whoever builds there.
    pub(super) fn open(
        cache: &Cache,
        name: &str,
        source: &Path,
        progress: &Progress,
    ) -> Result<Self, BuildError> {
        let folder = cache.folder().join("build").join(name);
        let mut place = Self {
            layers: Vec::new(),
            _lock: lock(&folder, progress)?,
            folder,
        };
        for sub in ["out", "in"] {
            create(&place.folder.join(sub))?;
        }
        place.layer("", source, "source")?;
        Ok(place)
    }

    /// Has another folder in place of a part of the source.
    pub(super) fn layer(&mut self, prefix: &str, lower: &Path, name: &str) -> Result<(), BuildError> {
        let layer = Layer {
            prefix: prefix.into(),
            lower: lower.to_owned(),
            upper: self.folder.join(name).join("upper"),
            work: self.folder.join(name).join("work"),
        };
        create(&layer.upper)?;
        create(&layer.work)?;
        self.layers.push(layer);
        Ok(())
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// A file of the source as a build sees it.
    pub(super) fn built(&self, file: &str) -> PathBuf {
        let file = Path::new(file);
        match self.layer_of(file) {
            Some((layer, rest)) => layer.upper.join(rest),
            None => file.to_owned(),
        }
    }

    /// What commands see: the source, the objects, and what [`input`](Self::input) has written.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mut mounts: Vec<_> = self
            .layers
            .iter()
            .map(|layer| Mount::Overlay {
                lower: layer.lower.clone(),
                upper: layer.upper.clone(),
                work: layer.work.clone(),
                to: if layer.prefix.as_os_str().is_empty() {
                    SOURCE.to_owned()
                } else {
                    format!("{SOURCE}/{}", layer.prefix.display())
                },
            })
            .collect();
        mounts.push(Mount::bind(&self.out(), OUT));
        mounts.push(Mount::bind(&self.folder.join("in"), INPUT));
        mounts
    }

    /// Writes a file that commands read, and gives its path there. A file that is the same keeps its time.
    pub(super) fn input(&self, name: &str, data: &[u8]) -> Result<String, BuildError> {
        let path = self.folder.join("in").join(name);
        if fs::read(&path).ok().as_deref() != Some(data) {
            fs::write(&path, data).map_err(|source| BuildError::File { path, source })?;
        }
        Ok(format!("{INPUT}/{name}"))
    }

    /// Hides what a build in the user's own tree has left there: the kernel's build refuses such a tree for objects elsewhere.
    pub(super) fn hide_builds(&self, root: &Root) -> Result<(), BuildError> {
        const LEFT: [&str; 4] = [
            ".config",
            "include/config",
            "include/generated",
            "arch/x86/include/generated",
        ];
        let Some(lower) = self.layers.first().map(|layer| &layer.lower) else {
            return Ok(());
        };
        let left: Vec<_> = LEFT
            .into_iter()
            .filter(|name| lower.join(name).exists())
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = ["rm", "-rf"].into_iter().chain(left).collect();
        let output = self.run(root, &words)?;
        if output.status.success() {
            return Ok(());
        }
        Err(BuildError::Enter {
            detail: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Makes the source what it is with this series, and no other.
    pub(super) fn apply(&self, root: &Root, series: &Series, of: &str) -> Result<(), BuildError> {
        let before = self.state();
        let digest = series.digest();
        let edited = |(file, stamp): (&PathBuf, &Option<Stamp>)| self.stamp(file) != *stamp;
        if before.digest.as_ref() == Some(&digest) && !before.files.iter().any(edited) {
            return Ok(());
        }
        let patched = series.files();
        let mut state = State {
            digest: None,
            files: (before.files.keys().chain(&patched))
                .map(|file| (file.clone(), self.stamp(file)))
                .collect(),
        };
        self.record(&state)?;
        for file in before.files.keys() {
            self.restore(file)?;
        }
        for patch in series.patches() {
            if let Err(error) = self.apply_one(root, patch, of) {
                for file in &patched {
                    self.restore(file)?;
                }
                return Err(error);
            }
        }
        state.digest = Some(digest);
        self.record(&state)
    }

    /// What the source's own file is at the moment.
    fn stamp(&self, file: &Path) -> Option<Stamp> {
        let (layer, rest) = self.layer_of(file)?;
        let metadata = fs::metadata(layer.lower.join(rest)).ok()?;
        let time = metadata.mtime().saturating_mul(1_000_000_000);
        Some((time.saturating_add(metadata.mtime_nsec()), metadata.len()))
    }

    fn apply_one(&self, root: &Root, patch: &Patch, of: &str) -> Result<(), BuildError> {
        let path = self.input("next.patch", &patch.text)?;
        let words = [
            "patch",
            "-p1",
            "--batch",
            "--forward",
            "--no-backup-if-mismatch",
            "--reject-file=-",
            "--input",
            &path,
        ];
        let output = self.run(root, &words)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let refused = refused(&said);
        if refused.is_empty() {
            return Err(BuildError::Enter {
                detail: format!("{said}{}", String::from_utf8_lossy(&output.stderr)),
            });
        }
        Err(BuildError::DoesNotApply {
            title: patch.title.clone(),
            path: patch.path.clone(),
            of: of.to_owned(),
            refused,
        })
    }

    /// A command in the source, with what it prints.
    fn run(&self, root: &Root, words: &[&str]) -> Result<Output, BuildError> {
        let mut command = root.command(&self.mounts(), SOURCE, words)?;
        command.output().map_err(|source| BuildError::Program {
            program: "unshare",
            source,
        })
    }

    fn layer_of<'a>(&self, file: &'a Path) -> Option<(&Layer, &'a Path)> {
        let layers = self.layers.iter().rev();
        layers
            .filter_map(|layer| Some((layer, file.strip_prefix(&layer.prefix).ok()?)))
            .next()
    }

    /// Puts back what the source has, as of now.
    fn restore(&self, file: &Path) -> Result<(), BuildError> {
        let Some((layer, rest)) = self.layer_of(file) else {
            return Ok(());
        };
        let (lower, upper) = (layer.lower.join(rest), layer.upper.join(rest));
        let error = |source| BuildError::File {
            path: upper.clone(),
            source,
        };
        match fs::remove_file(&upper) {
            Ok(()) => {}
            // It was not reached, or there never was one.
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => {}
            Err(failed) => return Err(error(failed)),
        }
        if lower.is_file() {
            if let Some(folder) = upper.parent() {
                create(folder)?;
            }
            fs::copy(&lower, &upper).map_err(error)?;
        }
        Ok(())
    }

    fn state(&self) -> State {
        let text = fs::read(self.folder.join("state.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn record(&self, state: &State) -> Result<(), BuildError> {
        let path = self.folder.join("state.json");
        let text = serde_json::to_vec_pretty(state).unwrap_or_default();
        fs::write(&path, text).map_err(|source| BuildError::File { path, source })
    }
}

/// What `patch` says of hunks and files that it could not do: `FILE: hunk 2 at line 37`.
fn refused(said: &str) -> Vec<String> {
    let mut refused = Vec::new();
    let mut file = "";
    for line in said.lines() {
        if let Some(name) = line
            .strip_prefix("patching file ")
            .or_else(|| line.strip_prefix("checking file "))
        {
            file = name.trim_matches('\'');
        } else if let Some(rest) = line.strip_prefix("Hunk #")
            && let Some((number, rest)) = rest.split_once(" FAILED at ")
        {
            let at = rest
                .split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            refused.push(format!("{file}: hunk {number} at line {at}"));
        } else if line.starts_with("can't find file to patch") {
            refused.push("a file that it changes is not there".to_owned());
        } else if line.starts_with("Reversed (or previously applied) patch detected") {
            refused.push(format!("{file}: it is applied already, or reversed"));
        } else if line.contains("malformed patch") {
            refused.push(line.trim_start_matches(['*', ' ']).to_owned());
        }
    }
    refused
}

fn create(folder: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(folder).map_err(|source| BuildError::File {
        path: folder.to_owned(),
        source,
    })
}

fn lock(folder: &Path, progress: &Progress) -> Result<File, BuildError> {
    create(folder)?;
    let path = folder.join("lock");
    let waiting = "waiting for another run that builds the same";
    lock::exclusive(&path, waiting, progress).map_err(|source| match source.kind() {
        io::ErrorKind::Interrupted => BuildError::Interrupted,
        _ => BuildError::File { path, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Sources;

    #[test]
    fn what_patch_refuses_is_told_by_file_and_hunk() {
        let said = "patching file drivers/a.c\nHunk #2 FAILED at 37.\n1 out of 2 hunks FAILED\n\
                    patching file drivers/b.c\nHunk #1 succeeded at 9 (offset 1 line).\n";
        assert_eq!(refused(said), ["drivers/a.c: hunk 2 at line 37"]);
        assert_eq!(
            refused("can't find file to patch at input line 5\n"),
            ["a file that it changes is not there"]
        );
        assert!(refused("mount: permission denied\n").is_empty());
    }

    #[test]
    fn a_file_goes_back_to_what_the_source_has() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(
            Some(&folder.path().join("cache")),
            Sources::default(),
            Progress::silent(),
        )
        .unwrap();
        let source = folder.path().join("source");
        let amd = folder.path().join("amd");
        for (at, text) in [
            (source.join("mm/a.c"), "old"),
            (source.join("drivers/amd/x.c"), "hidden"),
            (amd.join("x.c"), "own"),
        ] {
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        let mut place = Workplace::open(&cache, "test", &source, &Progress::silent()).unwrap();
        place.layer("drivers/amd", &amd, "driver").unwrap();
        for (file, patched) in [("mm/a.c", true), ("mm/new.c", true), ("drivers/amd/x.c", false)] {
            let upper = place.built(file);
            if patched {
                fs::create_dir_all(upper.parent().unwrap()).unwrap();
                fs::write(&upper, "patched").unwrap();
            }
            place.restore(Path::new(file)).unwrap();
        }
        let read = |file| fs::read_to_string(place.built(file)).ok();
        assert_eq!(read("mm/a.c").as_deref(), Some("old"));
        assert_eq!(read("mm/new.c"), None);
        assert_eq!(read("drivers/amd/x.c").as_deref(), Some("own"));
    }

    #[test]
    fn a_file_that_was_put_back_does_not_hide_what_the_user_writes_later() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let cache = Cache::open(Some(&cache), Sources::default(), Progress::silent()).unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("a.c"), "old").unwrap();
        let place = Workplace::open(&cache, "test", &source, &Progress::silent()).unwrap();
        let root = Root::new("/no/root".into());
        // As after a series that changed the file, and is not wanted any more.
        fs::write(place.built("a.c"), "patched").unwrap();
        place
            .record(&State {
                digest: Some("another".to_owned()),
                files: [(PathBuf::from("a.c"), place.stamp(Path::new("a.c")))].into(),
            })
            .unwrap();
        let none = Series::default();
        place.apply(&root, &none, "x").unwrap();
        let seen = || fs::read_to_string(place.built("a.c")).unwrap();
        assert_eq!(seen(), "old");
        fs::write(source.join("a.c"), "edited").unwrap();
        place.apply(&root, &none, "x").unwrap();
        assert_eq!(seen(), "edited");
    }
}
