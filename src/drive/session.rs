//! The loop, which is the same for every driver and setting.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use pilotage_camera::CameraError;
use pilotage_console::print_within;
use pilotage_drivelog::Level;
use pilotage_guard::notify::Manager;
use pilotage_guard::{ArmRequest, LinkError, State};
use pilotage_simulator::PathPoint;
use pilotage_vehicle::{Domain, monotonic};

use super::driver::{Driver, Iteration};
use super::ending::Ending;
use super::live::{LiveLine, Source, View};
use super::observers::Observers;
use super::recording::Recording;
use super::setting::Setting;
use super::trace::Trace;
use super::watch::{Watch, say};
use super::{Request, assemble};
use crate::high_level::{CommandServer, Commands};
use crate::odometry;
use crate::operator::Buttons;
use crate::pilot::StepError;
use crate::plot;
use crate::recorder::Numbers;
use crate::report::{BehaviorMetricsAverages, CircuitPart, DriveReport, LoopTiming};

/// The pause after a fault of a physical car, because a component that failed may fail again at
/// once.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a drive's report waits for a slow reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// A drive from its arming to its report.
pub struct Session {
    // Drop order: the operator's buttons, then the driver's connection to the guard, then the guard
    // that was started here, so that it ends.
    buttons: Option<Buttons>,
    driver: Box<dyn Driver>,
    setting: Setting,
    recording: Option<Recording>,
    trace: Option<Trace>,
    observers: Option<Observers>,
    manager: Manager,
    watch: Watch,
    timing: LoopTiming,
    live: Option<LiveLine>,
    /// The high-level commands, and what receives them.
    commands: Option<Arc<Commands>>,
    receiver: Option<CommandServer>,
    request: Request,
    /// The frames that an engine has answered.
    frames: u64,
    started: Instant,
    /// From the start of the program.
    first_command: Option<Duration>,
}

/// Sets the command that is requested at the start, and receives others while the drive goes on.
fn receive(
    request: &Request,
    commands: Option<&Arc<Commands>>,
) -> anyhow::Result<Option<CommandServer>> {
    let Some(commands) = commands else {
        anyhow::ensure!(
            request.command.is_none(),
            "--command is for an engine with [command] in its recipe, or for a recording by hand; this drive \
             takes no commands"
        );
        return Ok(None);
    };
    if let Some(command) = &request.command {
        commands.set(command)?;
    }
    if request.quiet {
        return Ok(None);
    }
    match CommandServer::start(request.file.as_deref(), Arc::clone(commands)) {
        Ok(server) => Ok(Some(server)),
        Err(error) => {
            say(&format!(
                "warning: `pilotage command` does not reach this drive: {error}"
            ));
            Ok(None)
        }
    }
}

/// The high-level command of an iteration: that which its frame was answered with.
fn high_level(iteration: Option<&Iteration>, commands: &Commands) -> Option<u8> {
    match iteration {
        Some(Iteration::Engine(step)) => step.high_level,
        _ => commands.place(),
    }
}

impl Session {
    /// Assembles the components for `request`, announces the drive, and arms a simulated or dry-run
    /// car.
    ///
    /// # Errors
    /// Fails if something that is needed does not exist or is not valid; nothing has moved then.
    pub fn start(request: Request) -> anyhow::Result<Self> {
        let manager = Manager::from_environment();
        let mut parts = assemble::parts(&request)?;
        if !request.quiet {
            say(&parts.announcement);
        }
        let commands = parts.commands;
        let receiver = receive(&request, commands.as_ref())?;
        let operator = (parts.page, receiver.as_ref().map(CommandServer::path));
        let observers = Observers::start(&request, &parts.setting, &*parts.driver, operator)?;
        parts.driver.prepare()?;
        manager.ready();
        let simulated = parts.setting.is_simulated();
        if request.car.limits.spec().actuator == Domain::Simulated {
            // No motor moves, so no operator has to arm. The guard, which knows its actuator,
            // refuses this for any other car.
            let now = parts.driver.now();
            let engine = parts.driver.domain();
            let armed = parts.driver.link().arm(now, ArmRequest { engine });
            armed.context(match simulated {
                true => "the guard did not arm the car",
                false => "the guard did not arm the dry run",
            })?;
            log::info!("armed after {:?}", request.born.elapsed());
        }
        let watch = match (simulated, request.by_hand) {
            (false, _) => Watch::naming("`pilotage arm`", "`pilotage stop`"),
            (true, true) if request.by_page => Watch::naming("the page", "STOP"),
            (true, true) => Watch::naming("the arm button", "the stop button"),
            (true, false) => Watch::default(),
        };
        Ok(Self {
            buttons: match simulated || request.by_hand {
                true => None,
                false => assemble::buttons(&request.car, commands.clone())?,
            },
            driver: parts.driver,
            setting: parts.setting,
            recording: parts.recording.map(|it| it.keep(request.frames)),
            trace: (request.plot.is_some() && !simulated).then(Trace::default),
            observers,
            manager,
            watch,
            timing: LoopTiming::new(),
            live: Some(LiveLine::start(!request.json, commands.clone())),
            commands,
            receiver,
            request,
            frames: 0,
            started: Instant::now(),
            first_command: None,
        })
    }

