//! Reads a scenario file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use protocol::asic::Asic;
use protocol::guest::root::GuestRoot;
use protocol::personality::Personality;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::condition::{Matcher, Pattern, Wanted};
use super::diagnostic::{Diagnostics, Rejected};
use super::kernels::{Kernels, NoKernels};
use super::model::{Action, Applies, Control, Driver, KnownBug, Machine, Repeat, Scenario, Step, Tolerated};
use super::orders;
use super::per_asic::PerAsic;
use super::reader::{AsicText, At, Reader, json};
use super::vocabulary;

/// Reads a scenario from the text of a file. Its name is that of the file.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and column.
pub fn parse(file: &Path, text: &str) -> Result<Scenario, Rejected> {
    let diagnostics = Diagnostics::default();
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let span = error.span().unwrap_or(0..0);
        diagnostics.error(span, "this is not TOML", error.message().replace('\n', ": "));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    // What follows from a syntax error is not worth telling.
    let reading = Diagnostics::default();
    let scenario = scenario(&name, &Reader::new("the file", root.get_ref(), 0..0, &reading));
    let found = if syntax.is_empty() { reading } else { diagnostics };
    match found.rejected(&file.display().to_string(), text) {
        None => Ok(scenario),
        Some(rejected) => Err(rejected),
    }
}

fn scenario(name: &str, root: &Reader<'_>) -> Scenario {
    let title = root.required_text("title");
    let tags = root.texts("tags").map(|tags| tags.value).unwrap_or_default();
    let mut places = check::Places::default();
    let steps = root
        .tables("step")
        .iter()
        .map(|table| step(table, &mut places))
        .collect::<Vec<_>>();
    if steps.is_empty() {
        root.missing("[[step]]", "at least one step");
    }
    let expectations = root
        .tables("expect")
        .iter()
        .map(|table| super::parse_expect::expectation(table, &mut places))
        .collect();
    let scenario = Scenario {
        name: name.to_owned(),
        title: title
            .map(|title| title.value.trim().to_owned())
            .unwrap_or_default(),
        about: root
            .text("about")
            .map(|about| about.value.trim().to_owned())
            .unwrap_or_default(),
        tags: tags.into_iter().map(|tag| tag.value.to_owned()).collect(),
        share_boot: flag(root, "share-boot"),
        resets: flag(root, "resets"),
        tolerate: root
            .tables("tolerate")
            .iter()
            .map(|table| tolerate(table, &mut places))
            .collect(),
        personalities: personalities(root),
        not_for: root
            .table("asic")
            .map(|table| not_for(&table))
            .unwrap_or_default(),
        applies: root
            .table("applies")
            .map(|table| applies(&table))
            .unwrap_or_default(),
        needs: needs(root),
        machine: root
            .table("machine")
            .map(|table| machine(&table))
            .unwrap_or_default(),
        controls: root
            .tables("control")
            .iter()
            .map(|table| control(table, &steps, &mut places))
            .collect(),
        repeats: repeats(root, &steps),
        known_bugs: root.tables("known-bug").iter().map(known_bug).collect(),
        steps,
        expectations,
    };
    root.finish();
    check::check(&scenario, &places, root);
    scenario
}

/// `personality = "vf"` or a list; the part itself if it is not there.
fn personalities(root: &Reader<'_>) -> Vec<Personality> {
    let Some(texts) = root.texts("personality") else {
        return vec![Personality::BareMetal];
    };
    let known = |text: At<&str>| {
        let found = Personality::from_name(text.value);
        if found.is_none() {
            root.error(
                text.span,
                format!("`personality` cannot be {:?}", text.value),
                "expected \"bare-metal\" or \"vf\"",
            );
        }
        found
    };
    texts.value.into_iter().filter_map(known).collect()
}

