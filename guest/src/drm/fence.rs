//! How a submission ended, asked from the fence itself.
//!
//! A sync file stays valid when the context, or the whole device, is gone, and tells an error of the fence from an error of
//! asking.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::uapi::SyncFileInfo;
use crate::ioctl::{self, Error};
use crate::sys;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has not.
    Not,
    /// The fence was signalled without an error.
    Completed,
    /// The fence was signalled with this error number.
    Error(i32),
}

impl Ended {
    /// As it is reported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Not => "running",
            Self::Completed => "completed",
            Self::Error(_) => "error",
        }
    }

    /// The error number, 0 if there was none.
    pub const fn errno(self) -> i32 {
        match self {
            Self::Error(number) => number,
            Self::Not | Self::Completed => 0,
        }
    }

    const fn from_status(status: i32) -> Self {
        match status {
            0 => Self::Not,
            1.. => Self::Completed,
            error => Self::Error(error.saturating_neg()),
        }
    }
}

/// The fence of a submission.
#[derive(Debug)]
pub struct Fence {
    file: OwnedFd,
}

impl Fence {
    pub(super) const fn new(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Waits until it is signalled, or the time is over, and tells how it ended.
    pub fn wait(&self, limit: Duration) -> Result<Ended, Error> {
        sys::wait_readable(self.file.as_fd(), limit);
        let mut info = SyncFileInfo::default();
        ioctl::send(&self.file, &mut info, "")?;
        Ok(Ended::from_status(info.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_below_zero_is_an_error_number() {
        assert_eq!(Ended::from_status(0), Ended::Not);
        assert_eq!(Ended::from_status(1), Ended::Completed);
        assert_eq!(Ended::from_status(-125), Ended::Error(125));
        assert_eq!(Ended::from_status(-125).errno(), 125);
    }
}
