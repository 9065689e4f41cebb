//! Runs scenarios on kernels: prepares every kernel, boots what the plan says, and writes the outcomes down.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use machine::checkpoint::{Checkpoint, CheckpointError, Wanted};
use machine::daemon::{PORT_ARGUMENTS, PORT_SOCKET};
use machine::fetch::Cache;
use machine::host::{self, TOO_LONG, Waits, Watch};
use machine::interrupt;
use machine::kconfig::Configuration;
use machine::progress::Progress;
use machine::qemu::{self, Port};
use machine::session::{Session, Start};
use protocol::guest::console::unix_us;
use report::files;
use scenario::asic;
use scenario::facts::Facts;
use scenario::kernels::Version;
use scenario::model::{Driver, Machine, Scenario, Target};
use scenario::outcome::{Attempt, OF_BOOT, OF_RUN, Outcome, Verdict};
use scenario::plan::{Controls, Group, Job, Plan, plan};
use scenario::verdict;

use crate::boot::Boot;
use crate::options::{Begin, KernelChoice, Options};
use crate::rooted::Rooted;
use crate::run::{self, Prepared};
use crate::slots::{Slot, Slots};

/// So many guests with a driver of the user's are booted: a checkpoint is of no use once the driver has changed again.
const FEW: usize = 3;
/// What a guest takes beside its own memory: QEMU, its translated code, the device process and its VRAM, as tests fill it.
const BESIDE_GUEST_MIB: u64 = 1024;

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// The kernels.
    pub kernels: Vec<KernelChoice>,
    /// Their controls.
    pub controls: Controls,
    /// How many guests run at the same time; none for as many as the host has room for.
    pub jobs: Option<usize>,
    /// How often something that failed on a busy host is tried at the most.
    pub attempts: usize,
    /// Everything else about the machine; its kernel and its steps do not count.
    pub options: Options,
}

/// One kernel that runs.
#[derive(Debug)]
struct Bench<'a> {
    prepared: &'a Prepared,
    options: &'a Options,
    attempts: usize,
    suite: &'a str,
    version: Version,
    /// Whether this is one kernel of several.
    several: bool,
    /// How many scenarios and controls this kernel has.
    total: usize,
    /// How many of them have begun.
    begun: AtomicUsize,
}

/// Jobs for one guest, with the checkpoint that it goes on from; none to boot it.
#[derive(Debug)]
struct Unit<'a> {
    group: Group<'a>,
    checkpoint: Option<&'a Checkpoint>,
}

/// Runs everything. An error means that not even the outcomes could be written.
pub fn run(request: &Request, cache: &Cache, progress: &Progress) -> Result<(PathBuf, Vec<Outcome>)> {
    let folder = run::run_folder(request.options.folder.as_deref(), "scenarios")?;
    let mut outcomes = Vec::new();
    for kernel in &request.kernels {
        let known = outcomes.len();
        let suite = kernel.name();
        let options = Options {
            kernel: kernel.clone(),
            folder: Some(folder.join(file_name(&suite))),
            guest_port: request
                .scenarios
                .iter()
                .any(|scenario| scenario.machine.guest_port),
            some_root: request.scenarios.iter().find_map(|scenario| {
                let here = scenario.elsewhere(request.options.personality).is_none();
                scenario.machine.root.filter(|_| here)
            }),
            ..request.options.clone()
        };
        match run::prepare(&options, cache, progress) {
            Ok(prepared) => {
                let version = Version::leading(&prepared.machine.kernel.version);
                let target = Target {
                    version: &version,
                    options: prepared
                        .machine
                        .kernel
                        .configuration
                        .as_ref()
                        .map(Configuration::options),
                    asic: options.asic,
                    personality: options.personality,
                };
                let plan = plan(&request.scenarios, request.controls, &target);
                let bench = Bench {
                    prepared: &prepared,
                    options: &options,
                    attempts: request.attempts,
                    suite: &suite,
                    version,
                    several: request.kernels.len() > 1,
                    total: plan.groups.iter().map(|group| group.jobs.len()).sum(),
                    begun: AtomicUsize::new(0),
                };
                bench.kernel(plan, request, progress, &mut outcomes);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                progress.note(&format!("{suite}: {reason}"));
                outcomes.extend(request.scenarios.iter().map(|scenario| Outcome {
                    scenario: scenario.name.clone(),
                    title: scenario.title.clone(),
                    suite: suite.clone(),
                    reasons: vec![reason.clone()],
                    began_unix_us: unix_us(),
                    ..Outcome::new()
                }));
            }
        }
        // After every kernel: what is known so far survives whatever comes.
        write(&folder.join(OF_RUN), &outcomes)?;
        files::write_matrix(&folder, &outcomes).context("writing the reports")?;
        files::write_pages(outcomes.get(known..).unwrap_or_default()).context("writing the pages")?;
    }
    Ok((folder, outcomes))
}

