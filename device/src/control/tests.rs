//! The control socket with real clients and a real device thread.

use std::time::Instant;

use super::*;
use crate::event::{Event, KEPT};
use crate::transport::StopHandle;
use crate::transport::vfio_user::{Listener, Options, Server};
use gpu::asic::NAVI21;

struct Daemon {
    folder: tempfile::TempDir,
    stop: StopHandle,
    mailbox: Mailbox<GpuFunction>,
    thread: Option<thread::JoinHandle<()>>,
    _control: ControlSocket,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut function = GpuFunction::new(&NAVI21, 256 << 20, 1).unwrap();
        let listener = Listener::bind(&folder.path().join("gpu.sock")).unwrap();
        let mut server = Server::new(listener, Options::default()).unwrap();
        let control = ControlSocket::serve(&folder.path().join("control.sock"), server.mailbox()).unwrap();
        let stop = server.stop_handle();
        let mailbox = server.mailbox();
        let thread = thread::spawn(move || server.serve(&mut function).unwrap());
        Self {
            folder,
            stop,
            mailbox,
            thread: Some(thread),
            _control: control,
        }
    }

    fn client(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        BufReader::new(stream)
    }

    fn follower(&self) -> BufReader<UnixStream> {
        let mut client = self.client();
        let line = b"{\"request\":\"events\",\"follow\":true}\n";
        client.get_mut().write_all(line).unwrap();
        client
    }

    /// Something happens, this often.
    fn happen(&self, times: usize) {
        let job = move |function: &mut GpuFunction| {
            for _ in 0..times {
                function.gpu_mut().record(Event::FrontEnd { connected: false });
            }
        };
        self.mailbox.call(job).unwrap();
    }
}

fn line(client: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn ask(client: &mut BufReader<UnixStream>, line: &str) -> Value {
    client.get_mut().write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn questions_are_answered_while_no_front_end_is_connected() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let stats = ask(&mut client, "{\"v\":1,\"id\":\"a\",\"request\":\"stats\"}\n");
    assert_eq!(stats.pointer("/result/asic"), Some(&Value::from("navi21")));
    assert_eq!(stats.pointer("/id"), Some(&Value::from("a")));
    let tables = ask(&mut client, "{\"request\":\"page-tables\",\"vmid\":0}\n");
    assert_eq!(tables.pointer("/result/0/live"), Some(&Value::from(false)));
    let unmodelled = ask(&mut client, "{\"request\":\"unmodelled\"}\n");
    assert_eq!(unmodelled.pointer("/result"), Some(&Value::Array(vec![])));
}

#[test]
fn vram_can_be_lost_by_request() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let resident = |client: &mut BufReader<UnixStream>| {
        ask(client, "{\"request\":\"stats\"}\n")
            .pointer("/result/vram_resident")
            .and_then(Value::as_u64)
    };
    // The discovery binary, which the board's firmware left there.
    assert_ne!(resident(&mut client), Some(0));
    let reply = ask(&mut client, "{\"request\":\"drop-vram\",\"mode\":\"zero\"}\n");
    assert_eq!(reply.pointer("/result/mode"), Some(&Value::from("zero")));
    let patience = Instant::now() + Duration::from_secs(10);
    while resident(&mut client) != Some(0) {
        assert!(Instant::now() < patience, "still there");
    }
}

#[test]
fn a_wrong_request_gets_an_error_and_the_connection_goes_on() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let error = ask(&mut client, "no json\n");
    assert_eq!(error.pointer("/error/field"), Some(&Value::from("line")));
    assert!(error.to_string().contains("line 1"), "{error}");
    assert_eq!(
        ask(&mut client, "{\"request\":\"stats\"}\n").pointer("/ok"),
        Some(&Value::from(true))
    );
}

#[test]
fn a_line_without_end_is_answered_and_ends_the_connection() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let error = ask(&mut client, &"x".repeat(64 << 10));
    assert_eq!(error.pointer("/error/field"), Some(&Value::from("line")));
    let mut rest = String::new();
    assert_eq!(client.read_line(&mut rest).unwrap_or(0), 0);
}

