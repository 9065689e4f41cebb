//! A distribution's root file system beside our init: the user space that a guest runs programs of.
//!
//! It is a disk that the guest only reads ([`crate::fetch`] makes it). Our init stays process 1 and mounts it at a folder of its own, so that
//! everything else is as in a guest without one.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::guest::root::GuestRoot;

/// A root that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Which.
    pub root: GuestRoot,
    /// The image: ext4, to be read only.
    pub image: PathBuf,
    /// What tells this image from another one: a guest that is saved has parts of it in its memory.
    pub identity: String,
}

impl Disk {
    /// The root in this file.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn of(root: GuestRoot, image: &Path) -> io::Result<Self> {
        let file = image.metadata()?;
        let folder = image.parent().and_then(Path::file_name).unwrap_or_default();
        Ok(Self {
            root,
            image: image.to_owned(),
            identity: format!(
                "{} {} {}.{:09}",
                folder.to_string_lossy(),
                file.len(),
                file.mtime(),
                file.mtime_nsec()
            ),
        })
    }

    /// The same disk by what it is instead of by where it is.
    #[must_use]
    pub fn nameless(&self) -> Self {
        Self {
            image: PathBuf::from(&self.identity),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_made_again_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, "one").unwrap();
        let first = Disk::of(GuestRoot::Debian, &path).unwrap();
        assert_eq!(Disk::of(GuestRoot::Debian, &path).unwrap(), first);
        std::fs::write(&path, "another").unwrap();
        assert_ne!(
            Disk::of(GuestRoot::Debian, &path).unwrap().nameless(),
            first.nameless()
        );
    }
}
