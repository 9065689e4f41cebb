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
const WINDOW: usize = 48 << 10;
/// Nothing at all for so long is a failure.
const SILENCE: Duration = Duration::from_secs(120);
/// Length of a request that is filled up with spaces: the longest that the device takes, its end included.
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
    /// Requests of 64 KiB for the same thing, whose answers have to be the same.
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
        let mut request = self.request.clone().into_bytes();
        request.resize(REQUEST - 1, b' ');
        request.push(b'\n');
        let mut first: Vec<u8> = Vec::new();
        let (mut asked, mut bytes) = (0_u64, 0_u64);
        for _ in 0..total / REQUEST {
            port.write_all(&request).map_err(failed)?;
            let answer = read_line(port).map_err(failed)?;
            asked += 1;
            bytes += u64::try_from(answer.len() + 1).unwrap_or(0);
            if first.is_empty() {
                first = answer;
            } else if answer != first {
                let at = pattern::compare(&first, &answer).map_or(first.len(), |found| found.0);
                return Err(format!(
                    "answer {asked} is another than the first one from byte {at} on"
                ));
            }
        }
        Ok(Object::new()
            .number("requests", asked)
            .number("answer_bytes", bytes)
            .number("answer_sum", sum(&first)))
    }
}

fn path_name(path: &Path) -> String {
    path.display().to_string()
}

/// FNV-1a: the host takes it of what it sent.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
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
        if let Some((at, expected, found, count)) = pattern::compare(&content.bytes(PIECE), &buffer) {
            let at = piece * PIECE + at;
            return Err(format!(
                "byte {at} is {found:#x}, expected {expected:#x}, and {count} of this piece differ"
            ));
        }
        credit();
    }
    Ok(())
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
        let text = format!("{number:011} ");
        let start = piece.len();
        while piece.len() - start < LINE - 1 {
            let room = LINE - 1 - (piece.len() - start);
            piece.extend(text.bytes().take(room));
        }
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
