//! Closed circuits: a centre line with a painted line along it, a road, and optional walls.

mod centre_line;
mod csv;
mod file;
mod generator;
mod shape;
mod shipped;

use std::sync::Arc;

use crate::Pose;
pub use centre_line::Nearest;
pub(crate) use centre_line::{CentreLine, Sample, check_coordinates};
pub use csv::CsvOptions;
pub(crate) use csv::points as csv_points;
pub use generator::RandomOptions;
pub use shape::Crossing;

/// The default road width, metres.
const ROAD_WIDTH: f64 = 3.0;
/// The default width of the painted line, metres.
const LINE_WIDTH: f64 = 0.10;

/// Why something is not a valid circuit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CircuitError {
    /// The file is not TOML, or its keys are not those of a circuit; the message states line and
    /// key.
    #[error("not a circuit file: {0}")]
    Toml(String),
    /// A line of the CSV has no point.
    #[error("line {line}: {problem}; a circuit's CSV has x,y in metres on each line")]
    Csv {
        /// Counted from 1.
        line: usize,
        /// The error in the line.
        problem: String,
    },
    /// A reference path has no point.
    #[error("the reference path holds no point: give x,y in metres on each line")]
    EmptyReference,
    /// There are too few distinct points for a closed circuit.
    #[error("{0} distinct points are too few: a circuit needs at least 4")]
    TooFewPoints(usize),
    /// There are more points than are accepted.
    #[error("{0} points are too many: a circuit has at most {max}", max = MAX_POINTS)]
    TooManyPoints(usize),
    /// A coordinate is infinite, NaN or too large.
    #[error("point {index} is at {x}, {y}: coordinates are metres, within 10 km of the origin")]
    Coordinate {
        /// Counted from 1.
        index: usize,
        /// As read.
        x: f64,
        /// As read.
        y: f64,
    },
    /// The circuit is shorter or longer than the simulator accepts.
    #[error("the circuit is {0:.1} m long: it must be between 5 m and 20 km")]
    Length(f64),
    /// Two points that follow each other are far apart, and the line turns there.
    #[error(
        "the line jumps {metres:.1} m from {:.2}, {:.2} to {:.2}, {:.2}, while its steps are {median:.2} m \
         elsewhere: a circuit is a closed line whose points follow each other; add the missing \
         points, or remove those that do not belong to it",
        from[0], from[1], to[0], to[1]
    )]
    Jump {
        /// Metres.
        from: [f64; 2],
        /// Metres.
        to: [f64; 2],
        /// The distance between them, metres.
        metres: f64,
        /// The median distance between points, metres.
        median: f64,
    },
    /// A width is out of range.
    #[error("`{key}` is {value} m: it must lie between {least} and {most} m")]
    Width {
        /// The setting.
        key: &'static str,
        /// As given.
        value: f64,
        /// The least allowed.
        least: f64,
        /// The most allowed.
        most: f64,
    },
    /// The start is not on the road.
    #[error(
        "the start lies {offset} m off the line: at most half the road width of {road_width} m"
    )]
    Start {
        /// Metres, left positive.
        offset: f64,
        /// Metres.
        road_width: f64,
    },
}

/// The most control points a circuit may have.
const MAX_POINTS: usize = 200_000;

/// Walls along both sides of the road.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Walls {
    /// Distance from the road's edge to the wall, metres.
    pub margin: f64,
    /// Metres.
    pub height: f64,
}

/// The colours that a circuit prescribes, sRGB. The looks decide those that it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Colours {
    /// The painted line.
    pub line: Option<[u8; 3]>,
    /// The road.
    pub asphalt: Option<[u8; 3]>,
    /// The ground beside the road.
    pub surroundings: Option<[u8; 3]>,
    /// The sky overhead.
    pub sky: Option<[u8; 3]>,
    /// The walls.
    pub walls: Option<[u8; 3]>,
}

/// A closed circuit. Cheap to clone: the centre line is shared.
#[derive(Debug, Clone)]
pub struct Circuit {
    name: String,
    line: Arc<CentreLine>,
    road_width: f64,
    line_width: f64,
    walls: Option<Walls>,
    colours: Colours,
    start_s: f64,
    start_offset: f64,
}

impl Circuit {
    /// The first seed of random circuits for evaluation: training uses only lower seeds.
    pub const UNSEEN: u64 = 1 << 40;

    /// A circuit along the periodic cubic spline through `points` (metres), with the default
    /// widths. It is driven in the order of the points, and starts at the first.
    ///
    /// # Errors
    /// When the points are too few or not finite, or the circuit is too short or too long.
    pub fn from_points(name: &str, points: &[[f64; 2]]) -> Result<Self, CircuitError> {
        Ok(Self {
            name: name.to_owned(),
            line: Arc::new(CentreLine::through(points)?),
            road_width: ROAD_WIDTH,
            line_width: LINE_WIDTH,
            walls: None,
            colours: Colours::default(),
            start_s: 0.0,
            start_offset: 0.0,
        })
    }

    /// Reads a circuit from TOML; `circuits/simple.toml` shows the keys.
    ///
    /// # Errors
    /// When the text is not TOML, has unknown keys, or describes no circuit.
    pub fn from_toml(text: &str) -> Result<Self, CircuitError> {
        file::read(text)
    }

