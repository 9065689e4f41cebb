//! The set of buffers, fills and copies that every client does, with every byte compared.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::jobs::Jobs;
use super::svm::Shared;
use super::{FIRST_ADDRESS, GIB, Options, PAGE, compute, length, report_device};
use crate::drm::sdma::Commands;
use crate::drm::{Buffer, Context, Device, Domain, Engine, Error, Ring};
use crate::json::Object;
use crate::kfd::{Kfd, Memory, ResetEvent, Smi};
use crate::marker;
use crate::pattern::{Pattern, compare};

const PAGE_BYTES: usize = 0x1000;
/// What one entry of the last but one level of page tables covers.
const BLOCK: u64 = 2 << 20;
/// Where nothing is mapped for long.
const ELSEWHERE: u64 = FIRST_ADDRESS + 12 * GIB + 5 * PAGE;
/// A submission that takes longer is lost.
const LIMIT: Duration = Duration::from_secs(20);
/// Size of a packet as the kernel chooses it for moves of buffers.
const CHUNK: u32 = 1 << 22;
/// Pages of the buffer in the process's own memory.
///
/// No more, so that their entries fit into one update job: beyond that Linux 6.1 now and then copies zero entries, which the
/// engine takes for 1 GiB (`docs/findings/0001-zero-entry-copy.md`). That is a test of its own, not of every run.
const USER_PAGES: usize = 64;

/// A buffer with its address.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) name: &'static str,
    pub(super) buffer: Buffer<'a>,
    pub(super) address: u64,
}

impl<'a> Placed<'a> {
    /// Gives a buffer an address.
    pub(super) fn at(name: &'static str, buffer: Buffer<'a>, address: u64) -> Result<Self, Error> {
        buffer.map_at(address)?;
        Ok(Self {
            name,
            buffer,
            address,
        })
    }

    /// Takes the address away.
    pub(super) fn unmap(&self) -> Result<(), Error> {
        self.buffer.unmap_at(self.address)
    }

    /// The least number of page-table entries that map it: one for every block that it fills, and one for every page
    /// elsewhere.
    const fn least_entries(&self) -> u64 {
        let end = self.address + self.buffer.size();
        let (first, last) = (self.address.next_multiple_of(BLOCK), end / BLOCK * BLOCK);
        if first < last {
            (first - self.address + end - last) / PAGE + (last - first) / BLOCK
        } else {
            self.buffer.size() / PAGE
        }
    }
}

/// What was compared so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) operations: u64,
    pub(super) bytes: u64,
    /// [`Options::sabotage`].
    sabotage: u64,
}

#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) name: String,
    pub(super) device: &'a Device,
    /// All that it ever made: the oldest tells what happened since the start, the newest takes the submissions.
    contexts: Vec<Context<'a>>,
    /// [`Device::vram_lost_counter`] at the start.
    pub(super) lost_at_start: u32,
    ring: Ring,
    rings: Vec<Ring>,
    pub(super) jobs: Jobs<'a>,
    pub(super) pattern: Pattern,
    commands: Placed<'a>,
    pub(super) small_gtt: Placed<'a>,
    pub(super) small_vram: Placed<'a>,
    large_gtt: Placed<'a>,
    pub(super) large_vram: Placed<'a>,
    pub(super) other_vram: Placed<'a>,
    user: Placed<'a>,
    /// The process as KFD knows it, with a compute VM.
    pub(super) kfd: Option<&'a Kfd>,
    /// What a reset signals to it.
    pub(super) event: Option<ResetEvent<'a>>,
    /// What KFD reports to it as a system-management program.
    pub(super) smi: Option<Smi>,
    /// Its memory that is in VRAM without being a buffer.
    pub(super) shared: Option<Shared>,
    /// What KFD allocated, in a compute VM.
    pub(super) memory: Option<Memory<'a>>,
    /// Bytes that the engine was told to fill or copy.
    submitted: Cell<u64>,
    pub(super) totals: Totals,
}

