//! The rules for all inputs of a network besides the present picture.

use std::time::Duration;

use pilotage_vehicle::{Measurement, Rays};
use serde::{Deserialize, Serialize};

use crate::Memory;
use crate::memory::ElementNumbers;

/// The most values of a high-level command.
pub const MOST_COMMANDS: usize = 16;

/// The rules for all inputs of a network besides the present picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InputRules {
    /// What the network remembers: `[memory]`.
    pub memory: Memory,
    /// What sensors measure on the car: `[[measurement]]`.
    pub measurements: Vec<MeasurementRule>,
    /// What an operator sets: `[command]`.
    pub command: Option<CommandRule>,
    /// What a lidar sees: `[scan]`.
    pub scan: Option<ScanRule>,
}

impl From<Memory> for InputRules {
    fn from(memory: Memory) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }
}

impl InputRules {
    /// Whether the present picture is all that the network gets.
    pub fn is_none(&self) -> bool {
        self.memory.is_none() && !self.has_numbers()
    }

    /// Whether the network gets numbers or scans that a recording must have.
    pub fn has_numbers(&self) -> bool {
        !self.measurements.is_empty() || self.command.is_some() || self.scan.is_some()
    }

    /// The names of the inputs that are not pictures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let measured = self.measurements.iter().map(|rule| rule.input.as_str());
        let commanded = self.command.iter().map(|rule| rule.input.as_str());
        let scanned = self.scan.iter().map(|rule| rule.input.as_str());
        let memory = self.memory.names();
        memory.chain(measured).chain(commanded).chain(scanned)
    }

    /// Every measurement that the network gets, with the rule that names it first.
    pub fn measured(&self) -> impl Iterator<Item = (Measurement, &MeasurementRule)> {
        Measurement::ALL.into_iter().filter_map(|measurement| {
            let mut rules = self.measurements.iter();
            let rule = rules.find(|rule| rule.values.contains(&measurement))?;
            Some((measurement, rule))
        })
    }
}

/// An input of numbers that sensors measure on the car: `[[measurement]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementRule {
    /// The input's name in the model.
    pub input: String,
    /// Its elements.
    pub values: Vec<Measurement>,
    /// Factor of each number: one for all, or one for each.
    #[serde(default = "one")]
    pub scale: ElementNumbers,
    /// Added after the multiplication: one number for all, or one for each.
    #[serde(default = "zero")]
    pub offset: ElementNumbers,
    /// What the network gets if a number is missing, or older than `max_age_ms`.
    #[serde(default)]
    pub missing: Missing,
    /// The largest age of a number when the network gets it, milliseconds.
    #[serde(default = "max_age_ms")]
    pub max_age_ms: f64,
}

impl MeasurementRule {
    /// The largest age of a number.
    pub fn max_age(&self) -> Duration {
        Duration::try_from_secs_f64(self.max_age_ms * 1e-3).unwrap_or(Duration::MAX)
    }
}

/// The input of a lidar's scan: `[scan]`. The element of a ray is `scale * distance + offset`, the distance
/// in metres.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRule {
    /// The input's name in the model.
    pub input: String,
    /// The number of rays: the input's elements.
    pub rays: usize,
    /// The first ray's direction, degrees: 0 is ahead, left is positive.
    pub start: f32,
    /// The last ray's direction, degrees.
    pub end: f32,
    /// The largest distance, metres: one further away has this value.
    pub range: f32,
    /// The distance of a ray without an echo, metres; `None` for `range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_echo: Option<f32>,
    /// Factor of each distance.
    #[serde(default = "factor")]
    pub scale: f32,
    /// Added after the multiplication.
    #[serde(default)]
    pub offset: f32,
    /// The distance of all rays, metres, if there is no scan, or it is older than `max_age_ms`.
    #[serde(default)]
    pub missing: Missing,
    /// The largest age of a scan when the network gets it, milliseconds.
    #[serde(default = "max_age_ms")]
    pub max_age_ms: f64,
}

impl ScanRule {
    /// The largest age of a scan.
    pub fn max_age(&self) -> Duration {
        Duration::try_from_secs_f64(self.max_age_ms * 1e-3).unwrap_or(Duration::MAX)
    }

    /// The directions of the rays; `None` if they cover nothing or more than a turn.
    pub fn directions(&self) -> Option<Rays> {
        Rays::new(self.rays, self.start, self.end)
    }

    /// The number that the network gets for a ray of so many millimetres, 0 for no echo.
    pub(crate) fn number(&self, millimetres: u16) -> f32 {
        let metres = match millimetres {
            0 => self.no_echo.unwrap_or(self.range),
            _ => (f32::from(millimetres) * 1e-3).min(self.range),
        };
        self.scaled(metres)
    }

    pub(crate) fn scaled(&self, metres: f32) -> f32 {
        self.scale * metres + self.offset
    }
}

/// What happens if a number is missing or too old.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Missing {
    /// The network gets this number in its place, in the unit of the measurement.
    Number(f32),
    /// The car stops.
    Word(MissingWord),
}

/// What happens if a number is missing, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingWord {
    /// The car stops.
    Stop,
}

impl Default for Missing {
    fn default() -> Self {
        Self::Word(MissingWord::Stop)
    }
}

impl Missing {
    /// The number that the network gets; `None` if the car stops.
    pub const fn number(self) -> Option<f32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Word(MissingWord::Stop) => None,
        }
    }
}

/// The input of a high-level command, which an operator sets: `[command]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRule {
    /// The input's name in the model.
    pub input: String,
    /// The command's values.
    pub values: Vec<String>,
    /// The value until an operator sets another.
    pub default: String,
    /// How the input has the value.
    #[serde(default)]
    pub encoding: CommandEncoding,
}

impl CommandRule {
    /// The place of a value.
    pub fn place(&self, value: &str) -> Option<usize> {
        self.values.iter().position(|known| known == value)
    }

    /// The number of elements that the input has.
    pub fn elements(&self) -> usize {
        match self.encoding {
            CommandEncoding::OneHot => self.values.len(),
            CommandEncoding::Index => 1,
        }
    }
}

/// How an input has the value of a high-level command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandEncoding {
    /// An element for each value: 1 for the present one, 0 for the others.
    #[default]
    OneHot,
    /// One element: the place of the value, from 0.
    Index,
}

const fn one() -> ElementNumbers {
    ElementNumbers::All(1.0)
}

const fn zero() -> ElementNumbers {
    ElementNumbers::All(0.0)
}

const fn factor() -> f32 {
    1.0
}

const fn max_age_ms() -> f64 {
    200.0
}
