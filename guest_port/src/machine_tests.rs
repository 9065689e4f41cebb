//! The machine with a guest that is made by hand, and with one that means harm.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::port::CAPACITY;
use crate::testing::{BUFFER, Driver, MEMORY, Place, Plain, SIZE};

fn specs() -> Vec<PortSpec> {
    ["console", "control", "trace"]
        .iter()
        .enumerate()
        .map(|(number, name)| PortSpec {
            name: (*name).to_owned(),
            console: number == 0,
            keeps_unread: number == 1,
        })
        .collect()
}

struct Guest {
    machine: Machine,
    rings: Plain,
    drivers: Vec<Driver>,
}

impl Guest {
    fn new() -> Self {
        let machine = Machine::new(specs());
        let count = machine.rings();
        let mut guest = Self {
            machine,
            rings: Plain::new(count),
            drivers: (0..count).map(Driver::new).collect(),
        };
        guest.machine.set_features(Machine::features());
        guest
    }

    /// One whose driver is there and has all ports, the first two of them open.
    fn ready() -> Self {
        let mut guest = Self::new();
        for _ in 0..SIZE {
            guest.drivers[2].post(&guest.rings.memory, 64);
        }
        guest.say(&Message::DeviceReady { ready: true });
        for port in 0..3 {
            guest.say(&Message::PortReady { port, ready: true });
        }
        while guest.heard().is_some() {}
        guest.open(0, true);
        guest.open(1, true);
        guest
    }

    fn turn(&mut self) {
        for _ in 0..100 {
            if !self.machine.turn(&mut self.rings).more {
                return;
            }
        }
        panic!("there is always more to do");
    }

    fn say(&mut self, message: &Message) {
        self.drivers[3].send(&self.rings.memory, &message.encode());
        self.turn();
        assert!(self.drivers[3].back(&self.rings.memory).is_some());
    }

    fn open(&mut self, port: u32, open: bool) {
        self.say(&Message::PortOpen { port, open });
    }

    fn heard(&mut self) -> Option<Vec<u8>> {
        self.drivers[2].back(&self.rings.memory)
    }

    fn write(&mut self, port: usize, bytes: &[u8]) {
        self.drivers[ring_of(port) + 1].send(&self.rings.memory, bytes);
    }

    /// Gives the device this many buffers.
    fn post(&mut self, port: usize, count: u16) {
        for _ in 0..count {
            self.drivers[ring_of(port)].post(&self.rings.memory, 16);
        }
        self.turn();
    }

    fn read(&mut self, port: usize) -> Option<Vec<u8>> {
        self.drivers[ring_of(port)].back(&self.rings.memory)
    }

    fn items(&mut self, port: usize) -> Vec<(Item, Vec<u8>)> {
        let mut buffer = [0; 4096];
        let mut items = Vec::new();
        while let Some(item) = self.machine.take(port, &mut buffer) {
            let bytes = match item {
                Item::Bytes(count) => buffer[..count].to_vec(),
                _ => Vec::new(),
            };
            items.push((item, bytes));
        }
        items
    }

    fn bytes(&mut self, port: usize) -> Vec<u8> {
        self.items(port)
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect()
    }
}

#[test]
fn a_driver_learns_of_every_port_and_its_name() {
    let mut guest = Guest::new();
    for _ in 0..SIZE {
        guest.drivers[2].post(&guest.rings.memory, 64);
    }
    guest.say(&Message::DeviceReady { ready: true });
    for port in 0..3 {
        assert_eq!(guest.heard(), Some(Message::PortAdd { port }.encode()));
    }
    guest.say(&Message::PortReady { port: 0, ready: true });
    guest.say(&Message::PortReady { port: 1, ready: true });
    let name = |port, name: &str| Message::PortName {
        port,
        name: name.to_owned(),
    };
    for message in [
        Message::ConsolePort { port: 0 },
        name(0, "console"),
        Message::PortOpen { port: 0, open: true },
        name(1, "control"),
        Message::PortOpen { port: 1, open: true },
    ] {
        assert_eq!(guest.heard(), Some(message.encode()));
    }
    assert_eq!(guest.heard(), None);
    assert_eq!(guest.machine.configuration()[4], 3);
}

#[test]
fn bytes_arrive_in_order_whatever_the_chains_look_like() {
    let mut guest = Guest::ready();
    guest.write(0, b"ab");
    guest.drivers[1].send_indirect(&guest.rings.memory, &[b"cd", b"", b"e"]);
    guest.write(0, b"f");
    guest.turn();
    assert_eq!(guest.bytes(0), b"abcdef");
    for _ in 0..3 {
        assert_eq!(guest.drivers[1].back(&guest.rings.memory), Some(Vec::new()));
    }
}

