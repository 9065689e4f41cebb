//! Churn: threads that map, fill, copy, compare and unmap until they are told to stop, whatever happens to the GPU meanwhile.
//!
//! A submission or a request that fails with an error of a reset (see [`Verdict::of`]) makes a thread start over with new buffers
//! and a new context. What was copied is compared in the system's memory, after the fence said that it is done; the comparison counts
//! only if VRAM was not lost since the round began, as the driver counts losses.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::set::Placed;
use super::{FIRST_ADDRESS, GIB, Options, Order, PAGE, length};
use crate::drm::{Buffer, Context, Device, Domain, Engine, Error, Ring, sdma};
use crate::json::Object;
use crate::marker;
use crate::pattern::{Pattern, compare};

/// Most threads of a client.
pub(super) const MOST_THREADS: u64 = 16;
/// So many threads share an open node, and with it an address space.
const THREADS_PER_NODE: u64 = 2;
/// Rounds with the same buffers and context.
const ROUNDS: u64 = 16;
/// Sizes of a thread's buffers: all that it has.
const SMALL: u64 = 16 * PAGE;
const LARGE: u64 = 32 * PAGE;
/// A round that takes longer is lost: longer than the driver's time limit for another's job with the reset after it.
const LIMIT: Duration = Duration::from_secs(100);
/// How long a thread rests before it tries again.
const REST: Duration = Duration::from_millis(20);
/// Where a thread's buffers move about in: so many page tables, and no more.
const SPREAD: u64 = 64 << 20;

/// What a thread has done, for the others to see.
#[derive(Debug, Default)]
struct Progress {
    /// Rounds that came to a right comparison.
    rounds: AtomicU64,
    /// Rounds that VRAM was lost in.
    uncertain: AtomicU64,
    /// Errors of resets.
    cancelled: AtomicU64,
    /// Contexts made.
    contexts: AtomicU64,
    /// Comparisons that failed.
    wrong: AtomicU64,
    /// The device is gone, and with it the thread.
    gone: AtomicBool,
    /// Why the thread gave up, or what was wrong first.
    failure: Mutex<Option<String>>,
}

impl Progress {
    fn fail(&self, error: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What an error means to a client that means to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A reset: start over.
    Reset,
    /// There is no device any more.
    Gone,
    /// Nothing that a reset explains.
    Failure,
}

impl Verdict {
    /// By the error number: ECANCELED of jobs and contexts that a reset took, ETIME of the job that hung (6.12 and later),
    /// ENODATA of one that a soft recovery ended; ENODEV of a device that was unplugged, or EACCES, when it cannot even be woken
    /// up for the request any more (amdgpu_drv.c, `amdgpu_drm_ioctl`).
    const fn of(number: i32) -> Self {
        match number {
            libc::ECANCELED | libc::ETIME | libc::ENODATA => Self::Reset,
            libc::ENODEV | libc::EACCES => Self::Gone,
            _ => Self::Failure,
        }
    }
}

/// Why a round did not end.
enum Stop {
    Request(Error),
    Failure(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Request(error)
    }
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Failure(error)
    }
}

/// The whole life of a client that churns.
pub(super) fn stay(
    node: &Path,
    name: &str,
    options: Options,
    mut next: impl FnMut(Result<(), String>) -> Option<Order>,
) -> Result<(), String> {
    let threads = options.churn.min(MOST_THREADS);
    let devices = (0..threads.div_ceil(THREADS_PER_NODE))
        .map(|_| Device::open(node))
        .collect::<Result<Vec<_>, _>>()?;
    let progress: Vec<Progress> = (0..threads).map(|_| Progress::default()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let on_nodes = devices.iter().flat_map(|device| [device, device]);
        for (number, (device, progress)) in (0..).zip(on_nodes.zip(&progress)) {
            let thread = Thread {
                number,
                device,
                progress,
                stop: &stop,
                seed: options.seed.wrapping_mul(1000) + number,
                // A comparison that does not notice is worth nothing.
                sabotage: if number == 0 { options.sabotage } else { 0 },
            };
            scope.spawn(move || thread.live());
        }
        let mut result = one_more_round(&progress);
        loop {
            result = match next(result) {
                None | Some(Order::Close) => break,
                Some(Order::Use { .. }) => one_more_round(&progress),
                Some(Order::State(_)) => {
                    report(name, &progress);
                    Ok(())
                }
                Some(_) => Err("a client that churns takes use, state and close only".to_owned()),
            };
        }
        stop.store(true, Ordering::Relaxed);
    });
    report(name, &progress);
    match progress.iter().find_map(Progress::failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Waits until every thread has begun and ended a round from now on.
fn one_more_round(progress: &[Progress]) -> Result<(), String> {
    let rounds = |progress: &Progress| progress.rounds.load(Ordering::Relaxed);
    // The round that is under way may have begun before whatever is to be judged.
    let wanted: Vec<_> = progress.iter().map(|thread| rounds(thread) + 2).collect();
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if let Some(failure) = progress.iter().find_map(Progress::failure) {
            return Err(failure);
        }
        if progress.iter().any(|thread| thread.gone.load(Ordering::Relaxed)) {
            return Err("the device is gone".to_owned());
        }
        if progress
            .iter()
            .zip(&wanted)
            .all(|(thread, wanted)| rounds(thread) >= *wanted)
        {
            return Ok(());
        }
        thread::sleep(REST);
    }
    Err(format!(
        "a thread got no further within {} s: rounds {:?}",
        LIMIT.as_secs(),
        progress.iter().map(rounds).collect::<Vec<_>>()
    ))
}

