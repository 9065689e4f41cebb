//! Each kind of expectation holds, and each can fail.

use std::path::Path;

use protocol::guest::console::Line;
use protocol::guest::console::Note;
use serde_json::json;

use super::super::evidence::{Comparison, Event, Mark};
use super::super::parse::parse;
use super::*;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn evidence() -> Evidence {
    let event = |value| Event {
        unix_us: 0,
        fields: object(value),
    };
    let mark = |log, events| Mark {
        log,
        notes: 0,
        events,
    };
    Evidence {
        asic: Asic::Navi21,
        log: [
            "[    1.0] amdgpu 0000:01:00.0: amdgpu: GPU reset begin!",
            "[    1.5] @lab {\"ev\":\"note\",\"about\":\"x\",\"line\":\"VRAM is lost\"}",
            "[    2.0] amdgpu 0000:01:00.0: amdgpu: GPU reset(2) succeeded!",
        ]
        .map(Line::parse)
        .to_vec(),
        notes: vec![Note {
            about: "state".into(),
            facts: object(json!({"flags": 3, "vram_lost": 1})),
        }],
        events: vec![
            event(json!({"seq": 1, "event": "reset-begin", "kind": "mode1-smu"})),
            event(json!({"seq": 2, "event": "loss-begin", "mode": "poison", "length": 4096})),
            event(json!({"seq": 3, "event": "reset-end", "kind": "mode1-smu"})),
        ],
        flaw: None,
        stats: Some(json!({"resets": {"mode1": 1}, "sdma": [{"faults": 0}, {"faults": 2}]})),
        comparisons: vec![Comparison {
            unix_us: 0,
            answer: json!({"spaces": [
                {"in_use": true, "same": 5, "missing": 0, "different": 0, "poisoned": 1, "added": 0},
                {"in_use": false, "same": 0, "missing": 7, "different": 0, "poisoned": 0, "added": 0}],
                "recovery": {"by": "rewritten"}}),
        }],
        answers: [(
            "look".to_owned(),
            vec![json!({"engines": [{"doing": "idle"}], "generation": 3})],
        )]
        .into(),
        windows: [
            ("early".to_owned(), (mark(0, 0), mark(1, 1))),
            ("late".to_owned(), (mark(2, 2), mark(3, 3))),
        ]
        .into(),
    }
}

fn held(toml: &str, evidence: &Evidence) -> Checked {
    let text = format!(
        "title = \"t\"\nstep = [{{ guest = \"info\", label = \"early\" }}, {{ guest = \"info\", label = \"late\" }},\n\
         {{ device = {{ request = \"state\" }}, label = \"look\" }}]\n[[expect]]\n{toml}"
    );
    let scenario = parse(Path::new("t.toml"), &text).unwrap_or_else(|error| panic!("{error}"));
    check(&scenario.expectations[0], evidence)
}

fn holds_and_fails(good: &[&str], bad: &[(&str, &str)]) {
    let evidence = evidence();
    for toml in good {
        let checked = held(toml, &evidence);
        assert!(checked.ok, "{toml}: {checked:?}");
    }
    for (toml, found) in bad {
        let checked = held(toml, &evidence);
        assert!(!checked.ok, "{toml}: {checked:?}");
        assert!(checked.found.contains(found), "{toml}: {checked:?}");
    }
}

#[test]
fn lines_of_the_log() {
    holds_and_fails(
        &[
            "dmesg = 'GPU reset\\(\\d+\\) succeeded'",
            "dmesg = 'GPU reset'\ncount = 2",
            "dmesg = 'GPU reset'\nat-least = 2",
            "dmesg = 'BACO'\nabsent = true",
            "dmesg = 'GPU reset'\ncount = '<3'",
            "dmesg = ['reset begin', 'succeeded']",
            "dmesg = 'succeeded'\nfrom = 'late'",
            "dmesg = 'succeeded'\nuntil = 'early'\nabsent = true",
        ],
        &[
            ("dmesg = 'GPU reset failed'", "none"),
            ("dmesg = 'GPU reset'\ncount = 1", "2: amdgpu"),
            ("dmesg = 'GPU reset'\nat-least = 3", "2: amdgpu"),
            ("dmesg = 'GPU reset'\nabsent = true", "2: amdgpu"),
            (
                "dmesg = ['succeeded', 'reset begin']",
                "number 2 (\"reset begin\"): only before",
            ),
            (
                "dmesg = ['reset begin', 'BACO']",
                "number 2 (\"BACO\"): none at all",
            ),
            ("dmesg = 'reset begin'\nfrom = 'late'", "none"),
            ("dmesg = 'succeeded'\nuntil = 'early'", "none"),
            ("dmesg = 'VRAM is lost'", "none"),
        ],
    );
}

