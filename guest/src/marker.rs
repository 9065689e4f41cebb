//! What the guest tells the host: lines of `@lab` and a JSON object.
//!
//! They go through the kernel's log (`/dev/kmsg`), not through the terminal: there they are whole lines with a time,
//! in order with the driver's own messages, and the driver cannot print into the middle of one.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::Instant;

use crate::json::Object;

/// Level "notice": above what a quiet console leaves out.
const LEVEL: &str = "<5>";
/// A record of the kernel's log takes less than 1024 bytes with its header (kernel/printk/printk.c, `devkmsg_write`).
const LONGEST: usize = 960;

/// Sends one object.
pub fn send(object: &Object) {
    let line = format!("{LEVEL}@lab {}\n", object.finish());
    if line.len() > LONGEST {
        let short = Object::new()
            .text("ev", "note")
            .text("error", "a marker was too long for the kernel's log")
            .text("start", line.get(..200).unwrap_or_default());
        send(&short);
        return;
    }
    if write(&line).is_err() {
        // Without /dev/kmsg the console is better than nothing.
        print!("{}", line.trim_start_matches(LEVEL));
        let _ = io::stdout().flush();
    }
}

/// Sends facts about a subject.
pub fn note(subject: &str, facts: &Object) {
    send(
        &Object::new()
            .text("ev", "note")
            .text("about", subject)
            .append(facts),
    );
}

/// The time since then, for a note.
pub fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn write(line: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")?
        .write_all(line.as_bytes())
}
