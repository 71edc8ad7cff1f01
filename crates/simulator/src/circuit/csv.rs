//! A centre line from a CSV of points.

use super::{Circuit, CircuitError, LINE_WIDTH, ROAD_WIDTH, check_width};

/// Properties of a circuit that a CSV of points does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    /// The circuit's name.
    pub name: String,
    /// Metres, 0.5 to 30.
    pub road_width: f64,
    /// Width of the painted line, metres, 0.01 to 2.
    pub line_width: f64,
    /// Points nearer than this to the point before are skipped, metres. Dense recordings contain
    /// measurement noise, which a spline through all points would follow.
    pub spacing: f64,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            name: "csv".to_owned(),
            road_width: ROAD_WIDTH,
            line_width: LINE_WIDTH,
            spacing: 0.5,
        }
    }
}

pub(super) fn read(text: &str, options: &CsvOptions) -> Result<Circuit, CircuitError> {
    let mut circuit = Circuit::from_points(&options.name, &spaced(points(text)?, options.spacing))?;
    circuit.road_width = check_width("road_width", options.road_width, 0.5, 30.0)?;
    circuit.line_width = check_width("line_width", options.line_width, 0.01, 2.0)?;
    Ok(circuit)
}

/// The points of a CSV of x,y in metres; a header, blank lines and `#` comments are skipped.
pub(crate) fn points(text: &str) -> Result<Vec<[f64; 2]>, CircuitError> {
    let mut points = Vec::new();
    let mut header_allowed = true;
    let text = text.trim_start_matches('\u{feff}');
    for (index, line) in text.lines().enumerate() {
        // A leading tab is a separator, not an indent.
        let line = line.trim_end();
        if line.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (x, y) = first_two(line);
        match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => points.push([x, y]),
            // One line of column titles is allowed before the first point.
            (Err(_), Err(_)) if header_allowed && !x.is_empty() && !y.is_empty() => {}
            _ => {
                let shown: String = line.chars().take(40).collect();
                return Err(CircuitError::Csv {
                    line: index + 1,
                    problem: format!("\"{shown}\" does not begin with two numbers"),
                });
            }
        }
        header_allowed = false;
    }
    Ok(points)
}

/// The first two fields. Consecutive blanks are one separator; another separator with nothing
/// before it leaves an empty field.
fn first_two(line: &str) -> (&str, &str) {
    const SEPARATORS: [char; 3] = [',', ';', '\t'];
    fn two<'a>(mut fields: impl Iterator<Item = &'a str>) -> (&'a str, &'a str) {
        let mut field = || fields.next().unwrap_or("").trim();
        (field(), field())
    }
    match line.contains(SEPARATORS) {
        true => two(line.split(SEPARATORS)),
        false => two(line.split_whitespace()),
    }
}

fn spaced(points: Vec<[f64; 2]>, spacing: f64) -> Vec<[f64; 2]> {
    let near = |a: [f64; 2], b: [f64; 2]| {
        let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
        libm::sqrt(dx * dx + dy * dy) < spacing
    };
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for point in points {
        if kept.last().is_none_or(|&last| !near(last, point)) {
            kept.push(point);
        }
    }
    while kept.len() > 4 && near(kept[0], kept[kept.len() - 1]) {
        kept.pop();
    }
    kept
}
