//! Dates of logs.

use std::fmt;

/// A time as nanoseconds since 1970-01-01 UTC; displayed as `2026-01-31 12:00:00 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Year, month, day, hour, minute, second.
    fn parts(self) -> [u64; 6] {
        let seconds = self.0 / 1_000_000_000;
        let [year, month, day] = date(seconds / 86_400);
        let of_day = seconds % 86_400;
        [
            year,
            month,
            day,
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
        ]
    }

    /// The time in a file's name: `20260131-120000`.
    pub(crate) fn compact(self) -> String {
        let [year, month, day, hour, minute, second] = self.parts();
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.parts();
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Converts days since 1970-01-01 to year, month and day: Howard Hinnant's `civil_from_days`, which
/// starts years in March and uses eras of 400 years.
fn date(days: u64) -> [u64; 3] {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [era * 400 + year + u64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        // `date -u -d @SECONDS`
        for (seconds, date, name) in [
            (0, "1970-01-01 00:00:00 UTC", "19700101-000000"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC", "20240229-235959"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC", "20260101-000000"),
        ] {
            let time = Timestamp(seconds * 1_000_000_000 + 5);
            assert_eq!(
                (time.to_string(), time.compact()),
                (date.into(), name.into())
            );
        }
    }
}