impl<'a> Client<'a> {
    /// Makes the buffers and does the whole set, as often as the options say.
    pub(super) fn start(
        device: &'a Device,
        kfd: Option<&'a Kfd>,
        name: &str,
        options: Options,
    ) -> Result<Self, String> {
        report_device(device)?;
        let mut client = Self::new(device, kfd, name, options)?;
        for round in 0..options.rounds.max(1) {
            // Every ring gets its turn.
            let index = usize::try_from(round).unwrap_or(0) % client.rings.len();
            client.ring = client.rings.get(index).copied().unwrap_or(client.ring);
            client.everything()?;
        }
        Ok(client)
    }

    fn new(device: &'a Device, kfd: Option<&'a Kfd>, name: &str, options: Options) -> Result<Self, String> {
        let rings = device.rings(Engine::Sdma)?;
        let first_ring = rings.first().copied();
        let large = options.large << 20;
        let place =
            |name, domain, size, address| Placed::at(name, Buffer::new(device, domain, size)?, address);
        Ok(Self {
            name: name.to_owned(),
            device,
            contexts: vec![Context::new(device)?],
            lost_at_start: device.vram_lost_counter()?,
            ring: first_ring.ok_or("the device has no SDMA ring")?,
            rings,
            jobs: Jobs::default(),
            pattern: Pattern::new(options.seed),
            commands: place("commands", Domain::Gtt, 16 * PAGE, FIRST_ADDRESS)?,
            small_gtt: place("small gtt", Domain::Gtt, 16 * PAGE, FIRST_ADDRESS + GIB)?,
            small_vram: place("small vram", Domain::Vram, 16 * PAGE, FIRST_ADDRESS + 2 * GIB)?,
            // Half of it below a border of two levels of page tables, half above.
            large_gtt: place(
                "large gtt",
                Domain::Gtt,
                large,
                FIRST_ADDRESS + 4 * GIB - large / 2,
            )?,
            large_vram: place(
                "large vram",
                Domain::Vram,
                large,
                FIRST_ADDRESS + 6 * GIB - BLOCK / 2,
            )?,
            other_vram: place("other vram", Domain::Vram, large, FIRST_ADDRESS + (1 << 38))?,
            // Not at a border of its own size, so that its entries share a table with others.
            user: Placed::at(
                "scattered user memory",
                Buffer::scattered(device, USER_PAGES)?,
                FIRST_ADDRESS + 14 * GIB - 60 * PAGE,
            )?,
            kfd,
            event: kfd.map(compute::event).transpose()?,
            smi: None,
            shared: None,
            memory: kfd.map(|kfd| compute::memory(kfd, device)).transpose()?,
            submitted: Cell::new(0),
            totals: Totals {
                sabotage: options.sabotage,
                ..Totals::default()
            },
        })
    }

    fn everything(&mut self) -> Result<(), String> {
        self.fills()?;
        self.copies()?;
        self.reordered()?;
        self.moved()?;
        match self.memory {
            Some(_) => self.compute(false),
            None => Ok(()),
        }
    }

    /// Fills: aligned, and inside a buffer with untouched bytes around.
    pub(super) fn fills(&mut self) -> Result<(), String> {
        for (target, offset, bytes) in [
            (&self.small_vram, 0, 16 * PAGE),
            (&self.small_gtt, 0x124, PAGE + 0x38),
            (&self.large_vram, PAGE + 8, 3 * BLOCK / 2),
        ] {
            let value = (self.pattern.next() & 0xffff_ffff) as u32;
            let before = self.pattern.bytes(length(target.buffer.size())?);
            target.buffer.write(0, &before)?;
            let mut commands = Commands::new();
            commands.fill(target.address + offset, value, bytes, CHUNK);
            let started = Instant::now();
            self.submit(commands, &[target])?;
            let payload = value.to_le_bytes().repeat(length(bytes / 4)?);
            Outcome {
                operation: "fill",
                source: "constant",
                target,
                before,
                offset,
                payload: &payload,
                started,
            }
            .check(&mut self.totals)?;
        }
        Ok(())
    }

