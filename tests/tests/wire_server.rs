//! The server around the protocol: listening, stopping, the mailbox, clients that come and go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use device::transport::vfio_user::{Listener, Options, ServeError};
use device::transport::{Activity, MailboxClosed, SocketError};
use rustix::event::EventfdFlags;
use tests::wire::{Client, Daemon, Fake, MSI, NO_REPLY, access, command, header};

fn fake() -> Fake {
    Fake::new().unwrap()
}

fn talk(client: &mut Client) {
    client.negotiate().unwrap();
    assert_eq!(client.write(2, 0, &[1, 2, 3, 4]).unwrap().error(), None);
}

#[test]
fn a_client_that_leaves_takes_its_memory_and_descriptors_along() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    for round in 1..=3 {
        let mut client = Client::connect(&daemon.path).unwrap();
        talk(&mut client);
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1000).unwrap();
        assert_eq!(client.dma_map(0, 0x1000, Some((&file, 0))).unwrap().error(), None);
        let event = rustix::event::eventfd(0, EventfdFlags::empty()).unwrap();
        let reply = client.set_irqs(0x24, MSI, 0, 1, &[event.as_fd()]).unwrap();
        assert_eq!(reply.error(), None);
        assert!(daemon.ask(|fake| !fake.guest.is_empty() && fake.vectors[0].is_some()));
        drop(client);
        assert!(daemon.wait_until(move |fake| fake.disconnections == round));
        assert!(daemon.ask(|fake| fake.guest.is_empty() && fake.vectors[0].is_none()));
    }
}

#[test]
fn a_second_client_waits_for_the_first_to_leave() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    let mut first = Client::connect(&daemon.path).unwrap();
    talk(&mut first);
    let mut second = Client::connect(&daemon.path).unwrap();
    second.send(&header(5, command::VERSION, 16, 0), &[]).unwrap();
    second
        .socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert_eq!(second.receive().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(
        first.read(2, 0, 4).unwrap().error(),
        None,
        "the first is not disturbed"
    );
    drop(first);
    second
        .socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(second.receive().unwrap().id, 5);
    talk(&mut second);
}

#[test]
fn a_path_with_a_live_listener_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    let mut client = Client::connect(&daemon.path).unwrap();
    talk(&mut client);
    let error = Listener::bind(&daemon.path).unwrap_err();
    assert!(
        matches!(error, ServeError::Socket(SocketError::InUse(_))),
        "{error}"
    );
    assert_eq!(client.read(2, 0, 4).unwrap().error(), None);
    drop(client);
    talk(&mut Client::connect(&daemon.path).unwrap());
}

#[test]
fn a_stale_socket_is_replaced_and_ours_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vfio.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    talk(&mut Client::connect(&path).unwrap());
    daemon.finish().1.unwrap();
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    File::create(&path).unwrap();
    assert!(matches!(
        Listener::bind(&path),
        Err(ServeError::Socket(SocketError::NotASocket(_)))
    ));
    assert!(path.exists());
    let nowhere = directory.path().join("no/such/directory");
    assert!(matches!(
        Listener::bind(&nowhere),
        Err(ServeError::Socket(SocketError::Listen { .. }))
    ));
}

#[test]
fn a_socket_that_somebody_else_put_in_place_of_ours_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vfio.sock");
    let ours = Listener::bind(&path).unwrap();
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

#[test]
fn inherited_sockets_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inherited");
    let listening = UnixListener::bind(&path).unwrap();
    let listener = Listener::from_fd(OwnedFd::from(listening)).unwrap();
    let daemon = Daemon::start(fake(), listener, Options::default()).unwrap();
    talk(&mut Client::connect(&path).unwrap());
    talk(&mut Client::connect(&path).unwrap());
    daemon.finish().1.unwrap();
    assert!(path.exists(), "the file belongs to whoever made it");

    let (ours, theirs) = UnixStream::pair().unwrap();
    let listener = Listener::from_fd(OwnedFd::from(ours)).unwrap();
    let daemon = Daemon::start(fake(), listener, Options::default()).unwrap();
    talk(&mut Client::new(theirs).unwrap());
    let (fake, result) = daemon.join();
    result.unwrap();
    assert_eq!(
        fake.disconnections, 1,
        "nobody else can connect, so the server returned"
    );
}

#[test]
fn other_inherited_descriptors_are_refused() {
    let (datagram, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let (pipe, _) = std::io::pipe().unwrap();
    for fd in [OwnedFd::from(datagram), OwnedFd::from(pipe)] {
        assert!(matches!(Listener::from_fd(fd), Err(ServeError::NoSocket)));
    }
}

#[test]
fn once_means_one_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("once");
    let options = Options {
        once: true,
        ..Options::default()
    };
    let daemon = Daemon::start(fake(), Listener::bind(&path).unwrap(), options).unwrap();
    talk(&mut Client::connect(&path).unwrap());
    let (fake, result) = daemon.join();
    result.unwrap();
    assert_eq!(fake.disconnections, 1);
}

