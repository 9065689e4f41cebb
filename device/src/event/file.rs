//! The event log: records as lines of a file, written by a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::json;
use thiserror::Error;

use super::{Batch, Feed, Reader};

/// How long the thread looks for records before it looks again; it wakes for each.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Pause after records were written out, so that the records of a busy device are not written one by one.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the end of the daemon may be held up by a disk that does not take the last records.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// A file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot write the event log {}", path.display())]
pub struct EventLogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The thread that writes the file.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    done: Receiver<io::Result<()>>,
}

impl EventLog {
    /// Writes what comes through `feed` into a new file at `path`, in place of an old one, until the feed is closed or the file has
    /// `limit` bytes.
    ///
    /// # Errors
    /// [`EventLogError`] if there can be no such file.
    pub fn start(path: &Path, limit: u64, feed: &Feed) -> Result<Self, EventLogError> {
        let failed = |source| EventLogError {
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(failed)?;
        let reader = feed.reader(Some(0));
        let (tell, done) = mpsc::channel();
        let own_path = path.to_owned();
        let write = move || {
            let outcome = write_all(reader, BufWriter::new(file), limit);
            if let Err(error) = &outcome {
                log::error!(target: "amdgpu::events", "the event log {} ends here: {error}", own_path.display());
            }
            // Nobody waits any more if the daemon has given up.
            let _ = tell.send(outcome);
        };
        thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(write)
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            done,
        })
    }

    /// Waits until everything is in the file. Call it after the feed has been closed.
    ///
    /// # Errors
    /// [`EventLogError`] if not everything could be written.
    pub fn finish(self) -> Result<(), EventLogError> {
        let outcome = self.done.recv_timeout(LAST_PATIENCE);
        let stuck = || io::Error::new(io::ErrorKind::TimedOut, "the last records are not written yet");
        outcome
            .unwrap_or_else(|_| Err(stuck()))
            .map_err(|source| EventLogError {
                path: self.path,
                source,
            })
    }
}

/// A file that does not grow beyond a bound.
struct Bounded<W> {
    out: W,
    written: u64,
    limit: u64,
    full: bool,
}

impl<W: Write> Bounded<W> {
    /// Writes a line, or in its place that there will be no more.
    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.full {
            return Ok(());
        }
        let last = json!({ "event": "log-full", "limit": self.limit }).to_string();
        let length = |line: &str| line.len() as u64 + 1;
        // There has to be room for the last line behind this one.
        let after = self.written.saturating_add(length(line));
        self.full = after.saturating_add(length(&last)) > self.limit;
        let line = if self.full { &last } else { line };
        self.written = self.written.saturating_add(length(line));
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }
}

/// The line that stands for records that a reader missed.
pub(crate) fn lagged(missed: u64) -> String {
    json!({ "event": "lagged", "missed": missed }).to_string()
}

fn write_all(mut reader: Reader, out: impl Write, limit: u64) -> io::Result<()> {
    let mut file = Bounded {
        out,
        written: 0,
        limit,
        full: false,
    };
    loop {
        let Batch {
            missed,
            records,
            closed,
        } = reader.next(PATIENCE);
        if missed > 0 {
            file.line(&lagged(missed))?;
        }
        for record in records {
            file.line(&serde_json::to_string(&record)?)?;
        }
        file.out.flush()?;
        if closed || file.full {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, Journal};

    fn filled(count: usize) -> Feed {
        let (feed, mut journal) = (Feed::default(), Journal::default());
        for number in 0..count {
            journal.record(Event::FrontEnd {
                connected: number % 2 == 0,
            });
        }
        feed.close(&journal);
        feed
    }

    fn written(feed: &Feed, limit: u64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "of an earlier run").unwrap();
        EventLog::start(&path, limit, feed).unwrap().finish().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn everything_is_in_the_file_when_it_is_finished() {
        let text = written(&filled(3000), u64::MAX);
        let numbers: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64())
            .collect();
        assert_eq!(numbers, (0..3000).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn records_are_in_the_file_while_the_daemon_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (feed, mut journal) = (Feed::default(), Journal::default());
        let _log = EventLog::start(&path, u64::MAX, &feed).unwrap();
        journal.record(Event::FrontEnd { connected: true });
        while !feed.publish(&journal) {}
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(&path).unwrap().ends_with("}\n") {
            assert!(std::time::Instant::now() < patience, "nothing came");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_refused_with_its_path() {
        let error = EventLog::start(Path::new("/no/such/events.jsonl"), 1, &Feed::default()).unwrap_err();
        assert!(error.to_string().contains("/no/such/events.jsonl"), "{error}");
    }

    #[test]
    fn a_disk_that_is_full_is_told_at_the_end() {
        let log = EventLog::start(Path::new("/dev/full"), u64::MAX, &filled(3000)).unwrap();
        log.finish().unwrap_err();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever the bound: the file keeps it, has whole lines only, and says so if something is left out.
        #[test]
        fn the_file_is_bounded_and_its_last_line_says_so(count in 0usize..40, limit in 50u64..4000) {
            let text = written(&filled(count), limit);
            prop_assert!(text.len() as u64 <= limit);
            let full = format!("{{\"event\":\"log-full\",\"limit\":{limit}}}\n");
            let complete = text.lines().count() == count && !text.contains("log-full");
            prop_assert!(complete || text.ends_with(&full), "{}", text);
            prop_assert!(text.is_empty() || text.ends_with('\n'));
        }
    }
}
