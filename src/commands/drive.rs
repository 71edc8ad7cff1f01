//! `pilotage drive`: drives a car as described by car.toml and the command line, and reports.

mod assemble;
mod hand;
mod real;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use pilotage_console::print_within;
use pilotage_engine::InstructionSet;
use pilotage_guard::LinkError;
use pilotage_simulator::Outcome;

use crate::car::{BackendKind, Kind};
use crate::live::{LiveLine, Numbers, Progress};
use crate::pilot::{Step, StepError};
use crate::report::{self, LoopTiming};
use crate::simulation::Pace;
use assemble::Assembled;

pub(super) use hand::{Recording, run as by_hand};
pub(super) use watch::say;

/// How long a drive's report waits for a slow reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Options of `pilotage drive`; each overrides car.toml.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct Options {
    /// The car: see docs/car.md; without it the simulated car on `simple`
    #[arg(long, value_name = "FILE")]
    pub car: Option<PathBuf>,
    /// A shipped circuit's name, or a .toml or .csv file (x,y in metres)
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "seed")]
    pub circuit: Option<String>,
    /// A random circuit with this seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Width of the road, metres
    #[arg(long, value_name = "W")]
    pub road_width: Option<f64>,
    /// Width of the line, metres
    #[arg(long, value_name = "W")]
    pub line_width: Option<f64>,
    /// Random colours, light and noise with this seed
    #[arg(long, value_name = "N")]
    pub looks: Option<u64>,
    /// How the simulated car responds to commands
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// Laps to drive
    #[arg(long, value_name = "N")]
    pub laps: Option<u32>,
    /// End the run after this many simulated seconds
    #[arg(long, value_name = "S")]
    pub time_limit: Option<f64>,
    /// `real` follows the wall clock, `fast` runs as fast as it can
    #[arg(long, value_enum)]
    pub pace: Option<Pace>,
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
    /// A compiled-in engine's name, or an .engine file
    #[arg(long, value_name = "NAME|FILE")]
    pub engine: Option<String>,
    /// Threads that the engine may use
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME")]
    pub instruction_set: Option<InstructionSet>,
    /// What runs the engine
    #[arg(long, value_enum)]
    pub engine_backend: Option<BackendKind>,
    /// A CSV of x,y to measure the position deviation against, instead of the centre line
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Drive a real car with a gamepad instead of an engine: car.toml's table `gamepad`
    #[arg(long, conflicts_with_all = ["engine", "engine_backend", "frames"])]
    pub by_hand: bool,
    /// For a real car: end after this many frames
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the driven path to this PNG
    #[arg(long, value_name = "FILE.png")]
    pub plot: Option<PathBuf>,
}

/// How a drive ended.
#[derive(Debug)]
enum End {
    World(Outcome),
    Guard(pilotage_guard::StopReason),
    Signal,
    Pilot(StepError),
}

/// How the drive ended, for the report.
#[derive(Debug)]
pub(crate) struct Ending {
    completed: bool,
    outcome: String,
    wall: Duration,
    /// From the start of the program.
    first_command: Option<Duration>,
}

