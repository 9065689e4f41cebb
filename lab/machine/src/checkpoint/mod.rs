//! A guest that is ready for the GPU, kept in a file, from which any number of guests go on.
//!
//! Booting and loading the driver's module take 20 to 40 s under TCG, and are the same for every scenario on a kernel. So a machine with an
//! empty slot is booted once, loads the module (which finds nothing to drive), and is saved as QEMU saves a machine that moves to another
//! host. A scenario's guest goes on from there, the GPU is plugged into its slot, and the driver probes it: the same unmodified kernel, module
//! and probe as after a boot, with a fresh guest for each scenario. Everything before the GPU comes is judged once, when the checkpoint is taken.
//! It is kept for later runs ([`store`]).

pub mod store;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::guest::console::{LINES, LOG, Line, Note};
use serde_json::json;
use store::{Free, Kept, Key, Place, Store};

use crate::accel;
use crate::attach;
use crate::daemon::{Daemon, GPU_SOCKET, PORT_SOCKET};
use crate::host::Watch;
use crate::kernel::Kernel;
use crate::progress::{Progress, Running};
use crate::qemu::{self, Accelerator, Gpu, Machine, Port, Qemu};
use crate::qmp::{Qmp, QmpError};
use crate::root::Disk;
use crate::session::{Reply, Session, SessionError};

