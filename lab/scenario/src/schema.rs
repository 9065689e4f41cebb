//! The JSON schema of scenario files, for editors: `docs/scenario.schema.json`.
//!
//! Events, requests, faults, counters, notes and orders come from the same types that files are held against. The tables of a file
//! are written down here, and a test compares their keys with those that files are read by.

use std::collections::BTreeMap;

use protocol::asic::Asic;
use protocol::guest::order;
use protocol::guest::root::GuestRoot;
use protocol::shape::{Fields, Shape};
use serde_json::{Map, Value, json};

use super::parse_expect::{KINDS, ORACLE, RECOVERIES};
use super::resolve::words_for;
use super::vocabulary::{EVENTS, FAULTS, NOTED, REQUESTS, STATS};

/// A comparison, as a text.
const COMPARISON: &str = r"^\s*(>=|<=|!=|=|>|<)\s*-?[0-9]+$";
/// A condition on a field that is no value: a regular expression, a comparison, something, nothing.
const CONDITION: &str = r"^(~|\s*(>=|<=|!=|=|>|<)|\*$|-$)";

/// The schema.
pub fn schema() -> Value {
    let mut root = table(&[
        ("title", text("One line.")),
        (
            "about",
            text("Why it is there, what hardware does, what the driver is expected to do."),
        ),
        ("tags", list("Words to choose it by: `run --tag`.")),
        (
            "share-boot",
            flag("With `--cold`, may run after another scenario in the same guest."),
        ),
        (
            "resets",
            flag("Hangs and resets are what it is about, and are not held against the driver."),
        ),
        ("personality", personality()),
        ("asic", reasons("ASICs that it is not for, each with the reason.")),
        ("applies", applies()),
        (
            "needs",
            texts("Options that the kernel has to be configured with, such as CONFIG_HSA_AMD."),
        ),
        ("machine", machine()),
        ("step", tables(step())),
        ("repeat", tables(repeat())),
        ("expect", tables(expect())),
        ("tolerate", tables(tolerate())),
        ("control", tables(control())),
        ("known-bug", tables(known_bug())),
    ]);
    let defs = json!({
        "event": conditions("event", &EVENTS),
        "note": conditions("about", &NOTED),
        "request": request(),
        "amount": { "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": COMPARISON }] },
        "condition": {
            "type": "string",
            "pattern": CONDITION,
            "description": "~regex; >0, <=3 and the like; * is anything, - is nothing.",
        },
        "kernels": texts("Versions: `6.1`, `>=6.12`, `>=6.12, <6.12.117`; a list for any of them."),
        "order": orders(),
    });
    for (key, value) in [
        ("$schema", "https://json-schema.org/draft/2020-12/schema".into()),
        ("title", "A scenario of amdgpu-lab".into()),
        ("required", json!(["title", "step"])),
        ("$defs", defs),
    ] {
        root = with(root, key, value);
    }
    root
}

/// The same with one more key.
fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Some(keys) = schema.as_object_mut() {
        keys.insert(key.to_owned(), value);
    }
    schema
}

/// The tables of a file with their keys.
#[cfg(test)]
fn keys() -> BTreeMap<&'static str, Vec<String>> {
    let named = [
        ("the file", schema()),
        ("machine", machine()),
        ("step", step()),
        ("repeat", repeat()),
        ("expect", expect()),
        ("tolerate", tolerate()),
        ("control", control()),
        ("known-bug", known_bug()),
    ];
    let names = |table: &Value| {
        let properties = table["properties"].as_object().cloned().unwrap_or_default();
        properties.into_iter().map(|(name, _)| name).collect()
    };
    named
        .into_iter()
        .map(|(what, table)| (what, names(&table)))
        .collect()
}

