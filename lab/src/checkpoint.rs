//! A guest that is ready for the GPU, kept in a file, from which any number of guests go on.
//!
//! Booting and loading the driver's module take 20 to 40 s under TCG, and are the same for every scenario on a kernel. So a machine with an
//! empty slot is booted once, loads the module (which finds nothing to drive), and is saved as QEMU saves a machine that moves to another
//! host. A scenario's guest goes on from there, the GPU is plugged into its slot, and the driver probes it: the same unmodified kernel, module
//! and probe as after a boot, with a fresh guest for each scenario. Everything before the GPU comes is judged once, when the checkpoint is taken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::attach;
use crate::daemon::{Daemon, GPU_SOCKET, PORT_SOCKET};
use crate::host::Watch;
use crate::progress::Progress;
use crate::qemu::{self, Gpu, Machine, Port, Qemu};
use crate::qmp::{Qmp, QmpError};
use crate::session::{Reply, Session, SessionError};
use crate::verdict::{self, Expectations};

/// How long saving or restoring a guest may take.
const MOVE_LIMIT: Duration = Duration::from_secs(120);
/// Name of the file with the guest's state.
const STATE: &str = "state.bin";

/// Why there is no checkpoint, or no guest that goes on from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// How much room the GPU needs is not known.
    #[error("{size:?} is no size of VRAM such as 1G, so that no slot for it can be made")]
    Size {
        /// The text.
        size: String,
    },
    /// The guest did not get there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The module was not loaded.
    #[error("the module was not loaded: {reason}")]
    Module {
        /// Why.
        reason: String,
    },
    /// The kernel's log is not clean.
    #[error("the kernel's log is not clean before there is a GPU: {reason}")]
    Log {
        /// The first reason.
        reason: String,
    },
    /// The monitor.
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

/// A guest that was not saved.
#[derive(Debug)]
pub struct NotTaken {
    /// Why.
    pub error: CheckpointError,
    /// The longest that a thread of the guest had waited for the host by then.
    pub waited: Duration,
}

impl From<CheckpointError> for NotTaken {
    fn from(error: CheckpointError) -> Self {
        Self {
            error,
            waited: Duration::ZERO,
        }
    }
}

/// A saved guest. Its file goes when this value is dropped; the console's log stays.
#[derive(Debug)]
pub struct Checkpoint {
    machine: Machine,
    folder: PathBuf,
}

