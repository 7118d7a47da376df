//! Moments as text.

use std::time::Duration;

/// Writes a moment, as time since 1970, as RFC 3339 has it: in UTC, with microseconds.
pub(super) fn write_moment(into: &mut Vec<u8>, since_1970: Duration) {
    let seconds = since_1970.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = u64::from(since_1970.subsec_micros());
    let parts = [(year, 4, b'-'), (month, 2, b'-'), (day, 2, b'T'), (hour, 2, b':'), (minute, 2, b':')];
    for (number, digits, end) in parts.into_iter().chain([(second, 2, b'.'), (micros, 6, b'Z')]) {
        write_number(into, number, digits);
        into.push(end);
    }
}

/// Writes a number with at least so many digits, at most 20. Several times as fast as the standard library's
/// formatting, which every line would go through a dozen times.
pub(super) fn write_number(into: &mut Vec<u8>, number: u64, least: usize) {
    let mut digits = [b'0'; 20];
    let (mut from, mut left) = (digits.len(), number);
    while left > 0 {
        from -= 1;
        digits[from] += (left % 10) as u8;
        left /= 10;
    }
    into.extend_from_slice(&digits[from.min(digits.len() - least.clamp(1, digits.len()))..]);
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
    fn numbers_are_written_as_the_standard_library_has_them() {
        for number in [0, 1, 9, 10, 99, 12_345, u64::from(u32::MAX), u64::MAX] {
            for least in [0, 1, 4, 6, 20, 99] {
                let mut written = Vec::new();
                write_number(&mut written, number, least);
                let least = least.clamp(1, 20);
                assert_eq!(String::from_utf8(written).unwrap(), format!("{number:0least$}"));
            }
        }
    }

    #[test]
    fn fractions_keep_their_zeros() {
        assert_eq!(text(0, 7), "1970-01-01T00:00:00.000007Z");
    }
}
