//! The few system calls that the standard library lacks.

#![expect(
    unsafe_code,
    reason = "flock, prctl, sched_setaffinity, kill and termios have no safe form in std"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Who else may hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// All who take it shared.
    Shared,
    /// None.
    Exclusive,
}

/// Tries to take a lock on an open file, or to change the one that is held; released when the file is closed.
///
/// `Ok(false)` means that another process holds it.
pub fn try_lock(file: &File, lock: Lock) -> io::Result<bool> {
    let operation = match lock {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    if unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK) => Ok(false),
        _ => Err(error),
    }
}

/// Makes a child start in a process group of its own and die with the thread that starts it.
///
/// The group keeps the terminal's Ctrl-C away from the child: the lab ends its children itself, in order.
pub fn contain(command: &mut Command) -> &mut Command {
    command.process_group(0);
    // SAFETY: prctl and getppid are async-signal-safe and touch no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        })
    }
}

/// Numbers of the processors that this process may run on.
pub fn allowed_processors() -> Vec<usize> {
    // SAFETY: a processor set is plain integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid, exclusively borrowed and of the size that is given.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } != 0 {
        // More processors than the set has room for: whoever has so many needs no help.
        return Vec::new();
    }
    let most = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: every number is below the size of the set.
    (0..most)
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect()
}

/// Makes a child run on one processor only. Its number is one of [`allowed_processors`].
pub fn confine(command: &mut Command, core: usize) {
    // SAFETY: a processor set is plain integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if usize::try_from(libc::CPU_SETSIZE).is_ok_and(|most| core < most) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: sched_setaffinity is async-signal-safe, and the set was copied into the closure.
    unsafe {
        command.pre_exec(move || {
            // It also runs where this is refused.
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
            Ok(())
        });
    }
}

/// Sends a signal to the process group led by `leader`. A group that is gone is no error.
pub fn signal_group(leader: u32, signal: i32) {
    if let Ok(group) = libc::pid_t::try_from(leader)
        && group > 1
    {
        // SAFETY: kill has no memory effects; a group above 1 is neither "all" nor our own.
        unsafe { libc::kill(-group, signal) };
    }
}

/// The terminal on standard input in raw mode; restored when dropped.
#[derive(Debug)]
pub struct RawTerminal {
    saved: SavedTermios,
}

struct SavedTermios(libc::termios);

impl std::fmt::Debug for SavedTermios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SavedTermios")
    }
}

impl RawTerminal {
    /// Switches standard input to raw mode.
    pub fn enter() -> io::Result<Self> {
        // SAFETY: termios is plain integers, for which all zeros is a value.
        let mut current: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: `current` is a valid, exclusively borrowed termios.
        if unsafe { libc::tcgetattr(0, &raw mut current) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut raw = current;
        // SAFETY: `raw` is a valid termios.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        // SAFETY: `raw` is a valid termios.
        if unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw const raw) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            saved: SavedTermios(current),
        })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // SAFETY: the saved termios came from tcgetattr.
        unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw const self.saved.0) };
    }
}

/// Waits until standard input has something to read, or the time is over.
pub fn wait_for_input(limit: std::time::Duration) -> bool {
    let mut descriptor = libc::pollfd {
        fd: 0,
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one valid, exclusively borrowed descriptor record.
    unsafe { libc::poll(&raw mut descriptor, 1, milliseconds) > 0 }
}

/// Whether this process runs as the superuser.
pub fn is_root() -> bool {
    // SAFETY: geteuid always succeeds and touches no memory.
    unsafe { libc::geteuid() == 0 }
}
