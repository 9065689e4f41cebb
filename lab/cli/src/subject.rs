//! What a run is about: a kernel, found, fetched or built, with the driver that the user changed.

use std::path::PathBuf;

use anyhow::Result;
use machine::fetch::Cache;
use machine::kbuild::Builder;
use machine::kernel::Kernel;
use machine::progress::Progress;
use scenario::driver::Driver;

use crate::options::{KernelChoice, Options};

/// The kernel of a run, with the modules that take the place of its own.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kernel: Kernel,
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) driver: Driver,
    /// Until they are in the initramfs, nobody builds these files again.
    pub(crate) held: Option<Box<dyn std::fmt::Debug>>,
}

/// Finds the kernel, or fetches or builds it, and builds what the user changed.
pub(crate) fn find(options: &Options, cache: &Cache, progress: &Progress) -> Result<Subject> {
    let builder = Builder::new(cache, progress);
    let change = &options.change;
    let mut modules = Vec::new();
    let mut driver = Driver::default();
    let mut held: Option<Box<dyn std::fmt::Debug>> = None;
    let kernel = match &options.kernel {
        KernelChoice::Suite(suite) => {
            let kernel = cache.kernel(*suite)?;
            if !change.is_none() {
                let built = builder.modules(*suite, &kernel, change)?;
                modules.clone_from(&built.what);
                driver.patches.clone_from(&built.patches);
                held = Some(Box::new(built));
            }
            kernel
        }
        KernelChoice::Built { config, source } => {
            let built = builder.kernel(*config, source, change)?;
            let kernel = built.what.clone();
            driver.patches.clone_from(&built.patches);
            held = Some(Box::new(built));
            kernel
        }
        KernelChoice::Files { image, modules } => {
            anyhow::ensure!(
                change.is_none(),
                "--patch and --driver-src build for a kernel that is fetched or built here, not for {}; build the module with that kernel's \
                 tree and give it with --module",
                image.display()
            );
            Kernel::from_files(image, modules)?
        }
    };
    modules.extend(options.modules.iter().cloned());
    driver.tree.clone_from(&change.tree);
    driver.modules.clone_from(&options.modules);
    Ok(Subject {
        kernel,
        modules,
        driver,
        held,
    })
}
