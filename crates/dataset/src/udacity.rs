//! Recordings of Udacity's self-driving car simulator: `driving_log.csv` with the pictures of three
//! cameras, steering (positive to the right), throttle, brake and speed (mph), in this order and
//! usually without titles. Paths are absolute, of the machine that recorded.

use std::path::Path;

use crate::error::{DatasetError, RowProblem};
use crate::path::{Finder, ListedPath};
use crate::record::{Found, Record};
use crate::table::{Fields, InColumn, Table};

const LIST: &str = "driving_log.csv";
const COLUMNS: [&str; 7] = [
    "center", "left", "right", "steering", "throttle", "brake", "speed",
];

pub(crate) fn read(folder: &Path) -> Result<Found, DatasetError> {
    let mut found = Found::default();
    let Some(mut table) = Table::open(folder, LIST)? else {
        return Ok(found);
    };
    let mut finder = Finder::default();
    let mut is_first = true;
    table.read_records(&mut found, |fields| {
        let may_be_titles = std::mem::take(&mut is_first);
        if may_be_titles && fields.get(0) == Ok(COLUMNS[0]) {
            return Ok(None);
        }
        record(folder, fields, &mut finder).map(Some)
    })?;
    Ok(found)
}

fn record(folder: &Path, fields: &Fields, finder: &mut Finder) -> Result<Record, InColumn> {
    let (found, expected) = (fields.len(), COLUMNS.len());
    if found != expected {
        return Err(("", RowProblem::Fields { found, expected }));
    }
    let number = |column: usize, missing| {
        let number = fields.number(column, 1.0 + 1e-3, "-1 to 1");
        let number = number.and_then(|number| number.ok_or(RowProblem::Missing(missing)));
        number.map_err(|problem| (COLUMNS[column], problem))
    };
    let mut picture = |column: usize| {
        let named = |problem| (COLUMNS[column], problem);
        let text = fields.get(column).map_err(named)?;
        let listed = ListedPath::new(text).map_err(|problem| named(problem.into()))?;
        Ok(finder.find(folder, &listed))
    };
    let centre = picture(0)?;
    let sides = match (fields.get(1), fields.get(2)) {
        (Ok("") | Err(_), _) | (_, Ok("") | Err(_)) => None,
        _ => Some(Box::new([picture(1)?, picture(2)?])),
    };
    let name = centre.file_name().and_then(|name| name.to_str());
    Ok(Record {
        time: name.and_then(time),
        picture: centre,
        sides,
        steering: Some((0.0 - number(3, "there is no steering")?).clamp(-1.0, 1.0)),
        throttle: Some(number(4, "there is no throttle")?.clamp(-1.0, 1.0)),
        ..Record::default()
    })
}

/// The time in a name as `center_2026_01_31_12_59_58_123.jpg`, seconds from 1970 as if in UTC.
fn time(name: &str) -> Option<f64> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut parts = stem.rsplit('_').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten().filter(|&part| part < 10_000);
    let (millisecond, second, minute, hour) = (next()?, next()?, next()?, next()?);
    let (day, month, year) = (next()?, next()?, next()?);
    let seconds = (days(year, month, day) * 24 + i64::from(hour)) * 60 + i64::from(minute);
    let seconds = seconds * 60 + i64::from(second);
    Some(seconds as f64 + f64::from(millisecond) / 1e3)
}

/// Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant, `days_from_civil`).
fn days(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let month = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_names() {
        assert_eq!(time("center_1970_01_01_00_00_01_250.jpg"), Some(1.25));
        // `date -u -d 2026-03-01 +%s`
        assert_eq!(
            time("left_2026_03_01_00_00_00_000.jpg"),
            Some(1_772_323_200.0)
        );
        assert_eq!(time("center_1.jpg"), None);
    }
}
