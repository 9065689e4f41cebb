//! The programs of ours that a run starts: those installed with this one, or else built from the workspace.
//!
//! An installed lab is one with a guest's init at `../lib/amdgpu-lab/init` from its own folder, as under `/usr` and `/usr/local`. It builds
//! nothing, even on a machine that has the sources: what was installed together runs together. A lab in cargo's target folder has none there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cargo::{self, BuildError};
use crate::progress::Progress;

/// Where the guest's init is, from the folder of an installed lab.
const INSTALLED_INIT: &str = "../lib/amdgpu-lab/init";
/// Where the program for guests with a root is.
const INSTALLED_VULKAN: &str = "../lib/amdgpu-lab/vulkan";

/// A program of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The device.
    Daemon,
    /// Init of the guest.
    Guest,
    /// What holds a Vulkan device in a guest that has a root.
    Vulkan,
}

impl Part {
    /// The package that it is built from.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Daemon => "vhost-device-amdgpu",
            Self::Guest => "amdgpu-guest",
            Self::Vulkan => "amdgpu-guest-vulkan",
        }
    }

    /// The option that names another.
    const fn option(self) -> &'static str {
        match self {
            Self::Daemon => "--daemon PATH",
            Self::Guest => "--guest PATH",
            Self::Vulkan => "--guest-vulkan PATH",
        }
    }
}

/// Why a part is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It is nowhere.
    #[error(
        "there is no {}: looked {looked}{}; install the package {}, or give the program with {}",
        part.package(),
        match workspace {
            Some(folder) => format!(", and for sources to build it from in {}", folder.display()),
            None => String::new(),
        },
        match part {
            Part::Daemon => "vhost-device-amdgpu",
            Part::Guest | Part::Vulkan => "amdgpu-lab",
        },
        part.option()
    )]
    Nowhere {
        /// Which.
        part: Part,
        /// Where it could have been installed.
        looked: String,
        /// Where the sources could have been; none for an installed lab, which does not look for them.
        workspace: Option<PathBuf>,
    },
}

/// Finds a part, or builds it.
///
/// # Errors
/// [`PartError`] if it is nowhere and cannot be built.
pub fn find(part: Part, progress: &Progress) -> Result<PathBuf, PartError> {
    let folder = own_folder();
    let installed = installed();
    let workspace = cargo::workspace();
    if !installed && workspace.join("Cargo.toml").is_file() {
        return Ok(cargo::build(part, &workspace, progress)?);
    }
    let candidates = candidates(part, &folder, std::env::var_os("PATH").as_deref());
    let found = candidates.iter().find(|path| is_program(path)).cloned();
    found.ok_or_else(|| PartError::Nowhere {
        part,
        looked: match part {
            Part::Daemon => format!("in {} and in PATH", folder.display()),
            Part::Guest | Part::Vulkan => candidates
                .iter()
                .map(|path| format!("for {}", path.display()))
                .collect(),
        },
        workspace: (!installed).then_some(workspace),
    })
}

/// Whether this lab is an installed one.
pub fn installed() -> bool {
    is_program(&own_folder().join(INSTALLED_INIT))
}

/// The folder of this program. If it cannot be told, there is nothing in it.
fn own_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new("/")).to_owned()
}

/// Where a part may be installed: with a lab in this folder, and then wherever programs are.
fn candidates(part: Part, folder: &Path, path: Option<&OsStr>) -> Vec<PathBuf> {
    match part {
        Part::Guest => vec![beside(folder, INSTALLED_INIT)],
        Part::Vulkan => vec![beside(folder, INSTALLED_VULKAN)],
        Part::Daemon => {
            let mut found = vec![folder.join(part.package())];
            // A relative entry would be another place after a change of folder, and QEMU's run folder is one.
            let folders = path.map(std::env::split_paths).into_iter().flatten();
            for folder in folders.filter(|folder| folder.is_absolute()) {
                let program = folder.join(part.package());
                if !found.contains(&program) {
                    found.push(program);
                }
            }
            found
        }
    }
}

/// A path from the folder of the lab, said without dots, as somebody may want to look there.
fn beside(folder: &Path, path: &str) -> PathBuf {
    let prefix = folder.parent().unwrap_or(Path::new("/"));
    prefix.join(path.trim_start_matches("../"))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_looked_for_next_to_the_lab_and_then_in_the_path() {
        let found = candidates(
            Part::Daemon,
            Path::new("/opt/x/bin"),
            Some(OsStr::new("/usr/bin:.:/opt/x/bin")),
        );
        let expected = ["/opt/x/bin/vhost-device-amdgpu", "/usr/bin/vhost-device-amdgpu"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn the_guests_init_is_looked_for_below_the_prefix() {
        let found = candidates(Part::Guest, Path::new("/usr/bin"), None);
        assert_eq!(found, [PathBuf::from("/usr/lib/amdgpu-lab/init")]);
        let found = candidates(Part::Vulkan, Path::new("/usr/bin"), None);
        assert_eq!(found, [PathBuf::from("/usr/lib/amdgpu-lab/vulkan")]);
    }

    #[test]
    fn a_program_is_a_file_that_may_be_executed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(!is_program(folder.path()) && !is_program(&path));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_program(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_program(&path));
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let missing = |part, workspace| PartError::Nowhere {
            part,
            looked: "in /a and in PATH".to_owned(),
            workspace,
        };
        assert_eq!(
            missing(Part::Daemon, None).to_string(),
            "there is no vhost-device-amdgpu: looked in /a and in PATH; \
             install the package vhost-device-amdgpu, or give the program with --daemon PATH"
        );
        let error = missing(Part::Guest, Some("/src".into())).to_string();
        assert!(
            error.contains("and for sources to build it from in /src"),
            "{error}"
        );
        assert!(error.ends_with("install the package amdgpu-lab, or give the program with --guest PATH"));
    }
}