#[test]
fn a_host_that_does_not_read_makes_the_guest_wait_and_loses_nothing() {
    let mut guest = Guest::ready();
    let pattern =
        |number: usize| -> Vec<u8> { (0..4096).map(|at| ((at * 7 + number) % 251) as u8).collect() };
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for number in 0..16 {
        guest.write(0, &pattern(number));
        sent.extend(pattern(number));
    }
    guest.turn();
    for number in 16..32 {
        // All 16 fit, and the ring is free again.
        guest.write(0, &pattern(number));
        sent.extend(pattern(number));
    }
    guest.turn();
    assert_eq!(guest.machine.totals(0).received as usize, CAPACITY);
    let mut buffer = [0; 1000];
    loop {
        match guest.machine.take(0, &mut buffer) {
            Some(Item::Bytes(count)) => received.extend_from_slice(&buffer[..count]),
            Some(_) => {}
            None => break,
        }
        guest.turn();
    }
    assert!(sent == received);
}

#[test]
fn a_guest_that_does_not_read_makes_the_host_wait() {
    let mut guest = Guest::ready();
    let put = guest.machine.put(1, None, &vec![1; CAPACITY + 1]);
    assert_eq!(put, Some(CAPACITY));
    assert_eq!(guest.machine.put(1, None, b"x"), Some(0));
    guest.post(1, 1);
    assert_eq!(guest.read(1), Some(vec![1; 16]));
    assert_eq!(guest.machine.put(1, None, &[2; 100]), Some(16));
}

#[test]
fn a_port_has_news_when_there_is_something_to_read_or_room_and_others_have_none() {
    let mut guest = Guest::ready();
    let news = |guest: &mut Guest| guest.machine.turn(&mut guest.rings).news;
    assert_eq!(news(&mut guest), 0);
    guest.write(1, b"to read");
    assert_eq!(news(&mut guest), bit(1));
    guest.post(1, 1);
    guest.machine.put(1, None, b"room");
    assert_eq!(news(&mut guest), bit(1));
    assert_eq!(news(&mut guest), 0);
    // Who made room is to look at the rings only if bytes wait for it.
    assert!(!guest.machine.waits_for_room(1));
    for _ in 0..SIZE {
        guest.write(1, &[0; 4096]);
    }
    assert_eq!(news(&mut guest), bit(1));
    assert!(guest.machine.waits_for_room(1) && !guest.machine.waits_for_room(1));
}

#[test]
fn a_port_that_nobody_has_open_gets_nothing() {
    let mut guest = Guest::ready();
    guest.machine.put(2, None, b"early");
    guest.post(2, 1);
    assert_eq!(guest.read(2), None);
    guest.open(2, true);
    assert_eq!(guest.read(2), Some(b"early".to_vec()));
}

#[test]
fn a_closing_comes_after_the_bytes_that_were_written_before_it() {
    let mut guest = Guest::ready();
    guest.items(1);
    // As Linux does it: the bytes may still be in the ring when the port is closed.
    guest.rings.running[5] = false;
    guest.write(1, b"state\n");
    guest.rings.running[5] = true;
    guest.drivers[3].send(
        &guest.rings.memory,
        &Message::PortOpen { port: 1, open: false }.encode(),
    );
    guest.turn();
    let items: Vec<_> = guest.items(1).into_iter().map(|(item, _)| item).collect();
    assert_eq!(items, [Item::Bytes(6), Item::Closed { unread: Vec::new() }]);
}

#[test]
fn sessions_stay_apart_even_if_nobody_looks() {
    let mut guest = Guest::ready();
    guest.items(1);
    for _ in 0..3 {
        guest.write(1, b"x");
        guest.open(1, false);
        guest.open(1, true);
    }
    let closings = guest.items(1);
    let count = closings
        .iter()
        .filter(|(item, _)| matches!(item, Item::Closed { .. }))
        .count();
    assert_eq!(count, 3);
    assert_eq!(guest.machine.session(1), Some(4));
}

#[test]
fn what_the_guest_did_not_read_before_it_closed_comes_back() {
    let mut guest = Guest::ready();
    guest.post(1, 4);
    guest.items(1);
    for answer in [b"first\n", b"other\n"] {
        guest.machine.put(1, Some(1), answer);
        guest.turn();
    }
    // The first is read: its buffer goes back into the ring.
    assert_eq!(guest.read(1), Some(b"first\n".to_vec()));
    guest.post(1, 1);
    guest.machine.put(1, Some(1), b"last\n");
    guest.turn();
    guest.open(1, false);
    let unread = b"other\nlast\n".to_vec();
    assert_eq!(guest.items(1), [(Item::Closed { unread }, Vec::new())]);
    // Nothing is sent twice.
    guest.open(1, true);
    guest.open(1, false);
    assert_eq!(guest.items(1), []);
}

