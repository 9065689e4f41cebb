//! A kernel to boot: an image and the modules that belong to it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::kconfig::Configuration;

/// A bootable kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// A folder with the modules, at any depth.
    pub modules: PathBuf,
    /// The release, as `uname -r` would give it.
    pub release: String,
    /// The upstream version where the image names it, else the numbers of the release. Debian's 6.1.192 calls itself
    /// 6.1.0-56-amd64, and which stable release it is stands only behind that.
    pub version: String,
    /// How it was configured, if that is known.
    pub configuration: Option<Configuration>,
}

/// Options without which no guest of the lab comes up, or nothing can be seen of it. Its drivers that may be modules are looked for
/// among the modules.
const NEEDED: [&str; 12] = [
    "CONFIG_64BIT",
    "CONFIG_ACPI",
    "CONFIG_BINFMT_ELF",
    "CONFIG_BLK_DEV_INITRD",
    "CONFIG_DEVTMPFS",
    "CONFIG_DRM_AMDGPU",
    "CONFIG_PCI_MSI",
    "CONFIG_PRINTK",
    "CONFIG_PROC_FS",
    "CONFIG_SERIAL_8250_CONSOLE",
    "CONFIG_SYSFS",
    "CONFIG_TMPFS",
];

/// Why a file or a folder is no kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No image among the unpacked packages.
    #[error("no kernel image (vmlinuz) under {}", folder.display())]
    NoImage {
        /// The folder.
        folder: PathBuf,
    },
    /// No folder with the kernel's modules.
    #[error("{} is not a folder with kernel modules of {release}; give it with --modules DIR", folder.display())]
    NoModules {
        /// The folder that was looked at.
        folder: PathBuf,
        /// The kernel's release.
        release: String,
    },
    /// Options that every guest needs.
    #[error("{} is built without {}, which a guest needs; lab/kconfig/lean.config is a fragment with everything", path.display(), options.join(", "))]
    Options {
        /// The image.
        path: PathBuf,
        /// The options.
        options: Vec<&'static str>,
    },
    /// Not a bzImage.
    #[error("{} is not an x86 kernel image (bzImage): {what}", path.display())]
    NotBzImage {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
}

impl Kernel {
    /// A kernel given by the user. `modules` is `lib/modules/RELEASE`, a folder that holds it, or a build tree.
    pub fn from_files(image: &Path, modules: &Path) -> Result<Self, KernelError> {
        let banner = image_banner(image)?;
        let release = banner.split_whitespace().next().unwrap_or_default().to_owned();
        let candidates = [
            modules.join("lib/modules").join(&release),
            modules.join("usr/lib/modules").join(&release),
            modules.join(&release),
        ];
        let folder = candidates
            .into_iter()
            .find(|path| path.is_dir())
            .unwrap_or_else(|| modules.to_owned());
        if !folder.is_dir() {
            return Err(KernelError::NoModules { folder, release });
        }
        let configuration = configuration(image, &folder, &release);
        let options = configuration
            .as_ref()
            .map(|configuration| configuration.lacks(NEEDED))
            .unwrap_or_default();
        if !options.is_empty() {
            return Err(KernelError::Options {
                path: image.to_owned(),
                options,
            });
        }
        Ok(Self {
            image: image.to_owned(),
            modules: folder,
            version: upstream_version(&banner),
            release,
            configuration,
        })
    }

    /// A kernel unpacked from distribution packages.
    pub fn from_packages(folder: &Path) -> Result<Self, KernelError> {
        let no_image = || KernelError::NoImage {
            folder: folder.to_owned(),
        };
        let in_boot = entries(&folder.join("boot")).find(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("vmlinuz"))
        });
        let image = in_boot
            .or_else(|| {
                ["usr/lib/modules", "lib/modules"]
                    .iter()
                    .flat_map(|sub| entries(&folder.join(sub)))
                    .map(|modules| modules.join("vmlinuz"))
                    .find(|path| path.is_file())
            })
            .ok_or_else(no_image)?;
        Self::from_files(&image, folder)
    }
}

/// Reads the configuration from where distributions and build trees have it.
fn configuration(image: &Path, modules: &Path, release: &str) -> Option<Configuration> {
    let boot = image.parent()?;
    let tree = boot.ancestors().nth(3);
    let candidates = [
        boot.join(format!("config-{release}")),
        modules.join("config"),
        modules.join(".config"),
        modules.join("build/.config"),
    ];
    let of_tree = tree
        .filter(|_| boot.ends_with("arch/x86/boot"))
        .map(|tree| tree.join(".config"));
    candidates
        .into_iter()
        .chain(of_tree)
        .find_map(|path| fs::read_to_string(path).ok())
        .map(|text| Configuration::parse(&text))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
}

