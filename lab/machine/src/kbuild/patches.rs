//! Patches as a user has them: files, folders, and mailboxes as `b4 am` leaves them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::hex;

/// Why something is no patch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// It cannot be read.
    #[error("cannot read the patch {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without patches.
    #[error("no patches in {}: looked for files named *.patch, *.diff and *.mbx", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file without a change.
    #[error(
        "{} has no unified diff: expected lines \"--- a/FILE\", \"+++ b/FILE\" and \"@@\", as git format-patch writes them",
        path.display()
    )]
    NoDiff {
        /// The file.
        path: PathBuf,
    },
    /// A mail that was not decoded.
    #[error("{} holds mail that is encoded ({encoding}): let b4 am or git mailinfo decode it", path.display())]
    Encoded {
        /// The file.
        path: PathBuf,
        /// How.
        encoding: String,
    },
    /// A file outside of the tree.
    #[error("{} changes {file:?}, which is not a path within a kernel tree (patches are applied with -p1)", path.display())]
    Outside {
        /// The patch.
        path: PathBuf,
        /// What it changes.
        file: String,
    },
}

/// One patch: a file, or a mail of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its subject, or else the name of its file.
    pub title: String,
    /// Where it came from.
    pub path: PathBuf,
    /// The text.
    pub text: Vec<u8>,
    /// What it changes, relative to the tree.
    pub files: BTreeSet<PathBuf>,
}

/// Patches in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series(Vec<Patch>);

impl Series {
    /// Reads files and folders in the order given; a folder's in that of its `series`, or else by name.
    ///
    /// # Errors
    /// [`PatchError`] for what is no patch.
    pub fn read(paths: &[PathBuf]) -> Result<Self, PatchError> {
        let mut patches = Vec::new();
        for path in paths {
            for file in files_of(path)? {
                let text = fs::read(&file).map_err(|source| PatchError::Read {
                    path: file.clone(),
                    source,
                })?;
                patches.extend(split(&file, &text)?);
            }
        }
        Ok(Self(patches))
    }

    /// The patches.
    pub fn patches(&self) -> &[Patch] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All files that are changed.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.0.iter().flat_map(|patch| patch.files.clone()).collect()
    }

    /// What tells one series from another.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for patch in &self.0 {
            hash.update((patch.text.len() as u64).to_le_bytes());
            hash.update(&patch.text);
        }
        hex::text(&hash.finalize())
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, PatchError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let read = |source| PatchError::Read {
        path: path.to_owned(),
        source,
    };
    let files: Vec<_> = match fs::read_to_string(path.join("series")) {
        // As quilt has it: a name on each line, options behind it.
        Ok(series) => series
            .lines()
            .filter_map(|line| line.split('#').next()?.split_whitespace().next())
            .map(|name| path.join(name))
            .collect(),
        Err(_) => {
            let mut files = Vec::new();
            for entry in fs::read_dir(path).map_err(read)? {
                let file = entry.map_err(read)?.path();
                let kind = file.extension().and_then(|kind| kind.to_str());
                if matches!(kind, Some("patch" | "diff" | "mbx")) {
                    files.push(file);
                }
            }
            files.sort();
            files
        }
    };
    if files.is_empty() {
        return Err(PatchError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(files)
}

/// The patches of a file: one, or those of the mails in a mailbox.
fn split(path: &Path, text: &[u8]) -> Result<Vec<Patch>, PatchError> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if at > 0 && is_mail_start(line) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    let mut patches = Vec::new();
    for (start, end) in starts.iter().zip(starts.iter().skip(1)) {
        let part = text.get(*start..*end).unwrap_or_default();
        let readable = String::from_utf8_lossy(part);
        let files = changed(path, &readable)?;
        if files.is_empty() {
            // A cover letter.
            continue;
        }
        if let Some(encoding) = encoding(&readable) {
            return Err(PatchError::Encoded {
                path: path.to_owned(),
                encoding,
            });
        }
        patches.push(Patch {
            title: subject(&readable).unwrap_or_else(|| file_name(path)),
            path: path.to_owned(),
            text: part.to_owned(),
            files,
        });
    }
    if let (true, Some(encoding)) = (patches.is_empty(), encoding(&String::from_utf8_lossy(text))) {
        return Err(PatchError::Encoded {
            path: path.to_owned(),
            encoding,
        });
    }
    if patches.is_empty() {
        return Err(PatchError::NoDiff {
            path: path.to_owned(),
        });
    }
    Ok(patches)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// `From 0123abcd... Mon Sep 17 00:00:00 2001`, or any other line that begins a mail (RFC 4155).
fn is_mail_start(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else {
        return false;
    };
    let line = String::from_utf8_lossy(rest);
    let words: Vec<_> = line.split_whitespace().collect();
    matches!(words.as_slice(), [_, _, _, _, time, year] if time.contains(':') && year.len() == 4)
}

/// The header field `Content-Transfer-Encoding`, if text does not stand there as it is.
fn encoding(mail: &str) -> Option<String> {
    let header = mail.lines().take_while(|line| !line.is_empty());
    let mut values = header.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-transfer-encoding")
            .then(|| value.trim().to_ascii_lowercase())
    });
    values.find(|value| value == "base64" || value == "quoted-printable")
}

