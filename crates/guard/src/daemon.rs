//! The guard of a real car, as `pilotage-guard` runs it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::actuators::{Motors, OpenError};
use crate::{
    Actuator, ActuatorError, Allowed, GuardedCar, Output, ProcessError, Reach, monotonic, run,
};

/// A guard that was killed lets go of the motors this soon.
const HANDOVER: Duration = Duration::from_secs(1);
/// Failsafe is tried for this long on motors that do not take it.
const INSISTENCE: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(2);

/// Why a car is not guarded.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its motors are not there.
    #[error(transparent)]
    Motors(#[from] OpenError),
    /// The guard did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The motors did not take failsafe.
    #[error("failsafe did not reach the motors: {0}")]
    Failsafe(#[from] ActuatorError),
}

/// Guards `car`, until SIGTERM or, where `pilot` is the line to the one that started this
/// guard, until that is gone.
///
/// # Errors
/// When it does not start: nothing has moved then.
pub fn guard(
    car: &GuardedCar,
    pilot: Option<OwnedFd>,
    allowed: Allowed,
) -> Result<(), DaemonError> {
    let motors = Motors::open(&car.actuator, HANDOVER)?;
    let reach = Reach {
        socket: Some(car.socket.clone()),
        pilot,
        allowed,
        privileged: true,
    };
    Ok(run(car.limits, motors, reach)?)
}

/// Writes failsafe to the motors of `car`, whose guard is dead: it waits until that one's
/// hold on them has ended, and no longer.
///
/// # Errors
/// When they are not there, another holds them, or they do not take it.
pub fn failsafe(car: &GuardedCar) -> Result<(), DaemonError> {
    let mut motors = Motors::open(&car.actuator, HANDOVER)?;
    let output = Output::failsafe(&car.limits);
    let began = Instant::now();
    loop {
        match motors.write(monotonic(), &output) {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() >= INSISTENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(BETWEEN),
        }
    }
}
