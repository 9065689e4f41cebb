//! Fetches what a run needs and the system lacks: kernels, firmware, QEMU, a shell, a root with a GPU's user space.
//!
//! Everything comes from a Debian mirror through a private apt root ([`apt`]) into a cache folder, as an ordinary user.
//! A manifest in the cache says what is there, so that a run needs no network once its parts are fetched.

pub mod apt;
mod foreign;
mod image;
mod mirror;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use apt::{AptRoot, Package};
use foreign::SystemPackages;
use mirror::Mirrors;
use protocol::guest::root::GuestRoot;
use serde::{Deserialize, Serialize};

use crate::kernel::{Kernel, KernelError};
use crate::lock;
use crate::progress::Progress;
use crate::root::Disk;

/// What a root takes in which kernels are built; the compiler comes first.
const TOOLCHAIN: [&str; 25] = [
    "gcc",
    "make",
    "patch",
    "bison",
    "flex",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "libc6-dev",
    "xz-utils",
    "zstd",
    "kmod",
    "cpio",
    "perl",
    "python3-minimal",
    "gawk",
    "bash",
    "coreutils",
    "findutils",
    "sed",
    "grep",
    "diffutils",
    "tar",
    "gzip",
    "base-files",
];

/// Name of a root's image in its folder.
const IMAGE: &str = "root.img";
/// Package lists younger than this are used as they are.
const LISTS_FRESH_FOR: Duration = Duration::from_secs(12 * 3600);

/// A kernel series that can be fetched by the name of the suite it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Suite {
    /// Debian 12: Linux 6.1.
    Bookworm,
    /// Debian 13: Linux 6.12.
    Trixie,
    /// Debian 13 with backports: the newest Linux that Debian has for it.
    TrixieBackports,
}

impl Suite {
    /// All of them, oldest kernel first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::TrixieBackports];

    /// Debian's name of the suite.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::TrixieBackports => "trixie-backports",
        }
    }

    /// The apt root that serves it.
    const fn root(self) -> Root {
        match self {
            Self::Bookworm => Root::Bookworm,
            Self::Trixie | Self::TrixieBackports => Root::Trixie,
        }
    }

    const fn target(self) -> Option<&'static str> {
        match self {
            Self::TrixieBackports => Some("trixie-backports"),
            Self::Bookworm | Self::Trixie => None,
        }
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The apt roots: one per Debian release, so that the newest package of a release is the one that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Bookworm,
    Trixie,
}

impl Root {
    const fn folder(self) -> &'static str {
        match self {
            Self::Bookworm => "apt-bookworm",
            Self::Trixie => "apt-trixie",
        }
    }

    const fn suites(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm => &["bookworm"],
            Self::Trixie => &["trixie", "trixie-backports"],
        }
    }
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// apt-get ran and failed.
    #[error("{what} failed in the apt root {}:\n{detail}", folder.display())]
    Apt {
        /// What it was to do.
        what: String,
        /// apt's own words.
        detail: String,
        /// The apt root.
        folder: PathBuf,
    },
    /// No cache folder could be derived from the environment.
    #[error("no folder for the cache: neither XDG_CACHE_HOME nor HOME is set; give one with --cache DIR")]
    NoCacheFolder,
    /// A file or folder of the cache could not be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No image was made.
    #[error("cannot make the root image {}: {detail}", image.display())]
    Image {
        /// The image.
        image: PathBuf,
        /// The words of mke2fs.
        detail: String,
    },
    /// The user ended it.
    #[error("interrupted while waiting for another run that fetches into the same cache")]
    Interrupted,
    /// What was unpacked is not a kernel with its modules.
    #[error("the fetched kernel packages are not usable")]
    Kernel(#[from] KernelError),
    /// The system has no apt.
    #[error(
        "apt-get is not on this system, so nothing can be fetched; \
         supply the parts with --qemu PATH, --kernel PATH --modules DIR and --firmware DIR"
    )]
    NoApt,
    /// Debian's signing keys are not there.
    #[error(
        "no Debian signing keys: looked for {}; and the system's apt has no package debian-archive-keyring; give a file with --keyring PATH",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoKeyring {
        /// Where they were looked for.
        looked: Vec<PathBuf>,
    },
    /// The system's apt has no Debian mirror.
    #[error(
        "no Debian mirror among the sources of the system's apt ({}), nor in a package debootstrap; give one with --mirror URL",
        if seen.is_empty() { "it has none".to_owned() } else { format!("it has {}", seen.join(", ")) }
    )]
    NoMirror {
        /// The archives that it has.
        seen: Vec<String>,
    },
    /// A root is not in the cache and cannot be fetched.
    #[error(
        "the root {root} is not in the cache {}, and it cannot be fetched; where a Debian mirror can be reached, \
         `amdgpu-lab fetch --root {root}` puts it there", cache.display()
    )]
    Root {
        /// Its name.
        root: &'static str,
        /// The cache.
        cache: PathBuf,
        /// Why.
        source: Box<FetchError>,
    },
    /// The suite has no such package.
    #[error("{suite} has no package {package} (looked through what installing it would take)")]
    NoPackage {
        /// The suite.
        suite: String,
        /// The package.
        package: String,
    },
    /// A package could not be unpacked.
    #[error("cannot unpack {}: {detail}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// dpkg-deb's own words.
        detail: String,
    },
}

