//! The guest port's control conversation, from the virtqueues of a front end to the event log of the daemon itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::path::Path;

use common::{Daemon, until};
use guest_port::Message;
use guest_port::testing::Vm;
use serde_json::Value;

/// The device's ports.
const PORTS: usize = 3;
const CONTROL: usize = 1;
const TRACE: usize = 2;

/// The daemon with its guest port.
fn start(options: &[&str]) -> Daemon {
    Daemon::start(("--guest-port", "port.sock"), options)
}

impl Daemon {
    fn socket(&self) -> std::path::PathBuf {
        self.path("port.sock")
    }

    /// A guest whose driver has opened all ports.
    fn guest(&self) -> Vm {
        let mut vm = Vm::connect(&self.socket(), PORTS);
        vm.bring_up();
        vm
    }

    /// The first event of a kind, once it is in the log.
    fn event(&self, kind: &str) -> Value {
        let path = self.path("events.jsonl");
        until(kind, || {
            events(&path).into_iter().find(|event| event["event"] == kind)
        })
    }

    fn requests(&self) -> Vec<String> {
        let path = self.path("events.jsonl");
        let events = events(&path);
        let requests = events.iter().filter(|event| event["event"] == "guest-request");
        requests
            .map(|event| event["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The whole lines of an event log that is being written.
fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ask(vm: &mut Vm, words: &str) -> String {
    vm.send(CONTROL, format!("{words}\n").as_bytes());
    vm.line(CONTROL)
}

#[test]
fn a_guest_drops_its_vram_and_the_loss_is_in_the_event_log() {
    let daemon = start(&[]);
    let mut vm = daemon.guest();
    let before = ask(&mut vm, "state");
    assert!(before.starts_with("ok {"), "{before}");
    let answer = ask(&mut vm, "drop-vram poison");
    assert!(
        answer.starts_with("ok {") && answer.contains(r#""mode":"poison""#),
        "{answer}"
    );
    let begun = daemon.event("loss-begin");
    assert_eq!(
        (&begun["mode"], &begun["cause"]),
        (&"poison".into(), &"control".into())
    );
    let ended = daemon.event("loss-end");
    assert_eq!(ended["generation"], 1);
    // The order in which it was told: asked, lost.
    assert_eq!(daemon.requests(), ["state", "drop-vram poison"]);
    let asked = daemon.event("guest-request")["seq"].as_u64().unwrap();
    assert!(asked < begun["seq"].as_u64().unwrap());
    let after = ask(&mut vm, "state");
    assert_ne!(before, after, "the state tells of the loss");
}

#[test]
fn what_the_host_does_not_allow_is_refused_and_told() {
    let daemon = start(&["--guest-control", "off"]);
    let mut vm = daemon.guest();
    for words in ["drop-vram poison", "state", r#"{"request":"state"}"#] {
        let answer = ask(&mut vm, words);
        assert!(answer.contains("the host allows the guest nothing"), "{answer}");
    }
    let told = daemon.event("guest-request");
    assert_eq!(told["text"], "drop-vram poison");
    assert!(
        told["refused"]
            .as_str()
            .is_some_and(|why| why.contains("--guest-control"))
    );
    until("three", || (daemon.requests().len() == 3).then_some(()));
    let path = daemon.path("events.jsonl");
    assert!(events(&path).iter().all(|event| event["event"] != "loss-begin"));
}

#[test]
fn a_request_in_json_is_answered_in_json_wherever_its_bytes_break() {
    let daemon = start(&[]);
    let mut vm = daemon.guest();
    for piece in ["{\"v\":1,\"id\":7,", "\"request\":", "\"faults\"}", "\n"] {
        vm.send(CONTROL, piece.as_bytes());
    }
    let answer: Value = serde_json::from_str(&vm.line(CONTROL)).unwrap();
    assert_eq!(
        (&answer["id"], &answer["ok"]),
        (&7.into(), &true.into()),
        "{answer}"
    );
    let answer: Value = serde_json::from_str(&ask(&mut vm, "{\"id\":8,\"request\":\"fly\"}")).unwrap();
    assert_eq!(
        (&answer["id"], &answer["ok"]),
        (&8.into(), &false.into()),
        "{answer}"
    );
    // Longer than a request may be: an error, and the conversation goes on.
    let long = format!("state {}", "x".repeat(70 << 10));
    assert!(ask(&mut vm, &long).contains("longer than 64 KiB"));
    assert!(ask(&mut vm, "state").starts_with("ok {"));
}

/// Lines of the trace, until so many are taken down.
fn trace(daemon: &Daemon, vm: &mut Vm, count: usize) {
    let line = format!("{}\n", "t".repeat(500));
    for _ in 0..count {
        vm.send(TRACE, line.as_bytes());
    }
    let path = daemon.path("events.jsonl");
    until("the trace", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (text.matches("guest-trace").count() >= count).then_some(())
    });
}

#[test]
fn an_answer_longer_than_a_mebibyte_is_an_error() {
    let daemon = start(&["--guest-control", "all"]);
    let mut vm = daemon.guest();
    trace(&daemon, &mut vm, 2400);
    let answer = ask(&mut vm, "events limit=65536");
    assert_eq!(answer, "error request: the answer has more than 1048576 bytes");
    // Less than that is an answer, through many buffers.
    let answer = ask(&mut vm, "events limit=1500");
    assert!(
        answer.starts_with("ok [") && answer.len() > 700_000,
        "{}",
        answer.len()
    );
    let told: Value = serde_json::from_str(answer.trim_start_matches("ok ")).unwrap();
    assert_eq!(told.as_array().map(Vec::len), Some(1500));
}

#[test]
fn a_guest_that_vanishes_in_the_middle_leaves_nothing_to_the_next() {
    let daemon = start(&["--guest-control", "all"]);
    // In the middle of a request.
    let mut vm = daemon.guest();
    vm.send(CONTROL, b"drop-vram po");
    drop(vm);
    // In the middle of an answer, of which it has read one buffer.
    let mut vm = daemon.guest();
    trace(&daemon, &mut vm, 1000);
    vm.send(CONTROL, b"events limit=1000\n");
    assert!(vm.receive(CONTROL).starts_with(b"ok ["));
    drop(vm);
    // With a request under way that nobody waits for.
    let mut vm = daemon.guest();
    vm.send(CONTROL, b"faults\n");
    drop(vm);
    for _ in 0..3 {
        let mut vm = daemon.guest();
        let answer = ask(&mut vm, "state");
        assert!(
            answer.starts_with("ok {") && answer.contains("generation"),
            "{answer}"
        );
    }
    // What was not asked in full was not asked.
    let requests = daemon.requests();
    assert!(
        requests.iter().all(|text| !text.starts_with("drop-vram")),
        "{requests:?}"
    );
    assert_eq!(requests.iter().filter(|text| *text == "state").count(), 3);
}

#[test]
fn a_program_that_closes_the_port_before_it_reads_leaves_the_answer_to_the_next() {
    let daemon = start(&[]);
    let mut vm = daemon.guest();
    let port = u32::try_from(CONTROL).unwrap();
    vm.send(CONTROL, b"hang sdma0\n");
    // Nothing was posted: the answer is still with the device when the port is closed.
    daemon.event("guest-request");
    vm.say(&Message::PortOpen { port, open: false });
    vm.say(&Message::PortOpen { port, open: true });
    let answer = vm.line(CONTROL);
    assert!(answer.starts_with("ok {"), "{answer}");
    // Whoever asks gets its own answer only.
    vm.send(CONTROL, b"faults\n");
    until("faults", || (daemon.requests().len() == 2).then_some(()));
    vm.say(&Message::PortOpen { port, open: false });
    vm.say(&Message::PortOpen { port, open: true });
    let answer = ask(&mut vm, "drop-vram burn");
    assert!(answer.starts_with("error mode"), "{answer}");
}
