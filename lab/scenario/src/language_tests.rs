//! Words of the language that stand for something else.

use std::path::Path;

use serde_json::json;

use super::super::model::{Expected, Taken};
use super::*;

const START: &str = "title = 't'\n[[step]]\nguest = 'info'\nlabel = 'look'\n\
    [[step]]\nlabel = 'tables'\ndevice = { request = 'oracle', action = 'compare' }\n";

fn read(rest: &str) -> Result<Scenario, Rejected> {
    parse(Path::new("my.toml"), &format!("{START}{rest}"))
}

fn taken(rest: &str) -> Scenario {
    read(rest).unwrap_or_else(|error| panic!("{error}"))
}

/// Refused with these words and nothing else, at the place of a text of that file.
fn refused(rest: &str, at: &str, words: &str) {
    let shown = read(rest).map(|_| ()).unwrap_err().to_string();
    let line = rest.lines().position(|line| line.contains(at)).unwrap();
    let column = rest.lines().nth(line).unwrap().find(at).unwrap() + 1;
    let place = format!("my.toml:{}:{column}\n", START.lines().count() + line + 1);
    assert!(
        shown.contains(words) && shown.contains(&place) && !shown.contains("\n\n"),
        "{words} {place}\n{shown}"
    );
}

fn matcher_of(rest: &str) -> Matcher {
    match &taken(rest).expectations[0].what {
        Expected::Event { matcher, .. } | Expected::Note { matcher, .. } => matcher.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_have_names_wherever_they_stand() {
    let note = |condition: &str, found: u32| {
        let matcher = matcher_of(&format!(
            "[[expect]]\nnote = {{ about = 'state', flags = {condition} }}"
        ));
        let fields = json!({ "about": "state", "flags": found });
        matcher.matches(fields.as_object().unwrap(), Asic::Navi21)
    };
    for (condition, right, wrong) in [
        ("'RESET|GUILTY'", 5, 1),
        ("'AMDGPU_CTX_QUERY2_FLAGS_RESET'", 1, 3),
        (r"'~^RESET(\|GUILTY)?$'", 5, 3),
        (r"'~^RESET(\|GUILTY)?$'", 1, 4),
        ("'~^[15]$'", 5, 3),
        ("'!=0'", 1, 0),
        ("3", 3, 1),
        ("0", 0, 1),
    ] {
        assert!(note(condition, right) && !note(condition, wrong), "{condition}");
    }
    let event = matcher_of(
        "[[expect]]\nevent = { event = 'interrupt', client = 'BIF', source = 'PF_VF_MSGBUF_VALID' }",
    );
    let fields = json!({ "event": "interrupt", "client": 3, "source": 135 });
    assert!(event.matches(fields.as_object().unwrap(), Asic::Navi21));
    assert_eq!(
        event.to_string(),
        "client BIF, event interrupt, source PF_VF_MSGBUF_VALID"
    );
    // The device gets the number.
    let step = "[[step]]\ndevice = { request = 'fault', kind = 'drop-interrupts', source = 'SDMA_TRAP' }";
    match &taken(step).steps[2].action {
        Action::Device { request, .. } => assert_eq!(request["source"], json!(224)),
        other => panic!("{other:?}"),
    }
    for order in [
        "client-use a old expect=ECANCELED",
        "client-state a flags=RESET|VRAMLOST current=0",
    ] {
        taken(&format!("[[step]]\nguest = '{order}'"));
    }
}

#[test]
fn a_name_that_is_none_is_refused_at_its_place() {
    for (rest, at, words) in [
        (
            "[[step]]\nguest = 'client-use a old expect=ECANCELLED'",
            "ECANCELLED",
            "did you mean `ECANCELED`?",
        ),
        (
            "[[step]]\nguest = 'client-state a flags=RESET|VRAMLOSS'",
            "VRAMLOSS",
            "did you mean `VRAMLOST`?",
        ),
        (
            "[[step]]\nguest = 'client-ended a signal=SIGBUSS'",
            "SIGBUSS",
            "did you mean `SIGBUS`?",
        ),
        (
            "[[expect]]\nnote = { about = 'wait', errno = 'ETIM' }\nabsent = true",
            "ETIM",
            "did you mean `ETIME`?",
        ),
        (
            "[[expect]]\nnote = { about = 'wait', errno = '~^(ETIME|ECANCELD)$' }",
            "'~^(ETIME",
            "`ECANCELD` matches nothing that `errno` can be",
        ),
        (
            "[[expect]]\nnote = { about = 'state', flags = 'RESET|GUILTI' }",
            "GUILTI",
            "did you mean `GUILTY`?",
        ),
        (
            "[[expect]]\nnote = { about = 'reset-event', reset_type = 'WHOLE_GPU' }",
            "WHOLE_GPU",
            "not what was reset",
        ),
        (
            "[[expect]]\nevent = { event = 'interrupt', source = 'CP_BAD_OPCOD_ERROR' }",
            "CP_BAD",
            "did you mean `CP_BAD_OPCODE_ERROR`?",
        ),
        (
            "[[step]]\ndevice = { request = 'fault', kind = 'drop-interrupts', source = 'SDMA_TARP' }",
            "SDMA_TARP",
            "did you mean `SDMA_TRAP`?",
        ),
    ] {
        refused(rest, at, words);
    }
}

#[test]
fn mode1_is_the_reset_of_whoever_does_it_on_the_asic() {
    let matcher = matcher_of("[[expect]]\nevent = { event = 'reset-end', kind = 'mode1' }");
    let holds = |kind: &str, asic| {
        let fields = json!({ "event": "reset-end", "kind": kind });
        matcher.matches(fields.as_object().unwrap(), asic)
    };
    assert!(holds("mode1-smu", Asic::Navi21) && holds("mode1-psp", Asic::Navi12));
    assert!(!holds("mode1-psp", Asic::Navi21) && !holds("mode1-smu", Asic::Navi12));
    assert_eq!(matcher.to_string(), "event reset-end, kind mode1");
    refused(
        "[[expect]]\nevent = { event = 'reset-end', kind = 'mode11' }",
        "'mode11'",
        "did you mean `mode1`?",
    );
    // It is no word of anything else.
    refused(
        "[[expect]]\nevent = { event = 'loss-end', mode = 'mode1' }",
        "'mode1'",
        "`mode` cannot be \"mode1\"",
    );
}

#[test]
fn a_text_may_differ_from_asic_to_asic() {
    let rest = "[[expect]]\ndmesg = ['begin', { navi21 = 'smu reset', navi12 = 'psp reset' }]\n\
        [[expect]]\nstats = { navi21 = 'smu_messages.Mode1Reset', navi12 = 'psp_commands.MODE1_RESET' }\nequals = 1";
    let expectations = taken(rest).expectations;
    match (&expectations[0].what, &expectations[1].what) {
        (Expected::DmesgOrder(patterns), Expected::Stats { path, .. }) => {
            assert_eq!(patterns[0].to_string(), "begin");
            assert!(patterns[1].of(Asic::Navi12).is_match("a psp reset"));
            assert!(!patterns[1].of(Asic::Navi21).is_match("a psp reset"));
            assert_eq!(path.of(Asic::Navi12), "psp_commands.MODE1_RESET");
        }
        other => panic!("{other:?}"),
    }
    let part = "[[expect]]\ndmesg = { navi21 = 'smu reset' }";
    refused(part, "{ navi21", "nothing is said for navi12");
    taken(&format!("[asic]\nnavi12 = 'no such message'\n{part}"));
    for (rest, at, words) in [
        (
            "[[expect]]\ndmesg = { navi21 = 'a', navi12 = 'b', navi22 = 'c' }",
            "navi22",
            "unknown key `navi22`",
        ),
        (
            "[[expect]]\ndmesg = { navi21 = 'a', navi12 = '(' }",
            "'('",
            "is no regular expression",
        ),
        (
            "[[expect]]\ndmesg = ['a', 5]",
            "5]",
            "`dmesg` in expect is of the wrong type",
        ),
        (
            "[[expect]]\nstats = { navi21 = 'smu_messages.Mode1Rest', navi12 = 'psp_commands.MODE1_RESET' }\nequals = 1",
            "Mode1Rest",
            "did you mean `Mode1Reset`?",
        ),
    ] {
        refused(rest, at, words);
    }
}

#[test]
fn a_field_of_a_request_may_come_from_an_earlier_answer() {
    let step = |value: &str| {
        format!(
            "[[step]]\ndevice = {{ request = 'drop-vram', mode = 'poison', offset = {value}, length = 4096 }}"
        )
    };
    let good = step("{ answer = 'tables', field = 'spaces.0.leaf_tables.0' }");
    let scenario = taken(&good);
    match &scenario.steps[2].action {
        Action::Device { request, taken, .. } => {
            assert!(!request.contains_key("offset") && request.contains_key("length"));
            assert_eq!(
                taken[0],
                Taken {
                    field: "offset".into(),
                    answer: "tables".into(),
                    path: "spaces.0.leaf_tables.0".into()
                }
            );
        }
        other => panic!("{other:?}"),
    }
    let earlier = "[[control]]\nname = 'x'\nfails = 'log'\nbefore = 'tables'\n\
        device = { request = 'drop-vram', mode = 'poison', offset = { answer = 'tables', field = 'spaces.0.leaf_tables.0' } }";
    refused(earlier, "'tables', field", "comes later");
    for (value, at, words) in [
        (
            "{ answer = 'tabels', field = 'spaces.0.leaf_tables.0' }",
            "'tabels'",
            "did you mean `tables`?",
        ),
        (
            "{ answer = 'look', field = 'a' }",
            "'look'",
            "asks the device for nothing",
        ),
        (
            "{ answer = 'tables', field = 'spaces.0.leaf_table.0' }",
            "leaf_table.0",
            "did you mean `leaf_tables`?",
        ),
        (
            "{ answer = 'tables', field = 'spaces.0.root' }",
            "'spaces.0.root'",
            "`offset` cannot be what that leads to",
        ),
        (
            "{ answer = 'tables', field = 'spaces.*.leaf_tables.0' }",
            "'spaces.*",
            "expected the way to one value",
        ),
        ("{ answer = 'tables', feld = 'a' }", "feld", "unknown key `feld`"),
    ] {
        let text = step(value);
        let shown = read(&text).map(|_| ()).unwrap_err().to_string();
        assert!(shown.contains(words), "{value}\n{shown}");
        let column = text.lines().nth(1).unwrap().find(at).unwrap() + 1;
        let exact = format!("my.toml:9:{column}\n");
        assert!(shown.contains(&exact), "{exact}\n{shown}");
    }
}

#[test]
fn a_wait_may_end_by_another_line() {
    let rest = "[[step]]\nwait-dmesg = 'succeeded'\nunless = ['Recovery Failed', { navi21 = 'smu', navi12 = 'psp' }]";
    match &taken(rest).steps[2].action {
        Action::WaitDmesg { unless, .. } => {
            assert_eq!(unless.len(), 2);
            assert!(unless[1].of(Asic::Navi12).is_match("psp"));
        }
        other => panic!("{other:?}"),
    }
    refused(
        "[[step]]\nwait-event = { event = 'loss-end' }\nunless = 'x'",
        "'x'",
        "this step waits for none",
    );
    refused(
        "[[step]]\nwait-dmesg = 'x'\nunless = '('",
        "'('",
        "is no regular expression",
    );
}