/// How to reach the mirrors, as the user gave it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Main archive.
    pub mirror: Option<String>,
    /// Security archive.
    pub security_mirror: Option<String>,
    /// Signing keys.
    pub keyring: Option<PathBuf>,
    /// Ask the mirror even if the cache has an answer.
    pub refresh: bool,
}

/// Something that was fetched and unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Version of the package that gives it its name.
    pub version: String,
    /// The packages that it was unpacked from.
    pub packages: Vec<String>,
    /// Folder in the cache, relative to it.
    pub folder: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    items: BTreeMap<String, Item>,
}

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    sources: Sources,
    progress: Progress,
}

impl Cache {
    /// Uses `folder`, or `$XDG_CACHE_HOME/amdgpu-lab`, or `~/.cache/amdgpu-lab`.
    pub fn open(folder: Option<&Path>, sources: Sources, progress: Progress) -> Result<Self, FetchError> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => default_folder().ok_or(FetchError::NoCacheFolder)?,
        };
        fs::create_dir_all(&folder).map_err(|source| FetchError::File {
            path: folder.clone(),
            source,
        })?;
        let folder = folder
            .canonicalize()
            .map_err(|source| FetchError::File { path: folder, source })?;
        Ok(Self {
            folder,
            sources,
            progress,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kernel of a suite, fetched if it is not there.
    pub fn kernel(&self, suite: Suite) -> Result<Kernel, FetchError> {
        let item = self.item(&Want {
            key: format!("kernel/{}", suite.name()),
            title: "kernel",
            root: suite.root(),
            target: suite.target(),
            install: &["linux-image-amd64"],
            take: Take::Kernel,
        })?;
        Ok(Kernel::from_packages(&self.folder.join(item.folder))?)
    }

    /// A folder with AMD's firmware files (it holds `amdgpu/`), fetched if it is not there.
    pub fn firmware(&self) -> Result<PathBuf, FetchError> {
        let item = self.item(&Want {
            key: "firmware".to_owned(),
            title: "firmware",
            root: Root::Trixie,
            target: None,
            install: &["firmware-amd-graphics"],
            take: Take::Named,
        })?;
        let folder = self.folder.join(item.folder);
        let merged = folder.join("usr/lib/firmware");
        Ok(if merged.is_dir() {
            merged
        } else {
            folder.join("lib/firmware")
        })
    }

    /// An unpacked QEMU with its libraries, fetched if it is not there.
    pub fn qemu(&self) -> Result<PathBuf, FetchError> {
        let item = self.item(&Want {
            key: "qemu".to_owned(),
            title: "qemu",
            root: Root::Trixie,
            target: Some("trixie-backports"),
            install: &["qemu-system-x86"],
            take: Take::All,
        })?;
        Ok(self.folder.join(item.folder))
    }

    /// A statically linked busybox, fetched if it is not there.
    pub fn busybox(&self) -> Result<PathBuf, FetchError> {
        let item = self.item(&Want {
            key: "busybox".to_owned(),
            title: "busybox",
            root: Root::Trixie,
            target: None,
            install: &["busybox-static"],
            take: Take::Named,
        })?;
        let folder = self.folder.join(item.folder);
        let merged = folder.join("usr/bin/busybox");
        Ok(if merged.is_file() {
            merged
        } else {
            folder.join("bin/busybox")
        })
    }

    /// An unpacked root with the compiler of the release that a suite belongs to, and with all that building a kernel takes.
    pub fn toolchain(&self, suite: Suite) -> Result<PathBuf, FetchError> {
        let item = self.item(&Want {
            key: format!("toolchain/{}", suite.root().suites().first().unwrap_or(&"")),
            title: "toolchain",
            root: suite.root(),
            target: None,
            install: &TOOLCHAIN,
            take: Take::All,
        })?;
        let folder = self.folder.join(item.folder);
        // What the packages' own scripts would do.
        for (link, target) in [("usr/bin/awk", "gawk"), ("bin/sh", "bash")] {
            let path = folder.join(link);
            if path.symlink_metadata().is_err() {
                symlink(target, &path).map_err(|source| FetchError::File { path, source })?;
            }
        }
        Ok(folder)
    }

    /// The folder with the archive of the source that a suite's kernel is built from (`linux-source-*.tar.xz`), and the package's version.
    pub fn source(&self, suite: Suite) -> Result<(PathBuf, String), FetchError> {
        let item = self.item(&Want {
            key: format!("source/{}", suite.name()),
            title: "source",
            root: suite.root(),
            target: suite.target(),
            install: &["linux-source"],
            take: Take::Source,
        })?;
        Ok((self.folder.join(item.folder), item.version))
    }

    /// What modules are built against for the kernel of a suite: a folder with `usr/src` and `usr/lib`.
    pub fn headers(&self, suite: Suite, release: &str) -> Result<PathBuf, FetchError> {
        let package = format!("linux-headers-{release}");
        let item = self.item(&Want {
            key: format!("headers/{}/{release}", suite.name()),
            title: "headers",
            root: suite.root(),
            target: suite.target(),
            install: &[&package],
            take: Take::Headers,
        })?;
        Ok(self.folder.join(item.folder))
    }

    /// A root for guests, fetched and made if it is not there.
    pub fn root(&self, root: GuestRoot) -> Result<Disk, FetchError> {
        let GuestRoot::Debian = root;
        let item = self.item(&Want {
            key: format!("root/{}/{}", root.name(), image::FORM),
            title: "root-debian",
            root: Root::Trixie,
            target: None,
            install: &image::PACKAGES,
            take: Take::Image,
        });
        let item = item.map_err(|source| FetchError::Root {
            root: root.name(),
            cache: self.folder.clone(),
            source: Box::new(source),
        })?;
        let path = self.folder.join(item.folder).join(IMAGE);
        Disk::of(root, &path).map_err(|source| FetchError::File { path, source })
    }

    fn item(&self, want: &Want<'_>) -> Result<Item, FetchError> {
        if !self.sources.refresh
            && let Some(item) = self.present(&want.key)?
        {
            return Ok(item);
        }
        let _lock = self.lock()?;
        // Another run may have fetched it while this one waited.
        if !self.sources.refresh
            && let Some(item) = self.present(&want.key)?
        {
            return Ok(item);
        }
        self.fetch(want)
    }

    fn fetch(&self, want: &Want<'_>) -> Result<Item, FetchError> {
        let root = self.apt_root(want.root)?;
        let resolved = root.resolve(want.install, want.target, &self.progress)?;
        let packages: Vec<_> = resolved
            .into_iter()
            .filter(|package| want.takes(package))
            .collect();
        let Some(named) = packages.last() else {
            return Err(FetchError::NoPackage {
                suite: want
                    .target
                    .or(want.root.suites().first().copied())
                    .unwrap_or_default()
                    .to_owned(),
                package: want.named().to_owned(),
            });
        };
        let version = packages
            .iter()
            .find(|p| p.name == want.named())
            .unwrap_or(named)
            .version
            .clone();
        let item = Item {
            version: version.clone(),
            packages: packages
                .iter()
                .map(|p| format!("{} {}", p.name, p.version))
                .collect(),
            folder: PathBuf::from(format!("{}-{}", want.title, version.replace([':', '/'], "_"))),
        };
        if self.present(&want.key)?.as_ref() == Some(&item) {
            self.progress
                .note(&format!("{} {version} is up to date", want.title));
            return Ok(item);
        }
        root.download(&packages, &self.progress)?;
        self.unpack(&root, &packages, &item, want)?;
        self.record(&want.key, item.clone())?;
        for package in &packages {
            // The unpacked tree is what counts; an archive that stays behind only takes room.
            let _ = fs::remove_file(root.archives().join(package.file_name()));
        }
        Ok(item)
    }

    fn unpack(
        &self,
        root: &AptRoot,
        packages: &[Package],
        item: &Item,
        want: &Want<'_>,
    ) -> Result<(), FetchError> {
        let target = self.folder.join(&item.folder);
        let partial = self.folder.join(format!("{}.partial", item.folder.display()));
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| FetchError::File { path, source }
        };
        for stale in [&partial, &target] {
            if stale.exists() {
                fs::remove_dir_all(stale).map_err(file_error(stale))?;
            }
        }
        fs::create_dir_all(&partial).map_err(file_error(&partial))?;
        let running = self
            .progress
            .start(&format!("unpacking {} {}", want.title, item.version));
        let tree = match want.take {
            Take::Image => partial.join("tree"),
            Take::Named | Take::All | Take::Kernel | Take::Source | Take::Headers => partial.clone(),
        };
        for package in packages {
            running.tick();
            apt::unpack(&root.archives().join(package.file_name()), &tree)?;
        }
        if matches!(want.take, Take::Image) {
            running.tick();
            image::make(&tree, &partial.join(IMAGE))?;
            fs::remove_dir_all(&tree).map_err(file_error(&tree))?;
        }
        fs::rename(&partial, &target).map_err(file_error(&target))?;
        running.done("");
        Ok(())
    }

    fn apt_root(&self, root: Root) -> Result<AptRoot, FetchError> {
        let sources = &self.sources;
        let mirrors = Mirrors::find(
            sources.mirror.as_deref(),
            sources.security_mirror.as_deref(),
            sources.keyring.as_deref(),
            &SystemPackages::new(&self.folder.join("system")),
        )?;
        let folder = self.folder.join(root.folder());
        let stamp = folder.join("updated");
        let wanted = mirrors.sources(root.suites());
        let same = fs::read_to_string(folder.join("sources.list")).is_ok_and(|text| text == wanted);
        let fresh = same && !sources.refresh && age(&stamp).is_some_and(|age| age < LISTS_FRESH_FOR);
        let apt = AptRoot::create(&folder, root.suites(), &mirrors)?;
        if !fresh {
            apt.update(&self.progress)?;
            fs::write(&stamp, "").map_err(|source| FetchError::File { path: stamp, source })?;
        }
        Ok(apt)
    }

    /// The manifest's entry, if its folder is really there.
    fn present(&self, key: &str) -> Result<Option<Item>, FetchError> {
        let mut manifest = self.manifest()?;
        Ok(manifest
            .items
            .remove(key)
            .filter(|item| self.folder.join(&item.folder).is_dir()))
    }

    fn manifest(&self) -> Result<Manifest, FetchError> {
        let path = self.manifest_path();
        match fs::read(&path) {
            // A manifest of another version is as good as none: everything is fetched again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(source) => Err(FetchError::File { path, source }),
        }
    }

    fn record(&self, key: &str, item: Item) -> Result<(), FetchError> {
        let mut manifest = self.manifest()?;
        manifest.items.insert(key.to_owned(), item);
        let path = self.manifest_path();
        let partial = path.with_extension("partial");
        let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|source| FetchError::File { path, source })
    }

    fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    fn lock(&self) -> Result<File, FetchError> {
        let path = self.folder.join("lock");
        let waiting = "waiting for another run that fetches into this cache";
        lock::exclusive(&path, waiting, &self.progress).map_err(|source| match source.kind() {
            io::ErrorKind::Interrupted => FetchError::Interrupted,
            _ => FetchError::File { path, source },
        })
    }
}