    /// Runs one iteration. Returns how the drive has ended, if it has. Allocates nothing, except to
    /// report a fault or a change of the guard's state.
    pub fn step(&mut self) -> Option<Ending> {
        if let Some(ending) = self.enough() {
            return Some(ending);
        }
        self.manager.alive(monotonic());
        let result = self.driver.step();
        let state = self.driver.link().status().state;
        // The last picture of a folder ends the drive: no operator has to arm the car again.
        if !matches!(result, Err(StepError::Camera(CameraError::Ended { .. }))) {
            self.watch.state(state);
        }
        if let Some(ending) = self.observe(result.as_ref()) {
            return Some(ending);
        }
        match result {
            Ok(iteration) => self.add(&iteration, state),
            Err(error) => {
                if let Some(ending) = self.fault(error) {
                    return Some(ending);
                }
            }
        }
        self.setting.ending(state, self.request.by_hand)
    }

    /// Whether the requested frames have been taken or recorded, or the camera has no more.
    fn enough(&self) -> Option<Ending> {
        let reached = |count: u64| self.request.frames.is_some_and(|limit| count >= limit);
        match &self.recording {
            Some(recording) if recording.ended() => Some(Ending::Pictures),
            Some(recording) if self.request.by_hand && reached(recording.counts().written) => {
                Some(Ending::Recorded)
            }
            _ if !self.request.by_hand && reached(self.frames) => Some(Ending::Frames),
            _ => None,
        }
    }

    /// Shows an iteration to observers, and stops the car if one has requested that. Allocates
    /// nothing, except for the messages of a fault.
    fn observe(&mut self, result: Result<&Iteration, &StepError>) -> Option<Ending> {
        let observers = self.observers.as_mut()?;
        let status = self.driver.link().status();
        let frame = self.driver.frame();
        let now = self.driver.now();
        let mut record = Observers::record(now, &status, frame);
        match result {
            Ok(iteration) => iteration.fill(&mut record),
            Err(error) => record.set_fault(error.fault(), Some(error.detail())),
        }
        if let Some(log) = observers.log() {
            log.iteration(now, &status, result.err());
        }
        record.set_outputs(self.driver.outputs());
        let sensed = self.driver.sensed();
        record.set_sensed(&sensed);
        if let Some(commands) = &self.commands {
            let place = high_level(result.ok(), commands);
            record.set_high_level(place.and_then(|place| commands.name(place)));
        }
        if let Some(car) = self.setting.observed() {
            record.set_simulated(car);
        }
        let scan = self.driver.scan();
        observers.show(record, frame, scan.map(|scan| (scan, sensed.scan_age)));
        if !observers.take_stop() {
            return None;
        }
        if let Some(log) = observers.log() {
            log.note(now, Level::Info, "STOP on the page".to_owned());
        }
        self.driver.link().stop(now).err().map(Ending::Gone)
    }

