//! One boot: the guest brought up, and one scenario after the other done in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use machine::daemon::{self, Connection};
use machine::progress::{Progress, Running};
use machine::session::{Reply, Session, SessionError, Start};
use protocol::asic::Asic;
use protocol::guest::console::unix_us;
use report::summary;
use scenario::condition::Pattern;
use scenario::context;
use scenario::evidence::{Comparison, Event, EventLog, Evidence, Mark, difference};
use scenario::expect;
use scenario::facts::Facts;
use scenario::judge::{Context, Failure, Found, fault_fired, judge};
use scenario::kernels::Version;
use scenario::model::{Action, Driver, Expected, Machine, Step, Taken};
use scenario::outcome::{Outcome, StepOutcome};
use scenario::plan::Job;
use scenario::timing;
use scenario::verdict::{self, Expectations};
use serde_json::{Map, Value, json};

use crate::run::chain;

/// A guest in which scenarios run.
#[derive(Debug)]
pub struct Boot<'a> {
    session: Session,
    events: EventLog,
    folder: PathBuf,
    limit: Duration,
    asic: Asic,
    tolerated_in_probe: Option<&'static str>,
    progress: &'a Progress,
    /// What a wait has seen already; everything since the step before it counts.
    seen: Mark,
    /// Whether the first scenario's evidence is everything since the guest's start.
    from_start: bool,
    /// The last walk of page tables while the guest held still.
    page_tables: Option<Value>,
    /// Scenarios that were done here.
    done: Vec<String>,
}

/// What one scenario left while its steps were done.
#[derive(Debug, Default)]
struct Course {
    steps: Vec<StepOutcome>,
    failures: Vec<Failure>,
    evidence: Evidence,
    probes: usize,
    not_sabotaged: Option<String>,
    fault: Option<u64>,
    /// The counters before the guest was switched off.
    after: Option<Result<Value, String>>,
    /// Connections that stay until the end.
    connections: Vec<Connection>,
}

/// A step to do, and whether it is a control's sabotage.
#[derive(Debug)]
struct Planned {
    step: Step,
    sabotage: bool,
}

