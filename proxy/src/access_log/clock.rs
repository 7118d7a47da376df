//! Moments as text.

use std::io::Write;
use std::time::Duration;

/// Writes a moment, as time since 1970, as RFC 3339 has it: in UTC, with microseconds.
pub(super) fn write_moment(into: &mut Vec<u8>, since_1970: Duration) {
    let seconds = since_1970.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since_1970.subsec_micros();
    // Writing to a vector does not fail.
    let _ = write!(into, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
}

/// Year, month and day of a day since 1970. Years begin in March here, so that the leap day is their last
/// (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
const fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64, micros: u32) -> String {
        let mut text = Vec::new();
        write_moment(&mut text, Duration::new(seconds, micros * 1_000));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_moment_reads_as_an_independent_calendar_has_it() {
        // Every day for four centuries and more, at a second that moves with it.
        for day in 0..200_000_i64 {
            let second = day * 86_400 + day * 7_919 % 86_400;
            let moment = jiff::Timestamp::new(second, 123_456_000).unwrap();
            assert_eq!(text(second.unsigned_abs(), 123_456), moment.to_string());
        }
    }

    #[test]
    fn fractions_keep_their_zeros() {
        assert_eq!(text(0, 7), "1970-01-01T00:00:00.000007Z");
    }
}