/// The header field `Subject`, without what stands in brackets before it.
fn subject(mail: &str) -> Option<String> {
    let mut lines = mail.lines().take_while(|line| !line.is_empty());
    let first = lines.find_map(|line| line.strip_prefix("Subject:"))?;
    let mut text = first.trim().to_owned();
    for more in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        text.push(' ');
        text.push_str(more.trim());
    }
    while let Some((_, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        text = rest.trim_start().to_owned();
    }
    (!text.is_empty()).then_some(text)
}

/// The files that a text's diffs change.
fn changed(path: &Path, text: &str) -> Result<BTreeSet<PathBuf>, PatchError> {
    let mut files = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (Some(old), Some(new)) = (
            line.strip_prefix("--- "),
            lines.peek().and_then(|next| next.strip_prefix("+++ ")),
        ) else {
            continue;
        };
        for name in [old, new] {
            let name = name.split('\t').next().unwrap_or_default().trim_end();
            if name == "/dev/null" {
                continue;
            }
            let stripped: PathBuf = Path::new(name).components().skip(1).collect();
            let inside = !name.starts_with('/')
                && !stripped.as_os_str().is_empty()
                && stripped
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
            if !inside {
                return Err(PatchError::Outside {
                    path: path.to_owned(),
                    file: name.to_owned(),
                });
            }
            files.insert(stripped);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/drivers/x.c\n+++ b/drivers/x.c\n@@ -1 +1 @@\n-a\n+b\n";

    fn read(text: &str) -> Result<Series, PatchError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0001-x.patch");
        fs::write(&path, text).unwrap();
        Series::read(&[path])
    }

    #[test]
    fn a_plain_diff_is_named_by_its_file() {
        let series = read(DIFF).unwrap();
        assert_eq!(series.patches()[0].title, "0001-x.patch");
        assert_eq!(series.files(), [PathBuf::from("drivers/x.c")].into());
    }

    #[test]
    fn a_mailbox_is_as_many_patches_as_have_a_diff() {
        let start = "From 0123456789abcdef Mon Sep 17 00:00:00 2001\n";
        let mail = |subject: &str, body: &str| format!("{start}Subject: {subject}\n\n{body}\n");
        let text = [
            mail("[PATCH 0/2] cover", "From here on it is text"),
            mail("[PATCH v2 1/2] drm/amdgpu: one\n and more", DIFF),
            mail("[PATCH v2 2/2] drm/amdgpu: two", &DIFF.replace("x.c", "y.c")),
        ]
        .concat();
        let series = read(&text).unwrap();
        let titles: Vec<_> = series
            .patches()
            .iter()
            .map(|patch| patch.title.as_str())
            .collect();
        assert_eq!(titles, ["drm/amdgpu: one and more", "drm/amdgpu: two"]);
        assert_eq!(series.files().len(), 2);
    }

    #[test]
    fn what_is_no_patch_is_refused_with_what_was_expected() {
        assert!(matches!(
            read("nothing\n").unwrap_err(),
            PatchError::NoDiff { .. }
        ));
        let outside = read(&DIFF.replace("a/drivers", "a/../../etc")).unwrap_err();
        assert!(matches!(outside, PatchError::Outside { .. }), "{outside}");
        let encoded = read("Subject: x\nContent-Transfer-Encoding: base64\n\nAAAA\n").unwrap_err();
        assert!(encoded.to_string().contains("base64"), "{encoded}");
        let missing = Series::read(&["/no/such.patch".into()]).unwrap_err();
        assert!(missing.to_string().contains("/no/such.patch"), "{missing}");
    }

    #[test]
    fn a_folder_is_read_by_its_series_or_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.patch", "a.patch", "notes.txt"] {
            fs::write(folder.path().join(name), DIFF).unwrap();
        }
        let titles = || -> Vec<_> {
            let series = Series::read(&[folder.path().to_owned()]).unwrap();
            series.patches().iter().map(|patch| patch.title.clone()).collect()
        };
        assert_eq!(titles(), ["a.patch", "b.patch"]);
        fs::write(folder.path().join("series"), "# order\nb.patch -p1\na.patch\n").unwrap();
        assert_eq!(titles(), ["b.patch", "a.patch"]);
    }

    #[test]
    fn another_series_has_another_digest() {
        let other = DIFF.replace("+b", "+c");
        assert_ne!(read(DIFF).unwrap().digest(), read(&other).unwrap().digest());
        assert_eq!(read(DIFF).unwrap().digest(), read(DIFF).unwrap().digest());
    }
}
