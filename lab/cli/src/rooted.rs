//! What a run takes for guests with a root: the disk, the program of ours that runs in it, and an initramfs that has what reads it.
//!
//! Guests without a root have an initramfs of their own, which is as it would be if there were no others.

use std::path::{Path, PathBuf};

use anyhow::Result;
use machine::fetch::Cache;
use machine::initramfs::{self, Contents};
use machine::parts::{self, Part};
use machine::progress::Progress;
use machine::root::Disk;
use protocol::guest::root::GuestRoot;

use crate::options::Options;

/// What reads the disk of a guest with a root. Up to 6.12 ext4 asks for `crc32c` by that name, which is none of a module.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
/// What the guest's Vulkan program is called there.
const VULKAN: &str = "vulkan";
/// Name of their initramfs.
const INITRAMFS: &str = "initramfs-root.cpio";

/// What guests with a root take.
#[derive(Debug, Clone)]
pub enum Rooted {
    /// No guest has one.
    Unwanted,
    /// It is there.
    There {
        /// The disk.
        disk: Disk,
        /// An initramfs that has what reads it.
        initramfs: PathBuf,
    },
    /// It is wanted by some guests, and the others run without it.
    Absent {
        /// Why.
        reason: String,
    },
}

/// What was found for those who want a root.
#[derive(Debug)]
pub struct Wanted(Result<Option<(Disk, PathBuf)>, String>);

/// Finds, fetches and builds what guests with a root take. That there is none is an error only if every guest is to have it.
pub fn wanted(options: &Options, cache: &Cache, progress: &Progress) -> Result<Wanted> {
    let found = match (options.root, options.some_root) {
        (None, None) => Ok(None),
        (Some(root), _) => Ok(Some(root_parts(root, options, cache, progress)?)),
        (None, Some(root)) => root_parts(root, options, cache, progress)
            .map(Some)
            .map_err(|error| format!("{error:#}")),
    };
    Ok(Wanted(found))
}

/// Builds the initramfs of guests with a root in the run folder, like that of the others but for what is added.
pub fn prepare(wanted: Wanted, others: &Contents<'_>, folder: &Path, progress: &Progress) -> Result<Rooted> {
    Ok(match wanted.0 {
        Ok(None) => Rooted::Unwanted,
        Ok(Some((disk, vulkan))) => {
            let initramfs = folder.join(INITRAMFS);
            let contents = Contents {
                optional_modules: &[others.optional_modules, &MODULES].concat(),
                programs: &[(VULKAN, &vulkan)],
                ..others.clone()
            };
            let title = "building the initramfs for a guest with a root";
            initramfs::build_shown(&contents, &initramfs, title, progress)?;
            Rooted::There { disk, initramfs }
        }
        Err(reason) => {
            progress.note(&format!("no guest has a root: {reason}"));
            Rooted::Absent { reason }
        }
    })
}

/// The disk, and the program of ours that runs in it.
fn root_parts(
    root: GuestRoot,
    options: &Options,
    cache: &Cache,
    progress: &Progress,
) -> Result<(Disk, PathBuf)> {
    let disk = cache.root(root)?;
    let vulkan = match &options.guest_vulkan {
        Some(path) => path.clone(),
        None => parts::find(Part::Vulkan, progress)?,
    };
    Ok((disk, vulkan))
}
