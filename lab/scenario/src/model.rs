//! A scenario as it was written, with everything checked that can be checked without running it.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::asic::Asic;
use protocol::guest::root::GuestRoot;
use protocol::personality::Personality;
use serde_json::{Map, Value};

use super::condition::{Amount, Matcher, Pattern};
use super::kernels::{Kernels, Version};
use super::per_asic::PerAsic;

/// A scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The name of its file without the ending.
    pub name: String,
    /// One line.
    pub title: String,
    /// Why it is there, what hardware does, what the driver is expected to do.
    pub about: String,
    /// Words to choose it by.
    pub tags: Vec<String>,
    /// Whether it may run after another scenario in one guest, and leaves that guest usable.
    pub share_boot: bool,
    /// Whether hangs and resets are what it is about, and so are not held against the driver.
    pub resets: bool,
    /// Lines of the kernel's log that are not held against the driver.
    pub tolerate: Vec<Tolerated>,
    /// What the GPU may be to the driver.
    pub personalities: Vec<Personality>,
    /// Parts that it is not for, and why.
    pub not_for: Vec<(Asic, String)>,
    /// Which kernels it is for, in the order of the file: the first that fits counts. Empty means all.
    pub applies: Vec<Applies>,
    /// Options that the kernel has to be configured with: `CONFIG_HSA_AMD`.
    pub needs: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Which of them are done again.
    pub repeats: Vec<Repeat>,
    /// What has to be seen.
    pub expectations: Vec<Expectation>,
    /// Sabotages that it has to notice.
    pub controls: Vec<Control>,
    /// Ways to fail that are known for a kernel's driver.
    pub known_bugs: Vec<KnownBug>,
}

impl Scenario {
    /// The steps in the order in which they are done, by number counted from 0.
    pub fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        for index in 0..self.steps.len() {
            order.push(index);
            if let Some(repeat) = self.repeats.iter().find(|repeat| repeat.last == index) {
                for _ in 1..repeat.times {
                    order.extend(repeat.first..=repeat.last);
                }
            }
        }
        order
    }

    /// Whom it is for instead, if it is for none of this kind of GPU.
    pub fn elsewhere(&self, personality: Personality) -> Option<&'static str> {
        let first = self.personalities.first()?;
        (!self.personalities.contains(&personality)).then_some(first.audience())
    }

    /// Why it does not apply to a kernel and to what the GPU is, if it does not.
    pub fn inapplicable(&self, target: &Target<'_>) -> Option<String> {
        if !self.personalities.contains(&target.personality) {
            return Some(target.personality.inapplicable().to_owned());
        }
        if let Some((_, reason)) = self.not_for.iter().find(|(other, _)| *other == target.asic) {
            return Some(reason.clone());
        }
        self.not_of_version(target.version)
            .or_else(|| self.not_configured(target.options?))
    }

    fn not_of_version(&self, version: &Version) -> Option<String> {
        if self.applies.is_empty() {
            return None;
        }
        let first = self.applies.iter().find(|rule| rule.kernels.include(version));
        match first {
            Some(rule) => rule.reason.clone(),
            None => Some(format!("its [applies] does not name {version}")),
        }
    }

    fn not_configured(&self, options: &BTreeSet<String>) -> Option<String> {
        let needs = self.needs.iter().map(String::as_str);
        let missing: Vec<_> = needs.filter(|option| !options.contains(*option)).collect();
        (!missing.is_empty()).then(|| format!("the kernel is built without {}", missing.join(", ")))
    }
}

/// What a scenario is to run on.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The kernel's version.
    pub version: &'a Version,
    /// The options that the kernel's configuration sets, if that is known.
    pub options: Option<&'a BTreeSet<String>>,
    /// Which GPU it is.
    pub asic: Asic,
    /// What the GPU is to the driver.
    pub personality: Personality,
}

/// Steps that are done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The first, counted from 0.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// How often they are done in all.
    pub times: usize,
}

/// Lines that are not held against the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tolerated {
    /// A part of them.
    pub text: String,
    /// On these kernels.
    pub kernels: Kernels,
    /// Only from the beginning of this step on.
    pub from: Option<String>,
    /// Only until the end of this step.
    pub until: Option<String>,
}

/// One rule about the kernels that a scenario is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applies {
    /// On these kernels.
    pub kernels: Kernels,
    /// Why it does not; none if it does.
    pub reason: Option<String>,
}

/// How a scenario's machine differs from that of the command line. Scenarios with equal machines can share a boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// Added to the kernel's command line.
    pub append: String,
    /// Size of VRAM.
    pub vram_size: Option<String>,
    /// Memory in MiB.
    pub memory: Option<u32>,
    /// Virtual processors.
    pub cpus: Option<u32>,
    /// Added to the device program's arguments.
    pub daemon_arguments: Vec<String>,
    /// Added to QEMU's arguments.
    pub qemu_arguments: Vec<String>,
    /// Whether it has the guest port.
    pub guest_port: bool,
    /// A root beside our init, to run programs of.
    pub root: Option<GuestRoot>,
    /// Whether the driver is loaded before the first step, and with which parameters.
    pub driver: Driver,
}

