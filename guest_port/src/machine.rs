//! The device as a state machine: ports, control messages, rings. No thread, no descriptor, no clock.

use std::collections::VecDeque;

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;

use crate::message::Message;
use crate::port::{Port, PortSpec, Visit};
use crate::ring::{self, Broken, Memory, Rings};
use crate::stream::Item;

/// `VIRTIO_CONSOLE_F_MULTIPORT`
const F_MULTIPORT: u32 = 1;
/// The rings of control messages.
const CONTROL_TO_GUEST: usize = 2;
const CONTROL_FROM_GUEST: usize = 3;
/// Messages that wait for the guest. It gets no answer to what it says while it does not listen to so many.
const MOST_MESSAGES: usize = 64;
/// Messages that are looked at in one turn.
const MESSAGES_PER_TURN: usize = 64;
/// A message that is longer is cut: no guest sends a name.
const LONGEST_MESSAGE: usize = 64;

/// The ring of bytes to the guest; the next one is that of bytes from it.
pub(crate) const fn ring_of(port: usize) -> usize {
    if port == 0 { 0 } else { 2 * port + 2 }
}

/// What a turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// There is more to do at once.
    pub more: bool,
    /// Ports whose host's side has something to read, or room to write: a bit for each, the lowest for the first.
    pub news: u64,
}

/// The bit of a port. Those beyond have one together.
pub(crate) fn bit(port: usize) -> u64 {
    1 << port.min(63)
}

/// What went through a port since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes from the guest.
    pub received: u64,
    /// Bytes to the guest.
    pub sent: u64,
    /// How often the guest opened the port.
    pub sessions: u64,
}

/// The device.
#[derive(Debug)]
pub struct Machine {
    ports: Vec<Port>,
    /// The guest's driver knows of ports; one that does not has the first only, and that is always open.
    multiport: bool,
    control: VecDeque<Message>,
    /// Rings that make no sense, until they start anew.
    broken: Vec<bool>,
    wrong_messages: u64,
    broken_rings: u64,
}

impl Machine {
    /// A device with these ports; the first is the one that drivers use which know of no ports.
    pub fn new(specs: Vec<PortSpec>) -> Self {
        let ports: Vec<_> = specs.into_iter().map(Port::new).collect();
        Self {
            broken: vec![false; 2 * ports.len() + 2],
            ports,
            multiport: false,
            control: VecDeque::new(),
            wrong_messages: 0,
            broken_rings: 0,
        }
    }

    /// How many rings it has.
    pub fn rings(&self) -> usize {
        self.broken.len()
    }

    /// The virtio features that it offers. Not among them is EVENT_IDX: the rings are looked at in turns, and whoever offers it has to
    /// say at each of them when the guest is to speak up again.
    pub const fn features() -> u64 {
        1 << VIRTIO_F_VERSION_1 | 1 << F_MULTIPORT | 1 << VIRTIO_RING_F_INDIRECT_DESC
    }

    /// What the guest's driver chose of them.
    pub fn set_features(&mut self, features: u64) {
        self.multiport = features & (1 << F_MULTIPORT) != 0;
        if !self.multiport
            && let Some(first) = self.ports.first_mut()
        {
            first.open(None);
        }
    }