impl Bench<'_> {
    fn kernel(&self, plan: Plan<'_>, request: &Request, progress: &Progress, outcomes: &mut Vec<Outcome>) {
        outcomes.extend(plan.inapplicable.iter().map(|(job, reason)| {
            Outcome {
                verdict: Verdict::NotApplicable {
                    reason: reason.clone(),
                },
                elsewhere: job
                    .scenario
                    .elsewhere(self.options.personality)
                    .map(str::to_owned),
                ..self.outcome(job)
            }
        }));
        let mut groups = plan.groups;
        if let Rooted::Absent { reason } = &self.prepared.rooted {
            let without = groups.extract_if(.., |group| group.machine.root.is_some());
            for job in without.flat_map(|group| group.jobs) {
                self.begun.fetch_add(1, Ordering::Relaxed);
                self.end(&Verdict::Unknown, &job.title(), Some(reason), progress);
                outcomes.push(Outcome {
                    reasons: vec![reason.clone()],
                    ..self.outcome(&job)
                });
            }
        }
        let checkpoints = match self.options.begin {
            Begin::Boot => Vec::new(),
            // It would be of use to nobody but these few.
            Begin::Checkpoint { .. } if self.options.is_of_user() && self.total <= FEW => Vec::new(),
            Begin::Checkpoint { fresh } => self.checkpoints(&groups, fresh, progress),
        };
        let units = units(groups, &checkpoints);
        let most = self.most_by_memory();
        let busy = request.jobs.unwrap_or_else(|| self.most_busy().min(most));
        if busy <= 1 || units.len() <= 1 {
            outcomes.extend(units.iter().flat_map(|unit| self.unit(unit, None, progress)));
        } else {
            // Guests that wait are as many again.
            outcomes.extend(self.side_by_side(&units, &Slots::new(busy, most.clamp(busy, 2 * busy))));
        }
    }

    /// How many guests the host has processors for. A guest with several processors uses as many of the host's.
    fn most_busy(&self) -> usize {
        let cpus = usize::try_from(self.prepared.machine.cpus).unwrap_or(1).max(1);
        (self.prepared.cores.count() / cpus).max(1)
    }

    /// How many guests the host has memory for.
    fn most_by_memory(&self) -> usize {
        let guest = u64::from(self.prepared.machine.memory) + BESIDE_GUEST_MIB;
        let guests = host::available_mib().map_or(u64::MAX, |mib| mib / guest);
        usize::try_from(guests).unwrap_or(usize::MAX).max(1)
    }

    /// A checkpoint for each kind of machine, with what it is for.
    fn checkpoints<'m>(
        &self,
        groups: &[Group<'m>],
        fresh: bool,
        progress: &Progress,
    ) -> Vec<(&'m Machine, Checkpoint)> {
        // Without a device process there is nothing to plug in.
        if self.prepared.daemon.is_none() {
            return Vec::new();
        }
        let mut checkpoints: Vec<(&Machine, Checkpoint)> = Vec::new();
        let mut tried: Vec<&Machine> = Vec::new();
        for machine in groups.iter().map(|group| group.machine) {
            if tried.iter().any(|other| other.starts_like(machine)) || interrupt::requested() {
                continue;
            }
            tried.push(machine);
            match self.checkpoint(machine, checkpoints.len() + 1, fresh, progress) {
                Ok(checkpoint) => checkpoints.push((machine, checkpoint)),
                Err(error) => progress.note(&format!(
                    "no checkpoint: {}; every guest boots from the start",
                    run::chain(&error)
                )),
            }
        }
        checkpoints
    }

    /// Like everything else it is tried again if the host was too busy: a kernel that gets no processor while it measures its timer panics.
    fn checkpoint(
        &self,
        machine: &Machine,
        number: usize,
        fresh: bool,
        progress: &Progress,
    ) -> Result<Checkpoint, CheckpointError> {
        let module = match &machine.driver {
            Driver::Loaded { parameters } | Driver::Module { parameters } => Some(parameters.as_str()),
            Driver::Absent => None,
        };
        let mut earlier = 0;
        loop {
            let name = attempt(format!("checkpoint-{number}"), earlier);
            earlier += 1;
            let taken = Checkpoint::get(
                &self.prepared.qemu,
                Wanted {
                    machine: &self.machine(machine),
                    vram_size: self.vram_size(machine),
                    module,
                    objection: verdict::objection,
                },
                &self.prepared.cache,
                fresh,
                &self.prepared.folder.join(name),
                self.options.timeout,
                progress,
            );
            match taken {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(not) if earlier < self.attempts && not.waited > TOO_LONG => progress.note(&format!(
                    "{:21}once more, for the guest waited {:.0} ms for a processor: {}",
                    "",
                    not.waited.as_secs_f64() * 1e3,
                    run::chain(&not.error)
                )),
                Err(not) => return Err(not.error),
            }
        }
    }

    /// Several guests at a time. The outcomes come in the order of the plan.
    fn side_by_side(&self, units: &[Unit<'_>], slots: &Slots) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| slots.watch());
            let work = || {
                // A line per scenario: several that rewrite themselves would overwrite each other.
                let progress = Progress::lines();
                loop {
                    let slot = slots.enter();
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(unit) = units.get(index) else { return };
                    let outcomes = self.unit(unit, Some(&slot), &progress);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((index, outcomes));
                }
            };
            let workers: Vec<_> = (0..slots.most().min(units.len()))
                .map(|_| scope.spawn(work))
                .collect();
            for worker in workers {
                // A panic comes out again at the end of the scope.
                let _ = worker.join();
            }
            slots.end();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().flat_map(|(_, outcomes)| outcomes).collect()
    }

    /// Does all jobs of a unit, in as many guests as it takes. A job that failed while the host was too busy to tell is done again.
    fn unit(&self, unit: &Unit<'_>, slot: Option<&Slot<'_>>, progress: &Progress) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut earlier: Vec<Attempt> = Vec::new();
        let mut rest = unit.group.jobs.as_slice();
        while !rest.is_empty() {
            let (mut done, left) = self.boot(unit, rest, earlier.len(), slot, progress);
            if let Some(first) = done.first_mut() {
                first.earlier = std::mem::take(&mut earlier);
            }
            rest = left;
            if let Some(last) = done.last()
                && last.earlier.len() + 1 < self.attempts
                && worth_another_try(last)
                && let Some(again) = unit.group.jobs.get(outcomes.len() + done.len() - 1..)
                && let Some(last) = done.pop()
            {
                progress.note(&format!(
                    "{:21}once more: the host let a thread of the guest or its device wait {:.0} ms for a processor",
                    "", last.host_wait_ms
                ));
                earlier = last.earlier;
                earlier.push(Attempt {
                    folder: last.folder,
                    reasons: last.reasons,
                    host_wait_ms: last.host_wait_ms,
                });
                self.begun.fetch_sub(1, Ordering::Relaxed);
                rest = again;
            }
            outcomes.extend(done);
        }
        outcomes
    }

    /// Brings one guest up and does jobs until one is not clean; gives what is left for a fresh guest.
    fn boot<'j>(
        &self,
        unit: &Unit<'_>,
        jobs: &'j [Job<'j>],
        tries: usize,
        slot: Option<&Slot<'_>>,
        progress: &Progress,
    ) -> (Vec<Outcome>, &'j [Job<'j>]) {
        let machine = unit.group.machine;
        let first = jobs.first().map(Job::title).unwrap_or_default();
        let number = self.begin(&first, progress);
        let name = attempt(format!("{number:02}-{}", file_name(&first)), tries);
        let folder = self.prepared.folder.join(name);
        let unknown = |reason: String, waits: Waits| {
            let outcomes: Vec<_> = jobs
                .iter()
                .map(|job| Outcome {
                    reasons: vec![reason.clone()],
                    folder: folder.clone(),
                    host_wait_ms: milliseconds(&waits),
                    ..self.outcome(job)
                })
                .collect();
            let _ = write(&folder.join(OF_BOOT), &outcomes);
            self.begun
                .fetch_add(jobs.len().saturating_sub(1), Ordering::Relaxed);
            self.end(&Verdict::Unknown, &first, Some(&reason), progress);
            outcomes
        };
        if interrupt::requested() {
            return (unknown("interrupted".to_owned(), Waits::default()), &[]);
        }
        // There is no guest yet to be watched; what this process waits for tells as much of the host.
        let watch = Watch::start(vec![std::process::id()]);
        let session = fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))
            .and_then(|()| self.start(&folder, machine, unit.checkpoint));
        let waits = watch.end();
        let (start, session) = match session {
            Ok(session) => session,
            Err(error) => return (unknown(format!("{error:#}"), waits), &[]),
        };
        let processes = session.processes();
        if let Some(slot) = slot {
            slot.runs(processes.clone());
        }
        let watch = Watch::start(processes.clone());
        let begun = Boot::begin(
            session,
            start,
            &folder,
            machine,
            self.options.timeout,
            (
                self.options.asic,
                asic::tolerated_in_probe(self.options.asic, &self.version),
            ),
            progress,
        );
        let waits = watch.end();
        let mut boot = match begun {
            Ok(boot) => boot,
            Err(reason) => return (unknown(reason, waits), &[]),
        };
        let mut outcomes = Vec::new();
        let mut rest = jobs;
        while let [job, left @ ..] = rest {
            if !outcomes.is_empty() {
                self.begin(&job.title(), progress);
            }
            rest = left;
            let known = Outcome {
                checkpoint: unit.checkpoint.map(|checkpoint| checkpoint.folder().to_owned()),
                ..self.outcome(job)
            };
            let watch = Watch::start(processes.clone());
            let outcome = boot.run(job, &self.version, known);
            let outcome = Outcome {
                host_wait_ms: milliseconds(&watch.end()),
                ..outcome
            };
            let outcome = if interrupt::requested() {
                Outcome {
                    verdict: Verdict::Unknown,
                    reasons: vec!["interrupted".to_owned()],
                    ..outcome
                }
            } else {
                outcome
            };
            self.end(
                &outcome.verdict,
                &job.title(),
                outcome.reasons.first().map(String::as_str),
                progress,
            );
            if self.options.busybox && !interrupt::requested() {
                progress.note("the guest's shell: \"exit\" or Ctrl-] ends the run");
                if let Err(error) = boot.shell() {
                    progress.note(&error);
                }
            }
            let clean = outcome.verdict == Verdict::Pass;
            outcomes.push(outcome);
            // A failure must not spill over into the next scenario.
            if !clean {
                break;
            }
        }
        let _ = write(&folder.join(OF_BOOT), &outcomes);
        if let Err(error) = files::write_page(&folder, &outcomes) {
            progress.note(&format!("no page about this boot: {error}"));
        }
        (outcomes, rest)
    }

    fn start(
        &self,
        folder: &Path,
        machine: &Machine,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(Start, Session)> {
        let vram_size = self.vram_size(machine);
        let mut more = machine.daemon_arguments.clone();
        if machine.guest_port {
            more.extend(PORT_ARGUMENTS.map(str::to_owned));
        }
        let more = &more;
        if let Some(checkpoint) = checkpoint
            && let Some(daemon) =
                self.prepared
                    .start_daemon(folder, self.machine(machine).cpus, vram_size, more)?
        {
            let session = checkpoint.resume(&self.prepared.qemu, daemon, folder)?;
            return Ok((Start::Resumed, session));
        }
        let session = self
            .prepared
            .start_in(folder, &self.machine(machine), vram_size, more)?;
        Ok((Start::Cold, session))
    }

    /// QEMU's side of a scenario's machine.
    fn machine(&self, machine: &Machine) -> qemu::Machine {
        let base = &self.prepared.machine;
        let append = [base.append.as_str(), machine.append.as_str()];
        let mut base = base.clone();
        if let (Some(_), Rooted::There { disk, initramfs }) = (machine.root, &self.prepared.rooted) {
            base.root = Some(disk.clone());
            base.initramfs.clone_from(initramfs);
        }
        qemu::Machine {
            append: append.join(" ").trim().to_owned(),
            memory: machine.memory.unwrap_or(base.memory),
            cpus: machine.cpus.unwrap_or(base.cpus),
            extra: [base.extra.as_slice(), &machine.qemu_arguments].concat(),
            port: if machine.guest_port {
                Port::Plugged {
                    socket: PORT_SOCKET.to_owned(),
                }
            } else {
                Port::None
            },
            ..base
        }
    }

    fn vram_size<'m>(&'m self, machine: &'m Machine) -> &'m str {
        machine.vram_size.as_ref().unwrap_or(&self.prepared.vram_size)
    }

    /// One scenario alone shows its steps; of several each has a line. Gives the number of the one that begins.
    fn begin(&self, title: &str, progress: &Progress) -> usize {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let label = format!("{title} on {}", self.title());
        if self.several || self.total > 1 {
            progress.begin_scenario(&format!("[{number}/{}] {label}", self.total));
        } else {
            progress.note(&format!("\n{label}"));
        }
        number
    }

    fn end(&self, verdict: &Verdict, title: &str, why: Option<&str>, progress: &Progress) {
        if self.several || self.total > 1 {
            progress.end_scenario(verdict.word(), why);
        } else {
            progress.note(&format!("{}  {title}", verdict.word()));
        }
    }

    fn title(&self) -> String {
        format!("{} ({})", self.prepared.machine.kernel.version, self.suite)
    }

    /// What is known before anything was done.
    fn outcome(&self, job: &Job<'_>) -> Outcome {
        let kernel = &self.prepared.machine.kernel;
        Outcome {
            scenario: job.scenario.name.clone(),
            title: job.scenario.title.clone(),
            kernel: kernel.release.clone(),
            version: kernel.version.clone(),
            suite: self.suite.to_owned(),
            driver: self.prepared.driver.clone(),
            facts: Facts {
                qemu: self.prepared.qemu.version.clone(),
                accelerator: self.prepared.machine.accelerator.name().to_owned(),
                command_line: self.machine(&job.scenario.machine).kernel_command_line(),
                ..Facts::default()
            },
            control: job.control.map(|control| control.name.clone()),
            began_unix_us: unix_us(),
            ..Outcome::new()
        }
    }
}

