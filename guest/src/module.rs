//! Loading and removing modules, with what they need, in order.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::{marker, sys};

/// How long the kernel may take to let go of core dumps.
const LETTING_GO: Duration = Duration::from_secs(5);

/// Loads a module after everything that it needs. `parameters` go to the module itself and to nothing else; those on the kernel's
/// command line go before them to each, as modprobe has it.
pub fn load(name: &str, parameters: &str) -> Result<(), String> {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
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
        let all = format!("{} {given}", on_command_line(&command_line, module));
        sys::finit_module(&file, all.trim())
            .map_err(|error| format!("finit_module({path}, {:?}): {error}", all.trim()))?;
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        marker::note(
            "module",
            &Object::new()
                .text("name", module)
                .text("parameters", given)
                .text("srcversion", &attribute(module, "srcversion"))
                .text("build_id", &build_id(module).unwrap_or_default())
                .number("ms", milliseconds),
        );
    }
    Ok(())
}

/// A module's parameters on the kernel's command line: `MODULE.NAME=VALUE`, where dashes and underscores are the same.
fn on_command_line(command_line: &str, module: &str) -> String {
    let of_module = |word: &str| -> Option<String> {
        let (name, parameter) = word.split_once('.')?;
        (name.replace('-', "_") == module.replace('-', "_")).then(|| parameter.to_owned())
    };
    let parameters: Vec<_> = command_line.split_whitespace().filter_map(of_module).collect();
    parameters.join(" ")
}

/// The same for one that a kernel may have built in.
pub fn load_if_there(name: &str) -> Result<(), String> {
    let path = format!("/lib/modules/{}/modules.dep", sys::release());
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    if load_order(&text, name).is_none() {
        return Ok(());
    }
    load(name, "")
}

/// Removes one module. Core dumps of its devices go before it: each holds a reference for five minutes
/// (drivers/base/devcoredump.c, `DEVCD_TIMEOUT`).
pub fn remove(name: &str) -> Result<(), String> {
    let discarded = discard_core_dumps();
    if discarded > 0 {
        marker::note("coredump", &Object::new().number("discarded", discarded));
        // A dump that is discarded is only queued to go (`devcd_data_write`), and its reference goes with it.
        until_zero(LETTING_GO, || users(name).parse().ok());
    }
    sys::delete_module(name).map_err(|error| {
        format!(
            "delete_module({name}): {}; it has {} users",
            sys::explain(&error),
            users(name)
        )
    })
}

/// How many references a module has; nothing if the kernel does not say.
fn users(name: &str) -> String {
    attribute(name, "refcnt")
}

/// The linker's digest of a module that is loaded (`--build-id`), from its ELF note (System V ABI, chapter 5).
fn build_id(module: &str) -> Option<String> {
    let note = fs::read(format!("/sys/module/{module}/notes/.note.gnu.build-id")).ok()?;
    digest_of(&note)
}

/// Sizes of the name and of the digest, a type, "GNU\0", and the digest.
fn digest_of(note: &[u8]) -> Option<String> {
    let (head, rest) = note.split_at_checked(12)?;
    let size = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?);
    let digest = rest.strip_prefix(b"GNU\0")?.get(..usize::try_from(size).ok()?)?;
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the kernel says of a module that is loaded; nothing if it does not.
fn attribute(module: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/sys/module/{module}/{name}")).unwrap_or_default();
    text.trim().to_owned()
}

/// Waits until a count is 0, or cannot be read, or does not become 0 in time.
fn until_zero(limit: Duration, mut count: impl FnMut() -> Option<u64>) {
    let deadline = Instant::now() + limit;
    while count().is_some_and(|count| count > 0) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
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
    fn a_build_id_is_what_follows_the_name_in_its_note() {
        let note = b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0\xab\x01\xff\0";
        assert_eq!(digest_of(note).as_deref(), Some("ab01ff"));
        assert_eq!(digest_of(&note[..17]), None);
        assert_eq!(digest_of(b""), None);
    }

    #[test]
    fn a_module_gets_its_parameters_from_the_kernels_command_line() {
        let line = "quiet amdgpu.reset_method=3 gpu-sched.sched_policy=1 amdgpu.dpm=0 amdgpux.a=1";
        assert_eq!(on_command_line(line, "amdgpu"), "reset_method=3 dpm=0");
        assert_eq!(on_command_line(line, "gpu_sched"), "sched_policy=1");
        assert_eq!(on_command_line(line, "drm"), "");
    }

    #[test]
    fn a_count_is_waited_for_until_it_is_zero_and_no_longer() {
        let mut counts = [Some(2), Some(1), Some(0), Some(1)].into_iter();
        until_zero(Duration::from_secs(3600), || counts.next().flatten());
        assert_eq!(counts.next(), Some(Some(1)));
        let mut asked = 0;
        until_zero(Duration::from_secs(3600), || {
            asked += 1;
            None
        });
        assert_eq!(asked, 1);
        until_zero(Duration::ZERO, || Some(1));
    }

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
