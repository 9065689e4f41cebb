//! Builds what a developer has changed: a kernel of its own for guests, or the driver's modules for a distribution's kernel.
//!
//! Compiler and tools are those of the Debian release that the source belongs to, in a root of their own. Source is seen through an
//! overlay: neither a distribution's nor the user's is ever written to. Objects stay in the cache, so that a changed line costs the files
//! that it touches.

mod config;
mod make;
pub mod patches;
mod root;
pub mod source;
mod work;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use config::Config;
pub use source::Source;

use patches::{PatchError, Series};
use root::{Mount, OUT, Root, SOURCE};
use source::{Tree, TreeVersion};
use work::Workplace;

use crate::fetch::{Cache, FetchError, Suite};
use crate::kernel::{Kernel, KernelError};
use crate::progress::Progress;

/// The driver's folder in a kernel tree.
pub const AMD: &str = "drivers/gpu/drm/amd";
/// Where a kernel tree has the driver and what it builds on.
pub const OF_DRIVERS: [&str; 4] = [
    "drivers/gpu/drm",
    "include/drm",
    "include/uapi/drm",
    "include/linux",
];
/// Options of display code and of generations that no device of ours is, which a driver on top of a distribution's kernel is built without.
const LEFT_OUT: [&str; 9] = [
    "CONFIG_DRM_AMD_DC",
    "CONFIG_DRM_AMD_DC_DCN",
    "CONFIG_DRM_AMD_DC_FP",
    "CONFIG_DRM_AMD_DC_SI",
    "CONFIG_DRM_AMD_SECURE_DISPLAY",
    "CONFIG_DRM_AMD_ACP",
    "CONFIG_DRM_AMD_ISP",
    "CONFIG_DRM_AMDGPU_SI",
    "CONFIG_DRM_AMDGPU_CIK",
];

/// A module that can be built on top of a distribution's kernel.
struct Buildable {
    /// What it is built from, and its folder.
    folder: &'static str,
    file: &'static str,
    /// What else it is built again for.
    headers: &'static [&'static str],
}

/// Those, in the order in which they need each other.
const BUILDABLE: [Buildable; 2] = [
    Buildable {
        folder: "drivers/gpu/drm/scheduler",
        file: "gpu-sched.ko",
        headers: &["include/drm/gpu_scheduler.h", "include/drm/spsc_queue.h"],
    },
    Buildable {
        folder: "drivers/gpu/drm/ttm",
        file: "ttm.ko",
        headers: &["include/drm/ttm"],
    },
];

/// Why something could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file or folder could not be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No kernel tree.
    #[error("{} is not a kernel source tree: its Makefile has no VERSION, PATCHLEVEL and SUBLEVEL", folder.display())]
    NoTree {
        /// The folder.
        folder: PathBuf,
    },
    /// A path that an overlay cannot have.
    #[error("{} cannot be seen through an overlay: its path has a comma, a colon, a quote or a backslash", path.display())]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// A program of the host's could not be started.
    #[error("cannot start {program}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {}: {detail}", archive.display())]
    Unpack {
        /// Which.
        archive: PathBuf,
        /// tar's own words.
        detail: String,
    },
    /// The root could not be entered.
    #[error(
        "cannot enter the root that kernels are built in; that takes root, or user namespaces and an overlay in them:\n{detail}"
    )]
    Enter {
        /// What the programs said.
        detail: String,
    },
    /// A patch does not fit.
    #[error("the patch {title:?} ({}) does not apply to {of}:\n    {}", path.display(), refused.join("\n    "))]
    DoesNotApply {
        /// Its title.
        title: String,
        /// Its file.
        path: PathBuf,
        /// What it was applied to.
        of: String,
        /// The file and the hunk, each.
        refused: Vec<String>,
    },
    /// A patch that a module cannot have.
    #[error(
        "the patches change {file}, which is in none of the modules that are built on top of a distribution's kernel \
         (amdgpu, gpu-sched, ttm); build the whole kernel: --kernel lean:SUITE"
    )]
    NotOfModules {
        /// The file.
        file: String,
    },
    /// Sources of different kernels.
    #[error("{} is Linux {found}, but the kernel is {expected}: a driver is built for a kernel of its own series", folder.display())]
    OtherSeries {
        /// The tree.
        folder: PathBuf,
        /// Its version.
        found: String,
        /// The kernel's.
        expected: String,
    },
    /// A source package of another version than the kernel.
    #[error(
        "the source is {found}, but the kernel is {expected}: bring both up to date with amdgpu-lab fetch --refresh"
    )]
    OtherPackage {
        /// The source's version.
        found: String,
        /// The kernel's.
        expected: String,
    },
    /// Options that a guest needs.
    #[error("{of} cannot be configured for guests: it has no {}", options.join(", "))]
    Options {
        /// The source.
        of: String,
        /// As the fragment has them.
        options: Vec<String>,
    },
    /// The compiler has something to say.
    #[error("{what} failed:\n{detail}")]
    Compile {
        /// What was built.
        what: String,
        /// All of it.
        detail: String,
    },
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// Fetching.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What was built is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What a user changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Patches to apply.
    pub patches: Vec<PathBuf>,
    /// A kernel tree whose `drivers/gpu/drm/amd` takes the place of the source's.
    pub tree: Option<PathBuf>,
    /// Build display code and old generations as well.
    pub full: bool,
}

