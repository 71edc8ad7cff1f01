//! Assembles the components of a drive: the driver, its connection to a guard, and the recording.

use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pilotage_camera::{self as camera, Camera, CameraConfig, Source};
use pilotage_console::say_always;
use pilotage_guard::{CommandLink, LinkError, OperatorLink, SocketLink};
use pilotage_lidar::Lidar;
use pilotage_simulator::{CarKind, World};
use pilotage_vehicle::{Domain, Monotonic, monotonic};

use super::driver::{Driver, EngineDriver};
use super::hand::{HandDriver, SimulatedView};
use super::pad::Pad;
use super::recording::Recording;
use super::setting::Setting;
use super::watch::say;
use super::{RecordingRequest, Request};
use crate::car::{Car, CircuitSource};
use crate::engines::{self, Loaded};
use crate::guarded::{GuardConnection, GuardProcess, OwnGuard};
use crate::high_level::Commands;
use crate::operator::{Buttons, Operator};
use crate::pilot::{Dropped, Parts as PilotParts, Pilot};
use crate::recorder::Folder;
use crate::sensors::{self, CarSensors, GuardSpeed, Imu, Sensors, SimulatedSensors, iio};
use crate::simulation::{Latency, OutOfProcessCamera, Pace, SimulatedClock, SimulatedDrive};

/// How long a drive waits for the first speed that the motors' electronics measure.
const FIRST_SPEED: Duration = Duration::from_millis(500);

/// What is made of a request.
pub(super) struct Parts {
    pub(super) driver: Box<dyn Driver>,
    pub(super) setting: Setting,
    pub(super) recording: Option<Recording>,
    pub(super) announcement: String,
    /// Where the page writes what its operator wants.
    pub(super) page: Option<OwnedFd>,
    /// The high-level commands, if the engine gets one or a recording keeps them.
    pub(super) commands: Option<Arc<Commands>>,
}

/// Builds everything that a drive needs.
///
/// # Errors
/// Fails if something does not exist or is not valid; nothing has moved then.
pub fn parts(request: &Request) -> anyhow::Result<Parts> {
    let car = &request.car;
    let folder = |recording: &RecordingRequest| {
        let folder = Folder::open(&recording.folder, recording.encoding)?;
        if let Some(pictures) = folder.continued() {
            say_always(format_args!(
                "{} has {pictures} frames already: the new ones follow them",
                recording.folder.display()
            ));
        }
        if !folder.has_scans() {
            let also = match folder.has_numbers() {
                true => "",
                false => "what sensors measure, commands and ",
            };
            say_always(format_args!(
                "{} was begun by an older version: it has no columns for {also}scans; \
                 for a network that gets them, record to a new folder",
                recording.folder.display()
            ));
        }
        folder
            .of_domain(recorded_domain(car))
            .map(|folder| (folder, recording.always))
    };
    let folder = request.recording.as_ref().map(folder).transpose()?;
    match (&car.capture, request.by_hand) {
        (None, false) => simulated_by_engine(request, folder),
        (None, true) => simulated_by_hand(request, folder),
        (Some(capture), false) => physical_by_engine(request, capture, folder),
        (Some(capture), true) => physical_by_hand(request, capture, folder),
    }
}

/// What a recording of the car's camera shows; not known of a camera that shows a recording.
fn recorded_domain(car: &Car) -> Option<Domain> {
    match &car.capture {
        None => Some(Domain::Simulated),
        Some(capture) => match capture.source {
            Source::Folder(_) => None,
            _ => Some(Domain::Physical),
        },
    }
}

/// Where frames are recorded, and whether even those of a car that is not driven.
type To = Option<(Folder, bool)>;

