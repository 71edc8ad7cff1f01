//! Runs the guard of a physical or dry-run car, for the program `pilotage-guard`.

mod locks;
pub mod notify;
pub(crate) mod places;
pub(crate) mod process;
pub(crate) mod process_id;
pub(crate) mod programs;
pub(crate) mod record;
mod share;
pub(crate) mod stop;
pub(crate) mod watcher;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilotage_vehicle::monotonic;
use rustix::process::geteuid;

use crate::daemon::places::own_directory;
use crate::daemon::record::Record;
use crate::drivers::{ActuatorSettings, Kind, Motors, OpenError};
use crate::trim::TrimmedMotors;
use crate::{
    Actuator, ActuatorError, Allowed, CarFileError, GuardedCar, Output, ProcessError, ServeOptions,
    run,
};

/// How long another guard that is ending, or was killed, may take to release the motors, in addition
/// to the time of its brake.
const HANDOVER: Duration = Duration::from_secs(1);
/// How long failsafe waits for a lock that another process holds.
const TAKEOVER: Duration = Duration::from_millis(50);
/// How long failsafe is retried when a write to the motors fails.
const RETRY_FOR: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// Why a guard did not start, or why a failsafe request failed.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// car.toml cannot be read or is not valid.
    #[error(transparent)]
    Car(#[from] CarFileError),
    /// The motors cannot be opened.
    #[error(transparent)]
    Motors(#[from] OpenError),
    /// The runtime directory is missing, has another owner, or other users may write to it.
    #[error("the guard's runtime directory cannot be used: {0}")]
    Runtime(io::Error),
    /// The guard did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Failsafe could not be written to the motors.
    #[error("failsafe did not reach the motors: {0}")]
    Failsafe(ActuatorError),
    /// Another guard writes to these motors.
    #[error(
        "another guard holds it (process {process}): {car}; there can be one for each car \
         (`pilotage stop` ends it)"
    )]
    Guarded {
        /// The guard's process number.
        process: i32,
        /// The car of that guard.
        car: String,
    },
    /// A process holds the motors, and it is not a guard that could be found and killed.
    #[error(
        "failsafe was written, but another process holds the motors and may write to them again \
         (`sudo fuser -v` and the device name it)"
    )]
    Held,
    /// The guard could not be killed, and may still write to the motors.
    #[error("the guard (process {process}) cannot be killed: {reason}")]
    Alive {
        /// The guard's process number.
        process: i32,
        /// The system's error.
        reason: rustix::io::Errno,
    },
}

/// Guards the car that `file` describes, until a signal ends the guard. If a pilot started this
/// guard, `pilot` is the connection to that pilot; the guard then also ends when the pilot
/// disconnects.
///
/// # Errors
/// When the guard does not start; at most the disarmed values have been written to the motors then.
/// [`ProcessError::Last`] when the motors did not accept its last output; its record remains then.
pub fn guard(file: &Path, pilot: Option<OwnedFd>, allowed: Allowed) -> Result<(), DaemonError> {
    let (car, text) = GuardedCar::load_with_text(file)?;
    own_directory().map_err(DaemonError::Runtime)?;
    let handover = HANDOVER + car.limits.spec().brake;
    alone(&car, handover)?;
    let lock = lock(&car.actuator, handover)?;
    let mut motors = Motors::open(&car.actuator, handover)?;
    motors.set_deadline(car.limits.spec().deadline);
    let motors = TrimmedMotors::new(motors, &car.actuator);
    let options = ServeOptions {
        socket: Some(car.socket.clone()),
        pilot,
        allowed,
        identification: car.identification(),
        privileged: true,
    };
    let mut record = None;
    run(car.limits, motors, options, || {
        record = Some(Record::write(&car, &text)?);
        Ok(())
    })?;
    // The guard ended in order, so there is nothing left to stop.
    if let Some(record) = record {
        record.remove();
    }
    drop(lock);
    Ok(())
}

/// Waits up to `timeout` until no other guard writes to these motors. It finds the guards whose
/// records this user can read. These may be guards of other users, which [`lock`] does not detect,
/// because their locks are in other directories.
fn alone(car: &GuardedCar, timeout: Duration) -> Result<(), DaemonError> {
    let began = Instant::now();
    while let Some(other) = others(car).first() {
        if began.elapsed() >= timeout {
            return Err(DaemonError::Guarded {
                process: other.process.pid().as_raw_nonzero().get(),
                car: other.name.clone(),
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Locks the outputs of the motors against a second guard of this user.
fn lock(settings: &ActuatorSettings, timeout: Duration) -> Result<Vec<File>, DaemonError> {
    let locks = settings
        .outputs()
        .into_iter()
        .map(|output| match locks::lock(&output, timeout) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(OpenError::Taken { device: output }.into())
            }
            Err(error) => Err(DaemonError::Runtime(error)),
        });
    locks.collect()
}

/// The records of running guards that write to the same motors as `car`.
fn others(car: &GuardedCar) -> Vec<Record> {
    Record::of_outputs(&car.actuator.outputs())
}

/// What [`failsafe`] does with a running guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Kill the guard, then write failsafe: an operator stops the car.
    Kill,
    /// Write nothing: another guard has died, and the running guard now controls the car.
    Leave,
}

/// Writes failsafe to the motors of the car that `file` describes. If a guard has left a record of
/// the car that this user may use, the motors are those of the record, and `file` is not read.
///
/// # Errors
/// When neither a record nor `file` describes a car, the motors cannot be opened, a write to them
/// fails, a guard cannot be killed, or another process may overwrite failsafe.
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

/// The car of a record, if this user may act on the record. In a record of the service's user, each
/// path to the motors must resolve to a character device in /dev or to a path in /sys, which the
/// service's user cannot create.
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
        Kind::Bridge => device(&mut car.actuator.bridge.as_mut()?.port, "/dev")?,
        Kind::Maestro => device(&mut car.actuator.maestro.as_mut()?.port, "/dev")?,
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
        // This car has no motors: the simulator moves it, and ends together with the pilot.
        return Ok(());
    }
    // The lock is held while failsafe is written, so that no guard starts meanwhile. If the lock
    // cannot be taken, failsafe is written nevertheless.
    let lock = lock(&car.actuator, TAKEOVER)
        .inspect_err(|error| log::warn!("failsafe is written without the lock: {error}"));
    let mut held = matches!(lock, Err(DaemonError::Motors(OpenError::Taken { .. })));
    let mut motors = match Motors::open(&car.actuator, TAKEOVER) {
        Err(OpenError::Taken { .. }) => {
            held = true;
            Motors::open_for_failsafe(&car.actuator, Duration::ZERO)?
        }
        // A killed guard whose transfer hangs still holds its OE pin; or there is no such pin.
        Err(OpenError::Coarse { .. } | OpenError::OutputEnable { .. }) => {
            Motors::open_for_failsafe(&car.actuator, Duration::ZERO)?
        }
        motors => motors?,
    };
    insist(&mut motors, &Output::failsafe(&car.limits)).map_err(DaemonError::Failsafe)?;
    drop(lock);
    if held { Err(DaemonError::Held) } else { Ok(()) }
}

/// Writes `output`, and retries for [`RETRY_FOR`] if the write fails.
fn insist(motors: &mut impl Actuator, output: &Output) -> Result<(), ActuatorError> {
    let began = Instant::now();
    loop {
        match motors.write(monotonic(), output) {
            Err(error) if began.elapsed() >= RETRY_FOR => return Err(error),
            Err(_) => std::thread::sleep(RETRY_INTERVAL),
            Ok(()) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