impl Machine {
    /// Whether a guest of this machine is like one of the other until the GPU comes: all but the device process's own arguments.
    pub fn starts_like(&self, other: &Self) -> bool {
        let without = |machine: &Self| Self {
            daemon_arguments: Vec::new(),
            ..machine.clone()
        };
        without(self) == without(other)
    }
}

/// How the driver is before the first step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// Loaded and up.
    Loaded {
        /// Parameters of the module; empty for none.
        parameters: String,
    },
    /// Its module may be loaded, and the steps bring it up: where they cannot, that is a failure. Everything since the guest's start is
    /// judged, the probe included.
    Module {
        /// Parameters of the module; empty for none.
        parameters: String,
    },
    /// Not loaded: the steps do it.
    Absent,
}

impl Default for Driver {
    fn default() -> Self {
        Self::Loaded {
            parameters: String::new(),
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// A name for others to refer to.
    pub label: Option<String>,
    /// What is done.
    pub action: Action,
    /// On these kernels.
    pub kernels: Kernels,
    /// It has to fail, with words like these.
    pub expect_failure: Option<Pattern>,
    /// Its limit, if not that of the command line.
    pub timeout: Option<Duration>,
}

impl Step {
    /// As it is shown.
    pub fn title(&self) -> String {
        match &self.label {
            Some(label) => format!("{label}: {}", self.action),
            None => self.action.to_string(),
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// An order for the guest.
    Guest {
        /// Its words.
        words: String,
        /// How often the driver comes up in it.
        probes: usize,
    },
    /// A request to the device.
    Device {
        /// Its fields.
        request: Map<String, Value>,
        /// Fields that are taken from earlier answers.
        taken: Vec<Taken>,
        /// Whether the connection that it is made at stays open until the end.
        keep_connection: bool,
    },
    /// Wait until the device reports an event.
    WaitEvent(Matcher),
    /// Wait until the kernel says something.
    WaitDmesg {
        /// What.
        pattern: PerAsic<Pattern>,
        /// What it says instead where that will not come any more.
        unless: Vec<PerAsic<Pattern>>,
    },
}

/// A field of a request that is what the device answered to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The field.
    pub field: String,
    /// The label of the earlier step.
    pub answer: String,
    /// The way to the value in its answer.
    pub path: String,
}

impl Action {
    /// The name of the request or the first word of the order.
    pub fn name(&self) -> &str {
        match self {
            Self::Guest { words, .. } => words.split_whitespace().next().unwrap_or_default(),
            Self::Device { request, .. } => {
                request.get("request").and_then(Value::as_str).unwrap_or_default()
            }
            Self::WaitEvent(_) => "wait-event",
            Self::WaitDmesg { .. } => "wait-dmesg",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guest { words, .. } => f.write_str(words),
            Self::Device { request, taken, .. } => {
                write!(f, "device: {}", self.name())?;
                for (name, value) in request.iter().filter(|(name, _)| *name != "request") {
                    match value {
                        Value::String(text) => write!(f, " {name}={text}")?,
                        value => write!(f, " {name}={value}")?,
                    }
                }
                for Taken { field, answer, path } in taken {
                    write!(f, " {field}=({path} of {answer})")?;
                }
                Ok(())
            }
            Self::WaitEvent(event) => write!(f, "wait for {event}"),
            Self::WaitDmesg { pattern, .. } => write!(f, "wait for \"{pattern}\" in the log"),
        }
    }
}

/// Something that has to be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// A name for controls and for tables.
    pub label: Option<String>,
    /// On these kernels.
    pub kernels: Kernels,
    /// Only what was seen from the beginning of this step on.
    pub from: Option<String>,
    /// Only what was seen until the end of this step.
    pub until: Option<String>,
    /// What.
    pub what: Expected,
    /// How it is known that it can fail, if it is negative and no control of its scenario shows it.
    pub can_fail: Option<CanFail>,
}

/// How it is known that a negative expectation can fail: one that nothing can make fail shows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanFail {
    /// A control of the scenario with this name makes an equal one fail.
    In(String),
    /// No control shows it, for this reason.
    Because(String),
}

impl Expectation {
    /// As it is shown.
    pub fn title(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.what.to_string())
    }
}