    /// Adds an iteration to what is measured, shown and recorded.
    fn add(&mut self, iteration: &Iteration, state: State) {
        let command = iteration.command();
        if iteration.drives() {
            self.first_command
                .get_or_insert_with(|| self.request.born.elapsed());
        }
        let source = match iteration {
            Iteration::Engine(step) => {
                self.frames += 1;
                self.timing.record(step);
                Source::Engine {
                    inference: step.inference.as_secs_f32() * 1e6,
                    loop_p99: self.timing.thinking_p99().as_secs_f32() * 1e6,
                    fallback: step.fallback,
                }
            }
            Iteration::Hand {
                request,
                stop_tested,
            } => Source::Hand {
                driven: request.driven,
                stop_tested: *stop_tested,
            },
        };
        if let Some(live) = &self.live {
            let progress = self.setting.progress(state, command);
            live.show(View { progress, source });
        }
        let driving = iteration.drives() && matches!(state, State::Driving(_));
        if let Some(recording) = &mut self.recording {
            let commands = self.commands.as_ref();
            let numbers = Numbers {
                measured: self.driver.sensed().measured,
                command: commands.and_then(|commands| high_level(Some(iteration), commands)),
                scan: self.driver.scan(),
            };
            let values = (driving, command.0, command.1);
            recording.take(values, numbers, self.driver.frame());
        }
        if let Some(trace) = &mut self.trace {
            trace.add(self.started.elapsed().as_secs_f64(), driving, command);
        }
        self.watch
            .well("the fault is over; the car is stopped until an operator arms it");
    }

    /// A fault ends a simulated drive. A physical car is stopped until an operator arms it again,
    /// and its loop continues, unless the folder has no more pictures that can be shown or the guard is gone.
    fn fault(&mut self, error: StepError) -> Option<Ending> {
        if self.setting.is_simulated() {
            return Some(Ending::Fault(error));
        }
        match error {
            StepError::Camera(CameraError::Ended { .. }) => Some(Ending::Pictures),
            // The pictures of a folder do not become better.
            StepError::Camera(CameraError::Folder(_) | CameraError::Sizes { .. }) => {
                Some(Ending::Fault(error))
            }
            StepError::Link(error @ (LinkError::Gone | LinkError::Replaced)) => {
                Some(Ending::Gone(error))
            }
            error => {
                self.watch.wrong(&error);
                if let Err(error) = self.driver.link().advance_to(monotonic()) {
                    return Some(Ending::Gone(error));
                }
                std::thread::sleep(PAUSE);
                None
            }
        }
    }

