//! Dates of logs.

use std::fmt;

/// A time as nanoseconds since 1970-01-01 UTC; displayed as `2026-01-31 12:00:00 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Year, month, day, hour, minute, second.
    fn parts(self) -> [u64; 6] {
        let seconds = self.0 / 1_000_000_000;
        let [year, month, day] = pilotage_vehicle::date(seconds / 86_400);
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
