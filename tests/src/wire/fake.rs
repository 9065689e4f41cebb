//! A function that remembers what was asked of it, and the thread that serves it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use device::memory::{GuestMemory, Vram, VramError};
use device::transport::vfio_user::{Listener, Options, ServeError, Server};
use device::transport::{
    Activity, DmaRange, Mailbox, PciFunction, Region, RegionInfo, RequestError, StopHandle,
};
use vmm_sys_util::eventfd::EventFd;

use super::PATIENCE;

/// Index of MSI.
pub const MSI: u32 = 1;
/// Index of the error interrupt.
pub const ERR: u32 = 3;
/// How many MSI vectors [`Fake`] has.
pub const MSI_COUNT: usize = 6;
/// Size of [`Fake`]'s BAR 0 (memory that may be mapped) in bytes.
pub const BAR0_SIZE: u64 = 1 << 20;
/// Size of [`Fake`]'s BAR 2 (a buffer that takes any access) in bytes.
pub const BAR2_SIZE: u64 = 2 << 20;
/// Size of [`Fake`]'s read-only ROM in bytes.
pub const ROM_SIZE: u64 = 2048;

/// A function that remembers what was asked of it.
#[derive(Debug)]
pub struct Fake {
    /// What BAR 0 maps.
    pub vram: Vram,
    /// What is behind BAR 2.
    pub buffer: Vec<u8>,
    /// What the client mapped.
    pub guest: GuestMemory,
    /// MSI vectors.
    pub vectors: Vec<Option<EventFd>>,
    /// Resets seen.
    pub resets: usize,
    /// Disconnections seen.
    pub disconnections: usize,
    /// Lengths of the accesses seen.
    pub accesses: Vec<usize>,
    /// Vectors that were triggered without descriptors.
    pub triggered: Vec<u32>,
    /// How often the engines ran.
    pub runs: usize,
    /// The same, to be watched without a job that would itself wake the server.
    pub watched_runs: Arc<AtomicUsize>,
    /// What they say afterwards.
    pub activity: Activity,
    /// If set, accesses fail with an I/O error that carries this errno.
    pub broken: Option<i32>,
}

impl Fake {
    /// A function with everything at zero and idle engines.
    ///
    /// # Errors
    /// If the host has no memory for it.
    pub fn new() -> Result<Self, VramError> {
        Ok(Self {
            vram: Vram::new(BAR0_SIZE)?,
            buffer: vec![0; usize::try_from(BAR2_SIZE).unwrap_or_default()],
            guest: GuestMemory::new(),
            vectors: (0..MSI_COUNT).map(|_| None).collect(),
            resets: 0,
            disconnections: 0,
            accesses: Vec::new(),
            triggered: Vec::new(),
            runs: 0,
            watched_runs: Arc::default(),
            activity: Activity::Idle,
            broken: None,
        })
    }

    fn part(&mut self, offset: u64, len: usize) -> Result<&mut [u8], RequestError> {
        self.accesses.push(len);
        if let Some(errno) = self.broken {
            return Err(RequestError::Host {
                what: "broken on purpose",
                source: io::Error::from_raw_os_error(errno),
            });
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        self.buffer
            .get_mut(start..start.saturating_add(len))
            .ok_or(RequestError::Invalid("the transport let a bad access through"))
    }
}

impl PciFunction for Fake {
    fn region(&self, region: Region) -> Result<RegionInfo, RequestError> {
        let (size, writable) = match region {
            Region::Bar(0) => (BAR0_SIZE, true),
            Region::Bar(2) => (BAR2_SIZE, true),
            Region::Rom => (ROM_SIZE, false),
            Region::Config => (4096, true),
            Region::Bar(_) => (0, false),
        };
        let mmap = match region {
            Region::Bar(0) => {
                let file = self.vram.share().map_err(|source| RequestError::Host {
                    what: "cannot share VRAM",
                    source,
                })?;
                Some((file, 0))
            }
            _ => None,
        };
        Ok(RegionInfo {
            size,
            readable: true,
            writable,
            mmap,
        })
    }