#[test]
fn a_client_that_stalls_delays_nobody() {
    let daemon = Daemon::start();
    let mut stalled = daemon.client();
    stalled.get_mut().write_all(b"{\"request\":").unwrap();
    assert_eq!(
        ask(&mut daemon.client(), "{\"request\":\"stats\"}\n").pointer("/ok"),
        Some(&Value::from(true))
    );
}

#[test]
fn state_says_what_everybody_does() {
    let daemon = Daemon::start();
    let state = ask(&mut daemon.client(), "{\"request\":\"state\"}\n");
    for (field, expected) in [
        ("front_end", Value::from(false)),
        ("generation", Value::from(0)),
        ("in_reset", Value::from(false)),
        ("losing", Value::from(false)),
        ("last_reset", Value::Null),
        ("last_loss", Value::Null),
        ("engines/0/engine", Value::from("sdma0")),
        ("engines/0/doing", Value::from("off")),
        ("queues", Value::Array(vec![])),
        ("contexts", Value::Array(vec![])),
        ("faults", Value::Array(vec![])),
        ("interrupts/enabled", Value::from(false)),
    ] {
        let found = state.pointer(&format!("/result/{field}"));
        assert_eq!(found, Some(&expected), "{field}: {state}");
    }
}

#[test]
fn events_are_listed_from_a_number_on_or_the_latest_of_them() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    daemon.happen(5);
    let mut seqs = |line: &str| -> Vec<u64> {
        let reply = ask(&mut client, line);
        let records = reply.pointer("/result").and_then(Value::as_array).unwrap();
        records
            .iter()
            .map(|record| record["seq"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(seqs("{\"request\":\"events\"}\n"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(seqs("{\"request\":\"events\",\"limit\":2}\n"), [4, 5]);
    assert_eq!(seqs("{\"request\":\"events\",\"since\":1,\"limit\":2}\n"), [1, 2]);
    assert_eq!(seqs("{\"request\":\"events\",\"since\":6}\n"), [0; 0]);
    let limit = format!("{{\"request\":\"events\",\"limit\":{}}}\n", u64::MAX);
    assert_eq!(seqs(&limit).len(), 6);
}

#[test]
fn a_follower_gets_what_was_and_what_comes() {
    let daemon = Daemon::start();
    let mut follower = daemon.follower();
    assert_eq!(line(&mut follower)["event"], "started");
    ask(
        &mut daemon.client(),
        "{\"request\":\"drop-vram\",\"mode\":\"zero\"}\n",
    );
    let begin = line(&mut follower);
    assert_eq!(
        (&begin["event"], &begin["seq"]),
        (&"loss-begin".into(), &1.into())
    );
    let end = line(&mut follower);
    assert_eq!(
        (&end["event"], &end["generation"]),
        (&"loss-end".into(), &1.into())
    );
}

#[test]
fn a_follower_with_a_limit_can_ask_again_afterwards() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    daemon.happen(3);
    let request = "{\"request\":\"events\",\"follow\":true,\"since\":1,\"limit\":2}\n";
    assert_eq!(ask(&mut client, request)["seq"], 1);
    assert_eq!(line(&mut client)["seq"], 2);
    assert_eq!(ask(&mut client, "{\"request\":\"stats\"}\n")["ok"], true);
}

#[test]
fn a_follower_that_stalls_delays_nobody_and_learns_what_it_missed() {
    let daemon = Daemon::start();
    let mut stalled = daemon.follower();
    assert_eq!(line(&mut stalled)["event"], "started");
    // Several times what the ring and the socket hold.
    for _ in 0..6 {
        daemon.happen(KEPT / 2);
        let reply = ask(&mut daemon.client(), "{\"request\":\"state\"}\n");
        assert_eq!(reply["ok"], true);
    }
    let last = 6 * (KEPT as u64 / 2);
    let (mut next, mut missed) = (1, 0);
    while next <= last {
        let record = line(&mut stalled);
        if record["event"] == "lagged" {
            missed += record["missed"].as_u64().unwrap();
            next += record["missed"].as_u64().unwrap();
        } else {
            assert_eq!(record["seq"], next);
            next += 1;
        }
    }
    assert!(missed > 0);
}

#[test]
fn a_hundred_followers_get_the_same_and_their_places_become_free() {
    let daemon = Daemon::start();
    for _ in 0..3 {
        let mut followers: Vec<_> = (0..100).map(|_| daemon.follower()).collect();
        daemon.happen(20);
        for follower in &mut followers {
            let seqs: Vec<_> = (0..20).map(|_| line(follower)["seq"].as_u64()).collect();
            assert_eq!(seqs, (0..20).map(Some).collect::<Vec<_>>());
        }
        // They go in the middle of a stream.
    }
    let patience = Instant::now() + Duration::from_secs(30);
    let presence = || -> usize {
        let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| daemon.client()).collect();
        let served = |client: &mut BufReader<UnixStream>| {
            let asked = client.get_mut().write_all(b"{\"request\":\"unmodelled\"}\n");
            let mut line = String::new();
            asked.is_ok() && client.read_line(&mut line).is_ok() && line.contains("\"ok\":true")
        };
        clients
            .iter_mut()
            .filter_map(|client| served(client).then_some(()))
            .count()
    };
    while presence() < MAX_CLIENTS {
        assert!(
            Instant::now() < patience,
            "followers that are gone keep their places"
        );
    }
}

#[test]
fn followers_see_the_end_when_the_device_goes() {
    let daemon = Daemon::start();
    let mut follower = daemon.follower();
    line(&mut follower);
    let job = |function: &mut GpuFunction| {
        function.gpu_mut().record(Event::FrontEnd { connected: false });
        function.close_feed();
    };
    daemon.mailbox.call(job).unwrap();
    assert_eq!(line(&mut follower)["seq"], 1);
    let mut end = String::new();
    assert_eq!(follower.read_line(&mut end).unwrap(), 0);
}

#[test]
fn the_asking_side_prints_events_as_they_come() {
    let daemon = Daemon::start();
    daemon.happen(2);
    let path = daemon.folder.path().join("control.sock");
    let fields = ["--follow", "--limit", "3"].map(str::to_owned);
    let mut seqs = Vec::new();
    let question = client::Question::new("events", &fields).unwrap();
    let print = |text: &str| {
        seqs.push(
            serde_json::from_str::<Value>(text).unwrap()["seq"]
                .as_u64()
                .unwrap(),
        );
        true
    };
    question.ask(&path, print).unwrap();
    assert_eq!(seqs, [0, 1, 2]);
    let wrong = client::Question::new("events", &["--follow", "--fast"].map(str::to_owned)).unwrap();
    let refused = wrong.ask(&path, |_| true).unwrap_err();
    assert!(refused.to_string().contains("fast"), "{refused}");
}

#[test]
fn clients_are_bounded_and_places_become_free_again() {
    let daemon = Daemon::start();
    let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| daemon.client()).collect();
    for client in &mut clients {
        ask(client, "{\"request\":\"stats\"}\n");
    }
    let mut turned_away = daemon.client();
    let mut line = String::new();
    turned_away.read_line(&mut line).unwrap();
    assert!(line.contains("256 others are connected already"), "{line}");
    drop(clients);
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = daemon.client();
        let mut line = String::new();
        let asked = client.get_mut().write_all(b"{\"request\":\"stats\"}\n");
        if asked.is_ok() && client.read_line(&mut line).is_ok() && line.contains("\"ok\":true") {
            break;
        }
        assert!(Instant::now() < patience, "no place became free");
    }
}

#[test]
fn a_plain_file_in_the_way_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::fs::write(&path, "mine").unwrap();
    let listener = Listener::bind(&folder.path().join("gpu.sock")).unwrap();
    let server: Server<GpuFunction> = Server::new(listener, Options::default()).unwrap();
    let refused = ControlSocket::serve(&path, server.mailbox()).unwrap_err();
    assert!(matches!(refused, SocketError::NotASocket(_)), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
