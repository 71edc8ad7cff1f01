//! The guard of a physical or dry-running car, as `pilotage-guard` runs it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use crate::actuators::{ActuatorSettings, Kind, Motors, OpenError, bus_lock};
use crate::record::{Record, lock_file};
use crate::trim::TrimmedMotors;
use crate::{
    Actuator, ActuatorError, Allowed, CarFileError, GuardedCar, Output, ProcessError, Reach,
    monotonic, run,
};

/// A guard that was killed releases the motors this soon.
const HANDOVER: Duration = Duration::from_secs(1);
/// Failsafe waits no longer for a lock that another holds.
const TAKEOVER: Duration = Duration::from_millis(50);
/// Failsafe is tried for this long on motors that do not take it.
const INSISTENCE: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(2);

/// Why a car is not guarded.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There is no car to guard.
    #[error(transparent)]
    Car(#[from] CarFileError),
    /// Its motors are not there.
    #[error(transparent)]
    Motors(#[from] OpenError),
    /// The runtime directory is not there, or not this user's alone.
    #[error("the guard's runtime directory cannot be used: {0}")]
    Runtime(io::Error),
    /// The guard did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The motors did not take failsafe.
    #[error("failsafe did not reach the motors: {0}")]
    Failsafe(#[from] ActuatorError),
    /// The guard could not be killed, and may still write to the motors.
    #[error("the guard (process {process}) cannot be killed: {reason}")]
    Alive {
        /// Its number.
        process: i32,
        /// The system's error.
        reason: rustix::io::Errno,
    },
}

/// Guards the car that `file` describes, until a signal ends it or, where `pilot` is the
/// connection to the pilot that started this guard, until that is gone.
///
/// # Errors
/// When it does not start: nothing has moved then.
pub fn guard(file: &Path, pilot: Option<OwnedFd>, allowed: Allowed) -> Result<(), DaemonError> {
    let (car, text) = GuardedCar::load_with_text(file)?;
    let lock = lock(&car.actuator, HANDOVER)?;
    let mut motors = Motors::open(&car.actuator, HANDOVER)?;
    motors.keep_to(car.limits.spec().deadline);
    let motors = TrimmedMotors::new(motors, &car.actuator);
    let reach = Reach {
        socket: Some(car.socket.clone()),
        pilot,
        allowed,
        identification: car.identification(),
        privileged: true,
    };
    let mut record = None;
    run(car.limits, motors, reach, || {
        record = Some(Record::write(&car, &text)?);
        Ok(())
    })?;
    // In order to the end: there is nothing left to stop.
    if let Some(record) = record {
        record.remove();
    }
    drop(lock);
    Ok(())
}

/// Locks of what the motors are written through, against a second guard of this user.
fn lock(settings: &ActuatorSettings, patience: Duration) -> Result<Vec<File>, DaemonError> {
    let locks = settings.outputs().into_iter().map(|output| {
        let file = lock_file(&output).map_err(DaemonError::Runtime)?;
        match bus_lock::lock(&file, &output, patience.into()) {
            Ok(()) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(OpenError::Taken { device: output }.into())
            }
            Err(error) => Err(DaemonError::Runtime(error)),
        }
    });
    locks.collect()
}

/// Writes failsafe to the motors of the car that `file` describes, as its guard read it: what
/// that left in its runtime directory comes first, `file` last. A guard that still runs is
/// killed before.
///
/// # Errors
/// When neither describes a car, its motors are not there, or they do not take it.
pub fn failsafe(file: &Path) -> Result<(), DaemonError> {
    let records = Record::of(file);
    for record in records.iter().filter(|record| record.runs()) {
        let killed = record.process.kill(HANDOVER);
        killed.map_err(|reason| DaemonError::Alive {
            process: record.process.pid().as_raw_nonzero().get(),
            reason,
        })?;
    }
    let mut recorded = records.iter().filter_map(|record| {
        let car = record.car().ok()?;
        may_write(record, &car.actuator).then_some(car)
    });
    let car = match recorded.next() {
        Some(car) => car,
        None => GuardedCar::load(file)?,
    };
    write_failsafe(&car)
}

/// Whether this user may act on what another user's record says: only on devices of the
/// kernel's, which that user could not have made.
fn may_write(record: &Record, settings: &ActuatorSettings) -> bool {
    if record.owner == geteuid().as_raw() || record.owner == 0 {
        return true;
    }
    let Some(device) = settings.device() else {
        return true;
    };
    let Ok(path) = fs::canonicalize(device) else {
        // It is not there, and cannot be made here.
        return true;
    };
    let in_sysfs = path.starts_with("/sys") && settings.kind == Kind::Pwm;
    let node = fs::metadata(&path).is_ok_and(|node| node.file_type().is_char_device());
    in_sysfs || (path.starts_with("/dev") && node && settings.kind != Kind::Pwm)
}

fn write_failsafe(car: &GuardedCar) -> Result<(), DaemonError> {
    if car.actuator.kind == Kind::Simulator {
        // The simulator moves it, and ends with its pilot.
        return Ok(());
    }
    // Held while failsafe is written, so that no guard starts meanwhile; not waited for.
    let lock = lock(&car.actuator, TAKEOVER)
        .inspect_err(|error| log::warn!("failsafe is written without the lock: {error}"));
    let mut motors = Motors::open_regardless(&car.actuator, TAKEOVER)?;
    let output = Output::failsafe(&car.limits);
    let began = Instant::now();
    let done = loop {
        match motors.write(monotonic(), &output) {
            Ok(()) => break Ok(()),
            Err(error) if began.elapsed() >= INSISTENCE => break Err(error.into()),
            Err(_) => std::thread::sleep(BETWEEN),
        }
    };
    drop(lock);
    done
}
