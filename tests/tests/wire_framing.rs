//! Streams that a well-behaved client never sends: the server answers or hangs up, and always serves the next client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use proptest::prelude::*;
use tests::wire::{Client, Daemon, Fake, MAX_MESSAGE, NO_REPLY, access, command, header, message, pack};

const EINVAL: Option<u32> = Some(22);

fn daemon(directory: &tempfile::TempDir) -> Daemon {
    Daemon::listen(Fake::new().unwrap(), directory.path()).unwrap()
}

fn is_served(daemon: &Daemon) {
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    assert_eq!(client.read(2, 0, 4).unwrap().payload.len(), 20);
}

fn is_closed(client: &mut Client) {
    let error = client.receive().unwrap_err().kind();
    assert!(
        matches!(error, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        "{error}"
    );
}

#[test]
fn a_message_may_arrive_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    let write = message(
        0x77,
        command::REGION_WRITE,
        &[access(2, 0, 3), vec![7, 8, 9]].concat(),
    );
    for cut in [1, 8, 15, 16, 17, 31, 32, 34] {
        client.send(&write[..cut], &[]).unwrap();
        // The server has to have seen the first piece alone.
        daemon.ask(|_| ());
        std::thread::sleep(Duration::from_millis(2));
        client.send(&write[cut..], &[]).unwrap();
        let reply = client.receive().unwrap();
        assert_eq!((reply.id, reply.error()), (0x77, None), "cut at {cut}");
    }
}

#[test]
fn impossible_sizes_are_answered_and_end_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    for size in [0, 15, MAX_MESSAGE + 1, u32::MAX] {
        for negotiated in [false, true] {
            let mut client = Client::connect(&daemon.path).unwrap();
            if negotiated {
                client.negotiate().unwrap();
            }
            client
                .send(&header(0xbad1, command::VERSION, size, 0), &[])
                .unwrap();
            let reply = client.receive().unwrap();
            assert_eq!((reply.id, reply.error()), (0xbad1, EINVAL), "{size}");
            is_closed(&mut client);
        }
    }
    let mut silent = Client::connect(&daemon.path).unwrap();
    silent
        .send(&header(1, command::VERSION, 0, NO_REPLY), &[])
        .unwrap();
    is_closed(&mut silent);
    is_served(&daemon);
}

#[test]
fn the_payload_of_a_refused_request_is_not_taken_for_the_next_message() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    for region in [1, 9, u32::MAX] {
        assert_eq!(client.write(region, 0, &[0xaa; 4096]).unwrap().error(), EINVAL);
    }
    let long = [access(9, 0, 1 << 20), vec![0xaa; 1 << 20]].concat();
    assert_eq!(
        client.request(command::REGION_WRITE, &long).unwrap().error(),
        EINVAL
    );
    assert_eq!(client.request(999, &[0xaa; 100_000]).unwrap().error(), EINVAL);
    assert_eq!(client.read(2, 0, 4).unwrap().error(), None);
}

#[test]
fn a_client_that_vanishes_in_the_middle_of_a_message_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    let write = message(
        1,
        command::REGION_WRITE,
        &[access(2, 0, 64), vec![1; 64]].concat(),
    );
    for cut in [1, 15, 16, 40] {
        let mut client = Client::connect(&daemon.path).unwrap();
        client.negotiate().unwrap();
        client.send(&write[..cut], &[]).unwrap();
    }
    is_served(&daemon);
    assert!(daemon.wait_until(|fake| fake.disconnections == 5));
    assert!(daemon.ask(|fake| fake.buffer[..64] == [0; 64]));
}

#[test]
fn a_client_that_half_closes_still_gets_its_replies() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    let bytes: Vec<u8> = (0..10)
        .flat_map(|id| message(id, command::REGION_READ, &access(2, 0, 4)))
        .collect();
    client.send(&bytes, &[]).unwrap();
    client.socket.shutdown(Shutdown::Write).unwrap();
    for id in 0..10 {
        assert_eq!(client.receive().unwrap().id, id);
    }
    is_closed(&mut client);
}

