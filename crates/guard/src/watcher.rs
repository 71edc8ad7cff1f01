//! Watches over a guard that a pilot started: a process of its own, in a session of its own,
//! which outlives both and writes failsafe when the guard dies.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::process::PRIORITY;
use crate::{DaemonError, Running, failsafe, sys};

/// How often it looks whether it is asked to end.
const GLANCE: Duration = Duration::from_millis(100);
/// And how often it looks at the guard where the kernel has no descriptors of processes.
const SHORT_GLANCE: Duration = Duration::from_millis(2);

/// The exit status of a guard that did not start: nothing has moved.
pub const NOT_STARTED: u8 = 2;

/// Why there is no watched guard.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system would not start it.
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
        /// How it died.
        status: ExitStatus,
        /// What went wrong.
        reason: DaemonError,
    },
}

/// Runs this program again with `arguments` as the guard of the car of `file`, with standard
/// input for its connection to the pilot, and waits for its end.
///
/// # Errors
/// When it does not start, or dies and failsafe does not reach the motors.
pub fn watch(arguments: &[OsString], file: &Path) -> Result<ExitCode, WatchError> {
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let failed = |reason| WatchError::Start {
        program: program.clone(),
        reason,
    };
    sys::catch_signals().map_err(failed)?;
    // The guard's alone: while this process held it too, the pilot would not see it close.
    let pilot = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let nothing = File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&nothing).map_err(|reason| failed(reason.into()))?;
    let mut guard = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::from(pilot))
        .spawn()
        .map_err(failed)?;
    // Not before: a child inherits it.
    if let Err(error) = sys::real_time(PRIORITY) {
        log::info!("the guard's watcher has no real-time priority ({error})");
    }
    let status = wait(&mut guard).map_err(failed)?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    if status.code() == Some(NOT_STARTED.into()) {
        // Its message is on standard error; the motors may be another guard's.
        return Ok(ExitCode::from(NOT_STARTED));
    }
    // A guard that has started since has the car.
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

/// Waits for the guard's end; a signal that asks this process to end is passed on.
fn wait(guard: &mut Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(guard);
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok();
    let mut asked = false;
    loop {
        if let Some(status) = guard.try_wait()? {
            return Ok(status);
        }
        if sys::ended() && !asked {
            asked = true;
            let _ = kill_process(pid, Signal::TERM);
        }
        match &descriptor {
            Some(descriptor) => {
                let mut ended = [PollFd::new(descriptor, PollFlags::IN)];
                let glance = Timespec {
                    tv_sec: 0,
                    tv_nsec: GLANCE.subsec_nanos().into(),
                };
                // A signal ends it early.
                let _ = poll(&mut ended, Some(&glance));
            }
            None => std::thread::sleep(SHORT_GLANCE),
        }
    }
}
