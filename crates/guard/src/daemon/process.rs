//! Runs a guard in its own process: one thread, locked memory, real-time priority.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_linux::{KillTimer, signals};
use pilotage_vehicle::{Domain, Time, monotonic};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mm::MlockAllFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};

use crate::daemon::notify::Manager;
use crate::daemon::share::Share;
use crate::executor::TICK;
use crate::protocol::server::MOST_CLIENTS;
use crate::{
    Actuator, Allowed, Executor, Identification, Limits, LimitsSpec, PRIORITY, Server, StartError,
    State,
};

/// Ticks per deadline. The default deadline of 150 ms then has the shortest tick, [`TICK`].
const TICKS_PER_DEADLINE: u32 = 30;

/// How clients connect to a guard, and how the guard runs.
#[derive(Debug)]
pub struct ServeOptions {
    /// The path of the socket that the guard listens on.
    pub socket: Option<PathBuf>,
    /// An open connection to the pilot that started this guard.
    pub pilot: Option<OwnedFd>,
    /// Who may connect.
    pub allowed: Allowed,
    /// Identifies the guarded car.
    pub identification: Identification,
    /// Whether the guard requests locked memory and real-time priority, as the guard of a physical
    /// car does.
    pub privileged: bool,
}

/// Why a guard did not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guard does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The guard cannot listen on its socket.
    #[error(
        "{path}: the guard cannot listen there: {reason}; the service's unit makes its folder, \
         elsewhere set `guard.socket` in car.toml"
    )]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The socket's path is a file that is not a socket.
    #[error(
        "{path}: there is a file of another kind, which the guard does not replace: remove it, or \
         name another `guard.socket` in car.toml"
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another guard listens on the socket.
    #[error("{path}: another guard is running; there can be one for each car")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The guard's record, which is needed to find and stop the guard, could not be written.
    #[error(
        "the guard's record cannot be written, and without it the guard could not always be \
         stopped: {0}"
    )]
    Record(io::Error),
    /// The signal handlers could not be installed.
    #[error("signals cannot be caught: {0}")]
    Signals(io::Error),
    /// The guard ended, and the motors did not accept its last output.
    #[error("the guard ended, and its last output did not reach the motors: {0}")]
    Last(String),
}

/// The processor time that this thread has used.
fn processor_time() -> Duration {
    // The clock is never negative.
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

/// Makes this process the leader of a new session without a terminal. The keys of the pilot's
/// terminal, its hangup, and signals to the pilot's process group then do not reach this process.
pub fn leave_session() {
    // The call fails only for the leader of a process group, which already has its own group.
    let _ = rustix::process::setsid();
}

/// Gives this process a real-time priority just below the guard's, so that an operator's stop does
/// not wait for busy programs. Where the system does not allow it, nothing changes.
pub fn raise_priority() {
    let _ = pilotage_linux::real_time(PRIORITY - 1);
}

/// Requests SIGTERM for this process when its parent `parent` dies; the guard then writes failsafe
/// and exits. Returns false if the parent has died already.
pub fn end_with_parent(parent: u32) -> bool {
    let signal = Some(rustix::process::Signal::TERM);
    if let Err(error) = rustix::process::set_parent_process_death_signal(signal) {
        log::warn!("the guard outlives its watcher ({error})");
    }
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    u32::try_from(now) == Ok(parent)
}

/// Aborts the process when its thread panics. The watcher then writes failsafe; unwinding would
/// only delay that.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Runs a guard over `actuator` until a signal ends it, or until the pilot that started it
/// disconnects. The guard writes the disarmed values first. At the end it writes failsafe, after the
/// brake if the car brakes, and then the disarmed values if a signal ended it. `listening` is called
/// when clients can connect.
///
/// # Errors
/// When the guard does not start; at most the disarmed values have been written then. `Last` when
/// the motors of a physical car did not accept the last output.
pub fn run<A: Actuator>(
    limits: Limits,
    actuator: A,
    options: ServeOptions,
    listening: impl FnOnce() -> io::Result<()>,
) -> Result<(), ProcessError> {
    let deadline = limits.spec().deadline;
    let tick = tick(limits.spec()).max(TICK);
    let mut executor = Executor::start(limits, actuator, monotonic(), tick)?;
    let listen = |path| listen(path, &options.allowed);
    let listener = options.socket.as_deref().map(listen).transpose()?;
    signals::catch().map_err(ProcessError::Signals)?;
    let mut kill_timer = None;
    if options.privileged {
        privileges();
        kill_timer = kill_timer_after(deadline);
    }
    let mut manager = Manager::from_environment();
    manager.watch_for(deadline);
    listening().map_err(ProcessError::Record)?;
    // The setup above may have taken longer than a tick.
    executor.skip_missed_ticks(monotonic());
    executor.advance(monotonic());
    let ServeOptions {
        pilot,
        allowed,
        identification,
        ..
    } = options;
    let mut server = Server::new(executor, identification, listener, pilot, allowed);
    manager.ready();
    let mut share = Share::new(monotonic(), processor_time());
    // Created last, so that it is dropped first.
    let _abort = AbortOnPanic;
    while !signals::ended() && !server.orphaned() {
        wait(&server);
        let mut now = monotonic();
        let rest = share.rest(now, processor_time());
        if !rest.is_zero() {
            // Sleep no longer than until the next event is due, so that deadlines are kept.
            std::thread::sleep(rest.min(server.until_due(now)));
            now = monotonic();
        }
        server.skip_missed_ticks(now);
        server.poll(monotonic);
        manager.alive(now);
        if let Some(kill_timer) = &kill_timer {
            kill_timer.restart();
        }
    }
    finish(&mut server, |now| {
        manager.alive(now);
        if let Some(kill_timer) = &kill_timer {
            kill_timer.restart();
        }
    });
    // The kill timer is no longer needed: if the guard dies from here on, the watcher writes
    // failsafe.
    drop(kill_timer);
    if let Some(path) = options.socket {
        // A leftover socket file is harmless.
        let _ = remove_socket(&path);
    }
    let executor = server.executor();
    match executor.status().failure {
        // The pilot moves a simulated car, and has ended.
        Some(failure) if executor.limits().spec().actuator == Domain::Physical => {
            Err(ProcessError::Last(failure.to_string()))
        }
        _ => Ok(()),
    }
}

/// Stops the car, and waits for the end of the brake: the motors keep the last output when this
/// process has ended. A signal ends the brake. `alive` is called at least once per tick.
fn finish<A: Actuator>(server: &mut Server<A>, mut alive: impl FnMut(Time)) {
    server.end(monotonic(), false);
    // `advance` ends the brake when its time, which `Limits` bounds, is over.
    loop {
        let now = monotonic();
        alive(now);
        server.skip_missed_ticks(now);
        server.advance(now);
        if signals::ended() {
            server.end(now, true);
        }
        if !matches!(server.executor().status().state, State::Braking(_)) {
            return;
        }
        std::thread::sleep(server.until_due(monotonic()));
    }
}

/// The period of writes to the motors. A longer deadline gives a longer period, because the bus or
/// computer of such a car is slow.
fn tick(limits: &LimitsSpec) -> Duration {
    (limits.deadline / TICKS_PER_DEADLINE).min(limits.frame_period / 2)
}

/// Requests locked memory and real-time priority. Neither is required: without them the guard is
/// scheduled like any other process.
fn privileges() {
    if let Err(error) = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        log::warn!("the guard's memory is not locked ({error}): LimitMEMLOCK, `ulimit -l`");
    }
    if let Err(error) = pilotage_linux::real_time(PRIORITY) {
        log::warn!("the guard has no real-time priority ({error}): LimitRTPRIO, `ulimit -r`");
    }
}

