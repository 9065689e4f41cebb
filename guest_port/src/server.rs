//! The device on a vhost-user socket: one front end after the other.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::handle::{PortHandle, Shared};
use crate::machine::Machine;
use crate::port::PortSpec;
use crate::ring::{Memory, Rings};

/// Longest ring.
const RING_SIZE: usize = 1024;
/// Pause after a front end could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// A device that cannot be served.
#[derive(Debug, Error)]
pub enum GuestPortError {
    /// The host refused something.
    #[error("cannot {what}")]
    Host {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> GuestPortError {
    move |source| GuestPortError::Host { what, source }
}

/// The device at its socket. It ends when this goes; a front end that is there then loses its connection.
#[derive(Debug)]
pub struct GuestPort {
    shared: Arc<Shared>,
    ports: usize,
    listener: UnixListener,
    /// The connection that there is.
    connection: Arc<Mutex<Connection>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How to end the connection that there is.
#[derive(Default)]
struct Connection(Option<vhost_user_backend::ShutdownHandle>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connection").field(&self.0.is_some()).finish()
    }
}

impl GuestPort {
    /// Serves a device with these ports.
    ///
    /// # Errors
    /// [`GuestPortError`] if the host has no descriptor or thread for it.
    pub fn serve(listener: UnixListener, specs: Vec<PortSpec>) -> Result<Self, GuestPortError> {
        let ports = specs.len();
        let machine = Machine::new(specs);
        let wake = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(failed("make an event descriptor"))?;
        let shared = Arc::new(Shared::new(machine, ports, wake));
        let connection = Arc::new(Mutex::new(Connection::default()));
        let own = listener.try_clone().map_err(failed("copy a descriptor"))?;
        let (serving, current) = (Arc::clone(&shared), Arc::clone(&connection));
        let thread = thread::Builder::new()
            .name("guest-port".to_owned())
            .spawn(move || serve_all(&mut Listener::from(own), &serving, &current))
            .map_err(failed("start a thread"))?;
        Ok(Self {
            shared,
            ports,
            listener,
            connection,
            thread: Some(thread),
        })
    }

    /// The host's side of a port, if there is one of that number.
    pub fn port(&self, number: usize) -> Option<PortHandle> {
        (number < self.ports).then(|| PortHandle::new(Arc::clone(&self.shared), number))
    }
}

impl Drop for GuestPort {
    fn drop(&mut self) {
        self.shared.end();
        // Makes `accept` fail.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &connection.0 {
            handle.shutdown();
        }
        drop(connection);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_all(listener: &mut Listener, shared: &Arc<Shared>, connection: &Mutex<Connection>) {
    let ended = || shared.lock().ended;
    while !ended() {
        let current = |handle| connection.lock().unwrap_or_else(PoisonError::into_inner).0 = handle;
        if let Err(error) = serve_one(listener, shared, current)
            && !ended()
        {
            log::warn!(target: "amdgpu::port", "front end: {error}");
            thread::sleep(PAUSE);
        }
        current(None);
        shared.lock().machine.front_end_gone();
        shared.tell(u64::MAX);
    }
}

/// Serves one front end from its connection to its end.
fn serve_one(
    listener: &mut Listener,
    shared: &Arc<Shared>,
    current: impl FnOnce(Option<vhost_user_backend::ShutdownHandle>),
) -> Result<(), vhost_user_backend::Error> {
    let rings = shared.lock().machine.rings();
    let memory = GuestMemoryAtomic::new(Memory::new());
    let exit = Arc::new(ExitEvent::default());
    let backend = Arc::new(Backend {
        shared: Arc::clone(shared),
        memory: memory.clone(),
        exit: Arc::clone(&exit),
        rings,
    });
    let mut daemon = VhostUserDaemon::new("guest-port-vhost".to_owned(), backend, memory)?;
    daemon.start(listener)?;
    current(daemon.shutdown_handle());
    // Between the two looks somebody may have ended us and found no handle.
    if shared.lock().ended {
        daemon.request_shutdown();
    }
    log::info!(target: "amdgpu::port", "a front end is connected");
    let event = rings as u64 + 1;
    for handler in daemon.get_epoll_handlers() {
        let registered = handler.register_listener(shared.wake.as_raw_fd(), EventSet::IN, event);
        if let Err(error) = registered {
            log::error!(target: "amdgpu::port", "bytes for the guest will wait for its own: {error}");
        }
    }
    shared.wake();
    let result = daemon.wait();
    log::info!(target: "amdgpu::port", "the front end has gone");
    // Its threads end here, and only then the descriptor that they waited at may be closed.
    drop(daemon);
    drop(exit);
    match result {
        // What ends a connection is not ours to judge: a front end that is killed leaves half a message.
        Err(vhost_user_backend::Error::HandleRequest(error)) => {
            log::debug!(target: "amdgpu::port", "the connection ended: {error}");
            Ok(())
        }
        other => other,
    }
}

/// What ends the thread that looks after the rings. Its descriptor is given away for good (`VringEpollHandler` never closes it), so it is
/// remembered and closed here.
#[derive(Debug, Default)]
struct ExitEvent(Mutex<Option<RawFd>>);

impl ExitEvent {
    fn make(&self) -> Option<(EventConsumer, EventNotifier)> {
        let pair = new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC);
        let (consumer, notifier) = pair.ok()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(consumer.as_raw_fd());
        Some((consumer, notifier))
    }
}

impl Drop for ExitEvent {
    #[expect(
        unsafe_code,
        reason = "a descriptor that a library has given up without closing it"
    )]
    fn drop(&mut self) {
        let given_up = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fd) = given_up {
            // SAFETY: the descriptor came out of `EventConsumer::into_raw_fd`, so that nobody else closes it, and the thread that
            // waited at it has ended.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// What the vhost-user library calls.
#[derive(Debug)]
struct Backend {
    shared: Arc<Shared>,
    memory: GuestMemoryAtomic<Memory>,
    exit: Arc<ExitEvent>,
    rings: usize,
}

/// The library's rings with the memory of this moment.
struct Vrings<'a, M> {
    vrings: &'a [VringMutex],
    memory: M,
}

impl<M: std::ops::Deref<Target = Memory>> Rings for Vrings<'_, M> {
    fn with<R>(&mut self, index: usize, run: impl FnOnce(&mut Queue, &Memory) -> R) -> Option<R> {
        let mut vring = self.vrings.get(index)?.get_mut();
        if !vring.is_enabled() || !vring.get_queue().ready() {
            return None;
        }
        Some(run(vring.get_queue_mut(), &self.memory))
    }

