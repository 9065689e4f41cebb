//! The whole way from a boot's folder to what is drawn.

use std::fmt::Write as _;

use super::*;
use crate::fixture;

fn mode1() -> Timeline {
    let evidence = Evidence::read(&fixture::mode1()).unwrap();
    Timeline::new(&evidence, &fixture::mode1_outcomes())
}

fn lane<'a>(timeline: &'a Timeline, title: &str) -> &'a Lane {
    timeline.lanes.iter().find(|lane| lane.title == title).unwrap()
}

#[test]
fn what_happened_is_told_in_numbers_that_come_from_the_evidence() {
    let timeline = mode1();
    assert_eq!(
        timeline.story.sentence,
        "The GPU went through a MODE1 reset by the SMU, 41 MiB of VRAM were poisoned and the driver recovered in 913 ms. \
         Page tables came back by 42 shadow copies (38 tables, 168 KiB). All 1085 mappings are as they were before."
    );
    let facts: Vec<_> = timeline
        .story
        .facts
        .iter()
        .map(|fact| format!("{} {}", fact.name, fact.value))
        .collect();
    assert_eq!(
        facts,
        [
            "recoveries by the driver 1 of 1",
            "recovery 913 ms",
            "loss to recovered 855 ms",
            "loss to verified 868 ms",
            "VRAM lost 41 MiB",
            "mappings as before 1085 of 1085",
        ]
    );
    assert_eq!(timeline.gaps, [""; 0]);
}

#[test]
fn without_an_oracle_the_packets_tell_how_the_tables_came_back() {
    let evidence = Evidence::read(&fixture::mode1()).unwrap();
    let mut outcomes = fixture::mode1_outcomes();
    outcomes[0].oracle = None;
    let timeline = Timeline::new(&evidence, &outcomes);
    assert!(
        timeline.story.sentence.contains(
            "Since then page tables came back by 42 shadow copies and were written by 6 PTEPDE (653 entries)."
        ),
        "{}",
        timeline.story.sentence
    );
    assert!(
        !timeline.story.sentence.contains("mappings"),
        "{}",
        timeline.story.sentence
    );
}

#[test]
fn what_is_a_matter_of_course_is_not_told() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    let at = |text: &str| {
        let line = evidence
            .console
            .iter()
            .find(|line| line.text.contains(text))
            .unwrap();
        line.unix_us
    };
    let (probe, resume, off) = (
        at("GPU posting now"),
        at("PSP is resuming"),
        at("reboot: Power down"),
    );
    for (at_us, kind, fields) in [
        (probe, "reset-begin", r#"{"kind":"soft-sdma","target":"sdma0"}"#),
        (resume, "reset-begin", r#"{"kind":"soft-sdma","target":"sdma1"}"#),
        (off, "loss-begin", r#"{"mode":"zero","cause":"power-off"}"#),
        (
            off,
            "loss-end",
            r#"{"mode":"zero","cause":"power-off","bytes":43000000}"#,
        ),
    ] {
        evidence.events.push(DeviceEvent {
            at_us,
            generation: 0,
            kind: kind.to_owned(),
            fields: serde_json::from_str(fields).unwrap(),
        });
    }
    let told = Timeline::new(&evidence, &fixture::mode1_outcomes()).story;
    assert_eq!(told, mode1().story);
}

#[test]
fn a_log_that_says_nothing_about_page_tables_is_not_read_as_if_none_were_written() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    evidence
        .events
        .retain(|event| !matches!(event.kind.as_str(), "oracle" | "page-table-update"));
    let mut outcomes = fixture::mode1_outcomes();
    outcomes[0].oracle = None;
    let timeline = Timeline::new(&evidence, &outcomes);
    assert!(
        !timeline.story.sentence.contains("table"),
        "{}",
        timeline.story.sentence
    );
    assert!(lane(&timeline, "Memory").items.iter().all(|item| item.row == 0));
}

#[test]
fn the_state_of_memory_goes_from_good_to_lost_to_verified_without_gaps() {
    let timeline = mode1();
    let mut strips = lane(&timeline, "Memory").items.clone();
    strips.sort_by(|a, b| (a.row, a.from).partial_cmp(&(b.row, b.from)).unwrap());
    for row in [0, 1] {
        let of_row: Vec<_> = strips.iter().filter(|item| item.row == row).collect();
        for pair in of_row.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "{pair:?}");
        }
        assert_eq!(of_row.last().unwrap().to, timeline.end);
    }
    let classes: Vec<_> = strips.iter().map(|item| (item.row, item.class)).collect();
    assert_eq!(
        classes,
        [
            (0, "good"),
            (0, "losing"),
            (0, "lost"),
            (0, "good"),
            (1, "good"),
            (1, "lost"),
            (1, "rewriting"),
            (1, "verified"),
        ]
    );
}

