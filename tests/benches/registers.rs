//! What a guest's register access costs: from a front end through the UNIX socket into the device and back.
//!
//! Run with `cargo bench -p tests --bench registers`; `docs/performance.md` says what the numbers mean.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on has failed")]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use device::function::GpuFunction;
use device::transport::StopHandle;
use device::transport::vfio_user::{Listener, Options, Server};
use gpu::asic::NAVI21;
use tests::wire::Client;

const VRAM: u64 = 256 << 20;
/// Region of the registers.
const BAR5: u32 = 5;
/// RCC_CONFIG_MEMSIZE, in MiB: constant, so that the answer can be checked.
const MEMSIZE: u64 = 0x378c;
/// Kept without effect.
const BIOS_SCRATCH_0: u64 = 0x130;

/// The whole device, served on a thread of its own.
struct Served {
    client: Client,
    stop: StopHandle,
    thread: JoinHandle<()>,
}

impl Served {
    fn new(spin: Duration) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("no socket pair");
        let listener = Listener::from_fd(OwnedFd::from(ours)).expect("not a socket");
        let options = Options {
            spin,
            ..Options::default()
        };
        let mut server = Server::new(listener, options).expect("no server");
        let stop = server.stop_handle();
        let mut function = GpuFunction::new(&NAVI21, VRAM, 2).expect("no device");
        let thread = std::thread::spawn(move || server.serve(&mut function).expect("the server failed"));
        let mut client = Client::new(theirs).expect("no client");
        client.negotiate().expect("no VERSION");
        Self { client, stop, thread }
    }

    fn end(self) {
        self.stop.stop();
        self.thread.join().expect("the server panicked");
    }
}

fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    for spin in [0, 20, 50] {
        let mut served = Served::new(Duration::from_micros(spin));
        group.bench_function(
            BenchmarkId::new("REGION_READ of a register, spin us", spin),
            |b| {
                b.iter(|| {
                    let reply = served.client.read(BAR5, MEMSIZE, 4).expect("the server is gone");
                    assert_eq!((reply.error(), reply.u32(16)), (None, 256));
                });
            },
        );
        group.bench_function(
            BenchmarkId::new("REGION_WRITE of a register, spin us", spin),
            |b| {
                b.iter(|| {
                    let reply = served
                        .client
                        .write(BAR5, BIOS_SCRATCH_0, &[1, 2, 3, 4])
                        .expect("the server is gone");
                    assert_eq!(reply.error(), None);
                });
            },
        );
        served.end();
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = round_trips
}
criterion_main!(benches);
