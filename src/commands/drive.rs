//! `pilotage drive`: drives a car as described by car.toml and the command line, and reports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use pilotage_drivelog::{Keep, Store};
use pilotage_engine::InstructionSet;

use crate::car::{BackendKind, Car, CarPreset, EngineSettings, GamepadSettings, Kind, Settings};
use crate::drive::{self, LogRequest, RecordingRequest, Request, Start};
use crate::recorder::Encoding;
use crate::simulation::Pace;

/// What the figures of the report mean, for `--help`; docs/getting-started.md has the same.
pub const TERMS: &str = "\
The report at the end (docs/getting-started.md, \"The report\"):
  median, p99, max       half of all values are at most the median, 99 of 100 at most p99
  lateral deviation      distance from the painted line
  position deviation MAE mean of 1000^d over the points of --reference (or of the line), d metres
                         from the driven path: 1 is the best
  suddenness             mean change of the commands in a twentieth of a second: 0 is the smoothest
  capture to guard       from a frame's capture until the guard has its command
  frame to command       the part of it that vision and inference take
  brain iteration frequency
                         frames a second that the loop could answer
  frames                 seen: answered; passed over: a newer one was there; lost: missing in the
                         camera's numbers; broken: damaged, or of another length
  guard                  refused: outside the limits or too late; dropped: the guard did not take
                         them in time; stops: how often the car was put into failsafe";

/// Options of `pilotage drive`; each overrides car.toml.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct Options {
    /// The car: see docs/car.md; without it the simulated car on `simple`
    #[arg(long, value_name = "FILE")]
    pub car: Option<PathBuf>,
    /// The simulated car's world
    #[command(flatten)]
    pub simulator: SimulatorOptions,
    /// A compiled-in engine's name, or an .engine file
    #[arg(long, value_name = "NAME|FILE")]
    pub engine: Option<String>,
    /// Threads that the engine may use
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME", value_parser = crate::car::named_instruction_set)]
    pub instruction_set: Option<InstructionSet>,
    /// What runs the engine
    #[arg(long, value_enum)]
    pub engine_backend: Option<BackendKind>,
    /// Drive with a gamepad instead of an engine: car.toml's table `gamepad`; without --car the
    /// first pad that fits
    #[arg(long, conflicts_with_all = ["engine", "engine_backend", "frames"])]
    pub by_hand: bool,
    /// Show the drive on a page at this address, such as 192.168.1.20:8642, to every user who has
    /// the printed token. The connection is not encrypted (docs/security.md)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Drive with the page of --watch or --listen instead of an engine: by touch, keyboard or the
    /// browser's gamepad
    #[arg(long, conflicts_with_all = ["engine", "engine_backend", "frames", "by_hand"])]
    pub by_page: bool,
    /// The high-level command at the start, such as left, for an engine with `[command]` in its recipe or a
    /// recording by hand; `pilotage command` sets another while it drives
    #[arg(long, value_name = "NAME")]
    pub command: Option<String>,
    /// Record frames and commands to this folder: a new one, or a recording to continue
    #[arg(id = "folder", long = "record", value_name = "FOLDER")]
    pub record: Option<PathBuf>,
    /// How frames are recorded
    #[command(flatten)]
    pub recording: RecordingOptions,
    /// For a physical car: end after this many frames
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Show the drive on a page, whose address is printed; needs the program pilotage-watch
    #[arg(long)]
    pub watch: bool,
    /// Let other programs of this user and group watch the drive at this new socket, such as
    /// `pilotage-watch --terminal` over ssh
    #[arg(long, value_name = "SOCKET")]
    pub tap: Option<PathBuf>,
    /// The drive log
    #[command(flatten)]
    pub log: LogOptions,
    /// Draw the driven path to this PNG or SVG; for a physical car the commands over time
    #[arg(long, value_name = "FILE.png|FILE.svg", value_parser = crate::plot::plot_path)]
    pub plot: Option<PathBuf>,
    /// Write the simulated car's path to this file: time, pose, speed, command and deviation at 20 Hz
    #[arg(long, value_name = "FILE.csv|FILE.json", value_parser = crate::odometry::path)]
    pub path: Option<PathBuf>,
}

/// How frames are recorded.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub struct RecordingOptions {
    /// Record lossless pictures instead of JPEG; three times as large and slow
    #[arg(long, requires = "folder", conflicts_with = "jpeg_quality")]
    png: bool,
    /// JPEG quality, 1 to 100; 92 if not given
    #[arg(long, value_name = "N", requires = "folder",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    jpeg_quality: Option<u8>,
    /// Record frames even while the car is not driven
    #[arg(long, requires = "folder")]
    pub all: bool,
}

impl RecordingOptions {
    /// The pictures' format.
    pub fn encoding(&self) -> Encoding {
        match self.png {
            true => Encoding::Png,
            false => Encoding::Jpeg(self.jpeg_quality.unwrap_or(92)),
        }
    }
}