fn simulated_by_engine(request: &Request, to: To) -> anyhow::Result<Parts> {
    let car = &request.car;
    let reference = request.reference.as_deref().map(reference).transpose()?;
    let (world, dropped) = simulated(request)?;
    let loaded = load(request)?;
    let (engine, backend, domain) = (loaded.name.clone(), loaded.engine.describe(), loaded.domain);
    let has_numbers = loaded.rules.has_numbers();
    let drive = match guard_beside(car) {
        true => {
            let guarded = GuardProcess::start(&car.limits, domain)?;
            SimulatedDrive::beside(car, world, loaded, dropped, guarded)?
        }
        false => SimulatedDrive::new(car, world, loaded, dropped)?,
    };
    let sensors = match has_numbers {
        true => drive.pilot.sensors().map(Sensors::describe),
        false => None,
    };
    let mut driver = vec![("engine", engine.as_str()), ("backend", &backend)];
    driver.extend(sensors.as_deref().map(|sensors| ("sensors", sensors)));
    let announcement = announce(car, &drive.world.borrow(), &drive.camera, &driver);
    Ok(Parts {
        announcement,
        page: None,
        recording: in_loop(
            car,
            drive.pilot.camera(),
            to,
            (drive.clock, &drive.commands),
        )?,
        commands: drive.commands,
        driver: Box::new(EngineDriver {
            pilot: drive.pilot,
            domain,
            engine,
            backend,
            camera: None,
        }),
        setting: Setting::Simulated {
            world: drive.world,
            reference,
        },
    })
}

fn simulated_by_hand(request: &Request, to: To) -> anyhow::Result<Parts> {
    let car = &request.car;
    anyhow::ensure!(
        guard_beside(car),
        "an operator drives at the pace of the wall clock: leave out --pace fast and --latency, and \
         `pace` and `latency_ms` of car.toml's [simulator]"
    );
    let pad = Pad::open(request)?;
    let reference = request.reference.as_deref().map(reference).transpose()?;
    let (world, dropped) = simulated(request)?;
    let (guarded, link) = GuardProcess::start(&car.limits, Domain::Physical)?;
    // A car that stands still does not end an operator's drive.
    let (world, camera) = OutOfProcessCamera::film(world.patient(), guarded, dropped);
    let driver = [
        ("by hand", &*pad.pad.describe()),
        ("buttons", &pad.buttons()),
    ];
    let announcement = announce(car, &world.borrow(), &camera.describe(), &driver);
    let commands = to.as_ref().map(|_| Arc::new(Commands::any()));
    let recording = in_loop(car, &camera, to, (None, &commands))?;
    let sensors = SimulatedSensors::new(Rc::clone(&world));
    let view = Some(SimulatedView::new(camera, sensors)?);
    Ok(Parts {
        driver: Box::new(HandDriver::new(
            pad.pad,
            (pad.config, &car.limits),
            link,
            None,
            (view, commands.clone()),
        )),
        setting: Setting::Simulated { world, reference },
        recording,
        announcement,
        page: pad.page,
        commands,
    })
}

fn physical_by_engine(request: &Request, capture: &CameraConfig, to: To) -> anyhow::Result<Parts> {
    let car = &request.car;
    let loaded = load(request)?;
    let (engine, backend, domain) = (loaded.name.clone(), loaded.engine.describe(), loaded.domain);
    let (numbers, scan) = (
        !loaded.rules.measurements.is_empty(),
        loaded.rules.scan.is_some(),
    );
    let sensors = car_sensors(car, numbers || to.is_some(), scan || to.is_some())?;
    let measured = sensors.as_ref().map(Sensors::describe);
    let measured = measured.map_or_else(String::new, |sensors| format!("; {sensors}"));
    for note in sensors::check(&loaded.rules, sensors.as_ref().map(|it| it as &dyn Sensors))? {
        say(&format!("note: {note}"));
    }
    let commands = loaded
        .rules
        .command
        .as_ref()
        .map(Commands::of)
        .map(Arc::new);
    let camera = camera::open(capture)?;
    let described = camera.describe();
    let recording = in_loop(car, &*camera, to, (None, &commands))?;
    let (own_guard, mut link) = connect(request, domain)?;
    if let Some(speed) = sensors.as_ref().and_then(Sensors::guard_speed) {
        await_speed(&mut link, speed)?;
    }
    let whose = match own_guard {
        Some(_) => "its guard was started",
        None => "its guard runs already",
    };
    let deadline = car.limits.spec().deadline.as_millis();
    Ok(Parts {
        announcement: format!(
            "{}: {described}{measured}; engine {engine}, {backend}; motors {}, {whose}, deadline \
             {deadline} ms",
            car.name,
            car.actuator.describe()
        ),
        driver: Box::new(EngineDriver {
            pilot: Pilot::<dyn OperatorLink>::new(PilotParts {
                camera,
                preprocess: loaded.preprocess,
                engine: loaded.engine,
                decoder: loaded.decoder,
                rules: loaded.rules,
                sensors: sensors.map(|sensors| Box::new(sensors) as Box<dyn Sensors>),
                commands: commands.clone(),
                mixer: car.mixer.clone(),
                link: Box::new(link),
                clock: Box::new(Monotonic),
            })?,
            domain,
            engine,
            backend,
            camera: Some(described),
        }),
        setting: Setting::Physical { own_guard },
        recording,
        page: None,
        commands,
    })
}

