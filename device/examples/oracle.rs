//! How long the oracle takes to look at millions of pages, and how long one of its turns is, for `docs/performance.md`:
//! `cargo run --release -p vhost-device-amdgpu --example oracle`. `-- N`: so many pages instead of 8388608.

use std::io::Write;
use std::time::{Duration, Instant};

use device::function::Gpu;
use device::memory::{DeviceMemory, Vram};
use gart::{Location, PhysicalMemory, VramOffset, registers};
use gpu::asic::NAVI21;
use gpu::{Answer, GpuConfig, Loss, LossMode, Outcome, Question, Work};

const VRAM: u64 = 1 << 30;
const ROOT: u64 = 0x10_0000;
/// VALID; READABLE and WRITEABLE as well.
const TABLE: u64 = 1;
const PAGE: u64 = TABLE | 1 << 5 | 1 << 6;

fn main() -> anyhow::Result<()> {
    let pages = std::env::args()
        .nth(1)
        .map_or(Ok(1 << 23), |text| text.parse::<u64>())?;
    let mut gpu = Gpu::new(
        GpuConfig::bare_metal(&NAVI21, 1),
        DeviceMemory::new(Vram::new(VRAM)?),
    )?;
    map(&gpu, pages)?;
    point(&mut gpu);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{pages} pages in no order, {} KiB before", private()?)?;
    for (what, question) in [
        ("snapshot", Question::Snapshot),
        ("comparison", Question::Comparison),
    ] {
        let begin = Instant::now();
        let ticket = gpu.ask_oracle(question).ok_or_else(|| anyhow::anyhow!("busy"))?;
        let (longest, longest_cpu, most) = turns(&mut gpu, begin)?;
        let whole = begin.elapsed();
        let found = match gpu.oracle_answer(ticket) {
            Outcome::Ready(Answer::Snapshot(report)) => {
                format!("{} runs, truncated: {}", report.runs, report.truncated)
            }
            Outcome::Ready(Answer::Comparison(report)) => format!("{} the same", report.in_use.same),
            other => anyhow::bail!("no answer: {other:?}"),
        };
        let kept = private()?;
        writeln!(
            out,
            "{what}: {whole:.1?}, {longest:.2?} the longest turn ({longest_cpu:.2?} of CPU), {found}; {most} KiB at most, {kept} KiB after"
        )?;
    }
    let begin = Instant::now();
    gpu.lose(Loss::whole(LossMode::Poison));
    let first = begin.elapsed();
    let (longest, longest_cpu, _) = turns(&mut gpu, begin)?;
    writeln!(
        out,
        "a loss, with its look before: {:.1?}, {:.2?} the longest turn ({longest_cpu:.2?} of CPU)",
        begin.elapsed(),
        longest.max(first)
    )?;
    Ok(())
}

/// Runs until there is nothing to do. Gives the longest turn, by the clock and in CPU time, and the most private memory in KiB.
fn turns(gpu: &mut Gpu, begin: Instant) -> anyhow::Result<(Duration, Duration, u64)> {
    let (mut longest, mut longest_cpu, mut most) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let (turn, turn_cpu) = (Instant::now(), cpu());
        gpu.set_time(begin.elapsed());
        let work = gpu.run();
        longest = longest.max(turn.elapsed());
        longest_cpu = longest_cpu.max(cpu().saturating_sub(turn_cpu));
        most = most.max(private()?);
        if work != Work::Busy {
            return Ok((longest, longest_cpu, most));
        }
    }
}

/// Resident memory beside VRAM, in KiB.
fn private() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
    };
    field("RssAnon:").ok_or_else(|| anyhow::anyhow!("the kernel does not tell"))
}

/// Four levels of tables, of which no two entries go on from each other.
fn map(gpu: &Gpu, pages: u64) -> anyhow::Result<()> {
    let put = |at: u64, entry: u64| gpu.memory().store_u64(Location::Vram(VramOffset::new(at)), entry);
    let [pdb1, pdb0, ptbs] = [0x1000, 0x1_0000, 0x20_0000].map(|at| ROOT + at);
    put(ROOT, pdb1 | TABLE)?;
    for table in 0..pages.div_ceil(512) {
        put(pdb1 + 8 * (table / 512), (pdb0 + 0x1000 * (table / 512)) | TABLE)?;
        put(pdb0 + 8 * table, (ptbs + 0x1000 * table) | TABLE)?;
    }
    for page in 0..pages {
        put(ptbs + 8 * page, (page * 0x9e37 % (1 << 24) * 4096) | PAGE)?;
    }
    Ok(())
}

/// Points VMID 1 at the root, and flushes it.
fn point(gpu: &mut Gpu) {
    let layout = NAVI21.gfxhub;
    let mut write = |register: mmio::RegOffset, value| gpu.write_register(layout.l2(register), value);
    write(registers::PAGE_TABLE_BASE.plus(8), 0x10_0001);
    write(registers::PAGE_TABLE_END.plus(8), u32::MAX);
    write(registers::PAGE_TABLE_END.plus(12), 0xf);
    write(registers::CONTEXT_CNTL.plus(4), 1 | 3 << 1);
    write(registers::INVALIDATE_REQ, 1 << 1);
}

/// CPU time of this thread: what a turn takes on a machine that does nothing else.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
