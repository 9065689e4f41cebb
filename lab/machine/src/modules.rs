//! Kernel modules: which ones a module needs, in which order, and what firmware they ask for.
//!
//! Everything is read from the modules themselves (the `.modinfo` section, include/linux/module.h), because packages
//! carry no `modules.dep` before they are installed, and because a build tree has none either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::sys;

/// A module ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores, as `/proc/modules` shows it.
    pub name: String,
    /// The object file, decompressed.
    pub object: Vec<u8>,
    /// What its author says about it.
    pub info: ModInfo,
}

/// The facts of a `.modinfo` section that matter for loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// Modules that must be loaded before.
    pub depends: Vec<String>,
    /// Modules that should be loaded before, if they exist.
    pub soft_pre: Vec<String>,
    /// Firmware files that it may ask for.
    pub firmware: Vec<String>,
    /// The kernel that it was built for.
    pub vermagic: String,
}

/// Why modules could not be gathered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The program that decompresses it failed.
    #[error("cannot decompress {} with {program}: {detail}", path.display())]
    Decompress {
        /// The module.
        path: PathBuf,
        /// The program.
        program: &'static str,
        /// Why.
        detail: String,
    },
    /// The module was built for another kernel.
    #[error("{name} was built for {vermagic:?}, but the kernel image is {release:?}")]
    Foreign {
        /// The module.
        name: String,
        /// What it was built for.
        vermagic: String,
        /// The kernel's release.
        release: String,
    },
    /// The file is not a module.
    #[error("{} is not a 64-bit kernel module: {what}", path.display())]
    NotAModule {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// No such module.
    #[error("no module {name} under {}{}", folder.display(), needed_by.as_ref().map(|by| format!(" ({by} needs it)")).unwrap_or_default())]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// Who needs it.
        needed_by: Option<String>,
    },
    /// Several files for one module.
    #[error(
        "there are several modules {name}: {}; which one modprobe would take is not known, since no modules.dep names one of them and not \
         exactly one is in updates/: run depmod on that tree, or remove what is not to be tested",
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Several {
        /// The name.
        name: String,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// All module files of a kernel, by name.
///
/// Of several with one name that one counts which modprobe would take: what `modules.dep` names, or else what is in `updates/`, where
/// `modules_install` puts what was built out of tree (depmod.d(5): the default search order is `updates built-in`).
#[derive(Debug)]
pub struct ModuleIndex {
    folder: PathBuf,
    files: BTreeMap<String, Vec<PathBuf>>,
    /// The files that `modules.dep` names.
    named: BTreeSet<PathBuf>,
}

impl ModuleIndex {
    /// Finds the module files under a folder.
    pub fn scan(folder: &Path) -> Result<Self, ModuleError> {
        let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(current) = waiting.pop() {
            let read_error = |source| ModuleError::Read {
                path: current.clone(),
                source,
            };
            for entry in fs::read_dir(&current).map_err(read_error)? {
                let entry = entry.map_err(read_error)?;
                let kind = entry.file_type().map_err(read_error)?;
                // Links (`build`, `source`) lead out of the tree.
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if let Some(name) = entry.file_name().to_str().and_then(module_name) {
                    files.entry(name).or_default().push(entry.path());
                }
            }
        }
        let dependencies = fs::read_to_string(folder.join("modules.dep")).unwrap_or_default();
        let named = dependencies.lines().filter_map(|line| line.split_once(':'));
        Ok(Self {
            folder: folder.to_owned(),
            files,
            named: named.map(|(file, _)| folder.join(file)).collect(),
        })
    }

    /// Has a file take the place of all others with its name.
    pub fn replace(&mut self, path: &Path) -> Result<(), ModuleError> {
        let name = path.file_name().and_then(|name| module_name(name.to_str()?));
        let name = name.ok_or_else(|| ModuleError::NotAModule {
            path: path.to_owned(),
            what: "its name does not end in .ko",
        })?;
        self.files.insert(name, vec![path.to_owned()]);
        Ok(())
    }

    /// The file of a module, if there is one.
    fn file(&self, name: &str) -> Result<Option<&PathBuf>, ModuleError> {
        let files = self.files.get(name).map(Vec::as_slice).unwrap_or_default();
        if let [] | [_] = files {
            return Ok(files.first());
        }
        let updates = self.folder.join("updates");
        let only = |matches: &dyn Fn(&Path) -> bool| {
            let mut found = files.iter().filter(|file| matches(file));
            found.next().filter(|_| found.next().is_none())
        };
        only(&|file| self.named.contains(file))
            .or_else(|| only(&|file| file.starts_with(&updates)))
            .map(Some)
            .ok_or_else(|| ModuleError::Several {
                name: name.to_owned(),
                files: files.to_vec(),
            })
    }

    /// Whether there is a module of this name; a kernel may have it built in.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(&normalise(name))
    }

    /// The modules that loading `roots` takes, every one after those that it needs.
    pub fn load_order(&self, roots: &[&str], release: &str) -> Result<Vec<Module>, ModuleError> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for root in roots {
            self.visit(&normalise(root), None, release, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        needed_by: Option<&str>,
        release: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), ModuleError> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.file(name)?.ok_or_else(|| ModuleError::Missing {
            name: name.to_owned(),
            folder: self.folder.clone(),
            needed_by: needed_by.map(str::to_owned),
        })?;
        let object = decompressed(path)?;
        let section = modinfo_section(&object).map_err(|what| ModuleError::NotAModule {
            path: path.clone(),
            what,
        })?;
        let info = ModInfo::parse(section);
        if info.vermagic.split(' ').next() != Some(release) {
            return Err(ModuleError::Foreign {
                name: name.to_owned(),
                vermagic: info.vermagic,
                release: release.to_owned(),
            });
        }
        for soft in info.soft_pre.iter().filter(|soft| self.files.contains_key(*soft)) {
            self.visit(soft, Some(name), release, seen, order)?;
        }
        for needed in &info.depends {
            self.visit(needed, Some(name), release, seen, order)?;
        }
        order.push(Module {
            name: name.to_owned(),
            object,
            info,
        });
        Ok(())
    }
}

