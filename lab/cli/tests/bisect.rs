//! `lab/bisect.sh` under a real `git bisect run`, with programs in the place of `make` and of the lab.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A "kernel" is one line of text: "building" copies it, unless it says that it does not build.
const MAKE: &str = "#!/bin/bash
case \"$*\" in *bzImage*)
    if grep -q nobuild source; then echo 'syntax error' >&2; exit 2; fi
    mkdir -p arch/x86/boot && cp source arch/x86/boot/bzImage ;;
esac
";

/// What the lab says about a "kernel".
const LAB: &str = "#!/bin/bash
[ \"$1\" = list ] && { [ \"$2\" = known ]; exit; }
[ \"$*\" = 'run known --accel tcg --kernel arch/x86/boot/bzImage --modules .' ] || { echo \"$*\" >&2; exit 2; }
case $(cat arch/x86/boot/bzImage) in good*) exit 0 ;; bad*) exit 1 ;; noboot*) exit 125 ;; *) exit 101 ;; esac
";

struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// A repository with one commit for each word.
    fn new(kernels: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Self { folder };
        fs::create_dir(tree.path("bin")).unwrap();
        for (name, text) in [("make", MAKE), ("lab", LAB)] {
            let path = tree.path("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(tree.path("tree")).unwrap();
        tree.git(&["init", "--quiet", "--initial-branch=main"]);
        for (number, kernel) in kernels.iter().enumerate() {
            fs::write(tree.path("tree/source"), format!("{kernel} {number}\n")).unwrap();
            tree.git(&["add", "source"]);
            tree.git(&["commit", "--quiet", "--message", &format!("number {number}")]);
        }
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@localhost"])
            .args(arguments)
            .current_dir(self.path("tree"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("AMDGPU_LAB", self.path("bin/lab"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap()
    }

    /// Bisects between the first and the last commit; gives what git and the script said, and how it ended.
    fn bisect(&self, scenario: &str) -> (String, bool) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bisect.sh");
        let first = self.git(&["rev-list", "--max-parents=0", "HEAD"]);
        let first = String::from_utf8(first.stdout).unwrap();
        self.git(&["bisect", "start", "main", first.trim()]);
        let output = self.git(&[
            "bisect",
            "run",
            script.to_str().unwrap(),
            scenario,
            "--accel",
            "tcg",
        ]);
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).unwrap(), output.status.success())
    }
}

#[test]
fn the_first_bad_commit_is_found_past_those_that_do_not_build_or_boot() {
    let tree = Tree::new(&[
        "good", "good", "nobuild", "good", "noboot", "good", "bad", "bad", "nobuild", "bad",
    ]);
    let (text, found) = tree.bisect("known");
    assert!(found, "{text}");
    assert!(
        text.contains("is the first bad commit") && text.contains("number 6"),
        "{text}"
    );
}

#[test]
fn a_lab_that_crashes_ends_the_bisection_and_blames_no_commit() {
    let tree = Tree::new(&["good", "good", "crash", "bad", "bad"]);
    let (text, found) = tree.bisect("known");
    assert!(!found && !text.contains("is the first bad commit"), "{text}");
    assert!(text.contains("the lab ended with status 101"), "{text}");
}

#[test]
fn a_scenario_that_nobody_knows_ends_it_before_anything_is_built() {
    let tree = Tree::new(&["good", "good", "bad", "bad"]);
    let (text, found) = tree.bisect("unknown");
    assert!(!found, "{text}");
    assert!(text.contains("list unknown\" fails"), "{text}");
    assert!(!tree.path("tree/arch").exists());
}
