/// Converts days since 1970-01-01 to year, month and day of the Gregorian calendar: Howard Hinnant's
/// `civil_from_days`, which starts years in March and uses eras of 400 years.
pub const fn date(days: u64) -> [u64; 3] {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [era * 400 + year + (month <= 2) as u64, month, day]
}
