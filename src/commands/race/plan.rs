//! What a race drives: conditions, engines, circuits, jobs, and how jobs are divided.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use pilotage_simulator::CarKind;
use serde::{Deserialize, Serialize};

use crate::car::{Backend, Car, CircuitSource};
use crate::drive;
use crate::results::{Compared, sha256_of_file};
use crate::simulation::Latency;

/// The conditions of all drives of a race. Results under different ones are not mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Conditions {
    /// The package's version, which other builds of it share.
    pub version: String,
    /// The model of the simulated car.
    pub car: String,
    /// The coefficient of friction between tyres and ground; `None` for a model without tyres.
    pub friction: Option<f64>,
    /// SHA-256 of the car.toml; `None` for the default car.
    pub car_sha256: Option<String>,
    /// Size and rate of the camera.
    pub camera: String,
    pub laps: u32,
    pub time_limit_s: f64,
    /// The latency from frame to command; `None` if the measured one is charged to the car.
    pub latency_ms: Option<f64>,
    pub deadline_ms: f64,
    pub max_age_ms: f64,
    /// The seed of the colours and the light; `None` for the usual ones.
    #[serde(rename = "looks")]
    pub appearance_seed: Option<u64>,
    /// The share of the frames that are dropped.
    pub frames_lost: f64,
    /// Metres to the left of the line, and degrees to the left of its direction.
    pub start: Option<[f64; 2]>,
    pub road_width: Option<f64>,
    pub line_width: Option<f64>,
    pub threads: usize,
    /// `None` for the best that a machine has.
    pub instruction_set: Option<String>,
    /// What runs the engines.
    pub backend: String,
}

impl Conditions {
    /// The conditions of drives of `car`, with this share of frames lost, from this start.
    pub fn of(
        car: &Car,
        car_sha256: Option<String>,
        frames_lost: f64,
        start: Option<drive::Start>,
    ) -> Self {
        let (camera, limits) = (&car.camera, car.limits.spec());
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let simulator = &car.simulator;
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            car: drive::kind(car),
            friction: match car.kind {
                CarKind::Tyres(car) => Some(car.friction),
                _ => None,
            },
            car_sha256,
            camera: format!(
                "{}x{} at {} Hz",
                camera.width, camera.height, camera.rate_hz
            ),
            laps: simulator.laps,
            time_limit_s: simulator.time_limit.as_secs_f64(),
            latency_ms: match simulator.latency {
                Latency::Measured => None,
                Latency::Fixed(latency) => Some(milliseconds(latency)),
            },
            deadline_ms: milliseconds(limits.deadline),
            max_age_ms: milliseconds(limits.max_age),
            appearance_seed: simulator.appearance_seed,
            frames_lost,
            start: start.map(|start| [start.offset, start.heading]),
            road_width: simulator.road_width,
            line_width: simulator.line_width,
            threads: car.threads,
            instruction_set: car.instruction_set.map(|set| set.name().to_owned()),
            backend: match car.backend {
                Backend::Cpu => "cpu".to_owned(),
                Backend::TensorRt { .. } => "tensorrt".to_owned(),
            },
        }
    }
}

/// A circuit of a race.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RacedCircuit {
    /// The name in tables and in the names of files.
    pub name: String,
    /// `shipped`, the seed of a random circuit, or the SHA-256 of a file.
    pub source: String,
    /// `centre line`, or the SHA-256 of the file of the path that the position deviation is measured
    /// against.
    pub reference: String,
}

/// One drive. The names are those of the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Job {
    pub engine: String,
    pub circuit: String,
    /// The seed of the camera's noise and of the frames that are lost.
    pub seed: u64,
}

impl Job {
    /// The name of its files, without an ending. No other job has the same: `+` is in no name.
    pub fn file_stem(&self) -> String {
        format!("{}+{}+{}", self.engine, self.circuit, self.seed)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, seed {}", self.engine, self.circuit, self.seed)
    }
}

/// All drives of a race.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub conditions: Conditions,
    pub engines: Vec<Compared>,
    pub circuits: Vec<RacedCircuit>,
    pub jobs: Vec<Job>,
}