#[test]
fn an_answer_for_another_session_is_refused() {
    let mut guest = Guest::ready();
    assert_eq!(guest.machine.put(1, Some(1), b"a"), Some(1));
    guest.open(1, false);
    assert_eq!(guest.machine.put(1, Some(1), b"a"), None);
    guest.open(1, true);
    assert_eq!(guest.machine.put(1, Some(1), b"a"), None);
    assert_eq!(guest.machine.put(1, Some(2), b"a"), Some(1));
}

#[test]
fn a_driver_that_starts_anew_finds_nothing_of_its_predecessor() {
    let mut guest = Guest::ready();
    guest.machine.put(1, None, b"for the one before");
    guest.items(1);
    guest.say(&Message::DeviceReady { ready: true });
    assert_eq!(guest.machine.session(1), None);
    assert_eq!(guest.items(1).len(), 1);
    guest.open(1, true);
    guest.post(1, 1);
    assert_eq!(guest.read(1), None);
    assert_eq!(guest.heard(), Some(Message::PortAdd { port: 0 }.encode()));
}

#[test]
fn a_guest_without_ports_has_the_first_one() {
    let mut guest = Guest::new();
    guest.machine.set_features(1 << VIRTIO_F_VERSION_1);
    guest.write(0, b"hello");
    guest.machine.put(0, None, b"you");
    guest.post(0, 1);
    assert_eq!(guest.bytes(0), b"hello");
    assert_eq!(guest.read(0), Some(b"you".to_vec()));
}

#[test]
fn a_front_end_that_goes_closes_everything_and_leaves_what_was_said() {
    let mut guest = Guest::ready();
    guest.items(1);
    guest.write(1, b"last words");
    guest.turn();
    guest.machine.front_end_gone();
    let items: Vec<_> = guest.items(1).into_iter().map(|(item, _)| item).collect();
    assert_eq!(items, [Item::Bytes(10), Item::Closed { unread: Vec::new() }]);
}

#[test]
fn a_ring_that_stops_and_goes_on_repeats_nothing() {
    let mut guest = Guest::ready();
    for _ in 0..SIZE {
        guest.write(0, &[5; 4096]);
    }
    guest.turn();
    guest.write(0, &[6; 4096]);
    let mut buffer = [0; 100];
    while !matches!(guest.machine.take(0, &mut buffer), Some(Item::Bytes(_))) {}
    guest.turn();
    // 100 bytes of the last buffer are read; now the machine is stopped and goes on.
    guest.rings.running[1] = false;
    guest.machine.ring_stopped(1);
    guest.turn();
    guest.rings.running[1] = true;
    let mut received = 100;
    for _ in 0..10 {
        guest.turn();
        received += guest.bytes(0).len();
    }
    assert_eq!(received, CAPACITY + 4096);
}

#[test]
fn messages_that_no_guest_sends_are_counted_and_answered_with_nothing() {
    let mut guest = Guest::ready();
    for bytes in [
        &b""[..],
        b"abc",
        &Message::PortAdd { port: 0 }.encode(),
        &Message::PortOpen { port: 9, open: true }.encode(),
        &Message::PortReady {
            port: u32::MAX,
            ready: true,
        }
        .encode(),
    ] {
        guest.drivers[3].send(&guest.rings.memory, bytes);
    }
    guest.turn();
    assert_eq!(guest.machine.wrong_messages(), 5);
    assert_eq!(guest.heard(), None);
    // A port that is announced again and again is answered once.
    for _ in 0..100 {
        guest.say(&Message::PortReady { port: 1, ready: true });
    }
    assert_eq!(guest.heard(), None);
}

#[test]
fn a_chain_without_end_is_read_once_around() {
    let mut guest = Guest::ready();
    let buffer = guest.drivers[1].place.buffers;
    guest.drivers[1].describe(&guest.rings.memory, 0, buffer, 8, 1, 0);
    guest.drivers[1].offer(&guest.rings.memory, 0);
    guest.turn();
    assert_eq!(guest.bytes(0).len(), usize::from(SIZE) * 8);
    assert_eq!(guest.machine.broken_rings(), 0);
}

#[test]
fn a_ring_that_makes_no_sense_is_given_up_until_it_starts_anew() {
    let mut guest = Guest::ready();
    let place = Place::of(1);
    // Further ahead than the ring is long.
    guest
        .rings
        .memory
        .write_obj(1000u16, GuestAddress(place.available + 2))
        .unwrap();
    guest.turn();
    assert_eq!(guest.machine.broken_rings(), 1);
    guest.turn();
    assert_eq!(guest.machine.broken_rings(), 1);
    guest
        .rings
        .memory
        .write_obj(0u16, GuestAddress(place.available + 2))
        .unwrap();
    guest.machine.ring_stopped(1);
    guest.write(0, b"again");
    guest.turn();
    assert_eq!(guest.bytes(0), b"again");
}

