//! Systems that are not Debian but have its packages, such as Ubuntu: Debian's signing keys and the address of its archive come
//! out of the system's own packages `debian-archive-keyring` and `debootstrap`, which the system's own apt has checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt;

/// Where a package puts Debian's keys.
const KEYRINGS: [&str; 2] = [
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "usr/share/keyrings/debian-archive-keyring.pgp",
];
/// The program whose default mirror is Debian's archive.
const DEBOOTSTRAP: &str = "usr/sbin/debootstrap";

/// What the system's own packages know of Debian.
#[derive(Debug)]
pub struct SystemPackages {
    folder: PathBuf,
}

impl SystemPackages {
    /// Packages are unpacked under `folder`, and stay there.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Debian's signing keys.
    pub fn keyring(&self) -> Option<PathBuf> {
        let root = self.unpacked("debian-archive-keyring")?;
        KEYRINGS
            .iter()
            .map(|keyring| root.join(keyring))
            .find(|keyring| keyring.is_file())
    }

    /// The address of Debian's archive.
    pub fn mirror(&self) -> Option<String> {
        let script = fs::read_to_string(self.unpacked("debootstrap")?.join(DEBOOTSTRAP)).ok()?;
        default_mirror(&script)
    }

    /// The folder of a package that the system's apt has, downloaded and unpacked if need be.
    fn unpacked(&self, package: &str) -> Option<PathBuf> {
        let target = self.folder.join(package);
        if target.is_dir() {
            return Some(target);
        }
        let download = self.folder.join("download");
        let partial = self.folder.join(format!("{package}.partial"));
        for folder in [&download, &partial] {
            // What an earlier, interrupted attempt left there.
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).ok()?;
        }
        let downloaded = Command::new("apt-get")
            .args(["-q", "download", package])
            .current_dir(&download)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        if !downloaded.status.success() {
            return None;
        }
        let file = fs::read_dir(&download).ok()?.flatten().next()?.path();
        apt::unpack(&file, &partial).ok()?;
        fs::rename(&partial, &target).ok()?;
        Some(target)
    }
}

/// The default mirror in debootstrap's script, if it is a Debian archive.
fn default_mirror(script: &str) -> Option<String> {
    let mirror = script
        .lines()
        .find_map(|line| line.trim().strip_prefix("DEF_MIRROR="))?;
    let mirror = mirror.trim_matches(['"', '\'']).trim_end_matches('/');
    mirror.ends_with("/debian").then(|| mirror.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_mirror_is_read_from_the_script() {
        let script =
            "set -e\nDEF_MIRROR=\"http://mirror.example/debian\"\nDEF_HTTPS_MIRROR=\"https://x/debian\"\n";
        assert_eq!(
            default_mirror(script).as_deref(),
            Some("http://mirror.example/debian")
        );
    }

    #[test]
    fn another_distributions_default_is_not_taken_for_debians() {
        assert_eq!(
            default_mirror("DEF_MIRROR=\"http://mirror.example/ubuntu\"\n"),
            None
        );
        assert_eq!(default_mirror("exit 1\n"), None);
    }
}