/// Options of the drive log; each overrides car.toml.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct LogOptions {
    /// Keep a log of the whole drive in this folder, not only of the last seconds before each stop
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_log")]
    pub log: Option<PathBuf>,
    /// Keep no drive log
    #[arg(long)]
    pub no_log: bool,
}

impl LogOptions {
    /// The log of a drive of `car`; `None` if there is to be none, or no folder for it.
    fn request(&self, car: &Car) -> Option<LogRequest> {
        let store = |folder: PathBuf| Store {
            folder,
            most_logs: car.log.most_logs,
            most_bytes: car.log.most_bytes,
        };
        if let Some(folder) = &self.log {
            let (store, keep) = (store(folder.clone()), Keep::Drive);
            return Some(LogRequest { store, keep });
        }
        let keep = car.log.keep.filter(|_| !self.no_log)?;
        let Some(folder) = car.log.folder.clone().or_else(drive::default_folder) else {
            pilotage_console::say_always(
                "no drive log is written: neither XDG_STATE_HOME nor HOME is set; name a folder \
                 with --log, or `folder` in [log] of car.toml",
            );
            return None;
        };
        let store = store(folder);
        Some(LogRequest { store, keep })
    }
}

/// Options of the simulated car's world; each overrides car.toml.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct SimulatorOptions {
    /// A shipped circuit's name, or a .toml or .csv file (x,y in metres)
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "seed")]
    pub circuit: Option<String>,
    /// A random circuit with this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// `real` follows the wall clock, `fast` runs as fast as it can
    #[arg(long, value_enum)]
    pub pace: Option<Pace>,
    /// A CSV of x,y to measure the position deviation against, instead of the centre line
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// The conditions of the drive
    #[command(flatten)]
    pub conditions: ConditionOptions,
}

/// The conditions of a simulated drive; each option overrides car.toml.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct ConditionOptions {
    /// Width of the road, metres
    #[arg(long, value_name = "W")]
    pub road_width: Option<f64>,
    /// Width of the line, metres
    #[arg(long, value_name = "W")]
    pub line_width: Option<f64>,
    /// Random colours, light and noise with this seed
    #[arg(long = "looks", value_name = "N")]
    pub appearance_seed: Option<u64>,
    /// How the simulated car responds to commands
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// The car that kind `tyres` simulates
    #[arg(long, value_enum)]
    pub preset: Option<CarPreset>,
    /// The coefficient of friction between tyres and ground, 0.1 to 2
    #[arg(long, value_name = "MU")]
    pub friction: Option<f64>,
    /// Laps to drive
    #[arg(long, value_name = "N")]
    pub laps: Option<u32>,
    /// End the run after this many simulated seconds
    #[arg(long, value_name = "S")]
    pub time_limit: Option<f64>,
    /// A fixed latency from frame to command, instead of the measured one; with it a run repeats
    /// bit for bit
    #[arg(long, value_name = "MS")]
    pub latency: Option<f64>,
    /// Drop this share of the frames, 0 to 0.9
    #[arg(long, value_name = "SHARE")]
    pub drop_frames: Option<f64>,
    /// The guard's deadline, at least three frame periods
    #[arg(long, value_name = "MS")]
    pub deadline: Option<f64>,
    /// Start this far left of the line, metres
    #[arg(long, value_name = "M")]
    pub start_offset: Option<f64>,
    /// Start turned this far to the left, degrees
    #[arg(long, value_name = "DEG")]
    pub start_heading: Option<f64>,
}

/// Drives, and reports. The exit status is 0 if the drive ended as it should; see [`drive::run`].
///
/// # Errors
/// Fails if something that is requested does not exist or is not valid; nothing has moved then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let born = Instant::now();
    let car = Car::load_with(options.car.as_deref(), |settings| adjust(settings, options))?;
    let simulator = &options.simulator;
    if car.capture.is_some() {
        simulator.refuse()?;
        anyhow::ensure!(
            options.path.is_none(),
            "--path applies only to the simulated car, whose pose is known; --log keeps the commands of \
             a physical car's drive"
        );
    } else {
        anyhow::ensure!(
            options.frames.is_none() || options.by_hand || options.by_page,
            "--frames applies only to a real car; a simulated drive ends with --laps or --time-limit"
        );
    }
    let dropped = simulator.conditions.dropped()?;
    let recording = options.record.as_ref();
    drive::run(Request {
        file: options.car.clone(),
        by_hand: options.by_hand || options.by_page,
        by_page: options.by_page,
        command: options.command.clone(),
        frames: options.frames,
        start: simulator.conditions.start()?,
        dropped,
        reference: simulator.reference.clone(),
        recording: recording.map(|folder| RecordingRequest {
            folder: folder.clone(),
            encoding: options.recording.encoding(),
            always: options.recording.all,
        }),
        plot: options.plot.clone(),
        path: options.path.clone(),
        json: options.json,
        watch: options.watch || options.by_page || options.listen.is_some(),
        listen: options.listen,
        tap: options.tap.clone(),
        log: options.log.request(&car),
        born,
        ..Request::new(car)
    })
}

