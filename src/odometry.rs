//! The simulated car's path as a file: CSV or JSON, 20 rows per second of simulated time.
//!
//! | column | unit |
//! |---|---|
//! | `time` | simulated seconds since the start |
//! | `x`, `y` | metres |
//! | `heading` | radians from the x axis towards the y axis |
//! | `speed` | m/s |
//! | `steering`, `throttle` | the command in force, -1 to 1, left positive |
//! | `deviation` | metres from the centre line, left positive |

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use pilotage_simulator::PathPoint;
use serde::Serialize;

/// The first line of a CSV.
const HEADER: &str = "time,x,y,heading,speed,steering,throttle,deviation";
/// The number of columns.
const COLUMNS: usize = 8;

/// Why a path cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum OdometryError {
    /// The name says neither CSV nor JSON.
    #[error("{}: a path is CSV or JSON; end its name with .csv or .json", .0.display())]
    Format(PathBuf),
    /// The file cannot be written.
    #[error("{}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// A line is not one of a path.
    #[error("line {line} is not `{HEADER}`")]
    Line {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

impl Format {
    fn of(file: &Path) -> Result<Self, OdometryError> {
        let extension = file.extension().and_then(|it| it.to_str()).unwrap_or("");
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            _ => Err(OdometryError::Format(file.to_owned())),
        }
    }
}

/// Parses the name of a file to write: an option of the command line.
///
/// # Errors
/// [`OdometryError::Format`] if it ends in neither .csv nor .json.
pub fn path(text: &str) -> Result<PathBuf, OdometryError> {
    let path = PathBuf::from(text);
    Format::of(&path).map(|_| path)
}

/// Writes `path` to `file`, as CSV or JSON by the file's name.
///
/// # Errors
/// Fails if the name is of another format, or the file cannot be written.
pub fn write(file: &Path, path: &[PathPoint]) -> Result<(), OdometryError> {
    let text = match Format::of(file)? {
        Format::Csv => csv(path),
        Format::Json => json(path),
    };
    std::fs::write(file, text).map_err(|reason| OdometryError::Write {
        path: file.to_owned(),
        reason,
    })
}

/// The path as CSV. Numbers are the shortest that are read back as the same.
pub(crate) fn csv(path: &[PathPoint]) -> String {
    let mut text = format!("{HEADER}\n");
    for point in path {
        let PathPoint {
            time,
            x,
            y,
            heading,
            speed,
            offset,
            steering,
            throttle,
        } = point;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{time},{x},{y},{heading},{speed},{steering},{throttle},{offset}"
        );
    }
    text
}

/// A row of the JSON.
#[derive(Serialize)]
struct Row {
    time: f64,
    x: f64,
    y: f64,
    heading: f64,
    speed: f64,
    steering: f32,
    throttle: f32,
    deviation: f64,
}

fn json(path: &[PathPoint]) -> String {
    let rows = path.iter().map(|point| Row {
        time: point.time,
        x: point.x,
        y: point.y,
        heading: point.heading,
        speed: point.speed,
        steering: point.steering,
        throttle: point.throttle,
        deviation: point.offset,
    });
    let rows: Vec<String> = rows
        .filter_map(|row| serde_json::to_string(&row).ok())
        .collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

/// Reads a path that [`csv`] wrote.
///
/// # Errors
/// Names the first line that is none of a path.
pub(crate) fn from_csv(text: &str) -> Result<Vec<PathPoint>, OdometryError> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(HEADER) {
        return Err(OdometryError::Line { line: 1 });
    }
    lines
        .map(|(index, line)| point(line).ok_or(OdometryError::Line { line: index + 1 }))
        .collect()
}

fn point(line: &str) -> Option<PathPoint> {
    let mut values = [0.0_f64; COLUMNS];
    let mut fields = line.split(',');
    for value in &mut values {
        *value = fields.next()?.parse().ok()?;
    }
    let [time, x, y, heading, speed, steering, throttle, offset] = values;
    fields.next().is_none().then_some(PathPoint {
        time,
        x,
        y,
        heading,
        speed,
        offset,
        steering: steering as f32,
        throttle: throttle as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_it_was_written() {
        let path: Vec<PathPoint> = (0..50)
            .map(|i| f64::from(i) / 7.0)
            .map(|at| PathPoint {
                time: at,
                x: -3.0 * at,
                y: at * at,
                heading: 0.1 - at,
                speed: 1e-9 * at,
                offset: -at / 3.0,
                steering: (at / 11.0) as f32,
                throttle: -0.1,
            })
            .collect();
        assert_eq!(from_csv(&csv(&path)).unwrap(), path);
        let rows: serde_json::Value = serde_json::from_str(&json(&path)).unwrap();
        assert_eq!(rows[7]["deviation"], path[7].offset);
        assert_eq!(rows.as_array().unwrap().len(), path.len());
        for (text, line) in [("", 1), ("time,x\n1,2\n", 1)] {
            assert!(
                matches!(from_csv(text), Err(OdometryError::Line { line: at }) if at == line),
                "{text}"
            );
        }
        let cut = format!("{HEADER}\n1,2,3,4,5,6,7,8\n1,2,3");
        assert!(matches!(
            from_csv(&cut),
            Err(OdometryError::Line { line: 3 })
        ));
    }
}
