//! The file system that a guest starts from: our init, the modules, the firmware.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::cpio::CpioWriter;
use crate::kernel::Kernel;
use crate::modules::{Module, ModuleError, ModuleIndex};
use crate::progress::Progress;

/// What goes in.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// The kernel whose modules are taken.
    pub kernel: &'a Kernel,
    /// Module files that take the place of the kernel's of the same name.
    pub replaced: &'a [PathBuf],
    /// Modules to carry, with everything they need.
    pub modules: &'a [&'a str],
    /// Modules to carry if they are modules: a kernel may have them built in.
    pub optional_modules: &'a [&'a str],
    /// A folder that holds `amdgpu/`; none to leave firmware out.
    pub firmware: Option<&'a Path>,
    /// The parts of firmware names, after `amdgpu/`, that are taken.
    pub firmware_prefixes: &'a [&'a str],
    /// Our statically linked init.
    pub init: &'a Path,
    /// A statically linked busybox, for a shell.
    pub busybox: Option<&'a Path>,
    /// Programs of ours for a guest with a root, by name. They are found there at [`PROGRAMS`].
    pub programs: &'a [(&'a str, &'a Path)],
}

/// The folder of programs that run in the root.
pub const PROGRAMS: &str = "lab";

/// What was put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Modules in load order.
    pub modules: Vec<String>,
    /// Firmware files.
    pub firmware: Vec<String>,
    /// Size of the archive in bytes.
    pub size: u64,
}

/// Why no initramfs could be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitramfsError {
    /// A file that cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The modules could not be gathered.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// The firmware folder has none of the files that the driver would ask for.
    #[error(
        "no firmware files {} under {}: give the folder that holds amdgpu/ with --firmware DIR",
        wanted.join(", "), folder.display()
    )]
    NoFirmware {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        wanted: Vec<String>,
    },
}

/// Writes the archive to `target`.
pub fn build(contents: &Contents<'_>, target: &Path) -> Result<Summary, InitramfsError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| InitramfsError::File { path, source }
    };
    let read = |path: &Path| fs::read(path).map_err(file_error(path));

    let kernel = contents.kernel;
    let mut index = ModuleIndex::scan(&kernel.modules)?;
    for path in contents.replaced {
        index.replace(path)?;
    }
    let optional = contents.optional_modules.iter().filter(|name| index.has(name));
    let wanted: Vec<&str> = contents.modules.iter().chain(optional).copied().collect();
    let modules = index.load_order(&wanted, &kernel.release)?;
    let firmware = match contents.firmware {
        Some(folder) => wanted_firmware(&modules, folder, contents.firmware_prefixes)?,
        None => Vec::new(),
    };
    let init = read(contents.init)?;
    let busybox = contents.busybox.map(read).transpose()?;
    let mut programs = Vec::new();
    for (name, path) in contents.programs {
        programs.push((format!("{PROGRAMS}/{name}"), read(path)?));
    }
    let mut firmware_files = Vec::new();
    for name in &firmware {
        let path = contents.firmware.unwrap_or(Path::new("")).join(name);
        firmware_files.push((format!("lib/firmware/{name}"), read(&path)?));
    }

    let write_error = file_error(target);
    let write = || -> io::Result<()> {
        let mut archive = CpioWriter::new(BufWriter::new(File::create(target)?));
        for folder in ["proc", "sys", "dev", "tmp", "run", "etc", "root"] {
            archive.directory(folder)?;
        }
        // The kernel opens it as init's standard streams, before anything is mounted on /dev.
        archive.character_device("dev/console", 0o600, 5, 1)?;
        archive.file("init", 0o755, &init)?;
        let folder = format!("lib/modules/{}", kernel.release);
        for module in &modules {
            archive.file(&format!("{folder}/{}.ko", module.name), 0o644, &module.object)?;
        }
        archive.file(
            &format!("{folder}/modules.dep"),
            0o644,
            dependency_file(&modules).as_bytes(),
        )?;
        for (path, data) in &firmware_files {
            archive.file(path, 0o644, data)?;
        }
        if let Some(busybox) = &busybox {
            archive.file("bin/busybox", 0o755, busybox)?;
        }
        for (path, program) in &programs {
            archive.file(path, 0o755, program)?;
        }
        archive.finish()?.flush()
    };
    write().map_err(write_error)?;
    Ok(Summary {
        modules: modules.into_iter().map(|module| module.name).collect(),
        firmware,
        size: fs::metadata(target).map_err(file_error(target))?.len(),
    })
}

