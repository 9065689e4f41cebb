//! What goes on while other steps are done: a recovery, or evictions without end.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::flood::Flood;
use crate::json::Object;
use crate::marker;
use crate::pci::Gpu;
use crate::port;
use crate::recovery;
use crate::sys::{self, Child};

/// Longer than any recovery with its time limits.
const LIMIT: Duration = Duration::from_secs(170);
/// How long an eviction may still take after it was told to stop. One eviction goes on as long as anybody brings buffers back
/// (ttm_resource.c, `ttm_resource_manager_evict_all`): with clients at work that is for ever.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long a flood may take: the host decides, by the limit of its step.
const FLOOD_LIMIT: Duration = Duration::from_secs(7200);

/// What init is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Ask the driver for a recovery.
    StartRecovery,
    /// Wait for it.
    AwaitRecovery,
    /// Take the driver from the GPU.
    StartUnbind,
    /// Wait for it.
    AwaitUnbind,
    /// Evict until told to stop.
    StartEvictions,
    /// Stop.
    StopEvictions,
    /// Write what these tracepoints tell into the trace port until told to stop.
    StartTrace(Vec<String>),
    /// Stop.
    StopTrace,
    /// Push bytes through a port.
    StartFlood(Flood),
    /// Wait until all are through.
    AwaitFlood,
}

/// The processes that do it.
#[derive(Debug, Default)]
pub struct Background {
    recovery: Option<Work>,
    unbind: Option<Work>,
    evictions: Option<Work>,
    trace: Option<Work>,
    flood: Option<Work>,
}

#[derive(Debug)]
struct Work {
    child: Child,
    /// A byte ends it. Not the end of the pipe: other processes have inherited it.
    stop: PipeWriter,
    /// Its last words: nothing if all went well.
    result: PipeReader,
}

impl Background {
    /// Does what the command says.
    pub fn perform(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::StartRecovery => start(&mut self.recovery, |_| recovery::recover()),
            Command::StartUnbind => start(&mut self.unbind, |_| Gpu::find()?.unbind()),
            Command::AwaitUnbind => finish(self.unbind.take(), LIMIT),
            Command::StartEvictions => start(&mut self.evictions, recovery::evict_until),
            Command::StartTrace(events) => {
                start(&mut self.trace, |stopped| port::trace_until(&events, stopped))
            }
            Command::StopTrace => {
                let work = stop(&mut self.trace, "the trace")?;
                finish(Some(work), LIMIT)
            }
            Command::StartFlood(flood) => start(&mut self.flood, |_| flood.run()),
            Command::AwaitFlood => finish(self.flood.take(), FLOOD_LIMIT),
            Command::AwaitRecovery => finish(self.recovery.take(), LIMIT),
            Command::StopEvictions => {
                let work = stop(&mut self.evictions, "the evictions")?;
                if sys::wait_readable(work.result.as_fd(), STOP_LIMIT) {
                    return finish(Some(work), LIMIT);
                }
                // It ends once nobody brings buffers back.
                work.child.kill();
                marker::note("evict-loop", &Object::new().flag("ended", false));
                Ok(())
            }
        }
    }
}

fn start(
    place: &mut Option<Work>,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<(), String>,
) -> Result<(), String> {
    if place.is_some() {
        return Err("it goes on already".to_owned());
    }
    let pipe = || io::pipe().map_err(|error| format!("pipe: {error}"));
    let ((told, stop), (result, mut last_words)) = (pipe()?, pipe()?);
    let child = sys::fork(move || {
        let result = work(&|| sys::wait_readable(told.as_fd(), Duration::ZERO));
        if let Err(error) = &result {
            let _ = last_words.write_all(error.as_bytes());
        }
        i32::from(result.is_err())
    })
    .map_err(|error| format!("fork: {error}"))?;
    *place = Some(Work { child, stop, result });
    Ok(())
}

/// Tells work to end.
fn stop(place: &mut Option<Work>, what: &str) -> Result<Work, String> {
    let mut work = place.take().ok_or("it was not started")?;
    work.stop
        .write_all(b"x")
        .map_err(|error| format!("stopping {what}: {error}"))?;
    Ok(work)
}

fn finish(work: Option<Work>, limit: Duration) -> Result<(), String> {
    let Some(mut work) = work else {
        return Err("it was not started".to_owned());
    };
    if !sys::wait_readable(work.result.as_fd(), limit) {
        let stack = work.child.stack();
        work.child.kill();
        return Err(format!(
            "it did not end within {} s; it waits in:\n{stack}",
            limit.as_secs()
        ));
    }
    let mut words = String::new();
    work.result
        .read_to_string(&mut words)
        .map_err(|error| format!("reading its result: {error}"))?;
    let exit = work.child.wait().map_err(|error| format!("waitpid: {error}"))?;
    match exit {
        sys::Exit::Status(0) => Ok(()),
        sys::Exit::Status(_) => Err(words),
        sys::Exit::Signal(signal) => Err(format!("it was ended by signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_started_cannot_be_awaited() {
        let error = Background::default().perform(Command::AwaitRecovery).unwrap_err();
        assert!(error.contains("not started"));
    }
}