#[test]
fn events_of_the_device() {
    holds_and_fails(
        &[
            "event = { event = 'reset-end', kind = 'mode1-smu' }",
            "event = { event = 'reset-end' }\ncount = 1",
            "event = { event = 'vm-fault' }\nabsent = true",
            "event = { event = 'loss-begin', length = '>0' }",
            "event = [{ event = 'reset-begin' }, { event = 'loss-begin' }, { event = 'reset-end' }]",
            "event = { event = 'reset-end' }\nfrom = 'late'",
        ],
        &[
            ("event = { event = 'reset-end', kind = 'mode2' }", "none"),
            (
                "event = { event = 'reset-end' }\ncount = 2",
                "1: event reset-end, kind mode1-smu",
            ),
            ("event = { event = 'reset-end' }\nabsent = true", "1: "),
            ("event = { event = 'loss-begin', length = 0 }", "none"),
            (
                "event = [{ event = 'reset-end' }, { event = 'loss-begin' }]",
                "number 2",
            ),
            ("event = { event = 'reset-begin' }\nfrom = 'late'", "none"),
        ],
    );
    let none = Evidence {
        flaw: Some("the device writes no event log".into()),
        ..evidence()
    };
    let absent = "event = { event = 'vm-fault' }\nabsent = true";
    let checked = held(absent, &none);
    assert!(
        !checked.ok && checked.found.contains("no event log"),
        "{checked:?}"
    );
    let mut gap = evidence();
    gap.events[1].fields = object(json!({"event": "lagged", "missed": 9}));
    let checked = held(absent, &gap);
    assert!(!checked.ok && checked.found.contains("has a gap"), "{checked:?}");
}

#[test]
fn page_tables() {
    holds_and_fails(
        &[
            "oracle = { same = '>0', missing = 0, different = 0, poisoned = 1 }",
            "oracle = { missing = 7 }\nspaces = 'all'",
            "oracle = { spaces = 1 }",
            "recovery = 'rewritten'",
            "recovery = ['both', 'rewritten']",
        ],
        &[
            ("oracle = { same = 6 }", "same 5"),
            ("oracle = { poisoned = 0 }", "poisoned 1"),
            ("oracle = { missing = 0 }\nspaces = 'all'", "missing 7"),
            ("oracle = { poisoned_unmapped = 0 }", "no count poisoned_unmapped"),
            ("recovery = 'shadow-copies'", "rewritten"),
        ],
    );
    let mut nothing = evidence();
    nothing.comparisons = vec![Comparison::now(json!({"spaces": [{"in_use": false, "same": 3}]}))];
    let checked = held("oracle = { missing = 0 }", &nothing);
    assert!(!checked.ok && checked.found.contains("is in use"), "{checked:?}");
    nothing.comparisons = vec![Comparison::now(
        json!({"spaces": [{"in_use": true, "same": 0, "missing": 0, "different": 0, "poisoned": 0}]}),
    )];
    let checked = held("oracle = { missing = 0 }", &nothing);
    assert!(
        !checked.ok && checked.found.contains("nothing was mapped"),
        "{checked:?}"
    );
    for flawed in [
        json!({"losing": true, "spaces": [{"in_use": true, "same": 1, "missing": 0}]}),
        json!({"losing": false, "spaces": [{"in_use": true, "truncated": true, "same": 1, "missing": 0}]}),
    ] {
        nothing.comparisons = vec![Comparison::now(flawed)];
        let checked = held("oracle = { missing = 0 }", &nothing);
        assert!(
            !checked.ok && checked.found.contains("not of everything"),
            "{checked:?}"
        );
    }
    nothing.comparisons.clear();
    for toml in ["oracle = { missing = 0 }", "recovery = 'none'"] {
        let checked = held(toml, &nothing);
        assert!(
            !checked.ok && checked.found.contains("no comparison"),
            "{checked:?}"
        );
    }
}

#[test]
fn counters_of_the_device() {
    holds_and_fails(
        &[
            "stats = 'resets.mode1'\nequals = 1",
            "stats = 'resets.mode1'\nat-least = 1",
            "stats = 'sdma.*.faults'\nequals = '>1'",
        ],
        &[
            ("stats = 'resets.mode1'\nequals = 0", "1"),
            ("stats = 'resets.mode1'\nat-least = 2", "1"),
            ("stats = 'resets.mode2'\nequals = 0", "no such counter"),
        ],
    );
    let none = Evidence {
        stats: None,
        ..evidence()
    };
    let checked = held("stats = 'resets.mode1'\nequals = 0", &none);
    assert!(
        !checked.ok && checked.found.contains("no counters"),
        "{checked:?}"
    );
}

#[test]
fn notes_of_the_guest() {
    holds_and_fails(
        &[
            "note = { about = 'state', vram_lost = 1 }",
            "note = { about = 'state', flags = '~^[37]$' }",
            "note = { about = 'state', flags = 'RESET|VRAMLOST' }",
            "note = { about = 'client' }\nabsent = true",
        ],
        &[
            (
                "note = { about = 'state', vram_lost = 2 }",
                "none; the last about state has flags RESET|VRAMLOST, vram_lost 1",
            ),
            ("note = { about = 'client' }", "none"),
            ("note = { about = 'state' }\nabsent = true", "1: "),
        ],
    );
}

