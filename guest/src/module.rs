//! Loading and removing modules, with what they need, in order.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use crate::json::Object;
use crate::{marker, sys};

/// Loads a module after everything that it needs. `parameters` go to the module itself and to nothing else.
pub fn load(name: &str, parameters: &str) -> Result<(), String> {
    let folder = format!("/lib/modules/{}", sys::release());
    let path = format!("{folder}/modules.dep");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let order = load_order(&text, name).ok_or_else(|| format!("{path} has no {name}"))?;
    for module in &order {
        if is_loaded(module) {
            continue;
        }
        let given = if module == name { parameters } else { "" };
        let path = format!("{folder}/{module}.ko");
        let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let started = Instant::now();
        sys::finit_module(&file, given)
            .map_err(|error| format!("finit_module({path}, {given:?}): {error}"))?;
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        marker::note(
            "module",
            &Object::new()
                .text("name", module)
                .text("parameters", given)
                .number("ms", milliseconds),
        );
    }
    Ok(())
}

/// Removes one module. Core dumps of its devices go before it: each holds a reference for five minutes
/// (drivers/base/devcoredump.c, `DEVCD_TIMEOUT`).
pub fn remove(name: &str) -> Result<(), String> {
    let discarded = discard_core_dumps();
    if discarded > 0 {
        marker::note("coredump", &Object::new().number("discarded", discarded));
    }
    sys::delete_module(name).map_err(|error| {
        let users = fs::read_to_string(format!("/sys/module/{name}/refcnt")).unwrap_or_default();
        format!("delete_module({name}): {error}; it has {} users", users.trim())
    })
}

/// Discards all device core dumps; writing anything to one is how that is said.
fn discard_core_dumps() -> u64 {
    let dumps = fs::read_dir("/sys/class/devcoredump").into_iter().flatten();
    let discarded = dumps
        .filter_map(|entry| fs::write(entry.ok()?.path().join("data"), "0").ok())
        .count();
    u64::try_from(discarded).unwrap_or(u64::MAX)
}

/// The parameters as the kernel shows them, `name=value`.
pub fn parameters(name: &str) -> Vec<String> {
    let folder = format!("/sys/module/{name}/parameters");
    let mut values: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let value = fs::read_to_string(&path).ok()?;
            Some(format!("{}={}", path.file_name()?.to_str()?, value.trim()))
        })
        .collect();
    values.sort();
    values
}

/// Whether a module was loaded.
pub fn is_loaded(name: &str) -> bool {
    // Built-in modules have a folder too; those with an initstate were loaded.
    Path::new(&format!("/sys/module/{name}/initstate")).exists()
}

/// Reads `amdgpu.ko: ttm.ko drm.ko` as drm, ttm, amdgpu.
fn load_order(dependencies: &str, name: &str) -> Option<Vec<String>> {
    let stem = |file: &str| {
        let base = file.rsplit('/').next().unwrap_or(file);
        base.split(".ko").next().unwrap_or(base).replace('-', "_")
    };
    dependencies.lines().find_map(|line| {
        let (module, needed) = line.split_once(':')?;
        (stem(module) == name).then(|| {
            let mut order: Vec<_> = needed.split_whitespace().rev().map(stem).collect();
            order.push(name.to_owned());
            order
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_loaded_first() {
        let text = "drm.ko:\nttm.ko: drm.ko\nkernel/amdgpu.ko.xz: gpu-sched.ko ttm.ko drm.ko\n";
        assert_eq!(
            load_order(text, "amdgpu").unwrap(),
            ["drm", "ttm", "gpu_sched", "amdgpu"]
        );
        assert_eq!(load_order(text, "drm").unwrap(), ["drm"]);
        assert_eq!(load_order(text, "absent"), None);
    }
}
