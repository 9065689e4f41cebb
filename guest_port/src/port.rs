//! One port: what it holds in either direction, and what is known about the guest's side of it.

use std::collections::VecDeque;

use virtio_queue::{Queue, QueueT};

use crate::ring::{self, Broken, Memory};
use crate::stream::Stream;

/// Bytes that a port holds in each direction.
pub(crate) const CAPACITY: usize = 64 << 10;
/// Unread bytes that are kept over a closing.
const MOST_UNREAD: usize = 64 << 10;
/// Openings and closings that wait for bytes before them. A guest that makes more gets them out of place.
const MOST_WAITING: usize = 64;
/// Chains that are looked at in one turn.
const CHAINS_PER_TURN: usize = 64;
/// Bytes that are copied in one turn.
const BYTES_PER_TURN: usize = 256 << 10;

/// What a port is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name in the guest (`/dev/virtio-ports/NAME`).
    pub name: String,
    /// Whether it is a console (`hvcN`).
    pub console: bool,
    /// Whether bytes that the guest got and did not read before it closed the port are given back to the host's side.
    pub keeps_unread: bool,
}

/// An opening or a closing that has its place behind bytes which are still in the ring.
#[derive(Debug)]
enum Waiting {
    Opened(u64),
    Closed(Vec<u8>),
}

/// What one visit to a ring did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Visit {
    /// The guest has buffers back.
    pub used: bool,
    /// There was more to do than one visit may.
    pub more: bool,
    /// The host's side has something to read, or room to write.
    pub news: bool,
}

/// One port.
#[derive(Debug)]
pub(crate) struct Port {
    pub spec: PortSpec,
    /// The guest's driver knows it.
    pub ready: bool,
    /// Somebody in the guest has it open.
    pub open: bool,
    /// Counts the openings.
    pub session: u64,
    pub from_guest: Stream,
    pub to_guest: Stream,
    /// The guest may have more than there was room for.
    pub stalled: bool,
    /// Bytes taken from the guest and given to it, since the start.
    pub received: u64,
    pub sent: u64,
    /// The chain that is read only in part: its place in the ring, and how much of it was read.
    part: Option<(u16, u64)>,
    /// Openings and closings, with the place in the ring before which they happened.
    waiting: VecDeque<(u16, Waiting)>,
    /// What the latest buffers that the guest got hold.
    given: VecDeque<Vec<u8>>,
    given_bytes: usize,
    /// The most buffers that we ever had at once: all that the guest has for this port.
    most_owned: u16,
}

impl Port {
    pub fn new(spec: PortSpec) -> Self {
        Self {
            spec,
            ready: false,
            open: false,
            session: 0,
            from_guest: Stream::new(CAPACITY),
            to_guest: Stream::new(CAPACITY),
            stalled: false,
            received: 0,
            sent: 0,
            part: None,
            waiting: VecDeque::new(),
            given: VecDeque::new(),
            given_bytes: 0,
            most_owned: 0,
        }
    }

    /// The guest's driver starts anew, or is gone: what it has not got yet is not for its successor.
    pub fn restart(&mut self) {
        self.settle();
        if self.open {
            self.open = false;
            self.from_guest.closed(Vec::new());
        }
        self.ready = false;
        self.part = None;
        self.to_guest.take_all();
        self.forget_given();
        self.most_owned = 0;
    }

    /// The guest opens the port. `behind` is how far it has made buffers available.
    pub fn open(&mut self, behind: Option<u16>) {
        if self.open {
            return;
        }
        self.open = true;
        self.session = self.session.saturating_add(1);
        self.wait(behind, Waiting::Opened(self.session));
    }

    /// The guest closes it. `owned` is how many of its buffers for our bytes we have.
    pub fn close(&mut self, behind: Option<u16>, owned: Option<u16>) {
        if !self.open {
            return;
        }
        self.open = false;
        let unread = self.unread(owned);
        self.wait(behind, Waiting::Closed(unread));
    }

    /// What the guest got or would have got, and nobody read. Linux puts a buffer back into the ring when it was read; so those that are
    /// neither with us nor with a reader were not. It says that the port is closed before it drops them
    /// (drivers/char/virtio_console.c, `port_fops_release`).
    fn unread(&mut self, owned: Option<u16>) -> Vec<u8> {
        let rest = self.to_guest.take_all();
        let in_hand = owned.map_or(0, |owned| usize::from(self.most_owned.saturating_sub(owned)));
        let read = self.given.len().saturating_sub(in_hand);
        let mut unread: Vec<u8> = Vec::new();
        if self.spec.keeps_unread {
            unread.extend(self.given.iter().skip(read).flatten());
            unread.extend(rest);
        }
        self.forget_given();
        if unread.len() > MOST_UNREAD {
            unread.clear();
        }
        unread
    }

