//! Many bytes through one port, both ways at once, and every one of them compared.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::marker;
use crate::pattern::{self, Pattern};
use crate::sys::{self, Exit};

/// Bytes that are written and compared at once.
const PIECE: usize = 16 << 10;
/// Bytes that may be under way on a terminal: hvc holds its lock while it waits for the host to take what is printed, so that nothing is
/// read meanwhile. An other end that has to get rid of its echo first would wait for ever.
const WINDOW: usize = 128 << 10;
/// Nothing at all for so long is a failure.
const SILENCE: Duration = Duration::from_secs(120);
/// Length of a request: the longest that the device takes, its end included.
const REQUEST: usize = 64 << 10;
/// Bytes of a numbered line, its end included: all of it fits into an event.
const LINE: usize = 496;

/// What goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that the other end sends back.
    Echo,
    /// Numbered lines, to the host only.
    Lines,
    /// Requests of 64 KiB, most of it an id which has to be in the answer; beside it all answers have to be the same.
    Ask,
}

/// One flood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flood {
    /// The port, or a terminal.
    pub path: PathBuf,
    /// How much.
    pub mib: usize,
    /// What.
    pub kind: Kind,
    /// The request of [`Kind::Ask`], in JSON.
    pub request: String,
}

impl Flood {
    /// Reads `PATH MIB echo|lines|ask [REQUEST]`.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let [path, mib, kind, request @ ..] = arguments else {
            return Err("flood: [start] PATH MIB echo|lines|ask [REQUEST], or wait?".to_owned());
        };
        Ok(Self {
            path: PathBuf::from(path),
            mib: mib.parse().map_err(|_| format!("flood: {mib:?} is no number"))?,
            kind: match kind.as_str() {
                "echo" => Kind::Echo,
                "lines" => Kind::Lines,
                "ask" => Kind::Ask,
                _ => return Err(format!("flood: {kind:?} is none of echo, lines, ask")),
            },
            request: request.join(" "),
        })
    }

    /// Does it. Fails at the first difference.
    pub fn run(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {}", self.path.display(), sys::explain(&error));
        let mut port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(failed)?;
        // Only a terminal has something to switch off.
        let window = sys::make_transparent(port.as_fd()).is_ok().then_some(WINDOW);
        let total = self.mib << 20;
        let started = Instant::now();
        let facts = match self.kind {
            Kind::Echo => echo(&mut port, total, window)?,
            Kind::Lines => lines(&mut port, total).map_err(failed)?,
            Kind::Ask => self.ask(&mut port, total)?,
        };
        marker::note(
            "flood",
            &Object::new()
                .text("path", &path_name(&self.path))
                .number("mib", u64::try_from(self.mib).unwrap_or(0))
                .append(&facts)
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }

    fn ask(&self, port: &mut File, total: usize) -> Result<Object, String> {
        let failed = |error: io::Error| sys::explain(&error);
        let head = "{\"id\":\"";
        let tail = format!("\",{}\n", self.request.trim_start_matches('{'));
        let room = REQUEST.saturating_sub(head.len() + tail.len());
        let mut first: Option<String> = None;
        let (mut asked, mut bytes) = (0, 0);
        for number in 0..total / REQUEST {
            let id = numbered(number, room);
            port.write_all(format!("{head}{id}{tail}").as_bytes())
                .map_err(failed)?;
            let answer = String::from_utf8(read_line(port).map_err(failed)?)
                .map_err(|error| format!("answer {number}: {error}"))?;
            asked += 1;
            bytes += u64::try_from(answer.len() + 1).unwrap_or(0);
            let Some((before, after)) = answer.split_once(&id) else {
                return Err(format!("answer {number} has not the id of its request"));
            };
            let rest = format!("{before}{after}");
            match &first {
                None => first = Some(rest),
                Some(first) if *first == rest => {}
                Some(first) => {
                    return Err(format!(
                        "answer {number} says {rest}, and the first one {first}, beside the id"
                    ));
                }
            }
        }
        Ok(Object::new()
            .number("requests", asked)
            .number("answer_bytes", bytes))
    }
}

/// Its own number, again and again.
fn numbered(number: usize, length: usize) -> String {
    let text = format!("{number:011} ");
    text.chars().cycle().take(length).collect()
}

fn path_name(path: &Path) -> String {
    path.display().to_string()
}

/// Writes and reads at the same time, in two processes: neither end holds more than a few pieces.
fn echo(port: &mut File, total: usize, window: Option<usize>) -> Result<Object, String> {
    const SEED: u64 = 11;
    let mut writer = port.try_clone().map_err(|error| format!("dup: {error}"))?;
    let (mut credit, mut back) = io::pipe().map_err(|error| format!("pipe: {error}"))?;
    let writing = sys::fork(move || {
        let mut content = Pattern::new(SEED);
        let free = window.map_or(usize::MAX, |window| window / PIECE);
        for piece in 0..total / PIECE {
            let waited = piece < free || credit.read_exact(&mut [0]).is_ok();
            if !waited || writer.write_all(&content.bytes(PIECE)).is_err() {
                return 1;
            }
        }
        0
    })
    .map_err(|error| format!("fork: {error}"))?;
    let result = compare(port, total, Pattern::new(SEED), || {
        if window.is_some() {
            // One that has written everything needs no more of it.
            let _ = back.write_all(&[0]);
        }
    });
    if result.is_err() {
        writing.kill();
    }
    match writing.wait() {
        Ok(Exit::Status(0)) => result.map(|()| Object::new().flag("same", true)),
        other => result.and_then(|()| Err(format!("writing ended with {other:?}"))),
    }
}

