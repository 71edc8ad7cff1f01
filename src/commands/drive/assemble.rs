//! Assembles a simulated drive from options: car, circuit, engine, simulation, pilot.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Ending, Options};
use crate::car::{Car, CarError, CircuitSource, Settings};
use crate::engines;
use crate::guarded::GuardProcess;
use crate::pilot::Dropped;
use crate::plot::{self, PlotError};
use crate::report::{LoopTiming, RunReport};
use crate::simulation::{Latency, Pace, SimulatedDrive};

/// Everything a drive needs.
pub struct Assembled {
    /// The car and its pilot.
    pub drive: SimulatedDrive,
    /// The checked settings.
    pub car: Car,
    /// The engine's name.
    pub engine: String,
    /// What runs the engine, and its precision.
    pub backend: String,
    /// A description of the drive, for people.
    pub announcement: String,
    /// Points to measure the position deviation against.
    pub reference: Option<Vec<[f64; 2]>>,
}

/// The car that `options` describe.
///
/// # Errors
/// Fails if its file does not exist or is not valid.
pub fn car(options: &Options) -> Result<Car, CarError> {
    Car::load_with(options.car.as_deref(), |settings| adjust(settings, options))
}

/// Builds everything that a drive of the simulated `car` needs.
///
/// # Errors
/// Fails if something does not exist or is not valid.
pub fn assemble(options: &Options, car: Car) -> anyhow::Result<Assembled> {
    let reference = options.reference.as_deref().map(reference).transpose()?;
    let share = options.drop_frames.unwrap_or(0.0);
    anyhow::ensure!(
        (0.0..=0.9).contains(&share),
        "--drop-frames is a share between 0 and 0.9, not {share}"
    );
    let offset = bounded(options.start_offset, "--start-offset", 10.0)?;
    let heading = bounded(options.start_heading, "--start-heading", 180.0)?;
    let mut world = car.world()?;
    if options.start_offset.is_some() || options.start_heading.is_some() {
        let start = world.s();
        world = world.placed(start, offset, heading.to_radians());
    }
    let loaded = engines::load(&car)?;
    for note in &loaded.notes {
        super::say(&format!("note: {note}"));
    }
    let (engine, backend) = (loaded.name.clone(), loaded.engine.describe());
    let dropped = Dropped::new(share, car.simulator.seed);
    let drive = if guard_beside(&car) {
        let guarded = GuardProcess::start(&car.limits, loaded.domain)?;
        SimulatedDrive::beside(&car, world, loaded, dropped, guarded)?
    } else {
        SimulatedDrive::new(&car, world, loaded, dropped)?
    };
    Ok(Assembled {
        announcement: announce(&car, &drive, &engine, &backend),
        drive,
        car,
        engine,
        backend,
        reference,
    })
}

/// Whether the guard runs in a separate process: on the wall clock, a hanging pilot must not block
/// its guard.
fn guard_beside(car: &Car) -> bool {
    (car.simulator.pace, car.simulator.latency) == (Pace::Real, Latency::Measured)
}

/// A number within `limit` of zero; zero if none is given.
fn bounded(value: Option<f64>, option: &str, limit: f64) -> anyhow::Result<f64> {
    let value = value.unwrap_or(0.0);
    anyhow::ensure!(
        value.abs() <= limit,
        "{option} must lie between {} and {limit}, not {value}",
        -limit
    );
    Ok(value)
}

/// Applies the command line, which overrides car.toml.
fn adjust(settings: &mut Settings, options: &Options) {
    let simulator = &mut settings.simulator;
    if let Some(circuit) = &options.circuit {
        simulator.circuit = from_here(circuit, &["toml", "csv"]);
    }
    if let Some(seed) = options.seed {
        simulator.circuit = "random".to_owned();
        simulator.seed = seed;
    }
    simulator.road_width = options.road_width.or(simulator.road_width);
    simulator.line_width = options.line_width.or(simulator.line_width);
    simulator.looks = options.looks.or(simulator.looks);
    simulator.laps = options.laps.unwrap_or(simulator.laps);
    simulator.pace = options.pace.unwrap_or(simulator.pace);
    simulator.latency_ms = options.latency.or(simulator.latency_ms);
    simulator.time_limit = options.time_limit.unwrap_or(simulator.time_limit);
    settings.car.kind = options.kind.unwrap_or(settings.car.kind);
    settings.guard.deadline_ms = options.deadline.or(settings.guard.deadline_ms);
    settings.engine.threads = options.threads.unwrap_or(settings.engine.threads);
    settings.engine.backend = options.engine_backend.unwrap_or(settings.engine.backend);
    if let Some(set) = options.instruction_set {
        settings.engine.instruction_set = Some(set.name().to_owned());
    }
    match options.engine.as_deref() {
        Some(file) if has_extension(file, &["engine"]) => {
            settings.engine.file = Some(from_here(file, &["engine"]));
        }
        Some(name) => {
            settings.engine.name = name.to_owned();
            settings.engine.file = None;
        }
        None => {}
    }
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
}

