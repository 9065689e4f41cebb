//! How long it took from a loss until the driver was done, and until the page tables were right again.

use super::evidence::Event;
use crate::console::Line;

/// The driver's words when a reset is over (amdgpu_device.c, `amdgpu_device_gpu_recover`: "GPU reset(%d) succeeded!").
const SUCCEEDED: [&str; 2] = ["GPU reset(", ") succeeded!"];

/// The host's time of the first loss.
pub fn first_loss(events: &[Event]) -> Option<u64> {
    let loss = events.iter().find(|event| event.kind() == "loss-begin")?;
    Some(loss.unix_us)
}

/// Milliseconds from a moment to the driver's word that a reset succeeded. The serial port adds its time to this: about
/// 0.1 ms a letter at 115200 bit/s where QEMU keeps that rate.
pub fn until_recovered(from: u64, log: &[Line]) -> Option<f64> {
    let line = log.iter().find(|line| {
        line.unix_us >= from
            && line.marker().is_none()
            && SUCCEEDED.iter().all(|part| line.text.contains(part))
    })?;
    milliseconds(from, line.unix_us)
}

/// Milliseconds between two moments, if they are in this order.
pub fn milliseconds(from: u64, to: u64) -> Option<f64> {
    Some(to.checked_sub(from)? as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(unix_us: u64, text: &str) -> Line {
        Line {
            unix_us,
            time: None,
            text: text.into(),
        }
    }

    #[test]
    fn the_first_reset_that_succeeds_after_the_loss_counts() {
        let event = |unix_us, kind: &str| Event {
            unix_us,
            fields: json!({ "event": kind }).as_object().cloned().unwrap(),
        };
        let events = [
            event(90, "reset-begin"),
            event(100, "loss-begin"),
            event(900, "loss-begin"),
        ];
        let from = first_loss(&events).unwrap();
        assert_eq!(from, 100);
        let log = [
            line(50, "amdgpu: GPU reset(1) succeeded!"),
            line(200, "amdgpu: GPU reset(2) failed"),
            line(1600, "amdgpu: GPU reset(3) succeeded!"),
            line(9000, "amdgpu: GPU reset(4) succeeded!"),
        ];
        assert_eq!(until_recovered(from, &log), Some(1.5));
        assert_eq!(until_recovered(from, &log[..2]), None);
        assert_eq!(first_loss(&events[..1]), None);
    }
}