#[test]
fn a_stop_ends_an_idle_a_waiting_and_a_busy_server() {
    for (activity, connect) in [
        (Activity::Idle, false),
        (Activity::Idle, true),
        (Activity::Busy, true),
        (Activity::Until(Instant::now() + Duration::from_secs(3600)), true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let fake = Fake { activity, ..fake() };
        let daemon = Daemon::listen(fake, directory.path()).unwrap();
        let client = connect.then(|| {
            let mut client = Client::connect(&daemon.path).unwrap();
            talk(&mut client);
            client
        });
        let (fake, result) = daemon.finish();
        result.unwrap();
        assert_eq!(fake.disconnections, usize::from(connect));
        if let Some(mut client) = client {
            assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn the_mailbox_works_with_and_without_a_client_and_ends_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    assert_eq!(daemon.ask(|fake| fake.resets), 0);
    let mut client = Client::connect(&daemon.path).unwrap();
    talk(&mut client);
    for count in 0..100 {
        daemon
            .mailbox
            .post(move |fake| {
                assert_eq!(fake.resets, count, "in order");
                fake.resets += 1;
            })
            .unwrap();
    }
    assert_eq!(daemon.ask(|fake| fake.resets), 100);
    let mailbox = daemon.mailbox.clone();
    daemon.finish().1.unwrap();
    assert_eq!(mailbox.call(|_| ()), Err(MailboxClosed));
}

#[test]
fn engines_that_never_rest_starve_no_access() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake {
        activity: Activity::Busy,
        ..fake()
    };
    let daemon = Daemon::listen(fake, directory.path()).unwrap();
    let mut client = Client::connect(&daemon.path).unwrap();
    talk(&mut client);
    for _ in 0..1000 {
        assert_eq!(client.read(2, 0, 4).unwrap().error(), None);
    }
    let runs = daemon.ask(|fake| fake.runs);
    assert!(daemon.wait_until(move |fake| fake.runs > runs));
}

#[test]
fn a_flood_of_accesses_starves_no_engine() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    let mut client = Client::connect(&daemon.path).unwrap();
    talk(&mut client);
    let before = daemon.ask(|fake| fake.runs);
    const MESSAGES: usize = 1000;
    let silent = [header(0, command::REGION_READ, 32, NO_REPLY), access(2, 0, 4)].concat();
    client.send(&silent.repeat(MESSAGES), &[]).unwrap();
    assert_eq!(client.read(2, 0, 4).unwrap().error(), None);
    let runs = daemon.ask(|fake| fake.runs) - before;
    assert!(runs >= MESSAGES / 32, "{runs} runs during {MESSAGES} messages");
}

#[test]
fn engines_that_wait_for_a_time_run_again_at_that_time() {
    let directory = tempfile::tempdir().unwrap();
    let due = Instant::now() + Duration::from_millis(30);
    let fake = Fake {
        activity: Activity::Until(due),
        ..fake()
    };
    let runs = Arc::clone(&fake.watched_runs);
    let daemon = Daemon::listen(fake, directory.path()).unwrap();
    // Once the time has come the engines are asked again and again, as it is not in the future. Nothing else wakes the server.
    let patience = Instant::now() + Duration::from_secs(10);
    while runs.load(Ordering::Relaxed) <= 2 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(runs.load(Ordering::Relaxed) > 2 && Instant::now() >= due);
    daemon.finish().1.unwrap();
}

#[test]
fn an_idle_server_does_not_turn() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::listen(fake(), directory.path()).unwrap();
    let mut client = Client::connect(&daemon.path).unwrap();
    talk(&mut client);
    std::thread::sleep(Duration::from_millis(5));
    let before = daemon.ask(|fake| fake.runs);
    std::thread::sleep(Duration::from_millis(50));
    let after = daemon.ask(|fake| fake.runs);
    assert!(after - before < 100, "{} turns without a message", after - before);
}

#[test]
fn another_descriptor_can_wake_the_engines() {
    use device::transport::vfio_user::Server;
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&directory.path().join("wake")).unwrap();
    let mut server = Server::new(listener, Options::default()).unwrap();
    let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    server.add_wake(wake.try_clone().unwrap());
    let (mailbox, stop) = (server.mailbox(), server.stop_handle());
    let thread = std::thread::spawn(move || {
        let mut fake = fake();
        server.serve(&mut fake).unwrap();
        fake.runs
    });
    let before = mailbox.call(|fake: &mut Fake| fake.runs).unwrap();
    rustix::io::write(&wake, &1u64.to_ne_bytes()).unwrap();
    let start = Instant::now();
    while mailbox.call(|fake| fake.runs).unwrap() < before + 2 && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut count = [0; 8];
    assert_eq!(
        rustix::io::read(&wake, &mut count).unwrap_err(),
        rustix::io::Errno::AGAIN,
        "the count was taken"
    );
    stop.stop();
    thread.join().unwrap();
}