fn machine() -> Value {
    table(&[
        ("append", text("Added to the kernel's command line.")),
        ("vram-size", text("As `--vram-size`.")),
        ("memory", number("MiB.")),
        ("cpus", number("Processors.")),
        ("daemon-args", texts("Added to the device's arguments.")),
        ("qemu-args", texts("Added to QEMU's arguments.")),
        (
            "root",
            words(
                "A root with a distribution's programs.",
                &GuestRoot::ALL.map(GuestRoot::name),
            ),
        ),
        ("guest-port", flag("It has the guest port, and a shell for `sh`.")),
        (
            "driver",
            words(
                "How the driver is before the first step.",
                &["loaded", "module", "absent"],
            ),
        ),
        (
            "module-parameters",
            text("Parameters of amdgpu when its module is loaded before the first step."),
        ),
    ])
}

fn step() -> Value {
    table(&[
        ("label", text("Its name.")),
        ("guest", refer("order")),
        ("device", refer("request")),
        ("wait-event", refer("event")),
        (
            "wait-dmesg",
            with(
                text_per_asic(),
                "description",
                "A regular expression: waits for a line of the kernel's log that matches.".into(),
            ),
        ),
        (
            "unless",
            with(
                one_or_list(text_per_asic()),
                "description",
                "Regular expressions beside `wait-dmesg`: a line like one of them ends the wait, and the step fails.".into(),
            ),
        ),
        ("kernels", refer("kernels")),
        ("timeout", number("Seconds, instead of `--timeout`.")),
        (
            "expect-failure",
            text("A regular expression: the step has to fail, with such words."),
        ),
        (
            "keep-connection",
            flag("The connection that `device` was asked at stays open."),
        ),
    ])
}

fn repeat() -> Value {
    let table = table(&[
        ("from", place("The first step.")),
        ("until", place("The last step.")),
        ("times", number("How often in all.")),
    ]);
    with(table, "required", json!(["from", "until", "times"]))
}

fn expect() -> Value {
    let amount = || refer("amount");
    let table = table(&[
        ("label", text("Its name.")),
        ("kernels", refer("kernels")),
        (
            "from",
            text("Only what came from the beginning of the step with this label on."),
        ),
        (
            "until",
            text("Only what came until the end of the step with this label."),
        ),
        (
            "dmesg",
            with(
                one_or_list(text_per_asic()),
                "description",
                "A regular expression for a line of the kernel's log; a list: in this order.".into(),
            ),
        ),
        ("event", one_or_list(refer("event"))),
        ("note", refer("note")),
        ("stats", counters()),
        ("oracle", oracle()),
        (
            "recovery",
            one_or_list(words("How page tables came back.", &RECOVERIES)),
        ),
        ("answer", text("The answer to the step with this label.")),
        (
            "fields",
            object("What fields of the answer have to be, by their ways."),
        ),
        (
            "change",
            object("By how much numbers of the answer may go up, by their ways."),
        ),
        (
            "since",
            number("The answer that later ones are compared with, from 1."),
        ),
        ("spaces", words("Which address spaces count.", &["in-use", "all"])),
        ("count", amount()),
        ("equals", amount()),
        ("at-least", amount()),
        ("absent", json!({ "const": true, "description": "None at all." })),
        (
            "uncontrolled",
            text("Why no control is needed for what has to be absent."),
        ),
        (
            "controlled-in",
            text("The scenario where a control makes an equal expectation fail."),
        ),
    ]);
    let kinds = KINDS.map(|kind| json!({ "required": [kind] }));
    with(table, "oneOf", json!(kinds))
}

fn tolerate() -> Value {
    let table = table(&[
        ("dmesg", text("A part of the lines, no regular expression.")),
        ("why", text("Why that is no error here.")),
        ("kernels", refer("kernels")),
        ("from", text("From the beginning of the step with this label on.")),
        ("until", text("Until the end of the step with this label.")),
    ]);
    with(table, "required", json!(["dmesg", "why"]))
}

fn control() -> Value {
    let table = table(&[
        ("name", text("What is sabotaged.")),
        ("guest", refer("order")),
        ("device", refer("request")),
        (
            "keep-connection",
            flag("The connection that `device` was asked at stays open."),
        ),
        ("before", place("The step before which it is done.")),
        (
            "every-time",
            flag("It is done each time that a step which is repeated comes."),
        ),
        ("skip", place("A step that is left out.")),
        (
            "fails",
            texts("Everything that has to fail: labels, kinds of expectations, `log`, `step`."),
        ),
        ("kernels", refer("kernels")),
    ]);
    with(table, "required", json!(["name", "fails"]))
}