/// The name of a try's folder, after so many earlier ones.
fn attempt(name: String, earlier: usize) -> String {
    match earlier {
        0 => name,
        _ => format!("{name}-{}", earlier + 1),
    }
}

/// Whether a try says nothing: it went wrong, and the host was too busy meanwhile for anything in real time to be relied on.
fn worth_another_try(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Fail | Verdict::Unknown)
        && outcome.host_wait_ms > TOO_LONG.as_secs_f64() * 1e3
        // What goes wrong twice in the same way is not the host's.
        && outcome.earlier.last().is_none_or(|last| !alike(&last.reasons, &outcome.reasons))
        && !interrupt::requested()
}

/// Whether two tries went wrong in the same way: for the same first reason, whatever the numbers in it (processes, addresses, times).
fn alike(one: &[String], other: &[String]) -> bool {
    let masked = |reasons: &[String]| {
        let first = reasons.first()?;
        let words = first.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        Some(words.map(str::to_owned).collect::<Vec<_>>())
    };
    masked(one) == masked(other)
}

fn milliseconds(waits: &Waits) -> f64 {
    waits.longest().as_secs_f64() * 1e3
}

/// Every job of a machine that has a checkpoint gets a guest of its own.
fn units<'a>(groups: Vec<Group<'a>>, checkpoints: &'a [(&Machine, Checkpoint)]) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    for group in groups {
        let checkpoint = checkpoints
            .iter()
            .find(|(machine, _)| machine.starts_like(group.machine))
            .map(|(_, checkpoint)| checkpoint);
        match checkpoint {
            None => units.push(Unit { group, checkpoint }),
            Some(_) => units.extend(group.jobs.iter().map(|job| Unit {
                group: Group {
                    machine: group.machine,
                    jobs: vec![*job],
                },
                checkpoint,
            })),
        }
    }
    units
}

