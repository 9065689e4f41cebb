//! What a scenario file must hold together: labels that exist and are told apart, clients that are closed, a guest that
//! is left usable where another scenario may follow.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::{Diagnostic, did_you_mean};
use super::model::{Action, Driver, Scenario, Step};
use super::parse_expect::KINDS;
use super::reader::{At, Reader};
use super::resolve::TakenPlace;
use super::vocabulary::{self, AnswerPlace};
use protocol::asic::Asic;

/// Where things stand in the file.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The steps.
    pub steps: Vec<Range<usize>>,
    /// Labels of steps, where something refers to one.
    pub references: Vec<At<String>>,
    /// What is expected of answers.
    pub answers: Vec<AnswerPlace>,
    /// Fields of requests that are taken from answers, each with the number of the step that they have to come before.
    pub taken: Vec<(TakenPlace, usize)>,
    /// ASICs that a value is not given for, and where.
    pub asics: Vec<(Range<usize>, Asic)>,
    /// Of each expectation, the words that say why no control makes it fail.
    pub uncontrolled: Vec<Option<Range<usize>>>,
    /// The controls.
    pub controls: Vec<ControlPlace>,
    labels: BTreeSet<String>,
}

/// Where things of a control stand.
#[derive(Debug, Default)]
pub(super) struct ControlPlace {
    /// The words of `fails`.
    pub fails: Vec<Range<usize>>,
}

impl Places {
    /// A label must be new, and no word that stands for something else.
    pub fn label(&mut self, table: &Reader<'_>, label: Option<&At<&str>>) {
        let Some(label) = label else { return };
        let reserved = KINDS.contains(&label.value) || ["log", "step"].contains(&label.value);
        if reserved || label.value.trim().is_empty() {
            table.error(
                label.span.clone(),
                format!("{:?} cannot be a label", label.value),
                "expected words that are no kind of expectation",
            );
        } else if !self.labels.insert(label.value.to_owned()) {
            table.error(
                label.span.clone(),
                format!("the label {:?} is there already", label.value),
                "expected another",
            );
        }
    }
}

/// Checks what spans several tables.
pub(super) fn check(scenario: &Scenario, places: &Places, root: &Reader<'_>) {
    let step_labels: Vec<&str> = scenario
        .steps
        .iter()
        .filter_map(|step| step.label.as_deref())
        .collect();
    for reference in &places.references {
        let name = reference.value.as_str();
        if !step_labels.contains(&name) {
            root.push(Diagnostic {
                span: reference.span.clone(),
                message: format!("there is no step with the label {name:?}"),
                expected: match step_labels.as_slice() {
                    [] => "expected the label of a step, but no step has one".to_owned(),
                    labels => format!("expected one of: {}", labels.join(", ")),
                },
                help: did_you_mean(name, step_labels.iter().copied()),
            });
        }
    }
    for place in &places.answers {
        let label = Some(place.step.as_str());
        let step = scenario.steps.iter().find(|step| step.label.as_deref() == label);
        match step.map(|step| &step.action) {
            Some(Action::Device { request, .. }) => vocabulary::answer(root, request, place),
            // A step that is not there is told above.
            None => {}
            Some(_) => root.error(
                place.span.clone(),
                format!(
                    "the step {:?} asks the device for nothing, so that it gets no answer",
                    place.step
                ),
                "expected the label of a step with `device`",
            ),
        }
    }
    for (place, until) in &places.taken {
        taken(scenario, place, *until, root);
    }
    for (span, asic) in &places.asics {
        if !scenario.not_for.iter().any(|(other, _)| other == asic) {
            root.error(
                span.clone(),
                format!("nothing is said for {asic}"),
                format!("expected `{asic} = \"...\"` as well, or a reason for {asic} in [asic]"),
            );
        }
    }
    for (control, place) in scenario.controls.iter().zip(&places.controls) {
        for (word, span) in control.fails.iter().zip(&place.fails) {
            let known = fail_words(scenario);
            if !known.contains(&word.as_str()) {
                root.push(Diagnostic {
                    span: span.clone(),
                    message: format!("{word:?} is nothing that can fail here"),
                    expected: format!("expected some of: {}", known.join(", ")),
                    help: did_you_mean(word, known.iter().copied()),
                });
            }
        }
    }
    for (expectation, place) in scenario.expectations.iter().zip(&places.uncontrolled) {
        let controls = || scenario.controls.iter().flat_map(|control| &control.fails);
        if let (Some(span), Some(label)) = (place, &expectation.label)
            && controls().any(|word| word == label)
        {
            root.error(
                span.clone(),
                format!("a control makes {label:?} fail"),
                "expected no such words: they are for what no control of this file makes fail",
            );
        }
    }
    if scenario.share_boot {
        leaves_usable(scenario, places, root);
    }
}

