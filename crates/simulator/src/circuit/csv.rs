//! A centre line from a CSV of points.

use super::shape::check_steps;
use super::{Circuit, CircuitError, LINE_WIDTH, ROAD_WIDTH, check_coordinates, check_width};

/// Properties of a circuit that a CSV of points does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    /// The circuit's name.
    pub name: String,
    /// Metres, 0.5 to 30. If `None`, that of the file's columns `w_tr_right_m` and `w_tr_left_m`,
    /// and without these 3 m.
    pub road_width: Option<f64>,
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
            road_width: None,
            line_width: LINE_WIDTH,
            spacing: 0.5,
        }
    }
}

pub(super) fn read(text: &str, options: &CsvOptions) -> Result<Circuit, CircuitError> {
    let table = Table::read(text)?;
    let points = spaced(table.points, options.spacing);
    check_coordinates(&points)?;
    check_steps(&points)?;
    let mut circuit = Circuit::from_points(&options.name, &points)?;
    // The road of a circuit has one width: where it is narrowest.
    let road_width = options.road_width.or(table.road_width);
    circuit.road_width = check_width("road_width", road_width.unwrap_or(ROAD_WIDTH), 0.5, 30.0)?;
    circuit.line_width = check_width("line_width", options.line_width, 0.01, 2.0)?;
    Ok(circuit)
}

/// The points of a CSV of x,y in metres.
pub(crate) fn points(text: &str) -> Result<Vec<[f64; 2]>, CircuitError> {
    Ok(Table::read(text)?.points)
}

/// Where a line has its values; counted from 0.
#[derive(Debug, Clone, Copy)]
struct Columns {
    x: usize,
    y: usize,
    /// Distances to the road's right and left edge.
    edges: Option<[usize; 2]>,
}

impl Columns {
    /// Without titles.
    const FIRST: Self = Self {
        x: 0,
        y: 1,
        edges: None,
    };

    /// The columns that a line of titles names. The names are those of the TUM's race track
    /// database and of the F1TENTH tracks made from it: `x_m, y_m, w_tr_right_m, w_tr_left_m`, and
    /// `s_m; x_m; y_m; psi_rad; ...` for a racing line.
    fn titled(line: &str) -> Option<Self> {
        let titles: Vec<String> = fields(line)
            .map(|title| title.trim_matches(['"', '\'', '#', ' ']).to_lowercase())
            .collect();
        let find = |names: &[&str]| titles.iter().position(|it| names.contains(&it.as_str()));
        Some(Self {
            x: find(&["x", "x_m"])?,
            y: find(&["y", "y_m"])?,
            edges: find(&["w_tr_right_m"])
                .zip(find(&["w_tr_left_m"]))
                .map(|(right, left)| [right, left]),
        })
    }
}

/// What a CSV says of a circuit.
struct Table {
    points: Vec<[f64; 2]>,
    /// Twice the least distance from a point to an edge of the road, metres, if there are columns
    /// of it.
    road_width: Option<f64>,
}

impl Table {
    /// Blank lines and `#` comments are skipped. Before the first point, one line may have titles,
    /// and so may a comment whose fields are separated as theirs.
    fn read(text: &str) -> Result<Self, CircuitError> {
        let mut columns = Columns::FIRST;
        let mut table = Self {
            points: Vec::new(),
            road_width: None,
        };
        let mut header_allowed = true;
        let text = text.trim_start_matches('\u{feff}');
        for (index, line) in text.lines().enumerate() {
            // A leading tab is a separator, not an indent.
            let line = line.trim_end();
            let is_comment = line.trim_start().starts_with('#');
            if line.is_empty() || is_comment {
                // A sentence has no separators, or no columns x and y.
                if is_comment && table.points.is_empty() && line.contains(SEPARATORS) {
                    columns = Columns::titled(line).unwrap_or(columns);
                }
                continue;
            }
            let number = |column| field(line, column).parse::<f64>();
            match (number(columns.x), number(columns.y)) {
                (Ok(x), Ok(y)) => table.points.push([x, y]),
                // One line of column titles is allowed before the first point.
                (Err(_), Err(_)) if header_allowed && is_header(line) => {
                    columns = Columns::titled(line).unwrap_or(columns);
                    header_allowed = false;
                    continue;
                }
                _ => return Err(no_point(index, line, columns)),
            }
            header_allowed = false;
            if let Some([right, left]) = columns.edges {
                let (Ok(right), Ok(left)) = (number(right), number(left)) else {
                    return Err(CircuitError::Csv {
                        line: index + 1,
                        problem: "the columns w_tr_right_m and w_tr_left_m have no numbers".into(),
                    });
                };
                let width = 2.0 * right.min(left);
                table.road_width = Some(table.road_width.map_or(width, |least| least.min(width)));
            }
        }
        Ok(table)
    }
}

fn is_header(line: &str) -> bool {
    !field(line, 0).is_empty() && !field(line, 1).is_empty()
}

fn no_point(index: usize, line: &str, columns: Columns) -> CircuitError {
    let shown: String = line.chars().take(40).collect();
    let problem = match columns {
        Columns { x: 0, y: 1, .. } => format!("\"{shown}\" does not begin with two numbers"),
        Columns { x, y, .. } => format!(
            "\"{shown}\" has no numbers in the columns {} and {}, which are titled x and y",
            x + 1,
            y + 1
        ),
    };
    CircuitError::Csv {
        line: index + 1,
        problem,
    }
}

const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// The fields of a line. Consecutive blanks are one separator; another separator with nothing
/// before it leaves an empty field.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let (separated, blanks) = match line.contains(SEPARATORS) {
        true => (Some(line.split(SEPARATORS)), None),
        false => (None, Some(line.split_whitespace())),
    };
    let separated = separated.into_iter().flatten();
    separated.chain(blanks.into_iter().flatten()).map(str::trim)
}

/// The field with this number, counted from 0; empty if there is none.
fn field(line: &str, number: usize) -> &str {
    fields(line).nth(number).unwrap_or("")
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