/// Letters, digits, dots and dashes of a text.
fn file_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}

fn write(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let text = serde_json::to_vec_pretty(outcomes).context("writing the outcomes as JSON")?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use protocol::guest::root::GuestRoot;

    use super::*;

    #[test]
    fn only_what_went_wrong_on_a_busy_host_is_tried_again() {
        let outcome = |verdict, host_wait_ms| Outcome {
            verdict,
            host_wait_ms,
            ..Outcome::new()
        };
        assert!(worth_another_try(&outcome(Verdict::Fail, 70.0)));
        assert!(worth_another_try(&outcome(Verdict::Unknown, 70.0)));
        assert!(!worth_another_try(&outcome(Verdict::Fail, 30.0)));
        assert!(!worth_another_try(&outcome(Verdict::Pass, 70.0)));
        let finding = "docs/findings/1.md".to_owned();
        assert!(!worth_another_try(&outcome(Verdict::DriverBug { finding }, 70.0)));
    }

    #[test]
    fn what_fails_twice_for_the_same_reasons_is_not_tried_again() {
        let failed = |reason: &str, earlier: &str| Outcome {
            verdict: Verdict::Fail,
            reasons: vec![reason.to_owned()],
            host_wait_ms: 70.0,
            earlier: vec![Attempt {
                folder: PathBuf::new(),
                reasons: vec![earlier.to_owned()],
                host_wait_ms: 70.0,
            }],
            ..Outcome::new()
        };
        assert!(!worth_another_try(&failed("a", "a")));
        assert!(worth_another_try(&failed("a", "b")));
    }

    #[test]
    fn numbers_do_not_make_another_reason() {
        let reasons = |text: &str| vec![text.to_owned()];
        let warning = |pid: u32| {
            reasons(&format!(
                "the kernel warned: WARNING: CPU: 1 PID: {pid} at a.c:618 f+0x5c/0x80"
            ))
        };
        assert!(alike(&warning(11), &warning(44)));
        assert!(!alike(
            &warning(11),
            &reasons("step \"recover\" took longer than 60 s")
        ));
        assert!(alike(&[], &[]));
        assert!(!alike(&[], &warning(11)));
    }

    #[test]
    fn machines_start_alike_whatever_their_device_is_told() {
        let machine = Machine::default();
        let other_device = Machine {
            daemon_arguments: vec!["--baco".to_owned()],
            ..Machine::default()
        };
        assert!(machine.starts_like(&other_device));
        for other in [
            Machine {
                append: "quiet".to_owned(),
                ..Machine::default()
            },
            Machine {
                vram_size: Some("2G".to_owned()),
                ..Machine::default()
            },
            Machine {
                driver: Driver::Absent,
                ..Machine::default()
            },
            Machine {
                root: Some(GuestRoot::Debian),
                ..Machine::default()
            },
        ] {
            assert!(!machine.starts_like(&other), "{other:?}");
        }
    }

    #[test]
    fn folders_have_names_that_every_shell_takes() {
        assert_eq!(
            file_name("mode1, control: copies that do nothing!"),
            "mode1-control-copies-that-do-nothing"
        );
        assert_eq!(file_name("/boot/vmlinuz-6.1"), "boot-vmlinuz-6.1");
    }
}
