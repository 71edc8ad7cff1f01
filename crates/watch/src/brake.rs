//! Stop and disarm, as `pilotage stop` and `pilotage disarm` do them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotage_guard::{
    CarFileError, CommandLink, ConnectError, INSTALLED, LinkError, OperatorLink, SocketLink, State,
    StopError, Stopped, Target, failsafe_by_program, guard_socket, stop_all,
};
use pilotage_tap::ObserveError;
use pilotage_vehicle::monotonic;

use crate::Live;

/// What the page can do to a car. Both calls may block for seconds.
pub trait Brake: Send + Sync + 'static {
    /// Stops the car. The text says how.
    ///
    /// # Errors
    /// When it could not be stopped.
    fn stop(&self) -> Result<String, BrakeError>;

    /// Disarms the car. The text says how.
    ///
    /// # Errors
    /// When it could not be disarmed.
    fn disarm(&self) -> Result<String, BrakeError>;
}

/// Why a car could not be stopped or disarmed.
#[derive(Debug, thiserror::Error)]
pub enum BrakeError {
    /// A car could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The guard stopped the car, but its actuator fails.
    #[error(
        "the guard stopped the car, but it did not reach the motors: {0}; what always works is to \
         disconnect the motors' battery"
    )]
    Motors(String),
    /// The pilot of the simulated car cannot be reached.
    #[error("the stop did not reach the pilot: {0}")]
    Pilot(ObserveError),
    /// The guard of a simulated car has no socket.
    #[error("a simulated car cannot be disarmed from here: stop it")]
    Simulated,
    /// car.toml cannot be read, and no guard of it runs.
    #[error("no guard of {file} runs, and {reason}")]
    NoCar {
        /// car.toml.
        file: PathBuf,
        /// What is wrong with it.
        reason: CarFileError,
    },
    /// There is no guard.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The guard does not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Stops and disarms the car of a file; while a simulated car is driven, that car.
#[derive(Debug)]
pub struct CarBrake {
    /// car.toml; without it the installed car.
    pub file: Option<PathBuf>,
    /// What the pilot reports.
    pub live: Arc<Live>,
}

impl Brake for CarBrake {
    fn stop(&self) -> Result<String, BrakeError> {
        if let Some(stopped) = self.live.stop_simulated() {
            stopped.map_err(BrakeError::Pilot)?;
            return Ok("stop sent to the pilot of the simulated car".to_owned());
        }
        let target = self.file.as_deref().map_or(Target::Installed, Target::Car);
        let mut done = Vec::new();
        let mut failed = None;
        // Every car is stopped before an error is reported.
        for stopped in stop_all(target, |file| failsafe_by_program(file, false)) {
            match stopped.map_err(BrakeError::from).and_then(describe) {
                Ok(text) => done.push(text),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or_else(|| Ok(done.join("; ")), Err)
    }

    fn disarm(&self) -> Result<String, BrakeError> {
        if self.live.is_simulated() {
            return Err(BrakeError::Simulated);
        }
        let file = self.file.as_deref().unwrap_or(Path::new(INSTALLED));
        let socket = guard_socket(file).map_err(|reason| {
            let file = file.to_owned();
            BrakeError::NoCar { file, reason }
        })?;
        let mut link = SocketLink::connect(&socket)?;
        link.disarm(monotonic())?;
        match link.status().failure {
            Some(failure) => Err(BrakeError::Motors(failure.to_string())),
            None => Ok("disarmed".to_owned()),
        }
    }
}

fn describe(stopped: Stopped) -> Result<String, BrakeError> {
    match stopped {
        Stopped::ByGuard { car, status } => match (status.failure, status.state) {
            (Some(failure), _) => Err(BrakeError::Motors(failure.to_string())),
            (None, State::Stopped { reason }) => Ok(format!("{car}: stopped: {reason}")),
            (None, _) => Ok(format!("{car}: disarmed")),
        },
        Stopped::WithoutGuard { car, killed: None } => Ok(format!(
            "{car}: there is no guard; failsafe was written to the motors"
        )),
        Stopped::WithoutGuard {
            car,
            killed: Some(guard),
        } => Ok(format!(
            "{car}: the guard (process {guard}) did not answer and was killed; the motors got \
             failsafe"
        )),
    }
}