    /// Copies between all kinds of memory: odd places, odd sizes, packets of several sizes, whole large buffers.
    pub(super) fn copies(&mut self) -> Result<(), String> {
        let large = self.large_gtt.buffer.size();
        let user = self.user.buffer.size();
        for (source, from, target, to, bytes, chunk) in [
            (&self.small_gtt, 0, &self.small_vram, 0, 16 * PAGE, CHUNK),
            (
                &self.small_vram,
                0x11,
                &self.small_gtt,
                0x213,
                3 * PAGE + 5,
                CHUNK,
            ),
            (
                &self.small_gtt,
                PAGE - 1,
                &self.small_vram,
                2 * PAGE - 3,
                2,
                CHUNK,
            ),
            (&self.large_gtt, 0, &self.large_vram, 0, large, CHUNK),
            (
                &self.large_vram,
                PAGE - 7,
                &self.other_vram,
                3 * PAGE + 1,
                large - 5 * PAGE,
                CHUNK,
            ),
            (&self.other_vram, 0, &self.large_gtt, 0, large, 1 << 20),
            (&self.large_gtt, 0x40, &self.small_gtt, 0x80, 8 * PAGE, 0x500),
            (&self.large_vram, PAGE - 7, &self.user, 0x23, user - PAGE, CHUNK),
            (&self.user, 5, &self.other_vram, 2 * PAGE + 0x31, user - 9, CHUNK),
            (&self.user, PAGE, &self.large_gtt, 0, user - PAGE, 0x1800),
        ] {
            let data = self.pattern.bytes(length(source.buffer.size())?);
            let before = self.pattern.bytes(length(target.buffer.size())?);
            source.buffer.write(0, &data)?;
            target.buffer.write(0, &before)?;
            let mut commands = Commands::new();
            commands.copy(source.address + from, target.address + to, bytes, chunk);
            let started = Instant::now();
            self.submit(commands, &[source, target])?;
            let payload = data
                .get(length(from)?..length(from + bytes)?)
                .ok_or_else(|| format!("a copy from {} leaves it", source.name))?;
            Outcome {
                operation: "copy",
                source: source.name,
                target,
                before,
                offset: to,
                payload,
                started,
            }
            .check(&mut self.totals)?;
        }
        Ok(())
    }

    /// One copy from the system's memory to VRAM. The submission names all of the client's buffers, as those of a client have to whose
    /// commands may reach any of them.
    pub(super) fn copy_naming_all(&mut self) -> Result<(), String> {
        let (source, target) = (&self.small_gtt, &self.small_vram);
        let data = self.pattern.bytes(length(source.buffer.size())?);
        let before = self.pattern.bytes(length(target.buffer.size())?);
        source.buffer.write(0, &data)?;
        target.buffer.write(0, &before)?;
        let bytes = 4 * PAGE;
        let mut commands = Commands::new();
        commands.copy(source.address + PAGE, target.address, bytes, CHUNK);
        let started = Instant::now();
        let [_commands, others @ ..] = self.placed();
        self.submit(commands, &others)?;
        let payload = data
            .get(PAGE_BYTES..PAGE_BYTES + length(bytes)?)
            .ok_or("a copy leaves its source")?;
        Outcome {
            operation: "copy",
            source: source.name,
            target,
            before,
            offset: 0,
            payload,
            started,
        }
        .check(&mut self.totals)
    }

    /// A copy from pages of the system's memory that lie in another order in the address space, an entry each.
    fn reordered(&mut self) -> Result<(), String> {
        let pages = self.small_gtt.buffer.size() / PAGE;
        let address = FIRST_ADDRESS + 10 * GIB - 4 * PAGE;
        // An odd factor permutes the sixteen pages.
        let page_at = |slot: u64| slot * 7 % pages;
        for slot in 0..pages {
            self.small_gtt
                .buffer
                .map_part(address + slot * PAGE, page_at(slot) * PAGE, PAGE)?;
        }
        let data = self.pattern.bytes(length(pages * PAGE)?);
        self.small_gtt.buffer.write(0, &data)?;
        let before = self.pattern.bytes(length(self.small_vram.buffer.size())?);
        self.small_vram.buffer.write(0, &before)?;
        let mut commands = Commands::new();
        commands.copy(address, self.small_vram.address, pages * PAGE, CHUNK);
        let started = Instant::now();
        self.submit(commands, &[&self.small_gtt, &self.small_vram])?;
        let payload: Vec<u8> = (0..pages)
            .flat_map(|slot| {
                let start = usize::try_from(page_at(slot) * PAGE).unwrap_or(0);
                data.iter().skip(start).take(PAGE_BYTES).copied()
            })
            .collect();
        Outcome {
            operation: "copy",
            source: "reordered gtt",
            target: &self.small_vram,
            before,
            offset: 0,
            payload: &payload,
            started,
        }
        .check(&mut self.totals)?;
        for slot in 0..pages {
            self.small_gtt
                .buffer
                .unmap_part(address + slot * PAGE, page_at(slot) * PAGE, PAGE)?;
        }
        Ok(())
    }

