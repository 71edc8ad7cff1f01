//! Folders with `data.csv`, as JdeRobot's DeepLearningStudio and `pilotage record` write them:
//! `image_name,v,w,timestamp[,steering,throttle][,measured_speed,...][,command][,scan]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotage_vehicle::{Measurement, Scan, is_command_name};

use crate::error::{DatasetError, RowProblem};
use crate::notes::Note;
use crate::path::{Finder, ListedPath};
use crate::record::{COMMAND, Found, Record, SCAN};
use crate::scans::{self, SCANS};
use crate::table::{Fields, InColumn, Table, Titles};

pub(crate) const LIST: &str = "data.csv";
/// No car is faster, in m/s, or turns faster, in rad/s.
const MOST_SPEED: f64 = 1e3;
/// Rounding may lead a little beyond 1.
const MOST_COMMAND: f64 = 1.0 + 1e-3;

struct Columns {
    titles: Titles,
    image_name: usize,
    v: Option<usize>,
    w: Option<usize>,
    timestamp: Option<usize>,
    steering: Option<usize>,
    throttle: Option<usize>,
    measured: Vec<(usize, Measurement)>,
    command: Option<usize>,
    scan: Option<usize>,
    extra: Vec<(usize, Arc<str>)>,
}

pub(crate) fn read(folder: &Path) -> Result<Found, DatasetError> {
    let path = folder.join(LIST);
    let Some(mut table) = Table::open(folder, LIST)? else {
        return Err(DatasetError::NoColumn {
            path,
            line: 1,
            column: "image_name",
            found: String::new(),
        });
    };
    let columns = columns(table.titles()?)?;
    let mut found = Found::default();
    let mut reader = Reader {
        folder,
        finder: Finder::default(),
        commands: Vec::new(),
        scans: match columns.scan {
            Some(_) if folder.join(SCANS).exists() => scans::read(folder)?,
            _ => Vec::new(),
        },
        no_times: 0,
    };
    table.read_records(&mut found, |fields| {
        reader.record(fields, &columns).map(Some)
    })?;
    reader.notes(path, &mut found);
    Ok(found)
}

fn columns(titles: Titles) -> Result<Columns, DatasetError> {
    let extra = titles.titles.iter().enumerate();
    let extra = extra.filter(|(_, title)| title.starts_with("pilot/"));
    Ok(Columns {
        image_name: titles.needed("image_name")?,
        v: titles.find("v"),
        w: titles.find("w"),
        timestamp: titles.find("timestamp"),
        steering: titles.find("steering"),
        throttle: titles.find("throttle"),
        measured: (Measurement::ALL.into_iter())
            .filter_map(|it| Some((titles.find(it.column())?, it)))
            .collect(),
        command: titles.find(COMMAND),
        scan: titles.find(SCAN),
        extra: extra.map(|(i, title)| (i, title.as_str().into())).collect(),
        titles,
    })
}

struct Reader<'a> {
    folder: &'a Path,
    finder: Finder,
    /// The names of high-level commands so far: there are few.
    commands: Vec<Arc<str>>,
    /// Those of the file beside the list.
    scans: Vec<Arc<Scan>>,
    no_times: usize,
}