/// What is to be fetched.
struct Want<'a> {
    key: String,
    title: &'a str,
    root: Root,
    target: Option<&'a str>,
    /// What is installed. The first gives the item its version.
    install: &'a [&'a str],
    take: Take,
}

/// Which of the packages that installing one would take are really needed.
enum Take {
    /// Only the one.
    Named,
    /// With everything that it depends on.
    All,
    /// With what they depend on, as far as a guest runs it, as an image of a file system.
    Image,
    /// The packages that hold a kernel image and its modules: one in most suites, two in newer ones.
    Kernel,
    /// The package that holds a kernel's source.
    Source,
    /// The packages that modules are built against.
    Headers,
}

impl Want<'_> {
    fn named(&self) -> &str {
        self.install.first().copied().unwrap_or_default()
    }

    fn takes(&self, package: &Package) -> bool {
        let numbered = |prefix: &str| {
            let rest = package.name.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        match self.take {
            Take::Named => package.name == self.named(),
            Take::All => true,
            Take::Image => image::takes(&package.name),
            Take::Kernel => ["linux-image-", "linux-binary-", "linux-modules-"]
                .into_iter()
                .any(numbered),
            Take::Source => numbered("linux-source-"),
            Take::Headers => ["linux-headers-", "linux-kbuild-"].into_iter().any(numbered),
        }
    }
}