#[test]
fn tables_that_nothing_compared_are_never_called_verified() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    evidence.events.retain(|event| event.kind != "oracle");
    let mut outcomes = fixture::mode1_outcomes();
    outcomes[0].oracle = None;
    let timeline = Timeline::new(&evidence, &outcomes);
    let strips = &lane(&timeline, "Memory").items;
    assert!(strips.iter().all(|item| item.class != "verified"), "{strips:?}");
    assert_eq!(strips.last().unwrap().class, "rewriting");
}

#[test]
fn tables_that_are_not_as_before_are_bad_and_counted() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    for event in &mut evidence.events {
        if event.kind == "oracle" {
            event.fields["in_use"]["missing"] = 3.into();
        }
    }
    let mut outcomes = fixture::mode1_outcomes();
    outcomes[0].oracle.as_mut().unwrap()["in_use"]["missing"] = 3.into();
    let timeline = Timeline::new(&evidence, &outcomes);
    assert!(
        timeline
            .story
            .sentence
            .ends_with("3 mappings are not as they were before: 1085 mappings as before, 3 missing."),
        "{}",
        timeline.story.sentence
    );
    let strips = &lane(&timeline, "Memory").items;
    assert!(strips.iter().any(|item| item.class == "bad"), "{strips:?}");
}

#[test]
fn updates_go_up_into_vram_and_down_into_system_memory() {
    let timeline = mode1();
    let series: Vec<_> = lane(&timeline, "Page-table updates")
        .series
        .iter()
        .map(|series| (series.name.as_str(), series.up))
        .collect();
    assert_eq!(
        series,
        [
            ("PTEPDE, VRAM", true),
            ("PTEPDE, system memory", false),
            ("WRITE_LINEAR, VRAM", true),
            ("WRITE_LINEAR, system memory", false),
            ("COPY_LINEAR from the IB, VRAM", true),
            ("COPY_LINEAR of a shadow, VRAM", true),
        ]
    );
}

#[test]
fn everything_that_is_drawn_points_at_its_row_of_the_log() {
    let timeline = mode1();
    for lane in &timeline.lanes {
        for item in &lane.items {
            assert!(item.from <= item.to, "{item:?}");
            let row = &timeline.log[item.log];
            assert!((row.at - item.from).abs() < 5.0, "{item:?} {row:?}");
        }
        for (at, _, row) in lane.series.iter().flat_map(|series| &series.points) {
            assert_eq!(timeline.log[*row].at, *at, "{}", lane.title);
        }
    }
    let times: Vec<_> = timeline.log.iter().map(|row| row.at).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_page_opens_at_the_reset_with_its_clock_there() {
    let timeline = mode1();
    let views: Vec<_> = timeline.views.iter().map(|view| view.title.as_str()).collect();
    assert_eq!(views, ["Reset", "Whole run"]);
    let reset = &timeline.views[0];
    let begin = timeline
        .log
        .iter()
        .find(|row| row.text.contains("GPU reset begin"))
        .unwrap();
    assert_eq!(reset.zero, begin.at);
    assert!(reset.from < begin.at && begin.at < reset.to);
}

#[test]
fn a_comparison_long_after_the_reset_has_a_view_that_shows_both() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    for event in &mut evidence.events {
        if event.kind == "oracle" {
            event.at_us += 1_500_000;
        }
    }
    evidence.events.sort_by_key(|event| event.at_us);
    let timeline = Timeline::new(&evidence, &fixture::mode1_outcomes());
    let [reset, both, _] = timeline.views.as_slice() else {
        panic!("{:?}", timeline.views)
    };
    assert_eq!(both.title, "Until verified");
    let verified = &lane(&timeline, "Memory").items;
    let verified = verified.iter().find(|item| item.class == "verified").unwrap();
    assert!(reset.to < verified.from && verified.from < both.to);
}