fn physical_by_hand(request: &Request, capture: &CameraConfig, to: To) -> anyhow::Result<Parts> {
    let car = &request.car;
    let pad = Pad::open(request)?;
    let commands = to.as_ref().map(|_| Arc::new(Commands::any()));
    let mut speed = None;
    let recording = match to {
        Some((folder, always)) => {
            let camera = camera::open(capture)?;
            let mixer = car.mixer.clone();
            let sensors = car_sensors(car, true, true)?;
            speed = sensors.as_ref().and_then(Sensors::guard_speed).cloned();
            let sensors = sensors.map(|sensors| Box::new(sensors) as Box<dyn Sensors + Send>);
            let numbers = (commands.clone(), sensors);
            Some(Recording::of_camera(
                camera, folder, mixer, numbers, always,
            )?)
        }
        None => None,
    };
    let (own_guard, link) = connect(request, Domain::Physical)?;
    let operator = Some(Operator::new(car.guarded()));
    Ok(Parts {
        announcement: format!(
            "{}: by hand with {}; motors {}; {}",
            car.name,
            pad.pad.describe(),
            car.actuator.describe(),
            pad.buttons()
        ),
        driver: Box::new(
            HandDriver::new(
                pad.pad,
                (pad.config, &car.limits),
                link,
                operator,
                (None, commands.clone()),
            )
            .with_speed(speed),
        ),
        setting: Setting::Physical { own_guard },
        recording,
        page: pad.page,
        commands,
    })
}

/// The sensors of a physical car that car.toml has, of those that measure `numbers`, and of the lidar if a
/// `scan` is needed.
fn car_sensors(car: &Car, numbers: bool, scan: bool) -> anyhow::Result<Option<CarSensors>> {
    let start = |config| Imu::start(config, Path::new(iio::DEVICES), say);
    let imu = car.imu.as_ref().filter(|_| numbers).map(start).transpose();
    let imu = imu.context("the inertial unit (`[imu]` in car.toml) does not work")?;
    let start = |config| Lidar::start(config, say);
    let lidar = car.lidar.as_ref().filter(|_| scan).map(start).transpose();
    let lidar = lidar.context("the lidar (`[lidar]` in car.toml) does not work")?;
    let speed = car.actuator.measures_speed();
    let speed = (speed && numbers).then(GuardSpeed::default);
    Ok(CarSensors::new(imu, lidar, speed))
}

/// Waits for the first speed, so that the first frame has one. Motors that do not answer are reported when
/// the engine misses it.
fn await_speed(link: &mut SocketLink, speed: &GuardSpeed) -> Result<(), LinkError> {
    let began = monotonic();
    while link.status().speed.is_none() && monotonic().since(began) < FIRST_SPEED {
        std::thread::sleep(Duration::from_millis(5));
        link.advance_to(monotonic())?;
    }
    speed.set(link.status().speed);
    Ok(())
}

/// The world and the dropped frames of a simulated drive.
fn simulated(request: &Request) -> anyhow::Result<(World, Dropped)> {
    let car = &request.car;
    let mut world = car.world()?;
    if let Some(start) = request.start {
        let s = world.s();
        world = world.placed(s, start.offset, start.heading.to_radians());
    }
    let seed = request.noise.unwrap_or(car.simulator.seed);
    let dropped = Dropped::new(request.dropped, seed);
    world = world.with_seed(seed);
    Ok((world, dropped))
}

/// Whether the guard runs in a separate process: on the wall clock, a hanging pilot must not block
/// its guard.
fn guard_beside(car: &Car) -> bool {
    (car.simulator.pace, car.simulator.latency) == (Pace::Real, Latency::Measured)
}

fn load(request: &Request) -> anyhow::Result<Loaded> {
    let loaded = engines::load(&request.car)?;
    for note in &loaded.notes {
        say(&format!("note: {note}"));
    }
    let misfits = loaded.fit_car(&request.car)?;
    for misfit in misfits.iter().filter(|_| !request.quiet) {
        say(&format!("warning: {misfit}"));
    }
    Ok(loaded)
}