impl<'a> Boot<'a> {
    /// Waits for the guest and brings the driver up if the machine wants that. The error says why no scenario can run.
    pub fn begin(
        session: Session,
        start: Start,
        folder: &Path,
        machine: &Machine,
        limit: Duration,
        (asic, tolerated_in_probe): (Asic, Option<&'static str>),
        progress: &'a Progress,
    ) -> Result<Self, String> {
        let mut boot = Self {
            session,
            events: EventLog::of(folder),
            folder: folder.to_owned(),
            limit,
            asic,
            tolerated_in_probe,
            progress,
            seen: Mark::default(),
            from_start: matches!(machine.driver, Driver::Module { .. }),
            page_tables: None,
            done: Vec::new(),
        };
        let running = progress.start("boot");
        let result = boot.bring_up(start, machine, &running);
        match &result {
            Ok(()) => running.done(""),
            Err(_) => running.failed(),
        }
        result.map(|()| boot)
    }

    fn bring_up(&mut self, start: Start, machine: &Machine, running: &Running) -> Result<(), String> {
        let limit = self.limit;
        let told = |error: SessionError| chain(&error);
        if let Some(failure) = self.session.arrive(start, limit, running).map_err(told)? {
            return Err(failure);
        }
        let probes = match &machine.driver {
            // It is judged with all that follows.
            Driver::Module { .. } => return Ok(()),
            Driver::Absent => 0,
            Driver::Loaded { parameters } => {
                let order = format!("modprobe amdgpu {parameters}");
                match self.order(order.trim_end(), limit, running).map_err(told)? {
                    Some(failure) => return Err(format!("the driver did not come up: {failure}")),
                    None => 1,
                }
            }
        };
        self.session.settle();
        let expected = Expectations {
            probes,
            resets: false,
            tolerated: Vec::new(),
            tolerated_in_probe: self.tolerated_in_probe,
        };
        let findings = verdict::judge(self.session.log(), &expected);
        match verdict::reasons(&findings).into_iter().next() {
            Some(reason) => Err(format!("the driver did not come up cleanly: {reason}")),
            None => Ok(()),
        }
    }

    /// Does one scenario.
    pub fn run(&mut self, job: &Job<'_>, version: &Version, outcome: Outcome) -> Outcome {
        let scenario = job.scenario;
        let began = Instant::now();
        let began_unix_us = unix_us();
        let now = self.mark();
        self.seen = now;
        let (begin, before) = if self.from_start && self.done.is_empty() {
            (Mark::default(), Ok(Value::Null))
        } else {
            (now, self.ask(&json!({ "request": "stats" })))
        };

        let mut course = Course::default();
        course.evidence.asic = self.asic;
        for planned in planned(job, version) {
            // The end of the machine resets the device.
            if is_power_off(&planned.step) {
                course.after = Some(self.ask(&json!({ "request": "stats" })));
            }
            if !self.step(&planned, begin, &mut course) {
                break;
            }
        }
        if wants_comparison(job, version) && course.evidence.comparisons.is_empty() {
            match self.ask(&json!({ "request": "oracle", "action": "compare" })) {
                Ok(answer) => course.evidence.comparisons.push(Comparison::now(answer)),
                Err(error) => course
                    .failures
                    .push(Failure::step("oracle compare", None, &error)),
            }
        }
        self.session.settle();
        self.collect(begin, before, &mut course);
        if course.not_sabotaged.is_none() {
            course.not_sabotaged = not_fired(job, &course);
        }

        let expected = Expectations {
            probes: course.probes,
            resets: scenario.resets,
            tolerated: Vec::new(),
            tolerated_in_probe: self.tolerated_in_probe,
        };
        let evidence = course.evidence;
        let mut found = Found {
            failures: course.failures,
            findings: verdict::judge(&evidence.untolerated(&scenario.tolerate, version), &expected),
            not_sabotaged: course.not_sabotaged,
            context: Context {
                halted: context::halted(&evidence.events),
                difference: evidence.comparison().and_then(context::first_difference),
            },
        };
        let mut checks = Vec::new();
        let mut tables_right = true;
        for expectation in &scenario.expectations {
            if !expectation.kernels.include(version) {
                continue;
            }
            let checked = expect::check(expectation, &evidence);
            if matches!(expectation.what, Expected::Oracle { .. }) {
                tables_right &= checked.ok;
            }
            if !checked.ok {
                found.failures.push(Failure::expectation(expectation, &checked));
            }
            checks.push(checked);
        }
        let (cell, reasons) = judge(job, version, &found);
        let loss = timing::first_loss(&evidence.events);
        // If they are not right in the end, nothing is said about when they were.
        let verified = loss
            .filter(|_| tables_right)
            .and_then(|loss| timing::first_whole(loss, &evidence.comparisons));
        let outcome = Outcome {
            verdict: cell,
            reasons,
            began_unix_us,
            seconds: began.elapsed().as_secs_f64(),
            folder: self.folder.clone(),
            after: self.done.clone(),
            steps: course.steps,
            expectations: checks,
            loss_to_recovered_ms: loss.and_then(|loss| timing::until_recovered(loss, &evidence.log)),
            loss_to_tables_ms: loss
                .zip(verified.and_then(timing::whole_since))
                .and_then(|(loss, since)| timing::milliseconds(loss, since)),
            loss_to_verified_ms: loss
                .zip(verified)
                .and_then(|(loss, verified)| timing::milliseconds(loss, verified.unix_us)),
            recovery: expect::recovered_by(&evidence),
            oracle: evidence.comparison().cloned(),
            stats: evidence.stats,
            facts: Facts {
                page_tables: self.page_tables.take(),
                ..outcome
                    .facts
                    .clone()
                    .of_guest(self.session.log(), self.session.notes())
            },
            driver: outcome.driver.clone().loaded(self.session.notes_about("module")),
            ..outcome
        };
        self.done.push(job.title());
        outcome
    }

    /// Does one step; tells whether the next can be done.
    fn step(&mut self, planned: &Planned, begin: Mark, course: &mut Course) -> bool {
        let step = &planned.step;
        let title = step.title();
        let running = self.progress.start(&title);
        let began_unix_us = unix_us();
        let mark = self.mark();
        let limit = step.timeout.unwrap_or(self.limit);
        let result = match &step.action {
            Action::Guest { words, .. } => {
                self.seen = mark;
                self.order(words, limit, &running).map_err(|error| chain(&error))
            }
            Action::Device {
                request,
                taken,
                keep_connection,
            } => {
                self.seen = mark;
                match filled(request, taken, &course.evidence) {
                    Ok(request) => self.request(planned, &request, *keep_connection, course),
                    Err(missing) => Ok(Some(missing)),
                }
            }
            Action::WaitEvent(matcher) => {
                let asic = self.asic;
                let wanted = |event: &Event| matcher.matches(&event.fields, asic);
                self.wait_event(wanted, &title, limit, &running)
            }
            Action::WaitDmesg { pattern, unless } => {
                let pattern = pattern.of(self.asic);
                let unless: Vec<_> = unless.iter().map(|pattern| pattern.of(self.asic)).collect();
                self.wait_line(pattern, &unless, &title, limit, &running)
            }
        };
        let failure = as_expected(result.unwrap_or_else(Some), step);
        match &failure {
            None => {
                let notes = self.session.notes().get(mark.notes..).unwrap_or_default();
                running.done(&summary::of_notes(notes));
            }
            Some(_) => running.failed(),
        }
        let end = self.mark();
        if let Some(label) = &step.label {
            let relative = |mark: Mark| Mark {
                log: mark.log.saturating_sub(begin.log),
                notes: mark.notes.saturating_sub(begin.notes),
                events: mark.events.saturating_sub(begin.events),
            };
            let window = (relative(mark), relative(end));
            let whole = course.evidence.windows.entry(label.clone()).or_insert(window);
            whole.1 = window.1;
        }
        if let (None, None, Action::Guest { probes, .. }) = (&failure, &step.expect_failure, &step.action) {
            course.probes += probes;
        }
        course.steps.push(StepOutcome {
            title: title.clone(),
            began_unix_us,
            seconds: running_seconds(began_unix_us),
            failure: failure.clone(),
        });
        match failure {
            None => true,
            Some(why) if planned.sabotage => {
                course.not_sabotaged = Some(why);
                false
            }
            Some(why) => {
                course
                    .failures
                    .push(Failure::step(&title, step.label.as_deref(), &why));
                false
            }
        }
    }

    /// Asks the device what a step says; gives the reason if it refuses.
    fn request(
        &self,
        planned: &Planned,
        request: &Value,
        keep_connection: bool,
        course: &mut Course,
    ) -> Result<Option<String>, String> {
        let (answer, connection) = match self.ask_and_stay(request) {
            Ok(answered) => answered,
            Err(error) => return Ok(Some(error)),
        };
        course
            .connections
            .extend(Some(connection).filter(|_| keep_connection));
        if request.get("request") == Some(&json!("oracle"))
            && request.get("action") == Some(&json!("compare"))
        {
            course.evidence.comparisons.push(Comparison::now(answer.clone()));
        }
        if planned.sabotage && request.get("request") == Some(&json!("fault")) {
            course.fault = answer.get("id").and_then(Value::as_u64);
        }
        if let Some(label) = &planned.step.label {
            let answers = course.evidence.answers.entry(label.clone()).or_default();
            answers.push(answer);
        }
        Ok(None)
    }

    /// The `result` of the device's answer.
    fn ask(&self, request: &Value) -> Result<Value, String> {
        self.ask_and_stay(request).map(|(answer, _)| answer)
    }

    fn ask_and_stay(&self, request: &Value) -> Result<(Value, Connection), String> {
        let daemon = self
            .session
            .daemon()
            .ok_or_else(|| "there is no device process to ask".to_owned())?;
        let mut request = request.clone();
        if let Some(fields) = request.as_object_mut() {
            fields.insert("v".to_owned(), daemon::PROTOCOL.into());
        }
        let (answer, connection) = daemon.send_and_stay(&request).map_err(|error| chain(&error))?;
        let result = answer.get("result").cloned().unwrap_or(Value::Null);
        Ok((result, connection))
    }

    /// Orders something; gives the reason if the guest says that it failed, an error if the guest cannot go on.
    fn order(
        &mut self,
        words: &str,
        limit: Duration,
        running: &Running,
    ) -> Result<Option<String>, SessionError> {
        let mut reply = self.session.order(words, limit, running)?;
        while let Reply::Held { .. } = reply {
            self.look();
            reply = self.session.resume(limit, running)?;
        }
        match (words, reply) {
            ("reboot", _) => self.session.wait_ready(limit, running)?,
            ("poweroff", _) => self.session.wait_end(limit, running)?,
            (_, Reply::Ended { failure }) => return Ok(failure),
            (_, Reply::Held { .. }) => {}
        }
        Ok(None)
    }

    /// The device's own view while the guest holds still.
    fn look(&mut self) {
        if let Ok(answer) = self.ask(&json!({ "request": "page-tables" })) {
            self.page_tables = Some(answer);
        }
    }

    /// Joins our terminal with a shell in the guest, until the user leaves it.
    pub fn shell(&mut self) -> Result<(), String> {
        self.session.shell().map_err(|error| chain(&error))
    }

    /// Waits for an event that has come since the step before, or since what the wait before saw.
    fn wait_event(
        &mut self,
        wanted: impl Fn(&Event) -> bool,
        what: &str,
        limit: Duration,
        running: &Running,
    ) -> Result<Option<String>, String> {
        if !self.events.exists() {
            return Ok(Some("the device writes no event log".to_owned()));
        }
        let (events, from) = (&mut self.events, self.seen.events);
        let mut found = None;
        let waited = self.session.watch(what, limit, running, |_| {
            let fresh = events.read().iter().enumerate().skip(from);
            found = found.or(fresh
                .into_iter()
                .find(|(_, event)| wanted(event))
                .map(|(at, _)| at));
            found.is_some()
        });
        if let Some(at) = found {
            self.seen.events = at + 1;
        }
        waited.map(|()| None).map_err(|error| chain(&error))
    }

    /// The same for a line of the kernel's log. One that says that it will not come any more ends the wait at once.
    fn wait_line(
        &mut self,
        wanted: &Pattern,
        unless: &[&Pattern],
        what: &str,
        limit: Duration,
        running: &Running,
    ) -> Result<Option<String>, String> {
        let from = self.seen.log;
        let mut found = None;
        let waited = self.session.watch(what, limit, running, |log| {
            let mut fresh = log.iter().enumerate().skip(from);
            found = found.take().or_else(|| {
                fresh.find_map(|(at, line)| {
                    if line.marker().is_some() {
                        return None;
                    }
                    Some((at, answer_of(&line.text, wanted, unless)?))
                })
            });
            found.is_some()
        });
        let Some((at, answer)) = found else {
            return waited.map(|()| None).map_err(|error| chain(&error));
        };
        self.seen.log = at + 1;
        Ok(answer.err())
    }

    /// How far everything is. The device writes its log a little later than it answers, so that is waited for.
    fn mark(&mut self) -> Mark {
        self.synchronise();
        Mark {
            log: self.session.log().len(),
            notes: self.session.notes().len(),
            events: self.events.read().len(),
        }
    }

    /// Waits until the event log has what happened until now; tells why it cannot be relied on, if it cannot.
    fn synchronise(&mut self) -> Option<String> {
        const PATIENCE: Duration = Duration::from_secs(5);
        const PAUSE: Duration = Duration::from_millis(2);
        // A device process that was given need not know the request.
        let state = self.ask(&json!({ "request": "state" })).ok();
        let next_seq = state.as_ref().and_then(|state| state.get("next_event")?.as_u64());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let flaw = self.events.flaw(next_seq);
            if flaw.is_none() || !self.events.exists() || Instant::now() > deadline {
                return flaw;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes what was seen since `begin` into the evidence.
    fn collect(&mut self, begin: Mark, before: Result<Value, String>, course: &mut Course) {
        let after = course
            .after
            .take()
            .unwrap_or_else(|| self.ask(&json!({ "request": "stats" })));
        let flaw = self.synchronise();
        let evidence = &mut course.evidence;
        evidence.stats = match (before, after) {
            (Ok(before), Ok(after)) => Some(difference(&before, &after)),
            _ if self.session.daemon().is_none() => None,
            (Err(error), _) | (_, Err(error)) => {
                course.failures.push(Failure::step("stats", None, &error));
                None
            }
        };
        evidence.log = self.session.log().get(begin.log..).unwrap_or_default().to_vec();
        evidence.notes = self
            .session
            .notes()
            .get(begin.notes..)
            .unwrap_or_default()
            .to_vec();
        evidence.events = self
            .events
            .read()
            .get(begin.events..)
            .unwrap_or_default()
            .to_vec();
        evidence.flaw = flaw;
    }
}

/// What a line says to a wait: what was waited for is there, or why it will not come. None if it says neither.
fn answer_of(line: &str, wanted: &Pattern, unless: &[&Pattern]) -> Option<Result<(), String>> {
    if wanted.is_match(line) {
        return Some(Ok(()));
    }
    let against = unless.iter().find(|pattern| pattern.is_match(line))?;
    Some(Err(format!(
        "the log has \"{line}\" first, which is like \"{against}\""
    )))
}

/// A request with the fields that are taken from earlier answers; of a step that is repeated from the last.
fn filled(request: &Map<String, Value>, taken: &[Taken], evidence: &Evidence) -> Result<Value, String> {
    let mut request = request.clone();
    for Taken { field, answer, path } in taken {
        let answers = evidence
            .answers
            .get(answer)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some(last) = answers.last() else {
            return Err(format!("`{field}`: the step {answer:?} got no answer"));
        };
        let value = expect::value_at(last, path).filter(|value| !value.is_null());
        let value = value.ok_or_else(|| format!("`{field}`: the answer to {answer:?} has no `{path}`"))?;
        request.insert(field.clone(), value.clone());
    }
    Ok(Value::Object(request))
}

fn is_power_off(step: &Step) -> bool {
    matches!(&step.action, Action::Guest { words, .. } if words == "poweroff")
}

fn running_seconds(began_unix_us: u64) -> f64 {
    unix_us().saturating_sub(began_unix_us) as f64 / 1e6
}

/// What is left of a failure when a step was to fail.
fn as_expected(failure: Option<String>, step: &Step) -> Option<String> {
    match (failure, &step.expect_failure) {
        (failure, None) => failure,
        (Some(text), Some(pattern)) if pattern.is_match(&text) => None,
        (Some(text), Some(pattern)) => Some(format!("{text} (a failure like \"{pattern}\" was expected)")),
        (None, Some(pattern)) => Some(format!(
            "it worked, but a failure like \"{pattern}\" was expected"
        )),
    }
}

/// The steps for a kernel, with the sabotage of a control in its place.
fn planned(job: &Job<'_>, version: &Version) -> Vec<Planned> {
    let mut planned = Vec::new();
    let sabotage = |planned: &mut Vec<Planned>, index| {
        let Some(control) = job.control.filter(|control| control.before == index) else {
            return;
        };
        // Of a step that is repeated only the first time is sabotaged, if nothing else is said.
        if !control.every_time && planned.iter().any(|planned| planned.sabotage) {
            return;
        }
        planned.extend(control.sabotage.iter().map(|action| Planned {
            step: Step {
                label: Some("sabotage".to_owned()),
                action: action.clone(),
                kernels: scenario::kernels::Kernels::default(),
                expect_failure: None,
                timeout: None,
            },
            sabotage: true,
        }));
    };
    let steps = &job.scenario.steps;
    for index in job.scenario.order() {
        let Some(step) = steps.get(index) else { continue };
        sabotage(&mut planned, index);
        let skipped = job.control.is_some_and(|control| control.skip == Some(index));
        if !skipped && step.kernels.include(version) {
            planned.push(Planned {
                step: step.clone(),
                sabotage: false,
            });
        }
    }
    sabotage(&mut planned, steps.len());
    planned
}

fn wants_comparison(job: &Job<'_>, version: &Version) -> bool {
    job.scenario.expectations.iter().any(|expectation| {
        expectation.kernels.include(version)
            && matches!(expectation.what, Expected::Oracle { .. } | Expected::Recovery(_))
    })
}

/// Why a control's sabotage did not happen although it was asked for.
fn not_fired(job: &Job<'_>, course: &Course) -> Option<String> {
    let control = job.control?;
    let began = course
        .steps
        .iter()
        .any(|step| step.title.starts_with("sabotage: "));
    if control.sabotage.is_some() && !began {
        return Some("the scenario ended before it".to_owned());
    }
    let id = course.fault?;
    (!fault_fired(&course.evidence.events, id)).then(|| format!("the fault {id} never fired"))
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