    /// Disarms the car, unless its guard is gone; then reports and draws.
    ///
    /// # Errors
    /// Fails if the simulated car cannot be disarmed, or the report cannot be converted to JSON.
    pub fn finish(mut self, ending: &Ending) -> anyhow::Result<ExitCode> {
        let report = self.conclude(ending)?;
        let text = match self.request.json {
            true => report.json()?,
            false => report.table(),
        };
        print_within(text, PATIENCE);
        let written = self.draw(&report) & self.write_path();
        let laps = self.setting.is_simulated() && !self.request.by_hand;
        let succeeded = ending.succeeded(laps);
        if !succeeded && self.setting.is_simulated() {
            say(&format!("not done: {ending}"));
        }
        Ok(match succeeded && written {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    /// Disarms the car, unless its guard is gone, and ends everything that runs beside the loop.
    /// Returns the report. No further iteration drives.
    ///
    /// # Errors
    /// Fails if the simulated car cannot be disarmed.
    pub fn conclude(&mut self, ending: &Ending) -> anyhow::Result<DriveReport> {
        let wall = self.started.elapsed();
        let before = self.driver.link().status();
        let disarmed = self.disarm(ending);
        drop(self.live.take());
        drop(self.receiver.take());
        log::info!("ended after {wall:?}: {ending}");
        // The arm button may have been pressed since; its thread ends before the car is disarmed
        // again.
        if self.buttons.take().is_some() {
            let now = self.driver.now();
            let _ = self.driver.link().disarm(now);
        }
        if let Some(observers) = self.observers.take() {
            // The page shows this last: the reason of a stop, not that the car has been disarmed
            // since.
            let status = match before.state.stopped() {
                Some(_) => before,
                None => self.driver.link().status(),
            };
            let now = self.driver.now();
            let last = Observers::record(now, &status, self.driver.frame());
            observers.end(&last, ending.log_entry(now));
        }
        disarmed?;
        Ok(self.report(ending, wall))
    }

    /// The simulated car's path so far; empty for a physical car.
    pub fn path(&self) -> Vec<PathPoint> {
        match &self.setting {
            Setting::Simulated { world, .. } => world.borrow().path().to_vec(),
            Setting::Physical { .. } => Vec::new(),
        }
    }

    fn disarm(&mut self, ending: &Ending) -> anyhow::Result<()> {
        let now = self.driver.now();
        let link = self.driver.link();
        let disarmed = match ending {
            Ending::Gone(error) => Err(*error),
            _ => link.disarm(now),
        };
        if !self.setting.is_simulated() {
            self.setting.say_the_end(disarmed);
            return Ok(());
        }
        match disarmed {
            Err(LinkError::Gone) => say("the guard is gone: failsafe was written to its motors"),
            disarmed => disarmed.context("the guard did not disarm the car")?,
        }
        if matches!(ending, Ending::Signal) {
            let output = link.status().output;
            say(&format!(
                "stopped by a signal: the car is disarmed, steering {}, throttle {}",
                output.steering, output.throttle
            ));
        }
        Ok(())
    }

    fn report(&mut self, ending: &Ending, wall: Duration) -> DriveReport {
        let car = &self.request.car;
        let mut report = DriveReport {
            completed: None,
            outcome: ending.to_string(),
            circuit: None,
            car: car.name.clone(),
            camera: None,
            hand: None,
            actuator: None,
            engine: None,
            metrics: None,
            behavior_metrics: None,
            timing: (!self.request.by_hand).then(|| self.timing.summary()),
            frames: None,
            guard: self.driver.link().status().counters.into(),
            wall_seconds: wall.as_secs_f64(),
            first_command_seconds: self.first_command.map(|time| time.as_secs_f64()),
            // Wait until the last frames are written, then count.
            recording: self.recording.take().map(Recording::finish),
        };
        self.driver.describe(&mut report);
        match &self.setting {
            Setting::Physical { .. } => report.actuator = Some(car.actuator.kind.to_string()),
            Setting::Simulated { world, reference } => {
                let world = world.borrow();
                let simulated = world.path().last().map_or(0.0, |point| point.time);
                let factor = simulated / report.wall_seconds.max(f64::MIN_POSITIVE);
                let averages = report
                    .timing
                    .is_some()
                    .then(|| self.timing.averages(factor));
                report.completed = Some(ending.completed());
                report.car = assemble::kind(car);
                report.circuit = Some(CircuitPart {
                    circuit: world.circuit().name().to_owned(),
                    circuit_length: world.circuit().length(),
                    deviation_reference: match &self.request.reference {
                        Some(file) => file.display().to_string(),
                        None => "centre line".to_owned(),
                    },
                });
                let timing = report.timing.is_some().then_some(&self.timing);
                report.behavior_metrics = Some(BehaviorMetricsAverages::of(
                    world.distance(),
                    simulated,
                    timing,
                ));
                report.metrics = Some(world.metrics(reference.as_deref(), averages));
            }
        }
        report
    }

    /// Writes the simulated car's path, if requested. Returns false if that failed.
    fn write_path(&self) -> bool {
        let Some(file) = &self.request.path else {
            return true;
        };
        let written = odometry::write(file, &self.path());
        match &written {
            Ok(()) => say(&format!("the path is written to {}", file.display())),
            Err(error) => say(&format!("the path is driven, but not written: {error}")),
        }
        written.is_ok()
    }

    /// Draws the lap, or the commands of a physical car, if requested. Returns false if that
    /// failed.
    fn draw(&self, report: &DriveReport) -> bool {
        let Some(path) = &self.request.plot else {
            return true;
        };
        let (what, drawn) = match (&self.setting, &self.trace) {
            (Setting::Simulated { world, .. }, _) => {
                let world = world.borrow();
                let (circuit, driven) = (world.circuit(), world.path());
                let caption = report.caption();
                let drawn = plot::lap_picture(path, circuit, driven, &caption);
                ("the lap", drawn)
            }
            (_, trace) => {
                let spans = trace.as_ref().map_or(&[][..], Trace::spans);
                let drawn = plot::command_picture(path, spans, &report.caption());
                ("the drive", drawn)
            }
        };
        match &drawn {
            Ok(()) => say(&format!("{what} is drawn in {}", path.display())),
            Err(error) => say(&format!("{what} is driven, but not drawn: {error}")),
        }
        drawn.is_ok()
    }
}