#[test]
fn the_reset_of_a_gpu_that_is_plugged_in_is_no_view() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    let is_reset =
        |event: &&DeviceEvent| event.kind.starts_with("reset-") && event.detail().contains("mode1");
    let resets: Vec<_> = evidence.events.iter().filter(is_reset).cloned().collect();
    let first = resets.first().unwrap().at_us;
    let plugged = resets.iter().map(|event| DeviceEvent {
        at_us: event.at_us - 2_000_000,
        ..event.clone()
    });
    evidence.events.extend(plugged);
    evidence.events.sort_by_key(|event| event.at_us);
    let titles = |began| {
        let mut outcomes = fixture::mode1_outcomes();
        outcomes[0].began_unix_us = began;
        let views = Timeline::new(&evidence, &outcomes).views;
        views.into_iter().map(|view| view.title).collect::<Vec<_>>()
    };
    assert_eq!(titles(first - 1_000_000), ["Reset", "Whole run"]);
    assert_eq!(titles(first - 3_000_000), ["Reset 1", "Reset 2", "Whole run"]);
}

#[test]
fn a_loss_outside_of_any_reset_is_called_that() {
    let mut evidence = Evidence::read(&fixture::mode1()).unwrap();
    let is_loss = |event: &&DeviceEvent| event.kind.starts_with("loss-");
    let earlier: Vec<_> = (evidence.events.iter().filter(is_loss))
        .map(|event| DeviceEvent {
            at_us: event.at_us - 2_000_000,
            ..event.clone()
        })
        .collect();
    let first = earlier.first().unwrap().at_us;
    evidence.events.extend(earlier);
    evidence.events.sort_by_key(|event| event.at_us);
    let mut outcomes = fixture::mode1_outcomes();
    outcomes[0].began_unix_us = first - 1_000_000;
    let views = Timeline::new(&evidence, &outcomes).views;
    let titles: Vec<_> = views.iter().map(|view| view.title.as_str()).collect();
    assert_eq!(titles, ["Loss", "Reset", "Whole run"]);
}

#[test]
fn what_guest_and_host_say_is_on_the_time_line() {
    let mut evidence = Evidence::default();
    let mut text = "{\"us\":0,\"event\":\"started\",\"unix_us\":1000000}\n".to_owned();
    for (us, rest) in [
        (
            1000,
            "\"event\":\"mailbox\",\"from\":\"host\",\"message\":\"FLR_NOTIFICATION\"",
        ),
        (
            2000,
            "\"event\":\"mailbox\",\"from\":\"guest\",\"message\":\"REQ_GPU_RESET_ACCESS\",\"fate\":\"refused\"",
        ),
        (3000, "\"event\":\"reset-begin\",\"kind\":\"vf-flr\""),
        (4000, "\"event\":\"reset-end\",\"kind\":\"vf-flr\""),
    ] {
        let _ = writeln!(text, "{{\"us\":{us},{rest}}}");
    }
    evidence.device_events(&text);
    let timeline = Timeline::new(&evidence, &[]);
    let items: Vec<_> = timeline.lanes.iter().flat_map(|lane| &lane.items).collect();
    let shown = |label: &str| items.iter().any(|item| item.label == label);
    assert!(shown("host: FLR_NOTIFICATION"));
    assert!(shown("guest: REQ_GPU_RESET_ACCESS, refused"));
    let sentence = &timeline.story.sentence;
    assert!(
        sentence.contains("went through a reset of the function by its host"),
        "{sentence}"
    );
}