impl Checkpoint {
    /// Boots a machine with an empty slot, loads the module with these parameters (none to leave it out), and saves the guest.
    pub fn take(
        qemu: &Qemu,
        machine: &Machine,
        vram_size: &str,
        module: Option<&str>,
        folder: &Path,
        limit: Duration,
        progress: &Progress,
    ) -> Result<Self, NotTaken> {
        let machine = Machine {
            gpu: Gpu::Slot {
                room: room(vram_size)?,
            },
            port: match machine.port {
                Port::None => Port::None,
                Port::Plugged { .. } | Port::Slot => Port::Slot,
            },
            ..machine.clone()
        };
        fs::create_dir_all(folder).map_err(|source| CheckpointError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let folder = fs::canonicalize(folder).map_err(|source| CheckpointError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let checkpoint = Self { machine, folder };
        let running = progress.start("boot up to the GPU, for all scenarios");
        let mut session = match Session::start(qemu, &checkpoint.machine, None, &checkpoint.folder) {
            Ok(session) => session,
            Err(error) => {
                running.failed();
                return Err(CheckpointError::from(error).into());
            }
        };
        let watch = Watch::start(session.processes());
        let result = checkpoint.fill(&mut session, module, limit, &running);
        let waited = watch.end().longest();
        match result {
            Ok(()) => {
                running.done("");
                Ok(checkpoint)
            }
            Err(error) => {
                running.failed();
                Err(NotTaken { error, waited })
            }
        }
    }

    fn fill(
        &self,
        session: &mut Session,
        module: Option<&str>,
        limit: Duration,
        running: &crate::progress::Running,
    ) -> Result<(), CheckpointError> {
        session.wait_ready(limit, running)?;
        if let Some(parameters) = module {
            let order = format!("load amdgpu {parameters}");
            if let Reply::Ended {
                failure: Some(reason),
            } = session.order(order.trim_end(), limit, running)?
            {
                return Err(CheckpointError::Module { reason });
            }
        }
        session.settle();
        let findings = verdict::judge(session.log(), &Expectations::default());
        if let Some(reason) = verdict::reasons(&findings).into_iter().next() {
            return Err(CheckpointError::Log { reason });
        }
        let mut qmp = Qmp::connect(&self.folder, qemu::QMP_SOCKET)?;
        qmp.execute("stop", json!({}))?;
        prepare_to_move(&mut qmp)?;
        qmp.execute("migrate", json!({ "uri": self.uri() }))?;
        Ok(qmp.await_migration("saving of the guest", MOVE_LIMIT)?)
    }

    /// A guest that goes on from here, with the GPU of a device process plugged in. Its logs go to a folder of its own.
    pub fn resume(&self, qemu: &Qemu, daemon: Daemon, folder: &Path) -> Result<Session, CheckpointError> {
        let session =
            Session::start_with(qemu, &self.machine, Some(daemon), folder, &["-incoming", "defer"])?;
        let mut qmp = Qmp::connect(folder, qemu::QMP_SOCKET)?;
        prepare_to_move(&mut qmp)?;
        qmp.execute("migrate-incoming", json!({ "uri": self.uri() }))?;
        qmp.await_migration("restoring of the guest", MOVE_LIMIT)?;
        qmp.execute("device_add", attach::gpu_device(GPU_SOCKET))?;
        if self.machine.port == Port::Slot {
            qmp.execute("chardev-add", attach::port_chardev(PORT_SOCKET))?;
            qmp.execute("device_add", attach::port_device())?;
        }
        // A machine that was saved while it stood still stands still.
        qmp.execute("cont", json!({}))?;
        Ok(session)
    }

    /// Where the log of everything before is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn uri(&self) -> String {
        format!("file:{}", self.folder.join(STATE).display())
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // Hundreds of megabytes that a boot makes again.
        let _ = fs::remove_file(self.folder.join(STATE));
    }
}

/// Both sides have to say the same about the form of the file: here pages have fixed places in it, so that several threads read and
/// write it.
fn prepare_to_move(qmp: &mut Qmp) -> Result<(), QmpError> {
    let capabilities = ["mapped-ram", "multifd"].map(|name| json!({ "capability": name, "state": true }));
    qmp.execute(
        "migrate-set-capabilities",
        json!({ "capabilities": capabilities }),
    )?;
    Ok(())
}

/// The address space that a slot needs: VRAM, at a multiple of its size, and the doorbells behind it.
fn room(vram_size: &str) -> Result<u64, CheckpointError> {
    let error = || CheckpointError::Size {
        size: vram_size.to_owned(),
    };
    let digits = vram_size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match vram_size.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(error()),
    };
    let size: u64 = digits.parse().map_err(|_| error())?;
    size.checked_mul(1 << shift)
        .filter(|size| *size > 0)
        .and_then(u64::checked_next_power_of_two)
        .and_then(|size| size.checked_mul(2))
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_room_for_vram_and_more() {
        assert_eq!(room("1G").unwrap(), 2 << 30);
        assert_eq!(room("256M").unwrap(), 512 << 20);
        assert_eq!(room("3221225472").unwrap(), 8 << 30);
    }

    #[test]
    fn a_size_that_is_none_is_named() {
        for size in ["", "G", "0", "1T", "one", "18446744073709551615"] {
            let error = room(size).unwrap_err().to_string();
            assert!(error.contains(&format!("{size:?}")), "{error}");
        }
    }
}