fn compare(
    port: &mut File,
    total: usize,
    mut content: Pattern,
    mut credit: impl FnMut(),
) -> Result<(), String> {
    let mut buffer = vec![0; PIECE];
    for piece in 0..total / PIECE {
        fill(port, &mut buffer)
            .map_err(|error| format!("after {piece} pieces of {PIECE} bytes: {}", sys::explain(&error)))?;
        let wanted = content.bytes(PIECE);
        if let Some((at, expected, found, count)) = pattern::compare(&wanted, &buffer) {
            let missing = missing(&wanted, &mut content, &buffer, at);
            let at = piece * PIECE + at;
            return Err(format!(
                "byte {at} is {found:#x}, expected {expected:#x}, and {count} of this piece differ; {missing}"
            ));
        }
        credit();
    }
    Ok(())
}

/// What became of the stream at a difference: bytes are missing if what was found comes later in it.
fn missing(expected: &[u8], content: &mut Pattern, found: &[u8], at: usize) -> String {
    /// So much is looked at.
    const LATER: usize = 512 << 10;
    const SAMPLE: usize = 32;
    let mut stream = expected.get(at..).unwrap_or_default().to_vec();
    stream.extend(content.bytes(LATER));
    let sample = found.get(at..).unwrap_or_default();
    let sample = sample.get(..sample.len().min(SAMPLE)).unwrap_or_default();
    match stream
        .windows(sample.len().max(1))
        .position(|window| window == sample)
    {
        Some(count) => format!("{count} bytes are missing"),
        None => "it is not what comes later".to_owned(),
    }
}

/// Reads until the buffer is full.
fn fill(port: &mut File, buffer: &mut [u8]) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let count = read(port, rest)?;
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

fn read(port: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    if !sys::wait_readable(port.as_fd(), SILENCE) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match port.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// The answer to the one request that was put, without its end.
fn read_line(port: &mut File) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; PIECE];
    let mut line = Vec::new();
    loop {
        let count = read(port, &mut buffer)?;
        line.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(line);
        }
    }
}

/// Each line is its own number, again and again.
fn lines(port: &mut File, total: usize) -> io::Result<Object> {
    let count = total.div_ceil(LINE);
    let mut piece: Vec<u8> = Vec::with_capacity(PIECE);
    for number in 0..count {
        piece.extend_from_slice(numbered(number, LINE - 1).as_bytes());
        piece.push(b'\n');
        if piece.len() + LINE > PIECE || number + 1 == count {
            port.write_all(&piece)?;
            piece.clear();
        }
    }
    Ok(Object::new().number("lines", u64::try_from(count).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flood, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Flood::parse(&words)
    }

    #[test]
    fn a_flood_has_a_place_a_size_and_a_kind() {
        let flood = parse("/dev/x 16 ask {\"request\": \"state\"}").unwrap();
        assert_eq!((flood.mib, flood.kind), (16, Kind::Ask));
        assert_eq!(flood.request, "{\"request\": \"state\"}");
        assert!(parse("/dev/x much echo").unwrap_err().contains("much"));
        assert!(parse("/dev/x 1 shout").unwrap_err().contains("shout"));
        parse("/dev/x").unwrap_err();
    }

    #[test]
    fn a_byte_that_came_back_wrong_is_found() {
        let content = Pattern::new(11).bytes(2 * PIECE);
        let mut file = tempfile(&content);
        assert_eq!(compare(&mut file, 2 * PIECE, Pattern::new(11), || ()), Ok(()));
        let mut spoilt = content;
        spoilt[PIECE + 5] ^= 1;
        let error = compare(&mut tempfile(&spoilt), 2 * PIECE, Pattern::new(11), || ()).unwrap_err();
        assert!(error.contains(&format!("byte {}", PIECE + 5)), "{error}");
        let mut short = Pattern::new(11).bytes(2 * PIECE + 16);
        short.drain(100..116);
        let error = compare(&mut tempfile(&short), 2 * PIECE, Pattern::new(11), || ()).unwrap_err();
        assert!(
            error.contains("byte 100 ") && error.ends_with("16 bytes are missing"),
            "{error}"
        );
        let error = compare(&mut tempfile(&[]), PIECE, Pattern::new(11), || ()).unwrap_err();
        assert!(error.contains("after 0 pieces"), "{error}");
    }

    #[test]
    fn lines_are_numbered_and_have_one_length() {
        let mut file = tempfile(&[]);
        lines(&mut file, 1 << 20).unwrap();
        let text = content_of(&mut file);
        let all: Vec<_> = text.lines().collect();
        assert_eq!(all.len(), (1_usize << 20).div_ceil(LINE));
        assert!(all.iter().all(|line| line.len() == LINE - 1));
        assert!(all[1321].starts_with("00000001321 00000001321 "));
    }

    fn content_of(file: &mut File) -> String {
        use std::io::Seek;
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// A file without a name that holds these bytes.
    fn tempfile(bytes: &[u8]) -> File {
        use std::io::Seek;
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("flood-{}-{number}", std::process::id()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }
}
