//! How long an access takes. Not a test: run it with
//! `cargo test --release -p tests --test wire_latency -- --ignored --nocapture`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use device::transport::vfio_user::{Listener, Options};
use tests::wire::{Client, Daemon, Fake, access, command, message};

const ROUNDS: u32 = 20_000;

/// Mean time of a 4-byte REGION_READ in microseconds; the client thinks for `pause` between two.
fn round_trip(spin: Duration, pause: Duration) -> f64 {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let options = Options {
        spin,
        ..Options::default()
    };
    let listener = Listener::from_fd(OwnedFd::from(ours)).unwrap();
    let daemon = Daemon::start(Fake::new().unwrap(), listener, options).unwrap();
    let mut client = Client::new(theirs).unwrap();
    client.negotiate().unwrap();
    let request = message(1, command::REGION_READ, &access(2, 0x1000, 4));
    let mut total = Duration::ZERO;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        client.send(&request, &[]).unwrap();
        let mut reply = [0; 36];
        std::io::Read::read_exact(&mut client.socket, &mut reply).unwrap();
        total += start.elapsed();
        let thinking = Instant::now();
        while thinking.elapsed() < pause {
            std::hint::spin_loop();
        }
    }
    drop(client);
    daemon.join().1.unwrap();
    total.as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

#[test]
#[ignore = "measures, asserts nothing"]
fn region_read_round_trip() {
    println!("spin us | pause us | round trip us");
    for spin in [0, 5, 20, 50, 200] {
        for pause in [0, 10, 40, 100] {
            let mean = round_trip(Duration::from_micros(spin), Duration::from_micros(pause));
            println!("{spin:7} | {pause:8} | {mean:8.2}");
        }
    }
}