#[test]
fn a_client_that_takes_no_replies_holds_up_neither_engines_nor_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let mut fake = Fake::new().unwrap();
    fake.activity = device::transport::Activity::Busy;
    let daemon = Daemon::listen(fake, directory.path()).unwrap();
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    // Far more data than a socket buffer holds.
    const READS: u16 = 16;
    let bytes: Vec<u8> = (0..READS)
        .flat_map(|id| message(id, command::REGION_READ, &access(2, 0, 1 << 20)))
        .collect();
    client.send(&bytes, &[]).unwrap();
    assert!(daemon.wait_until(|fake| fake.accesses.len() == 1));
    let runs = daemon.ask(|fake| fake.runs);
    assert!(daemon.wait_until(move |fake| fake.runs > runs + 10));
    assert_eq!(
        daemon.ask(|fake| fake.accesses.len()),
        1,
        "no request is carried out before its predecessor's reply is on its way"
    );
    for id in 0..READS {
        let reply = client.receive().unwrap();
        assert_eq!((reply.id, reply.payload.len()), (id, 16 + (1 << 20)));
    }
}

#[test]
fn descriptors_stay_with_their_message() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(&directory);
    let mut client = Client::connect(&daemon.path).unwrap();
    client.negotiate().unwrap();
    let files: Vec<_> = (0..4)
        .map(|_| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(0x1000).unwrap();
            file
        })
        .collect();
    // Pipelined, as QEMU does in a memory transaction: some with descriptor, some without, nobody waits for a reply.
    for (page, file) in (0u64..).zip(&files) {
        let mut map = pack(&[32, 3]);
        for value in [0, 0x2000 * page, 0x1000] {
            map.extend_from_slice(&value.to_le_bytes());
        }
        client
            .send(&message(1, command::DMA_MAP, &map), &[file.as_fd()])
            .unwrap();
        map[16..24].copy_from_slice(&(0x2000 * page + 0x1000).to_le_bytes());
        client.send(&message(2, command::DMA_MAP, &map), &[]).unwrap();
    }
    for _ in 0..8 {
        assert_eq!(client.receive().unwrap().error(), None);
    }
    let reachable = daemon.ask(|fake| {
        fake.guest.set_bus_master(true);
        (0..8)
            .map(|page| fake.guest.is_reachable(0x1000 * page))
            .collect::<Vec<_>>()
    });
    assert_eq!(reachable, [true, false].repeat(4));
}

/// A request with a header whose size is right, so that the stream goes on behind it.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        // Small numbers reach further than random ones.
        prop::collection::vec(0u32..40, 0..12).prop_map(|values| pack(&values)),
    ];
    (0u16..20, 0u32..0x40, payload).prop_map(|(command, flags, payload)| {
        let size = u32::try_from(16 + payload.len()).unwrap();
        [header(0, command, size, flags), payload].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever arrives, the server neither dies nor hangs, and serves the next client.
    #[test]
    fn random_bytes_do_no_lasting_harm(
        negotiate in any::<bool>(),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2000),
            prop::collection::vec(any_request(), 0..40).prop_map(|requests| requests.concat()),
        ],
        with_descriptors in any::<bool>(),
    ) {
        use std::sync::LazyLock;
        static SHARED: LazyLock<(tempfile::TempDir, Daemon)> = LazyLock::new(|| {
            let directory = tempfile::tempdir().unwrap();
            let daemon = daemon(&directory);
            (directory, daemon)
        });
        let daemon = &SHARED.1;
        let mut client = Client::connect(&daemon.path).unwrap();
        if negotiate {
            client.negotiate().unwrap();
        }
        let file = tempfile::tempfile().unwrap();
        let fds = [file.as_fd(), file.as_fd()];
        // The server may hang up while we talk.
        let _ = client.send(&bytes, if with_descriptors { &fds } else { &[] });
        let _ = client.socket.flush();
        let _ = client.socket.shutdown(Shutdown::Write);
        let mut replies = Vec::new();
        if let Err(error) = client.socket.read_to_end(&mut replies) {
            prop_assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        is_served(daemon);
    }
}
