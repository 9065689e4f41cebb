//! Listening at a path: not where somebody else does, not over a file that is no socket, and gone at the end.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use thiserror::Error;

/// A path that cannot be listened at.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Somebody else listens there.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The host refused.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A descriptor is not what it should be.
    #[error("descriptor {number} is {what}, expected a UNIX socket that listens")]
    NoListener {
        /// Its number.
        number: i32,
        /// What it is instead.
        what: String,
    },
    /// Something that is no socket is in the way.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
}

/// A socket file that was made here. It is removed on drop, and only this very file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode number.
    identity: (u64, u64),
}

/// Listens at `path`. A socket file that nobody listens at any more is replaced.
///
/// # Errors
/// [`SocketError`] if the path is in use, is no socket, or cannot be listened at.
pub fn listen(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |source| SocketError::Listen {
        path: path.to_owned(),
        source,
    };
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    Ok((
        listener,
        SocketFile {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        },
    ))
}

/// The socket that this process was started with as a descriptor of this number. It is copied: what else may use the number keeps it.
///
/// # Errors
/// [`SocketError::NoListener`] if it is anything else than a UNIX socket that listens.
#[expect(unsafe_code, reason = "a descriptor that is known by its number only")]
pub fn inherited(number: RawFd) -> Result<UnixListener, SocketError> {
    let wrong = |what: &str| SocketError::NoListener {
        number,
        what: what.to_owned(),
    };
    if number < 0 {
        return Err(wrong("not open"));
    }
    // SAFETY: the number is not -1, and serves one system call that copies what is open there, or says that nothing is.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = rustix::io::fcntl_dupfd_cloexec(given, 0).map_err(|_| wrong("not open"))?;
    let domain = sockopt::socket_domain(&copy).map_err(|_| wrong("no socket"))?;
    if domain != AddressFamily::UNIX || sockopt::socket_type(&copy) != Ok(SocketType::STREAM) {
        return Err(wrong("a socket of another kind"));
    }
    if !sockopt::socket_acceptconn(&copy).unwrap_or(false) {
        return Err(wrong("a socket that does not listen (one end of a connection?)"));
    }
    Ok(copy.into())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!(target: "amdgpu::vfio", "cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the socket file of a process that is gone.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Listen {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let address = SocketAddrUnix::new(path).map_err(|errno| failed(errno.into()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK; // a full queue must not hold us up
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|errno| failed(errno.into()))?;
    match rustix::net::connect(&probe, &address) {
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(SocketError::InUse(path.to_owned())),
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_that_listens_is_served_by_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port.sock");
        let original = UnixListener::bind(&path).unwrap();
        let listener = inherited(original.as_raw_fd()).unwrap();
        drop(original);
        let _client = UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn any_other_descriptor_is_told_by_what_it_is() {
        let (connected, _other) = UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = tempfile::tempfile().unwrap();
        for (number, what) in [
            (connected.as_raw_fd(), "a socket that does not listen"),
            (tcp.as_raw_fd(), "a socket of another kind"),
            (file.as_raw_fd(), "no socket"),
            (i32::MAX, "not open"),
            (-1, "not open"),
        ] {
            let error = inherited(number).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("descriptor {number} is {what}")),
                "{error}"
            );
        }
    }
}
