//! The host's side of a port, for threads that may wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use crate::machine::{Machine, Totals, bit};
use crate::stream::Item;

/// What threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub machine: Mutex<Inner>,
    /// One for each port: who waits at another is not woken.
    news: Vec<Condvar>,
    /// Wakes the thread that looks after the rings.
    pub wake: EventFd,
}

/// The machine, and whether it is still in use.
#[derive(Debug)]
pub(crate) struct Inner {
    pub machine: Machine,
    pub ended: bool,
    /// Ports whose reader is to look up from its wait.
    nudged: Vec<bool>,
}

impl Shared {
    pub fn new(machine: Machine, ports: usize, wake: EventFd) -> Self {
        Self {
            machine: Mutex::new(Inner {
                machine,
                ended: false,
                nudged: vec![false; ports],
            }),
            news: std::iter::repeat_with(Condvar::new).take(ports).collect(),
            wake,
        }
    }

    /// A thread that panicked here left whole records behind.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rings are to be looked at. A counter that is full wakes as well.
    pub fn wake(&self) {
        let _ = self.wake.write(1);
    }

    /// Wakes who waits at these ports.
    pub fn tell(&self, news: u64) {
        for (port, waiting) in self.news.iter().enumerate() {
            if news & bit(port) != 0 {
                waiting.notify_all();
            }
        }
    }

    /// Waits for news of a port.
    fn wait<'a>(&self, port: usize, inner: MutexGuard<'a, Inner>, limit: Duration) -> MutexGuard<'a, Inner> {
        match self.news.get(port) {
            Some(news) => {
                let waited = news.wait_timeout(inner, limit);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => inner,
        }
    }

    pub fn end(&self) {
        self.lock().ended = true;
        self.tell(u64::MAX);
        self.wake();
    }
}

/// What a port gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Bytes at the start of the buffer, an opening, or a closing.
    Item(Item),
    /// Nothing in time.
    Nothing,
    /// There will never be anything any more.
    Ended,
}

/// The host's side of a port.
#[derive(Debug, Clone)]
pub struct PortHandle {
    shared: Arc<Shared>,
    port: usize,
}

impl PortHandle {
    pub(crate) const fn new(shared: Arc<Shared>, port: usize) -> Self {
        Self { shared, port }
    }

    /// What the guest sent next, or did next. Waits for it for so long.
    ///
    /// Room that this makes is told to the guest: until then it waits, and no byte is lost.
    pub fn receive(&self, buffer: &mut [u8], patience: Duration) -> Received {
        let deadline = Instant::now() + patience;
        let mut inner = self.shared.lock();
        loop {
            if let Some(item) = inner.machine.take(self.port, buffer) {
                let waits = inner.machine.waits_for_room(self.port);
                drop(inner);
                if waits {
                    self.shared.wake();
                }
                return Received::Item(item);
            }
            if inner.ended {
                return Received::Ended;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let nudged = inner.nudged.get_mut(self.port).is_some_and(std::mem::take);
            if left.is_zero() || nudged {
                return Received::Nothing;
            }
            inner = self.shared.wait(self.port, inner, left);
        }
    }

    /// Sends bytes to the guest, within one session if one is given. Waits for room for so long. Gives how many bytes were taken; none
    /// if the session is over.
    pub fn send(&self, session: Option<u64>, bytes: &[u8], patience: Duration) -> Option<usize> {
        let deadline = Instant::now() + patience;
        let mut sent = 0;
        let mut inner = self.shared.lock();
        loop {
            let rest = bytes.get(sent..).unwrap_or_default();
            let count = inner.machine.put(self.port, session, rest)?;
            sent += count;
            if count > 0 {
                self.shared.wake();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if sent >= bytes.len() || inner.ended || left.is_zero() {
                return Some(sent);
            }
            inner = self.shared.wait(self.port, inner, left);
        }
    }

    /// Makes a [`receive`](Self::receive) that waits, or the next one, give nothing at once.
    pub fn nudge(&self) {
        if let Some(nudged) = self.shared.lock().nudged.get_mut(self.port) {
            *nudged = true;
        }
        self.shared.tell(bit(self.port));
    }

    /// The session in which the guest has the port open.
    pub fn session(&self) -> Option<u64> {
        self.shared.lock().machine.session(self.port)
    }

    /// Whether nothing will come any more.
    pub fn ended(&self) -> bool {
        self.shared.lock().ended
    }

    /// What went through the port.
    pub fn totals(&self) -> Totals {
        self.shared.lock().machine.totals(self.port)
    }
}
