//! The one place where the kernel is called.

#![expect(unsafe_code, reason = "ioctl and mmap have no safe form in std")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use crate::sys;

/// A structure that goes with one ioctl number.
pub trait Request {
    /// Type of the request: whose numbers these are.
    const TYPE: u8;
    /// Number; the size is the structure's.
    const NUMBER: u8;
    /// Whether the kernel writes back.
    const READS_BACK: bool;
    /// The name for messages.
    const NAME: &'static str;
}

/// Ties a structure to its number, among the requests of the `TYPE` that the module has.
macro_rules! request {
    ($type:ty, $number:expr, $reads_back:expr, $name:literal) => {
        impl Request for $type {
            const TYPE: u8 = TYPE;
            const NUMBER: u8 = $number;
            const READS_BACK: bool = $reads_back;
            const NAME: &'static str = $name;
        }
    };
}
pub(crate) use request;

/// Sends a request; `arguments` says what was asked, for the message of an error.
///
/// Pointers in the request are the caller's: only the folders of the interfaces send requests, and they only put addresses of values there that live
/// through the call, with their true sizes.
pub fn send<R: Request>(file: &impl AsRawFd, request: &mut R, arguments: &str) -> Result<(), Error> {
    let number = number::<R>();
    loop {
        // SAFETY: the descriptor is open, and `request` is a structure of the size that the number tells the kernel.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), number, std::ptr::from_mut(request)) };
        if result == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        if !matches!(source.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
            return Err(Error::new(R::NAME, arguments, source));
        }
    }
}

/// The number of a request (asm-generic/ioctl.h): direction in 31:30 (1 write, 2 read), size in 29:16, type in 15:8,
/// number in 7:0.
pub const fn number<R: Request>() -> u64 {
    let direction = if R::READS_BACK { 3 } else { 1 };
    (direction << 30) | ((size_of::<R>() as u64) << 16) | ((R::TYPE as u64) << 8) | R::NUMBER as u64
}

/// A request that the kernel refused.
#[derive(Debug)]
pub struct Error {
    request: &'static str,
    arguments: String,
    source: io::Error,
    hint: Option<&'static str>,
}

impl Error {
    /// For a call that is no request.
    pub fn new(call: &'static str, arguments: &str, source: io::Error) -> Self {
        Self {
            request: call,
            arguments: arguments.to_owned(),
            source,
            hint: None,
        }
    }

    /// The same, with what it means if it is one of these errors.
    pub fn with_hints(self, hints: &[(i32, &'static str)]) -> Self {
        let hint = hints.iter().find(|(code, _)| *code == self.code());
        Self {
            hint: hint.map(|(_, hint)| *hint),
            ..self
        }
    }

    /// The error number.
    pub fn code(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}({}): {}",
            self.request,
            self.arguments,
            sys::explain(&self.source)
        )?;
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

/// Memory of a buffer: a shared mapping of the driver's, or our own.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes at an offset that the driver gave.
    pub fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        let offset =
            libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Self::map(length, libc::MAP_SHARED, file.as_raw_fd(), offset)
    }

    /// Memory of this process alone, in small pages that are not there until they are touched.
    pub fn anonymous(length: usize) -> io::Result<Self> {
        let mapping = Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
        // SAFETY: the mapping is ours, and the advice changes no contents.
        let advised = unsafe { libc::madvise(mapping.start.as_ptr().cast(), length, libc::MADV_NOHUGEPAGE) };
        match advised {
            0 => Ok(mapping),
            // A kernel without huge pages does not know the advice and does not need it.
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::EINVAL) => Ok(mapping),
                error => Err(error),
            },
        }
    }

    fn map(length: usize, flags: i32, descriptor: i32, offset: libc::off_t) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                descriptor,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { start, length })
    }

    /// The address in this process, for a request that names it.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Copies bytes in. They must fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        self.contains(offset, bytes.len()).then(|| {
            // SAFETY: the range was checked to lie in the mapping, which no reference points into.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(offset), bytes.len());
            };
        })
    }

    /// Copies bytes out. They must be there.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Option<()> {
        self.contains(offset, bytes.len()).then(|| {
            // SAFETY: as in `write`; the GPU may write at the same time, which can only give other bytes.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    self.start.as_ptr().add(offset),
                    bytes.as_mut_ptr(),
                    bytes.len(),
                );
            };
        })
    }

    fn contains(&self, offset: usize, length: usize) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.length)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing points into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Takes over a descriptor that the kernel has just made for us.
pub fn take_descriptor(descriptor: RawFd) -> Option<OwnedFd> {
    // SAFETY: the kernel installed it for this process as the answer to a request, and nobody else knows its number.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The time of the monotonic clock in nanoseconds, which `WAIT_CS` counts in.
pub fn monotonic_nanoseconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