#[test]
fn descriptors_outside_of_memory_are_passed_over() {
    let mut guest = Guest::ready();
    for (index, at) in [(8, MEMORY), (9, MEMORY - 4), (10, u64::MAX - 3), (11, u64::MAX)] {
        guest.drivers[1].describe(&guest.rings.memory, index, at, 64, 0, 0);
        guest.drivers[1].offer(&guest.rings.memory, index);
    }
    guest.write(0, b"good");
    guest.turn();
    assert_eq!(guest.bytes(0), b"good");
    // For bytes to the guest the same: the buffer comes back empty, and the bytes go into the next.
    guest.machine.put(1, None, b"answer");
    guest.drivers[4].describe(&guest.rings.memory, 0, u64::MAX - 3, 64, 2, 0);
    guest.drivers[4].offer(&guest.rings.memory, 0);
    guest.turn();
    guest.drivers[4].describe(&guest.rings.memory, 1, Place::of(4).buffers + BUFFER, 64, 2, 0);
    guest.drivers[4].offer(&guest.rings.memory, 1);
    guest.turn();
    assert_eq!(guest.read(1), Some(Vec::new()));
    assert_eq!(guest.read(1), Some(b"answer".to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever is in the rings: no panic, no end of work that does not come, no memory beyond the bounds.
    #[test]
    fn rings_of_any_content_do_no_harm(
        words in proptest::collection::vec((0usize..8, 0u64..0x6000, any::<u64>()), 0..200),
        heads in proptest::collection::vec((0usize..8, 0u16..20), 0..20),
        answers in proptest::collection::vec((0usize..3, 0usize..5000), 0..5),
    ) {
        let mut guest = Guest::ready();
        for (ring, offset, value) in words {
            let at = Place::of(ring).descriptors + offset;
            let value = if value % 3 == 0 { value % MEMORY } else { value };
            guest.rings.memory.write_obj(value, GuestAddress(at)).unwrap();
        }
        for (ring, head) in heads {
            guest.drivers[ring].offer(&guest.rings.memory, head);
        }
        for (port, count) in answers {
            guest.machine.put(port, None, &vec![7; count]);
        }
        // Each turn is bounded by itself; the guest can keep us busy only with what it offers.
        for _ in 0..20 {
            guest.machine.turn(&mut guest.rings);
            for port in 0..3 {
                let mut buffer = [0; 512];
                let _ = guest.machine.take(port, &mut buffer);
            }
        }
        prop_assert!(guest.machine.broken_rings() <= 8);
    }

    /// Two ends that do what they like in any order: every byte arrives once and in order.
    #[test]
    fn no_byte_is_lost_or_doubled(steps in proptest::collection::vec((0u8..4, 1usize..4096), 1..200)) {
        let mut guest = Guest::ready();
        guest.items(0);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let mut given: Vec<u8> = Vec::new();
        let mut got: Vec<u8> = Vec::new();
        let mut in_ring = 0u16;
        let mut posted = 0u16;
        let mut counter = 0u8;
        let mut fresh = |count: usize| -> Vec<u8> {
            (0..count).map(|_| { counter = counter.wrapping_mul(13).wrapping_add(7); counter }).collect()
        };
        for (step, count) in steps {
            match step {
                0 if in_ring < SIZE => {
                    let bytes = fresh(count);
                    guest.write(0, &bytes);
                    sent.extend(bytes);
                    in_ring += 1;
                }
                1 => {
                    let bytes = fresh(count);
                    let taken = guest.machine.put(0, None, &bytes).unwrap();
                    given.extend_from_slice(&bytes[..taken]);
                }
                2 if posted < SIZE => {
                    guest.drivers[0].post(&guest.rings.memory, (count % 100) as u32);
                    posted += 1;
                }
                _ => {
                    let mut buffer = vec![0; count];
                    if let Some(Item::Bytes(count)) = guest.machine.take(0, &mut buffer) {
                        received.extend_from_slice(&buffer[..count]);
                    }
                }
            }
            guest.turn();
            while guest.drivers[1].back(&guest.rings.memory).is_some() {
                in_ring -= 1;
            }
            while let Some(bytes) = guest.read(0) {
                got.extend(bytes);
                posted -= 1;
            }
        }
        received.extend(guest.bytes(0));
        for _ in 0..3 {
            guest.turn();
            received.extend(guest.bytes(0));
        }
        prop_assert_eq!(sent, received);
        prop_assert!(given.starts_with(&got));
    }
}
