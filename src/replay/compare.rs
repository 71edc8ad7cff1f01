//! Pairs answers with recorded values, in one unit.

use pilotage_dataset::{Record, Recording};
use pilotage_vehicle::{Controls, Mixer};

use super::answers::{Answer, Answers};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Steering and throttle, -1 to 1.
    Direct,
    /// Yaw rate and speed.
    Twist,
}

/// One of the two values that drive a car.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    Steering,
    Throttle,
    YawRate,
    Speed,
}

impl Quantity {
    /// The name in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steering => "steering",
            Self::Throttle => "throttle",
            Self::YawRate => "yaw_rate",
            Self::Speed => "speed",
        }
    }

    /// The name and the unit, for tables and plots.
    pub fn title(self) -> &'static str {
        match self {
            Self::Steering => "steering, -1 to 1, left positive",
            Self::Throttle => "throttle, -1 to 1",
            Self::YawRate => "yaw rate, rad/s, left positive",
            Self::Speed => "speed, m/s",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Steering | Self::Throttle => "-1 to 1",
            Self::YawRate => "rad/s",
            Self::Speed => "m/s",
        }
    }

    /// Whether it turns the car; zero is straight ahead then.
    pub fn is_lateral(self) -> bool {
        matches!(self, Self::Steering | Self::YawRate)
    }

    fn recorded(self, record: &Record) -> Option<f64> {
        match self {
            Self::Steering => record.steering,
            Self::Throttle => record.throttle,
            Self::YawRate => record.yaw_rate,
            Self::Speed => record.speed,
        }
    }

    fn predicted(self, answer: &Answer, mixer: &Mixer) -> f64 {
        let (steering, throttle) = answer.command;
        let (speed, yaw_rate) = match answer.controls {
            Controls::Twist { speed, yaw_rate } => (f64::from(speed), f64::from(yaw_rate)),
            Controls::Direct { .. } => mixer.twist(steering, throttle),
        };
        match self {
            Self::Steering => steering.into(),
            Self::Throttle => throttle.into(),
            Self::YawRate => yaw_rate,
            Self::Speed => speed,
        }
    }
}

impl Unit {
    /// The quantity that turns the car first.
    pub fn quantities(self) -> [Quantity; 2] {
        match self {
            Self::Direct => [Quantity::Steering, Quantity::Throttle],
            Self::Twist => [Quantity::YawRate, Quantity::Speed],
        }
    }

    /// The quantities in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "steering and throttle",
            Self::Twist => "yaw rate and speed",
        }
    }

    /// The columns of a recording.
    fn columns(self) -> &'static str {
        match self {
            Self::Direct => "steering and throttle",
            Self::Twist => "v and w",
        }
    }

    fn is_recorded(self, recording: &Recording) -> bool {
        let has = |record: &Record| {
            let mut values = self.quantities().map(|it| it.recorded(record)).into_iter();
            values.any(|value| value.is_some())
        };
        recording.records().iter().any(has)
    }

    fn of(answers: &Answers) -> Self {
        match answers.is_twist() {
            true => Self::Twist,
            false => Self::Direct,
        }
    }

    /// The unit of all engines' answers and of the recording. With a car's `[mixer]` answers are
    /// converted to what its guard would receive, or to what the recording has.
    ///
    /// # Errors
    /// When there is none.
    pub fn common(
        recording: &Recording,
        engines: &[Answers],
        has_mixer: bool,
    ) -> Result<Self, NotComparable> {
        let folder = || recording.folder().display().to_string();
        let recorded = [Self::Direct, Self::Twist].map(|unit| unit.is_recorded(recording));
        let (direct, twist) = (recorded[0], recorded[1]);
        if !direct && !twist {
            return Err(NotComparable::Nothing { folder: folder() });
        }
        if has_mixer {
            return Ok(if direct { Self::Direct } else { Self::Twist });
        }
        let mut units = engines.iter().map(|engine| (Self::of(engine), engine));
        let Some((unit, first)) = units.next() else {
            return Ok(Self::Direct);
        };
        if let Some((other, second)) = units.find(|(other, _)| *other != unit) {
            return Err(NotComparable::Engines {
                first: first.engine.clone(),
                unit: unit.name(),
                second: second.engine.clone(),
                other: other.name(),
            });
        }
        let has_unit = match unit {
            Self::Direct => direct,
            Self::Twist => twist,
        };
        let other = match unit {
            Self::Direct => Self::Twist,
            Self::Twist => Self::Direct,
        };
        match has_unit {
            true => Ok(unit),
            false => Err(NotComparable::Recording {
                engine: first.engine.clone(),
                unit: unit.name(),
                folder: folder(),
                columns: other.columns(),
            }),
        }
    }
}

/// Why answers and recording cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotComparable {
    #[error(
        "{folder}: its records have neither steering and throttle nor v and w, so there is nothing \
         to compare with; record with `pilotage record`"
    )]
    Nothing { folder: String },
    #[error(
        "engine `{engine}` answers with {unit}, but the records of {folder} have only {columns}: \
         name the car that recorded with --car, whose [mixer] converts one to the other"
    )]
    Recording {
        engine: String,
        unit: &'static str,
        folder: String,
        columns: &'static str,
    },
    #[error(
        "engine `{first}` answers with {unit}, `{second}` with {other}: name the car with --car, \
         whose [mixer] converts one to the other"
    )]
    Engines {
        first: String,
        unit: &'static str,
        second: String,
        other: &'static str,
    },
}

/// A recorded value and the prediction for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    /// The record's index.
    pub index: usize,
    /// Seconds, from any start.
    pub time: Option<f64>,
    pub recorded: f64,
    pub predicted: f64,
}

impl Pair {
    pub fn error(&self) -> f64 {
        self.predicted - self.recorded
    }
}

/// The pairs of one quantity, and how many answers were not numbers.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub pairs: Vec<Pair>,
    pub not_finite: usize,
}

impl Pairs {
    /// The answers to all pictures whose record has the value.
    pub fn of(recording: &Recording, answers: &Answers, quantity: Quantity, mixer: &Mixer) -> Self {
        let mut found = Self::default();
        for answer in &answers.answers {
            let record = &recording.records()[answer.index];
            let Some(recorded) = quantity.recorded(record) else {
                continue;
            };
            let predicted = quantity.predicted(answer, mixer);
            if !predicted.is_finite() {
                found.not_finite += 1;
                continue;
            }
            found.pairs.push(Pair {
                index: answer.index,
                time: record.time,
                recorded,
                predicted,
            });
        }
        found
    }
}