/// The same, and says so.
pub fn build_shown(
    contents: &Contents<'_>,
    target: &Path,
    title: &str,
    progress: &Progress,
) -> Result<Summary, InitramfsError> {
    let running = progress.start(title);
    let summary = build(contents, target)?;
    running.done(&format!(
        "{} modules, {} firmware files, {} MiB",
        summary.modules.len(),
        summary.firmware.len(),
        summary.size >> 20
    ));
    Ok(summary)
}

/// The firmware that the modules name, that has one of the prefixes, and that is there.
fn wanted_firmware(
    modules: &[Module],
    folder: &Path,
    prefixes: &[&str],
) -> Result<Vec<String>, InitramfsError> {
    let mut names: Vec<_> = modules
        .iter()
        .flat_map(|module| &module.info.firmware)
        .filter(|name| {
            name.strip_prefix("amdgpu/")
                .is_some_and(|rest| prefixes.iter().any(|prefix| rest.starts_with(prefix)))
        })
        .filter(|name| folder.join(name).is_file())
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(InitramfsError::NoFirmware {
            folder: folder.to_owned(),
            wanted: prefixes
                .iter()
                .map(|prefix| format!("amdgpu/{prefix}*"))
                .collect(),
        });
    }
    Ok(names)
}

/// `modules.dep` in the form that modprobe reads: what is needed, the first to load last.
fn dependency_file(modules: &[Module]) -> String {
    let mut text = String::new();
    for (index, module) in modules.iter().enumerate() {
        let mut needed: Vec<&str> = module
            .info
            .depends
            .iter()
            .chain(&module.info.soft_pre)
            .map(String::as_str)
            .collect();
        // The list is in load order, so one pass from the end finds everything that is needed indirectly.
        let mut line = format!("{}.ko:", module.name);
        for earlier in modules.iter().take(index).rev() {
            if needed.contains(&earlier.name.as_str()) {
                line.push_str(&format!(" {}.ko", earlier.name));
                needed.extend(
                    earlier
                        .info
                        .depends
                        .iter()
                        .chain(&earlier.info.soft_pre)
                        .map(String::as_str),
                );
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::ModInfo;

    fn module(name: &str, depends: &[&str], firmware: &[&str]) -> Module {
        Module {
            name: name.into(),
            object: vec![],
            info: ModInfo {
                depends: depends.iter().map(|&s| s.into()).collect(),
                firmware: firmware.iter().map(|&s| s.into()).collect(),
                ..ModInfo::default()
            },
        }
    }

    #[test]
    fn dependencies_are_listed_with_the_first_to_load_last() {
        let modules = [
            module("drm", &[], &[]),
            module("ttm", &["drm"], &[]),
            module("amdgpu", &["ttm"], &[]),
        ];
        assert_eq!(
            dependency_file(&modules),
            "drm.ko:\nttm.ko: drm.ko\namdgpu.ko: ttm.ko drm.ko\n"
        );
    }

    #[test]
    fn firmware_is_taken_if_the_driver_names_it_and_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("amdgpu")).unwrap();
        for name in [
            "sienna_cichlid_sos.bin",
            "sienna_cichlid_unknown.bin",
            "navi10_sos.bin",
        ] {
            fs::write(folder.path().join("amdgpu").join(name), b"x").unwrap();
        }
        let driver = module(
            "amdgpu",
            &[],
            &[
                "amdgpu/sienna_cichlid_sos.bin",
                "amdgpu/sienna_cichlid_cap.bin",
                "amdgpu/navi10_sos.bin",
            ],
        );
        let names = wanted_firmware(&[driver], folder.path(), &["sienna_cichlid_"]).unwrap();
        assert_eq!(names, ["amdgpu/sienna_cichlid_sos.bin"]);
    }

    #[test]
    fn an_empty_firmware_folder_is_an_error_that_names_it() {
        let error = wanted_firmware(&[], Path::new("/no/firmware"), &["sienna_cichlid_"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/no/firmware") && error.contains("--firmware"),
            "{error}"
        );
    }
}