impl ConditionOptions {
    /// The share of the frames that are dropped.
    pub(super) fn dropped(&self) -> anyhow::Result<f64> {
        let dropped = self.drop_frames.unwrap_or(0.0);
        anyhow::ensure!(
            (0.0..=0.9).contains(&dropped),
            "--drop-frames is a share between 0 and 0.9, not {dropped}"
        );
        Ok(dropped)
    }

    /// Where the car starts, if not at the circuit's start.
    pub(super) fn start(&self) -> anyhow::Result<Option<Start>> {
        let start = Start {
            offset: bounded(self.start_offset, "--start-offset", 10.0)?,
            heading: bounded(self.start_heading, "--start-heading", 180.0)?,
        };
        let given = self.start_offset.is_some() || self.start_heading.is_some();
        Ok(given.then_some(start))
    }

    fn adjust(&self, settings: &mut Settings) {
        let simulator = &mut settings.simulator;
        simulator.road_width = self.road_width.or(simulator.road_width);
        simulator.line_width = self.line_width.or(simulator.line_width);
        simulator.appearance_seed = self.appearance_seed.or(simulator.appearance_seed);
        simulator.laps = self.laps.unwrap_or(simulator.laps);
        simulator.latency_ms = self.latency.or(simulator.latency_ms);
        simulator.time_limit = self.time_limit.unwrap_or(simulator.time_limit);
        if self.friction.is_some() {
            simulator.friction = self.friction;
            simulator.friction_seed = None;
        }
        settings.car.kind = self.kind.unwrap_or(settings.car.kind);
        settings.car.preset = self.preset.unwrap_or(settings.car.preset);
        settings.guard.deadline_ms = self.deadline.or(settings.guard.deadline_ms);
    }
}

impl SimulatorOptions {
    /// Refuses these options for a physical car, where they would be useless, or worse.
    fn refuse(&self) -> anyhow::Result<()> {
        let conditions = &self.conditions;
        let given = [
            ("--circuit", self.circuit.is_some()),
            ("--seed", self.seed.is_some()),
            ("--road-width", conditions.road_width.is_some()),
            ("--line-width", conditions.line_width.is_some()),
            ("--looks", conditions.appearance_seed.is_some()),
            ("--kind", conditions.kind.is_some()),
            ("--preset", conditions.preset.is_some()),
            ("--friction", conditions.friction.is_some()),
            ("--laps", conditions.laps.is_some()),
            ("--time-limit", conditions.time_limit.is_some()),
            ("--pace", self.pace.is_some()),
            ("--latency", conditions.latency.is_some()),
            ("--drop-frames", conditions.drop_frames.is_some()),
            ("--start-offset", conditions.start_offset.is_some()),
            ("--start-heading", conditions.start_heading.is_some()),
            ("--reference", self.reference.is_some()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            anyhow::bail!(
                "{option} applies only to the simulated car; this car.toml describes a physical car"
            );
        }
        anyhow::ensure!(
            conditions.deadline.is_none(),
            "--deadline applies only to the simulated car: a physical car's guard reads \
             `guard.deadline_ms` in car.toml"
        );
        Ok(())
    }

    pub(super) fn adjust(&self, settings: &mut Settings) {
        self.conditions.adjust(settings);
        let simulator = &mut settings.simulator;
        if let Some(circuit) = &self.circuit {
            simulator.circuit = from_here(circuit, &["toml", "csv"]);
        }
        if let Some(seed) = self.seed {
            simulator.circuit = "random".to_owned();
            simulator.seed = seed;
        }
        simulator.pace = self.pace.unwrap_or(simulator.pace);
    }
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
    options.simulator.adjust(settings);
    if options.by_hand && options.car.is_none() {
        settings.gamepad = Some(GamepadSettings::default());
    }
    let engine = &mut settings.engine;
    engine.threads = options.threads.unwrap_or(engine.threads);
    engine.backend = options.engine_backend.unwrap_or(engine.backend);
    if let Some(set) = options.instruction_set {
        engine.instruction_set = Some(set.name().to_owned());
    }
    choose_engine(engine, options.engine.as_deref());
}

/// Selects the engine that `--engine` names: a file if its name ends with .engine.
pub(super) fn choose_engine(engine: &mut EngineSettings, named: Option<&str>) {
    match named {
        Some(file) if has_extension(file, &["engine"]) => {
            engine.file = Some(from_here(file, &["engine"]));
        }
        Some(name) => {
            engine.name = name.to_owned();
            engine.file = None;
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
