//! How long it took from a loss until the driver was done, and until the page tables were right again.

use protocol::guest::console::Line;
use serde_json::Value;

use super::evidence::{Comparison, Event};

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

/// The first comparison after a moment that found page tables whole again: everything that is in use as it was before the loss, and a
/// user's address space among it. Before a client works again nothing is in use but the GART, which says nothing about anybody's tables.
pub fn first_whole(from: u64, comparisons: &[Comparison]) -> Option<&Comparison> {
    comparisons
        .iter()
        .find(|comparison| comparison.unix_us >= from && is_whole(&comparison.answer))
}

fn is_whole(answer: &Value) -> bool {
    let flag = |value: &Value, name: &str| value.get(name).and_then(Value::as_bool);
    let count = |space: &Value, name: &str| space.get(name).and_then(Value::as_u64);
    let in_use = || {
        let spaces = answer.get("spaces").and_then(Value::as_array);
        let spaces = spaces.into_iter().flatten();
        spaces.filter(|space| flag(space, "in_use") == Some(true))
    };
    let as_before = |space: &Value| {
        flag(space, "truncated") == Some(false)
            && ["missing", "different", "poisoned"].map(|name| count(space, name)) == [Some(0); 3]
    };
    let is_shown = |space: &Value| {
        space.get("kind").and_then(Value::as_str) == Some("user")
            && flag(space, "lost") == Some(true)
            && count(space, "same").is_some_and(|same| same > 0)
    };
    flag(answer, "losing") == Some(false) && in_use().all(as_before) && in_use().any(is_shown)
}

/// Since when, on the host's clock, what a comparison found whole was whole, if the device knows.
pub fn whole_since(comparison: &Comparison) -> Option<u64> {
    comparison.answer.get("recovery")?.get("whole_unix_us")?.as_u64()
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

    #[test]
    fn the_first_comparison_after_the_loss_that_is_whole_counts() {
        let space = |kind: &str, in_use: bool, lost: bool, same: u64, poisoned: u64| {
            json!({ "kind": kind, "in_use": in_use, "lost": lost, "truncated": false,
                    "same": same, "missing": 0, "different": 0, "poisoned": poisoned })
        };
        let comparison = |unix_us, spaces: &[Value]| Comparison {
            unix_us,
            answer: json!({ "losing": false, "spaces": spaces, "recovery": { "whole_unix_us": unix_us - 5 } }),
        };
        let gart = || space("gart", true, true, 9, 0);
        let good = || space("user", true, true, 7, 0);
        let comparisons = [
            comparison(50, &[gart(), good()]),
            // Nobody works yet; somebody does, and is not whole; new ones have nothing to be held against.
            comparison(110, &[gart(), space("user", false, true, 7, 0)]),
            comparison(120, &[gart(), good(), space("user", true, true, 6, 1)]),
            comparison(130, &[gart(), space("user", true, true, 0, 0)]),
            comparison(140, &[gart(), space("user", true, false, 7, 0)]),
            // One that is silent may be as it likes.
            comparison(150, &[gart(), good(), space("user", false, true, 0, 7)]),
            comparison(160, &[gart(), good()]),
        ];
        let first = first_whole(100, &comparisons).unwrap();
        assert_eq!((first.unix_us, whole_since(first)), (150, Some(145)));
        assert_eq!(first_whole(161, &comparisons), None);
        for (name, value) in [
            ("losing", json!(true)),
            ("spaces", json!([])),
            ("spaces", Value::Null),
        ] {
            let mut flawed = comparison(150, &[gart(), good()]);
            flawed.answer[name] = value;
            assert_eq!(first_whole(100, &[flawed]), None, "{name}");
        }
        let mut cut = comparison(150, &[gart(), good()]);
        cut.answer["spaces"][0]["truncated"] = json!(true);
        assert_eq!(first_whole(100, &[cut]), None);
    }
}
