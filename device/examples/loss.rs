//! How long losing populated VRAM takes, for `docs/performance.md`: `cargo run --release -p vhost-device-amdgpu --example loss -- 1 4 16`
//! (GiB), with the file that the host allows and, to compare, with a memfd. `auto`, `huge` or `memfd` before the sizes: with that only.

use std::io::Write;
use std::time::{Duration, Instant};

use device::memory::{Backing, DeviceMemory, Vram};
use gpu::asic::NAVI21;
use gpu::{Gpu, GpuConfig, Loss, LossMode, Work};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

const PAGE: usize = 4096;

fn main() -> anyhow::Result<()> {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .init();
    let mut backings = vec![Backing::Auto, Backing::Memfd];
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "auto" => backings = vec![Backing::Auto],
            "huge" => backings = vec![Backing::Huge],
            "memfd" => backings = vec![Backing::Memfd],
            size => {
                for backing in &backings {
                    all_modes(size.parse::<u64>()? << 30, *backing)?;
                }
            }
        }
    }
    Ok(())
}

fn all_modes(size: u64, backing: Backing) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for mode in [LossMode::Keep, LossMode::Zero, LossMode::Poison] {
        let vram = Vram::backed(size, backing)?;
        let page = vram.page() >> 10;
        let Measured {
            whole,
            memset,
            longest,
            longest_cpu,
            turns,
        } = measure(vram, mode)?;
        writeln!(
            out,
            "{:2} GiB, pages of {page} KiB, {mode:?}: {whole:.1?} in all, {longest:.2?} the longest of {turns} turns ({longest_cpu:.2?} of CPU)",
            size >> 30
        )?;
        if let Some(memset) = memset {
            writeln!(out, "        a memset of the same: {memset:.1?}")?;
        }
    }
    Ok(())
}

/// The time that the loss takes, and the longest turn of it: so long a register access may have to wait.
struct Measured {
    whole: Duration,
    /// A plain memset of the same, through a mapping that has the pages.
    memset: Option<Duration>,
    longest: Duration,
    longest_cpu: Duration,
    turns: u32,
}

fn measure(vram: Vram, mode: LossMode) -> anyhow::Result<Measured> {
    let size = usize::try_from(vram.size())?;
    let config = GpuConfig::bare_metal(&NAVI21, 1);
    let mut gpu = Gpu::new(config, DeviceMemory::new(vram))?;
    // As a front end maps it; the device itself has touched nothing of this.
    let file = FileOffset::new(gpu.memory().vram.share()?, 0);
    let front_end = MmapRegion::<()>::from_file(file, size)?;
    for page in (0..size).step_by(PAGE) {
        front_end.get_slice(page, 8)?.copy_from(&[0x5afe_u64]);
    }
    let begin = Instant::now();
    gpu.lose(Loss::whole(mode));
    let (mut longest, mut longest_cpu) = (Duration::ZERO, Duration::ZERO);
    for turns in 1.. {
        let (turn, turn_cpu) = (Instant::now(), cpu());
        gpu.set_time(begin.elapsed());
        let work = gpu.run();
        longest = longest.max(turn.elapsed());
        longest_cpu = longest_cpu.max(cpu().saturating_sub(turn_cpu));
        if work != Work::Busy {
            let whole = begin.elapsed();
            return Ok(Measured {
                whole,
                memset: (mode == LossMode::Poison).then(|| memset(&front_end)),
                longest,
                longest_cpu,
                turns,
            });
        }
    }
    anyhow::bail!("it does not end")
}

#[expect(unsafe_code, reason = "a plain memset, to compare with")]
fn memset(memory: &MmapRegion) -> Duration {
    let begin = Instant::now();
    // SAFETY: the region is mapped for reading and writing, and nothing else in this process accesses it meanwhile: this thread owns
    // the device.
    unsafe { std::ptr::write_bytes(memory.as_ptr(), 0x5a, memory.size()) };
    begin.elapsed()
}

/// CPU time of this thread: what a turn takes on a machine that does nothing else.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
