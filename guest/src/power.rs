//! Suspend to memory, with the clock's alarm to wake up again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::json::Object;
use crate::pci;
use crate::{marker, sys};

const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
const STATISTICS: &str = "/sys/power/suspend_stats";

/// The south bridge's registers that say where the power-management block is and that it is on: PMBASE and ACPI_CNTL (QEMU's q35).
///
/// The firmware has to set them again when the machine wakes up. SeaBIOS does not, and without them the machine can neither
/// sleep once more nor switch off.
struct PowerBlock {
    config: File,
    saved: [u8; 8],
}

impl PowerBlock {
    const AT: u64 = 0x40;
    /// Vendor and device number of the bridge.
    const BRIDGE: [u8; 4] = [0x86, 0x80, 0x18, 0x29];

    /// None on a machine with another south bridge.
    fn save() -> Option<Self> {
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/sys/bus/pci/devices/0000:00:1f.0/config")
            .ok()?;
        let (mut bridge, mut saved) = ([0; 4], [0; 8]);
        config.read_exact_at(&mut bridge, 0).ok()?;
        config.read_exact_at(&mut saved, Self::AT).ok()?;
        (bridge == Self::BRIDGE).then_some(Self { config, saved })
    }

    /// Sets them again; tells whether they had been lost.
    fn restore(&self) -> Result<bool, String> {
        let explain = |error| format!("the power-management block: {}", sys::explain(&error));
        let mut now = [0; 8];
        self.config.read_exact_at(&mut now, Self::AT).map_err(explain)?;
        if now == self.saved {
            return Ok(false);
        }
        for (offset, bytes) in (Self::AT..).step_by(4).zip(self.saved.chunks(4)) {
            self.config.write_all_at(bytes, offset).map_err(explain)?;
        }
        Ok(true)
    }
}

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
    let block = PowerBlock::save();
    let successes = statistic("success");
    let (started, asleep) = (Instant::now(), sys::time_asleep());
    marker::note(
        "suspend",
        &Object::new()
            .text("mode", "deep")
            .number("seconds", seconds.into()),
    );
    let result = sleep();
    let restored = block.map_or(Ok(false), |block| block.restore());
    let slept = sys::time_asleep().saturating_sub(asleep);
    let done = statistic("success").saturating_sub(successes);
    marker::note(
        "resume",
        &Object::new()
            .number("done", done)
            .flag("power_block_restored", restored == Ok(true))
            .number("slept_ms", u64::try_from(slept.as_millis()).unwrap_or(u64::MAX))
            .number("ms", marker::milliseconds(started))
            .text("failed_step", &text("last_failed_step"))
            .text("failed_device", &text("last_failed_dev")),
    );
    // An alarm that has not rung must not ring later.
    let _ = fs::write(ALARM, "0\n");
    result?;
    restored?;
    if done == 0 {
        return Err("the kernel counts no suspend that succeeded".to_owned());
    }
    if slept == Duration::ZERO {
        return Err("the machine never slept".to_owned());
    }
    Ok(())
}

/// Goes to sleep, unless the alarm rings before the machine is down: then the kernel gives up with EBUSY instead of sleeping for
/// ever. Writing the count of wake-up events back is what asks for that (kernel/power/main.c, `wakeup_count_store`).
fn sleep() -> Result<(), String> {
    const COUNT: &str = "/sys/power/wakeup_count";
    let count = fs::read_to_string(COUNT).map_err(|error| format!("{COUNT}: {}", sys::explain(&error)))?;
    pci::write(COUNT, count.trim())?;
    pci::write("/sys/power/state", "mem")
}

fn text(name: &str) -> String {
    let text = fs::read_to_string(format!("{STATISTICS}/{name}")).unwrap_or_default();
    text.trim().to_owned()
}

fn statistic(name: &str) -> u64 {
    text(name).parse().unwrap_or(0)
}