/// Makes the kernel kill a guard that does not run for a whole deadline because it is frozen or
/// stuck. The watcher then writes failsafe at once.
fn kill_timer_after(deadline: Duration) -> Option<KillTimer> {
    KillTimer::new(deadline)
        .inspect_err(|error| log::warn!("a frozen guard is not killed by the kernel ({error})"))
        .ok()
}

/// Waits until a message arrives or the next event is due.
fn wait<A: Actuator>(server: &Server<A>) {
    let connections = server.connections();
    let mut polled: ArrayVec<PollFd<'_>, { MOST_CLIENTS + 1 }> = connections
        .iter()
        .map(|connection| PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN))
        .collect();
    let left = server.until_due(monotonic());
    let left = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(0),
        tv_nsec: left.subsec_nanos().into(),
    };
    // A signal ends the wait early. The result is ignored: the next poll of the server reads all
    // connections.
    let _ = rustix::event::poll(&mut polled, Some(&left));
}

/// Removes the socket at `path`. Returns false if `path` is another kind of file, which is kept.
fn remove_socket(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {
            let _ = fs::remove_file(path);
            true
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Listens on `path`, and replaces a socket that a dead guard left there.
fn listen(path: &Path, allowed: &Allowed) -> Result<OwnedFd, ProcessError> {
    let failed = |reason: rustix::io::Errno| ProcessError::Listen {
        path: path.to_owned(),
        reason: reason.into(),
    };
    let new = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
    };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let probe = new().map_err(failed)?;
    if rustix::net::connect(&probe, &address).is_ok() {
        return Err(ProcessError::Taken {
            path: path.to_owned(),
        });
    }
    // No guard listens: the path is a leftover socket, or does not exist.
    if !remove_socket(path) {
        return Err(ProcessError::NotASocket {
            path: path.to_owned(),
        });
    }
    let listener = new().map_err(failed)?;
    rustix::net::bind(&listener, &address).map_err(failed)?;
    let mode = match admit(path, allowed) {
        true => 0o660,
        false => 0o666,
    };
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode)).map_err(failed)?;
    rustix::net::listen(&listener, 64).map_err(failed)?;
    Ok(listener)
}

/// Whether the socket's owner and group are all the users who may connect. Sets the socket's group
/// to the allowed group. If this returns false, the socket's mode has to admit all users. In either
/// case the guard checks the credentials of each connection.
fn admit(path: &Path, allowed: &Allowed) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if allowed.users.iter().any(|&user| user != own && user != 0) {
        return false;
    }
    match allowed.groups[..] {
        [] => true,
        // chown(2) fails if the guard is not a member of the group.
        [group] => std::os::unix::fs::chown(path, None, Some(group)).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
