//! Submissions that a client does not wait for: some that never end, and ordinary ones behind them.

use std::time::{Duration, Instant};

use super::order::{Hang, Wait};
use super::set::{Client, Placed};
use super::{FIRST_ADDRESS, GIB, PAGE, length};
use crate::drm::{Buffer, Device, Domain, Ended, Engine, Fence, Ring, Submission};
use crate::json::Object;
use crate::marker;
use crate::pattern::compare;
use crate::sys;

/// Where their buffers get addresses, a place of [`SPACE`] bytes each.
const ADDRESS: u64 = FIRST_ADDRESS + 32 * GIB;
const SPACE: u64 = 1 << 20;
/// Where nothing ever is.
const NOWHERE: u64 = FIRST_ADDRESS + 64 * GIB;
/// Bytes of an ordinary copy.
const COPY: u64 = 16 * PAGE;
/// What a poll waits for. Memory that the kernel has cleared does not have it.
const RELEASED: u32 = 0x5eed_c0de;
/// Accesses of one submission of a storm.
const FAULTS_PER_JOB: u32 = 256;
/// A submission of a storm that takes longer is lost: each of its faults is an interrupt.
const FAULT_LIMIT: Duration = Duration::from_secs(100);

/// What was submitted and not waited for yet.
#[derive(Debug, Default)]
pub(super) struct Jobs<'a> {
    made: u64,
    flying: Vec<Job<'a>>,
}

impl Jobs<'_> {
    /// How many.
    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.flying.len()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hang,
    BadOpcode,
    Copy,
    Fault,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::BadOpcode => "bad-opcode",
            Self::Copy => "copy",
            Self::Fault => "fault",
        }
    }
}

#[derive(Debug)]
struct Job<'a> {
    number: u64,
    kind: Kind,
    started: Instant,
    submission: Submission,
    fence: Fence,
    /// The commands, and behind them the memory that they poll.
    commands: Placed<'a>,
    copy: Option<Copy<'a>>,
}

/// What an ordinary copy is made of. All in the system's memory: a loss of VRAM does not change what has to come out.
#[derive(Debug)]
struct Copy<'a> {
    source: Placed<'a>,
    target: Placed<'a>,
    payload: Vec<u8>,
}

impl Job<'_> {
    fn report(&self, name: &str, about: &str, facts: &Object) {
        marker::note(
            about,
            &Object::new()
                .text("name", name)
                .number("number", self.number)
                .text("kind", self.kind.name())
                .text("engine", self.submission.ring.engine.name())
                .number("ring", self.submission.ring.number.into())
                .append(facts),
        );
    }

    /// Waits, reports, and tells how it ended with what speaks against it.
    fn conclude(
        &self,
        name: &str,
        device: &Device,
        limit: Duration,
    ) -> Result<(Ended, Option<String>), String> {
        let ended = self.fence.wait(limit)?;
        // What a client that knows no sync files is told.
        let told = self.submission.wait(device, Duration::ZERO);
        let bytes = match (&self.copy, ended) {
            (Some(copy), Ended::Completed) => Some(compare(&copy.payload, &copy.target.buffer.read_all()?)),
            _ => None,
        };
        self.report(
            name,
            "wait",
            &Object::new()
                .text("ended", ended.name())
                .number("errno", u64::try_from(ended.errno()).unwrap_or(0))
                .number(
                    "wait_errno",
                    told.as_ref()
                        .err()
                        .map_or(0, |error| u64::try_from(error.code()).unwrap_or(0)),
                )
                .text(
                    "bytes",
                    match bytes {
                        None => "not-compared",
                        Some(None) => "right",
                        Some(Some(_)) => "wrong",
                    },
                )
                .number("ms", marker::milliseconds(self.started)),
        );
        let wrong = bytes.flatten().map(|(at, wanted, got, count)| {
            format!(
                "submission {}: wrong bytes though it ended without an error: {count}, the first at {at:#x}: {got:#04x} instead \
                 of {wanted:#04x}",
                self.number
            )
        });
        Ok((ended, wrong))
    }

    fn unmap(&self) -> Result<(), String> {
        if let Some(copy) = &self.copy {
            copy.source.unmap()?;
            copy.target.unmap()?;
        }
        Ok(self.commands.unmap()?)
    }
}

impl<'a> Client<'a> {
    /// Submits something that never ends.
    pub(super) fn hang(&mut self, engine: Engine, how: Hang) -> Result<(), String> {
        let address = self.next_place();
        let mut commands = engine.commands();
        let kind = match how {
            Hang::Poll => {
                commands.wait_for(address + PAGE, RELEASED);
                Kind::Hang
            }
            Hang::BadOpcode => {
                commands.undefined();
                Kind::BadOpcode
            }
        };
        let job = self.job(kind, engine, address, &commands.finish(), None)?;
        self.fly(job);
        Ok(())
    }

    /// Submits a copy.
    pub(super) fn submit_copy(&mut self, engine: Engine) -> Result<(), String> {
        let address = self.next_place();
        let payload = self.pattern.bytes(length(COPY)?);
        let place = |name, address| Placed::at(name, Buffer::new(self.device, Domain::Gtt, COPY)?, address);
        let source = place("source", address + SPACE / 4)?;
        let target = place("target", address + SPACE / 2)?;
        source.buffer.write(0, &payload)?;
        let before = self.pattern.bytes(payload.len());
        target.buffer.write(0, &before)?;
        let mut commands = engine.commands();
        commands.copy(source.address, target.address, COPY);
        let copy = Copy {
            source,
            target,
            payload,
        };
        let job = self.job(Kind::Copy, engine, address, &commands.finish(), Some(copy))?;
        self.fly(job);
        Ok(())
    }