    /// A buffer at another address, and back: two mappings taken away and two made. Nothing is submitted, so that what there is to flush is left to the
    /// next jobs.
    pub(super) fn remap(&mut self) -> Result<(), String> {
        let buffer = &self.small_vram.buffer;
        let (here, there) = (self.small_vram.address, ELSEWHERE);
        buffer.unmap_at(here)?;
        buffer.map_at(there)?;
        buffer.unmap_at(there)?;
        buffer.map_at(here)?;
        Ok(())
    }

    /// The same buffer at another address, after its first one was taken away, with another buffer at the old place.
    fn moved(&mut self) -> Result<(), String> {
        let old = self.small_vram.address;
        let new = ELSEWHERE;
        self.small_vram.buffer.unmap_at(old)?;
        self.small_vram.buffer.map_at(new)?;
        let stranger = Placed {
            name: "stranger",
            buffer: Buffer::new(self.device, Domain::Vram, self.small_vram.buffer.size())?,
            address: old,
        };
        stranger.buffer.map_at(old)?;
        self.small_vram.address = new;

        let data = self.pattern.bytes(length(self.small_vram.buffer.size())?);
        let before = self.pattern.bytes(data.len());
        self.small_vram.buffer.write(0, &data)?;
        stranger.buffer.write(0, &before)?;
        let bytes = self.small_vram.buffer.size() - 2 * PAGE;
        let mut commands = Commands::new();
        commands.copy(new, old + PAGE, bytes, CHUNK);
        let started = Instant::now();
        self.submit(commands, &[&self.small_vram, &stranger])?;
        let payload = data.get(..length(bytes)?).unwrap_or_default();
        Outcome {
            operation: "copy",
            source: "moved vram",
            target: &stranger,
            before,
            offset: PAGE,
            payload,
            started,
        }
        .check(&mut self.totals)?;

        stranger.buffer.unmap_at(old)?;
        drop(stranger);
        self.small_vram.buffer.unmap_at(new)?;
        self.small_vram.buffer.map_at(old)?;
        self.small_vram.address = old;
        // Mapping returns before SDMA has written the entries. A job through them comes after that, so that who looks at the
        // tables next sees all of them.
        self.copy_naming_all()
    }

