//! No descriptor is ever kept. A test binary of its own: it counts those of the whole process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::EventfdFlags;
use tests::wire::{Client, Daemon, Fake, MSI, command, header, message, pack};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Everything that brings descriptors, wanted or not.
fn talk(daemon: &Daemon, round: u64) {
    let mut client = Client::connect(&daemon.path).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x4000).unwrap();
    let event = rustix::event::eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let many: Vec<BorrowedFd<'_>> = (0..200).map(|_| file.as_fd()).collect();

    let refused = client
        .request_with(command::DEVICE_RESET, &[], &many[..3])
        .unwrap();
    assert_eq!(refused.error(), Some(22), "before VERSION");
    client.negotiate().unwrap();
    for command in 4..20 {
        let _ = client.request_with(command, &[0; 40], &many[..2]).unwrap();
    }
    assert_eq!(
        client
            .request_with(command::DMA_MAP, &[0; 32], &many)
            .unwrap()
            .error(),
        Some(22)
    );
    assert_eq!(client.dma_map(0, 0x1000, Some((&file, 0))).unwrap().error(), None);
    assert_eq!(
        client.dma_map(0, 0x1000, Some((&file, 0))).unwrap().error(),
        Some(17)
    );
    assert_eq!(
        client.dma_map(0x1000, 0x8000, Some((&file, 0))).unwrap().error(),
        Some(22)
    );
    for _ in 0..3 {
        let reply = client
            .set_irqs(0x24, MSI, 0, 2, &[event.as_fd(), event.as_fd()])
            .unwrap();
        assert_eq!(reply.error(), None);
    }
    let info = pack(&[32, 0, 0, 0, 0, 0, 0, 0]);
    let reply = client.request(command::DEVICE_GET_REGION_INFO, &info).unwrap();
    assert_eq!(reply.fds.len(), 1);
    let silent = [header(1, command::DEVICE_GET_REGION_INFO, 48, 0x10), info].concat();
    client.send(&silent, &many[..1]).unwrap();
    // Leaves in the middle of a message that has brought descriptors already.
    let unfinished = message(9, command::DMA_MAP, &[0; 32]);
    let cut = usize::try_from(round % 40).unwrap() + 1;
    client.send(&unfinished[..cut], &many[..5]).unwrap();
}

#[test]
fn no_descriptor_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(Fake::new().unwrap(), directory.path()).unwrap();
    talk(&daemon, 0);
    assert!(daemon.wait_until(|fake| fake.disconnections == 1));
    let before = open_descriptors();
    for round in 1..50 {
        talk(&daemon, round);
    }
    assert!(daemon.wait_until(|fake| fake.disconnections == 50));
    assert_eq!(open_descriptors(), before);
    daemon.finish().1.unwrap();
}