impl ModInfo {
    /// Reads the NUL-separated `key=value` strings.
    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for entry in section.split(|byte| *byte == 0) {
            let Some((key, value)) = std::str::from_utf8(entry)
                .ok()
                .and_then(|text| text.split_once('='))
            else {
                continue;
            };
            match key {
                "depends" => info
                    .depends
                    .extend(value.split(',').filter(|name| !name.is_empty()).map(normalise)),
                "softdep" => info.soft_pre.extend(soft_pre(value)),
                "firmware" => info.firmware.push(value.to_owned()),
                "vermagic" => value.clone_into(&mut info.vermagic),
                _ => {}
            }
        }
        info
    }
}

/// The names after `pre:` in a soft dependency such as `pre: a b post: c`.
fn soft_pre(value: &str) -> Vec<String> {
    value
        .split_whitespace()
        .scan(false, |in_pre, word| {
            if word.ends_with(':') {
                *in_pre = word == "pre:";
                return Some(None);
            }
            Some(in_pre.then(|| normalise(word)))
        })
        .flatten()
        .collect()
}

fn normalise(name: &str) -> String {
    name.trim().replace('-', "_")
}

fn module_name(file: &str) -> Option<String> {
    let stem = ["", ".xz", ".zst", ".gz"]
        .iter()
        .find_map(|compression| file.strip_suffix(&format!(".ko{compression}")))?;
    Some(normalise(stem))
}