impl Change {
    /// Whether anything is to be built.
    pub const fn is_none(&self) -> bool {
        self.patches.is_empty() && self.tree.is_none()
    }
}

/// What came of a build. As long as it is held, nobody builds in the same place.
#[derive(Debug)]
pub struct Built<T> {
    /// The kernel, or the modules.
    pub what: T,
    /// For reports: the titles of the patches.
    pub patches: Vec<String>,
    _place: Workplace,
}

/// Builds.
#[derive(Debug, Clone, Copy)]
pub struct Builder<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
}

impl<'a> Builder<'a> {
    /// With what was built before in this cache.
    pub const fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self { cache, progress }
    }

    /// A kernel for guests.
    ///
    /// # Errors
    /// [`BuildError`]: a patch that does not apply, the compiler's words, options that a tree lacks.
    pub fn kernel(
        &self,
        config: Config,
        source: &Source,
        change: &Change,
    ) -> Result<Built<Kernel>, AnyBuildError> {
        let series = Series::read(&change.patches)?;
        let tree = Tree::of(source, self.cache, self.progress)?;
        let root = Root::new(self.cache.toolchain(tree.toolchain).map_err(BuildError::from)?);
        let place = self.place(config.name(), &tree, change)?;
        if matches!(source, Source::Tree(_)) {
            place.hide_builds(&root)?;
        }
        place.apply(&root, &series, &format!("Linux {} ({source})", tree.version))?;
        let mounts = place.mounts();
        self.configure(config, source, &root, &place, &mounts)?;
        let image = place.out().join("arch/x86/boot/bzImage");
        let done = place.out().join("amdgpu-lab.done");
        // A package's source stays as it is, so that not even make has to look.
        let fixed = matches!(source, Source::Suite(_)) && change.tree.is_none();
        let stamp = format!("{}\n{}", series.digest(), config.text());
        let title = format!("Linux {} ({config}:{source})", tree.version);
        if fixed && image.is_file() && fs::read_to_string(&done).is_ok_and(|done| done == stamp) {
            self.progress.note(&format!("{title} is built"));
        } else {
            let _ = fs::remove_file(&done);
            let words = [&format!("O={OUT}"), "bzImage", "modules"];
            make::make(
                &root,
                &mounts,
                SOURCE,
                &words,
                &format!("building {title}"),
                self.progress,
            )?;
            fs::write(&done, stamp).map_err(|source| BuildError::File { path: done, source })?;
        }
        Ok(Built {
            what: Kernel::from_files(&image, &place.out()).map_err(BuildError::from)?,
            patches: titles(&series),
            _place: place,
        })
    }

    /// Configures, if that was not done with the same text. The options of a user's tree come and go with its commits.
    fn configure(
        &self,
        config: Config,
        source: &Source,
        root: &Root,
        place: &Workplace,
        mounts: &[Mount],
    ) -> Result<(), BuildError> {
        let text = config.text();
        let stamp = place.out().join("amdgpu-lab.config");
        let configuration = place.out().join(".config");
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::File { path, source }
        };
        let fixed = matches!(source, Source::Suite(_));
        if fixed && configuration.is_file() && fs::read_to_string(&stamp).is_ok_and(|done| done == text) {
            return Ok(());
        }
        let fragment = place.input("fragment", text.as_bytes())?;
        make::make(
            root,
            mounts,
            SOURCE,
            &[
                &format!("O={OUT}"),
                &format!("KCONFIG_ALLCONFIG={fragment}"),
                "allnoconfig",
            ],
            &format!("configuring ({config}:{source})"),
            self.progress,
        )?;
        let done = fs::read_to_string(&configuration).map_err(file(&configuration))?;
        let options = config::missing(&text, &done);
        if !options.is_empty() {
            return Err(BuildError::Options {
                of: source.to_string(),
                options,
            });
        }
        fs::write(&stamp, text).map_err(file(&stamp))
    }

    /// The driver's modules, and those that patches touch, for the kernel of a suite.
    ///
    /// # Errors
    /// [`BuildError`]: a patch that does not apply or is not of these modules, a tree of another series, the compiler's words.
    pub fn modules(
        &self,
        suite: Suite,
        kernel: &Kernel,
        change: &Change,
    ) -> Result<Built<Vec<PathBuf>>, AnyBuildError> {
        let series = Series::read(&change.patches)?;
        let tree = Tree::of(&Source::Suite(suite), self.cache, self.progress)?;
        let version = TreeVersion::parse(&kernel.version);
        if version != Some(tree.version) {
            return Err(BuildError::OtherPackage {
                found: tree.version.to_string(),
                expected: kernel.version.clone(),
            }
            .into());
        }
        let folders = folders(&series)?;
        let headers = self
            .cache
            .headers(suite, &kernel.release)
            .map_err(BuildError::from)?;
        let root = Root::new(self.cache.toolchain(suite).map_err(BuildError::from)?);
        let kind = if change.full { "modules-full" } else { "modules" };
        let place = self.place(kind, &tree, change)?;
        place.apply(&root, &series, &format!("Linux {} ({suite})", tree.version))?;
        let mut mounts = place.mounts();
        mounts.extend(header_mounts(&headers)?);

        let headers = format!("/usr/src/linux-headers-{}", kernel.release);
        let mut flags = format!("KCFLAGS=-g0 -I{SOURCE}/include/trace");
        let mut words = vec![
            format!("FULL_AMD_PATH={SOURCE}/{AMD}"),
            // Debian's headers bring a vmlinux for it, but type information is of no use to a guest of ours.
            "CONFIG_DEBUG_INFO_BTF_MODULES=".to_owned(),
        ];
        if !change.full {
            let undefine: String = LEFT_OUT
                .iter()
                .map(|option| format!("#undef {option}\n"))
                .collect();
            let path = place.input("left-out.h", undefine.as_bytes())?;
            flags.push_str(&format!(" -include {path}"));
            words.extend(LEFT_OUT.iter().map(|option| format!("{option}=")));
        }
        if series.files().iter().any(|file| file.starts_with("include")) {
            // Before the folders of the headers' package.
            words.push(format!(
                "CC={} -I{SOURCE}/include -I{SOURCE}/include/uapi",
                compiler(suite)
            ));
        }
        words.push(flags);
        let mut modules = Vec::new();
        let mut symbols = String::from("KBUILD_EXTRA_SYMBOLS=");
        for (folder, file) in folders {
            let mut arguments = vec!["-C".to_owned(), headers.clone(), format!("M={SOURCE}/{folder}")];
            arguments.extend(words.iter().cloned());
            arguments.push(symbols.clone());
            arguments.push("modules".to_owned());
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let title = format!("building {file} for {}", kernel.release);
            make::make(&root, &mounts, SOURCE, &arguments, &title, self.progress)?;
            symbols.push_str(&format!("{SOURCE}/{folder}/Module.symvers "));
            modules.push(place.built(&format!("{folder}/{file}")));
        }
        Ok(Built {
            what: modules,
            patches: titles(&series),
            _place: place,
        })
    }

    /// Where this kind of thing is built from this tree: a place for each driver's tree, wherever the user stands.
    fn place(&self, kind: &str, tree: &Tree, change: &Change) -> Result<Workplace, BuildError> {
        let mut name = format!("{kind}-{}", tree.name);
        let driver = match &change.tree {
            Some(driver) => Some(driver.canonicalize().map_err(|source| BuildError::File {
                path: driver.clone(),
                source,
            })?),
            None => None,
        };
        if let Some(folder) = &driver {
            name = format!("{name}-{}", source::own_name(folder));
        }
        let mut place = Workplace::open(self.cache, &name, &tree.folder, self.progress)?;
        if let Some(folder) = driver {
            let found = source::version_of(&folder)?;
            if !found.same_series(tree.version) {
                return Err(BuildError::OtherSeries {
                    folder,
                    found: found.to_string(),
                    expected: tree.version.to_string(),
                });
            }
            place.layer(AMD, &folder.join(AMD), "driver")?;
        }
        Ok(place)
    }
}

