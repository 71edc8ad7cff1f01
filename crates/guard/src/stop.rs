//! A person's stop, which works whatever the guard does.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;

use crate::{ConnectError, DaemonError, GuardedCar, Link, SocketLink, State, Status, failsafe};

/// A guard that lives answers at its next turn, some microseconds on; then it is over with it.
/// With the start of the program and failsafe's writing it has to stay within 20 ms.
const PATIENCE: Duration = Duration::from_millis(7);

/// And where this user may not end it.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// How a car was stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stopped {
    /// Its guard did it.
    ByGuard(Status),
    /// There was no guard, or it did not answer and was killed; its motors got failsafe.
    WithoutGuard {
        /// The guard that was killed.
        killed: Option<i32>,
    },
}

/// Why a car could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Somebody else's guard.
    #[error(
        "{path}: this user may not speak to the guard ({reason}): say it as root, \
         `sudo pilotage stop`; what always works is to pull the motors' battery"
    )]
    NotAllowed {
        /// The socket.
        path: String,
        /// The system's word.
        reason: Errno,
    },
    /// It did not answer and could not be killed.
    #[error(
        "the guard (process {process}) does not answer and cannot be killed ({reason}): say it as \
         root, `sudo pilotage stop`; what always works is to pull the motors' battery"
    )]
    Unkillable {
        /// Its number.
        process: i32,
        /// The system's word.
        reason: Errno,
    },
    /// Failsafe could not be written without it.
    #[error(
        "no guard answers, and without it {0}; what always works is to pull the motors' battery"
    )]
    Motors(#[from] DaemonError),
}

/// Stops `car`: by its guard where that answers; else the guard is killed and failsafe
/// written without it.
///
/// # Errors
/// When neither can be done.
pub fn stop(car: &GuardedCar) -> Result<Stopped, StopError> {
    let mut killed = None;
    match SocketLink::connect(&car.socket) {
        Ok(mut link) => match link.stop_within(PATIENCE) {
            Ok(()) => return Ok(Stopped::ByGuard(link.status())),
            Err(_) => match kill(&link) {
                Ok(guard) => killed = guard,
                // It has been told, and may only be slow.
                Err(unkillable) => match link.refresh_within(LAST_PATIENCE) {
                    Ok(()) if stands(&link) => return Ok(Stopped::ByGuard(link.status())),
                    _ => return Err(unkillable),
                },
            },
        },
        Err(ConnectError::Unreachable { path, reason }) => {
            if reason == Errno::ACCESS || reason == Errno::PERM {
                return Err(StopError::NotAllowed { path, reason });
            }
        }
        // Connecting alone asks nothing of a guard.
        Err(ConnectError::Guard(_)) => {}
    }
    failsafe(car)?;
    Ok(Stopped::WithoutGuard { killed })
}

fn stands(link: &SocketLink) -> bool {
    matches!(link.status().state, State::Stopped { .. } | State::Disarmed)
}

fn kill(link: &SocketLink) -> Result<Option<i32>, StopError> {
    let Some(process) = link.process() else {
        return Ok(None);
    };
    match rustix::process::kill_process(process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(Some(process.as_raw_nonzero().get())),
        Err(reason) => Err(StopError::Unkillable {
            process: process.as_raw_nonzero().get(),
            reason,
        }),
    }
}
