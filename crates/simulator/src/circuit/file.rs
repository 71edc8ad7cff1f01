//! The TOML format of circuits.

use pilotage_config::Source;
use serde::Deserialize;
use serde::de::Error as _;

use super::shape::check_steps;
use super::{
    Circuit, CircuitError, Colours, LINE_WIDTH, ROAD_WIDTH, Walls, check_coordinates, check_width,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "road_width")]
    road_width: f64,
    #[serde(default = "line_width")]
    line_width: f64,
    points: Vec<[f64; 2]>,
    #[serde(default)]
    start: StartTable,
    walls: Option<WallsTable>,
    #[serde(default)]
    colours: ColoursTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StartTable {
    /// Metres along the line from the first point.
    s: f64,
    /// Metres to the left of the line.
    offset: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WallsTable {
    margin: f64,
    height: f64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ColoursTable {
    line: Option<Colour>,
    asphalt: Option<Colour>,
    surroundings: Option<Colour>,
    sky: Option<Colour>,
    walls: Option<Colour>,
}

/// A colour in the form `"#rrggbb"`.
struct Colour([u8; 3]);

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let invalid = || D::Error::custom(format!("a colour is \"#rrggbb\", not {text:?}"));
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(invalid)?;
        let value = u32::from_str_radix(digits, 16).map_err(|_| invalid())?;
        let [_, r, g, b] = value.to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

fn road_width() -> f64 {
    ROAD_WIDTH
}

fn line_width() -> f64 {
    LINE_WIDTH
}

pub(super) fn read(text: &str) -> Result<Circuit, CircuitError> {
    let source = Source::new("", text);
    let file: File = source.parse().map_err(|error| {
        let line = error.line.map(|line| format!("line {line}: "));
        CircuitError::Toml(line.unwrap_or_default() + &error.reason)
    })?;
    check_coordinates(&file.points)?;
    check_steps(&file.points)?;
    let mut circuit = Circuit::from_points(&file.name, &file.points)?;
    circuit.road_width = check_width("road_width", file.road_width, 0.5, 30.0)?;
    circuit.line_width = check_width("line_width", file.line_width, 0.01, 2.0)?;
    if let Some(walls) = file.walls {
        circuit.walls = Some(Walls {
            margin: check_width("walls.margin", walls.margin, 0.0, 20.0)?,
            height: check_width("walls.height", walls.height, 0.05, 20.0)?,
        });
    }
    let colour = |colour: Option<Colour>| colour.map(|Colour(rgb)| rgb);
    circuit.colours = Colours {
        line: colour(file.colours.line),
        asphalt: colour(file.colours.asphalt),
        surroundings: colour(file.colours.surroundings),
        sky: colour(file.colours.sky),
        walls: colour(file.colours.walls),
    };
    let StartTable { s, offset } = file.start;
    if offset.is_nan() || offset.abs() > circuit.road_width / 2.0 {
        return Err(CircuitError::Start {
            offset,
            road_width: circuit.road_width,
        });
    }
    circuit.start_s = check_width("start.s", s, 0.0, circuit.length())?;
    circuit.start_offset = offset;
    Ok(circuit)
}
