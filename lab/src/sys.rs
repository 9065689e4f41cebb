//! The few system calls that the standard library lacks.

#![expect(
    unsafe_code,
    reason = "flock, prctl, kill and termios have no safe form in std"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tries to take an exclusive lock on an open file; released when the file is closed.
///
/// `Ok(false)` means that another process holds it.
pub fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
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
