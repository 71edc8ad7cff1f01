//! Driving a real car: there are no laps, and only an operator ends the drive. A fault stops the
//! car but not the loop, which continues to take frames; only an operator arms the car again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use pilotage_camera::{self as camera, CameraConfig, CameraError};
use pilotage_console::print_within;
use pilotage_guard::notify::Manager;
use pilotage_guard::{ArmRequest, LinkError, State};
use pilotage_vehicle::{Domain, Monotonic, monotonic};

use super::watch::{Watch, say, say_the_end};
use super::{Options, PATIENCE, catch_signals};
use crate::car::Car;
use crate::engines;
use crate::gamepad::{Buttons, Operator};
use crate::guarded::{GuardConnection, OwnGuard};
use crate::live::{LiveLine, Numbers, Progress};
use crate::pilot::{Parts, Pilot, Step, StepError};
use crate::report::{LoopTiming, RealReport};

/// A lost camera answers at once; it is asked again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// How a drive ended.
enum End {
    Signal,
    Frames,
    /// A folder's pictures have all been shown.
    Pictures,
    /// The guard is gone.
    Guard(LinkError),
}

/// Drives until a signal ends it, the guard is gone, or the requested number of frames has been
/// taken.
///
/// # Errors
/// Fails if something that is needed does not exist or is not valid; nothing has moved then.
pub fn run(options: &Options, car: &Car) -> anyhow::Result<ExitCode> {
    refuse_the_simulators(options)?;
    let file = car_file(options)?;
    let capture = car.capture.as_ref().context("the car has no camera")?;
    let signalled = catch_signals()?;
    let mut manager = Manager::from_environment();
    let mut drive = RealDrive::assemble(car, capture, &file)?;
    say(&drive.announcement);
    drive.pilot.prepare()?;
    manager.ready();
    if car.limits.spec().actuator == Domain::Simulated {
        drive.arm()?;
    }
    let _buttons = listen(car)?;
    let mut timing = LoopTiming::new();
    let live = LiveLine::start(!options.json);
    let mut watch = Watch::default();
    let started = Instant::now();
    let mut frames = 0;
    let end = loop {
        if signalled.load(Ordering::Relaxed) {
            break End::Signal;
        }
        if options.frames.is_some_and(|wanted| frames >= wanted) {
            break End::Frames;
        }
        manager.alive(monotonic());
        let step = drive.pilot.step();
        let status = drive.pilot.link().status();
        watch.state(status.state);
        match step {
            Ok(step) => {
                frames += 1;
                timing.record(&step);
                live.show(numbers(status.state, &step, &timing));
                watch.well("the fault is over; the car is stopped until an operator arms it");
            }
            Err(StepError::Camera(CameraError::Ended { .. })) => break End::Pictures,
            Err(StepError::Link(error @ LinkError::Gone)) => break End::Guard(error),
            Err(error) => {
                watch.wrong(&error);
                if let Err(error) = drive.pilot.link().advance_to(monotonic()) {
                    break End::Guard(error);
                }
                std::thread::sleep(PAUSE);
            }
        }
    };
    drop(live);
    drive.disarm(&end);
    let report = drive.report(car, &timing, started.elapsed(), &end);
    let text = match options.json {
        true => report.json()?,
        false => report.table(),
    };
    print_within(text, PATIENCE);
    Ok(match end {
        End::Guard(_) => ExitCode::FAILURE,
        End::Signal | End::Frames | End::Pictures => ExitCode::SUCCESS,
    })
}

/// Starts to read the operator's gamepad, if car.toml has one.
fn listen(car: &Car) -> anyhow::Result<Option<Buttons>> {
    let Some(config) = car.gamepad.clone() else {
        return Ok(None);
    };
    let operator = Operator::new(car.guarded());
    Buttons::start(config, car.limits, operator, say)
        .context("the system has no thread for the gamepad")
        .map(Some)
}

/// A real car, its guard and its pilot.
struct RealDrive {
    pilot: Pilot,
    domain: Domain,
    announcement: String,
    camera: String,
    engine: String,
    backend: String,
    /// The guard ends after the pilot's connection to it is closed.
    own: Option<OwnGuard>,
}

