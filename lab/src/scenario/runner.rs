//! Runs scenarios on kernels: prepares every kernel, boots what the plan says, and writes the outcomes down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::boot::Boot;
use super::kernels::Version;
use super::model::{Machine, Scenario};
use super::outcome::{Cell, OF_BOOT, OF_RUN, Outcome};
use super::plan::{Controls, Group, Job, plan};
use crate::console::unix_us;
use crate::fetch::Cache;
use crate::interrupt;
use crate::progress::Progress;
use crate::qemu;
use crate::report::files;
use crate::run::{self, KernelChoice, Options, Prepared};

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// The kernels.
    pub kernels: Vec<KernelChoice>,
    /// Their controls.
    pub controls: Controls,
    /// Everything else about the machine; its kernel and its steps do not count.
    pub options: Options,
}

/// One kernel that runs.
#[derive(Debug)]
struct Bench<'a> {
    prepared: &'a Prepared,
    options: &'a Options,
    progress: &'a Progress,
    suite: &'a str,
    version: Version,
    /// Whether this is one kernel of several.
    several: bool,
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
            ..request.options.clone()
        };
        match run::prepare(&options, cache, progress) {
            Ok(prepared) => {
                let bench = Bench {
                    prepared: &prepared,
                    options: &options,
                    progress,
                    suite: &suite,
                    version: Version::leading(&prepared.machine.kernel.version),
                    several: request.kernels.len() > 1,
                };
                bench.kernel(request, &mut outcomes);
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
    fn kernel(&self, request: &Request, outcomes: &mut Vec<Outcome>) {
        let plan = plan(&request.scenarios, request.controls, &self.version);
        for (job, reason) in &plan.inapplicable {
            outcomes.push(Outcome {
                verdict: Cell::NotApplicable {
                    reason: reason.clone(),
                },
                ..self.outcome(job)
            });
        }
        let total = plan.groups.iter().map(|group| group.jobs.len()).sum();
        let mut boots = 0;
        let mut done_jobs = 0;
        for group in &plan.groups {
            let mut rest = group.jobs.as_slice();
            while !rest.is_empty() {
                boots += 1;
                let (done, left) = self.boot(boots, group, rest, (done_jobs, total));
                done_jobs += done.len();
                outcomes.extend(done);
                rest = left;
            }
        }
    }

    /// Boots once and does jobs until one is not clean; gives what is left for a fresh boot.
    fn boot<'j>(
        &self,
        number: usize,
        group: &Group<'j>,
        jobs: &'j [Job<'j>],
        (done, total): (usize, usize),
    ) -> (Vec<Outcome>, &'j [Job<'j>]) {
        let first = jobs.first().map(Job::title).unwrap_or_default();
        let folder = self
            .prepared
            .folder
            .join(format!("{number:02}-{}", file_name(&first)));
        let unknown = |reason: String| {
            let outcomes: Vec<_> = jobs
                .iter()
                .map(|job| Outcome {
                    reasons: vec![reason.clone()],
                    folder: folder.clone(),
                    ..self.outcome(job)
                })
                .collect();
            let _ = write(&folder.join(OF_BOOT), &outcomes);
            outcomes
        };
        if interrupt::requested() {
            return (unknown("interrupted".to_owned()), &[]);
        }
        let mut place = done;
        self.begin(&first, place, total);
        let session = fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))
            .and_then(|()| self.start(&folder, group.machine));
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                let reason = format!("{error:#}");
                self.end(&Cell::Unknown, &first, Some(&reason), total);
                return (unknown(reason), &[]);
            }
        };
        let begun = Boot::begin(
            session,
            &folder,
            group.machine,
            self.options.timeout,
            self.progress,
        );
        let mut boot = match begun {
            Ok(boot) => boot,
            Err(reason) => {
                self.end(&Cell::Unknown, &first, Some(&reason), total);
                return (unknown(reason), &[]);
            }
        };
        let mut outcomes = Vec::new();
        let mut rest = jobs;
        while let [job, left @ ..] = rest {
            if !outcomes.is_empty() {
                self.begin(&job.title(), place, total);
            }
            place += 1;
            rest = left;
            let outcome = boot.run(job, &self.version, self.outcome(job));
            let outcome = if interrupt::requested() {
                Outcome {
                    verdict: Cell::Unknown,
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
                total,
            );
            let clean = outcome.verdict == Cell::Pass;
            outcomes.push(outcome);
            // A failure must not spill over into the next scenario.
            if !clean {
                break;
            }
        }
        let _ = write(&folder.join(OF_BOOT), &outcomes);
        if let Err(error) = files::write_page(&folder, &outcomes) {
            self.progress.note(&format!("no page about this boot: {error}"));
        }
        (outcomes, rest)
    }

    fn start(&self, folder: &Path, machine: &Machine) -> Result<crate::session::Session> {
        let base = &self.prepared.machine;
        let append = [base.append.as_str(), machine.append.as_str()];
        let machine_of_qemu = qemu::Machine {
            append: append.join(" ").trim().to_owned(),
            memory: machine.memory.unwrap_or(base.memory),
            cpus: machine.cpus.unwrap_or(base.cpus),
            extra: [base.extra.as_slice(), &machine.qemu_arguments].concat(),
            ..base.clone()
        };
        let vram_size = machine.vram_size.as_ref().unwrap_or(&self.prepared.vram_size);
        self.prepared
            .start_in(folder, &machine_of_qemu, vram_size, &machine.daemon_arguments)
    }

    /// One scenario alone shows its steps; of several each has a line.
    fn begin(&self, title: &str, done: usize, total: usize) {
        let label = format!("{title} on {}", self.title());
        if self.several || total > 1 {
            self.progress
                .begin_scenario(&format!("[{}/{total}] {label}", done + 1));
        } else {
            self.progress.note(&format!("\n{label}"));
        }
    }

    fn end(&self, verdict: &Cell, title: &str, why: Option<&str>, total: usize) {
        if self.several || total > 1 {
            self.progress.end_scenario(verdict.word(), why);
        } else {
            self.progress.note(&format!("{}  {title}", verdict.word()));
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
            control: job.control.map(|control| control.name.clone()),
            began_unix_us: unix_us(),
            ..Outcome::new()
        }
    }
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
    use super::*;

    #[test]
    fn folders_have_names_that_every_shell_takes() {
        assert_eq!(
            file_name("mode1, control: copies that do nothing!"),
            "mode1-control-copies-that-do-nothing"
        );
        assert_eq!(file_name("/boot/vmlinuz-6.1"), "boot-vmlinuz-6.1");
    }
}