/// Reads the operator's buttons while an engine drives a physical car, if car.toml has a gamepad. They
/// set `commands`, too.
///
/// # Errors
/// Fails if the system cannot create a thread.
pub fn buttons(car: &Car, commands: Option<Arc<Commands>>) -> anyhow::Result<Option<Buttons>> {
    let Some(config) = car.gamepad.clone() else {
        return Ok(None);
    };
    let operator = Operator::new(car.guarded());
    Buttons::start(config, car.limits, operator, commands, say)
        .context("the system has no thread for the gamepad")
        .map(Some)
}

/// Connects to the guard of a physical or dry-running car, as the pilot for a driver of `domain`.
fn connect(request: &Request, domain: Domain) -> anyhow::Result<(Option<OwnGuard>, SocketLink)> {
    let file = request.file.as_deref();
    let file = file.context("a physical car needs its car.toml: name it with --car")?;
    // An absolute path, because the guard reads the file too and may run in another folder.
    let file = std::path::absolute(file).with_context(|| file.display().to_string())?;
    let guarded = request.car.guarded();
    // On an error the link is dropped before the guard, which ends with it.
    let GuardConnection { own, mut link } = GuardConnection::reach(&guarded, &file)?;
    link.hello(domain, &guarded.identification())?;
    Ok((own, link))
}

/// The recording of frames that the loop takes.
fn in_loop(
    car: &Car,
    camera: &dyn Camera,
    to: To,
    (clock, commands): (Option<SimulatedClock>, &Option<Arc<Commands>>),
) -> anyhow::Result<Option<Recording>> {
    let Some((folder, always)) = to else {
        return Ok(None);
    };
    let (format, mixer) = (camera.format(), car.mixer.clone());
    Ok(Some(Recording::of_loop(
        format,
        folder,
        mixer,
        commands.clone(),
        (always, clock),
    )?))
}

/// Describes a simulated drive; `driver` has the rows about the engine or the gamepad.
fn announce(car: &Car, world: &World, camera: &str, driver: &[(&str, &str)]) -> String {
    let circuit = match &car.simulator.circuit {
        CircuitSource::Shipped(name) => name.clone(),
        CircuitSource::Random => format!("random, seed {}", car.simulator.seed),
        CircuitSource::File(path) => path.display().to_string(),
    };
    let length = world.circuit().length();
    let pace = match car.simulator.pace {
        Pace::Real => "the wall clock's",
        Pace::Fast => "simulated, as fast as it goes",
    };
    let latency = match car.simulator.latency {
        Latency::Measured => "latency as measured".to_owned(),
        Latency::Fixed(latency) => format!("latency {} ms", latency.as_secs_f64() * 1e3),
    };
    let spec = car.limits.spec();
    let before = [("car", car.name.as_str())];
    let limits = limits_of_tyres(car.kind);
    let limits = limits.as_deref().map(|limits| ("limits", limits));
    let behind = [
        ("camera", camera),
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
    ];
    let mut text = String::new();
    let rows = before.iter().chain(driver).chain(&behind);
    for (name, value) in rows.chain(&limits) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:>10}  {value}");
    }
    text
}

/// What a car with tyres can do.
fn limits_of_tyres(kind: CarKind) -> Option<String> {
    let CarKind::Tyres(car) = kind else {
        return None;
    };
    let (limits, steering) = (car.dynamics().limits(), car.dynamics().steering);
    Some(format!(
        "friction {:.2}: {:.1} m/s2 to the side, {:.1} m/s2 ahead, {:.1} m/s2 braking; {:.1} m/s; \
         steering {:.2} rad at {:.1} rad/s after {:.0} ms",
        limits.friction,
        limits.lateral,
        limits.acceleration,
        limits.braking,
        limits.top_speed,
        steering.range,
        steering.rate,
        steering.delay * 1e3
    ))
}

/// The name of the car's kind, and of its preset.
pub fn kind(car: &Car) -> String {
    match car.kind {
        CarKind::Unicycle => "unicycle".to_owned(),
        CarKind::Ackermann => "ackermann".to_owned(),
        CarKind::Tyres(car) => format!("tyres, {}", car.preset.name()),
    }
}

/// The points of a reference path: x,y in metres, one per line.
///
/// # Errors
/// Fails if the file cannot be read or has no points.
pub fn reference(path: &Path) -> anyhow::Result<Vec<[f64; 2]>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    pilotage_simulator::reference_from_csv(&text).with_context(|| path.display().to_string())
}
