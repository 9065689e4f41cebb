//! System calls that the standard library lacks, each behind a safe function.

#![expect(
    unsafe_code,
    reason = "mount, finit_module, reboot, fork and ioctl have no safe form in std"
)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use protocol::names::ERRNO;

fn text(value: &str) -> io::Result<CString> {
    CString::new(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mounts a virtual file system of this type.
pub fn mount(kind: &str, target: &str) -> io::Result<()> {
    let (kind, target) = (text(kind)?, text(target)?);
    // SAFETY: the strings live through the call; these types take no data.
    let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    check(result.into())
}

/// Mounts a disk, to be read only.
pub fn mount_disk(disk: &str, kind: &str, target: &str) -> io::Result<()> {
    let (disk, kind, target) = (text(disk)?, text(kind)?, text(target)?);
    // SAFETY: the strings live through the call; no data is given.
    let result = unsafe {
        libc::mount(
            disk.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            libc::MS_RDONLY,
            std::ptr::null(),
        )
    };
    check(result.into())
}

/// Makes a folder the same as another one.
pub fn bind(folder: &str, target: &str) -> io::Result<()> {
    let (folder, target) = (text(folder)?, text(target)?);
    // SAFETY: the strings live through the call; a bind mount takes no type and no data.
    let result = unsafe {
        libc::mount(
            folder.as_ptr(),
            target.as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        )
    };
    check(result.into())
}

/// Loads a module from a file. The parameters are those of the command line of `insmod`.
pub fn finit_module(file: &File, parameters: &str) -> io::Result<()> {
    let parameters = text(parameters)?;
    // SAFETY: the descriptor is open and the string lives through the call.
    check(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), parameters.as_ptr(), 0) })
}

/// Removes a module that nobody uses.
pub fn delete_module(name: &str) -> io::Result<()> {
    let name = text(name)?;
    // SAFETY: the string lives through the call.
    check(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })
}

/// What becomes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Power off.
    PowerOff,
    /// Restart, through the firmware.
    Restart,
}

/// Ends the machine's run. Comes back only if the kernel refuses.
pub fn reboot(end: End) -> io::Error {
    let command = match end {
        End::PowerOff => libc::RB_POWER_OFF,
        End::Restart => libc::RB_AUTOBOOT,
    };
    // SAFETY: neither call touches memory.
    unsafe {
        libc::sync();
        libc::reboot(command);
    }
    io::Error::last_os_error()
}

/// A child process of this one.
#[derive(Debug)]
pub struct Child(libc::pid_t);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

/// Runs `work` in a child process and ends the child with what it returns.
///
/// A step that hangs in the kernel, or crashes, so leaves init alive.
pub fn fork(work: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: this process has one thread only, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => std::process::exit(work()),
        pid => Ok(Child(pid)),
    }
}

impl Child {
    /// Whether it has ended, without waiting.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        let mut status = 0;
        // SAFETY: `status` is writable; the pid is that of our child.
        match unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(None),
            _ if libc::WIFSIGNALED(status) => Ok(Some(Exit::Signal(libc::WTERMSIG(status)))),
            _ => Ok(Some(Exit::Status(libc::WEXITSTATUS(status)))),
        }
    }

    /// Waits for its end.
    pub fn wait(&self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end for so long; none if it has not come.
    pub fn wait_for(&self, limit: Duration) -> io::Result<Option<Exit>> {
        let started = Instant::now();
        loop {
            match self.try_wait()? {
                None if started.elapsed() <= limit => std::thread::sleep(Duration::from_millis(10)),
                exit => return Ok(exit),
            }
        }
    }

    /// Where in the kernel it is.
    pub fn stack(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/stack", self.0)).unwrap_or_default()
    }

    /// Ends it by force.
    pub fn kill(&self) {
        // SAFETY: kill touches no memory; the pid is that of our child, not yet waited for.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

/// Has this process end at a SIGBUS, or ignore it.
pub fn handle_bus(ignore: bool) {
    let what = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither action runs code of this process.
    unsafe { libc::signal(libc::SIGBUS, what) };
}

/// Waits until there is something to read, the other end is closed, or the time is over.
pub fn wait_readable(descriptor: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut record = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one valid, exclusively borrowed record with an open descriptor.
    unsafe { libc::poll(&raw mut record, 1, milliseconds) > 0 }
}

/// Stops the terminal from echoing and from rewriting what passes.
pub fn make_raw(terminal: BorrowedFd<'_>) -> io::Result<()> {
    change_terminal(terminal, |settings| {
        settings.c_lflag &= !(libc::ECHO | libc::ECHOE | libc::ECHOK | libc::ECHONL);
    })
}

/// Makes the terminal pass every byte as it is, both ways.
pub fn make_transparent(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `settings` came from tcgetattr.
    change_terminal(terminal, |settings| unsafe { libc::cfmakeraw(settings) })
}

fn change_terminal(terminal: BorrowedFd<'_>, change: impl FnOnce(&mut libc::termios)) -> io::Result<()> {
    // SAFETY: termios is plain integers, for which all zeros is a value.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `settings` is writable.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) }.into())?;
    change(&mut settings);
    // SAFETY: the descriptor is open and `settings` came from tcgetattr.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings) }.into())
}

/// Makes a file the standard input of this process.
pub fn replace_stdin(file: &File) -> io::Result<()> {
    // SAFETY: both descriptors are open, and nobody keeps the old file of the first.
    match unsafe { libc::dup2(file.as_raw_fd(), libc::STDIN_FILENO) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes this process the leader of a session with the console as its terminal, as a shell wants it.
pub fn take_console(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: neither call touches memory; the descriptor is open.
    unsafe {
        libc::setsid();
        check(libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 1).into())
    }
}

/// How long the machine has slept since it was switched on: what one clock has counted and the other has not.
pub fn time_asleep() -> Duration {
    clock(libc::CLOCK_BOOTTIME).saturating_sub(clock(libc::CLOCK_MONOTONIC))
}

fn clock(which: libc::clockid_t) -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(which, &raw mut now) };
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanoseconds)
}

/// An error as all messages have it: with its name first, and its number in the kernel's words.
pub fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{}: {error}", name(number)),
        None => error.to_string(),
    }
}

/// The name of an error number.
pub fn name(number: i32) -> String {
    ERRNO.text(number.unsigned_abs())
}

/// An error number in the same form.
pub fn describe(number: i32) -> String {
    explain(&io::Error::from_raw_os_error(number))
}

/// The kernel's release.
pub fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}
