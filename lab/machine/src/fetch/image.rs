//! A root file system for guests, made of packages: unpacked, without what only people read, as an ext4 image.
//!
//! No script of a package runs. The program that makes the image is one of the packages itself, so that the host needs none.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::FetchError;
use crate::sys;

/// Counts the forms of the root: one that an older lab made is made again.
pub const FORM: u32 = 1;
/// The packages that are wanted in it, the one that names the version first, and the one with mke2fs.
pub const PACKAGES: [&str; 4] = ["mesa-vulkan-drivers", "vulkan-tools", "rocminfo", "e2fsprogs"];
/// Packages that these depend on and that nothing in a guest uses: rocminfo comes with a script in Python, other packages want dpkg for
/// their scripts. A star stands for any end.
const LEFT_OUT: [&str; 14] = [
    "debconf",
    "dpkg",
    "libdb5.3t64",
    "libpython3*",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "media-types",
    "netbase",
    "openssl-provider-legacy",
    "python3*",
    "readline-common",
    "tar",
    "tzdata",
];
/// What is for people, in folders of the tree.
const NOT_FOR_GUESTS: [&str; 6] = [
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
];
/// Where Vulkan's drivers are listed, and where they are. Only the one for AMD's GPUs has a device in these guests; each of the others
/// would be loaded and asked first.
const DRIVERS: &str = "usr/share/vulkan/icd.d";
const OUR_DRIVER: &str = "radeon_icd";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const OTHER_LIBRARIES: &str = "libvulkan_";
const OUR_LIBRARY: &str = "libvulkan_radeon.so";
/// Folders that the guest mounts something on, and others that programs expect.
const FOLDERS: [&str; 8] = ["proc", "sys", "dev", "run", "tmp", "lab", "root", "var"];
/// Links that the package base-files would make.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
const BLOCK: u64 = 4096;

/// Whether a package is taken.
pub fn takes(package: &str) -> bool {
    !LEFT_OUT.iter().any(|left| match left.strip_suffix('*') {
        Some(start) => package.starts_with(start),
        None => package == *left,
    })
}

/// Makes a tree of unpacked packages a root, and an image of it.
pub fn make(tree: &Path, image: &Path) -> Result<(), FetchError> {
    finish(tree).map_err(|source| FetchError::File {
        path: tree.to_owned(),
        source,
    })?;
    let (files, bytes) = contents(tree).map_err(|source| FetchError::File {
        path: tree.to_owned(),
        source,
    })?;
    // What the tables of ext4 take, and some room: what is not used is a hole in the file.
    let size = (bytes + files * 512 + bytes / 20 + (8 << 20)).next_multiple_of(1 << 20);
    File::create(image)
        .and_then(|file| file.set_len(size))
        .map_err(|source| FetchError::File {
            path: image.to_owned(),
            source,
        })?;
    let failed = |detail: String| FetchError::Image {
        image: image.to_owned(),
        detail,
    };
    let mut command = Command::new(tree.join("usr/lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(tree.join(LIBRARIES))
        .arg(tree.join("usr/sbin/mke2fs"))
        // It is never written to, so it has no journal; its files belong to root whoever unpacked them, as far as mke2fs can do that.
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"])
        .args([
            "-O",
            "^has_journal,^orphan_file,^resize_inode",
            "-E",
            "root_owner=0:0",
        ])
        .args(["-N", &(files + 64).to_string(), "-d"])
        .arg(tree)
        .arg(image)
        .env("MKE2FS_CONFIG", tree.join("etc/mke2fs.conf"))
        .stdin(Stdio::null());
    let output = sys::contain(&mut command)
        .output()
        .map_err(|error| failed(format!("{}: {error}", command.get_program().display())))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Takes away what no guest needs, and adds what the packages' scripts and base-files would have.
fn finish(tree: &Path) -> io::Result<()> {
    for folder in NOT_FOR_GUESTS {
        match fs::remove_dir_all(tree.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    remove_but(&tree.join(DRIVERS), "", OUR_DRIVER)?;
    remove_but(&tree.join(LIBRARIES), OTHER_LIBRARIES, OUR_LIBRARY)?;
    for folder in FOLDERS {
        fs::create_dir_all(tree.join(folder))?;
    }
    for name in MERGED {
        let link = tree.join(name);
        if !link.is_symlink() && !link.exists() {
            symlink(format!("usr/{name}"), link)?;
        }
    }
    Ok(())
}

/// Removes the files of a folder whose names begin so, but those that begin as the one that is kept.
fn remove_but(folder: &Path, prefix: &str, kept: &str) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && !name.starts_with(kept) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How many files, folders and links there are, and how many bytes in whole blocks.
fn contents(tree: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (1, BLOCK);
    let mut waiting = vec![tree.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            files += 1;
            bytes += entry.metadata()?.len().next_multiple_of(BLOCK);
            if kind.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_scripts_need_is_left_out() {
        for left in ["python3.13-minimal", "libpython3.13-stdlib", "tar", "dpkg"] {
            assert!(!takes(left), "{left}");
        }
        for taken in ["libc6", "mesa-vulkan-drivers", "e2fsprogs", "libhsa-runtime64-1"] {
            assert!(takes(taken), "{taken}");
        }
    }

    #[test]
    fn a_tree_becomes_a_root_with_one_driver_and_no_documentation() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        let file = |path: &str| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for path in [
            "usr/share/doc/libc6/copyright",
            "usr/share/vulkan/icd.d/radeon_icd.json",
            "usr/share/vulkan/icd.d/lvp_icd.json",
            "usr/lib/x86_64-linux-gnu/libvulkan_radeon.so",
            "usr/lib/x86_64-linux-gnu/libvulkan_intel.so",
            "usr/lib/x86_64-linux-gnu/libvulkan.so.1",
            "usr/bin/vulkaninfo",
        ] {
            file(path);
        }
        finish(tree).unwrap();
        for gone in [
            "usr/share/doc",
            "usr/share/vulkan/icd.d/lvp_icd.json",
            "usr/lib/x86_64-linux-gnu/libvulkan_intel.so",
        ] {
            assert!(!tree.join(gone).exists(), "{gone}");
        }
        for there in [
            "usr/share/vulkan/icd.d/radeon_icd.json",
            "usr/lib/x86_64-linux-gnu/libvulkan_radeon.so",
            "usr/lib/x86_64-linux-gnu/libvulkan.so.1",
            "bin/vulkaninfo",
            "proc",
            "lab",
        ] {
            assert!(tree.join(there).exists(), "{there}");
        }
        // Two links lead nowhere here, and count.
        let (files, bytes) = contents(tree).unwrap();
        assert!(files > 12 && bytes >= files, "{files} {bytes}");
    }

    #[test]
    fn a_tree_without_its_programs_is_an_error_that_names_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let error = make(&tree, &folder.path().join("root.img"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("root.img") && error.contains("ld-linux"),
            "{error}"
        );
    }
}