/// Drives, and reports. The exit status is 0 if the laps were driven, 1 if they were not.
///
/// # Errors
/// Fails if something that is requested does not exist or is not valid; nothing has moved then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let born = Instant::now();
    let car = assemble::car(options)?;
    if options.by_hand {
        real::refuse_the_simulators(options)?;
        let file = options.car.as_deref();
        return hand::run(&car, file, None, options.json);
    }
    if car.capture.is_some() {
        return real::run(options, &car);
    }
    anyhow::ensure!(
        options.frames.is_none(),
        "--frames applies only to a real car; a simulated drive ends with --laps or --time-limit"
    );
    let mut assembled = assemble::assemble(options, car)?;
    if let Some(path) = &options.plot {
        // Fail before the lap and not after it.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let signalled = catch_signals()?;
    say(&assembled.announcement);
    assembled.drive.pilot.prepare()?;
    assembled
        .drive
        .arm()
        .context("the guard did not arm the car")?;
    log::info!("armed after {:?}", born.elapsed());

    let mut timing = LoopTiming::new();
    let live = LiveLine::start(!options.json);
    let started = Instant::now();
    let mut first_command = None;
    let end = loop {
        if signalled.load(Ordering::Relaxed) {
            break End::Signal;
        }
        match assembled.drive.pilot.step() {
            Ok(step) => {
                first_command.get_or_insert_with(|| born.elapsed());
                timing.record(&step);
                show(&live, &assembled, &step, &timing);
            }
            Err(error) => break End::Pilot(error),
        }
        if let Some(outcome) = assembled.drive.world.borrow().outcome() {
            break End::World(outcome);
        }
        if let Some(reason) = assembled.drive.pilot.link().status().state.stopped() {
            break End::Guard(reason);
        }
    };
    let wall = started.elapsed();
    drop(live);
    log::info!("ended after {wall:?}: {}", explain(&end));
    bring_to_neutral(&mut assembled, &end)?;

    let done = matches!(end, End::World(Outcome::LapDone { .. }));
    let ending = Ending {
        completed: done,
        outcome: explain(&end),
        wall,
        first_command,
    };
    let report = assembled.report(&timing, &ending);
    let text = match options.json {
        true => report::json(&report)?,
        false => report::table(&report),
    };
    print_within(text, PATIENCE);
    let drawn = options.plot.as_ref().map(|path| {
        let drawn = assembled.draw(path, &report);
        match &drawn {
            Ok(()) => say(&format!("the lap is drawn in {}", path.display())),
            Err(error) => say(&format!("the lap is driven, but not drawn: {error}")),
        }
        drawn.is_ok()
    });
    if !done {
        say(&format!("not done: {}", ending.outcome));
    }
    Ok(if done && drawn != Some(false) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let signalled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&signalled);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("Ctrl-C and SIGTERM cannot be caught")?;
    Ok(signalled)
}

fn show(live: &LiveLine, assembled: &Assembled, step: &Step, timing: &LoopTiming) {
    let world = assembled.drive.world.borrow();
    live.show(Numbers {
        progress: Progress::Lap {
            lap: world.lap_fraction() as f32,
            speed: world.car().speed() as f32,
            deviation: world.offset() as f32,
        },
        inference: step.inference.as_secs_f32() * 1e6,
        loop_p99: timing.thinking_p99().as_secs_f32() * 1e6,
        fallback: step.fallback,
    });
}

/// Disarms the car before anything is reported, however the drive ended.
fn bring_to_neutral(assembled: &mut Assembled, end: &End) -> anyhow::Result<()> {
    let pilot = &mut assembled.drive.pilot;
    let now = pilot.now();
    match pilot.link().disarm(now) {
        Err(LinkError::Gone) => say("the guard is gone: its motors got failsafe"),
        disarmed => disarmed.context("the guard could not be told to disarm the car")?,
    }
    if matches!(end, End::Signal) {
        let output = pilot.link().status().output;
        say(&format!(
            "stopped by a signal: the car is disarmed, steering {}, throttle {}",
            output.steering, output.throttle
        ));
    }
    Ok(())
}

fn explain(end: &End) -> String {
    match end {
        End::World(Outcome::LapDone { seconds }) => format!("done in {seconds:.2} s"),
        End::World(Outcome::OffRoad { s, offset }) => {
            format!("off the road: {offset:+.2} m from the line, {s:.0} m along the circuit")
        }
        End::World(Outcome::Stalled { s }) => {
            format!("stalled {s:.0} m along the circuit: moved under 0.5 m in 10 s")
        }
        End::World(Outcome::TimeLimit) => "the time limit was reached".to_owned(),
        End::Guard(reason) => format!("the guard stopped the car: {reason}"),
        End::Signal => "stopped by a signal".to_owned(),
        End::Pilot(error) => format!("the pilot could not go on: {error}"),
    }
}
