//! What an engine gets besides the present picture, in the start of a log, and what it lacked.

use pilotage_tap::{EngineInputs, Sensed};
use pilotage_vehicle::Measurement;
use serde::{Deserialize, Serialize};

/// An input that a sensor gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The speed.
    Speed,
    /// The yaw rate.
    YawRate,
    /// The acceleration ahead.
    Acceleration,
    /// The acceleration to the left.
    LateralAcceleration,
    /// The lidar's scan.
    Scan,
    /// An input that this version does not know.
    #[serde(other)]
    Unknown,
}

impl From<Measurement> for Input {
    fn from(measurement: Measurement) -> Self {
        match measurement {
            Measurement::Speed => Self::Speed,
            Measurement::YawRate => Self::YawRate,
            Measurement::Acceleration => Self::Acceleration,
            Measurement::LateralAcceleration => Self::LateralAcceleration,
        }
    }
}

impl Input {
    /// The input in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::YawRate => "yaw rate",
            Self::Acceleration => "acceleration",
            Self::LateralAcceleration => "lateral acceleration",
            Self::Scan => "scan",
            Self::Unknown => "input that this version does not know",
        }
    }

    /// The inputs that the engine lacked.
    pub fn lacking(sensed: &Sensed) -> Vec<Self> {
        let numbers = Measurement::ALL.into_iter().zip(sensed.lacking);
        let numbers = numbers.filter(|(_, lacks)| *lacks);
        let scan = sensed.scan_lacking.then_some(Self::Scan);
        numbers.map(|(it, _)| Self::from(it)).chain(scan).collect()
    }
}

/// What the network's memory did when frames were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// It went on without them.
    Held,
    /// It started anew.
    Reset,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl From<pilotage_tap::Gap> for Gap {
    fn from(gap: pilotage_tap::Gap) -> Self {
        match gap {
            pilotage_tap::Gap::Held => Self::Held,
            pilotage_tap::Gap::Reset => Self::Reset,
        }
    }
}

/// What the engine gets besides the present picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The numbers.
    pub numbers: Vec<NumberInput>,
    /// The names of the high-level command.
    pub commands: Vec<String>,
    /// The lidar's scan.
    pub scan: Option<ScanInput>,
    /// It remembers pictures, states or its own answers.
    pub memory: bool,
}

/// A number that an engine gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumberInput {
    /// Which.
    pub name: Input,
    /// What the engine gets if it is missing or too old; without it, the car stops.
    pub replacement: Option<f32>,
}

/// The scan that an engine gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScanInput {
    /// The number of rays.
    pub rays: usize,
    /// The first ray's direction, degrees, left positive.
    pub start: f32,
    /// The last ray's direction, degrees.
    pub end: f32,
    /// What the engine gets for each ray if there is no scan, metres; without it, the car stops.
    pub replacement: Option<f32>,
}

impl Inputs {
    /// Whether the car goes on without this input.
    pub fn replaces(&self, input: Input) -> bool {
        match input {
            Input::Scan => self.scan.is_some_and(|scan| scan.replacement.is_some()),
            _ => {
                let mut numbers = self.numbers.iter();
                let number = numbers.find(|number| number.name == input);
                number.is_some_and(|number| number.replacement.is_some())
            }
        }
    }

    /// The inputs in words; empty if there are none.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        for number in &self.numbers {
            let name = number.name.words();
            parts.push(match number.replacement {
                Some(replacement) => format!("{name} (or {replacement})"),
                None => name.to_owned(),
            });
        }
        if !self.commands.is_empty() {
            parts.push(format!("a command ({})", self.commands.join(", ")));
        }
        if let Some(scan) = self.scan {
            let (rays, start, end) = (scan.rays, scan.start, scan.end);
            parts.push(format!(
                "a scan of {rays} rays from {start} to {end} degrees"
            ));
        }
        if self.memory {
            parts.push("its memory".to_owned());
        }
        parts.join(", ")
    }
}

impl From<&EngineInputs> for Inputs {
    fn from(inputs: &EngineInputs) -> Self {
        let numbers = Measurement::ALL.into_iter();
        Self {
            numbers: numbers
                .filter(|&it| inputs.gets(it))
                .map(|it| NumberInput {
                    name: it.into(),
                    replacement: inputs.replacements.get(it),
                })
                .collect(),
            commands: inputs.commands.clone(),
            scan: inputs.scan.map(|rays| ScanInput {
                rays: rays.count(),
                start: rays.start(),
                end: rays.end(),
                replacement: inputs.scan_replacement,
            }),
            memory: inputs.memory,
        }
    }
}