#[test]
fn a_hung_engine_stays_hung_until_a_reset_takes_it() {
    let mut evidence = Evidence::default();
    let mut text = "{\"us\":0,\"event\":\"started\",\"unix_us\":1000000}\n".to_owned();
    for (us, rest) in [
        (1000, "\"event\":\"fence\",\"engine\":\"sdma0\",\"value\":1"),
        (
            2000,
            "\"event\":\"engine-halted\",\"engine\":\"sdma0\",\"reason\":\"bad opcode\"",
        ),
        (
            2500,
            "\"event\":\"engine-waits\",\"engine\":\"sdma1\",\"target\":\"memory\"",
        ),
        (
            3000,
            "\"event\":\"reset-begin\",\"kind\":\"queue\",\"target\":\"sdma1\"",
        ),
        (
            4000,
            "\"event\":\"reset-end\",\"kind\":\"queue\",\"target\":\"sdma1\"",
        ),
        (5000, "\"event\":\"reset-begin\",\"kind\":\"mode2\""),
        (6000, "\"event\":\"reset-end\",\"kind\":\"mode2\""),
    ] {
        let _ = writeln!(text, "{{\"us\":{us},{rest}}}");
    }
    evidence.device_events(&text);
    let timeline = Timeline::new(&evidence, &[]);
    let spans = |title: &str| {
        lane(&timeline, title)
            .items
            .iter()
            .map(|item| (item.class, item.from, item.to))
            .collect::<Vec<_>>()
    };
    assert_eq!(spans("sdma0"), [("hung", 2.0, 6.0)]);
    assert_eq!(spans("sdma1"), [("waits", 2.5, 4.0)]);
    assert!(
        timeline
            .story
            .sentence
            .starts_with("Sdma0 hung and the GPU went through a queue reset sdma1 and a MODE2 reset."),
        "{}",
        timeline.story.sentence
    );
}

#[test]
fn a_flood_of_fences_is_drawn_and_not_listed() {
    let mut evidence = Evidence::default();
    let mut text = "{\"us\":0,\"event\":\"started\",\"unix_us\":1000000}\n".to_owned();
    for us in 1..=MOST_ROWS {
        let _ = writeln!(
            text,
            "{{\"us\":{us},\"event\":\"fence\",\"engine\":\"sdma0\",\"value\":{us}}}"
        );
    }
    evidence.device_events(&text);
    let timeline = Timeline::new(&evidence, &[]);
    assert_eq!(timeline.log.len(), 1);
    assert_eq!(lane(&timeline, "sdma0").series[0].points.len(), MOST_ROWS);
    assert_eq!(
        timeline.gaps,
        ["40000 fences and interrupts are drawn but not listed below; events.jsonl has them."]
    );
}

#[test]
fn nothing_at_all_is_a_time_line_too() {
    let timeline = Timeline::new(&Evidence::default(), &[]);
    assert_eq!(timeline.story.sentence, "Nothing was reset and nothing was lost.");
    assert_eq!(timeline.views.len(), 1);
}

#[test]
fn what_the_guest_traces_and_asks_stands_between_the_devices_events() {
    let mut evidence = Evidence::default();
    let mut text = "{\"us\":0,\"event\":\"started\",\"unix_us\":1000000}\n".to_owned();
    for (us, rest) in [
        (1000, "\"event\":\"guest-request\",\"text\":\"drop-vram poison\""),
        (
            2000,
            "\"event\":\"guest-trace\",\"text\":\" a-1 [0] amdgpu_vm_flush: x\"",
        ),
        (
            3000,
            "\"event\":\"guest-request\",\"text\":\"stats\",\"refused\":\"no\"",
        ),
    ] {
        let _ = writeln!(text, "{{\"us\":{us},{rest}}}");
    }
    evidence.device_events(&text);
    let timeline = Timeline::new(&evidence, &[]);
    assert_eq!(lane(&timeline, "Tracepoints").series[0].points, [(2.0, 1.0, 2)]);
    let row = &timeline.log[2];
    assert_eq!(
        (row.source, row.text.as_str()),
        (Source::Trace, "a-1 [0] amdgpu_vm_flush: x")
    );
    let asked: Vec<_> = lane(&timeline, "Device")
        .items
        .iter()
        .map(|item| (item.class, item.label.as_str()))
        .collect();
    assert_eq!(
        asked,
        [
            ("neutral", "guest asks: drop-vram poison"),
            ("bad", "guest asks: stats")
        ]
    );
}
