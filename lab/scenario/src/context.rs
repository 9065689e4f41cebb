//! What belongs to a failure and is none itself: lines for a reader that say more.

use serde_json::Value;

use super::evidence::Event;

/// Bits of a leaf entry (amdgpu_vm.h, `AMDGPU_PTE_*`): GC 10 has them in 6.1 as in 7.3.
const FLAGS: [(u32, &str); 9] = [
    (0, "valid"),
    (1, "system"),
    (2, "snooped"),
    (3, "tmz"),
    (4, "executable"),
    (5, "readable"),
    (6, "writeable"),
    (51, "prt"),
    (54, "pde-pte"),
];
/// Classes of entries in the order in which an example is looked for.
const CLASSES: [&str; 3] = ["different", "poisoned", "missing"];

/// The engines that a packet stopped.
pub fn halted(events: &[Event]) -> Vec<String> {
    let text = |event: &Event, name: &str| {
        let text = event.fields.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let halted = events.iter().filter(|event| event.kind() == "engine-halted");
    let mut lines: Vec<_> = halted
        .map(|event| {
            format!(
                "device: {} halted: {}",
                text(event, "engine"),
                text(event, "reason")
            )
        })
        .collect();
    lines.dedup();
    lines
}

/// The first entry of a comparison of page tables that is not as it was, in a space that is in use.
pub fn first_difference(comparison: &Value) -> Option<String> {
    let spaces = comparison.get("spaces")?.as_array()?;
    let in_use = spaces
        .iter()
        .filter(|space| space.get("in_use") == Some(&Value::Bool(true)));
    let examples: Vec<&Value> = in_use
        .filter_map(|space| space.get("examples")?.as_array())
        .flatten()
        .collect();
    let of = |class: &str| {
        let mut examples = examples.iter();
        examples.find(|example| example.get("class").and_then(Value::as_str) == Some(class))
    };
    let (class, example) = CLASSES.into_iter().find_map(|class| Some((class, of(class)?)))?;
    let va = example.get("va").and_then(Value::as_str).unwrap_or("?");
    let entry = |name: &str| example.get(name).map_or_else(|| "nothing".to_owned(), entry);
    Some(format!(
        "page tables: for example at {va}, {class}: before {}; after {}",
        entry("before"),
        entry("after")
    ))
}

/// An entry's bits, where it leads, and its flags by name.
fn entry(entry: &Value) -> String {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let Some(bits) = text("bits") else {
        return "nothing".to_owned();
    };
    let number = u64::from_str_radix(bits.trim_start_matches("0x"), 16).unwrap_or(0);
    let flags: Vec<_> = FLAGS
        .into_iter()
        .filter(|(bit, _)| number >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect();
    let flags = if flags.is_empty() {
        "no flags".to_owned()
    } else {
        flags.join(" ")
    };
    format!("{bits} ({}, {flags})", text("target").unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_engine_that_a_packet_stopped_is_named_once_in_a_row() {
        let event = |kind: &str| Event {
            unix_us: 0,
            fields: json!({ "event": kind, "engine": "sdma0", "reason": "opcode 0x7f" })
                .as_object()
                .cloned()
                .unwrap(),
        };
        let events = [event("engine-halted"), event("engine-halted"), event("vm-fault")];
        assert_eq!(halted(&events), ["device: sdma0 halted: opcode 0x7f"]);
        assert_eq!(halted(&[]), [""; 0]);
    }

    #[test]
    fn the_first_difference_has_its_address_and_both_entries_with_their_flags() {
        let example = |class: &str, va: &str, after: Value| {
            json!({ "class": class, "va": va, "entries": 1, "after": after,
                    "before": { "level": "PTB", "bits": "0x3f401071", "target": "vram 0x3f401000" } })
        };
        let space = |in_use: bool, examples: &[Value]| json!({ "in_use": in_use, "examples": examples });
        let poison = json!({ "level": "PTB", "bits": "0x6b6b6b6b6b6b6b6b", "target": "bus 0x6b6b6b6b6000" });
        let comparison = json!({ "spaces": [
            space(false, &[example("different", "0x1000", json!(null))]),
            space(true, &[example("missing", "0x2000", json!(null)), example("poisoned", "0x3000", poison)]),
        ] });
        assert_eq!(
            first_difference(&comparison).unwrap(),
            "page tables: for example at 0x3000, poisoned: before 0x3f401071 (vram 0x3f401000, valid executable readable writeable); \
             after 0x6b6b6b6b6b6b6b6b (bus 0x6b6b6b6b6000, valid system tmz readable writeable prt pde-pte)"
        );
        let missing = json!({ "spaces": [space(true, &[example("missing", "0x2000", json!(null))])] });
        assert!(first_difference(&missing).unwrap().ends_with("; after nothing"));
        assert_eq!(first_difference(&json!({ "spaces": [space(true, &[])] })), None);
        assert_eq!(first_difference(&json!(null)), None);
    }
}