    /// Reads a centre line from CSV: x and y in metres, one point per line, in driving order. The
    /// columns are those titled `x` and `y` (or `x_m` and `y_m`), in a header or in a comment
    /// (`#`), and without titles the first two. Other comments and blank lines are ignored. Fields are separated
    /// by commas, semicolons or tabs; lines without any of these, by blanks. The line is closed if
    /// the file does not close it.
    ///
    /// # Errors
    /// When a line has no point (the error states the line), or the points form no circuit.
    pub fn from_csv(text: &str, options: &CsvOptions) -> Result<Self, CircuitError> {
        csv::read(text, options)
    }

    /// A random circuit, the same for the same seed.
    pub fn random(seed: u64) -> Self {
        Self::random_with(seed, &RandomOptions::default())
    }

    /// A random circuit within `options`, the same for the same seed and options.
    pub fn random_with(seed: u64, options: &RandomOptions) -> Self {
        generator::generate(seed, options)
    }

    /// The names of the circuits that come with Pilotage.
    pub fn shipped_names() -> &'static [&'static str] {
        shipped::NAMES
    }

    /// The circuit with this name that comes with Pilotage, if there is one.
    pub fn shipped(name: &str) -> Option<Self> {
        shipped::find(name)
    }

    /// The circuit's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length of the centre line, metres.
    pub fn length(&self) -> f64 {
        self.line.length()
    }

    /// Metres.
    pub fn road_width(&self) -> f64 {
        self.road_width
    }

    /// Width of the painted line, metres.
    pub fn line_width(&self) -> f64 {
        self.line_width
    }

    /// The walls, if there are any.
    pub fn walls(&self) -> Option<Walls> {
        self.walls
    }

    /// The colours that the circuit prescribes.
    pub fn colours(&self) -> Colours {
        self.colours
    }

    /// The pose at the start of a run, pointing along the line.
    pub fn start(&self) -> Pose {
        self.pose(self.start_s, self.start_offset, 0.0)
    }

    /// The position of the start along the line, metres.
    pub fn start_s(&self) -> f64 {
        self.start_s
    }

    /// The point `s` metres along the line; `s` wraps round the circuit.
    pub fn point(&self, s: f64) -> [f64; 2] {
        self.line.point(s)
    }

    /// The points of the line, some centimetres apart.
    pub(crate) fn line_points(&self) -> Vec<[f64; 2]> {
        let samples = self.line.samples().iter();
        samples.map(|sample| sample.point).collect()
    }

    /// The same points, each with the unit vector to the left of the line.
    pub(crate) fn line_normals(&self) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
        let samples = self.line.samples().iter();
        samples.map(|sample| {
            let [x, y] = sample.tangent;
            (sample.point, [-y, x])
        })
    }

    /// The direction of the line at `s`, radians in -pi..=pi.
    pub fn heading(&self, s: f64) -> f64 {
        self.line.heading(s)
    }

    /// The curvature at `s`, 1/m, left positive.
    pub fn curvature(&self, s: f64) -> f64 {
        self.line.curvature(s)
    }

    /// The first place where the centre line crosses itself, as in a figure of eight. `None` as well
    /// for a line that is wound up so densely that looking for one would take long.
    pub fn crossing(&self) -> Option<Crossing> {
        shape::crossing(&self.line)
    }

    /// The smallest radius of the centre line, metres.
    pub fn smallest_radius(&self) -> f64 {
        1.0 / self.line.tightest_curvature()
    }

    /// The pose `offset` metres left of the line at `s`, turned `heading_error` radians to the left
    /// of the line's direction.
    pub fn pose(&self, s: f64, offset: f64, heading_error: f64) -> Pose {
        let [x, y] = self.point(s);
        let heading = self.heading(s);
        let [x, y] = Pose { x, y, heading }.ahead(0.0, offset);
        Pose {
            x,
            y,
            heading: crate::pose::wrap_angle(heading + heading_error),
        }
    }

    /// The position on the line nearest to `point`. With a `hint` of the last position along the
    /// line, only the stretch around it is searched, so that a neighbouring stretch of road is not
    /// mistaken for the car's own. Without it, the whole circuit is searched.
    pub fn nearest(&self, point: [f64; 2], hint: Option<f64>) -> Nearest {
        match hint {
            Some(s) => self.line.nearest_around(point, s),
            None => self.line.nearest(point),
        }
    }

    /// The mirrored circuit: every left turn becomes a right turn.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Self {
            line: Arc::new(self.line.mirrored()),
            start_offset: -self.start_offset,
            ..self.clone()
        }
    }

    /// The same circuit, driven in the other direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let length = self.length();
        Self {
            line: Arc::new(self.line.reversed()),
            start_s: libm::fmod(length - self.start_s, length),
            start_offset: -self.start_offset,
            ..self.clone()
        }
    }

    /// The same circuit with another road width, clamped to 0.5 to 30 m.
    #[must_use]
    pub fn with_road_width(mut self, metres: f64) -> Self {
        self.road_width = metres.clamp(0.5, 30.0);
        self
    }

    /// The same circuit with another line width, clamped to 0.01 to 2 m.
    #[must_use]
    pub fn with_line_width(mut self, metres: f64) -> Self {
        self.line_width = metres.clamp(0.01, 2.0);
        self
    }

    /// The same circuit with these walls, or without walls.
    #[must_use]
    pub fn with_walls(mut self, walls: Option<Walls>) -> Self {
        self.walls = walls;
        self
    }

    pub(crate) fn line(&self) -> &Arc<CentreLine> {
        &self.line
    }
}

fn check_width(key: &'static str, value: f64, least: f64, most: f64) -> Result<f64, CircuitError> {
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(CircuitError::Width {
            key,
            value,
            least,
            most,
        })
    }
}

#[cfg(test)]
mod tests;
