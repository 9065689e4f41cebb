//! The room in which kernels are built: a root of Debian's with its own compiler, entered through namespaces.
//!
//! The compiler is always the one of the release that the source belongs to, whatever the host has. The source is seen through an overlay,
//! so that nothing is ever written to it. Mounts live in a namespace of the command's and end with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BuildError;
use crate::sys;

/// Where the source is in the root.
pub(super) const SOURCE: &str = "/build/src";
/// Where objects go.
pub(super) const OUT: &str = "/build/out";
/// Where the lab puts what a command reads: configurations, patches.
pub(super) const INPUT: &str = "/build/in";
/// What the kernel's own build asks a host for, so that it does not depend on this one.
const ENVIRONMENT: [&str; 6] = [
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/build",
    "LC_ALL=C",
    "KBUILD_BUILD_USER=amdgpu-lab",
    "KBUILD_BUILD_HOST=amdgpu-lab",
    "TERM=dumb",
];

/// Mounts what it is given, enters the root, and becomes the command. `proc` may be refused where the host hides parts of its own.
const ENTER: &str = r#"
set -e
PATH=$PATH:/usr/sbin:/sbin
root=$1 options=$2
shift 2
mount -t proc proc "$root/proc" 2>/dev/null || :
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    case $1 in
    bind) mkdir -p "$root$3"; mount --bind "$2" "$root$3"; shift 3 ;;
    over) mkdir -p "$root$5"; mount -t overlay overlay -o "lowerdir=$2,upperdir=$3,workdir=$4$options" "$root$5"; shift 5 ;;
    esac
done
shift
exec chroot "$root" /usr/bin/env -i "$@"
"#;

/// Something of the host that is seen in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mount {
    /// A folder as it is.
    Bind {
        /// On the host.
        from: PathBuf,
        /// In the root.
        to: String,
    },
    /// A folder that looks as if it could be written to.
    Overlay {
        /// The folder. It is never written to.
        lower: PathBuf,
        /// What is written.
        upper: PathBuf,
        /// A folder that the overlay needs beside it.
        work: PathBuf,
        /// In the root.
        to: String,
    },
}

impl Mount {
    pub(super) fn bind(from: &Path, to: &str) -> Self {
        Self::Bind {
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn words(&self) -> Vec<OsString> {
        match self {
            Self::Bind { from, to } => vec!["bind".into(), from.into(), to.into()],
            Self::Overlay {
                lower,
                upper,
                work,
                to,
            } => vec!["over".into(), lower.into(), upper.into(), work.into(), to.into()],
        }
    }
}

/// A root with a compiler.
#[derive(Debug, Clone)]
pub(super) struct Root {
    folder: PathBuf,
}

impl Root {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A command of the root's, which starts in `folder` of it.
    pub(super) fn command(
        &self,
        mounts: &[Mount],
        folder: &str,
        words: &[&str],
    ) -> Result<Command, BuildError> {
        for mount in mounts {
            mountable(mount)?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        let own_user = !sys::is_root();
        if own_user {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", ENTER, "sh"]).arg(&self.folder);
        // An overlay of an ordinary user's has its marks in attributes that such a user may set.
        command.arg(if own_user { ",userxattr" } else { "" });
        for mount in mounts {
            command.args(mount.words());
        }
        command
            .args(["--", "--chdir", folder])
            .args(ENVIRONMENT)
            .args(words)
            .stdin(Stdio::null());
        sys::contain(&mut command);
        Ok(command)
    }
}

/// The options of an overlay are one text, in which some characters have a meaning.
fn mountable(mount: &Mount) -> Result<(), BuildError> {
    let Mount::Overlay { lower, upper, .. } = mount else {
        return Ok(());
    };
    let odd = |path: &&PathBuf| {
        path.to_str()
            .is_none_or(|text| text.contains([',', ':', '\\', '"', '\n']))
    };
    match [lower, upper].into_iter().find(odd) {
        Some(path) => Err(BuildError::Path { path: path.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lower: &str) -> Mount {
        Mount::Overlay {
            lower: lower.into(),
            upper: "/c/upper".into(),
            work: "/c/work".into(),
            to: SOURCE.into(),
        }
    }

    #[test]
    fn the_command_stands_behind_its_mounts() {
        let root = Root::new("/c/root".into());
        let mounts = [overlay("/src/linux"), Mount::bind(Path::new("/c/out"), OUT)];
        let command = root.command(&mounts, OUT, &["make", "-j2"]).unwrap();
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let text = words.join(" ");
        assert!(
            text.contains("over /src/linux /c/upper /c/work /build/src bind /c/out /build/out -- --chdir /build/out PATH="),
            "{text}"
        );
        assert!(text.ends_with(" make -j2"), "{text}");
    }

    #[test]
    fn a_path_that_an_overlay_cannot_have_is_named() {
        let root = Root::new("/c/root".into());
        let error = root
            .command(&[overlay("/src/a,b")], OUT, &["make"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/src/a,b"), "{error}");
    }
}
