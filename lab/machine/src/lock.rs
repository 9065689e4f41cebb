//! Files that runs of the lab lock against each other.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::interrupt;
use crate::progress::Progress;
use crate::sys::{self, Lock};

/// Makes a file and takes it for this run alone; `waiting` is shown while another one has it. It is free again when the file is closed.
///
/// # Errors
/// The file cannot be made or locked; [`io::ErrorKind::Interrupted`] if the user ends the wait.
pub fn exclusive(path: &Path, waiting: &str, progress: &Progress) -> io::Result<File> {
    let file = File::create(path)?;
    let mut running = None;
    while !sys::try_lock(&file, Lock::Exclusive)? {
        running.get_or_insert_with(|| progress.start(waiting)).tick();
        std::thread::sleep(Duration::from_millis(200));
        if interrupt::requested() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    if let Some(running) = running {
        running.done("");
    }
    Ok(file)
}
