//! The device's own words in a line or two for a reader.
//!
//! The control socket's answers are taken as they come: what is not there is left out, so that a device of another
//! version still gives a report.

use serde_json::Value;

/// What is inside an answer.
fn inside(answer: &Value) -> &Value {
    answer.get("result").unwrap_or(answer)
}

/// Rows about counters: the packets that wrote page tables, by kind and place, and what the engines did.
pub fn counters(answer: &Value) -> Vec<(&'static str, String)> {
    let result = inside(answer);
    let mut rows = Vec::new();
    if let Some(kinds) = result.get("page_table_updates").and_then(Value::as_object) {
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(kind, places)| {
                let places: Vec<_> = places
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(_, count)| number(count, "packets") > 0)
                    .map(|(place, count)| {
                        format!(
                            "{place} {} ({} entries)",
                            number(count, "packets"),
                            number(count, "entries")
                        )
                    })
                    .collect();
                let places = if places.is_empty() {
                    "none".to_owned()
                } else {
                    places.join(", ")
                };
                format!("{kind}: {places}")
            })
            .collect();
        rows.push(("pte packets", kinds.join("; ")));
    }
    for (index, engine) in result
        .get("sdma")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let packets: u64 = engine
            .get("packets")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        rows.push((
            "sdma",
            format!(
                "engine {index}: {packets} packets, {} copied, {} filled, {} faults",
                size(number(engine, "copy_bytes")),
                size(number(engine, "fill_bytes")),
                number(engine, "faults")
            ),
        ));
    }
    if let Some(resets) = result.get("resets").and_then(Value::as_object) {
        let resets: Vec<_> = resets
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        rows.push(("resets", resets.join(", ")));
    }
    rows
}

/// A row per address space: its entries by level, and what they map.
pub fn tables(answer: &Value) -> Vec<String> {
    inside(answer)
        .as_array()
        .into_iter()
        .flatten()
        .map(|space| {
            let levels: Vec<_> = space
                .get("entries")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(level, count)| format!("{level} {count}"))
                .collect();
            let live = if space.get("live").and_then(Value::as_bool) == Some(false) {
                ", not live"
            } else {
                ""
            };
            format!(
                "vmid {}: {}; {} mapped, {} pages in vram, {} in system memory{live}",
                number(space, "vmid"),
                levels.join(", "),
                size(number(space, "mapped_bytes")),
                number(space, "vram_pages"),
                number(space, "system_pages")
            )
        })
        .collect()
}

/// The client's last report.
pub fn client(reports: &[Value]) -> Option<String> {
    let last = reports.last()?;
    let state: Vec<_> = last
        .get("context")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let state = if state.is_empty() {
        String::new()
    } else {
        format!(", context: {}", state.join(" "))
    };
    Some(format!(
        "{} fills and copies, {} compared and right, memory lost {} times{state}",
        number(last, "operations"),
        size(number(last, "bytes_checked")),
        number(last, "vram_lost")
    ))
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x2800 => format!("{bytes} B"),
        0x2800..0xa0_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_by_kind_and_place() {
        let answer = serde_json::json!({ "ok": true, "result": {
            "page_table_updates": {
                "set_pte_pde": { "vram": { "packets": 42, "entries": 12956 }, "gart": { "packets": 0, "entries": 0 } },
                "copy": {},
            },
            "sdma": [{ "packets": { "NOP": 2, "TRAP": 3 }, "copy_bytes": 0x140_0000, "fill_bytes": 5 }],
            "resets": { "mode1": 1 },
        }});
        let rows = counters(&answer);
        assert_eq!(rows[0].1, "copy: none; set_pte_pde: vram 42 (12956 entries)");
        assert_eq!(
            rows[1].1,
            "engine 0: 5 packets, 20 MiB copied, 5 B filled, 0 faults"
        );
        assert_eq!(rows[2].1, "mode1 1");
    }

    #[test]
    fn every_address_space_gets_a_row() {
        let answer = serde_json::json!({ "result": [
            { "vmid": 1, "entries": { "PDB0": 3, "PTB": 1072 }, "mapped_bytes": 0x2000, "vram_pages": 2, "live": false },
        ]});
        assert_eq!(
            tables(&answer),
            ["vmid 1: PDB0 3, PTB 1072; 8192 B mapped, 2 pages in vram, 0 in system memory, not live"]
        );
    }

    #[test]
    fn an_answer_of_another_shape_gives_no_rows_and_no_panic() {
        for answer in [
            serde_json::json!(null),
            serde_json::json!({ "result": 5 }),
            serde_json::json!([1]),
        ] {
            assert!(counters(&answer).is_empty());
            let _ = tables(&answer);
        }
    }
}