/// Decompresses where needed, with the program of the compression's own package: kernels differ in whether they can.
fn decompressed(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => {
            return fs::read(path).map_err(|source| ModuleError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let failed = |detail: String| ModuleError::Decompress {
        path: path.to_owned(),
        program,
        detail,
    };
    let mut command = Command::new(program);
    command.args(["-d", "-c"]).arg(path).stdin(Stdio::null());
    let output = sys::contain(&mut command)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed("the program is not on this system".to_owned()),
            _ => failed(error.to_string()),
        })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Finds the `.modinfo` section of a little-endian ELF64 file (System V ABI, chapter 4).
fn modinfo_section(object: &[u8]) -> Result<&[u8], &'static str> {
    const IDENT: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    const NAME: &[u8] = b".modinfo\0";

    if !object.starts_with(&IDENT) {
        return Err("no little-endian ELF64 header");
    }
    let header_offset = read_u64(object, 0x28).ok_or("the file header is cut off")?;
    let entry_size = read_u16(object, 0x3a).ok_or("the file header is cut off")?;
    let count = read_u16(object, 0x3c).ok_or("the file header is cut off")?;
    let names_index = read_u16(object, 0x3e).ok_or("the file header is cut off")?;
    let section = |index: u16| -> Option<(usize, &[u8])> {
        let at = header_offset.checked_add(usize::from(index).checked_mul(usize::from(entry_size))?)?;
        let name = usize::try_from(u32::from_le_bytes(
            object.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
        .ok()?;
        let offset = read_u64(object, at.checked_add(0x18)?)?;
        let size = read_u64(object, at.checked_add(0x20)?)?;
        Some((
            name,
            object.get(offset..offset.checked_add(size)?).unwrap_or_default(),
        ))
    };
    let (_, names) = section(names_index).ok_or("no section names")?;
    (0..count)
        .filter_map(section)
        .find(|(name, _)| names.get(*name..).is_some_and(|name| name.starts_with(NAME)))
        .map(|(_, data)| data)
        .ok_or("no .modinfo section")
}

fn read_u64(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(field.try_into().ok()?)).ok()
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with a section of names and a `.modinfo` section.
    fn object(modinfo: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let names_at = 0x40;
        let info_at = names_at + names.len();
        let headers_at = info_at + modinfo.len();
        let mut bytes = vec![0; 0x40];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        bytes[0x28..0x30].copy_from_slice(&(headers_at as u64).to_le_bytes());
        bytes[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        bytes[0x3c..0x3e].copy_from_slice(&3_u16.to_le_bytes());
        bytes[0x3e..0x40].copy_from_slice(&2_u16.to_le_bytes());
        bytes.extend_from_slice(names);
        bytes.extend_from_slice(modinfo.as_bytes());
        for (name, at, size) in [
            (0_u32, 0, 0),
            (1, info_at, modinfo.len()),
            (10, names_at, names.len()),
        ] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            bytes.extend_from_slice(&header);
        }
        bytes
    }

    fn tree(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("kernel/drivers");
        fs::create_dir_all(&deep).unwrap();
        for (name, depends) in modules {
            let text = format!("{depends}\0vermagic=6.1.0 SMP mod_unload\0");
            fs::write(deep.join(format!("{name}.ko")), object(&text)).unwrap();
        }
        folder
    }

    fn order(folder: &Path, roots: &[&str]) -> Result<Vec<String>, ModuleError> {
        let modules = ModuleIndex::scan(folder).unwrap().load_order(roots, "6.1.0")?;
        Ok(modules.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let folder = tree(&[
            (
                "amdgpu",
                "depends=gpu-sched,drm\0softdep=pre: extra absent post: later",
            ),
            ("gpu-sched", "depends=drm"),
            ("drm", "depends="),
            ("extra", "depends="),
            ("later", "depends="),
        ]);
        assert_eq!(
            order(folder.path(), &["amdgpu"]).unwrap(),
            ["extra", "drm", "gpu_sched", "amdgpu"]
        );
    }

    #[test]
    fn of_two_modules_the_one_that_modprobe_would_take_counts() {
        let folder = tree(&[("amdgpu", "depends=")]);
        let put = |sub: &str, extra: &str| {
            let path = folder.path().join(sub);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("depends=\0extra={extra}\0vermagic=6.1.0 SMP mod_unload\0");
            fs::write(&path, object(&text)).unwrap();
        };
        let taken = || -> Result<bool, ModuleError> {
            let order = ModuleIndex::scan(folder.path())?.load_order(&["amdgpu"], "6.1.0")?;
            Ok(order[0].object.windows(5).any(|part| part == b"yours"))
        };
        put("updates/amdgpu.ko", "yours");
        assert!(taken().unwrap(), "updates/ comes before everything else");
        fs::write(folder.path().join("modules.dep"), "kernel/drivers/amdgpu.ko:\n").unwrap();
        assert!(!taken().unwrap(), "modules.dep is what modprobe reads");
        fs::remove_file(folder.path().join("modules.dep")).unwrap();
        put("updates/dkms/amdgpu.ko", "other");
        let error = taken().unwrap_err().to_string();
        assert!(
            error.contains("updates/dkms/amdgpu.ko") && error.contains("depmod"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_given_takes_the_place_of_all_others() {
        let folder = tree(&[("amdgpu", "depends=")]);
        let own = folder.path().join("own");
        fs::create_dir_all(&own).unwrap();
        let path = own.join("amdgpu.ko");
        fs::write(
            &path,
            object("depends=\0yours=1\0vermagic=6.1.0 SMP mod_unload\0"),
        )
        .unwrap();
        let mut index = ModuleIndex::scan(&folder.path().join("kernel")).unwrap();
        index.replace(&path).unwrap();
        let order = index.load_order(&["amdgpu"], "6.1.0").unwrap();
        assert!(order[0].object.windows(5).any(|part| part == b"yours"));
        index.replace(Path::new("/x/amdgpu.o")).unwrap_err();
    }

    #[test]
    fn a_circle_ends() {
        let folder = tree(&[("a", "depends=b"), ("b", "depends=a")]);
        assert_eq!(order(folder.path(), &["a"]).unwrap(), ["b", "a"]);
    }

    #[test]
    fn a_missing_module_is_named_with_the_one_that_needs_it() {
        let folder = tree(&[("amdgpu", "depends=drm")]);
        let error = order(folder.path(), &["amdgpu"]).unwrap_err().to_string();
        assert!(
            error.contains("drm") && error.contains("amdgpu needs it"),
            "{error}"
        );
    }

    #[test]
    fn a_module_of_another_kernel_is_refused() {
        let folder = tree(&[("amdgpu", "depends=")]);
        let index = ModuleIndex::scan(folder.path()).unwrap();
        let error = index.load_order(&["amdgpu"], "6.12.0").unwrap_err().to_string();
        assert!(error.contains("6.1.0") && error.contains("6.12.0"), "{error}");
    }

    #[test]
    fn damaged_objects_are_refused_and_never_panic() {
        let whole = object("depends=drm\0");
        assert_eq!(modinfo_section(&whole), Ok(b"depends=drm\0".as_slice()));
        for length in 0..whole.len() {
            // Shorter ones may still hold the section; they must only not panic.
            let _ = modinfo_section(&whole[..length]);
        }
        assert_eq!(modinfo_section(b"MZ"), Err("no little-endian ELF64 header"));
    }

    #[test]
    fn names_are_read_from_compressed_files_too() {
        assert_eq!(module_name("gpu-sched.ko.xz").as_deref(), Some("gpu_sched"));
        assert_eq!(module_name("drm.ko").as_deref(), Some("drm"));
        assert_eq!(module_name("modules.dep"), None);
    }
}
