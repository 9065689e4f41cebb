//! A file of huge pages, without privileges and without settings of the host.
//!
//! A memfd takes its page size from the host's settings, which forbid huge pages by default. A tmpfs that is mounted with `huge=always` takes them
//! by itself, and whoever has made a user namespace may mount one. This process must not move into namespaces for that, so a child does
//! it: it makes the namespaces, makes the file system without attaching it anywhere, opens a file in it that has no name, hands the
//! descriptor over, and ends. The file system lives as long as the file (`docs/adr/0005-losing-vram.md`).

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;
use thiserror::Error;

/// There is no file of huge pages to be had.
#[derive(Debug, Error)]
pub enum HugeError {
    /// The kernel refused.
    #[error("cannot {what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The child that was to make it has ended early.
    #[error("the process that makes the file ended without an answer")]
    NoAnswer,
    /// The file system has small pages only.
    #[error("the host forbids huge pages in tmpfs (/sys/kernel/mm/transparent_hugepage/shmem_enabled)")]
    Forbidden,
    /// The size is not a multiple of the huge page's.
    #[error("the size is no multiple of {page:#x}")]
    Size {
        /// Bytes of a huge page.
        page: u64,
    },
}

/// What the child does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Namespaces,
    Ids,
    FileSystem,
    Options,
    Mount,
    File,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Namespaces,
        Self::Ids,
        Self::FileSystem,
        Self::Options,
        Self::Mount,
        Self::File,
    ];

    const fn what(self) -> &'static str {
        match self {
            Self::Namespaces => "make user and mount namespaces",
            Self::Ids => "map the user into its namespace",
            Self::FileSystem => "use tmpfs",
            Self::Options => "make a tmpfs with huge=always",
            Self::Mount => "mount tmpfs",
            Self::File => "open a file in tmpfs",
        }
    }
}

/// All that the child needs. It must not allocate: another thread of this process may have held the allocator's lock when it was made.
struct Plan {
    /// Bytes that the file system may take: nobody who holds the descriptor can make it take more.
    size: CString,
    uid_map: String,
    gid_map: String,
}

/// A file of `size` bytes, and the bytes that a page of it has.
///
/// # Errors
/// [`HugeError`] says what is in the way.
pub(super) fn create(size: u64) -> Result<(File, u64), HugeError> {
    use std::os::unix::fs::MetadataExt;
    let file = File::from(ask_child(size)?);
    let host = |what| move |source| HugeError::Host { what, source };
    // With huge pages switched off it says 4096 here.
    let page = file.metadata().map_err(host("look at the file"))?.blksize();
    if page <= super::PAGE_SIZE {
        return Err(HugeError::Forbidden);
    }
    if !size.is_multiple_of(page) {
        return Err(HugeError::Size { page });
    }
    file.set_len(size).map_err(host("size the file"))?;
    Ok((file, page))
}

fn ask_child(size: u64) -> Result<OwnedFd, HugeError> {
    let host = |what| {
        move |source: Errno| HugeError::Host {
            what,
            source: source.into(),
        }
    };
    let same = |id: u32| format!("{id} {id} 1");
    let plan = Plan {
        size: CString::new(size.to_string()).unwrap_or_default(),
        uid_map: same(rustix::process::geteuid().as_raw()),
        gid_map: same(rustix::process::getegid().as_raw()),
    };
    let (ours, its) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(host("make a socket"))?;
    let child = fork(|| plan.carry_out(its.as_fd())).map_err(host("start a process"))?;
    drop(its);
    let answer = receive(&ours);
    // It may have been reaped by whoever handles SIGCHLD.
    let _ = retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()));
    answer
}

/// Runs `work` in a child process, which ends with it.
#[expect(
    unsafe_code,
    reason = "fork is the only way to a process with this one's memory"
)]
fn fork(work: impl FnOnce()) -> Result<Pid, Errno> {
    // SAFETY: the child has one thread and copies of all locks as they were, so it may only do what a signal handler may. It runs
    // `Plan::carry_out`: system calls on values that exist, no allocation, no lock, no panic; then `_exit`, which runs nothing of ours.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => {
            work();
            // SAFETY: always allowed.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid)
            .filter(|_| pid > 0)
            .ok_or_else(|| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
    }
}

