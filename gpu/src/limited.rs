//! Log lines that a guest can provoke: so many per site and period, and then how many were left out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines that one site may log in a [`PERIOD`].
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(5);

/// One place that logs.
#[derive(Debug)]
pub struct Site(Mutex<State>);

#[derive(Debug)]
struct State {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A site that has logged nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            since: None,
            lines: 0,
            left_out: 0,
        }))
    }

    /// Whether a line may be logged at `now`; if so, how many were left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        // A thread that panicked here left plain counters behind: they are as good as before.
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= PERIOD)
        {
            state.since = Some(now);
            state.lines = 0;
        }
        if state.lines == LINES {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

/// Logs a line that a guest can provoke: `limited!(Warn, target: "amdgpu::x", "...")`.
#[macro_export]
macro_rules! limited {
    ($level:ident, target: $target:literal, $($message:tt)+) => {{
        static SITE: $crate::limited::Site = $crate::limited::Site::new();
        if log::log_enabled!(target: $target, log::Level::$level)
            && let Some(left_out) = SITE.admit(std::time::Instant::now())
        {
            log::log!(target: $target, log::Level::$level, $($message)+);
            if left_out > 0 {
                log::log!(target: $target, log::Level::$level, "{left_out} lines like this were left out before it");
            }
        }
    }};
}
pub use limited;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted_in_the_next_period() {
        let site = Site::new();
        let start = Instant::now();
        let admitted = (0..1000).filter(|_| site.admit(start).is_some()).count();
        assert_eq!(admitted, 10);
        assert_eq!(site.admit(start + PERIOD), Some(990));
        assert_eq!(site.admit(start + PERIOD), Some(0));
    }
}