    fn irq_count(&self, index: u32) -> u32 {
        match index {
            MSI => u32::try_from(self.vectors.len()).unwrap_or_default(),
            ERR => 1,
            _ => 0,
        }
    }

    fn read(&mut self, _region: Region, offset: u64, data: &mut [u8]) -> Result<(), RequestError> {
        let part = self.part(offset, data.len())?;
        data.copy_from_slice(part);
        Ok(())
    }

    fn write(&mut self, _region: Region, offset: u64, data: &[u8]) -> Result<(), RequestError> {
        self.part(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn dma_map(&mut self, range: DmaRange) -> Result<(), RequestError> {
        self.guest.add(range)
    }

    fn dma_unmap(&mut self, address: u64, size: u64, all: bool) -> Result<(), RequestError> {
        if all {
            self.guest.remove_all();
            return Ok(());
        }
        self.guest.remove(address, size)
    }

    fn set_irqs(
        &mut self,
        index: u32,
        first: u32,
        vectors: Vec<Option<EventFd>>,
    ) -> Result<(), RequestError> {
        if index != MSI {
            return Ok(());
        }
        if vectors.is_empty() {
            self.vectors.fill_with(|| None);
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (slot, vector) in self.vectors.iter_mut().skip(first).zip(vectors) {
            *slot = vector;
        }
        Ok(())
    }

    fn trigger_irqs(&mut self, _index: u32, first: u32, count: u32) -> Result<(), RequestError> {
        self.triggered.extend(first..first + count);
        Ok(())
    }

    fn reset(&mut self) {
        self.resets += 1;
    }

    fn disconnected(&mut self) {
        self.disconnections += 1;
        self.guest.clear();
        self.vectors.fill_with(|| None);
    }

    fn run(&mut self) -> Activity {
        self.runs += 1;
        self.watched_runs.store(self.runs, Ordering::Relaxed);
        self.activity
    }
}

/// A served [`Fake`].
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens; empty if it serves a socket pair.
    pub path: PathBuf,
    /// Runs things on its thread.
    pub mailbox: Mailbox<Fake>,
    /// Stops it.
    pub stop: StopHandle,
    thread: JoinHandle<(Fake, Result<(), ServeError>)>,
}

impl Daemon {
    /// Serves `fake` on a thread of its own.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn start(fake: Fake, listener: Listener, options: Options) -> Result<Self, ServeError> {
        let mut server = Server::new(listener, options)?;
        let (mailbox, stop) = (server.mailbox(), server.stop_handle());
        let thread = std::thread::spawn(move || {
            let mut fake = fake;
            let result = server.serve(&mut fake);
            (fake, result)
        });
        Ok(Self {
            path: PathBuf::new(),
            mailbox,
            stop,
            thread,
        })
    }

    /// Listens in a directory.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn listen(fake: Fake, directory: &Path) -> Result<Self, ServeError> {
        let path = directory.join("vfio.sock");
        let daemon = Self::start(fake, Listener::bind(&path)?, Options::default())?;
        Ok(Self { path, ..daemon })
    }

    /// Looks at the function.
    ///
    /// # Panics
    /// If the server is gone: the test has failed.
    #[expect(clippy::expect_used, reason = "for tests only")]
    pub fn ask<R: Send + 'static>(&self, question: impl FnOnce(&mut Fake) -> R + Send + 'static) -> R {
        self.mailbox.call(question).expect("the server is gone")
    }

    /// Waits until the function is in a state that other threads bring about.
    pub fn wait_until(&self, condition: impl Fn(&Fake) -> bool + Clone + Send + 'static) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let condition = condition.clone();
            if self.ask(move |fake| condition(fake)) {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    /// Waits for the server to return by itself.
    ///
    /// # Panics
    /// If its thread panicked: the test has failed.
    #[expect(clippy::expect_used, reason = "for tests only")]
    pub fn join(self) -> (Fake, Result<(), ServeError>) {
        self.thread.join().expect("the server panicked")
    }

    /// Stops the server and returns the function.
    ///
    /// # Panics
    /// If its thread panicked: the test has failed.
    pub fn finish(self) -> (Fake, Result<(), ServeError>) {
        self.stop.stop();
        self.join()
    }
}