    /// The configuration space: columns, rows, number of ports, and the emergency write that is not offered.
    pub fn configuration(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let count = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        if let Some(ports) = bytes.get_mut(4..8) {
            ports.copy_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// A ring stops: what it will be when it starts anew is not known.
    pub fn ring_stopped(&mut self, index: usize) {
        if let Some(broken) = self.broken.get_mut(index) {
            *broken = false;
        }
        for (number, port) in self.ports.iter_mut().enumerate() {
            if index == ring_of(number) + 1 {
                port.settle();
            }
        }
    }

    /// The front end, and with it the guest, is gone.
    pub fn front_end_gone(&mut self) {
        self.restart();
        self.broken.fill(false);
        self.multiport = false;
    }

    /// Messages that no guest sends, since the start.
    pub const fn wrong_messages(&self) -> u64 {
        self.wrong_messages
    }

    /// Rings that were given up, since the start.
    pub const fn broken_rings(&self) -> u64 {
        self.broken_rings
    }

    /// What went through a port.
    pub fn totals(&self, port: usize) -> Totals {
        self.ports.get(port).map_or_else(Totals::default, |port| Totals {
            received: port.received,
            sent: port.sent,
            sessions: port.session,
        })
    }

    /// The session in which the guest has a port open.
    pub fn session(&self, port: usize) -> Option<u64> {
        let port = self.ports.get(port)?;
        port.open.then_some(port.session)
    }

    /// Takes what came through a port out.
    pub fn take(&mut self, port: usize, buffer: &mut [u8]) -> Option<Item> {
        self.ports.get_mut(port)?.from_guest.take(buffer)
    }

    /// Whether bytes of the guest wait for the room that was just made: the rings are to be looked at.
    pub(crate) fn waits_for_room(&mut self, port: usize) -> bool {
        self.ports
            .get_mut(port)
            .is_some_and(|port| std::mem::take(&mut port.stalled))
    }

    /// Puts bytes for the guest into a port, as many as fit; none if that is for another session than the present one.
    pub fn put(&mut self, port: usize, session: Option<u64>, bytes: &[u8]) -> Option<usize> {
        let present = self.session(port);
        if session.is_some() && session != present {
            return None;
        }
        Some(self.ports.get_mut(port)?.to_guest.push(bytes))
    }

    /// Does what can be done on all rings.
    pub fn turn(&mut self, rings: &mut impl Rings) -> Turn {
        let mut turn = Turn::default();
        self.hear(rings, &mut turn);
        self.tell(rings, &mut turn);
        for number in 0..self.ports.len() {
            self.visit(rings, ring_of(number) + 1, number, &mut turn, Port::take_from);
            self.visit(rings, ring_of(number), number, &mut turn, Port::give_to);
        }
        turn
    }

    fn visit(
        &mut self,
        rings: &mut impl Rings,
        index: usize,
        number: usize,
        turn: &mut Turn,
        visit: impl FnOnce(&mut Port, &mut virtio_queue::Queue, &Memory) -> Result<Visit, Broken>,
    ) {
        if self.is_broken(index) {
            return;
        }
        let Some(port) = self.ports.get_mut(number) else {
            return;
        };
        match rings.with(index, |queue, memory| visit(port, queue, memory)) {
            None => {}
            Some(Ok(visit)) => {
                if visit.used {
                    rings.signal(index);
                }
                turn.more |= visit.more;
                if visit.news {
                    turn.news |= bit(number);
                }
            }
            Some(Err(Broken)) => self.give_up(index),
        }
    }

    /// Whether a ring is of no use: given up, or not there.
    fn is_broken(&self, index: usize) -> bool {
        self.broken.get(index).is_none_or(|broken| *broken)
    }

    fn give_up(&mut self, index: usize) {
        if let Some(broken) = self.broken.get_mut(index) {
            *broken = true;
            self.broken_rings = self.broken_rings.saturating_add(1);
        }
    }

    /// The driver starts anew: nothing that was said or sent before is for it.
    fn restart(&mut self) {
        self.control.clear();
        for port in &mut self.ports {
            port.restart();
        }
    }

    /// Takes the guest's messages.
    fn hear(&mut self, rings: &mut impl Rings, turn: &mut Turn) {
        let index = CONTROL_FROM_GUEST;
        if self.is_broken(index) {
            return;
        }
        for _ in 0..MESSAGES_PER_TURN {
            let taken = rings.with(index, |queue, memory| {
                let Some(chain) = ring::next(queue, memory)? else {
                    return Ok(None);
                };
                let head = chain.head_index();
                let mut bytes = Vec::new();
                ring::read(chain, memory, 0, LONGEST_MESSAGE, |piece| {
                    bytes.extend_from_slice(piece);
                });
                Ok(Some((head, bytes)))
            });
            let (head, bytes) = match taken {
                None | Some(Ok(None)) => return,
                Some(Ok(Some(taken))) => taken,
                Some(Err(Broken)) => return self.give_up(index),
            };
            match Message::from_guest(&bytes) {
                Ok(message) => self.heard(&message, rings),
                Err(error) => {
                    self.wrong_messages = self.wrong_messages.saturating_add(1);
                    log::debug!(target: "amdgpu::port", "guest error: {error}");
                }
            }
            // Only now: Linux waits for it before it goes on, so that what it does next comes after what it said.
            turn.news = u64::MAX;
            match rings.with(index, |queue, memory| ring::give_back(queue, memory, head, 0)) {
                Some(Ok(())) => rings.signal(index),
                Some(Err(Broken)) => return self.give_up(index),
                None => return,
            }
        }
        turn.more = true;
    }

    fn heard(&mut self, message: &Message, rings: &mut impl Rings) {
        match *message {
            Message::DeviceReady { ready } => {
                self.restart();
                if ready {
                    for port in 0..self.ports.len() {
                        self.say(Message::PortAdd {
                            port: u32::try_from(port).unwrap_or(u32::MAX),
                        });
                    }
                }
            }
            Message::PortReady { port, ready } => self.port_ready(port, ready),
            Message::PortOpen { port, open } => {
                let number = usize::try_from(port).unwrap_or(usize::MAX);
                let Some(known) = self.ports.get_mut(number) else {
                    self.wrong_messages = self.wrong_messages.saturating_add(1);
                    return;
                };
                let index = ring_of(number);
                let behind = rings.with(index + 1, |queue, memory| ring::made_available(queue, memory));
                let behind = behind.flatten();
                if open {
                    known.open(behind);
                } else {
                    let owned = rings.with(index, |queue, memory| ring::owned(queue, memory));
                    known.close(behind, owned);
                }
            }
            _ => {}
        }
    }

    fn port_ready(&mut self, number: u32, ready: bool) {
        let port = usize::try_from(number)
            .ok()
            .and_then(|index| self.ports.get_mut(index));
        let Some(port) = port else {
            self.wrong_messages = self.wrong_messages.saturating_add(1);
            return;
        };
        let new = ready && !port.ready;
        port.ready = ready;
        if !new {
            return;
        }
        let (console, name) = (port.spec.console, port.spec.name.clone());
        if console {
            self.say(Message::ConsolePort { port: number });
        }
        self.say(Message::PortName { port: number, name });
        self.say(Message::PortOpen {
            port: number,
            open: true,
        });
    }

    fn say(&mut self, message: Message) {
        if self.control.len() < MOST_MESSAGES {
            self.control.push_back(message);
        } else {
            self.wrong_messages = self.wrong_messages.saturating_add(1);
        }
    }

    /// Gives the guest our messages.
    fn tell(&mut self, rings: &mut impl Rings, turn: &mut Turn) {
        let index = CONTROL_TO_GUEST;
        if self.is_broken(index) {
            return;
        }
        let mut used = false;
        // A buffer that is too short for a message costs one visit, and there are no more buffers than the ring has.
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.control.front() else {
                break;
            };
            let bytes = message.encode();
            let told = rings.with(index, |queue, memory| {
                let Some(chain) = ring::next(queue, memory)? else {
                    return Ok(None);
                };
                let head = chain.head_index();
                let at = std::cell::Cell::new(0);
                let written = ring::write(
                    chain,
                    memory,
                    bytes.len(),
                    |buffer| {
                        let rest = bytes.get(at.get()..).unwrap_or_default();
                        let count = rest.len().min(buffer.len());
                        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                            to.copy_from_slice(from);
                        }
                        count
                    },
                    |piece| at.set(at.get() + piece.len()),
                );
                ring::give_back(queue, memory, head, written)?;
                Ok(Some(written == bytes.len()))
            });
            match told {
                None | Some(Ok(None)) => break,
                Some(Ok(Some(whole))) => {
                    used = true;
                    if whole {
                        self.control.pop_front();
                    }
                }
                Some(Err(Broken)) => {
                    self.give_up(index);
                    break;
                }
            }
        }
        if used {
            rings.signal(index);
            turn.more |= !self.control.is_empty();
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