impl RealDrive {
    fn assemble(car: &Car, capture: &CameraConfig, file: &Path) -> anyhow::Result<Self> {
        let loaded = engines::load(car)?;
        for note in &loaded.notes {
            say(&format!("note: {note}"));
        }
        let (engine, backend) = (loaded.name.clone(), loaded.engine.describe());
        let domain = loaded.domain;
        if (domain, car.limits.spec().actuator) == (Domain::Simulated, Domain::Physical) {
            say(&format!(
                "warning: engine {} was trained in the simulator, so the guard will not arm this \
                 car for it: name one that was trained on what its camera sees, `engine.file`",
                loaded.name
            ));
        }
        let camera = camera::open(capture)?;
        let described = camera.describe();
        // Drop order: `link` before `own`, so that a guard that was started here ends.
        let GuardConnection { own, mut link } = GuardConnection::reach(&car.guarded(), file)?;
        link.hello(domain, &car.guarded().identification())?;
        let whose = match own {
            Some(_) => "its guard was started",
            None => "its guard runs already",
        };
        let deadline = car.limits.spec().deadline.as_millis();
        let announcement = format!(
            "{}: {described}; engine {engine}, {backend}; motors {}, {whose}, deadline {deadline} \
             ms",
            car.name,
            car.actuator.describe()
        );
        let pilot = Pilot::new(Parts {
            camera,
            preprocess: loaded.preprocess,
            engine: loaded.engine,
            decoder: loaded.decoder,
            mixer: car.mixer.clone(),
            link: Box::new(link),
            clock: Box::new(Monotonic),
        })?;
        Ok(Self {
            pilot,
            domain,
            announcement,
            camera: described,
            engine,
            backend,
            own,
        })
    }

    /// Nothing moves in a dry run, so it is armed at once. The guard, which knows its actuator,
    /// refuses this for any other car.
    fn arm(&mut self) -> anyhow::Result<()> {
        let now = self.pilot.now();
        let request = ArmRequest {
            engine: self.domain,
        };
        match self.pilot.link().arm(now, request) {
            Err(error) => Err(error).context("the guard did not arm the dry run"),
            Ok(()) => Ok(()),
        }
    }

    /// Disarms the car before anything is reported, however the drive ended.
    fn disarm(&mut self, end: &End) {
        let now = self.pilot.now();
        let disarmed = match end {
            End::Guard(error) => Err(*error),
            End::Signal | End::Frames | End::Pictures => self.pilot.link().disarm(now),
        };
        say_the_end(disarmed, self.own.is_some());
    }

    fn report(&mut self, car: &Car, timing: &LoopTiming, wall: Duration, end: &End) -> RealReport {
        RealReport {
            outcome: match end {
                End::Signal => "ended by a signal".to_owned(),
                End::Frames => "the frames that were asked for are seen".to_owned(),
                End::Pictures => "all pictures have been shown".to_owned(),
                End::Guard(error) => error.to_string(),
            },
            car: car.name.clone(),
            camera: self.camera.clone(),
            actuator: car.actuator.kind.to_string(),
            engine: self.engine.clone(),
            backend: self.backend.clone(),
            wall_seconds: wall.as_secs_f64(),
            timing: timing.summary(),
            frames: self.pilot.camera().counters().into(),
            guard: self.pilot.link().status().counters.into(),
        }
    }
}

fn numbers(state: State, step: &Step, timing: &LoopTiming) -> Numbers {
    Numbers {
        progress: Progress::Real {
            state,
            steering: step.command.steering,
            throttle: step.command.throttle,
        },
        inference: step.inference.as_secs_f32() * 1e6,
        loop_p99: timing.thinking_p99().as_secs_f32() * 1e6,
        fallback: step.fallback,
    }
}

/// An absolute path, because the guard reads the file too and may run in another folder.
fn car_file(options: &Options) -> anyhow::Result<PathBuf> {
    let file = options.car.as_deref().context("a real car needs --car")?;
    std::path::absolute(file).with_context(|| file.display().to_string())
}

/// Options of the simulated car are useless, or worse, with a real one.
pub(super) fn refuse_the_simulators(options: &Options) -> anyhow::Result<()> {
    let asked = [
        ("--circuit", options.circuit.is_some()),
        ("--seed", options.seed.is_some()),
        ("--road-width", options.road_width.is_some()),
        ("--line-width", options.line_width.is_some()),
        ("--looks", options.looks.is_some()),
        ("--kind", options.kind.is_some()),
        ("--laps", options.laps.is_some()),
        ("--time-limit", options.time_limit.is_some()),
        ("--pace", options.pace.is_some()),
        ("--latency", options.latency.is_some()),
        ("--drop-frames", options.drop_frames.is_some()),
        ("--start-offset", options.start_offset.is_some()),
        ("--start-heading", options.start_heading.is_some()),
        ("--reference", options.reference.is_some()),
        ("--plot", options.plot.is_some()),
    ];
    if let Some((option, _)) = asked.iter().find(|(_, asked)| *asked) {
        anyhow::bail!("{option} is of the simulated car, and this car.toml describes a real one");
    }
    anyhow::ensure!(
        options.deadline.is_none(),
        "--deadline is of the simulated car: a real car's guard reads `guard.deadline_ms` in \
         car.toml"
    );
    Ok(())
}
