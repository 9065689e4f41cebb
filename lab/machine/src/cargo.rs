//! Builds the parts of the workspace that a run starts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::parts::Part;
use crate::process;
use crate::progress::Progress;

/// The only architecture of guests.
const TARGET: &str = "x86_64-unknown-linux-gnu";

impl Part {
    const fn title(self) -> &'static str {
        match self {
            Self::Daemon => "building the device (vhost-device-amdgpu)",
            Self::Guest => "building the guest's init (amdgpu-guest)",
            Self::Vulkan => "building the guest's Vulkan program (amdgpu-guest-vulkan)",
        }
    }
}

/// Why a part could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// cargo failed.
    #[error("cargo could not build {package}:\n{detail}")]
    Failed {
        /// The package.
        package: &'static str,
        /// The compiler's words.
        detail: String,
    },
}

/// Where the workspace was when this program was built.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// Builds a part and gives the program's path.
pub fn build(part: Part, workspace: &Path, progress: &Progress) -> Result<PathBuf, BuildError> {
    let package = part.package();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "build",
            "--quiet",
            "--package",
            package,
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace)
        .stdin(Stdio::null());
    match part {
        Part::Daemon => command.arg("--release"),
        // Static: there is no library in the initramfs. glibc has a static form on every system with a linker for it.
        Part::Guest => command
            .args(["--profile", "guest", "--target", TARGET])
            .env("RUSTFLAGS", static_flags()),
        // Not static: it loads the root's libraries.
        Part::Vulkan => command.args(["--profile", "guest"]),
    };
    let failed = |detail: String| BuildError::Failed { package, detail };
    let running = progress.start(part.title());
    let output = match process::watched(&mut command, &running) {
        Ok(output) => output,
        Err(error) => {
            running.failed();
            return Err(failed(error.to_string()));
        }
    };
    if !output.status.success() {
        running.failed();
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let program = executable(&String::from_utf8_lossy(&output.stdout), package)
        .ok_or_else(|| failed("cargo named no program".to_owned()))?;
    running.done("");
    Ok(program)
}

fn static_flags() -> OsString {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" -C target-feature=+crt-static");
    flags
}

/// Finds the program in cargo's messages.
fn executable(messages: &str, package: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| {
            message
                .pointer("/target/name")
                .is_some_and(|name| name == package)
        })
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}"#,
            "\nnoise\n",
            r#"{"reason":"compiler-artifact","target":{"name":"amdgpu-guest"},"executable":"/t/amdgpu-guest"}"#,
        );
        assert_eq!(
            executable(messages, "amdgpu-guest"),
            Some("/t/amdgpu-guest".into())
        );
        assert_eq!(executable(messages, "vhost-device-amdgpu"), None);
    }
}
