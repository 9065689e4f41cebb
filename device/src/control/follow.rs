//! Events, line by line, for as long as the client stays.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Events;
use crate::event::{Batch, Feed, lagged};
use crate::function::GpuFunction;
use crate::transport::Mailbox;

/// How often to look whether the client is still there while nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after events were sent, so that those of a busy device are not sent one by one.
const PAUSE: Duration = Duration::from_millis(2);

/// Sends events until the client is gone, all that it asked for is sent, or the device is gone.
///
/// A client that takes nothing for as long as the socket's write timeout is dropped; one that is only too slow is told how many it
/// missed.
pub(super) fn follow(stream: &UnixStream, mailbox: &Mailbox<GpuFunction>, events: Events) -> io::Result<()> {
    let gone = |_| io::Error::other("the device is gone");
    let feed: Feed = mailbox.call(|function| function.feed().clone()).map_err(gone)?;
    let mut reader = feed.reader(events.since);
    let mut left = events.limit.unwrap_or(u64::MAX);
    let mut writer = stream;
    while left > 0 {
        let Batch {
            missed,
            records,
            closed,
        } = reader.next(PATIENCE);
        let mut text = String::new();
        if missed > 0 {
            text.push_str(&lagged(missed));
            text.push('\n');
        }
        for record in records {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(1);
            text.push_str(&serde_json::to_string(&record)?);
            text.push('\n');
        }
        writer.write_all(text.as_bytes())?;
        if closed {
            return Err(io::Error::other("the device is gone"));
        }
        if text.is_empty() {
            if is_gone(stream)? {
                return Err(io::Error::other("closed by the client"));
            }
        } else {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether nobody reads any more. A client that only sends nothing more is still there.
fn is_gone(stream: &UnixStream) -> io::Result<bool> {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&at_once))?;
    let [fd] = fds;
    Ok(fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}
