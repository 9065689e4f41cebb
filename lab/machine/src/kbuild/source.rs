//! The source that something is built from: a distribution's package, or a tree of the user's.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BuildError;
use crate::fetch::{Cache, Suite};
use crate::progress::Progress;
use crate::sys;

/// Where source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The package `linux-source` of a suite.
    Suite(Suite),
    /// A tree of the user's, which is never written to.
    Tree(PathBuf),
}

impl Source {
    /// `trixie`, or the path of a tree.
    pub fn parse(text: &str) -> Self {
        clap::ValueEnum::from_str(text, false).map_or_else(|_| Self::Tree(PathBuf::from(text)), Self::Suite)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suite(suite) => suite.fmt(f),
            Self::Tree(path) => path.display().fmt(f),
        }
    }
}

/// A version as a tree's Makefile has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TreeVersion {
    pub(super) version: u32,
    pub(super) patchlevel: u32,
    pub(super) sublevel: u32,
}

impl TreeVersion {
    /// Whether modules of one can be for the other: the series is the same.
    pub(super) const fn same_series(self, other: Self) -> bool {
        self.version == other.version && self.patchlevel == other.patchlevel
    }

    /// Reads `6.12.118`, with anything behind it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse().ok());
        Some(Self {
            version: numbers.next()??,
            patchlevel: numbers.next()??,
            sublevel: numbers.next().flatten().unwrap_or(0),
        })
    }
}

impl fmt::Display for TreeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.version, self.patchlevel, self.sublevel)
    }
}

/// A tree to build from.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) folder: PathBuf,
    pub(super) version: TreeVersion,
    /// The release whose compiler is taken.
    pub(super) toolchain: Suite,
    /// A name for folders.
    pub(super) name: String,
}

impl Tree {
    /// Finds it, or fetches and unpacks it.
    pub(super) fn of(source: &Source, cache: &Cache, progress: &Progress) -> Result<Self, BuildError> {
        match source {
            Source::Suite(suite) => {
                let (folder, version) = cache.source(*suite)?;
                let folder = unpacked(&folder, &version, progress)?;
                Ok(Self {
                    version: version_of(&folder)?,
                    folder,
                    toolchain: *suite,
                    name: format!("{suite}-{}", version.replace([':', '/'], "_")),
                })
            }
            Source::Tree(path) => {
                let folder = path.canonicalize().map_err(|source| BuildError::File {
                    path: path.clone(),
                    source,
                })?;
                let version = version_of(&folder)?;
                // Debian 13's compiler stumbles over trees that are much older than itself.
                let old = version.version < 6 || version.version == 6 && version.patchlevel < 6;
                Ok(Self {
                    version,
                    toolchain: if old { Suite::Bookworm } else { Suite::Trixie },
                    name: own_name(&folder),
                    folder,
                })
            }
        }
    }
}

/// The folder of a source, which is fetched and unpacked if it is not there.
///
/// # Errors
/// [`BuildError`]: it cannot be fetched, or is no kernel tree.
pub fn folder(source: &Source, cache: &Cache, progress: &Progress) -> Result<PathBuf, BuildError> {
    Ok(Tree::of(source, cache, progress)?.folder)
}

/// The name of a tree's folder, and enough of its path's digest to tell it from others of that name.
pub fn own_name(folder: &Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = crate::hex::text(&Sha256::digest(folder.as_os_str().as_encoded_bytes()));
    let name: String = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .collect();
    format!("{name}-{}", digest.get(..12).unwrap_or_default())
}

/// The version in a tree's Makefile.
pub(super) fn version_of(folder: &Path) -> Result<TreeVersion, BuildError> {
    let no_tree = || BuildError::NoTree {
        folder: folder.to_owned(),
    };
    let text = fs::read_to_string(folder.join("Makefile")).map_err(|_| no_tree())?;
    let number = |name: &str| {
        text.lines().take(16).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().parse().ok())?
        })
    };
    match (number("VERSION"), number("PATCHLEVEL"), number("SUBLEVEL")) {
        (Some(version), Some(patchlevel), Some(sublevel)) => Ok(TreeVersion {
            version,
            patchlevel,
            sublevel,
        }),
        _ => Err(no_tree()),
    }
}

/// The folder with a package's source, unpacked once.
fn unpacked(package: &Path, version: &str, progress: &Progress) -> Result<PathBuf, BuildError> {
    let target = package.join("tree");
    if target.is_dir() {
        return Ok(target);
    }
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { path, source }
    };
    let folder = package.join("usr/src");
    let archive = fs::read_dir(&folder)
        .map_err(file_error(&folder))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".tar.xz"))
        .ok_or_else(|| BuildError::NoTree {
            folder: folder.clone(),
        })?;
    let partial = package.join("tree.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(file_error(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(file_error(&partial))?;
    let running = progress.start(&format!("unpacking the source of {version}"));
    let mut command = Command::new("tar");
    command
        .args(["--strip-components=1", "--no-same-owner"])
        .arg("-C")
        .arg(&partial)
        .arg("-xf")
        .arg(&archive)
        .stdin(Stdio::null());
    let output = crate::process::watched(sys::contain(&mut command), &running).map_err(|source| {
        BuildError::Program {
            program: "tar",
            source,
        }
    })?;
    if !output.status.success() {
        running.failed();
        return Err(BuildError::Unpack {
            archive,
            detail: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    fs::rename(&partial, &target).map_err(file_error(&target))?;
    // It can be fetched again, and takes as much room as a kernel's objects.
    let _ = fs::remove_file(&archive);
    running.done("");
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_known_by_its_makefile() {
        let folder = tempfile::tempdir().unwrap();
        let error = version_of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("Makefile"), "{error}");
        let text = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 118\nEXTRAVERSION =\n";
        fs::write(folder.path().join("Makefile"), text).unwrap();
        assert_eq!(version_of(folder.path()).unwrap().to_string(), "6.12.118");
    }

    #[test]
    fn a_source_is_a_suite_or_a_path() {
        assert_eq!(Source::parse("trixie"), Source::Suite(Suite::Trixie));
        assert_eq!(Source::parse("./linux"), Source::Tree("./linux".into()));
    }

    #[test]
    fn versions_of_one_series_go_together() {
        let parse = |text| TreeVersion::parse(text).unwrap();
        assert!(parse("6.12.118+deb13-amd64").same_series(parse("6.12.1")));
        assert!(!parse("6.12.1").same_series(parse("6.13.0-rc1")));
        assert_eq!(TreeVersion::parse("linux"), None);
    }

    #[test]
    fn two_trees_of_one_name_have_folders_of_their_own() {
        let (one, other) = (own_name(Path::new("/a/linux")), own_name(Path::new("/b/linux")));
        assert!(one.starts_with("linux-") && other.starts_with("linux-") && one != other);
    }
}
