//! Dates as they stand in names of folders and in reports, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// `20261122-180501`.
pub fn stamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default();
    let ((year, month, day), (hour, minute, second)) = civil(seconds);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// A moment of the host's clock as ISO 8601, to the second.
pub fn utc(unix_us: u64) -> String {
    let ((year, month, day), (hour, minute, second)) = civil(unix_us / 1_000_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Date and time of day of a second counted from 1970-01-01.
const fn civil(seconds: u64) -> ((u64, u64, u64), (u64, u64, u64)) {
    let rest = seconds % 86_400;
    (
        civil_date(seconds / 86_400),
        (rest / 3600, rest / 60 % 60, rest % 60),
    )
}

/// The Gregorian date of a day counted from 1970-01-01 (years that begin in March make leap days come last).
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn run_folders_are_named_by_date_and_time() {
        let time = UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        assert_eq!(stamp(time), "20240229-123456");
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(20_513), (2026, 3, 1));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_379_777, "2026-11-22T20:36:17Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(unix * 1_000_000), text);
        }
    }
}
