//! An operator's stop. It works even if the guard does not respond, and if car.toml or the socket
//! is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::daemon::places::INSTALLED;
use crate::protocol::socket_link::STOP_PATIENCE;
use crate::{
    CarFileError, CommandLink, ConnectError, GuardedCar, Record, SocketLink, State, Status,
};

/// How long to wait for a guard that this user may not kill.
const SLOW_GUARD_TIMEOUT: Duration = Duration::from_millis(200);
/// How long to wait for the end of a guard that was killed.
const KILL_TIMEOUT: Duration = Duration::from_millis(500);

/// How a car was stopped.
#[derive(Debug, Clone, PartialEq)]
pub enum Stopped {
    /// Its guard stopped the car.
    ByGuard {
        /// The car.
        car: String,
        /// The guard's status afterwards. If it has a [`Status::failure`], failsafe has not reached
        /// the motors.
        status: Box<Status>,
    },
    /// There was no guard, or the guard did not answer and was killed; failsafe was written without
    /// it.
    WithoutGuard {
        /// The car.
        car: String,
        /// The guard that was killed.
        killed: Option<i32>,
    },
}

/// Why a car could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// This user may not connect to the guard.
    #[error(
        "{path}: this user may not connect to the guard ({reason}): `sudo pilotage stop`; what \
         always works is to disconnect the motors' battery"
    )]
    NotAllowed {
        /// The socket.
        path: String,
        /// The system's error.
        reason: Errno,
    },
    /// The guard did not answer and could not be killed.
    #[error(
        "{car}: the guard (process {process}) does not answer and cannot be killed ({reason}): \
         `sudo pilotage stop`; what always works is to disconnect the motors' battery"
    )]
    Unkillable {
        /// The car.
        car: String,
        /// The guard.
        process: i32,
        /// The system's error.
        reason: Errno,
    },
    /// No guard runs, and neither a record nor the file describes the motors.
    #[error(
        "no guard of {file} runs, and the file does not say which motors to stop: {reason}; what \
         always works is to disconnect the motors' battery"
    )]
    NoCar {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: CarFileError,
    },
    /// Failsafe could not be written without a guard.
    #[error(
        "{car}: no guard answers, and without it {reason}; what always works is to disconnect the \
         motors' battery"
    )]
    Motors {
        /// The car.
        car: String,
        /// The error of the program that writes failsafe.
        reason: String,
    },
}

/// Which cars to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The car of this file.
    Car(&'a Path),
    /// The installed car; if no car is installed, every car whose running guard this user can find.
    Installed,
}

impl Target<'_> {
    /// The files of the cars.
    fn files(self) -> Vec<PathBuf> {
        let installed = Path::new(INSTALLED);
        match self {
            Self::Car(file) => vec![file.to_owned()],
            Self::Installed if installed.exists() || !Record::of(installed).is_empty() => {
                vec![installed.to_owned()]
            }
            Self::Installed => {
                let mut running = Record::all();
                running.retain(Record::runs);
                let files: Vec<PathBuf> = running.into_iter().map(|record| record.file).collect();
                match files.is_empty() {
                    true => vec![installed.to_owned()],
                    false => files,
                }
            }
        }
    }
}

/// Stops each car of `target`, as [`stop`] does.
pub fn stop_all(
    target: Target<'_>,
    failsafe: impl Fn(&Path) -> io::Result<()>,
) -> Vec<Result<Stopped, StopError>> {
    let files = target.files();
    files.iter().map(|file| stop(file, &failsafe)).collect()
}

/// Stops the car of `file` through its guard if the guard answers. Otherwise the guard is killed,
/// and `failsafe` is called with the file to write failsafe without the guard.
///
/// # Errors
/// When neither is possible.
pub fn stop(file: &Path, failsafe: impl Fn(&Path) -> io::Result<()>) -> Result<Stopped, StopError> {
    let records = Record::of(file);
    let running: Vec<&Record> = records.iter().filter(|record| record.runs()).collect();
    let mut stopped = None;
    let mut failed = None;
    let mut killed = None;
    // Stop each of them: the guards of two users may have read the same file.
    for record in &running {
        match stop_recorded(record) {
            Ok(Answer::Stopped(by_guard)) => stopped = worse(stopped, by_guard),
            Ok(Answer::Killed) => killed = Some(record.process.pid().as_raw_nonzero().get()),
            Err(error) => failed = Some(error),
        }
    }
    let car = match running.first() {
        Some(record) => record.name.clone(),
        None => {
            let (car, sockets) = name_and_sockets(file, &records)?;
            match stop_listening(&car, sockets)? {
                Some(Found::Stopped(by_guard)) => stopped = Some(by_guard),
                Some(Found::Killed(process)) => killed = Some(process),
                None => {}
            }
            car
        }
    };
    if let Some(error) = failed {
        return Err(error);
    }
    if let (Some(stopped), None) = (stopped, killed) {
        return Ok(stopped);
    }
    match failsafe(file) {
        Ok(()) => Ok(Stopped::WithoutGuard { car, killed }),
        Err(reason) => Err(StopError::Motors {
            car,
            reason: reason.to_string(),
        }),
    }
}

