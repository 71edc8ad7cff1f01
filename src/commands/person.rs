//! `pilotage arm`, `disarm`, `stop` and `status`: what a person says to a car's guard.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::print as tell;
use pilotage_guard::{GuardedCar, Link, SocketLink, State, Status, Stopped, monotonic};
use serde::Serialize;

use crate::report::GuardCounts;

/// Where an installed car is described.
const INSTALLED: &str = "/etc/pilotage/car.toml";

/// Which car is spoken to.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car
    #[arg(long, value_name = "FILE", default_value = INSTALLED)]
    car: PathBuf,
}

/// Which car is asked, and how it answers.
#[derive(Debug, clap::Args)]
pub struct StatusOptions {
    #[command(flatten)]
    of: Options,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn car(&self) -> anyhow::Result<GuardedCar> {
        let loaded = GuardedCar::load(&self.car);
        loaded.with_context(|| match self.car.as_os_str() == INSTALLED {
            true => "no car is installed here: --car names the file of another",
            false => "no such car",
        })
    }

    fn connect(&self) -> anyhow::Result<SocketLink> {
        let mut link = SocketLink::connect(&self.car()?.socket)?;
        link.refresh()?;
        Ok(link)
    }
}

/// Lets the pilot drive the car.
///
/// # Errors
/// When the guard will not, or there is none.
pub fn arm(options: &Options) -> anyhow::Result<ExitCode> {
    let mut link = options.connect()?;
    link.arm_pilot()?;
    tell("armed: the car drives as soon as the pilot's next frame comes");
    Ok(ExitCode::SUCCESS)
}

/// Disarms the car.
///
/// # Errors
/// When there is no guard.
pub fn disarm(options: &Options) -> anyhow::Result<ExitCode> {
    let mut link = options.connect()?;
    link.disarm(monotonic())?;
    tell("disarmed");
    Ok(ExitCode::SUCCESS)
}

/// Stops the car, with its guard or without.
///
/// # Errors
/// When neither can be done.
pub fn stop(options: &Options) -> anyhow::Result<ExitCode> {
    let stopped = pilotage_guard::stop(&options.car()?)?;
    tell(match stopped {
        Stopped::ByGuard(status) => describe(status.state),
        Stopped::WithoutGuard {
            killed: Some(guard),
        } => format!(
            "the guard (process {guard}) did not answer and was killed; the motors got failsafe"
        ),
        Stopped::WithoutGuard { killed: None } => {
            "there is no guard; the motors got failsafe".to_owned()
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// Says where the guard stands.
///
/// # Errors
/// When there is none.
pub fn status(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let link = options.of.connect()?;
    let status = link.status();
    if options.json {
        tell(serde_json::to_string_pretty(&Answer::of(&status))?);
        return Ok(ExitCode::SUCCESS);
    }
    let (output, noise) = (status.output, link.noise());
    let counts = GuardCounts::from(status.counters);
    tell(describe(status.state));
    tell(format_args!(
        "  steering {:+.2}, throttle {:+.2}",
        output.steering, output.throttle
    ));
    tell(format_args!(
        "  {} commands accepted, {} refused, {} dropped; {} stops, {} failed writes",
        counts.accepted, counts.refused, counts.dropped, counts.stops, counts.write_errors
    ));
    tell(format_args!(
        "  on its socket: {} malformed, {} replayed, {} of strangers",
        noise.malformed, noise.replayed, noise.strangers
    ));
    Ok(ExitCode::SUCCESS)
}

fn describe(state: State) -> String {
    match state {
        State::Disarmed => "disarmed".to_owned(),
        State::Armed(_) => "armed; no command has come yet".to_owned(),
        State::Driving(_) => "driving".to_owned(),
        State::Stopped { reason } => format!("stopped: {reason}"),
    }
}

#[derive(Serialize)]
struct Answer {
    state: &'static str,
    reason: Option<String>,
    steering: f32,
    throttle: f32,
    guard: GuardCounts,
}

impl Answer {
    fn of(status: &Status) -> Self {
        Self {
            state: match status.state {
                State::Disarmed => "disarmed",
                State::Armed(_) => "armed",
                State::Driving(_) => "driving",
                State::Stopped { .. } => "stopped",
            },
            reason: status.state.stopped().map(|reason| reason.to_string()),
            steering: status.output.steering,
            throttle: status.output.throttle,
            guard: status.counters.into(),
        }
    }
}