/// `[asic]`: parts that it is not for, each with the reason.
fn not_for(table: &Reader<'_>) -> Vec<(Asic, String)> {
    let mut found = Vec::new();
    for (key, value) in table.entries() {
        let asic = Asic::from_name(key.value);
        if asic.is_none() {
            table.error(
                key.span.clone(),
                format!("`{}` in asic is no part", key.value),
                format!("expected {}", Asic::ALL.map(Asic::name).join(" or ")),
            );
        }
        match value.get_ref() {
            DeValue::String(reason) if !reason.trim().is_empty() => {
                found.extend(asic.map(|asic| (asic, reason.trim().to_owned())));
            }
            _ => table.error(
                value.span(),
                format!("`{}` in asic is no text", key.value),
                "expected a text that says why it does not apply",
            ),
        }
    }
    found
}

fn flag(table: &Reader<'_>, key: &'static str) -> bool {
    table.flag(key).is_some_and(|flag| flag.value)
}

/// `kernels = "..."` or a list of them; every kernel if it is not there.
pub(super) fn kernels(table: &Reader<'_>) -> Kernels {
    let Some(texts) = table.texts("kernels") else {
        return Kernels::default();
    };
    texts
        .value
        .into_iter()
        .filter_map(|text| kernels_from(table, &text))
        .reduce(Kernels::or)
        .unwrap_or_default()
}

fn kernels_from(table: &Reader<'_>, text: &At<&str>) -> Option<Kernels> {
    let kernels = text.value.parse();
    if kernels.is_err() {
        table.error(
            text.span.clone(),
            format!("{:?} names no kernels", text.value),
            NoKernels::EXPECTED,
        );
    }
    kernels.ok()
}

pub(super) fn pattern(table: &Reader<'_>, text: &At<&str>) -> Option<Pattern> {
    text.value
        .parse()
        .map_err(|error| {
            table.error(
                text.span.clone(),
                format!("{:?} is no regular expression", text.value),
                error,
            );
        })
        .ok()
}

/// The same of a text that may differ from ASIC to ASIC.
pub(super) fn pattern_per_asic(
    table: &Reader<'_>,
    text: &AsicText<'_>,
    places: &mut check::Places,
) -> Option<PerAsic<Pattern>> {
    let mut texts: Vec<&At<&str>> = Vec::new();
    for asic in Asic::ALL {
        match text.texts.of(asic) {
            // One text for all is looked at once.
            Some(text) if texts.contains(&text) => {}
            Some(text) => texts.push(text),
            None => places.asics.push((text.span.clone(), asic)),
        }
    }
    let patterns: Vec<_> = texts.iter().map(|text| pattern(table, text)).collect();
    let of = |asic| {
        let found = text.texts.of(asic).as_ref()?;
        let index = texts.iter().position(|text| *text == found)?;
        patterns.get(index)?.clone()
    };
    // What no scenario is run with has to be something.
    let any = patterns.iter().flatten().next()?.clone();
    Some(PerAsic::each(|asic| of(asic).unwrap_or_else(|| any.clone())))
}

/// The fields of a table as conditions; `resolved` are those that the language has words of its own for.
pub(super) fn matcher(table: &Reader<'_>, resolved: &BTreeMap<String, Wanted>) -> Matcher {
    let mut matcher = Matcher::default();
    for (key, value) in table.entries() {
        if let Some(wanted) = resolved.get(key.value) {
            matcher.fields.insert(key.value.to_owned(), wanted.clone());
            continue;
        }
        let Some(json) = json_at(table, value) else {
            continue;
        };
        match Wanted::from_value(json) {
            Ok(wanted) => {
                matcher.fields.insert(key.value.to_owned(), wanted);
            }
            Err(error) => table.error(
                value.span(),
                format!("`{}` in {} is no regular expression", key.value, table.what),
                error,
            ),
        }
    }
    if table.entries().is_empty() {
        table.error(
            table.span.clone(),
            format!("{} names no field", table.what),
            "expected at least one",
        );
    }
    matcher
}