impl Reader<'_> {
    fn record(&mut self, fields: &Fields, columns: &Columns) -> Result<Record, InColumn> {
        columns
            .titles
            .check(fields)
            .map_err(|problem| ("", problem))?;
        let number = |column: Option<usize>, title, most, range| match column {
            None => Ok(None),
            Some(column) => {
                let number = fields.number(column, most, range);
                number.map_err(|problem| (title, problem))
            }
        };
        let command = |column, title| {
            let number = number(column, title, MOST_COMMAND, "-1 to 1")?;
            Ok(number.map(|number| number.clamp(-1.0, 1.0)))
        };
        let mut record = Record {
            steering: command(columns.steering, "steering")?,
            throttle: command(columns.throttle, "throttle")?,
            speed: number(columns.v, "v", MOST_SPEED, "-1000 to 1000 m/s")?,
            yaw_rate: number(columns.w, "w", MOST_SPEED, "-1000 to 1000 rad/s")?,
            ..Record::default()
        };
        if let Some(column) = columns.timestamp {
            let text = fields.get(column);
            let text = text.map_err(|problem| ("timestamp", problem))?;
            record.time = fields.parse(text);
            self.no_times += usize::from(!text.is_empty() && record.time.is_none());
        }
        for &(column, measurement) in &columns.measured {
            let title = measurement.column();
            let number = number(Some(column), title, MOST_SPEED, "-1000 to 1000")?;
            record.measured.set(measurement, number.map(|it| it as f32));
        }
        if let Some(column) = columns.command {
            let command = self.command(fields, column);
            record.command = command.map_err(|problem| (COMMAND, problem))?;
        }
        if let Some(column) = columns.scan {
            let scan = self.scan(fields, column);
            record.scan = scan.map_err(|problem| (SCAN, problem))?;
        }
        for (column, name) in &columns.extra {
            // Another program's columns: what is no number is passed over.
            let text = fields.get(*column).unwrap_or("");
            if let Some(value) = fields.parse(text) {
                record.extra.push((Arc::clone(name), value));
            }
        }
        let name = |problem| ("image_name", problem);
        let text = fields.get(columns.image_name).map_err(name)?;
        let listed = ListedPath::new(text).and_then(ListedPath::relative);
        let listed = listed.map_err(|problem| name(problem.into()))?;
        record.picture = self.finder.find(self.folder, &listed);
        Ok(record)
    }

    /// The name of a high-level command; an empty field is none.
    fn command(&mut self, fields: &Fields, column: usize) -> Result<Option<Arc<str>>, RowProblem> {
        let name = fields.get(column)?;
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.commands.iter().find(|known| ***known == *name) {
            return Ok(Some(Arc::clone(known)));
        }
        if !is_command_name(name) {
            return Err(RowProblem::CommandName(name.chars().take(40).collect()));
        }
        let name: Arc<str> = name.into();
        self.commands.push(Arc::clone(&name));
        Ok(Some(name))
    }

    /// The scan at the place that a field names; an empty field is none.
    fn scan(&self, fields: &Fields, column: usize) -> Result<Option<Arc<Scan>>, RowProblem> {
        let place = fields.get(column)?;
        if place.is_empty() {
            return Ok(None);
        }
        let found = place.parse::<usize>().ok();
        let found = found.and_then(|place| self.scans.get(place));
        match found {
            Some(scan) => Ok(Some(Arc::clone(scan))),
            None => Err(RowProblem::NoScan {
                place: place.chars().take(40).collect(),
                count: self.scans.len(),
            }),
        }
    }

    fn notes(&self, path: PathBuf, found: &mut Found) {
        if self.no_times > 0 {
            found.notes.push(Note::NoTimes {
                path: path.clone(),
                count: self.no_times,
            });
        }
        if self.finder.elsewhere > 0 {
            let count = self.finder.elsewhere;
            found.notes.push(Note::Elsewhere { path, count });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pilotage_vehicle::Rays;

    use super::*;
    use crate::scans::ScanWriter;

    /// The outcome of a list of rows, beside a file of two scans.
    fn read_rows(rows: &[&str]) -> Result<Found, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let rays = Rays::new(2, 0.0, 1.0).unwrap();
        let mut scans = ScanWriter::open(folder.path(), rays).unwrap();
        for distance in [1, 2] {
            let millimetres = vec![distance; 2];
            scans.write(&Scan { rays, millimetres }).unwrap();
        }
        let text = format!("image_name,scan\n{}", rows.concat());
        fs::write(folder.path().join(LIST), text).unwrap();
        read(folder.path())
    }

    #[test]
    fn last_rows_without_their_scan_are_passed_over_with_a_note() {
        let good = ["a.png,0\n", "b.png,1\n", "c.png,\n"];
        for (last, count) in [
            (&["d.png,2\n"][..], 1),
            (&["d.png,2\n", "e.png,2\n", "f.pn"], 2),
        ] {
            let found = read_rows(&[&good[..], last].concat()).unwrap();
            assert_eq!(found.records.len(), 3);
            let notes: Vec<String> = found.notes.iter().map(Note::to_string).collect();
            let note = format!("the scans of the last {count} rows, from line 5 on");
            assert!(notes.iter().any(|it| it.contains(&note)), "{notes:?}");
            assert_eq!(notes.len(), last.len() - count + 1);
        }
        let many = vec!["d.png,2\n"; 1001];
        assert!(read_rows(&[&good[..], &many].concat()).is_err());
    }

    #[test]
    fn a_row_in_the_middle_without_its_scan_is_an_error() {
        for rows in [
            &["a.png,2\n", "b.png,1\n"][..],
            &["a.png,2\n", "b.png,\n"],
            &["a.png,x\n"],
            &["a.png,-1\n"],
        ] {
            let message = read_rows(rows).map(|_| ()).unwrap_err().to_string();
            let advice = "scans.bin has 2; restore scans.bin, or delete this row";
            assert!(
                message.contains("line 2") && message.ends_with(advice),
                "{message}"
            );
        }
    }
}