    fn forget_given(&mut self) {
        self.given.clear();
        self.given_bytes = 0;
    }

    fn wait(&mut self, behind: Option<u16>, what: Waiting) {
        match behind {
            Some(place) if self.waiting.len() < MOST_WAITING => self.waiting.push_back((place, what)),
            _ => {
                self.settle();
                self.mark(what);
            }
        }
    }

    fn mark(&mut self, what: Waiting) {
        match what {
            Waiting::Opened(session) => self.from_guest.opened(session),
            Waiting::Closed(unread) => self.from_guest.closed(unread),
        }
    }

    /// The ring stands still or starts anew: nothing comes before what waits any more.
    pub fn settle(&mut self) {
        for (_, what) in std::mem::take(&mut self.waiting) {
            self.mark(what);
        }
    }

    /// Takes bytes from the guest, as far as there is room.
    pub fn take_from(&mut self, queue: &mut Queue, memory: &Memory) -> Result<Visit, Broken> {
        let mut visit = Visit::default();
        let mut budget = BYTES_PER_TURN;
        for _ in 0..CHAINS_PER_TURN {
            while self
                .waiting
                .front()
                .is_some_and(|(place, _)| *place == queue.next_avail())
                && let Some((_, what)) = self.waiting.pop_front()
            {
                self.mark(what);
                visit.news = true;
            }
            let room = self.from_guest.room();
            let limit = room.min(budget);
            if limit == 0 {
                visit.more = room > 0;
                self.stalled = room == 0;
                return Ok(visit);
            }
            let place = queue.next_avail();
            let Some(chain) = ring::next(queue, memory)? else {
                return Ok(visit);
            };
            let head = chain.head_index();
            let skip = self
                .part
                .filter(|(of, _)| *of == place)
                .map_or(0, |(_, offset)| offset);
            let stream = &mut self.from_guest;
            let read = ring::read(chain, memory, skip, limit, |piece| {
                stream.push(piece);
            });
            budget -= read.count;
            self.received = self.received.saturating_add(read.count as u64);
            visit.news |= read.count > 0;
            if read.finished {
                self.part = None;
                ring::give_back(queue, memory, head, 0)?;
                visit.used = true;
            } else {
                self.part = Some((place, skip.saturating_add(read.count as u64)));
                queue.set_next_avail(place);
            }
        }
        visit.more = true;
        Ok(visit)
    }

    /// Gives bytes to the guest, as far as it has buffers.
    pub fn give_to(&mut self, queue: &mut Queue, memory: &Memory) -> Result<Visit, Broken> {
        let mut visit = Visit::default();
        self.most_owned = self.most_owned.max(ring::owned(queue, memory).min(queue.size()));
        if !self.open {
            return Ok(visit);
        }
        let mut budget = BYTES_PER_TURN;
        for _ in 0..CHAINS_PER_TURN {
            if self.to_guest.is_empty() {
                return Ok(visit);
            }
            let Some(chain) = (match budget {
                0 => None,
                _ => ring::next(queue, memory)?,
            }) else {
                visit.more = budget == 0;
                return Ok(visit);
            };
            let head = chain.head_index();
            let keep = self.spec.keeps_unread;
            let stream = std::cell::RefCell::new(&mut self.to_guest);
            let mut copy = Vec::new();
            let count = ring::write(
                chain,
                memory,
                budget,
                |buffer| stream.borrow().peek(buffer),
                |piece| {
                    stream.borrow_mut().consume(piece.len());
                    if keep {
                        copy.extend_from_slice(piece);
                    }
                },
            );
            budget -= count;
            self.sent = self.sent.saturating_add(count as u64);
            visit.news |= count > 0;
            ring::give_back(queue, memory, head, count)?;
            visit.used = true;
            if keep {
                self.remember(copy);
            }
        }
        visit.more = true;
        Ok(visit)
    }

    fn remember(&mut self, copy: Vec<u8>) {
        self.given_bytes += copy.len();
        self.given.push_back(copy);
        while self.given_bytes > MOST_UNREAD || self.given.len() > usize::from(self.most_owned.max(1)) {
            let Some(oldest) = self.given.pop_front() else {
                return;
            };
            self.given_bytes -= oldest.len();
        }
    }
}
