//! The watcher of a guard that a pilot started. It runs in its own process and session, outlives
//! both, and writes failsafe when the guard dies.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use pilotage_linux::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{DaemonError, PRIORITY, Running, failsafe};

/// How often the watcher checks for a signal to end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often the watcher checks the guard if the kernel does not have pidfds.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The exit status of a guard that did not start. At most the disarmed values have been written then.
pub const NOT_STARTED: u8 = 2;

/// Why a guard is not watched, or its car could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The guard's process could not be started.
    #[error("{program}: the guard cannot be started: {reason}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The guard died, and failsafe could not be written.
    #[error("the guard died ({status}), and {reason}")]
    Failsafe {
        /// The guard's exit status.
        status: ExitStatus,
        /// Why failsafe was not written.
        reason: DaemonError,
    },
}

/// Runs this program again with `arguments` as the guard of the car of `file`, and waits for its
/// end. The guard's standard input is its connection to the pilot.
///
/// # Errors
/// When the guard cannot be started, or dies and failsafe cannot be written.
pub fn watch(arguments: &[OsString], file: &Path) -> Result<ExitCode, WatchError> {
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let failed = |reason| WatchError::Start {
        program: program.clone(),
        reason,
    };
    signals::catch().map_err(failed)?;
    // Only the guard may hold the connection. If this process held it too, the pilot would not see
    // the guard disconnect.
    let pilot = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let null_device = File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null_device).map_err(|reason| failed(reason.into()))?;
    let mut guard = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::from(pilot))
        .spawn()
        .map_err(failed)?;
    // Set after the spawn, because a child inherits the priority.
    if let Err(error) = pilotage_linux::real_time(PRIORITY) {
        log::info!("the guard's watcher has no real-time priority ({error})");
    }
    let status = wait(&mut guard).map_err(failed)?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    if status.code() == Some(NOT_STARTED.into()) {
        // The guard has printed its error. Failsafe is not written: the motors may belong to
        // another guard.
        return Ok(ExitCode::from(NOT_STARTED));
    }
    // If another guard has started since, that guard controls the car.
    match failsafe(file, Running::Leave) {
        Ok(()) => {
            log::error!("the guard died ({}): failsafe was written", death(status));
            Ok(ExitCode::FAILURE)
        }
        Err(reason) => Err(WatchError::Failsafe { status, reason }),
    }
}

fn death(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

/// Waits for the guard's end, and forwards a signal to end as SIGTERM.
fn wait(guard: &mut Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(guard);
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok();
    let mut forwarded = false;
    loop {
        if let Some(status) = guard.try_wait()? {
            return Ok(status);
        }
        if signals::ended() && !forwarded {
            forwarded = true;
            let _ = kill_process(pid, Signal::TERM);
        }
        match &descriptor {
            Some(descriptor) => {
                let mut ended = [PollFd::new(descriptor, PollFlags::IN)];
                let interval = Timespec {
                    tv_sec: 0,
                    tv_nsec: POLL_INTERVAL.subsec_nanos().into(),
                };
                // A signal ends the wait early.
                let _ = poll(&mut ended, Some(&interval));
            }
            None => std::thread::sleep(FALLBACK_POLL_INTERVAL),
        }
    }
}
