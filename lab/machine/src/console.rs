//! The guest's console: the kernel's log, our markers in it, and the way to send orders.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::guest::console::{LINES, LOG, Line, MARK, Marker, unix_us};

use crate::splice::{Source, Splice};

/// A line that grows beyond this without an end is cut: a guest may print anything.
const LONGEST_LINE: usize = 16 * 1024;
/// A guest that prints faster than we look at it is made to wait.
const QUEUE: usize = 4096;
/// What is said at one console may still be on its way when the other one begins or ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The console of a running machine.
#[derive(Debug)]
pub struct Console {
    input: ChildStdin,
    /// The other way to the guest, once there is one.
    port: Option<UnixStream>,
    lines: Receiver<Line>,
    sink: Arc<Mutex<Sink>>,
}

impl Console {
    /// Starts reading; every byte also goes to [`LOG`] in the folder, and every line to [`LINES`].
    pub fn start(input: ChildStdin, output: ChildStdout, folder: &Path) -> io::Result<Self> {
        let log = BufWriter::new(File::create(folder.join(LOG))?);
        let timed = BufWriter::new(File::create(folder.join(LINES))?);
        let (sender, lines) = mpsc::sync_channel(QUEUE);
        let sink = Arc::new(Mutex::new(Sink {
            splice: Splice::default(),
            log,
            timed,
            cutter: Cutter::default(),
            lines: Some(sender),
            shown: false,
            filter: MarkerFilter::default(),
        }));
        let ours = Arc::clone(&sink);
        std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || {
                read_all(output, |bytes| {
                    if lock(&ours).splice.is_over() {
                        std::thread::sleep(LAST_WORDS);
                    }
                    lock(&ours).take(Source::Serial, bytes);
                });
                std::thread::sleep(LAST_WORDS);
                lock(&ours).end();
            })?;
        Ok(Self {
            input,
            port: None,
            lines,
            sink,
        })
    }

    /// Reads the guest's other console too, which goes on where the guest says that the first one ends.
    pub fn join(&mut self, port: UnixStream) -> io::Result<()> {
        let (reading, sink) = (port.try_clone()?, Arc::clone(&self.sink));
        std::thread::Builder::new()
            .name("guest-console".to_owned())
            .spawn(move || read_all(reading, |bytes| lock(&sink).take(Source::Port, bytes)))?;
        self.port = Some(port);
        Ok(())
    }

    /// The next line; `Ok(None)` if none came in time, an error if the machine has closed its console.
    pub fn next(&self, limit: Duration) -> Result<Option<Line>, Closed> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }

    /// Sends a line to the guest.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        self.send_bytes(line.as_bytes())?;
        self.send_bytes(b"\n")
    }

    /// Sends a line to the serial port, wherever the guest listens.
    pub fn send_to_serial(&mut self, line: &str) -> io::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes())?;
        self.input.flush()
    }

    /// Sends bytes to the guest as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let active = lock(&self.sink).splice.active();
        match (active, &mut self.port) {
            (Source::Port, Some(port)) => port.write_all(bytes),
            _ => {
                self.input.write_all(bytes)?;
                self.input.flush()
            }
        }
    }

    /// Shows what the guest prints on our standard output, or stops showing it.
    pub fn show(&self, on: bool) {
        lock(&self.sink).shown = on;
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Ends the thread that reads it.
        if let Some(port) = &self.port {
            let _ = port.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Where everything goes that the guest prints.
#[derive(Debug)]
struct Sink {
    splice: Splice,
    log: BufWriter<File>,
    timed: BufWriter<File>,
    cutter: Cutter,
    /// None once the machine has closed its console, or nobody listens any more.
    lines: Option<SyncSender<Line>>,
    shown: bool,
    filter: MarkerFilter,
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    fn take(&mut self, source: Source, bytes: &[u8]) {
        let bytes = self.splice.take(source, bytes);
        if bytes.is_empty() {
            return;
        }
        // A full disk must not stop the run: the lines still reach the verdict. Nor must a terminal that went away.
        let _ = self.log.write_all(&bytes).and_then(|()| self.log.flush());
        if self.shown {
            let mut terminal = io::stdout().lock();
            let visible = self.filter.pass(&bytes);
            let _ = terminal.write_all(&visible).and_then(|()| terminal.flush());
        }
        for line in self.cutter.cut(&bytes) {
            self.deliver(line);
        }
    }

    fn deliver(&mut self, line: Line) {
        let _ = write_line(&mut self.timed, &line);
        if self.lines.as_ref().is_some_and(|lines| lines.send(line).is_err()) {
            self.lines = None;
        }
    }

    fn end(&mut self) {
        if let Some(line) = self.cutter.rest() {
            self.deliver(line);
        }
        self.lines = None;
    }
}

/// Leaves the markers around a shell out of a stream of bytes that may break anywhere.
///
/// A prompt has no line end and must be seen at once, so only the start of a line that can still become a marker waits.
/// Inside the shell markers are shown: they are lines of the kernel's log that its user asks for. Only the end of the
/// shell is not, which nobody in it can have asked for.
#[derive(Debug, Default)]
struct MarkerFilter {
    place: Place,
    held: Vec<u8>,
    marker: Vec<u8>,
    /// How the marker of the shell's end starts.
    end: Option<String>,
    /// Whether the shell has begun.
    begun: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// In the part of a line that says whether it is a marker.
    #[default]
    Start,
    /// In a line that is none.
    Text,
    /// In a marker.
    Marker,
}

impl MarkerFilter {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut visible = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match self.place {
                Place::Marker if self.marker.len() < LONGEST_LINE => self.marker.push(byte),
                Place::Marker => {}
                Place::Text => visible.push(byte),
                Place::Start => {
                    self.held.push(byte);
                    self.place = self.judge();
                    match self.place {
                        Place::Start => {}
                        Place::Text => visible.append(&mut self.held),
                        Place::Marker => self.marker.append(&mut self.held),
                    }
                }
            }
            if byte == b'\n' {
                self.place = Place::Start;
                visible.append(&mut self.held);
                self.take_marker();
            }
        }
        visible
    }

    fn take_marker(&mut self) {
        let line = Line::parse(&String::from_utf8_lossy(&self.marker));
        self.marker.clear();
        match line.marker() {
            Some(Marker::Begin { id }) => self.end = Some(format!("@lab {{\"ev\":\"end\",\"id\":{id},")),
            Some(Marker::Note { about, .. }) if about == "shell" => self.begun = true,
            _ => {}
        }
    }

    /// What the line that starts like this is: `[    1.000000] @lab {` is a marker.
    fn judge(&self) -> Place {
        let start = self.held.as_slice();
        let hidden = match &self.end {
            Some(end) if self.begun => end.as_bytes(),
            _ => MARK.as_bytes(),
        };
        let stamp = |byte: &u8| matches!(byte, b'[' | b' ' | b'.' | b'0'..=b'9');
        let after = match start {
            [b'[', ..] => match start.split(|byte| *byte == b']').nth(1) {
                Some(after) => after.strip_prefix(b" ").unwrap_or(after),
                None if start.iter().all(stamp) => return Place::Start,
                None => return Place::Text,
            },
            _ => start,
        };
        if after.starts_with(hidden) {
            Place::Marker
        } else if hidden.starts_with(after) {
            Place::Start
        } else {
            Place::Text
        }
    }
}

