//! Every command of vfio-user over a real socket. The cases follow libvfio-user's `test/py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::event::EventfdFlags;
use tests::wire::{
    BAR0_SIZE, BAR2_SIZE, Client, Daemon, ERR, Fake, MAX_DATA, MSI, MSI_COUNT, NO_REPLY, ROM_SIZE, Reply,
    access, command, header, message, pack,
};

const EINVAL: Option<u32> = Some(22);
const EEXIST: Option<u32> = Some(17);
const ENOENT: Option<u32> = Some(2);
const EOPNOTSUPP: Option<u32> = Some(95);
const EIO: Option<u32> = Some(5);

// SET_IRQS: data and action.
const NONE: u32 = 1 << 0;
const BOOL: u32 = 1 << 1;
const EVENTFD: u32 = 1 << 2;
const MASK: u32 = 1 << 3;
const UNMASK: u32 = 1 << 4;
const TRIGGER: u32 = 1 << 5;

struct Setup {
    daemon: Daemon,
    client: Client,
    _directory: tempfile::TempDir,
}

/// A client that has said nothing yet.
fn connected() -> Setup {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(Fake::new().unwrap(), directory.path()).unwrap();
    let client = Client::connect(&daemon.path).unwrap();
    Setup {
        daemon,
        client,
        _directory: directory,
    }
}

/// A client behind VERSION.
fn negotiated() -> Setup {
    let mut setup = connected();
    setup.client.negotiate().unwrap();
    setup
}

fn file(size: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    file
}

