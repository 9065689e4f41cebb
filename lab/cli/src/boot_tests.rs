//! Which steps are done, and what a failure of one means.

use std::path::Path;

use scenario::model::Scenario;
use scenario::parse::parse;

use super::*;

const FILE: &str = "
    title = 't'
    [[step]]
    label = 'first'
    guest = 'info'
    [[step]]
    guest = 'recover'
    kernels = '>=6.12'
    [[step]]
    guest = 'client'
    expect-failure = '^(ENOMEM|EACCES): '
    [[expect]]
    recovery = 'both'
    kernels = '6.1'
    [[control]]
    name = 'before the second'
    before = 2
    device = { request = 'fault', kind = 'drop-copy' }
    fails = 'log'
    [[control]]
    name = 'without the first'
    skip = 'first'
    fails = 'log'
";

fn scenario() -> Scenario {
    parse(Path::new("t.toml"), FILE).unwrap_or_else(|error| panic!("{error}"))
}

fn titles(scenario: &Scenario, control: Option<usize>, version: &str) -> Vec<String> {
    let job = Job {
        scenario,
        control: control.map(|index| &scenario.controls[index]),
    };
    let steps = planned(&job, &Version::leading(version));
    assert!(
        steps
            .iter()
            .all(|planned| planned.sabotage == planned.step.title().contains("sabotage"))
    );
    steps.iter().map(|planned| planned.step.title()).collect()
}

#[test]
fn steps_belong_to_kernels_and_a_sabotage_has_its_place() {
    let scenario = scenario();
    assert_eq!(
        titles(&scenario, None, "6.12"),
        ["first: info", "recover", "client"]
    );
    assert_eq!(titles(&scenario, None, "6.1"), ["first: info", "client"]);
    let sabotage = "sabotage: device: fault kind=drop-copy";
    assert_eq!(
        titles(&scenario, Some(0), "6.12"),
        ["first: info", sabotage, "recover", "client"]
    );
    assert_eq!(
        titles(&scenario, Some(0), "6.1"),
        ["first: info", sabotage, "client"]
    );
    assert_eq!(titles(&scenario, Some(1), "6.1"), ["client"]);
}

#[test]
fn repeated_steps_are_sabotaged_once() {
    let text = format!("{FILE}\n[[repeat]]\nfrom = 'first'\nuntil = 'last'\ntimes = 2")
        .replace("guest = 'client'", "guest = 'client'\nlabel = 'last'");
    let scenario = parse(Path::new("t.toml"), &text).unwrap_or_else(|error| panic!("{error}"));
    let sabotage = "sabotage: device: fault kind=drop-copy";
    assert_eq!(
        titles(&scenario, Some(0), "6.1"),
        [
            "first: info",
            sabotage,
            "last: client",
            "first: info",
            "last: client"
        ]
    );
}

#[test]
fn a_sabotage_can_be_done_every_time() {
    let text = format!("{FILE}\n[[repeat]]\nfrom = 'first'\nuntil = 'last'\ntimes = 2")
        .replace("guest = 'client'", "guest = 'client'\nlabel = 'last'")
        .replace("before = 2", "before = 3\nevery-time = true");
    let scenario = parse(Path::new("t.toml"), &text).unwrap_or_else(|error| panic!("{error}"));
    let sabotage = "sabotage: device: fault kind=drop-copy";
    assert_eq!(
        titles(&scenario, Some(0), "6.1"),
        [
            "first: info",
            sabotage,
            "last: client",
            "first: info",
            sabotage,
            "last: client"
        ]
    );
}

#[test]
fn a_step_that_is_to_fail_has_to_fail_so() {
    let scenario = scenario();
    let step = &scenario.steps[2];
    assert_eq!(as_expected(Some("ENOMEM: x".into()), step), None);
    let other = as_expected(Some("EIO: x".into()), step).unwrap();
    assert!(other.starts_with("EIO: x (a failure like"), "{other}");
    assert!(as_expected(None, step).unwrap().starts_with("it worked"));
    let plain = &scenario.steps[0];
    assert_eq!(as_expected(None, plain), None);
    assert_eq!(as_expected(Some("no".into()), plain), Some("no".into()));
}

#[test]
fn page_tables_are_compared_where_an_expectation_applies() {
    let scenario = scenario();
    let job = Job {
        scenario: &scenario,
        control: None,
    };
    assert!(wants_comparison(&job, &Version::leading("6.1")));
    assert!(!wants_comparison(&job, &Version::leading("6.12")));
}

#[test]
fn a_sabotage_that_was_not_reached_or_never_fired_did_not_happen() {
    let scenario = scenario();
    let job = Job {
        scenario: &scenario,
        control: Some(&scenario.controls[0]),
    };
    let mut course = Course::default();
    assert!(not_fired(&job, &course).unwrap().contains("ended before it"));
    course.steps.push(StepOutcome {
        title: "sabotage: device: fault".into(),
        began_unix_us: 0,
        seconds: 0.0,
        failure: None,
    });
    course.fault = Some(3);
    assert!(not_fired(&job, &course).unwrap().contains("never fired"));
    for (id, happened) in [(2, false), (3, true)] {
        course.evidence.events.push(Event {
            unix_us: 0,
            fields: json!({ "event": "fault-fired", "id": id })
                .as_object()
                .cloned()
                .unwrap(),
        });
        assert_eq!(not_fired(&job, &course).is_none(), happened);
    }
}

#[test]
fn a_line_ends_a_wait_or_says_that_it_is_over() {
    let pattern = |text: &str| text.parse::<Pattern>().unwrap();
    let (wanted, against) = (pattern(r"reset\(\d+\) succeeded"), pattern("Recovery Failed"));
    let said = |line| answer_of(line, &wanted, &[&against]);
    assert_eq!(said("GPU reset begin!"), None);
    assert_eq!(said("GPU reset(2) succeeded!"), Some(Ok(())));
    let failure = said("GPU Recovery Failed: -5").unwrap().unwrap_err();
    assert_eq!(
        failure,
        "the log has \"GPU Recovery Failed: -5\" first, which is like \"Recovery Failed\""
    );
}

#[test]
fn fields_are_filled_in_from_the_last_answer() {
    let mut evidence = Evidence::default();
    let taken = [Taken {
        field: "offset".into(),
        answer: "look".into(),
        path: "spaces.0.leaf_tables.0".into(),
    }];
    let request = json!({ "request": "drop-vram" });
    let fill = |evidence: &Evidence| filled(request.as_object().unwrap(), &taken, evidence);
    assert_eq!(
        fill(&evidence).unwrap_err(),
        "`offset`: the step \"look\" got no answer"
    );
    let answers = [
        json!({ "spaces": [{ "leaf_tables": [1] }] }),
        json!({ "spaces": [{ "leaf_tables": [7, 8] }] }),
    ];
    evidence.answers.insert("look".to_owned(), answers.to_vec());
    assert_eq!(
        fill(&evidence),
        Ok(json!({ "request": "drop-vram", "offset": 7 }))
    );
    evidence
        .answers
        .insert("look".to_owned(), vec![json!({ "spaces": [] })]);
    assert!(
        fill(&evidence)
            .unwrap_err()
            .contains("has no `spaces.0.leaf_tables.0`")
    );
}