fn known_bug() -> Value {
    let table = table(&[
        ("kernels", refer("kernels")),
        ("finding", text("The page about it.")),
        (
            "failures",
            texts("Regular expressions: every failure matches one, and each matches a failure."),
        ),
    ]);
    with(table, "required", json!(["kernels", "finding", "failures"]))
}

fn personality() -> Value {
    one_or_list(words("What the GPU may be.", &["bare-metal", "vf"]))
}

fn applies() -> Value {
    json!({
        "type": "object",
        "description": "By kernels: true, or the reason why it does not apply. The first key that fits counts.",
        "additionalProperties": { "anyOf": [{ "const": true }, { "type": "string" }] },
    })
}

fn oracle() -> Value {
    table(&ORACLE.map(|name| (name, refer("amount"))))
}

/// Ways to counters: all that there are, and whatever has a number of a member in it.
fn counters() -> Value {
    let mut ways = Vec::new();
    numbers(&STATS, "", &mut ways);
    let way = json!({
        "anyOf": [{ "enum": ways }, { "type": "string", "pattern": r"(^|\.)([0-9]+|\*)(\.|$)" }],
    });
    json!({
        "description": "The way to a counter of the device; `*` is the sum over all members.",
        "anyOf": [way, per_asic(&way)],
    })
}

fn numbers(shape: &Shape, way: &str, found: &mut Vec<String>) {
    if shape.number {
        found.push(way.to_owned());
    }
    let behind = |name: &str| {
        if way.is_empty() {
            name.to_owned()
        } else {
            format!("{way}.{name}")
        }
    };
    for (name, field) in &shape.fields {
        numbers(&field.shape, &behind(name), found);
    }
    for members in [&shape.items, &shape.numbered].into_iter().flatten() {
        numbers(members, &behind("*"), found);
    }
}

fn orders() -> Value {
    let names: Vec<_> = order::ORDERS.iter().map(|order| order.name).collect();
    json!({
        "type": "string",
        "description": "An order for the guest, with its words.",
        "pattern": format!(r"^\s*({})(\s|$)", names.join("|")),
    })
}

/// A request with plain values, by its name; faults by their kinds.
fn request() -> Value {
    let mut requests: Vec<Value> = Vec::new();
    for (name, fields) in REQUESTS.iter() {
        if name == "fault" {
            requests.extend(FAULTS.iter().map(|(kind, fields)| {
                let mut fields = fields.clone();
                fields.extend(
                    REQUESTS
                        .get("fault")
                        .and_then(|fields| fields.get_key_value("request"))
                        .map(owned),
                );
                variant(&[("request", name), ("kind", kind)], &fields, given, true)
            }));
        } else {
            requests.push(variant(&[("request", name)], fields, given, true));
        }
    }
    json!({ "type": "object", "required": ["request"], "anyOf": requests })
}

fn owned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// Conditions on the fields of an object, by its kind; of several kinds if that is a condition as well.
fn conditions(tag: &str, kinds: &BTreeMap<String, Fields>) -> Value {
    let mut variants: Vec<Value> = kinds
        .iter()
        .map(|(name, fields)| variant(&[(tag, name)], fields, condition, false))
        .collect();
    variants.push(json!({ "properties": { tag: refer("condition") } }));
    json!({ "type": "object", "anyOf": variants })
}

fn variant(tags: &[(&str, &str)], fields: &Fields, value: fn(&Shape) -> Value, all: bool) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = tags.iter().map(|(tag, _)| *tag).collect();
    for (name, field) in fields {
        let mut schema = value(&field.shape);
        if !field.about.is_empty() {
            schema = with(schema, "description", field.about.as_str().into());
        }
        properties.insert(name.clone(), schema);
        if all && field.required && !required.contains(&name.as_str()) {
            required.push(name);
        }
    }
    for (tag, name) in tags {
        properties.insert((*tag).to_owned(), json!({ "const": name }));
    }
    json!({ "properties": properties, "required": required, "additionalProperties": false })
}