impl Plan {
    /// What the child does.
    fn carry_out(&self, parent: BorrowedFd<'_>) {
        // The answer: a step's number and an error's, or a file.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let answer = match self.file() {
            Ok(file) => {
                let files = [file.as_fd()];
                control.push(SendAncillaryMessage::ScmRights(&files));
                let _ = rustix::net::sendmsg(
                    parent,
                    &[IoSlice::new(&[u8::MAX; 5])],
                    &mut control,
                    SendFlags::NOSIGNAL,
                );
                return;
            }
            Err((step, error)) => {
                let [a, b, c, d] = error.raw_os_error().to_le_bytes();
                [step as u8, a, b, c, d]
            }
        };
        let _ = rustix::net::sendmsg(
            parent,
            &[IoSlice::new(&answer)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
    }

    fn file(&self) -> Result<OwnedFd, (Step, Errno)> {
        let at = |step| move |error| (step, error);
        let apart = self.go_apart();
        let context = match rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            // Without namespaces only the administrator may. What is in the way then are the namespaces.
            Err(error) => return Err(apart.err().unwrap_or((Step::FileSystem, error))),
        };
        let options: [(&CStr, &CStr); 2] = [(c"huge", c"always"), (c"size", &self.size)];
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(context.as_fd(), key, value).map_err(at(Step::Options))?;
        }
        rustix::mount::fsconfig_create(context.as_fd()).map_err(at(Step::Options))?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(at(Step::Mount))?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::openat(mount, c".", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| apart.err().unwrap_or((Step::File, error)))
    }

    /// Moves into namespaces in which this process may mount.
    #[expect(unsafe_code, reason = "unshare of descriptors would be unsafe")]
    fn go_apart(&self) -> Result<(), (Step, Errno)> {
        // SAFETY: descriptors are not unshared, and this process has one thread.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
            .map_err(|error| (Step::Namespaces, error))?;
        // Without an owner that exists in the namespace there can be no file. The kernel wants this before the groups' map of a process
        // without privileges; an old one does not know it.
        let _ = put(c"/proc/self/setgroups", b"deny");
        put(c"/proc/self/uid_map", self.uid_map.as_bytes())
            .and_then(|()| put(c"/proc/self/gid_map", self.gid_map.as_bytes()))
            .map_err(|error| (Step::Ids, error))
    }
}

fn put(path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text).map(|_| ())
}

fn receive(child: &OwnedFd) -> Result<OwnedFd, HugeError> {
    let mut answer = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        rustix::net::recvmsg(
            child,
            &mut [IoSliceMut::new(&mut answer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    });
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    if let Some(file) = file {
        return Ok(file);
    }
    let [step, errno @ ..] = answer;
    let step = Step::ALL.into_iter().find(|known| *known as u8 == step);
    match (received, step) {
        (Ok(message), Some(step)) if message.bytes == answer.len() => Err(HugeError::Host {
            what: step.what(),
            source: io::Error::from_raw_os_error(i32::from_le_bytes(errno)),
        }),
        _ => Err(HugeError::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answer: &[u8]) -> HugeError {
        let (ours, its) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        if !answer.is_empty() {
            rustix::net::send(&its, answer, SendFlags::empty()).unwrap();
        }
        drop(its);
        receive(&ours).unwrap_err()
    }

    #[test]
    fn what_was_in_the_childs_way_is_said() {
        for step in Step::ALL {
            let [a, b, c, d] = Errno::PERM.raw_os_error().to_le_bytes();
            let error = answered(&[step as u8, a, b, c, d]).to_string();
            assert!(error.starts_with(&format!("cannot {}: ", step.what())), "{error}");
            assert!(error.contains("not permitted"), "{error}");
        }
        for nothing in [&[][..], &[0], &[200, 1, 0, 0, 0]] {
            assert!(matches!(answered(nothing), HugeError::NoAnswer));
        }
    }

    #[test]
    fn this_process_stays_in_its_namespaces() {
        let namespaces =
            || ["user", "mnt"].map(|name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = (namespaces(), mounts());
        match create(1 << 30) {
            Ok((file, page)) => assert!(page > 4096 && file.metadata().unwrap().len() == 1 << 30),
            Err(error) => eprintln!("skipped: {error}"),
        }
        assert_eq!((namespaces(), mounts()), before);
    }
}
