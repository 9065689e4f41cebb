//! `amdgpu.trace`: lines that become events, on the device's clock.

use std::thread;
use std::time::Duration;

use guest_port::{Item, PortHandle, Received};

use super::PATIENCE;
use super::lines::{Line, Lines};
use crate::event::Event;
use crate::function::GpuFunction;
use crate::transport::Mailbox;

/// Longest line that is kept: the device keeps many of them in memory.
const LONGEST_LINE: usize = 512;
/// Lines that are taken down at once: some 10 us of the device's time.
const BATCH: usize = 128;
/// Pause between them, so that a flood takes a hundredth of the device's time. The guest waits meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

/// Takes lines down until the port ends.
pub(super) fn take_down(port: &PortHandle, mailbox: &Mailbox<GpuFunction>) {
    let mut lines = Lines::new(LONGEST_LINE);
    let mut buffer = vec![0; 16 << 10];
    loop {
        match port.receive(&mut buffer, PATIENCE) {
            Received::Item(Item::Bytes(count)) => {
                let mut found = Vec::new();
                lines.feed(buffer.get(..count).unwrap_or_default(), |line| found.push(line));
                while !found.is_empty() {
                    let rest = found.split_off(found.len().min(BATCH));
                    if !record(std::mem::replace(&mut found, rest), mailbox) {
                        return;
                    }
                }
            }
            Received::Item(Item::Opened { .. } | Item::Closed { .. }) => lines.clear(),
            Received::Nothing => {}
            Received::Ended => return,
        }
    }
}

/// Waits until the device has taken them down; gives whether it still is there.
fn record(lines: Vec<Line>, mailbox: &Mailbox<GpuFunction>) -> bool {
    let full = lines.len() >= BATCH;
    let job = move |function: &mut GpuFunction| {
        for Line { text, cut } in lines {
            function.record(Event::GuestTrace { text, cut });
        }
    };
    let done = mailbox.call(job).is_ok();
    if full {
        thread::sleep(PAUSE);
    }
    done
}