/// Either kind of error: of patches, or of building.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnyBuildError {
    /// Something is no patch.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// Building failed.
    #[error(transparent)]
    Build(#[from] BuildError),
}

fn titles(series: &Series) -> Vec<String> {
    series.patches().iter().map(|patch| patch.title.clone()).collect()
}

/// The compiler that Debian's headers name.
const fn compiler(suite: Suite) -> &'static str {
    match suite {
        Suite::Bookworm => "gcc-12",
        Suite::Trixie | Suite::TrixieBackports => "gcc-14",
    }
}

/// The folders to build for a series, with their modules, in order: what it touches, and amdgpu.
fn folders(series: &Series) -> Result<Vec<(&'static str, &'static str)>, BuildError> {
    let files = series.files();
    if let Some(file) = files.iter().find(|file| {
        let known = BUILDABLE.iter().map(|module| module.folder);
        !known
            .chain([AMD, "include"])
            .any(|folder| file.starts_with(folder))
    }) {
        return Err(BuildError::NotOfModules {
            file: file.display().to_string(),
        });
    }
    let touched = BUILDABLE.iter().filter(|module| {
        files.iter().any(|file| {
            file.starts_with(module.folder) || module.headers.iter().any(|header| file.starts_with(header))
        })
    });
    let mut folders: Vec<_> = touched.map(|module| (module.folder, module.file)).collect();
    folders.push(("drivers/gpu/drm/amd/amdgpu", "amdgpu.ko"));
    Ok(folders)
}