    /// Gives all polls what they wait for.
    pub(super) fn release(&self) -> Result<(), String> {
        for job in self.jobs.flying.iter().filter(|job| job.kind == Kind::Hang) {
            job.commands.buffer.write(PAGE, &RELEASED.to_le_bytes())?;
        }
        Ok(())
    }

    /// Waits for all that is in flight. What has not ended in time stays in flight.
    pub(super) fn wait(&mut self, wanted: &Wait) -> Result<(), String> {
        if self.jobs.flying.is_empty() {
            return Err("nothing is in flight".to_owned());
        }
        let deadline = Instant::now() + wanted.limit;
        let mut against = Vec::new();
        let (mut culprits, mut copies) = (0, 0);
        for job in std::mem::take(&mut self.jobs.flying) {
            let left = deadline.saturating_duration_since(Instant::now());
            let (ended, wrong) = match job.conclude(&self.name, self.device, left) {
                Ok(found) => found,
                Err(error) => (Ended::Not, Some(error)),
            };
            against.extend(wrong);
            let (count, expected) = match job.kind {
                Kind::Copy => (&mut copies, wanted.pending),
                Kind::Hang | Kind::BadOpcode | Kind::Fault => (&mut culprits, wanted.expect),
            };
            *count += 1;
            let what = || format!("submission {} ({})", job.number, job.kind.name());
            if ended == Ended::Not {
                against.push(format!("{} has not ended", what()));
                self.jobs.flying.push(job);
                continue;
            }
            if let Some(expected) = expected.filter(|expected| *expected != ended.errno()) {
                against.push(format!(
                    "{} ended with error {}, not {}",
                    what(),
                    sys::name(ended.errno()),
                    sys::name(expected)
                ));
            }
            if let Err(error) = job.unmap() {
                against.push(format!("{}: {error}", what()));
            }
        }
        // An expectation that nothing could fail is worth nothing.
        if wanted.expect.is_some() && culprits == 0 {
            against.push("nothing was in flight that was to hang".to_owned());
        }
        if wanted.pending.is_some() && copies == 0 {
            against.push("no ordinary submission was in flight".to_owned());
        }
        if against.is_empty() {
            Ok(())
        } else {
            Err(against.join("; "))
        }
    }

    /// Reads and writes addresses where nothing is, and waits for the end. How the submissions end is reported, not judged.
    pub(super) fn fault(&mut self, engine: Engine, count: u32) -> Result<(), String> {
        let (started, mut done, mut jobs, mut errors, mut last) = (Instant::now(), 0, 0, 0, 0);
        while done < count {
            let batch = FAULTS_PER_JOB.min(count - done);
            let address = self.next_place();
            let mut commands = engine.commands();
            // A dword behind the commands that reads may go to.
            let own = address + 15 * PAGE;
            for access in done..done + batch {
                let nowhere = NOWHERE + u64::from(access) * PAGE;
                if access % 2 == 0 {
                    commands.copy(nowhere, own, 4);
                } else {
                    commands.copy(own, nowhere, 4);
                }
            }
            let job = self.job(Kind::Fault, engine, address, &commands.finish(), None)?;
            match job.fence.wait(FAULT_LIMIT)? {
                Ended::Not => {
                    self.fly(job);
                    return Err(format!("accesses {done} and following have not ended"));
                }
                Ended::Completed => {}
                Ended::Error(number) => {
                    errors += 1;
                    last = number;
                }
            }
            job.unmap()?;
            done += batch;
            jobs += 1;
        }
        marker::note(
            "fault",
            &Object::new()
                .text("name", &self.name)
                .text("engine", engine.name())
                .number("accesses", done.into())
                .number("jobs", jobs)
                .number("errors", errors)
                .number("errno", u64::try_from(last).unwrap_or(0))
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }

    /// The next place for buffers. It comes round only after many thousand others.
    fn next_place(&mut self) -> u64 {
        let address = ADDRESS + self.jobs.made % 0x4000 * SPACE;
        self.jobs.made += 1;
        address
    }

    /// Submits commands on the newest context.
    fn job(
        &self,
        kind: Kind,
        engine: Engine,
        address: u64,
        bytes: &[u8],
        copy: Option<Copy<'a>>,
    ) -> Result<Job<'a>, String> {
        let buffer = Buffer::new(self.device, Domain::Gtt, 16 * PAGE)?;
        let commands = Placed::at("commands", buffer, address)?;
        commands.buffer.write(0, bytes)?;
        let mut buffers = vec![&commands.buffer];
        if let Some(copy) = &copy {
            buffers.extend([&copy.source.buffer, &copy.target.buffer]);
        }
        let ring = self.first_ring(engine)?;
        let size = u32::try_from(bytes.len()).map_err(|_| "too many commands".to_owned())?;
        let started = Instant::now();
        let submission = self.context()?.submit(ring, address, size, &buffers)?;
        // At once: later the device may be gone.
        let fence = submission.fence(self.device)?;
        Ok(Job {
            number: self.jobs.made,
            kind,
            started,
            submission,
            fence,
            commands,
            copy,
        })
    }

    fn first_ring(&self, engine: Engine) -> Result<Ring, String> {
        let rings = self.device.rings(engine)?;
        rings
            .first()
            .copied()
            .ok_or_else(|| format!("the device has no {} ring", engine.name()))
    }

    fn fly(&mut self, job: Job<'a>) {
        job.report(&self.name, "submit", &Object::new());
        self.jobs.flying.push(job);
    }
}