/// What a field of a request can be: a value, or one of an earlier answer.
fn given(shape: &Shape) -> Value {
    let from_answer = table(&[
        ("answer", text("The label of an earlier step with `device`.")),
        ("field", text("The way to the value in its answer.")),
    ]);
    let from_answer = with(from_answer, "required", json!(["answer", "field"]));
    json!({ "anyOf": [plain(shape), from_answer] })
}

/// A text, or one for each ASIC.
fn text_per_asic() -> Value {
    let text = json!({ "type": "string" });
    json!({ "anyOf": [text, per_asic(&text)] })
}

fn per_asic(value: &Value) -> Value {
    table(&Asic::ALL.map(|asic| (asic.name(), value.clone())))
}

/// What a field can be.
fn plain(shape: &Shape) -> Value {
    let mut kinds = Vec::new();
    if shape.number {
        kinds.push(json!({ "type": "integer" }));
    }
    match shape.names {
        Some(names) if names.bits => {
            let words: Vec<_> = names.words().collect();
            let word = format!("({})?({}|[0-9]+|0x[0-9a-f]+)", names.prefix, words.join("|"));
            kinds.push(json!({ "type": "string", "pattern": format!(r"^{word}( *\| *{word})*$") }));
        }
        Some(names) => kinds.push(json!({ "enum": names.words().collect::<Vec<_>>() })),
        None => {}
    }
    if shape.flag {
        kinds.push(json!({ "type": "boolean" }));
    }
    if !shape.words.is_empty() {
        kinds.push(json!({ "enum": words_for(shape) }));
    }
    match &shape.text {
        Some(Some(pattern)) => kinds.push(json!({ "type": "string", "pattern": pattern })),
        Some(None) => kinds.push(json!({ "type": "string" })),
        None => {}
    }
    if let Some(items) = &shape.items {
        kinds.push(json!({ "type": "array", "items": plain(items) }));
    }
    match kinds.len() {
        0 => json!({ "type": "object" }),
        1 => kinds.remove(0),
        _ => json!({ "anyOf": kinds }),
    }
}

/// The same, or a condition.
fn condition(shape: &Shape) -> Value {
    json!({ "anyOf": [plain(shape), refer("condition")] })
}

fn table(keys: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn tables(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn object(about: &str) -> Value {
    json!({ "type": "object", "description": about, "minProperties": 1 })
}

fn reasons(about: &str) -> Value {
    json!({ "type": "object", "description": about, "additionalProperties": { "type": "string" } })
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn flag(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

fn number(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

fn words(about: &str, words: &[&str]) -> Value {
    json!({ "enum": words, "description": about })
}

fn list(about: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": about })
}

/// A label, or a number from 1.
fn place(about: &str) -> Value {
    json!({ "type": ["string", "integer"], "description": about })
}

fn texts(about: &str) -> Value {
    with(
        one_or_list(json!({ "type": "string" })),
        "description",
        about.into(),
    )
}

fn one_or_list(of: Value) -> Value {
    json!({ "anyOf": [of.clone(), { "type": "array", "items": of }] })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{catalogue, reader};

    /// `cargo run -p amdgpu-lab-scenario --example schema > docs/scenario.schema.json`
    #[test]
    fn the_file_is_what_is_made_here() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenario.schema.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(
            file == schema(),
            "make it with: cargo run -p amdgpu-lab-scenario --example schema"
        );
    }

    /// Files are read key by key. All that are asked for in any shipped file are those of the schema, and no others.
    #[test]
    fn tables_have_the_keys_that_files_are_read_by() {
        reader::asked::take();
        catalogue::shipped(catalogue::Texts::Present).unwrap();
        let asked = reader::asked::take();
        for (what, mut keys) in keys() {
            keys.sort_unstable();
            let read: Vec<_> = asked[what].iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(keys, read, "{what}");
        }
    }
}