/// The headers' packages where they expect to be.
fn header_mounts(headers: &Path) -> Result<Vec<Mount>, BuildError> {
    let mut mounts = vec![Mount::bind(&headers.join("usr/src"), "/usr/src")];
    let libraries = headers.join("usr/lib");
    let entries = fs::read_dir(&libraries).map_err(|source| BuildError::File {
        path: libraries.clone(),
        source,
    })?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        mounts.push(Mount::bind(
            &entry.path(),
            &format!("/usr/lib/{}", name.to_string_lossy()),
        ));
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(files: &[&str]) -> Series {
        let folder = tempfile::tempdir().unwrap();
        let diff = |file: &&str| format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-a\n+b\n");
        let path = folder.path().join("x.patch");
        fs::write(&path, files.iter().map(diff).collect::<String>()).unwrap();
        Series::read(&[path]).unwrap()
    }

    #[test]
    fn what_patches_touch_is_built_before_the_driver() {
        let names = |files: &[&str]| -> Vec<_> {
            let folders = folders(&series(files)).unwrap();
            folders.into_iter().map(|(_, file)| file).collect()
        };
        assert_eq!(names(&["drivers/gpu/drm/amd/amdgpu/amdgpu_vm.c"]), ["amdgpu.ko"]);
        assert_eq!(
            names(&["drivers/gpu/drm/ttm/ttm_bo.c", "include/drm/gpu_scheduler.h"]),
            ["gpu-sched.ko", "ttm.ko", "amdgpu.ko"]
        );
        assert_eq!(folders(&Series::default()).unwrap().len(), 1);
    }

    #[test]
    fn what_is_in_no_module_is_refused_with_what_to_do() {
        let error = folders(&series(&["mm/slub.c"])).unwrap_err().to_string();
        assert!(
            error.contains("mm/slub.c") && error.contains("lean:SUITE"),
            "{error}"
        );
    }
}
