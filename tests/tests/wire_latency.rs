//! How long an access takes. Not a test: run it with
//! `cargo test --release -p tests --test wire_latency -- --ignored --nocapture`.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on has failed")]

use std::hint::spin_loop;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use device::transport::vfio_user::{Listener, Options};
use tests::wire::{Client, Daemon, Fake, access, command, message};

const ROUNDS: usize = 2_000;
const REPEATS: usize = 8;

/// How the front end waits for its reply.
#[derive(Debug, Clone, Copy)]
enum FrontEnd {
    /// The thread that asked reads the socket.
    Simple,
    /// Another thread reads the socket and hands the reply over, as QEMU's I/O thread does for a vCPU.
    HandOver,
}

/// Times of 4-byte REGION_READs; the client thinks for `pause` between two.
fn round_trips(front_end: FrontEnd, spin: Duration, pause: Duration) -> Vec<Duration> {
    let (ours, theirs) = UnixStream::pair().expect("no socket pair");
    let options = Options {
        spin,
        ..Options::default()
    };
    let listener = Listener::from_fd(OwnedFd::from(ours)).expect("not a socket");
    let fake = Fake::new().expect("no memory");
    let daemon = Daemon::start(fake, listener, options).expect("no server");
    let mut client = Client::new(theirs).expect("no client");
    client.negotiate().expect("no VERSION");
    let request = message(1, command::REGION_READ, &access(2, 0x1000, 4));
    let mut reader = client.socket.try_clone().expect("no descriptor");
    let mut receive = move || reader.read_exact(&mut [0; 36]).is_ok();
    let mut wait: Box<dyn FnMut() -> bool> = match front_end {
        FrontEnd::Simple => Box::new(receive),
        FrontEnd::HandOver => {
            let (send, received) = mpsc::channel();
            std::thread::spawn(move || while receive() && send.send(()).is_ok() {});
            Box::new(move || received.recv().is_ok())
        }
    };
    let times = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            client.send(&request, &[]).expect("the server is gone");
            assert!(wait());
            let time = start.elapsed();
            let thinking = Instant::now();
            while thinking.elapsed() < pause {
                spin_loop();
            }
            time
        })
        .collect();
    client
        .socket
        .shutdown(std::net::Shutdown::Both)
        .expect("the server is gone");
    let _ = daemon.join();
    times
}

#[test]
#[ignore = "measures, asserts nothing"]
fn region_read_round_trip() {
    println!("front end | spin us | pause us | median us | mean us");
    for front_end in [FrontEnd::Simple, FrontEnd::HandOver] {
        for pause in [0, 10, 40] {
            const SPINS: [u64; 5] = [0, 2, 5, 20, 100];
            let mut times = [const { Vec::new() }; SPINS.len()];
            // Interleaved, so that whatever else the machine does hits all alike.
            for _ in 0..REPEATS {
                for (spin, times) in SPINS.iter().zip(&mut times) {
                    let (spin, pause) = (Duration::from_micros(*spin), Duration::from_micros(pause));
                    times.extend(round_trips(front_end, spin, pause));
                }
            }
            for (spin, times) in SPINS.iter().zip(&mut times) {
                times.sort();
                let median = times[times.len() / 2].as_secs_f64() * 1e6;
                let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len() as f64;
                println!("{front_end:9?} | {spin:7} | {pause:8} | {median:9.2} | {mean:7.2}");
            }
        }
    }
}