fn json_at(table: &Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    let found = json(value.get_ref());
    if found.is_none() {
        let kind = value.get_ref().type_str();
        table.error(
            value.span(),
            format!("a value in {} cannot be used ({kind})", table.what),
            "expected a text, a number of 64 bits, true or false",
        );
    }
    found
}

fn tolerate(table: &Reader<'_>, places: &mut check::Places) -> Tolerated {
    let text = table.required_text("dmesg");
    // For the reader of the file: it stands beside what it explains.
    table.required_text("why");
    let windows = ["from", "until"].map(|key| table.text(key));
    let [from, until] = windows
        .each_ref()
        .map(|text| text.as_ref().map(|text| text.value.to_owned()));
    places
        .references
        .extend(windows.into_iter().flatten().map(|text| text.map(str::to_owned)));
    let tolerated = Tolerated {
        text: text.map(|text| text.value.to_owned()).unwrap_or_default(),
        kernels: kernels(table),
        from,
        until,
    };
    table.finish();
    tolerated
}

fn applies(table: &Reader<'_>) -> Vec<Applies> {
    let mut rules = Vec::new();
    for (key, value) in table.entries() {
        let Some(kernels) = kernels_from(table, &key) else {
            continue;
        };
        let reason = match value.get_ref() {
            DeValue::Boolean(true) => None,
            DeValue::String(reason) if !reason.trim().is_empty() => Some(reason.trim().to_owned()),
            _ => {
                table.error(
                    value.span(),
                    format!("`{}` in applies is neither", key.value),
                    "expected true, or a text that says why it does not apply",
                );
                continue;
            }
        };
        rules.push(Applies { kernels, reason });
    }
    rules
}