fn default_folder() -> Option<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("amdgpu-lab"))
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now()
        .duration_since(fs::metadata(path).ok()?.modified().ok()?)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            version: "1".into(),
            architecture: "amd64".into(),
        }
    }

    #[test]
    fn a_kernel_is_its_image_and_its_modules_and_no_meta_package() {
        let want = Want {
            key: String::new(),
            title: "kernel",
            root: Root::Trixie,
            target: None,
            install: &["linux-image-amd64"],
            take: Take::Kernel,
        };
        for taken in [
            "linux-image-6.1.0-56-amd64",
            "linux-binary-7.3.4+deb13-amd64",
            "linux-modules-7.3.4+deb13-amd64",
        ] {
            assert!(want.takes(&package(taken)), "{taken}");
        }
        for left in [
            "linux-image-amd64",
            "linux-modules-amd64",
            "linux-base-7.3.4+deb13-amd64",
            "libc6",
        ] {
            assert!(!want.takes(&package(left)), "{left}");
        }
    }

    #[test]
    fn an_item_whose_folder_is_gone_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path()), Sources::default(), Progress::silent()).unwrap();
        let item = Item {
            version: "1".into(),
            packages: vec![],
            folder: "kernel-1".into(),
        };
        cache.record("kernel/trixie", item.clone()).unwrap();
        assert_eq!(cache.present("kernel/trixie").unwrap(), None);
        fs::create_dir(folder.path().join("kernel-1")).unwrap();
        assert_eq!(cache.present("kernel/trixie").unwrap(), Some(item));
    }

    #[test]
    fn a_damaged_manifest_means_fetching_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.json"), "{").unwrap();
        let cache = Cache::open(Some(folder.path()), Sources::default(), Progress::silent()).unwrap();
        assert_eq!(cache.present("qemu").unwrap(), None);
    }
}