/// The console has no other end any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine has closed its console")]
pub struct Closed;

/// Reads until the end.
fn read_all(mut input: impl Read, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(count) = input.read(&mut buffer) {
        match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => take(bytes),
            None => return,
        }
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
}

impl Cutter {
    fn cut(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte != b'\n' && self.line.len() < LONGEST_LINE {
                self.line.push(byte);
            } else {
                lines.push(self.end());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<Line> {
        (!self.line.is_empty()).then(|| self.end())
    }

    fn end(&mut self) -> Line {
        let line = Line::arrived(&String::from_utf8_lossy(&self.line), unix_us());
        self.line.clear();
        line
    }
}

fn write_line(file: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_with_both_clocks() {
        let mut file = Vec::new();
        write_line(&mut file, &Line::arrived("[    5.250000] hello", 7)).unwrap();
        write_line(&mut file, &Line::arrived("a \"b\"", 8)).unwrap();
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "{\"unix_us\":7,\"time\":5.25,\"text\":\"hello\"}\n{\"unix_us\":8,\"time\":null,\"text\":\"a \\\"b\\\"\"}\n"
        );
    }

    #[test]
    fn a_shell_shows_everything_but_its_own_markers_wherever_the_stream_breaks() {
        let stream = concat!(
            "[    1.4] amdgpu: hello\r\n",
            r#"[    1.5] @lab {"ev":"begin","id":3,"step":"shell"}"#,
            "\r\n",
            r#"[    1.6] @lab {"ev":"note","about":"shell","terminal":"/dev/ttyS0"}"#,
            "\r\n# echo [x] @\r\n[x] @\r\n# dmesg | tail -2\r\n",
            r#"[    1.5] @lab {"ev":"begin","id":3,"step":"shell"}"#,
            "\r\n[    2.0] amdgpu: [x] @lab {\r\n# exit\r\n",
            r#"[    3.0] @lab {"ev":"end","id":3,"step":"shell","ok":true}"#,
            "\r\n",
        )
        .as_bytes();
        let wanted = concat!(
            "[    1.4] amdgpu: hello\r\n",
            "# echo [x] @\r\n[x] @\r\n# dmesg | tail -2\r\n",
            r#"[    1.5] @lab {"ev":"begin","id":3,"step":"shell"}"#,
            "\r\n[    2.0] amdgpu: [x] @lab {\r\n# exit\r\n",
        )
        .as_bytes();
        for chunk in [1, 2, 3, 7, stream.len()] {
            let mut filter = MarkerFilter::default();
            let visible: Vec<u8> = stream.chunks(chunk).flat_map(|part| filter.pass(part)).collect();
            assert_eq!(
                String::from_utf8_lossy(&visible),
                String::from_utf8_lossy(wanted),
                "in pieces of {chunk}"
            );
        }
    }

    #[test]
    fn a_prompt_is_shown_at_once() {
        let mut filter = MarkerFilter::default();
        assert_eq!(filter.pass(b"guest# "), b"guest# ");
        assert_eq!(filter.pass(b"l"), b"l");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut cutter = Cutter::default();
        let mut lines = cutter.cut(&vec![b'x'; 3 * LONGEST_LINE]);
        lines.extend(cutter.rest());
        assert!(lines.len() >= 2 && lines.iter().all(|line| line.text.len() <= LONGEST_LINE));
        assert_eq!(cutter.rest(), None);
    }
}