/// Of the replies of two guards, the one to report: one with a failure, if there is one.
fn worse(one: Option<Stopped>, other: Stopped) -> Option<Stopped> {
    let failing = |stopped: &Stopped| match stopped {
        Stopped::ByGuard { status, .. } => status.failure.is_some(),
        Stopped::WithoutGuard { .. } => true,
    };
    Some(one.filter(failing).unwrap_or(other))
}

/// What happened to a running guard.
enum Answer {
    Stopped(Stopped),
    Killed,
}

/// Stops the car through the running guard of `record`, or kills that guard.
fn stop_recorded(record: &Record) -> Result<Answer, StopError> {
    let mut link = SocketLink::connect(&record.socket).ok();
    // Another process may listen on the guard's former path.
    link = link.filter(|link| link.process() == Some(record.process.pid()));
    if let Some(link) = &mut link
        && link.stop_within(STOP_PATIENCE).is_ok()
    {
        return Ok(Answer::Stopped(by_guard(record.name.clone(), link)));
    }
    let Err(reason) = record.process.kill(KILL_TIMEOUT) else {
        return Ok(Answer::Killed);
    };
    // The guard has been sent the stop, and may only be slow.
    if let Some(link) = &mut link
        && link.refresh_within(SLOW_GUARD_TIMEOUT).is_ok()
        && is_stopped(link)
    {
        return Ok(Answer::Stopped(by_guard(record.name.clone(), link)));
    }
    if link.is_some_and(|link| link.is_gone()) {
        return Err(not_allowed(&record.socket, reason));
    }
    Err(StopError::Unkillable {
        car: record.name.clone(),
        process: record.process.pid().as_raw_nonzero().get(),
        reason,
    })
}

/// A guard that closes the connection does not admit this user.
fn not_allowed(socket: &Path, reason: Errno) -> StopError {
    StopError::NotAllowed {
        path: socket.display().to_string(),
        reason,
    }
}

/// What happened to a guard without a record.
enum Found {
    Stopped(Stopped),
    Killed(i32),
}

/// Stops the car through the guard that listens on the first of `sockets` with a listener.
fn stop_listening(car: &str, sockets: Vec<PathBuf>) -> Result<Option<Found>, StopError> {
    let mut refused = None;
    for socket in sockets {
        let mut link = match SocketLink::connect(&socket) {
            Ok(link) => link,
            Err(ConnectError::Unreachable { path, reason }) => {
                if reason == Errno::ACCESS || reason == Errno::PERM {
                    refused = Some(StopError::NotAllowed { path, reason });
                }
                continue;
            }
            // Unreachable: connecting alone sends no request.
            Err(ConnectError::Guard(_)) => continue,
        };
        if link.stop_within(STOP_PATIENCE).is_ok() {
            let named = link.car().unwrap_or_else(|_| car.to_owned());
            return Ok(Some(Found::Stopped(by_guard(named, &link))));
        }
        let reason = match kill_peer(&link) {
            Ok(process) => return Ok(Some(Found::Killed(process.as_raw_nonzero().get()))),
            Err(reason) => reason,
        };
        if link.refresh_within(SLOW_GUARD_TIMEOUT).is_ok() && is_stopped(&link) {
            return Ok(Some(Found::Stopped(by_guard(car.to_owned(), &link))));
        }
        if link.is_gone() {
            return Err(not_allowed(&socket, reason));
        }
        return Err(StopError::Unkillable {
            car: car.to_owned(),
            process: link.process().map_or(0, |pid| pid.as_raw_nonzero().get()),
            reason,
        });
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// The car's name and the sockets that its guard may listen on: those of the trusted records, as a
/// guard may be hidden from this user, and that of car.toml.
fn name_and_sockets(file: &Path, records: &[Record]) -> Result<(String, Vec<PathBuf>), StopError> {
    let trusted = || records.iter().filter(|record| record.trusted);
    let mut sockets: Vec<PathBuf> = trusted().map(|record| record.socket.clone()).collect();
    let recorded = trusted().next().map(|record| record.name.clone());
    match (GuardedCar::load(file), recorded) {
        (Ok(car), name) => {
            sockets.push(car.socket.clone());
            Ok((name.unwrap_or_else(|| car.describe()), sockets))
        }
        (Err(_), Some(name)) => Ok((name, sockets)),
        (Err(reason), None) => Err(StopError::NoCar {
            file: file.to_owned(),
            reason,
        }),
    }
}

fn by_guard(car: String, link: &SocketLink) -> Stopped {
    Stopped::ByGuard {
        car,
        status: Box::new(link.status()),
    }
}

fn is_stopped(link: &SocketLink) -> bool {
    matches!(link.status().state, State::Stopped { .. } | State::Disarmed)
}

/// Kills the process that listens on the socket, if it is a guard.
fn kill_peer(link: &SocketLink) -> Result<rustix::process::Pid, Errno> {
    let pid = link.process().ok_or(Errno::SRCH)?;
    let process = crate::ProcessId::of(pid).ok_or(Errno::SRCH)?;
    if !process.runs() {
        return Err(Errno::SRCH);
    }
    process.kill(KILL_TIMEOUT)?;
    Ok(pid)
}