#[test]
fn answers_of_the_device() {
    holds_and_fails(
        &[
            "answer = 'look'\nfields = { 'engines.0.doing' = 'idle', generation = '>2' }",
            "answer = 'look'\nfields = { 'engines.1' = '-' }",
        ],
        &[
            (
                "answer = 'look'\nfields = { 'engines.0.doing' = 'hung' }",
                "engines.0.doing \"idle\"",
            ),
            (
                "answer = 'look'\nfields = { 'engines.1.doing' = 'idle' }",
                "no engines.1.doing",
            ),
        ],
    );
}

#[test]
fn a_step_that_failed_got_no_answer() {
    let mut evidence = evidence();
    evidence.answers.clear();
    let checked = held("answer = 'look'\nfields = { generation = 3 }", &evidence);
    assert!(!checked.ok && checked.found.contains("no answer"), "{checked:?}");
}

#[test]
fn each_answer_to_a_repeated_step_counts() {
    let mut evidence = evidence();
    let answers = evidence.answers.get_mut("look").unwrap();
    answers.push(json!({"generation": 4}));
    answers.push(json!({"generation": 3}));
    assert!(held("answer = 'look'\nfields = { generation = '>2' }", &evidence).ok);
    let checked = held("answer = 'look'\nfields = { generation = 3 }", &evidence);
    assert!(
        !checked.ok && checked.found.starts_with("number 2 of 3: generation 4"),
        "{checked:?}"
    );
}

#[test]
fn numbers_of_later_answers_are_compared_with_an_earlier_one() {
    let answers = |heaps: &[i64]| {
        let mut evidence = evidence();
        let answers = heaps
            .iter()
            .map(|heap| json!({"interrupts": {"pending": heap}, "engines": [{"rptr": 7}]}));
        evidence.answers.insert("look".to_owned(), answers.collect());
        evidence
    };
    let change = |amount: &str, since: &str| {
        format!(
            "answer = 'look'\nchange = {{ 'interrupts.pending' = {amount}, 'engines.0.rptr' = 0 }}\n{since}"
        )
    };
    for (heaps, amount, since) in [
        (&[5, 5, 5][..], "0", ""),
        (&[5, 90, 95, 91], "'<=5'", "since = 2"),
        (&[5, 4, 3], "'<0'", ""),
    ] {
        let checked = held(&change(amount, since), &answers(heaps));
        assert!(checked.ok, "{heaps:?}: {checked:?}");
    }
    for (heaps, amount, since, found) in [
        (
            &[5, 5, 9, 5][..],
            "0",
            "",
            "number 3 of 4: interrupts.pending 9, which was 5 in number 1: +4",
        ),
        (
            &[5, 90, 96],
            "'<=5'",
            "since = 2",
            "number 3 of 3: interrupts.pending 96",
        ),
        // Nothing comes after it, so nothing is shown.
        (
            &[5, 5],
            "0",
            "since = 2",
            "2 answers, of which none is later than number 2",
        ),
        (&[5], "0", "", "1 answers"),
        (&[5], "0", "since = 9", "1 answers"),
    ] {
        let checked = held(&change(amount, since), &answers(heaps));
        assert!(!checked.ok && checked.found.contains(found), "{checked:?}");
    }
    let checked = held(
        "answer = 'look'\nchange = { 'interrupts.rptr' = 0 }",
        &answers(&[1, 1]),
    );
    assert!(
        !checked.ok && checked.found.contains("interrupts.rptr is no number"),
        "{checked:?}"
    );
}

#[test]
fn an_answer_may_have_to_be_so_and_to_stay_so() {
    let mut evidence = evidence();
    evidence.answers.insert(
        "look".to_owned(),
        vec![
            json!({"us": 5, "generation": 0}),
            json!({"us": 5, "generation": 1}),
        ],
    );
    let both = |generation: &str, us: &str| {
        format!("answer = 'look'\nfields = {{ generation = {generation} }}\nchange = {{ us = {us} }}")
    };
    let checked = held(&both("'>=0'", "0"), &evidence);
    assert!(checked.ok, "{checked:?}");
    assert_eq!(checked.found, "generation 1; us 5, then +0 to +0");
    assert!(!held(&both("0", "0"), &evidence).ok);
    assert!(!held(&both("'>=0'", "1"), &evidence).ok);
}

#[test]
fn a_step_that_never_began_has_shown_nothing() {
    let mut evidence = evidence();
    evidence.windows.clear();
    let checked = held("dmesg = 'BACO'\nfrom = 'late'\nabsent = true", &evidence);
    assert!(
        !checked.ok && checked.found.contains("never began"),
        "{checked:?}"
    );
}
