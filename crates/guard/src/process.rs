//! A guard as a process of its own: one thread, memory locked, before all others.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::Time;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mm::MlockAllFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};

use crate::executor::TICK;
use crate::notify::Manager;
use crate::server::MOST_CLIENTS;
use crate::sys::KillTimer;
use crate::{
    Actuator, Allowed, Executor, Identification, Limits, LimitsSpec, Server, StartError, sys,
};

/// Below the kernel's threads for interrupts (50): its bus waits for them.
pub(crate) const PRIORITY: i32 = 40;

/// A flood must not make the guard take a processor for itself, from the pilot that runs
/// behind it: what it has used beyond a third of the time may grow to this, then it rests.
const BUSY: Duration = Duration::from_millis(1);

/// To a deadline; the usual one, 150 ms, has as many of the shortest.
const TICKS: u32 = 30;

/// How a guard is reached.
#[derive(Debug)]
pub struct Reach {
    /// Where it listens.
    pub socket: Option<PathBuf>,
    /// A connection that is there already: to the pilot that started it.
    pub pilot: Option<OwnedFd>,
    /// Who may connect to it.
    pub allowed: Allowed,
    /// What it guards.
    pub identification: Identification,
    /// Whether it asks for locked memory and to run before all others, as the guard of a
    /// car that can hurt somebody does.
    pub privileged: bool,
}

/// Why a guard did not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guard does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It cannot listen.
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
    /// The socket's path is that of something else.
    #[error(
        "{path}: there is a file of another kind, which the guard does not replace: remove it, or \
         name another `guard.socket` in car.toml"
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another guard listens there.
    #[error("{path}: another guard is running; there can be one for each car")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// What is needed to find and stop the guard could not be written.
    #[error(
        "the guard's record cannot be written, and without it the guard could not always be \
         stopped: {0}"
    )]
    Record(io::Error),
    /// The system does not let signals be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(io::Error),
}

/// The present, by `CLOCK_MONOTONIC`: the clock of guards in processes of their own, of
/// the pilots that speak to them, and of the kernel's camera drivers.
pub fn monotonic() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Makes this process the leader of a session of its own, without a terminal: the keys of the
/// pilot's terminal, its end, and signals to the pilot's process group do not reach it.
pub fn leave_session() {
    // A process that leads a group already is in one of its own.
    let _ = rustix::process::setsid();
}

/// Runs this process before all but the guard, where the system allows it: an operator's stop
/// does not wait for busy programs. Where it is not allowed, nothing changes.
pub fn run_first() {
    let _ = sys::real_time(PRIORITY - 1);
}

/// Ends this process in order, failsafe first, when the process `parent` that started it
/// dies. False where it has died already.
pub fn end_with_parent(parent: u32) -> bool {
    let signal = Some(rustix::process::Signal::TERM);
    if let Err(error) = rustix::process::set_parent_process_death_signal(signal) {
        log::warn!("the guard outlives its watcher ({error})");
    }
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    u32::try_from(now) == Ok(parent)
}