    fn signal(&mut self, index: usize) {
        if let Some(vring) = self.vrings.get(index)
            && let Err(error) = vring.signal_used_queue()
        {
            log::debug!(target: "amdgpu::port", "cannot signal ring {index}: {error}");
        }
    }
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        self.rings
    }

    fn max_queue_size(&self) -> usize {
        RING_SIZE
    }

    fn features(&self) -> u64 {
        Machine::features() | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn acked_features(&self, features: u64) {
        self.shared.lock().machine.set_features(features);
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let bytes = self.shared.lock().machine.configuration();
        let range = |offset: u32, size: u32| {
            let from = usize::try_from(offset).ok()?;
            let to = from.checked_add(usize::try_from(size).ok()?)?;
            bytes.get(from..to)
        };
        range(offset, size).unwrap_or_default().to_vec()
    }

    fn update_memory(&self, _memory: GuestMemoryAtomic<Memory>) -> io::Result<()> {
        Ok(())
    }

    fn exit_event(&self, _thread_index: usize) -> Option<(EventConsumer, EventNotifier)> {
        self.exit.make()
    }

    fn stop_vring(&self, index: u32) -> io::Result<()> {
        // Waits for the turn that may be under way.
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.shared.lock().machine.ring_stopped(index);
        Ok(())
    }

    /// An error here would end the thread that looks after the rings: there is none.
    fn handle_event(
        &self,
        _event: u16,
        _events: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        // Whoever wakes us after this finds the counter empty.
        let _ = self.shared.wake.read();
        let mut rings = Vrings {
            vrings,
            memory: self.memory.memory(),
        };
        let turn = self.shared.lock().machine.turn(&mut rings);
        self.shared.tell(turn.news);
        if turn.more {
            self.shared.wake();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