fn event(count: u32) -> OwnedFd {
    rustix::event::eventfd(count, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

/// The count of an event, which goes back to 0.
fn count(event: &OwnedFd) -> u64 {
    let mut bytes = [0; 8];
    match rustix::io::read(event, &mut bytes) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(error) => {
            assert_eq!(error, rustix::io::Errno::AGAIN);
            0
        }
    }
}

fn fds(events: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    events.iter().map(AsFd::as_fd).collect()
}

fn version(json: &[u8]) -> Reply {
    let payload = [&[0, 0, 1, 0], json].concat();
    connected().client.request(command::VERSION, &payload).unwrap()
}

// ---- VERSION: test_negotiate.py

#[test]
fn the_version_reply_is_what_qemu_takes() {
    let mut setup = connected();
    let reply = setup.client.negotiate().unwrap();
    assert_eq!(
        reply.payload[..4],
        [0, 0, 0, 0],
        "no minor version above the client's"
    );
    let (nul, json) = reply.payload[4..].split_last().unwrap();
    assert_eq!(*nul, 0);
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let capabilities = &json["capabilities"];
    assert_eq!(capabilities["max_msg_fds"], 8);
    assert_eq!(capabilities["max_data_xfer_size"], MAX_DATA);
    assert_eq!(capabilities["pgsizes"], 4096);
    assert_eq!(capabilities["write_multiple"], true);
    assert!(
        reply.payload.len() < 180,
        "QEMU takes no reply longer than its request of about 200 bytes"
    );
}

#[test]
fn version_data_is_optional() {
    for json in [
        &b""[..],
        b"{}\0",
        b"{\"capabilities\": {}}\0",
        b"{\"new\": {\"thing\": 1}}\0",
    ] {
        let reply = version(json);
        assert_eq!(reply.error(), None, "{json:?}");
        assert_eq!(reply.payload[..4], [0, 0, 1, 0]);
    }
}

#[test]
fn malformed_version_data_is_refused() {
    for json in [
        &b"{}"[..], // no NUL
        b"\0{}\0",
        b"{\0",
        b"\"\0",
        b"{ \"capabilities\": \"23\" }\0",
        b"{ \"capabilities\": { \"max_msg_fds\": \"foo\" } }\0",
        b"{ \"capabilities\": { \"max_msg_fds\": -1 } }\0",
        b"{ \"capabilities\": { \"max_msg_fds\": 1025 } }\0",
        b"{ \"capabilities\": { \"migration\": \"23\" } }\0",
        b"{ \"capabilities\": { \"migration\": { \"pgsize\": \"foo\" } } }\0",
        b"{ \"capabilities\": { \"migration\": { \"pgsize\": 4095 } } }\0",
        b"\xff\xfe\0",
    ] {
        assert_eq!(version(json).error(), EINVAL, "{}", json.escape_ascii());
    }
    let deep = [vec![b'['; 100_000], vec![0]].concat();
    assert_eq!(version(&deep).error(), EINVAL);
}

#[test]
fn a_short_version_or_another_major_is_refused_and_the_client_may_try_again() {
    let mut setup = connected();
    for payload in [&[][..], &[0], &[0, 0, 0], &[0xe7, 3, 1, 0]] {
        let reply = setup.client.request(command::VERSION, payload).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    setup.client.negotiate().unwrap();
}

#[test]
fn nothing_is_served_before_version_and_no_second_version() {
    let mut setup = connected();
    assert_eq!(setup.client.read(2, 0, 4).unwrap().error(), EINVAL);
    assert_eq!(
        setup.client.request(command::DEVICE_RESET, &[]).unwrap().error(),
        EINVAL
    );
    assert_eq!(setup.client.request(999, &[0; 5]).unwrap().error(), EINVAL);
    setup.client.negotiate().unwrap();
    setup.client.negotiate().unwrap_err();
    assert_eq!(setup.client.read(2, 0, 4).unwrap().error(), None);
    assert_eq!(setup.daemon.ask(|fake| fake.resets), 0);
}

// ---- DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_REGION_IO_FDS, DEVICE_GET_IRQ_INFO

#[test]
fn device_info() {
    let mut client = negotiated().client;
    for payload in [pack(&[0, 0]), pack(&[8, 0, 0, 0]), vec![]] {
        let reply = client.request(command::DEVICE_GET_INFO, &payload).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    let reply = client
        .request(command::DEVICE_GET_INFO, &pack(&[32, 0, 0, 0]))
        .unwrap();
    assert_eq!(
        reply.payload,
        pack(&[16, 3, 9, 5]),
        "PCI with reset, 9 regions, 5 interrupt indices"
    );
}

fn region_info(client: &mut Client, argsz: u32, index: u32) -> Reply {
    let payload = pack(&[argsz, 0, index, 0, 0, 0, 0, 0]);
    client.request(command::DEVICE_GET_REGION_INFO, &payload).unwrap()
}

#[test]
fn region_info_gives_sizes_and_rights() {
    let mut client = negotiated().client;
    for (index, flags, size) in [
        (0, 7, BAR0_SIZE),
        (1, 0, 0),
        (2, 3, BAR2_SIZE),
        (6, 1, ROM_SIZE),
        (7, 3, 4096),
        (8, 0, 0),
    ] {
        for argsz in [32, 40] {
            let reply = region_info(&mut client, argsz, index);
            assert_eq!(reply.payload.len(), 32);
            let fields = [reply.u32(0), reply.u32(4), reply.u32(8), reply.u32(12)];
            assert_eq!(fields, [32, flags, index, 0]);
            assert_eq!((reply.u64(16), reply.u64(24)), (size, 0));
            assert_eq!(reply.fds.len(), usize::from(index == 0));
        }
    }
    assert_eq!(region_info(&mut client, 8, 0).error(), EINVAL);
    assert_eq!(region_info(&mut client, 32, 9).error(), EINVAL);
    assert_eq!(region_info(&mut client, 32, u32::MAX).error(), EINVAL);
    let short = client
        .request(command::DEVICE_GET_REGION_INFO, &pack(&[0, 0]))
        .unwrap();
    assert_eq!(short.error(), EINVAL);
}

#[test]
fn a_mappable_region_is_the_memory_of_the_device() {
    let mut setup = negotiated();
    let mut reply = region_info(&mut setup.client, 32, 0);
    let shared = File::from(reply.fds.pop().unwrap());
    shared.write_all_at(b"from the guest", 0x1000).unwrap();
    let seen = setup.daemon.ask(|fake| fake.vram.populated_from(0).unwrap());
    assert_eq!(seen, Some(0x1000));
}

#[test]
fn a_client_that_takes_no_descriptors_gets_none() {
    let mut client = connected().client;
    let json = b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":0}}\0";
    assert_eq!(client.request(command::VERSION, json).unwrap().error(), None);
    let reply = region_info(&mut client, 32, 0);
    assert_eq!(reply.u32(4), 3);
    assert!(reply.fds.is_empty());
}

#[test]
fn there_are_no_region_io_fds() {
    let mut client = negotiated().client;
    let mut ask = |values: &[u32]| {
        client
            .request(command::DEVICE_GET_REGION_IO_FDS, &pack(values))
            .unwrap()
    };
    assert_eq!(ask(&[512, 0, 2, 0]).payload, pack(&[16, 0, 2, 0]));
    assert_eq!(ask(&[512, 1, 2, 0]).error(), EINVAL, "flags");
    assert_eq!(ask(&[512, 0, 2, 1]).error(), EINVAL, "count");
    assert_eq!(ask(&[15, 0, 2, 0]).error(), EINVAL, "argsz too small");
    assert_eq!(ask(&[MAX_DATA + 1, 0, 2, 0]).error(), EINVAL, "argsz too large");
    assert_eq!(ask(&[512, 0, 3, 0]).error(), EINVAL, "no such region");
    assert_eq!(ask(&[512, 0, 512, 0]).error(), EINVAL, "no such index");
}

#[test]
fn irq_info() {
    let mut client = negotiated().client;
    let mut ask = |values: &[u32]| {
        client
            .request(command::DEVICE_GET_IRQ_INFO, &pack(values))
            .unwrap()
    };
    assert_eq!(ask(&[32, 0, MSI, 0]).payload, pack(&[16, 1, MSI, 6]));
    assert_eq!(ask(&[16, 0, ERR, 0]).payload, pack(&[16, 1, ERR, 1]));
    assert_eq!(ask(&[16, 0, 0, 0]).payload, pack(&[16, 0, 0, 0]), "no INTx");
    assert_eq!(ask(&[0, 0]).error(), EINVAL);
    assert_eq!(ask(&[8, 0, MSI, 0]).error(), EINVAL);
    assert_eq!(ask(&[16, 0, 5, 0]).error(), EINVAL);
}

// ---- DEVICE_SET_IRQS: test_device_set_irqs.py, test_irq_trigger.py

#[test]
fn connected_events_are_signalled_and_replaced() {
    let mut setup = negotiated();
    let events = [event(0), event(0), event(0)];
    let handles = fds(&events);
    let reply = setup
        .client
        .set_irqs(TRIGGER | EVENTFD, MSI, 4, 2, &handles[..2])
        .unwrap();
    assert_eq!(reply.error(), None);
    setup
        .daemon
        .ask(|fake| fake.vectors[5].as_ref().unwrap().write(1).unwrap());
    assert_eq!(count(&events[1]), 1);
    let reply = setup
        .client
        .set_irqs(TRIGGER | EVENTFD, MSI, 5, 1, &handles[2..])
        .unwrap();
    assert_eq!(reply.error(), None);
    setup
        .daemon
        .ask(|fake| fake.vectors[5].as_ref().unwrap().write(3).unwrap());
    assert_eq!(count(&events[2]), 3);
    assert_eq!(count(&events[1]), 0);
}

#[test]
fn vectors_are_disconnected_one_by_one_or_together() {
    let mut setup = negotiated();
    let events: Vec<_> = (0..MSI_COUNT).map(|_| event(0)).collect();
    let all = u32::try_from(MSI_COUNT).unwrap();
    let connect = TRIGGER | EVENTFD;
    assert_eq!(
        setup
            .client
            .set_irqs(connect, MSI, 0, all, &fds(&events))
            .unwrap()
            .error(),
        None
    );
    assert_eq!(
        setup.client.set_irqs(connect, MSI, 1, 2, &[]).unwrap().error(),
        None
    );
    let connected = |fake: &mut Fake| fake.vectors.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(
        setup.daemon.ask(connected),
        [true, false, false, true, true, true]
    );
    assert_eq!(
        setup
            .client
            .set_irqs(TRIGGER | NONE, MSI, 0, 0, &[])
            .unwrap()
            .error(),
        None
    );
    assert_eq!(setup.daemon.ask(connected), [false; MSI_COUNT]);
}

#[test]
fn vectors_can_be_triggered_by_the_client() {
    let mut setup = negotiated();
    assert_eq!(
        setup
            .client
            .set_irqs(TRIGGER | NONE, MSI, 1, 2, &[])
            .unwrap()
            .error(),
        None
    );
    let payload = [pack(&[23, TRIGGER | BOOL, MSI, 3, 3]), vec![1, 0, 1]].concat();
    let reply = setup.client.request(command::DEVICE_SET_IRQS, &payload).unwrap();
    assert_eq!(reply.error(), None);
    assert_eq!(setup.daemon.ask(|fake| fake.triggered.clone()), [1, 2, 3, 5]);
}

#[test]
fn masking_is_tolerated_where_there_are_vectors() {
    let mut client = negotiated().client;
    for action in [MASK, UNMASK] {
        assert_eq!(
            client.set_irqs(action | NONE, MSI, 0, 1, &[]).unwrap().error(),
            None
        );
        assert_eq!(
            client.set_irqs(action | NONE, ERR, 0, 1, &[]).unwrap().error(),
            EINVAL
        );
        assert_eq!(
            client.set_irqs(action | NONE, 0, 0, 1, &[]).unwrap().error(),
            EINVAL
        );
    }
}

#[test]
fn bad_set_irqs_requests_are_refused() {
    let mut client = negotiated().client;
    let all = u32::try_from(MSI_COUNT).unwrap();
    for (what, flags, index, start, count) in [
        ("index", TRIGGER | NONE, 5, 0, 0),
        ("two actions", MASK | UNMASK | NONE, MSI, 0, 1),
        ("two kinds of data", MASK | NONE | BOOL, MSI, 0, 1),
        ("no action", NONE, MSI, 0, 1),
        ("no data", TRIGGER, MSI, 0, 1),
        ("unknown flag", TRIGGER | NONE | 0x40, MSI, 0, 1),
        ("end beyond the last", MASK | NONE, MSI, all - 1, 2),
        ("start beyond the last", MASK | NONE, MSI, all + 1, 1),
        ("wrapping count", TRIGGER | EVENTFD, MSI, 2, u32::MAX),
        ("two error vectors", TRIGGER | NONE, ERR, 0, 2),
        ("start of no vectors", TRIGGER | NONE, MSI, 1, 0),
        ("action of no vectors", MASK | NONE, MSI, 0, 0),
        ("data of no vectors", TRIGGER | BOOL, MSI, 0, 0),
        ("booleans missing", TRIGGER | BOOL, MSI, 0, 1),
        ("masking by event", MASK | EVENTFD, MSI, 0, 1),
    ] {
        let reply = client.set_irqs(flags, index, start, count, &[]).unwrap();
        assert_eq!(reply.error(), EINVAL, "{what}");
    }
    for payload in [pack(&[0, 0]), pack(&[3, TRIGGER | NONE, MSI, 0, 0]), vec![]] {
        let reply = client.request(command::DEVICE_SET_IRQS, &payload).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    for booleans in [1, 3] {
        let payload = [pack(&[22, TRIGGER | BOOL, MSI, 0, 2]), vec![0; booleans]].concat();
        let reply = client.request(command::DEVICE_SET_IRQS, &payload).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    let events = [event(0), event(0)];
    for (flags, count, sent) in [
        (TRIGGER | NONE, 1, 1),
        (TRIGGER | BOOL, 1, 1),
        (TRIGGER | EVENTFD, 2, 1),
        (TRIGGER | EVENTFD, 1, 2),
    ] {
        let reply = client
            .set_irqs(flags, MSI, 0, count, &fds(&events)[..sent])
            .unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    let many: Vec<_> = (0..9).map(|_| event(0)).collect();
    let reply = client
        .set_irqs(TRIGGER | EVENTFD, MSI, 0, 9, &fds(&many))
        .unwrap();
    assert_eq!(reply.error(), EINVAL, "more descriptors than were agreed");
}

#[test]
fn an_event_that_would_block_is_made_not_to() {
    let mut setup = negotiated();
    let full = [rustix::event::eventfd(0, EventfdFlags::empty()).unwrap()];
    rustix::io::write(&full[0], &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let reply = setup
        .client
        .set_irqs(TRIGGER | EVENTFD, MSI, 0, 1, &fds(&full))
        .unwrap();
    assert_eq!(reply.error(), None);
    let result = setup
        .daemon
        .ask(|fake| fake.vectors[0].as_ref().unwrap().write(1));
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

// ---- REGION_READ, REGION_WRITE, REGION_WRITE_MULTI

#[test]
fn what_is_written_is_read_back() {
    let mut client = negotiated().client;
    let reply = client.write(2, 0x1234, &[1, 2, 3, 4, 5]).unwrap();
    assert_eq!(reply.payload, access(2, 0x1234, 5));
    let reply = client.read(2, 0x1233, 7).unwrap();
    assert_eq!(
        reply.payload,
        [access(2, 0x1233, 7), vec![0, 1, 2, 3, 4, 5, 0]].concat()
    );
}

#[test]
fn the_longest_access_is_served_and_a_longer_one_is_refused() {
    let mut setup = negotiated();
    let data: Vec<u8> = (0..MAX_DATA).map(|i| (i % 251) as u8).collect();
    assert_eq!(setup.client.write(2, 0x10, &data).unwrap().error(), None);
    let reply = setup.client.read(2, 0x10, MAX_DATA).unwrap();
    assert_eq!(reply.payload[16..], data);
    assert_eq!(setup.client.read(2, 0, MAX_DATA + 1).unwrap().error(), EINVAL);
    assert_eq!(setup.client.read(2, 0, u32::MAX).unwrap().error(), EINVAL);
    let seen = setup.daemon.ask(|fake| fake.accesses.clone());
    assert_eq!(
        seen,
        [data.len(), data.len()],
        "nothing else reached the function"
    );
}

#[test]
fn accesses_outside_a_region_never_reach_the_function() {
    let mut setup = negotiated();
    let size = BAR2_SIZE;
    for (region, offset, count) in [
        (2, size, 1),
        (2, size - 3, 4),
        (2, u64::MAX, 1),
        (2, u64::MAX - 3, 4),
        (1, 0, 4),
        (7, 4093, 4),
        (8, 0, 4),
        (9, 0, 4),
        (u32::MAX, 0, 4),
    ] {
        assert_eq!(setup.client.read(region, offset, count).unwrap().error(), EINVAL);
        let data = vec![0xaa; count as usize];
        assert_eq!(setup.client.write(region, offset, &data).unwrap().error(), EINVAL);
    }
    assert_eq!(
        setup.client.write(6, 0, &[1]).unwrap().error(),
        EINVAL,
        "the ROM is read-only"
    );
    assert!(setup.daemon.ask(|fake| fake.accesses.is_empty()));
}

#[test]
fn an_access_of_no_bytes_succeeds_inside() {
    let mut setup = negotiated();
    assert_eq!(
        setup.client.read(2, BAR2_SIZE, 0).unwrap().payload,
        access(2, BAR2_SIZE, 0)
    );
    assert_eq!(setup.client.write(2, 0, &[]).unwrap().error(), None);
    assert_eq!(setup.client.read(2, BAR2_SIZE + 1, 0).unwrap().error(), EINVAL);
    assert!(setup.daemon.ask(|fake| fake.accesses.is_empty()));
}

#[test]
fn a_write_whose_count_and_data_disagree_is_refused() {
    let mut client = negotiated().client;
    for (count, sent) in [(4, 3), (4, 5), (0, 1), (u32::MAX, 4)] {
        let payload = [access(2, 0, count), vec![0xaa; sent]].concat();
        let reply = client.request(command::REGION_WRITE, &payload).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    for command in [command::REGION_READ, command::REGION_WRITE] {
        assert_eq!(client.request(command, &[0; 15]).unwrap().error(), EINVAL);
    }
}

fn one_of_many(region: u32, offset: u64, count: u32, data: u64) -> Vec<u8> {
    [access(region, offset, count), data.to_le_bytes().to_vec()].concat()
}

#[test]
fn several_writes_in_one_message_are_done_in_order() {
    let mut setup = negotiated();
    let payload = [
        2u64.to_le_bytes().to_vec(),
        one_of_many(2, 0, 8, 0x8877_6655_4433_2211),
        one_of_many(2, 2, 2, 0xbbaa),
    ]
    .concat();
    let reply = setup
        .client
        .request(command::REGION_WRITE_MULTI, &payload)
        .unwrap();
    assert_eq!(reply.payload, 2u64.to_le_bytes());
    let seen = setup.daemon.ask(|fake| fake.buffer[..8].to_vec());
    assert_eq!(seen, [0x11, 0x22, 0xaa, 0xbb, 0x55, 0x66, 0x77, 0x88]);
}

#[test]
fn malformed_groups_of_writes_are_refused_whole() {
    let mut setup = negotiated();
    let write = one_of_many(2, 0, 4, 0xff);
    for (count, entries) in [
        (2u64, vec![write.clone()]),
        (0, vec![write.clone()]),
        (201, vec![write.clone(); 201]),
        (u64::MAX, vec![]),
        (2, vec![write.clone(), one_of_many(2, 0, 9, 0)]),
    ] {
        let payload = [count.to_le_bytes().to_vec(), entries.concat()].concat();
        let reply = setup
            .client
            .request(command::REGION_WRITE_MULTI, &payload)
            .unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    assert!(setup.daemon.ask(|fake| fake.accesses.is_empty()));
    let payload = [2u64.to_le_bytes().to_vec(), write, one_of_many(1, 0, 4, 0)].concat();
    let reply = setup
        .client
        .request(command::REGION_WRITE_MULTI, &payload)
        .unwrap();
    assert_eq!(reply.error(), EINVAL, "writes up to the bad one are done");
    assert_eq!(setup.daemon.ask(|fake| fake.accesses.len()), 1);
}

// ---- DMA_MAP, DMA_UNMAP: test_dma_map.py, test_dma_unmap.py

#[test]
fn dma_ranges_come_and_go() {
    let mut setup = negotiated();
    let file = file(0x4000);
    assert_eq!(
        setup
            .client
            .dma_map(0x1000, 0x2000, Some((&file, 0x2000)))
            .unwrap()
            .payload,
        [0u8; 0]
    );
    assert_eq!(
        setup
            .client
            .dma_map(0x2000, 0x1000, Some((&file, 0)))
            .unwrap()
            .error(),
        EEXIST
    );
    assert_eq!(setup.client.dma_map(0x3000, 0x1000, None).unwrap().error(), None);
    assert_eq!(setup.daemon.ask(|fake| fake.guest.len()), 2);
    assert_eq!(setup.client.dma_unmap(0, 0x8000, 0x1000).unwrap().error(), ENOENT);
    assert_eq!(
        setup.client.dma_unmap(0, 0x1000, 0x1000).unwrap().error(),
        EINVAL,
        "a part"
    );
    let reply = setup.client.dma_unmap(0, 0x1000, 0x2000).unwrap();
    assert_eq!(reply.error(), None);
    assert_eq!((reply.u64(8), reply.u64(16)), (0x1000, 0x2000));
    assert_eq!(setup.daemon.ask(|fake| fake.guest.len()), 1);
    assert_eq!(setup.client.dma_unmap(2, 0, 0).unwrap().error(), None);
    assert!(setup.daemon.ask(|fake| fake.guest.is_empty()));
    assert_eq!(
        setup.client.dma_unmap(2, 0, 0).unwrap().error(),
        None,
        "nothing left is fine"
    );
}

#[test]
fn bad_dma_requests_are_refused() {
    let mut client = negotiated().client;
    let file = file(0x1000);
    for (address, size, offset) in [
        (0, 0, 0),
        (0, 0x2000, 0),
        (0, 0x1000, 0x1000),
        (1, 0x1000, 0),
        (!0xfff, 0x2000, 0),
    ] {
        let reply = client.dma_map(address, size, Some((&file, offset))).unwrap();
        assert_eq!(reply.error(), EINVAL);
    }
    let map = |flags: u32, argsz: u32| {
        [
            pack(&[argsz, flags]),
            [0u64, 0, 0x1000].iter().flat_map(|it| it.to_le_bytes()).collect(),
        ]
        .concat()
    };
    for payload in [map(4, 32), map(3, 31), map(3, 32)[..31].to_vec(), vec![]] {
        assert_eq!(
            client.request(command::DMA_MAP, &payload).unwrap().error(),
            EINVAL
        );
    }
    let two = [file.as_fd(), file.as_fd()];
    let reply = client.request_with(command::DMA_MAP, &map(3, 32), &two).unwrap();
    assert_eq!(reply.error(), EINVAL);

    assert_eq!(
        client.dma_unmap(1, 0, 0x1000).unwrap().error(),
        EINVAL,
        "dirty bitmap"
    );
    assert_eq!(client.dma_unmap(3, 0, 0).unwrap().error(), EINVAL);
    assert_eq!(client.dma_unmap(4, 0, 0x1000).unwrap().error(), EINVAL);
    assert_eq!(client.dma_unmap(2, 0x1000, 0x1000).unwrap().error(), EINVAL);
    for argsz in [8, MAX_DATA + 8] {
        let payload = [pack(&[argsz, 0]), vec![0; 16]].concat();
        assert_eq!(
            client.request(command::DMA_UNMAP, &payload).unwrap().error(),
            EINVAL
        );
    }
    assert_eq!(
        client
            .request(command::DMA_UNMAP, &pack(&[0, 0]))
            .unwrap()
            .error(),
        EINVAL
    );
}

// ---- DEVICE_RESET and what is not there

#[test]
fn reset_reaches_the_function() {
    let mut setup = negotiated();
    assert_eq!(
        setup.client.request(command::DEVICE_RESET, &[]).unwrap().payload,
        [0u8; 0]
    );
    assert_eq!(setup.daemon.ask(|fake| fake.resets), 1);
}

#[test]
fn what_is_not_served_is_refused() {
    let mut client = negotiated().client;
    for unsupported in [command::DMA_READ, 12, command::DIRTY_PAGES, 16, 17, 18] {
        assert_eq!(client.request(unsupported, &[0; 64]).unwrap().error(), EOPNOTSUPP);
    }
    for unknown in [0, 19, 999, u16::MAX] {
        assert_eq!(client.request(unknown, &[0]).unwrap().error(), EINVAL);
    }
}

// ---- headers

#[test]
fn a_request_that_wants_no_reply_gets_none() {
    let mut setup = negotiated();
    let write = [access(2, 0, 1), vec![7]].concat();
    let size = u32::try_from(16 + write.len()).unwrap();
    let silent = [header(1, command::REGION_WRITE, size, NO_REPLY), write].concat();
    setup.client.send(&silent, &[]).unwrap();
    setup.client.send(&header(2, 999, 16, NO_REPLY), &[]).unwrap();
    let reply = setup.client.read(2, 0, 1).unwrap();
    assert_eq!(
        reply.payload[16..],
        [7],
        "the next reply is that of the next request"
    );
}

#[test]
fn an_unsolicited_reply_and_an_unknown_type_are_refused() {
    let mut setup = negotiated();
    for kind in [1, 2, 15] {
        setup
            .client
            .send(&header(0xbad2, command::DEVICE_RESET, 16, kind), &[])
            .unwrap();
        let reply = setup.client.receive().unwrap();
        assert_eq!((reply.id, reply.error()), (0xbad2, EINVAL));
    }
    assert_eq!(setup.daemon.ask(|fake| fake.resets), 0);
}

#[test]
fn several_requests_in_one_go_are_answered_in_order() {
    let mut client = negotiated().client;
    let mut bytes = Vec::new();
    for id in 0..100 {
        bytes.extend(message(id, command::REGION_READ, &access(2, id.into(), 4)));
    }
    client.send(&bytes, &[]).unwrap();
    for id in 0..100 {
        assert_eq!(client.receive().unwrap().id, id);
    }
}

#[test]
fn an_error_of_the_function_is_never_errno_zero() {
    let mut setup = negotiated();
    for (errno, expected) in [(28, Some(28)), (0, EIO), (-5, EIO)] {
        setup.daemon.ask(move |fake| fake.broken = Some(errno));
        assert_eq!(setup.client.read(2, 0, 4).unwrap().error(), expected);
        assert_eq!(setup.client.write(2, 0, &[1]).unwrap().error(), expected);
    }
}