/// Ends the process at once where its thread panics: the watcher writes failsafe, and
/// unwinding would only delay that.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Runs a guard over `actuator` until a signal ends it, or until the pilot that started it
/// is gone. Its first act is to write the disarmed values, its last to write failsafe, and
/// the disarmed ones again if a signal ended it. `listening` is called once clients may
/// connect.
///
/// # Errors
/// When it does not start. Nothing has moved then.
pub fn run<A: Actuator>(
    limits: Limits,
    actuator: A,
    reach: Reach,
    listening: impl FnOnce() -> io::Result<()>,
) -> Result<(), ProcessError> {
    let deadline = limits.spec().deadline;
    let tick = tick(limits.spec()).max(TICK);
    let mut executor = Executor::start(limits, actuator, monotonic(), tick)?;
    let listen = |path| listen(path, &reach.allowed);
    let listener = reach.socket.as_deref().map(listen).transpose()?;
    sys::catch_signals().map_err(ProcessError::Signals)?;
    let mut kill_timer = None;
    if reach.privileged {
        privileges();
        kill_timer = kill_timer_after(deadline);
    }
    let mut manager = Manager::from_environment();
    manager.watch_for(deadline);
    listening().map_err(ProcessError::Record)?;
    // All that may have taken a while.
    executor.skip_missed_ticks(monotonic());
    executor.advance(monotonic());
    let Reach {
        pilot,
        allowed,
        identification,
        ..
    } = reach;
    let mut server = Server::new(executor, identification, listener, pilot, allowed);
    manager.ready();
    let mut ended = monotonic();
    let mut busy = Duration::ZERO;
    // The last that is made is the first that is dropped.
    let _abort = AbortOnPanic;
    while !sys::ended() && !server.orphaned() {
        wait(&server);
        let mut now = monotonic();
        if busy >= BUSY {
            // Not past what is due: whatever is sent, deadlines are kept.
            std::thread::sleep((2 * busy).min(server.due().since(now)));
            now = monotonic();
        }
        busy = busy.saturating_sub(now.since(ended) / 2);
        server.skip_missed_ticks(now);
        server.poll(monotonic);
        ended = monotonic();
        busy += ended.since(now);
        manager.alive(now);
        if let Some(kill_timer) = &kill_timer {
            kill_timer.restart();
        }
    }
    // From here on the watcher writes failsafe.
    drop(kill_timer);
    server.end(monotonic(), sys::ended());
    if let Some(path) = reach.socket {
        // A leftover socket file is harmless.
        let _ = remove_socket(&path);
    }
    Ok(())
}

/// How often the motors are written: with a long deadline less often, as such a car's bus or
/// computer is slow.
fn tick(limits: &LimitsSpec) -> Duration {
    (limits.deadline / TICKS).min(limits.frame_period / 2)
}

/// Both help and neither is a must: at the worst the guard is as prompt as any process.
fn privileges() {
    if let Err(error) = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        log::warn!("the guard's memory is not locked ({error}): LimitMEMLOCK, `ulimit -l`");
    }
    if let Err(error) = sys::real_time(PRIORITY) {
        log::warn!("the guard has no real-time priority ({error}): LimitRTPRIO, `ulimit -r`");
    }
}

/// A guard that does not run for a deadline has broken its promise, frozen or stuck: the
/// kernel kills it, and the watcher writes failsafe at once.
fn kill_timer_after(deadline: Duration) -> Option<KillTimer> {
    KillTimer::new(deadline)
        .inspect_err(|error| log::warn!("a frozen guard is not killed by the kernel ({error})"))
        .ok()
}

/// Waits until something is sent or due.
fn wait<A: Actuator>(server: &Server<A>) {
    let connections = server.connections();
    let mut polled: ArrayVec<PollFd<'_>, { MOST_CLIENTS + 1 }> = connections
        .iter()
        .map(|connection| PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN))
        .collect();
    let left: Duration = server.due().since(monotonic());
    let left = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(0),
        tv_nsec: left.subsec_nanos().into(),
    };
    // A signal ends it early; whatever else it returns, the next poll of the server sees.
    let _ = rustix::event::poll(&mut polled, Some(&left));
}

/// Removes a socket, and nothing else, at `path`. False where something else is there.
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

/// Listens at `path`, in place of the socket that a dead guard left there.
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
    // A socket without a listener, or nothing at all.
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

/// Whether the socket's owner and its group, which is made the one that is allowed, are all
/// who may connect. Otherwise its mode has to admit everybody; in either case the guard checks
/// the credentials of each connection.
fn admit(path: &Path, allowed: &Allowed) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if allowed.users.iter().any(|&user| user != own && user != 0) {
        return false;
    }
    match allowed.groups[..] {
        [] => true,
        // Where the guard is no member of it, it may not give it the socket.
        [group] => std::os::unix::fs::chown(path, None, Some(group)).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
