//! Suspend to memory, with the clock's alarm to wake up again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::pci;
use crate::{marker, sys};

const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
const STATISTICS: &str = "/sys/power/suspend_stats";

/// Suspends (S3) for about so many seconds.
///
/// It is done only if the kernel counts one more success, and time went by that the monotonic clock did not see.
pub fn suspend(seconds: u32) -> Result<(), String> {
    if !Path::new(ALARM).exists() {
        return Err(format!("there is no {ALARM}: nothing would wake the machine"));
    }
    pci::write("/sys/power/mem_sleep", "deep")?;
    // An alarm that is still set would be refused (drivers/rtc/sysfs.c, `wakealarm_store`).
    pci::write(ALARM, "0")?;
    pci::write(ALARM, &format!("+{}", seconds.max(1)))?;
    let successes = statistic("success");
    let (started, asleep) = (Instant::now(), sys::time_asleep());
    marker::note(
        "suspend",
        &Object::new()
            .text("mode", "deep")
            .number("seconds", seconds.into()),
    );
    let result = pci::write("/sys/power/state", "mem");
    let slept = sys::time_asleep().saturating_sub(asleep);
    let done = statistic("success").saturating_sub(successes);
    marker::note(
        "resume",
        &Object::new()
            .number("done", done)
            .number("slept_ms", u64::try_from(slept.as_millis()).unwrap_or(u64::MAX))
            .number("ms", marker::milliseconds(started))
            .text("failed_step", &text("last_failed_step"))
            .text("failed_device", &text("last_failed_dev")),
    );
    // An alarm that has not rung must not ring later.
    let _ = fs::write(ALARM, "0\n");
    result?;
    if done == 0 {
        return Err("the kernel counts no suspend that succeeded".to_owned());
    }
    if slept == Duration::ZERO {
        return Err("the machine never slept".to_owned());
    }
    Ok(())
}

fn text(name: &str) -> String {
    let text = fs::read_to_string(format!("{STATISTICS}/{name}")).unwrap_or_default();
    text.trim().to_owned()
}

fn statistic(name: &str) -> u64 {
    text(name).parse().unwrap_or(0)
}
