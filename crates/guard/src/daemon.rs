//! The guard of a physical or dry-running car, as `pilotage-guard` runs it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use crate::actuators::{ActuatorSettings, Kind, Motors, OpenError, bus_lock};
use crate::record::{Record, lock_file, own_directory};
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
    /// Another guard writes to these motors.
    #[error(
        "another guard holds it (process {process}): {car}; there can be one for each car \
         (`pilotage stop` ends it)"
    )]
    Guarded {
        /// Its number.
        process: i32,
        /// Its car.
        car: String,
    },
    /// Something holds the motors that is not a guard which could be found and killed.
    #[error(
        "failsafe was written, but another process holds the motors and may write to them again \
         (`sudo fuser -v` and the device name it)"
    )]
    Held,
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
    own_directory().map_err(DaemonError::Runtime)?;
    alone(&car)?;
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

/// Waits until no other guard that this user can see writes to these motors, of other users
/// too, whose locks are elsewhere. One that is ending takes a moment.
fn alone(car: &GuardedCar) -> Result<(), DaemonError> {
    let began = Instant::now();
    while let Some(other) = others(car).first() {
        if began.elapsed() >= HANDOVER {
            return Err(DaemonError::Guarded {
                process: other.process.pid().as_raw_nonzero().get(),
                car: other.name.clone(),
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// Guards that run and write to the same motors.
fn others(car: &GuardedCar) -> Vec<Record> {
    Record::of_outputs(&car.actuator.outputs())
}

/// What failsafe does with a guard that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It is killed first: an operator wants the car stopped.
    Kill,
    /// It has the car, and nothing is written: the one that died was another.
    Leave,
}

/// Writes failsafe to the motors of the car that `file` describes, as its guard read it: what
/// that left in its runtime directory comes first, `file` last.
///
/// # Errors
/// When neither describes a car, its motors are not there, they do not take it, or another
/// process may overwrite it.
pub fn failsafe(file: &Path, running: Running) -> Result<(), DaemonError> {
    let records = Record::of(file);
    let runs: Vec<&Record> = records.iter().filter(|record| record.runs()).collect();
    if running == Running::Leave && !runs.is_empty() {
        return Ok(());
    }
    let mut unkilled = None;
    for record in runs {
        unkilled = kill(record).err().or(unkilled);
    }
    let mut recorded = records.iter().filter_map(confined);
    let car = match recorded.next() {
        Some(car) => car,
        None => GuardedCar::load(file)?,
    };
    for record in others(&car) {
        if running == Running::Leave {
            return Ok(());
        }
        unkilled = kill(&record).err().or(unkilled);
    }
    write_failsafe(&car)?;
    unkilled.map_or(Ok(()), Err)
}

fn kill(record: &Record) -> Result<(), DaemonError> {
    let killed = record.process.kill(HANDOVER);
    killed.map_err(|reason| DaemonError::Alive {
        process: record.process.pid().as_raw_nonzero().get(),
        reason,
    })
}

/// The car of a record, if this user may act on it. What the service's user wrote reaches only
/// devices of the kernel's, by paths that this user cannot have made.
fn confined(record: &Record) -> Option<GuardedCar> {
    let mut car = record.car().ok()?;
    if record.owner == geteuid().as_raw() || record.owner == 0 {
        return Some(car);
    }
    let device = |path: &mut PathBuf, folder: &str| {
        *path = fs::canonicalize(&*path).ok()?;
        let node = || fs::metadata(&*path).is_ok_and(|node| node.file_type().is_char_device());
        (path.starts_with(folder) && (folder == "/sys" || node())).then_some(())
    };
    match car.actuator.kind {
        Kind::Simulator | Kind::DryRun => return None,
        Kind::Pca9685 => {
            let chip = car.actuator.pca9685.as_mut()?;
            device(&mut chip.bus, "/dev")?;
            if let Some(pin) = &mut chip.output_enable {
                device(&mut pin.chip, "/dev")?;
            }
        }
        Kind::Vesc => device(&mut car.actuator.vesc.as_mut()?.port, "/dev")?,
        Kind::Pwm => {
            let pins = car.actuator.pwm.as_mut()?;
            device(&mut pins.throttle_pin.chip, "/sys")?;
            device(&mut pins.steering_pin.chip, "/sys")?;
        }
    }
    Some(car)
}

fn write_failsafe(car: &GuardedCar) -> Result<(), DaemonError> {
    if car.actuator.kind == Kind::Simulator {
        // The simulator moves it, and ends with its pilot.
        return Ok(());
    }
    // Held while failsafe is written, so that no guard starts meanwhile; not waited for.
    let lock = lock(&car.actuator, TAKEOVER)
        .inspect_err(|error| log::warn!("failsafe is written without the lock: {error}"));
    let mut held = matches!(lock, Err(DaemonError::Motors(OpenError::Taken { .. })));
    let mut motors = match Motors::open(&car.actuator, TAKEOVER) {
        Err(OpenError::Taken { .. }) => {
            held = true;
            Motors::open_regardless(&car.actuator, Duration::ZERO)?
        }
        motors => motors?,
    };
    insist(&mut motors, &Output::failsafe(&car.limits))?;
    drop(lock);
    if held { Err(DaemonError::Held) } else { Ok(()) }
}

/// Writes `output`, again where the motors do not take it.
fn insist(motors: &mut impl Actuator, output: &Output) -> Result<(), ActuatorError> {
    let began = Instant::now();
    loop {
        match motors.write(monotonic(), output) {
            Err(error) if began.elapsed() >= INSISTENCE => return Err(error),
            Err(_) => std::thread::sleep(BETWEEN),
            Ok(()) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
