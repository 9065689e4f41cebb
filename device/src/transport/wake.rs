//! Ways for other threads to reach the device thread: stop it, or have it run something.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::event::EventfdFlags;
use thiserror::Error;

/// Most jobs carried out in a row, so that a flood of them holds up no access for long.
const JOBS_PER_TURN: usize = 16;

/// An eventfd that makes a `poll` return.
#[derive(Debug)]
struct Wake(OwnedFd);

impl Wake {
    fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags)?))
    }

    /// A full counter wakes as well as one that was raised now, so there is nothing to report.
    fn raise(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        drain(self.0.as_fd());
    }
}

/// Takes the count of an eventfd, or up to eight bytes of anything else that does not block.
pub(super) fn drain(fd: BorrowedFd<'_>) {
    let _ = rustix::io::read(fd, &mut [0u8; 8]);
}

/// Asks the device thread to stop serving. May be used from any thread, and more than once.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<(AtomicBool, Wake)>);

impl StopHandle {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(Arc::new((AtomicBool::new(false), Wake::new()?))))
    }

    /// Asks. The server returns after the message or engine budget that it is at.
    pub fn stop(&self) {
        let (stopped, wake) = &*self.0;
        stopped.store(true, Ordering::Release);
        wake.raise();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.1.0.as_fd()
    }
}

/// Something to be run on the device thread.
pub type Job<F> = Box<dyn FnOnce(&mut F) + Send>;

/// The device thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the device is not being served any more")]
pub struct MailboxClosed;

/// Lets other threads run something on the device thread, between messages, whether or not a front end is connected. Jobs run in
/// the order of posting, and none of them may block.
pub struct Mailbox<F> {
    jobs: Sender<Job<F>>,
    wake: Arc<Wake>,
}

impl<F> Clone for Mailbox<F> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            wake: Arc::clone(&self.wake),
        }
    }
}

impl<F> fmt::Debug for Mailbox<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl<F> Mailbox<F> {
    /// Posts a job and does not wait for it.
    ///
    /// # Errors
    /// [`MailboxClosed`] if the server is gone.
    pub fn post(&self, job: impl FnOnce(&mut F) + Send + 'static) -> Result<(), MailboxClosed> {
        self.jobs.send(Box::new(job)).map_err(|_| MailboxClosed)?;
        self.wake.raise();
        Ok(())
    }

    /// Posts a job and waits for what it returns.
    ///
    /// # Errors
    /// [`MailboxClosed`] if the server is gone, or stops before the job's turn.
    pub fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut F) -> R + Send + 'static,
    ) -> Result<R, MailboxClosed> {
        let (answer, wait) = mpsc::channel();
        self.post(move |function| {
            // The caller waits below; if it is gone nonetheless, nobody misses the answer.
            let _ = answer.send(job(function));
        })?;
        wait.recv().map_err(|_| MailboxClosed)
    }
}

/// The receiving side of [`Mailbox`].
pub(super) struct Jobs<F> {
    jobs: Receiver<Job<F>>,
    mailbox: Mailbox<F>,
}

impl<F> fmt::Debug for Jobs<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl<F> Jobs<F> {
    pub(super) fn new() -> std::io::Result<Self> {
        let wake = Arc::new(Wake::new()?);
        let (sender, jobs) = mpsc::channel();
        let mailbox = Mailbox { jobs: sender, wake };
        Ok(Self { jobs, mailbox })
    }

    pub(super) fn mailbox(&self) -> Mailbox<F> {
        self.mailbox.clone()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.mailbox.wake.0.as_fd()
    }

    /// Carries out what waits; returns whether there may be more.
    pub(super) fn run(&self, function: &mut F) -> bool {
        for _ in 0..JOBS_PER_TURN {
            match self.jobs.try_recv() {
                Ok(job) => job(function),
                Err(_) => return false,
            }
        }
        true
    }

    /// To be called when [`fd`](Self::fd) is readable, before [`run`](Self::run).
    pub(super) fn clear(&self) {
        self.mailbox.wake.clear();
    }
}