/// What has to be seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Lines of the kernel's log: so many.
    Dmesg {
        /// The line.
        pattern: PerAsic<Pattern>,
        /// How many.
        count: Amount,
    },
    /// Lines of the kernel's log in this order, whatever is between them.
    DmesgOrder(Vec<PerAsic<Pattern>>),
    /// Events of the device: so many.
    Event {
        /// The event.
        matcher: Matcher,
        /// How many.
        count: Amount,
    },
    /// Events of the device in this order, whatever is between them.
    EventOrder(Vec<Matcher>),
    /// The comparison of page tables.
    Oracle {
        /// By name of the count.
        amounts: Vec<(String, Amount)>,
        /// Whether spaces count that nobody uses any more.
        all_spaces: bool,
    },
    /// How the page tables came back: one of these words.
    Recovery(Vec<String>),
    /// By how much a counter of the device went up.
    Stats {
        /// The way to it, with dots; `*` for all members.
        path: PerAsic<String>,
        /// By how much.
        amount: Amount,
    },
    /// Notes of the guest: so many.
    Note {
        /// The note; `about` is one of its fields.
        matcher: Matcher,
        /// How many.
        count: Amount,
    },
    /// The device's answers to a step.
    Answer {
        /// The step.
        step: String,
        /// Fields of each `result`, with dots.
        matcher: Option<Matcher>,
        /// By how much numbers went up from one answer to all later ones.
        change: Option<Change>,
    },
}

/// By how much numbers go up from one answer to later ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// By the way to the number, with dots.
    pub amounts: Vec<(String, Amount)>,
    /// The answer that the later ones are compared with, counted from 1.
    pub since: usize,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let amounts: Vec<_> = self
            .amounts
            .iter()
            .map(|(path, amount)| format!("{path} by {amount}"))
            .collect();
        write!(f, "since number {} changed {}", self.since, amounts.join(", "))
    }
}

impl Expected {
    /// Whether it is that something is absent: what is misspelt in such a one is never seen.
    pub fn is_negative(&self) -> bool {
        match self {
            Self::Dmesg { count: amount, .. }
            | Self::Event { count: amount, .. }
            | Self::Note { count: amount, .. }
            | Self::Stats { amount, .. } => amount.holds(0) && !amount.holds(1) && !amount.holds(i64::MAX),
            Self::DmesgOrder(_)
            | Self::EventOrder(_)
            | Self::Oracle { .. }
            | Self::Recovery(_)
            | Self::Answer { .. } => false,
        }
    }

    /// The kind, as files name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dmesg { .. } | Self::DmesgOrder(_) => "dmesg",
            Self::Event { .. } | Self::EventOrder(_) => "event",
            Self::Oracle { .. } => "oracle",
            Self::Recovery(_) => "recovery",
            Self::Stats { .. } => "stats",
            Self::Note { .. } => "note",
            Self::Answer { .. } => "answer",
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn list<T: std::fmt::Display>(items: &[T]) -> String {
            let items: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
            items.join(", then ")
        }
        match self {
            Self::Dmesg { pattern, count } => write!(f, "\"{pattern}\" in the log: {count}"),
            Self::DmesgOrder(patterns) => write!(f, "in the log {}", list(patterns)),
            Self::Event { matcher, count } => write!(f, "{matcher}: {count}"),
            Self::EventOrder(matchers) => write!(f, "events {}", list(matchers)),
            Self::Oracle { amounts, .. } => {
                let amounts: Vec<_> = amounts
                    .iter()
                    .map(|(name, amount)| format!("{name} {amount}"))
                    .collect();
                write!(f, "page tables: {}", amounts.join(", "))
            }
            Self::Recovery(words) => write!(f, "page tables recovered by {}", words.join(" or ")),
            Self::Stats { path, amount } => write!(f, "counter {path}: {amount}"),
            Self::Note { matcher, count } => write!(f, "note {matcher}: {count}"),
            Self::Answer {
                step,
                matcher,
                change,
            } => {
                write!(f, "answer to {step}:")?;
                if let Some(matcher) = matcher {
                    write!(f, " {matcher}")?;
                }
                match change {
                    Some(change) => write!(f, " {change}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A negative control: the same scenario with a sabotage. It has to fail, and for the reason that is named.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// Its name.
    pub name: String,
    /// On these kernels.
    pub kernels: Kernels,
    /// Before which step, counted from 0, the sabotage is done; the number of steps stands for after the last.
    pub before: usize,
    /// What is done there.
    pub sabotage: Option<Action>,
    /// Whether it is done each time that a step which is repeated comes, and not only the first.
    pub every_time: bool,
    /// A step that is left out.
    pub skip: Option<usize>,
    /// What has to fail: labels or kinds of expectations, labels of steps, `log`, `step`. All of them.
    pub fails: Vec<String>,
}

/// A known way to fail.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownBug {
    /// On these kernels.
    pub kernels: Kernels,
    /// The page about it.
    pub finding: String,
    /// Every failure matches one of these, and each of these matches a failure.
    pub failures: Vec<Pattern>,
}
