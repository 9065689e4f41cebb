//! What many resets take, for `docs/performance.md`: `cargo run --release -p tests --example resets -- 200` (resets).
//!
//! The miniature driver brings the device up and then, again and again: writes 64 MiB of VRAM as a guest's CPUs would, makes an address space
//! and runs a packet in it, has the device reset by MODE1, which loses VRAM, and brings everything up again. All of it is one thread without
//! sockets, so that the time is the device's, the driver's and the kernel's, which takes and gives pages.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use gart::GpuVa;
use tests::driver::packet::sdma as packet;
use tests::driver::{Domain, Driver, Kernel, ResetMethod};
use tests::guest::{Buffer, Failure, PAGE, expect};

const POPULATED: u64 = 64 << 20;
/// Where the user's buffers are mapped.
const VA: u64 = 0x1_0000_0000;
/// Resets after which everything is allocated that will ever be.
const WARM: u32 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let resets = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let mut out = std::io::stdout().lock();
    let mut driver = Driver::bring_up(Kernel::V6_12, 2)?;
    let populated = driver.allocate(Domain::Vram, POPULATED, PAGE)?;
    for _ in 0..WARM {
        round(&mut driver, &populated)?;
    }
    let events = |driver: &mut Driver| driver.guest.gpu().journal().since(0).count();
    let (kept, memory) = (events(&mut driver), anonymous_memory()?);
    let (processor, begin) = (processor_time()?, Instant::now());
    let mut longest = Duration::ZERO;
    for _ in 0..resets {
        let round_began = Instant::now();
        round(&mut driver, &populated)?;
        longest = longest.max(round_began.elapsed());
    }
    let (whole, processor) = (begin.elapsed(), processor_time()?.saturating_sub(processor));
    let grown = i128::from(anonymous_memory()?) - i128::from(memory);
    let each = resets.max(1);
    writeln!(
        out,
        "{resets} MODE1 resets, {} MiB of VRAM lost by each: {whole:.1?} in all, {:.1?} each ({longest:.1?} the longest), \
         {:.1?} of processor time each; private memory {memory} KiB after {WARM} resets, {grown:+} KiB at the end, when {} more events are kept",
        POPULATED >> 20,
        whole / each,
        processor / each,
        events(&mut driver) - kept,
    )?;
    let counted = driver.guest.gpu().stats().resets.mode1;
    expect("MODE1 resets of the device", counted, u64::from(resets + WARM))?;
    Ok(())
}

/// One loss of everything, and the way back.
fn round(driver: &mut Driver, populated: &Buffer) -> Result<(), Failure> {
    for page in 0..POPULATED / PAGE {
        driver.guest.store(populated, page * PAGE, 0x5afe)?;
    }
    let mut vm = driver.new_vm(1, 1)?;
    let ib = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    let target = driver.allocate(Domain::Gtt, PAGE, PAGE)?;
    driver.map(&mut vm, VA, &ib)?;
    driver.map(&mut vm, VA + PAGE, &target)?;
    let write = packet::write(GpuVa::new(VA + PAGE), &[5]);
    driver.run_user(0, &vm, (&ib, VA), &write)?;
    expect(
        "written in the address space",
        driver.guest.load(&target, 0)?,
        5_u32,
    )?;

    driver.mode1_reset(ResetMethod::Mode1Smu)?;
    let last = (POPULATED / PAGE - 1) * PAGE;
    if driver.guest.load(populated, last)? == 0x5afe {
        return Err(Failure::Invalid("a MODE1 reset lost nothing"));
    }
    driver.hw_init()
}

/// What the process takes for itself, in KiB: `RssAnon` of proc(5).
fn anonymous_memory() -> Result<u64, Box<dyn std::error::Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("/proc/self/status has no RssAnon")?.parse()?)
}

/// Time on a processor, user and kernel: the first number of `/proc/self/schedstat`, in nanoseconds.
fn processor_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    let number = text.split_whitespace().next();
    let number = number.ok_or("/proc/self/schedstat is empty")?.parse()?;
    Ok(Duration::from_nanos(number))
}
