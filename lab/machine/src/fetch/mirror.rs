//! Which Debian mirror to use: one given by the user, the one that the system's own apt uses, or the one that its packages name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::FetchError;
use super::foreign::SystemPackages;

/// Where Debian's signing keys lie on a system that has them.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// The archives to fetch from and the keys that sign them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// Address of the main archive.
    pub main: String,
    /// Address of the security archive.
    pub security: String,
    /// Keys that the archives must be signed with.
    pub keyring: PathBuf,
}

/// One row of `apt-get indextargets`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    uri: String,
    release: String,
    component: String,
}

impl Mirrors {
    /// Finds the mirrors; what the user gave comes first.
    pub(super) fn find(
        main: Option<&str>,
        security: Option<&str>,
        keyring: Option<&Path>,
        system: &SystemPackages,
    ) -> Result<Self, FetchError> {
        let keyring = match keyring {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => {
                return Err(FetchError::NoKeyring {
                    looked: vec![path.to_owned()],
                });
            }
            None => KEYRINGS
                .iter()
                .map(PathBuf::from)
                .find(|path| path.is_file())
                .or_else(|| system.keyring())
                .ok_or_else(|| FetchError::NoKeyring {
                    looked: KEYRINGS.iter().map(PathBuf::from).collect(),
                })?,
        };
        let targets = if main.is_some() {
            Vec::new()
        } else {
            system_targets()
        };
        match Self::choose(main, security, &targets, keyring.clone()) {
            Err(FetchError::NoMirror { seen }) => {
                let found = system.mirror().ok_or(FetchError::NoMirror { seen })?;
                Self::choose(Some(&found), security, &targets, keyring)
            }
            chosen => chosen,
        }
    }

    fn choose(
        main: Option<&str>,
        security: Option<&str>,
        targets: &[Target],
        keyring: PathBuf,
    ) -> Result<Self, FetchError> {
        let is_debian = |target: &&Target| path_of(&target.uri) == "debian" && target.component == "main";
        let main = match main {
            Some(given) => given.to_owned(),
            None => targets
                .iter()
                .find(is_debian)
                .map(|target| target.uri.clone())
                .ok_or_else(|| FetchError::NoMirror {
                    seen: {
                        let mut seen: Vec<_> = targets.iter().map(|target| target.uri.clone()).collect();
                        seen.dedup();
                        seen
                    },
                })?,
        };
        let main = main.trim_end_matches('/').to_owned();
        let security = security
            .map(str::to_owned)
            .or_else(|| {
                targets
                    .iter()
                    .find(|target| {
                        target.release.ends_with("-security") && path_of(&target.uri) == "debian-security"
                    })
                    .map(|target| target.uri.clone())
            })
            .unwrap_or_else(|| format!("{main}-security"));
        Ok(Self {
            main,
            security: security.trim_end_matches('/').to_owned(),
            keyring,
        })
    }

    /// The sources for these suites, with the security suite of every release among them.
    pub fn sources(&self, suites: &[&str]) -> String {
        let options = format!("[arch=amd64 signed-by={}]", self.keyring.display());
        let mut text = String::new();
        for suite in suites {
            let _ = writeln!(text, "deb {options} {} {suite} main non-free-firmware", self.main);
            if !suite.contains('-') {
                let _ = writeln!(text, "deb {options} {} {suite}-security main", self.security);
            }
        }
        text
    }
}

/// The last part of an archive's address.
fn path_of(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn system_targets() -> Vec<Target> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ])
        .env("LC_ALL", "C")
        .output();
    output
        .map(|output| parse_targets(&String::from_utf8_lossy(&output.stdout)))
        .unwrap_or_default()
}

fn parse_targets(text: &str) -> Vec<Target> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (uri, release, component) = (words.next()?, words.next()?, words.next()?);
            Some(Target {
                uri: uri.trim_end_matches('/').to_owned(),
                release: release.to_owned(),
                component: component.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "http://mirror.example/debian/ bookworm main\n\
                          http://mirror.example/debian/ bookworm-updates main\n\
                          http://other.example/debian-security/ bookworm-security main\n";

    fn choose(main: Option<&str>, text: &str) -> Result<Mirrors, FetchError> {
        Mirrors::choose(main, None, &parse_targets(text), "/k.gpg".into())
    }

    #[test]
    fn the_systems_own_mirrors_are_used() {
        let mirrors = choose(None, DEBIAN).unwrap();
        assert_eq!(mirrors.main, "http://mirror.example/debian");
        assert_eq!(mirrors.security, "http://other.example/debian-security");
    }

    #[test]
    fn a_given_mirror_wins_and_implies_its_security_archive() {
        let mirrors = choose(Some("https://m.example/debian/"), "").unwrap();
        assert_eq!(mirrors.main, "https://m.example/debian");
        assert_eq!(mirrors.security, "https://m.example/debian-security");
    }

    #[test]
    fn a_system_without_a_debian_mirror_is_told_about_the_option() {
        let error = choose(None, "http://archive.example/ubuntu/ noble main\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("--mirror"), "{error}");
        assert!(error.contains("http://archive.example/ubuntu"), "{error}");
    }

    #[test]
    fn an_absent_keyring_is_named() {
        let system = SystemPackages::new(Path::new("/no/such/folder"));
        let error = Mirrors::find(
            Some("http://m/debian"),
            None,
            Some(Path::new("/no/such.gpg")),
            &system,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("/no/such.gpg") && error.contains("--keyring"),
            "{error}"
        );
    }

    #[test]
    fn releases_get_their_security_suite_and_backports_do_not() {
        let sources = choose(None, DEBIAN)
            .unwrap()
            .sources(&["trixie", "trixie-backports"]);
        assert_eq!(sources.lines().count(), 3);
        assert!(sources.contains("debian-security trixie-security main\n"));
        assert!(sources.contains("debian trixie-backports main non-free-firmware\n"));
        assert!(sources.lines().all(|line| line.contains("signed-by=/k.gpg")));
    }
}
