//! How long losing populated VRAM takes, for `docs/performance.md`: `cargo run --release --example loss -- 1 4 16` (GiB).

use std::io::Write;
use std::time::{Duration, Instant};

use device::asic::NAVI21;
use device::gpu::{Gpu, GpuConfig, Loss, LossMode, Work};
use device::memory::{DeviceMemory, Vram};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

const PAGE: usize = 4096;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for size in std::env::args().skip(1) {
        let size = size.parse::<u64>()? << 30;
        for mode in [LossMode::Keep, LossMode::Zero, LossMode::Poison] {
            let (whole, longest) = measure(size, mode)?;
            writeln!(
                out,
                "{:2} GiB {mode:?}: {whole:.0?} in all, {longest:.1?} the longest turn",
                size >> 30
            )?;
        }
    }
    Ok(())
}

/// The time that the loss takes, and the longest turn of it: so long a register access may have to wait.
fn measure(size: u64, mode: LossMode) -> anyhow::Result<(Duration, Duration)> {
    let config = GpuConfig::bare_metal(&NAVI21, 1);
    let mut gpu = Gpu::new(config, DeviceMemory::new(Vram::new(size)?))?;
    // As a front end maps it; the device itself has touched nothing of this.
    let file = FileOffset::new(gpu.memory().vram.share()?, 0);
    let front_end = MmapRegion::<()>::from_file(file, usize::try_from(size)?)?;
    for page in (0..usize::try_from(size)?).step_by(PAGE) {
        front_end.get_slice(page, 8)?.copy_from(&[0x5afe_u64]);
    }
    let begin = Instant::now();
    gpu.lose(Loss::whole(mode));
    let mut longest = Duration::ZERO;
    loop {
        let turn = Instant::now();
        let work = gpu.run();
        longest = longest.max(turn.elapsed());
        if work != Work::Busy {
            return Ok((begin.elapsed(), longest));
        }
    }
}