impl Plan {
    /// Every engine on every circuit with every seed.
    pub fn new(
        conditions: Conditions,
        engines: Vec<Compared>,
        circuits: Vec<RacedCircuit>,
        seeds: &[u64],
    ) -> Self {
        let mut jobs = Vec::new();
        for engine in &engines {
            for circuit in &circuits {
                jobs.extend(seeds.iter().map(|&seed| Job {
                    engine: engine.name.clone(),
                    circuit: circuit.name.clone(),
                    seed,
                }));
            }
        }
        Self {
            conditions,
            engines,
            circuits,
            jobs,
        }
    }

    /// Adds the jobs of another plan.
    ///
    /// # Errors
    /// Fails if the plans have different conditions, or the same name for different engines or
    /// circuits; names the difference.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        if let Some(difference) = difference(&self.conditions, &other.conditions) {
            bail!("the conditions differ: {difference}");
        }
        for engine in &other.engines {
            match self.engines.iter().find(|it| it.name == engine.name) {
                None => self.engines.push(engine.clone()),
                // The argument is of a machine.
                Some(known) if known.sha256 == engine.sha256 => {}
                Some(_) => bail!("the engine `{}` is another one", engine.name),
            }
        }
        for circuit in &other.circuits {
            match self.circuits.iter().find(|it| it.name == circuit.name) {
                None => self.circuits.push(circuit.clone()),
                Some(known) if known == circuit => {}
                Some(_) => bail!(
                    "the circuit `{}` is another one, or has another reference path",
                    circuit.name
                ),
            }
        }
        let known: HashSet<Job> = self.jobs.iter().cloned().collect();
        let new = other.jobs.iter().filter(|job| !known.contains(job));
        self.jobs.extend(new.cloned());
        Ok(())
    }
}

/// The first key whose values differ, in words.
pub(super) fn difference<T: Serialize>(one: &T, other: &T) -> Option<String> {
    type Map = BTreeMap<String, serde_json::Value>;
    let map = |it: &T| serde_json::to_value(it).and_then(serde_json::from_value::<Map>);
    let (one, other) = (map(one).ok()?, map(other).ok()?);
    let keys = one.keys().chain(other.keys());
    let mut differing = keys.filter(|key| one.get(*key) != other.get(*key));
    let key = differing.next()?;
    let text = |map: &Map| {
        map.get(key)
            .map_or("nothing".to_owned(), ToString::to_string)
    };
    Some(format!(
        "`{key}` is {} here and {} there",
        text(&one),
        text(&other)
    ))
}

/// A part of the jobs: `I/N`, the Ith of N parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// From 1.
    index: usize,
    count: usize,
}

impl Partition {
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Whether the job at this place of the plan is of this part: every Nth one.
    pub const fn takes(self, place: usize) -> bool {
        place % self.count == self.index - 1
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be I/N, the Ith of N parts, with I from 1 to N: an array of N tasks that counts from 0 \
             gives its index plus 1"
                .to_owned()
        };
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let (index, count) = (number(index)?, number(count)?);
        match index {
            1.. if index <= count => Ok(Self { index, count }),
            _ => Err(wrong()),
        }
    }
}

/// The most seeds of a race.
const MOST_SEEDS: u64 = 10_000;

/// Seeds, as written: `1,5,10-20`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seeds(pub Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("`{text}` is not a seed: write whole numbers as 1,5,10-20"))
        };
        let mut seeds = BTreeSet::new();
        for item in text.split(',') {
            let (first, last) = match item.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(item)?, number(item)?),
            };
            if last < first {
                return Err(format!("`{item}`: the first seed is larger than the last"));
            }
            if last - first >= MOST_SEEDS || seeds.len() as u64 >= MOST_SEEDS {
                return Err(format!("these are more than {MOST_SEEDS} seeds"));
            }
            seeds.extend(first..=last);
        }
        Ok(Self(seeds.into_iter().collect()))
    }
}

/// The source of a car's circuit, for a [`RacedCircuit`].
///
/// # Errors
/// Fails if the circuit's file cannot be read.
pub(super) fn source(car: &Car) -> anyhow::Result<String> {
    Ok(match &car.simulator.circuit {
        CircuitSource::Shipped(_) => "shipped".to_owned(),
        CircuitSource::Random => format!("random, seed {}", car.simulator.seed),
        CircuitSource::File(path) => sha256_of_file(path)?,
    })
}
