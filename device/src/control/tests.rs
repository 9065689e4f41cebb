//! The control socket with real clients and a real device thread.

use std::time::Instant;

use super::*;
use crate::asic::NAVI21;
use crate::transport::StopHandle;
use crate::transport::vfio_user::{Listener, Options, Server};

struct Daemon {
    folder: tempfile::TempDir,
    stop: StopHandle,
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
        let thread = thread::spawn(move || server.serve(&mut function).unwrap());
        Self {
            folder,
            stop,
            thread: Some(thread),
            _control: control,
        }
    }

    fn client(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        BufReader::new(stream)
    }
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
