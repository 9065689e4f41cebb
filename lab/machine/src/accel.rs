//! Whether hardware virtualisation really runs the guest's kernel.
//!
//! `/dev/kvm` can be there and still not run a stock kernel (software forms of KVM, nested ones with missing features).
//! Only a boot tells, so a short one is tried and the answer kept until the host restarts.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use crate::progress::Progress;
use crate::qemu::{Accelerator, Gpu, Machine, Port, Qemu};
use crate::session::Session;

/// A kernel that has not reached init by then will not do so in useful time.
const LIMIT: Duration = Duration::from_secs(15);

/// Chooses for this machine. The machine is booted without the GPU, on an accelerator of our choice.
pub fn choose(
    qemu: &Qemu,
    machine: &Machine,
    cache: &Path,
    scratch: &Path,
    progress: &Progress,
) -> Accelerator {
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        progress.note(&format!("/dev/kvm: {error}; using TCG"));
        return Accelerator::Tcg;
    }
    let answer_file = cache.join("kvm-answers");
    let key = key(qemu, machine);
    if let Some(works) = known(&answer_file, &key) {
        if !works {
            progress.note("/dev/kvm does not run this kernel (tried since the host started); using TCG");
        }
        return if works { Accelerator::Kvm } else { Accelerator::Tcg };
    }
    let works = boots(qemu, machine, scratch, progress);
    // An answer that cannot be kept is found again next time.
    let _ = remember(&answer_file, &key, works);
    if works {
        Accelerator::Kvm
    } else {
        progress.note(&format!(
            "/dev/kvm is there but did not bring this kernel to user space within {} s; using TCG",
            LIMIT.as_secs()
        ));
        Accelerator::Tcg
    }
}

fn boots(qemu: &Qemu, machine: &Machine, scratch: &Path, progress: &Progress) -> bool {
    let trial = Machine {
        accelerator: Accelerator::Kvm,
        gpu: Gpu::None,
        port: Port::None,
        root: None,
        extra: Vec::new(),
        append: String::new(),
        ..machine.clone()
    };
    let running = progress.start("trying /dev/kvm with a short boot");
    let works = fs::create_dir_all(scratch).is_ok()
        && Session::start(qemu, &trial, None, scratch)
            .and_then(|mut session| session.wait_ready(LIMIT, &running))
            .is_ok();
    running.end(if works { "ok" } else { "no" }, "");
    works
}

/// This host since it started.
pub fn host() -> std::io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(boot.trim().to_owned())
}

/// What the answer depends on: the host's boot, the kernel, QEMU.
fn key(qemu: &Qemu, machine: &Machine) -> String {
    format!(
        "{} {} {}",
        host().unwrap_or_default(),
        machine.kernel.release,
        qemu.version.replace(' ', "_")
    )
}

fn known(file: &Path, key: &str) -> Option<bool> {
    let text = fs::read_to_string(file).ok()?;
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .map(|answer| answer == "yes")
}

fn remember(file: &Path, key: &str, works: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{key} {}", if works { "yes" } else { "no" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_counts_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answers");
        assert_eq!(known(&file, "a 6.1"), None);
        remember(&file, "a 6.1", true).unwrap();
        remember(&file, "a 6.12", false).unwrap();
        assert_eq!(known(&file, "a 6.1"), Some(true));
        remember(&file, "a 6.1", false).unwrap();
        assert_eq!(known(&file, "a 6.1"), Some(false));
        assert_eq!(known(&file, "b 6.1"), None);
    }
}