/// A file on the command line is relative to the current folder, not to car.toml's.
fn from_here(name: &str, extensions: &[&str]) -> String {
    if has_extension(name, extensions) {
        let path = std::path::absolute(name).unwrap_or_else(|_| PathBuf::from(name));
        path.display().to_string()
    } else {
        name.to_owned()
    }
}

fn announce(car: &Car, drive: &SimulatedDrive, engine: &str, backend: &str) -> String {
    let circuit = match &car.simulator.circuit {
        CircuitSource::Shipped(name) => name.clone(),
        CircuitSource::Random => format!("random, seed {}", car.simulator.seed),
        CircuitSource::File(path) => path.display().to_string(),
    };
    let length = drive.world.borrow().circuit().length();
    let pace = match car.simulator.pace {
        Pace::Real => "the wall clock's",
        Pace::Fast => "simulated, as fast as it goes",
    };
    let latency = match car.simulator.latency {
        Latency::Measured => "latency as measured".to_owned(),
        Latency::Fixed(latency) => format!("latency {} ms", latency.as_secs_f64() * 1e3),
    };
    let spec = car.limits.spec();
    let mut text = String::new();
    for (name, value) in [
        ("car", car.name.as_str()),
        ("engine", engine),
        ("backend", backend),
        ("camera", &drive.camera),
        ("actuator", &format!("simulated {}", kind(car))),
        ("circuit", &format!("{circuit}, {length:.0} m")),
        (
            "guard",
            match guard_beside(car) {
                true => "a process of its own",
                false => "in this process",
            },
        ),
        ("clock", &format!("{pace}; {latency}")),
        (
            "deadline",
            &format!("{} ms", spec.deadline.as_secs_f64() * 1e3),
        ),
    ] {
        let _ = writeln!(text, "{name:>10}  {value}");
    }
    text
}

/// The name of the car's kind.
pub fn kind(car: &Car) -> &'static str {
    match car.kind {
        pilotage_simulator::CarKind::Unicycle => "unicycle",
        pilotage_simulator::CarKind::Ackermann => "ackermann",
    }
}

/// The points of a reference path: x,y in metres, one per line.
fn reference(path: &Path) -> anyhow::Result<Vec<[f64; 2]>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    pilotage_simulator::reference_from_csv(&text).with_context(|| path.display().to_string())
}

impl Assembled {
    /// The report on the drive so far.
    pub fn report(&mut self, timing: &LoopTiming, ending: &Ending) -> RunReport {
        let world = self.drive.world.borrow();
        let wall_seconds = ending.wall.as_secs_f64();
        let simulated = world.path().last().map_or(0.0, |point| point.time);
        let averages = timing.averages(simulated / wall_seconds.max(f64::MIN_POSITIVE));
        RunReport {
            completed: ending.completed,
            outcome: ending.outcome.clone(),
            circuit: world.circuit().name().to_owned(),
            circuit_length: world.circuit().length(),
            car: kind(&self.car).to_owned(),
            engine: self.engine.clone(),
            backend: self.backend.clone(),
            metrics: world.metrics(self.reference.as_deref(), Some(averages)),
            timing: timing.summary(),
            guard: self.drive.pilot.link().status().counters.into(),
            wall_seconds,
            first_command_seconds: ending.first_command.map(|time| time.as_secs_f64()),
        }
    }

    /// Draws the path driven so far to `file`.
    ///
    /// # Errors
    /// Fails if the picture cannot be drawn or written.
    pub fn draw(&self, file: &Path, report: &RunReport) -> Result<(), PlotError> {
        let world = self.drive.world.borrow();
        plot::lap_picture(file, world.circuit(), world.path(), &report.caption())
    }
}