/// What a field is taken from has to be answered before.
fn taken(scenario: &Scenario, place: &TakenPlace, until: usize, root: &Reader<'_>) {
    let name = place.taken.answer.as_str();
    let at = |(index, step): (usize, &Step)| (step.label.as_deref() == Some(name)).then_some(index);
    let Some(index) = scenario.steps.iter().enumerate().find_map(at) else {
        // A step that is not there is told elsewhere.
        return;
    };
    let span = place.step().span;
    match scenario.steps.get(index).map(|step| &step.action) {
        Some(Action::Device { .. }) if index >= until => root.error(
            span,
            format!("the step {name:?} comes later, so that it has no answer yet"),
            "expected the label of an earlier step with `device`",
        ),
        Some(Action::Device { request, .. }) => place.check(root, request),
        _ => root.error(
            span,
            format!("the step {name:?} asks the device for nothing, so that it gets no answer"),
            "expected the label of an earlier step with `device`",
        ),
    }
}

/// What a control can name: labels, kinds that occur, the log, any step.
fn fail_words(scenario: &Scenario) -> Vec<&str> {
    let expectations = scenario
        .expectations
        .iter()
        .flat_map(|expectation| [expectation.label.as_deref(), Some(expectation.what.kind())]);
    let steps = scenario.steps.iter().map(|step| step.label.as_deref());
    let mut words: Vec<_> = expectations
        .chain(steps)
        .flatten()
        .chain(["log", "step"])
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// A scenario that shares a boot begins with the driver up and no client, and has to end so.
fn leaves_usable(scenario: &Scenario, places: &Places, root: &Reader<'_>) {
    let mut open: Vec<(String, Range<usize>)> = Vec::new();
    let mut bound = matches!(scenario.machine.driver, Driver::Loaded { .. });
    let mut last = 0..0;
    for (step, span) in scenario.steps.iter().zip(&places.steps) {
        let Some(words) = order(step) else { continue };
        last = span.start..span.start;
        match words.as_slice() {
            ["client-open", rest @ ..] => open.push((client(rest), last.clone())),
            ["client-close", rest @ ..] => {
                let name = client(rest);
                open.retain(|(known, _)| *known != name);
            }
            ["modprobe"] | ["modprobe", "amdgpu", ..] | ["bind" | "pci-rescan", ..] => bound = true,
            ["rmmod" | "unbind" | "pci-remove" | "poweroff", ..] => bound = false,
            ["reboot", ..] => {
                bound = false;
                open.clear();
            }
            _ => {}
        }
    }
    for (name, span) in open {
        root.error(
            span,
            format!("the client {name:?} is never closed, but the boot is shared"),
            "expected a later step client-close, or no share-boot",
        );
    }
    if !bound {
        root.error(
            last,
            "after the last step the driver is not there, but the boot is shared",
            "expected a later step that brings it back, or no share-boot",
        );
    }
}

fn order(step: &Step) -> Option<Vec<&str>> {
    match &step.action {
        Action::Guest { words, .. } => Some(words.split_whitespace().collect()),
        _ => None,
    }
}

/// The client that an order is for: "main" without a name.
fn client(arguments: &[&str]) -> String {
    match arguments.first() {
        Some(name) if !name.contains('=') && !matches!(*name, "old" | "new") => (*name).to_owned(),
        _ => "main".to_owned(),
    }
}