/// How long saving or restoring a guest may take.
const MOVE_LIMIT: Duration = Duration::from_secs(120);
/// More bytes a second than any disk takes, in QEMU's range (`MAX_MIGRATE_BANDWIDTH`, an `int64`).
const UNLIMITED: u64 = 1 << 40;
/// Name of the file with the guest's state.
const STATE: &str = "state.bin";
/// Counts the ways in which a guest is brought to its checkpoint and saved: an older lab's are of no use to a newer one.
const FORM: u32 = 1;

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
    /// The cache cannot be used.
    #[error("cannot keep checkpoints in the cache")]
    Store(#[source] io::Error),
    /// A checkpoint that was kept is of no use.
    #[error("the checkpoint in {} cannot be used; --fresh makes a new one", folder.display())]
    Kept {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: QmpError,
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

/// What a guest is booted for, up to the point where it is saved.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// Size of VRAM, for which its slot has room.
    pub vram_size: &'a str,
    /// The parameters with which the module is loaded (none: an empty text); none to leave it out.
    pub module: Option<&'a str>,
    /// What speaks against the log of the boot, if anything does: a guest with something in it is not saved.
    pub objection: Objection,
}

/// What speaks against a log.
pub type Objection = fn(&[Line]) -> Option<String>;

/// A saved guest.
#[derive(Debug)]
pub struct Checkpoint {
    machine: Machine,
    /// With the log of everything before.
    folder: PathBuf,
    kept: Kept,
}

impl Checkpoint {
    /// The one that the cache keeps, or a new one: boots a machine with an empty slot, loads the module, and saves the guest. The logs go to
    /// `folder`. With `fresh` it is a new one, unless guests of another run go on from the one that is kept.
    pub fn get(
        qemu: &Qemu,
        wanted: Wanted<'_>,
        cache: &Path,
        fresh: bool,
        folder: &Path,
        limit: Duration,
        progress: &Progress,
    ) -> Result<Self, NotTaken> {
        let machine = Machine {
            gpu: Gpu::Slot {
                room: room(wanted.vram_size)?,
            },
            port: match wanted.machine.port {
                Port::None => Port::None,
                Port::Plugged { .. } | Port::Slot => Port::Slot,
            },
            ..wanted.machine.clone()
        };
        fs::create_dir_all(folder).map_err(|source| CheckpointError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let folder = fs::canonicalize(folder).map_err(|source| CheckpointError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let store = Store::of(cache);
        let place = (qemu.identity())
            .and_then(|qemu| key(&qemu, &machine, wanted.module))
            .and_then(|key| store.place(key, fresh, progress))
            .map_err(CheckpointError::Store)?;
        let kept = match place {
            Place::Kept(kept) => {
                let since = kept.age().map(age_in_words).unwrap_or_default();
                let running = progress.start("the checkpoint that is kept");
                copy_logs(kept.folder(), &folder).map_err(CheckpointError::Store)?;
                running.done(&since);
                kept
            }
            Place::Free(free) => {
                take(qemu, &machine, &wanted, &free, &folder, limit, progress)?;
                free.keep().map_err(CheckpointError::Store)?
            }
        };
        Ok(Self {
            machine,
            folder,
            kept,
        })
    }

    /// A guest that goes on from here, with the GPU of a device process plugged in. Its logs go to a folder of its own.
    pub fn resume(&self, qemu: &Qemu, daemon: Daemon, folder: &Path) -> Result<Session, CheckpointError> {
        let mut session =
            Session::start_with(qemu, &self.machine, Some(daemon), folder, &["-incoming", "defer"])?;
        session.remember(self.notes().map_err(CheckpointError::Store)?);
        let mut qmp = Qmp::connect(folder, qemu::QMP_SOCKET)?;
        prepare_to_move(&mut qmp)?;
        qmp.execute("migrate-incoming", json!({ "uri": uri(self.kept.folder()) }))?;
        qmp.await_migration("restoring of the guest", MOVE_LIMIT)
            .map_err(|source| CheckpointError::Kept {
                folder: self.kept.folder().to_owned(),
                source,
            })?;
        qmp.execute("device_add", attach::gpu_device(GPU_SOCKET))?;
        if self.machine.port == Port::Slot {
            qmp.execute("chardev-add", attach::port_chardev(PORT_SOCKET))?;
            qmp.execute("device_add", attach::port_device())?;
        }
        // A machine that was saved while it stood still stands still.
        qmp.execute("cont", json!({}))?;
        Ok(session)
    }

    /// What the guest had reported when it was saved.
    fn notes(&self) -> io::Result<Vec<Note>> {
        let text = fs::read_to_string(self.folder.join(LINES))?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok());
        Ok(lines.filter_map(|line| Note::of(&line)).collect())
    }

    /// Where the log of everything before is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Boots the guest, brings it to the point, and saves it.
fn take(
    qemu: &Qemu,
    machine: &Machine,
    wanted: &Wanted<'_>,
    place: &Free,
    folder: &Path,
    limit: Duration,
    progress: &Progress,
) -> Result<(), NotTaken> {
    let running = progress.start("boot up to the GPU, for all that follows");
    let mut session = match Session::start(qemu, machine, None, folder) {
        Ok(session) => session,
        Err(error) => {
            running.failed();
            return Err(CheckpointError::from(error).into());
        }
    };
    let watch = Watch::start(session.processes());
    let result = fill(&mut session, wanted, &place.folder(), folder, limit, &running)
        // A machine that stands still prints nothing more.
        .and_then(|()| copy_logs(folder, &place.folder()).map_err(CheckpointError::Store));
    let waited = watch.end().longest();
    match result {
        Ok(()) => {
            running.done("");
            Ok(())
        }
        Err(error) => {
            running.failed();
            Err(NotTaken { error, waited })
        }
    }
}

fn fill(
    session: &mut Session,
    wanted: &Wanted<'_>,
    place: &Path,
    folder: &Path,
    limit: Duration,
    running: &Running,
) -> Result<(), CheckpointError> {
    session.wait_ready(limit, running)?;
    if let Some(parameters) = wanted.module {
        let order = format!("load amdgpu {parameters}");
        if let Reply::Ended {
            failure: Some(reason),
        } = session.order(order.trim_end(), limit, running)?
        {
            return Err(CheckpointError::Module { reason });
        }
    }
    session.settle();
    if let Some(reason) = (wanted.objection)(session.log()) {
        return Err(CheckpointError::Log { reason });
    }
    let mut qmp = Qmp::connect(folder, qemu::QMP_SOCKET)?;
    qmp.execute("stop", json!({}))?;
    prepare_to_move(&mut qmp)?;
    qmp.execute("migrate", json!({ "uri": uri(place) }))?;
    Ok(qmp.await_migration("saving of the guest", MOVE_LIMIT)?)
}

/// All that makes a guest what it is when it is saved.
fn key(qemu: &str, machine: &Machine, module: Option<&str>) -> io::Result<Key> {
    // The files count by what is in them, wherever they are in this run.
    let nameless = Machine {
        kernel: Kernel {
            configuration: None,
            image: PathBuf::new(),
            ..machine.kernel.clone()
        },
        initramfs: PathBuf::new(),
        root: machine.root.as_ref().map(Disk::nameless),
        ..machine.clone()
    };
    let arguments: Vec<_> = nameless
        .arguments()
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // A processor that is the host's is another one after the host was replaced under the same cache.
    let host = match machine.accelerator {
        Accelerator::Tcg => String::new(),
        Accelerator::Kvm => accel::host()?,
    };
    Key::of(
        &[&machine.kernel.image, &machine.initramfs],
        json!({
            "form": FORM,
            "qemu": qemu,
            "machine": arguments,
            "module": module,
            "host": host,
        }),
    )
}

fn uri(folder: &Path) -> String {
    format!("file:{}", folder.join(STATE).display())
}

/// The console's log of a guest that is saved belongs to the guests that go on.
fn copy_logs(from: &Path, to: &Path) -> io::Result<()> {
    for name in [LOG, LINES] {
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}

fn age_in_words(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s old"),
        seconds @ 120..7200 => format!("{} min old", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h old", seconds / 3600),
        seconds => format!("{} days old", seconds / 86_400),
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
    // QEMU spares the network by itself; here is none.
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": UNLIMITED }))?;
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
    use protocol::guest::root::GuestRoot;

    use super::*;

    #[test]
    fn a_slot_has_room_for_vram_and_more() {
        assert_eq!(room("1G").unwrap(), 2 << 30);
        assert_eq!(room("256M").unwrap(), 512 << 20);
        assert_eq!(room("3221225472").unwrap(), 8 << 30);
    }

    fn disk(identity: &str) -> Disk {
        Disk {
            root: GuestRoot::Debian,
            image: "/c/root.img".into(),
            identity: identity.to_owned(),
        }
    }

    #[test]
    fn whatever_a_boot_takes_gives_another_checkpoint_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, contents: &str| {
            let path = folder.path().join(name);
            fs::write(&path, contents).unwrap();
            path
        };
        let machine = Machine {
            kernel: Kernel {
                configuration: None,
                image: file("bzImage", "kernel"),
                modules: "/k/modules".into(),
                release: "6.1.0".into(),
                version: "6.1.0".into(),
            },
            initramfs: file("initramfs", "init"),
            append: String::new(),
            memory: 2048,
            cpus: 1,
            accelerator: Accelerator::Tcg,
            cpu: None,
            gpu: Gpu::Slot { room: 2 << 30 },
            port: Port::None,
            console: qemu::ConsoleAt::default(),
            root: None,
            extra: vec![],
        };
        let first = key("11.1", &machine, Some("")).unwrap();
        // The same contents in another run's folder.
        let moved = Machine {
            initramfs: file("moved", "init"),
            ..machine.clone()
        };
        assert_eq!(key("11.1", &moved, Some("")).unwrap(), first);

        let with = |change: fn(&mut Machine)| {
            let mut other = machine.clone();
            change(&mut other);
            key("11.1", &other, Some("")).unwrap()
        };
        for other in [
            key("11.2", &machine, Some("")).unwrap(),
            key("11.1", &machine, Some("dpm=0")).unwrap(),
            key("11.1", &machine, None).unwrap(),
            with(|machine| machine.memory = 1024),
            with(|machine| machine.cpus = 2),
            with(|machine| machine.cpu = Some("max".to_owned())),
            with(|machine| machine.append = "quiet".to_owned()),
            with(|machine| machine.gpu = Gpu::Slot { room: 4 << 30 }),
            with(|machine| machine.port = Port::Slot),
            with(|machine| machine.extra = vec!["-S".to_owned()]),
            with(|machine| machine.root = Some(disk("1"))),
        ] {
            assert_ne!(other, first);
        }
        // A root counts by what it is, wherever it is.
        let rooted = with(|machine| machine.root = Some(disk("1")));
        let elsewhere = with(|machine| {
            machine.root = Some(Disk {
                image: "/elsewhere".into(),
                ..disk("1")
            });
        });
        assert_eq!(rooted, elsewhere);
        assert_ne!(rooted, with(|machine| machine.root = Some(disk("2"))));
        file("initramfs", "another module");
        assert_ne!(key("11.1", &machine, Some("")).unwrap(), first);
    }

    #[test]
    fn a_size_that_is_none_is_named() {
        for size in ["", "G", "0", "1T", "one", "18446744073709551615"] {
            let error = room(size).unwrap_err().to_string();
            assert!(error.contains(&format!("{size:?}")), "{error}");
        }
    }
}
