//! `pilotage arm`, `disarm`, `stop` and `status`: an operator's requests to a car's guard.

mod held;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::print;
use pilotage_guard::{
    Braking, CommandLink, INSTALLED, OperatorLink, SocketLink, State, Status, Stopped, Target,
    guard_socket, stop_all,
};
use pilotage_vehicle::monotonic;
use serde::Serialize;

use crate::guarded::write_failsafe;
use crate::report::GuardCounts;

/// Options of `arm`, `disarm` and `stop`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car's file [default: /etc/pilotage/car.toml]
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
}

/// Options of `arm`.
#[derive(Debug, clap::Args)]
pub struct ArmOptions {
    #[command(flatten)]
    of: Options,
    /// Only while a key is held down in this terminal
    #[arg(long)]
    while_held: bool,
}

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusOptions {
    #[command(flatten)]
    of: Options,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The socket of the car's guard: from the guard's record, else from car.toml.
    fn socket(&self) -> anyhow::Result<PathBuf> {
        let file = self.car.as_deref().unwrap_or(Path::new(INSTALLED));
        guard_socket(file).with_context(|| match self.car {
            None => "no car is installed here: name the file of another with --car",
            Some(_) => "no guard of this car runs",
        })
    }

    /// A connection to the guard, and the car's name as the guard reports it.
    fn connect(&self) -> anyhow::Result<(SocketLink, String)> {
        let mut link = SocketLink::connect(&self.socket()?)?;
        link.refresh()?;
        let car = link.car()?;
        Ok((link, car))
    }
}

/// Allows the pilot to drive the car.
///
/// # Errors
/// Fails if the guard refuses, or if there is none; with `--while-held` also without a terminal.
pub fn arm(options: &ArmOptions) -> anyhow::Result<ExitCode> {
    let (mut link, car) = options.of.connect()?;
    if options.while_held {
        return held::arm(link, &car);
    }
    arm_pilot(&mut link, &car)?;
    Ok(ExitCode::SUCCESS)
}

fn arm_pilot(link: &mut SocketLink, car: &str) -> anyhow::Result<()> {
    let armed = link.arm_pilot();
    let failure = link.status().failure;
    armed.with_context(|| match failure {
        Some(failure) => format!("{car}: {failure}"),
        None => car.to_owned(),
    })?;
    print("armed: the car drives as soon as the pilot's next frame comes");
    print(format_args!("  {car}"));
    Ok(())
}

/// Disarms the car.
///
/// # Errors
/// Fails if there is no guard.
pub fn disarm(options: &Options) -> anyhow::Result<ExitCode> {
    let (mut link, car) = options.connect()?;
    link.disarm(monotonic())?;
    Ok(reached(&car, "disarmed", &link.status()))
}

/// Reports what was done, and whether it reached the motors.
fn reached(car: &str, done: &str, status: &Status) -> ExitCode {
    match status.failure {
        None => {
            print(done);
            print(format_args!("  {car}"));
            ExitCode::SUCCESS
        }
        Some(failure) => {
            print(format_args!(
                "{done}, but it did not reach the motors: {failure}"
            ));
            print(format_args!("  {car}"));
            print(
                "the guard goes on trying; what always works is to disconnect the motors' battery",
            );
            ExitCode::FAILURE
        }
    }
}

/// Stops the car, with or without its guard.
///
/// # Errors
/// Fails if neither is possible.
pub fn stop(options: &Options) -> anyhow::Result<ExitCode> {
    let target = match &options.car {
        Some(file) => Target::Car(file),
        None => Target::Installed,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut failed = None;
    for stopped in stop_all(target, write_failsafe) {
        match stopped {
            Ok(Stopped::ByGuard { car, status }) => {
                let done = describe(status.state);
                let reached = reached(&car, &done, &status);
                if reached != ExitCode::SUCCESS {
                    exit = reached;
                }
            }
            Ok(Stopped::WithoutGuard {
                car,
                killed: Some(guard),
            }) => {
                print(format_args!(
                    "the guard (process {guard}) did not answer and was killed; the motors got \
                     failsafe"
                ));
                print(format_args!("  {car}"));
            }
            Ok(Stopped::WithoutGuard { car, killed: None }) => {
                print("there is no guard; failsafe was written to the motors");
                print(format_args!("  {car}"));
            }
            Err(error) => {
                // Report the errors after all other cars have been stopped.
                if let Some(earlier) = failed.replace(error) {
                    print(earlier);
                }
            }
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(exit),
    }
}

/// Reports the guard's state.
///
/// # Errors
/// Fails if there is no guard.
pub fn status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let (link, car) = options.of.connect()?;
    let status = link.status();
    if options.json {
        let answer = Answer::of(&car, &status);
        print(serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (output, rejected) = (status.output, link.rejected());
    let counts = GuardCounts::from(status.counters);
    print(describe(status.state));
    print(format_args!("  {car}"));
    print(format_args!(
        "  steering {:+.2}, throttle {:+.2}",
        output.steering, output.throttle
    ));
    if let Some(failure) = status.failure {
        print(format_args!("  the motors do not take commands: {failure}"));
    }
    if status.stop_held {
        print("  a stop button is held: nothing arms");
    }
    print(format_args!(
        "  {} commands accepted, {} refused, {} dropped; {} stops, {} failed writes",
        counts.accepted, counts.refused, counts.dropped, counts.stops, counts.write_errors
    ));
    print(format_args!(
        "  on its socket: {} malformed, {} replayed, {} unauthorized, {} evicted",
        rejected.malformed, rejected.replayed, rejected.unauthorized, rejected.evicted
    ));
    Ok(ExitCode::SUCCESS)
}

fn describe(state: State) -> String {
    match state {
        State::Disarmed => "disarmed".to_owned(),
        State::Armed(_) => "armed; no command has come yet".to_owned(),
        State::Driving(_) => "driving".to_owned(),
        State::Trimming(_) => "being trimmed".to_owned(),
        State::Stopped { reason } | State::Braking(Braking { reason, .. }) => {
            format!("stopped: {reason}")
        }
    }
}

#[derive(Serialize)]
struct Answer {
    car: String,
    state: &'static str,
    reason: Option<String>,
    /// Why the motors do not take commands.
    failure: Option<String>,
    stop_held: bool,
    steering: f32,
    throttle: f32,
    guard: GuardCounts,
}

impl Answer {
    fn of(car: &str, status: &Status) -> Self {
        Self {
            car: car.to_owned(),
            failure: status.failure.map(|failure| failure.to_string()),
            stop_held: status.stop_held,
            state: match status.state {
                State::Disarmed => "disarmed",
                State::Armed(_) => "armed",
                State::Driving(_) => "driving",
                State::Trimming(_) => "trimming",
                State::Stopped { .. } | State::Braking(_) => "stopped",
            },
            reason: status.state.stopped().map(|reason| reason.to_string()),
            steering: status.output.steering,
            throttle: status.output.throttle,
            guard: status.counters.into(),
        }
    }
}