/// The release and what follows it, as a bzImage names them in its setup header (Documentation/arch/x86/boot.rst, `kernel_version`).
fn image_banner(path: &Path) -> Result<String, KernelError> {
    /// Offset of the header's magic number.
    const MAGIC_AT: u64 = 0x202;
    const MAGIC: &[u8; 4] = b"HdrS";
    /// The version pointer counts from here.
    const POINTER_BASE: u64 = 0x200;

    let file_error = |source| KernelError::File {
        path: path.to_owned(),
        source,
    };
    let not = |what| KernelError::NotBzImage {
        path: path.to_owned(),
        what,
    };
    let mut file = File::open(path).map_err(file_error)?;
    // Magic (4), protocol version (2), real mode switch (4), start segment (2), kernel version pointer (2).
    let mut header = [0; 14];
    file.seek(SeekFrom::Start(MAGIC_AT)).map_err(file_error)?;
    file.read_exact(&mut header)
        .map_err(|_| not("the file ends before the setup header"))?;
    let (magic, rest) = header.split_at(4);
    if magic != MAGIC {
        return Err(not("no \"HdrS\" at 0x202"));
    }
    let [.., low, high] = rest else {
        return Err(not("no version pointer"));
    };
    let pointer = u16::from_le_bytes([*low, *high]);
    if pointer == 0 {
        return Err(not("its header names no kernel version"));
    }
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(POINTER_BASE + u64::from(pointer)))
        .map_err(file_error)?;
    file.take(256).read_to_end(&mut text).map_err(file_error)?;
    let banner: Vec<u8> = text
        .into_iter()
        .take_while(|byte| byte.is_ascii_graphic() || *byte == b' ')
        .collect();
    String::from_utf8(banner)
        .ok()
        .filter(|banner| banner.starts_with(|c: char| c.is_ascii_graphic()))
        .ok_or_else(|| not("its version is not text"))
}

/// `6.1.192` of `6.1.0-56-amd64 (...) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)`.
fn upstream_version(banner: &str) -> String {
    let mut words = banner.split_whitespace();
    let release = words.next().unwrap_or_default();
    let package = words
        .skip_while(|word| *word != "Debian")
        .nth(1)
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let text = package.unwrap_or(release);
    let numbers = text.split(|c: char| !(c.is_ascii_digit() || c == '.')).next();
    numbers.unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x800];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
        let text = format!("{release} (someone@somewhere) #1 SMP\0");
        bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn the_release_is_read_from_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bzImage");
        fs::write(&path, image("6.12.0-rc1+")).unwrap();
        fs::create_dir_all(folder.path().join("lib/modules/6.12.0-rc1+")).unwrap();
        let kernel = Kernel::from_files(&path, folder.path()).unwrap();
        assert_eq!(kernel.release, "6.12.0-rc1+");
        assert_eq!(kernel.version, "6.12.0");
        assert!(kernel.modules.ends_with("lib/modules/6.12.0-rc1+"));
    }

    #[test]
    fn a_distributions_release_hides_the_version_which_stands_behind_it() {
        let debian = "6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.192-2 (2026-11-16)";
        assert_eq!(upstream_version(debian), "6.1.192");
        assert_eq!(upstream_version("6.8.0-31-generic (b@c) #31-Ubuntu SMP"), "6.8.0");
        assert_eq!(upstream_version("7.3.4+deb13-amd64 (x) Debian"), "7.3.4");
    }

    #[test]
    fn the_configuration_is_found_and_an_option_that_guests_need_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let boot = folder.path().join("arch/x86/boot");
        let modules = folder.path().join("modules");
        for folder in [&boot, &modules] {
            fs::create_dir_all(folder).unwrap();
        }
        let path = boot.join("bzImage");
        fs::write(&path, image("6.12.0")).unwrap();
        let found = || Kernel::from_files(&path, &modules);
        assert_eq!(found().unwrap().configuration, None);

        let whole = NEEDED.map(|option| format!("{option}=y\n")).concat();
        fs::write(folder.path().join(".config"), &whole).unwrap();
        assert_eq!(found().unwrap().configuration, Some(Configuration::parse(&whole)));

        let less = whole.replace("CONFIG_DEVTMPFS=y", "# CONFIG_DEVTMPFS is not set");
        fs::write(boot.join("config-6.12.0"), less).unwrap();
        let error = found().unwrap_err().to_string();
        assert!(error.contains("built without CONFIG_DEVTMPFS,"), "{error}");
    }

    #[test]
    fn an_absent_image_is_named() {
        let error = Kernel::from_files(Path::new("/no/bzImage"), Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("/no/bzImage"), "{error}");
    }

    #[test]
    fn another_file_is_refused_with_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        fs::write(&path, vec![0x7f; 0x400]).unwrap();
        let error = Kernel::from_files(&path, folder.path()).unwrap_err().to_string();
        assert!(error.contains("HdrS"), "{error}");
    }

    #[test]
    fn an_absent_modules_folder_is_named_with_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bzImage");
        fs::write(&path, image("6.1.0")).unwrap();
        let error = Kernel::from_files(&path, Path::new("/no/modules"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/no/modules") && error.contains("--modules"),
            "{error}"
        );
    }
}