/// Whether a text can be an option's name: `CONFIG_HSA_AMD`.
fn is_option(text: &str) -> bool {
    text.strip_prefix("CONFIG_").is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// `needs = ["CONFIG_HSA_AMD"]`.
fn needs(root: &Reader<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for text in root.texts("needs").map(|texts| texts.value).unwrap_or_default() {
        if is_option(text.value) {
            options.push(text.value.to_owned());
        } else {
            root.error(
                text.span,
                format!("`{}` is no option of a kernel's configuration", text.value),
                "expected a name such as CONFIG_HSA_AMD",
            );
        }
    }
    options
}

fn machine(table: &Reader<'_>) -> Machine {
    let text = |key| table.text(key).map(|text| text.value.to_owned());
    let small = |key| {
        let number = table.number(key)?;
        let small = u32::try_from(number.value).ok().filter(|number| *number > 0);
        if small.is_none() {
            table.error(
                number.span,
                format!("`{key}` is too large or 0"),
                "expected a small number",
            );
        }
        small
    };
    let list = |key| {
        let texts = table.texts(key).map(|texts| texts.value).unwrap_or_default();
        texts.into_iter().map(|text| text.value.to_owned()).collect()
    };
    let parameters = text("module-parameters").unwrap_or_default();
    let driver = match table.text("driver") {
        None => Driver::Loaded { parameters },
        Some(word) => match word.value {
            "loaded" => Driver::Loaded { parameters },
            "module" => Driver::Module { parameters },
            "absent" => Driver::Absent,
            _ => {
                table.error(
                    word.span,
                    format!("`driver` cannot be {:?}", word.value),
                    "expected \"loaded\", \"module\" or \"absent\"",
                );
                Driver::default()
            }
        },
    };
    let root = table.text("root").and_then(|word| {
        let root = GuestRoot::from_name(word.value);
        if root.is_none() {
            let known = GuestRoot::ALL.map(|root| format!("{:?}", root.name()));
            table.error(
                word.span,
                format!("`root` cannot be {:?}", word.value),
                format!("expected {}", known.join(" or ")),
            );
        }
        root
    });
    let machine = Machine {
        append: text("append").unwrap_or_default(),
        vram_size: text("vram-size"),
        memory: small("memory"),
        cpus: small("cpus"),
        daemon_arguments: list("daemon-args"),
        qemu_arguments: list("qemu-args"),
        guest_port: flag(table, "guest-port"),
        root,
        driver,
    };
    table.finish();
    machine
}

fn step(table: &Reader<'_>, places: &mut check::Places) -> Step {
    let label = table.text("label");
    let mut actions = actions(table, places, places.steps.len());
    if let Some(text) = table.text_per_asic("wait-dmesg") {
        let pattern = pattern_per_asic(table, &text, places);
        let unless = table.texts_per_asic("unless");
        let unless = unless.map(|texts| texts.value).unwrap_or_default();
        let unless = unless
            .iter()
            .filter_map(|text| pattern_per_asic(table, text, places))
            .collect();
        actions.extend(pattern.map(|pattern| Action::WaitDmesg { pattern, unless }));
    } else if let Some(value) = table.value("unless") {
        table.error(
            value.span(),
            "`unless` ends a wait for a line of the kernel's log, and this step waits for none",
            "expected `wait-dmesg` beside it",
        );
    }
    if let Some(event) = table.table("wait-event") {
        let resolved = vocabulary::event(&event);
        actions.push(Action::WaitEvent(matcher(&event, &resolved)));
    }
    let timeout = table
        .number("timeout")
        .map(|seconds| Duration::from_secs(seconds.value));
    let expect_failure = table
        .text("expect-failure")
        .and_then(|text| pattern(table, &text));
    let kernels = kernels(table);
    let kinds = ["guest", "device", "wait-event", "wait-dmesg"];
    let given = kinds.iter().filter(|kind| table.has(kind)).count();
    if given != 1 {
        table.error(
            table.span.start..table.span.start,
            format!("a step does one thing, but this does {given}"),
            format!("expected one of: {}", kinds.join(", ")),
        );
    }
    table.finish();
    places.steps.push(table.span.clone());
    places.label(table, label.as_ref());
    Step {
        label: label.map(|label| label.value.to_owned()),
        action: actions.into_iter().next().unwrap_or(Action::Device {
            request: Map::new(),
            taken: Vec::new(),
            keep_connection: false,
        }),
        kernels,
        expect_failure,
        timeout,
    }
}

/// What the guest or the device is told. A request can take fields from answers to steps before number `until`, counted from 0.
fn actions(table: &Reader<'_>, places: &mut check::Places, until: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    let keep_connection = flag(table, "keep-connection");
    if let Some(words) = table.text("guest") {
        vocabulary::order(table, &words);
        // What is no order is told with all that is wrong with its words.
        if let Some(probes) = orders::probes(words.value) {
            actions.push(Action::Guest {
                words: words.value.split_whitespace().collect::<Vec<_>>().join(" "),
                probes,
            });
        }
    }
    if let Some(request) = table.table("device") {
        request.required_text("request");
        let mut resolved = vocabulary::request(&request);
        let fields: Map<String, Value> = request
            .entries()
            .into_iter()
            .filter(|(key, _)| !resolved.taken.iter().any(|place| place.taken.field == key.value))
            .filter_map(|(key, value)| {
                let number = resolved.numbers.remove(key.value);
                Some((key.value.to_owned(), number.or_else(|| json_at(table, value))?))
            })
            .collect();
        let taken = resolved.taken.iter().map(|place| place.taken.clone()).collect();
        for place in resolved.taken {
            places.references.push(place.step());
            places.taken.push((place, until));
        }
        actions.push(Action::Device {
            request: fields,
            taken,
            keep_connection,
        });
    } else if keep_connection {
        table.missing("device", "the request whose connection is kept");
    }
    actions
}

fn control(table: &Reader<'_>, steps: &[Step], places: &mut check::Places) -> Control {
    let name = table.required_text("name");
    let before =
        step_index(table, "before", steps).unwrap_or(if table.has("before") { 0 } else { steps.len() });
    let sabotage = actions(table, places, before).into_iter().next();
    let skip = step_index(table, "skip", steps);
    let every_time = flag(table, "every-time");
    let kinds = ["guest", "device", "skip"];
    if !kinds.iter().any(|kind| table.has(kind)) {
        table.missing("guest, device or skip", "what the sabotage is");
    }
    if sabotage.is_some() && !table.has("before") {
        table.missing("before", "the step before which the sabotage is done");
    }
    if every_time && sabotage.is_none() {
        table.missing("guest or device", "what is done every time");
    }
    let fails = table.texts("fails");
    if fails.as_ref().is_none_or(|fails| fails.value.is_empty()) {
        table.missing("fails", "what has to fail: labels or kinds");
    }
    let kernels = kernels(table);
    table.finish();
    let fails = fails.map(|fails| fails.value).unwrap_or_default();
    places.controls.push(check::ControlPlace {
        fails: fails.iter().map(|word| word.span.clone()).collect(),
    });
    Control {
        name: name.map(|name| name.value.to_owned()).unwrap_or_default(),
        kernels,
        before,
        sabotage,
        every_time,
        skip,
        fails: fails.into_iter().map(|word| word.value.to_owned()).collect(),
    }
}

/// A step by its number, counted from 1, or by its label.
fn step_index(table: &Reader<'_>, key: &'static str, steps: &[Step]) -> Option<usize> {
    let value = table.value(key)?;
    let found = match value.get_ref() {
        DeValue::String(label) => steps
            .iter()
            .position(|step| step.label.as_deref() == Some(label.as_ref())),
        number => super::reader::integer(number)
            .and_then(|number| usize::try_from(number).ok()?.checked_sub(1))
            .filter(|index| *index < steps.len()),
    };
    if found.is_none() {
        table.error(
            value.span(),
            format!("`{key}` names no step"),
            format!(
                "expected the label of a step, or its number from 1 to {}",
                steps.len()
            ),
        );
    }
    found
}

/// They may follow each other, but not overlap.
fn repeats(root: &Reader<'_>, steps: &[Step]) -> Vec<Repeat> {
    /// More than a guest does in a day.
    const MOST: u64 = 100_000;
    let mut repeats: Vec<Repeat> = Vec::new();
    for table in root.tables("repeat") {
        for key in ["from", "until", "times"] {
            if !table.has(key) {
                table.missing(key, "the first step, the last, and how often in all");
            }
        }
        let (from, until) = (
            step_index(&table, "from", steps),
            step_index(&table, "until", steps),
        );
        let times = table.number("times");
        if let Some(times) = times.as_ref().filter(|times| !(2..=MOST).contains(&times.value)) {
            table.error(
                times.span.clone(),
                "`times` cannot be that",
                format!("expected 2 to {MOST}"),
            );
        }
        table.finish();
        let (Some(first), Some(last), Some(times)) = (from, until, times) else {
            continue;
        };
        let overlaps = repeats
            .iter()
            .any(|other| first <= other.last && other.first <= last);
        if first > last || overlaps {
            table.error(
                table.span.start..table.span.start,
                "these steps cannot be repeated",
                "expected `from` before `until`, and none of the steps in another repeat",
            );
        }
        repeats.push(Repeat {
            first,
            last,
            times: usize::try_from(times.value).unwrap_or(1),
        });
    }
    repeats
}

fn known_bug(table: &Reader<'_>) -> KnownBug {
    let finding = table.required_text("finding");
    let failures = table.texts("failures");
    if failures.as_ref().is_none_or(|list| list.value.is_empty()) {
        table.missing("failures", "a regular expression for every failure");
    }
    let bug = KnownBug {
        kernels: kernels(table),
        finding: finding
            .map(|finding| finding.value.to_owned())
            .unwrap_or_default(),
        failures: failures
            .map(|list| list.value)
            .unwrap_or_default()
            .iter()
            .filter_map(|text| pattern(table, text))
            .collect(),
    };
    if !table.has("kernels") {
        table.missing("kernels", "the versions that have the bug");
    }
    table.finish();
    bug
}

#[cfg(test)]
#[path = "language_tests.rs"]
mod language_tests;
#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
