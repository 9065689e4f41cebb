//! Finds the commit that broke a scenario, in a kernel tree of the user's.
//!
//! The commits are checked out in a worktree of its own in the cache, so that the user's stays as it is; `git bisect run` asks this program
//! about each.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use machine::kbuild::Config;
use machine::kbuild::source::own_name;
use machine::sys;

/// git starts what it asks in the worktree; scenarios and runs are where the user is. To git every status below 128 but 0 and 125 is a bad
/// commit, and a crash of this program or an argument that it does not take are nothing that a commit is to blame for.
const BACK: &str =
    r#"cd "$0" || exit 128; "$@"; case $? in 0) ;; 1) exit 1;; 125) exit 125;; *) exit 128;; esac"#;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The tree.
    pub tree: PathBuf,
    /// A commit at which the scenario passes.
    pub good: String,
    /// One at which it fails.
    pub bad: String,
    /// How kernels are configured.
    pub config: Config,
    /// The scenario, and options of `run`.
    pub arguments: Vec<OsString>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BisectError {
    /// git could not be started, or this program not be found.
    #[error("cannot start {program}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// git refused something.
    #[error("git {what} failed in {}: {detail}", folder.display())]
    Git {
        /// What was asked of it.
        what: String,
        /// Where.
        folder: PathBuf,
        /// Its own words.
        detail: String,
    },
}

/// Looks for the commit; git says on standard output which it is. Returns whether it was found.
///
/// # Errors
/// [`BisectError`] for a tree or commits that git does not know.
pub fn run(request: &Request, cache: &Path) -> Result<bool, BisectError> {
    let tree = &request.tree;
    let tree = &tree.canonicalize().unwrap_or_else(|_| tree.clone());
    let place = cache.join("bisect").join(own_name(tree));
    let place_text = place.to_string_lossy().into_owned();
    // What an interrupted search has left.
    let _ = git(tree, &["worktree", "remove", "--force", &place_text]);
    let _ = std::fs::remove_dir_all(&place);
    git(tree, &["worktree", "prune"])?;
    git(tree, &["worktree", "add", "--detach", &place_text, &request.bad])?;
    let found = search(request, &place);
    let _ = git(&place, &["bisect", "reset"]);
    git(tree, &["worktree", "remove", "--force", &place_text])?;
    found
}

fn search(request: &Request, place: &Path) -> Result<bool, BisectError> {
    git(place, &["bisect", "start", &request.bad, &request.good])?;
    let own = std::env::current_exe().map_err(cannot_start("amdgpu-lab"))?;
    let here = std::env::current_dir().map_err(cannot_start("amdgpu-lab"))?;
    let mut command = Command::new("git");
    command
        .current_dir(place)
        .args(["bisect", "run", "sh", "-c", BACK])
        .arg(here)
        .arg(own)
        .arg("run")
        .arg("--kernel")
        .arg(format!("{}:{}", request.config, place.display()))
        .args(&request.arguments)
        .stdin(Stdio::null());
    let status = sys::contain(&mut command).status();
    Ok(status.map_err(cannot_start("git"))?.success())
}

fn cannot_start(program: &'static str) -> impl FnOnce(io::Error) -> BisectError {
    move |source| BisectError::Program { program, source }
}

fn git(folder: &Path, words: &[&str]) -> Result<(), BisectError> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(cannot_start("git"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(BisectError::Git {
        what: words.join(" "),
        folder: folder.to_owned(),
        detail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_git_does_not_know_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            tree: folder.path().to_owned(),
            good: "v1".into(),
            bad: "v2".into(),
            config: Config::Lean,
            arguments: Vec::new(),
        };
        let error = run(&request, &folder.path().join("cache"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
        assert!(error.contains("worktree"), "{error}");
    }
}