fn report(name: &str, progress: &[Progress]) {
    let sum = |of: fn(&Progress) -> &AtomicU64| -> u64 {
        progress
            .iter()
            .map(|thread| of(thread).load(Ordering::Relaxed))
            .sum()
    };
    let least = progress
        .iter()
        .map(|thread| thread.rounds.load(Ordering::Relaxed))
        .min();
    let gone = progress
        .iter()
        .filter(|thread| thread.gone.load(Ordering::Relaxed))
        .count();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    marker::note(
        "churn",
        &Object::new()
            .text("name", name)
            .number("threads", count(progress.len()))
            .number("rounds", sum(|thread| &thread.rounds))
            .number("least_rounds", least.unwrap_or(0))
            .number("uncertain", sum(|thread| &thread.uncertain))
            .number("cancelled", sum(|thread| &thread.cancelled))
            .number("contexts", sum(|thread| &thread.contexts))
            .number("wrong", sum(|thread| &thread.wrong))
            .number("gone", count(gone)),
    );
}

/// A thread.
struct Thread<'a> {
    number: u64,
    device: &'a Device,
    progress: &'a Progress,
    stop: &'a AtomicBool,
    seed: u64,
    sabotage: u64,
}

impl Thread<'_> {
    fn live(&self) {
        let mut pattern = Pattern::new(self.seed);
        while !self.stop.load(Ordering::Relaxed) {
            let Err(stop) = self.generation(&mut pattern) else {
                continue;
            };
            match stop {
                Stop::Failure(error) => return self.progress.fail(error),
                Stop::Request(error) => match Verdict::of(error.code()) {
                    Verdict::Reset => {
                        self.progress.cancelled.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(REST);
                    }
                    Verdict::Gone => return self.progress.gone.store(true, Ordering::Relaxed),
                    Verdict::Failure => return self.progress.fail(error.to_string()),
                },
            }
        }
    }

    /// A few rounds with the same buffers.
    fn generation(&self, pattern: &mut Pattern) -> Result<(), Stop> {
        let buffers = Buffers::new(self, pattern)?;
        self.progress.contexts.fetch_add(1, Ordering::Relaxed);
        for _ in 0..ROUNDS {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.round(&buffers, pattern)?;
        }
        Ok(buffers.commands.unmap()?)
    }

    /// Maps, fills and copies to VRAM, copies back, compares, unmaps.
    fn round(&self, buffers: &Buffers<'_>, pattern: &mut Pattern) -> Result<(), Stop> {
        let lost = self.device.vram_lost_counter()?;
        let mut offset = |bytes: u64| pattern.next() % (bytes / PAGE) * PAGE;
        let home = buffers.home;
        let addresses = [
            home + offset(SPREAD),
            home + 2 * SPREAD + offset(SPREAD),
            home + 4 * SPREAD + offset(SPREAD),
        ];
        let [source_at, vram_at, target_at] = addresses;
        let within = offset(LARGE - SMALL);
        let placed = [&buffers.source, &buffers.vram, &buffers.target];
        for (buffer, address) in placed.iter().zip(addresses) {
            buffer.map_at(address)?;
        }

        let data = pattern.bytes(length(SMALL)?);
        let value = (pattern.next() & 0xffff_ffff) as u32;
        let mut expected = value.to_le_bytes().repeat(length(LARGE / 4)?);
        let start = length(within)?;
        if let Some(part) = expected.get_mut(start..start + data.len()) {
            part.copy_from_slice(&data);
        }
        buffers.source.write(0, &data)?;
        let before = pattern.bytes(expected.len());
        buffers.target.write(0, &before)?;
        let mut commands = sdma::Commands::new();
        commands.fill(vram_at, value, LARGE, 1 << 22);
        commands.copy(source_at, vram_at + within, SMALL, 1 << 22);
        commands.copy(vram_at, target_at, LARGE, 1 << 14);
        let bytes = commands.finish();
        buffers.commands.buffer.write(0, &bytes)?;
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let touched = [
            &buffers.commands.buffer,
            &buffers.source,
            &buffers.vram,
            &buffers.target,
        ];
        let address = buffers.commands.address;
        buffers
            .context
            .run(buffers.ring, address, size, &touched, LIMIT)?;

        let round = self.progress.rounds.load(Ordering::Relaxed) + 1;
        if round == self.sabotage {
            let byte = before.get(start).copied().unwrap_or_default();
            let other = expected.get(start).map_or(byte, |byte| !byte);
            buffers.target.write(within, &[other])?;
        }
        let found = buffers.target.read_all()?;
        for (buffer, address) in placed.iter().zip(addresses) {
            buffer.unmap_at(address)?;
        }
        let difference = compare(&expected, &found);
        if self.device.vram_lost_counter()? != lost {
            self.progress.uncertain.fetch_add(1, Ordering::Relaxed);
        } else if let Some((at, wanted, got, count)) = difference {
            self.progress.wrong.fetch_add(1, Ordering::Relaxed);
            return Err(Stop::Failure(format!(
                "thread {}, round {round}: wrong bytes though VRAM was not lost: {count}, the first at {at:#x}: {got:#04x} instead \
                 of {wanted:#04x} (before the copy: {:#04x}); \
                 {source_at:#x} was copied to {vram_at:#x} plus {within:#x}, and all of that to {target_at:#x}",
                self.number,
                before.get(at).copied().unwrap_or_default()
            )));
        } else {
            self.progress.rounds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What a thread works with, until a reset takes it.
struct Buffers<'a> {
    context: Context<'a>,
    ring: Ring,
    /// Where this thread's addresses begin.
    home: u64,
    commands: Placed<'a>,
    source: Buffer<'a>,
    vram: Buffer<'a>,
    target: Buffer<'a>,
}

impl<'a> Buffers<'a> {
    fn new(thread: &Thread<'a>, pattern: &mut Pattern) -> Result<Self, Stop> {
        let device = thread.device;
        let rings = device.rings(Engine::Sdma)?;
        let index = usize::try_from(pattern.next()).unwrap_or(0) % rings.len().max(1);
        let home = FIRST_ADDRESS + thread.number * GIB;
        let commands = Buffer::new(device, Domain::Gtt, PAGE)?;
        Ok(Self {
            context: Context::new(device)?,
            ring: rings
                .get(index)
                .copied()
                .ok_or_else(|| "the device has no SDMA ring".to_owned())?,
            home,
            commands: Placed::at("commands", commands, home + 8 * SPREAD)?,
            source: Buffer::new(device, Domain::Gtt, SMALL)?,
            vram: Buffer::new(device, Domain::Vram, LARGE)?,
            target: Buffer::new(device, Domain::Gtt, LARGE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_resets_are_survived_and_others_are_not() {
        assert_eq!(Verdict::of(libc::ECANCELED), Verdict::Reset);
        assert_eq!(Verdict::of(libc::ETIME), Verdict::Reset);
        assert_eq!(Verdict::of(libc::ENODEV), Verdict::Gone);
        assert_eq!(Verdict::of(libc::EACCES), Verdict::Gone);
        assert_eq!(Verdict::of(libc::EINVAL), Verdict::Failure);
        assert_eq!(Verdict::of(libc::ETIMEDOUT), Verdict::Failure);
    }

    #[test]
    fn a_failure_tells_the_first_reason() {
        let progress = Progress::default();
        progress.fail("first".to_owned());
        progress.fail("second".to_owned());
        assert_eq!(progress.failure().as_deref(), Some("first"));
    }
}