    /// The context that submissions go to.
    pub(super) fn context(&self) -> Result<&Context<'a>, String> {
        self.contexts
            .last()
            .ok_or_else(|| "there is no context".to_owned())
    }

    /// The first one.
    pub(super) fn oldest_context(&self) -> Result<&Context<'a>, String> {
        self.contexts
            .first()
            .ok_or_else(|| "there is no context".to_owned())
    }

    /// How many there are.
    pub(super) const fn context_count(&self) -> usize {
        self.contexts.len()
    }

    /// Makes a new context, which takes all submissions from now on.
    pub(super) fn renew_context(&mut self) -> Result<(), String> {
        self.contexts.push(Context::new(self.device)?);
        Ok(())
    }

    pub(super) fn submit(&self, commands: Commands, touched: &[&Placed<'_>]) -> Result<(), String> {
        self.submitted
            .set(self.submitted.get().saturating_add(commands.written()));
        let bytes = commands.finish();
        self.commands.buffer.write(0, &bytes)?;
        let mut buffers = vec![&self.commands.buffer];
        buffers.extend(touched.iter().map(|placed| &placed.buffer));
        let size = u32::try_from(bytes.len()).map_err(|_| "too many commands".to_owned())?;
        let context = self.context()?;
        Ok(context.run(self.ring, self.commands.address, size, &buffers, LIMIT)?)
    }

    /// Reports what was done so far and what became of the context.
    pub(super) fn report(&self, started: Instant) -> Result<(), String> {
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        marker::note(
            "client",
            &Object::new()
                .text("name", &self.name)
                .number("operations", self.totals.operations)
                .number("bytes_submitted", self.submitted.get())
                .number("bytes_checked", self.totals.bytes)
                .number("bytes_mapped", self.sum(|placed| placed.buffer.size()))
                .number("least_entries", self.sum(Placed::least_entries))
                .number("rings", u64::try_from(self.rings.len()).unwrap_or(0))
                .number("vram_lost", self.device.vram_lost_counter()?.into())
                .list("context", &self.context()?.state()?.words())
                .number("ms", milliseconds),
        );
        Ok(())
    }

    fn sum(&self, of: impl Fn(&Placed<'a>) -> u64) -> u64 {
        self.placed().into_iter().map(of).sum()
    }

    /// The buffers that have an address as long as the client lives.
    fn placed(&self) -> [&Placed<'a>; 7] {
        [
            &self.commands,
            &self.small_gtt,
            &self.small_vram,
            &self.large_gtt,
            &self.large_vram,
            &self.other_vram,
            &self.user,
        ]
    }

    /// Takes all addresses away. What is still in flight is left to the driver, as when a process dies.
    pub(super) fn close(self) -> Result<(), String> {
        if self.jobs.in_flight() > 0 {
            marker::note(
                "unfinished",
                &Object::new()
                    .text("name", &self.name)
                    .number("in_flight", self.jobs.in_flight()),
            );
        }
        Ok(self.placed().iter().try_for_each(|placed| placed.unmap())?)
    }
}

/// An operation that the engine says it has done.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) operation: &'static str,
    pub(super) source: &'static str,
    pub(super) target: &'a Placed<'a>,
    /// What was in the target before.
    pub(super) before: Vec<u8>,
    /// Where in the target the payload belongs.
    pub(super) offset: u64,
    pub(super) payload: &'a [u8],
    pub(super) started: Instant,
}

impl Outcome<'_> {
    /// Compares all of the target: the payload where it belongs, and what was there before everywhere else.
    pub(super) fn check(self, totals: &mut Totals) -> Result<(), String> {
        let milliseconds = self.started.elapsed().as_micros() as f64 / 1000.0;
        let target = self.target;
        let mut expected = self.before;
        let start = length(self.offset)?;
        let end = start + self.payload.len();
        expected
            .get_mut(start..end)
            .ok_or_else(|| format!("{} to {} leaves it", self.operation, target.name))?
            .copy_from_slice(self.payload);
        totals.operations += 1;
        if totals.operations == totals.sabotage {
            let at = start + self.payload.len() / 2;
            let byte = expected.get(at).copied().unwrap_or_default();
            target.buffer.write(at as u64, &[!byte])?;
            marker::note("sabotage", &Object::new().text("offset", &format!("{at:#x}")));
        }
        let found = target.buffer.read_all()?;
        let subject = format!(
            "{} {} to {} ({:#x} bytes at {:#x})",
            self.operation,
            self.source,
            target.name,
            self.payload.len(),
            target.address + self.offset
        );
        if let Some((at, wanted, got, count)) = compare(&expected, &found) {
            let place = if at < start {
                "before the target"
            } else if at >= end {
                "behind the target"
            } else {
                "in the target"
            };
            return Err(format!(
                "{subject}: wrong bytes: {count}, the first {place} at buffer offset {at:#x}: {got:#04x} instead of {wanted:#04x}"
            ));
        }
        totals.bytes += self.payload.len() as u64;
        marker::note(
            "copy",
            &Object::new()
                .text("what", &subject)
                .text("ms", &format!("{milliseconds:.1}")),
        );
        Ok(())
    }
}
