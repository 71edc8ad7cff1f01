//! A guard as a process of its own: one thread, memory locked, before all others.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::Time;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mm::MlockAllFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};

use crate::notify::Manager;
use crate::sys::DeadMan;
use crate::{Actuator, Allowed, InProcessLink, Limits, LimitsSpec, Link, Server, StartError, sys};

/// Above the kernel's threads for interrupts (50) it need not be: its bus waits for them.
const PRIORITY: i32 = 40;

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
    /// A line that is there already: to the pilot that started it.
    pub pilot: Option<OwnedFd>,
    /// Who may speak to it.
    pub allowed: Allowed,
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
        /// The system's word.
        reason: io::Error,
    },
    /// Another guard listens there.
    #[error("{path}: another guard is running; there can be one for each car")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The system does not let signals be caught.
    #[error("SIGTERM cannot be caught: {0}")]
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

/// Runs a guard over `actuator` until SIGTERM, or until the pilot that started it is gone. Its first act is to write the disarmed values, its last to
/// write failsafe, and the disarmed ones again if a signal ended it.
///
/// # Errors
/// When it does not start. Nothing has moved then.
pub fn run<A: Actuator>(limits: Limits, actuator: A, reach: Reach) -> Result<(), ProcessError> {
    let deadline = limits.spec().deadline;
    let tick = tick(limits.spec()).max(InProcessLink::<A>::TICK);
    let mut guard = InProcessLink::start_with_tick(limits, actuator, monotonic(), tick)?;
    let listener = reach.socket.as_deref().map(listen).transpose()?;
    sys::catch_signals().map_err(ProcessError::Signals)?;
    let mut dead_man = None;
    if reach.privileged {
        privileges();
        dead_man = dead_man_after(deadline);
    }
    let mut manager = Manager::from_environment();
    manager.watch_for(deadline);
    // The world may have waited for all that.
    guard.overtake(monotonic());
    let _ = guard.advance_to(monotonic());
    let mut server = Server::new(guard, listener, reach.pilot, reach.allowed);
    manager.ready();
    let mut ended = monotonic();
    let mut busy = Duration::ZERO;
    while !sys::ended() && !server.orphaned() {
        wait(&server);
        let mut now = monotonic();
        if busy >= BUSY {
            // Not past what is due: whatever is said, deadlines are kept.
            std::thread::sleep((2 * busy).min(server.due().since(now)));
            now = monotonic();
        }
        busy = busy.saturating_sub(now.since(ended) / 2);
        server.overtake(now);
        server.turn(now);
        ended = monotonic();
        busy += ended.since(now);
        manager.alive(now);
        if let Some(dead_man) = &dead_man {
            dead_man.alive();
        }
    }
    // From here on it is in the hands of who waits for its end.
    drop(dead_man);
    server.end(monotonic(), sys::ended());
    if let Some(path) = reach.socket {
        // What is left of a name hurts nobody.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// How often the motors are told again: with a long deadline less often, as such a car's bus or
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

/// A guard that gets no turn for a deadline has broken its promise, frozen or stuck: the kernel
/// kills it, and whoever watches over it writes failsafe at once.
fn dead_man_after(deadline: Duration) -> Option<DeadMan> {
    DeadMan::new(deadline)
        .inspect_err(|error| log::warn!("a frozen guard is not killed by the kernel ({error})"))
        .ok()
}

/// Waits until something is said or due.
fn wait<A: Actuator>(server: &Server<A>) {
    let lines = server.lines();
    let mut polled: ArrayVec<PollFd<'_>, 16> = lines
        .iter()
        .map(|line| PollFd::from_borrowed_fd(line.as_fd(), PollFlags::IN))
        .collect();
    let left: Duration = server.due().since(monotonic());
    let left = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(0),
        tv_nsec: left.subsec_nanos().into(),
    };
    // A signal ends it early, and nothing else can go wrong that the next turn would not see.
    let _ = rustix::event::poll(&mut polled, Some(&left));
}

/// Listens at `path`, in place of what a dead guard left there.
fn listen(path: &Path) -> Result<OwnedFd, ProcessError> {
    let failed = |reason: rustix::io::Errno| ProcessError::Listen {
        path: path.to_owned(),
        reason: reason.into(),
    };
    let new = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
    };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let asked = new().map_err(failed)?;
    if rustix::net::connect(&asked, &address).is_ok() {
        return Err(ProcessError::Taken {
            path: path.to_owned(),
        });
    }
    // A name without a listener, or no name at all.
    let _ = fs::remove_file(path);
    let listener = new().map_err(failed)?;
    rustix::net::bind(&listener, &address).map_err(failed)?;
    // The group too may connect; who it is is asked for each connection.
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o660)).map_err(failed)?;
    rustix::net::listen(&listener, 16).map_err(failed)?;
    Ok(listener)
}
