//! `make` in the root, with progress and the compiler's own words.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use super::BuildError;
use super::root::{Mount, Root};
use crate::interrupt;
use crate::process;
use crate::progress::Progress;
use crate::sys;

/// What one call of `make` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    /// Objects that were compiled.
    pub(super) compiled: usize,
}

/// Runs `make` with these words.
///
/// # Errors
/// [`BuildError::Compile`] with all that the compiler printed.
pub(super) fn make(
    root: &Root,
    mounts: &[Mount],
    folder: &str,
    words: &[&str],
    title: &str,
    progress: &Progress,
) -> Result<Made, BuildError> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = format!("-j{jobs}");
    let words: Vec<_> = ["make", &jobs].into_iter().chain(words.iter().copied()).collect();
    let program = |source| BuildError::Program {
        program: "unshare",
        source,
    };
    let mut command = root.command(mounts, folder, &words)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = progress.start(title);
    let mut child = command.spawn().map_err(program)?;
    let errors = process::drain(child.stderr.take());
    let (sender, receiver) = std::sync::mpsc::channel();
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let lines = stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines());
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut compiled = 0;
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                if let Some(object) = object(&line) {
                    compiled += 1;
                    running.doing(&format!("{compiled} objects, {object}"));
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => running.tick(),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::requested() {
            sys::signal_group(child.id(), libc::SIGKILL);
            let _ = child.wait();
            running.failed();
            return Err(BuildError::Interrupted);
        }
    }
    let status = child.wait().map_err(program)?;
    let errors = errors.join().unwrap_or_default();
    if status.success() {
        running.done(&match compiled {
            0 => "up to date".to_owned(),
            1 => "1 object".to_owned(),
            _ => format!("{compiled} objects"),
        });
        return Ok(Made { compiled });
    }
    running.failed();
    Err(BuildError::Compile {
        what: title.to_owned(),
        detail: String::from_utf8_lossy(&errors).into_owned(),
    })
}

/// The object that a line of kbuild's says is being compiled: `  CC [M]  drivers/x.o`.
fn object(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("  CC ")
        .or_else(|| line.strip_prefix("  AS "))?;
    let rest = rest.trim_start();
    Some(rest.strip_prefix("[M]").unwrap_or(rest).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_kbuilds_lines() {
        assert_eq!(
            object("  CC [M]  drivers/gpu/drm/amd/amdgpu/amdgpu_vm.o"),
            Some("drivers/gpu/drm/amd/amdgpu/amdgpu_vm.o")
        );
        assert_eq!(object("  CC      mm/slub.o"), Some("mm/slub.o"));
        assert_eq!(object("  LD [M]  amdgpu.o"), None);
        assert_eq!(object("make[1]: Entering directory '/build/out'"), None);
    }
}
