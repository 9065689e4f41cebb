//! The device's own words in rows and small tables for a reader.
//!
//! The control socket's answers are taken as they come: what is not there is left out, so that a device of another
//! version still gives a report.

use std::fmt::Write as _;

use protocol::guest::console::Note;
use scenario::facts::ring_names;
use serde_json::{Map, Value};

/// What is inside an answer.
fn inside(answer: &Value) -> &Value {
    answer.get("result").unwrap_or(answer)
}

/// Rows about counters: what the engines did, and the resets.
pub fn counters(answer: &Value) -> Vec<(&'static str, String)> {
    let result = inside(answer);
    let mut rows = Vec::new();
    let engines = result.get("sdma").and_then(Value::as_array);
    for (index, engine) in engines.into_iter().flatten().enumerate() {
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
    rows.extend(
        result
            .get("accesses")
            .map(|counts| ("accesses", accesses(counts))),
    );
    if let Some(resets) = result.get("resets").and_then(Value::as_object) {
        let resets: Vec<_> = resets
            .iter()
            .map(|(kind, count)| match kind.as_str() {
                "function" => format!("{count} of the PCI function"),
                kind => format!("{count} {}", kind.to_uppercase()),
            })
            .collect();
        rows.push(("resets", resets.join(", ")));
    }
    rows
}

/// How many of the blocks that are accessed most are named.
const BLOCKS: usize = 5;

/// Accesses that the device had to answer: each costs a guest a round trip.
fn accesses(counts: &Value) -> String {
    let total = |count: &Value| number(count, "reads").saturating_add(number(count, "writes"));
    let of = |name: &str| counts.get(name).map_or(0, total);
    let mut blocks: Vec<_> = counts
        .get("blocks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, count)| (total(count), name))
        .filter(|(count, _)| *count > 0)
        .collect();
    blocks.sort_unstable_by_key(|(count, name)| (std::cmp::Reverse(*count), *name));
    let blocks: Vec<_> = blocks
        .into_iter()
        .take(BLOCKS)
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    let blocks = if blocks.is_empty() {
        String::new()
    } else {
        format!(" ({})", blocks.join(", "))
    };
    format!(
        "{} of registers{blocks}, {} of doorbells, {} of VRAM, {} of config space",
        of("registers"),
        of("doorbells"),
        of("vram"),
        of("config")
    )
}

/// The packets that wrote page tables, by kind and place.
pub fn updates(answer: &Value) -> String {
    /// As the device names them, and as the packets are called.
    const KINDS: [(&str, &str); 3] = [
        ("set_pte_pde", "PTEPDE"),
        ("write", "WRITE_LINEAR"),
        ("copy", "COPY_LINEAR from the IB"),
    ];
    /// As the device names them, what they are, and whether they are shown even if nothing went there.
    const PLACES: [(&str, &str, bool); 4] = [
        ("vram", "VRAM", true),
        ("system", "system", true),
        ("gart", "GART", false),
        ("faulted", "faulted", false),
    ];
    let Some(kinds) = inside(answer)
        .get("page_table_updates")
        .and_then(Value::as_object)
    else {
        return String::new();
    };
    let count = |kind: &str, place: &str, name: &str| {
        kinds
            .get(kind)
            .and_then(|kind| kind.get(place))
            .map_or(0, |count| number(count, name))
    };
    let any = |place: &str| KINDS.iter().any(|(kind, _)| count(kind, place, "packets") > 0);
    if !PLACES.iter().any(|(place, _, _)| any(place)) {
        return "page-table updates  none\n".to_owned();
    }
    let places: Vec<_> = PLACES
        .into_iter()
        .filter(|(place, _, always)| *always || any(place))
        .collect();
    let mut table = Table::new("page-table updates");
    for (_, title, _) in &places {
        table.column(&format!("{title}: packets"));
        table.column("entries");
    }
    for (kind, title) in KINDS {
        let cells = places.iter().flat_map(|(place, _, _)| {
            ["packets", "entries"].map(|name| match count(kind, place, name) {
                0 => "-".to_owned(),
                count => count.to_string(),
            })
        });
        table.row(title, cells.collect());
    }
    table.text()
}

/// The address spaces: their entries by level, and what they map.
pub fn tables(answer: &Value) -> String {
    /// Root first.
    const LEVELS: [&str; 4] = ["PDB2", "PDB1", "PDB0", "PTB"];
    let Some(spaces) = inside(answer).as_array().filter(|spaces| !spaces.is_empty()) else {
        return String::new();
    };
    let mut table = Table::new("page-table entries");
    for level in LEVELS {
        table.column(level);
    }
    for title in ["mapped", "VRAM pages", "system pages"] {
        table.column(title);
    }
    for space in spaces {
        let live = match (number(space, "vmid"), space.get("live").and_then(Value::as_bool)) {
            (_, Some(false)) => ", switched off",
            (0, _) => ", the kernel's",
            _ => "",
        };
        let entries = space.get("entries").unwrap_or(&Value::Null);
        let mut cells: Vec<_> = LEVELS
            .into_iter()
            .map(|level| match number(entries, level) {
                0 => "-".to_owned(),
                count => count.to_string(),
            })
            .collect();
        cells.extend([
            size(number(space, "mapped_bytes")),
            number(space, "vram_pages").to_string(),
            number(space, "system_pages").to_string(),
        ]);
        table.row(&format!("VMID {}{live}", number(space, "vmid")), cells);
    }
    table.text()
}

/// The rings, those of one kind together.
pub fn rings(names: &[String]) -> String {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for name in names {
        let kind = name
            .split('_')
            .next()
            .unwrap_or(name)
            .trim_end_matches(|c: char| c.is_ascii_digit());
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    if kinds.is_empty() {
        return String::new();
    }
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    kinds.join(", ")
}

/// A small table: titles to the left, numbers to the right.
#[derive(Debug)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &str) -> Self {
        Self {
            columns: vec![title.to_owned()],
            rows: Vec::new(),
        }
    }

    fn column(&mut self, title: &str) {
        self.columns.push(title.to_owned());
    }

    fn row(&mut self, title: &str, cells: Vec<String>) {
        let mut row = vec![format!("  {title}")];
        row.extend(cells);
        self.rows.push(row);
    }

    fn text(&self) -> String {
        let all = || std::iter::once(&self.columns).chain(&self.rows);
        let widths: Vec<_> = (0..self.columns.len())
            .map(|index| {
                all()
                    .filter_map(|row| Some(row.get(index)?.chars().count()))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in all() {
            for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if index == 0 {
                    let _ = write!(text, "{cell:<width$}");
                } else {
                    let _ = write!(text, "  {cell:>width$}");
                }
            }
            text.push('\n');
        }
        text
    }
}

/// What a step achieved, from what the guest reported in it; empty if that says nothing.
pub fn of_notes(notes: &[Note]) -> String {
    let about = |about: &str| {
        let mut found = notes.iter().rev();
        found.find(|note| note.about == about).map(|note| &note.facts)
    };
    if let Some(facts) = about("client") {
        return client(&[Value::Object(facts.clone())]).unwrap_or_default();
    }
    if let Some(facts) = about("register-latency") {
        return latency(facts);
    }
    if let Some(facts) = about("memory-speed") {
        return memory(facts);
    }
    about("rings")
        .map(|facts| format!("rings: {}", rings(&ring_names(facts))))
        .unwrap_or_default()
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
    let lost = match number(last, "vram_lost") {
        0 => String::new(),
        1 => ", VRAM lost once".to_owned(),
        count => format!(", VRAM lost {count} times"),
    };
    Some(format!(
        "{} fills and copies, {} compared and right{lost}{state}",
        number(last, "operations"),
        size(number(last, "bytes_checked")),
    ))
}

/// How long a register read took, from the guest's note.
pub fn latency(facts: &Map<String, Value>) -> String {
    let time = |name: &str| {
        let nanoseconds = facts.get(name).and_then(Value::as_u64).unwrap_or(0);
        format!("{}.{:02} us", nanoseconds / 1000, nanoseconds % 1000 / 10)
    };
    let unanswered = match facts.get("answered").and_then(Value::as_bool) {
        Some(false) => ", and there was no answer",
        _ => "",
    };
    format!(
        "a register read takes {}, at best {}{unanswered}",
        time("median_ns"),
        time("least_ns")
    )
}

/// How long memory took, from the guest's note.
pub fn memory(facts: &Map<String, Value>) -> String {
    let number = |name: &str| facts.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{}: memset {} us, pwrite into a memfd {} us",
        size(number("bytes")),
        number("memset_us"),
        number("pwrite_us")
    )
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
        }});
        assert_eq!(
            updates(&answer),
            concat!(
                "page-table updates         VRAM: packets  entries  system: packets  entries\n",
                "  PTEPDE                              42    12956                -        -\n",
                "  WRITE_LINEAR                         -        -                -        -\n",
                "  COPY_LINEAR from the IB              -        -                -        -\n",
            )
        );
    }

    #[test]
    fn no_updates_take_no_table() {
        let answer = serde_json::json!({ "result": { "page_table_updates": { "write": {} } } });
        assert_eq!(updates(&answer), "page-table updates  none\n");
    }

    #[test]
    fn packets_to_a_rare_place_are_not_hidden() {
        let answer = serde_json::json!({ "result": {
            "page_table_updates": { "write": { "faulted": { "packets": 3, "entries": 4 } } },
        }});
        assert!(updates(&answer).contains("faulted: packets  entries"));
    }

    #[test]
    fn engines_and_resets_are_told_with_units() {
        let answer = serde_json::json!({ "ok": true, "result": {
            "sdma": [{ "packets": { "NOP": 2, "TRAP": 3 }, "copy_bytes": 0x140_0000, "fill_bytes": 5 }],
            "resets": { "mode1": 1, "function": 2 },
        }});
        let rows = counters(&answer);
        assert_eq!(
            rows[0].1,
            "engine 0: 5 packets, 20 MiB copied, 5 B filled, 0 faults"
        );
        assert_eq!(rows[1].1, "2 of the PCI function, 1 MODE1");
    }

    #[test]
    fn accesses_are_reported_with_the_blocks_that_have_most() {
        let count = |reads: u64, writes: u64| serde_json::json!({ "reads": reads, "writes": writes });
        let answer = serde_json::json!({ "result": { "accesses": {
            "registers": count(20, 8), "doorbells": count(0, 3), "config": count(4, 1),
            "blocks": { "gc": count(1, 1), "ih": count(0, 0), "mm_window": count(12, 3), "nbio": count(5, 0),
                        "psp": count(2, 1), "smu": count(1, 1), "sdma": count(0, 1) },
        }}});
        assert_eq!(
            counters(&answer),
            [(
                "accesses",
                "28 of registers (mm_window 15, nbio 5, psp 3, gc 2, smu 2), 3 of doorbells, 0 of VRAM, 5 of config space"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn a_register_read_is_reported_in_microseconds() {
        let note = |answered: bool| {
            let facts = serde_json::json!({ "reads": 100, "least_ns": 9050, "median_ns": 21_349, "most_ns": 90_000, "answered": answered });
            latency(facts.as_object().unwrap())
        };
        assert_eq!(note(true), "a register read takes 21.34 us, at best 9.05 us");
        assert!(note(false).ends_with(", and there was no answer"));
    }

    #[test]
    fn every_address_space_gets_a_row() {
        let answer = serde_json::json!({ "result": [
            { "vmid": 1, "entries": { "PDB0": 3, "PTB": 1072 }, "mapped_bytes": 0x2000, "vram_pages": 2, "live": false },
        ]});
        let text = tables(&answer);
        let rows: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert_eq!(rows[1].join(" "), "VMID 1, switched off - - 3 1072 8192 B 2 0");
    }

    #[test]
    fn rings_of_a_kind_are_counted() {
        let names = ["comp_1.0.0", "comp_1.0.1", "gfx_0.0.0", "sdma0", "sdma1"].map(str::to_owned);
        assert_eq!(rings(&names), "2 comp, 1 gfx, 2 sdma");
        assert_eq!(rings(&[]), "");
    }

    #[test]
    fn an_answer_of_another_shape_gives_no_rows_and_no_panic() {
        for answer in [
            serde_json::json!(null),
            serde_json::json!({ "result": 5 }),
            serde_json::json!([1]),
        ] {
            assert!(counters(&answer).is_empty() && updates(&answer).is_empty());
            let _ = tables(&answer);
        }
    }
}
