//! A guard in a separate process: the simulated car's, which the pilot starts and watches, and a
//! real car's ([`GuardConnection`]).

mod real;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_guard::wire::Applied;
use pilotage_guard::{ConnectError, HelloError, Identification, Limits, Output, Relay, SocketLink};
use pilotage_vehicle::{Domain, monotonic};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub use real::{GuardConnection, OwnGuard, guard_program, write_failsafe};

/// More outputs than a guard sends between two frames; if there are more, the oldest are dropped.
const MOST_APPLIED: usize = 128;

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
pub enum GuardedError {
    /// The path of this program is unknown, so it cannot be started as the guard.
    #[error("the guard cannot be started: the path of this program is unknown ({0})")]
    Itself(io::Error),
    /// The system could not start the guard.
    #[error("{program}: the guard cannot be started: {reason}")]
    Start {
        /// The program to start.
        program: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The limits cannot be encoded for the guard's command line.
    #[error("the guard's limits cannot be encoded: {0}")]
    Limits(serde_json::Error),
    /// The guard's program is missing.
    #[error(
        "{program} is missing, and only it moves motors: build it with `cargo build --release` \
         (`cargo run` builds `pilotage` alone), or install the package"
    )]
    NoProgram {
        /// Where it must be.
        program: PathBuf,
    },
    /// The guard's program has another version.
    #[error(
        "{program} is `{found}`, and this is `{wanted}`: build both with `cargo build --release`, or \
         install the package"
    )]
    OtherVersion {
        /// The program.
        program: PathBuf,
        /// Its answer to `--version`.
        found: String,
        /// The expected answer.
        wanted: String,
    },
    /// The guard cannot be connected to.
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    /// The guard was started and has ended; standard error has the reason.
    #[error("the guard ended as soon as it was started ({0}); its message is above")]
    Ended(ExitStatus),
    /// The guard started, but did not accept its pilot.
    #[error("the guard was started, but did not accept its pilot: {0}")]
    Hello(HelloError),
}

/// The outputs of a guard process for the simulated car's motors.
#[derive(Debug, Clone)]
pub struct Motors {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    applied: Mutex<ArrayVec<Applied, MOST_APPLIED>>,
    failed: AtomicBool,
    end: AtomicBool,
}

impl Motors {
    /// Takes the outputs since the last call, in order.
    pub fn take(&self) -> ArrayVec<Applied, MOST_APPLIED> {
        let mut applied = self.lock();
        std::mem::take(&mut *applied)
    }

    /// Whether the guard died or froze. The last output is failsafe then.
    pub fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ArrayVec<Applied, MOST_APPLIED>> {
        // A panic while the lock is held leaves a valid list.
        let lock = self.shared.applied.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, applied: Applied) {
        let mut all = self.lock();
        if all.is_full() {
            all.remove(0);
        }
        all.push(applied);
    }
}

/// The guard's process. When this is dropped, the process ends: its connection closes, and it
/// writes failsafe.
#[derive(Debug)]
pub struct GuardProcess {
    /// The guard's outputs.
    pub motors: Motors,
    watch: Option<JoinHandle<()>>,
}

impl GuardProcess {
    /// Starts this program as a guard with `limits` for the simulated car, and connects to it.
    ///
    /// # Errors
    /// Fails if the guard cannot be started or does not answer.
    pub fn start(limits: &Limits, engine: Domain) -> Result<(Self, SocketLink), GuardedError> {
        let program = std::env::current_exe().map_err(GuardedError::Itself)?;
        Self::start_as(&program, limits, engine)
    }

    /// As [`start`](Self::start), from another program file: for tests, whose executable is not
    /// this program.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_as(
        program: &Path,
        limits: &Limits,
        engine: Domain,
    ) -> Result<(Self, SocketLink), GuardedError> {
        let failed = |reason: io::Error| GuardedError::Start {
            program: program.to_owned(),
            reason,
        };
        let pair = || -> io::Result<(OwnedFd, OwnedFd)> {
            let flags = SocketFlags::CLOEXEC;
            let made =
                rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
            Ok(made?)
        };
        let (ours, theirs) = pair().map_err(failed)?;
        let (outputs, sending) = pair().map_err(failed)?;
        let spec = serde_json::to_string(limits.spec()).map_err(GuardedError::Limits)?;
        let mut command = Command::new(program);
        command
            .args(["guard", "--limits", &spec])
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(sending));
        let child = command.spawn().map_err(failed)?;
        // The command holds the child's ends of the sockets: they must be closed here, so that the
        // guard's death closes the connection.
        drop(command);
        let motors = Motors {
            shared: Arc::new(Shared {
                applied: Mutex::new(ArrayVec::new()),
                failed: AtomicBool::new(false),
                end: AtomicBool::new(false),
            }),
        };
        let deadline = limits.spec().deadline;
        let failsafe = Output::failsafe(limits);
        let watch = {
            let motors = motors.clone();
            let name = std::thread::Builder::new().name("guard-watch".to_owned());
            name.spawn(move || watch(child, &outputs, &motors, deadline, failsafe))
                .map_err(failed)?
        };
        let guarded = Self {
            motors,
            watch: Some(watch),
        };
        let mut link = SocketLink::over(ours);
        link.hello(engine, &Identification::of_limits(limits))
            .map_err(GuardedError::Hello)?;
        Ok((guarded, link))
    }
}

impl Drop for GuardProcess {
    fn drop(&mut self) {
        self.motors.shared.end.store(true, Ordering::Release);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

/// How often the watch thread checks whether it must end.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Forwards the guard's outputs, which the guard sends at each tick. If no output comes for a
/// deadline, the guard is dead or frozen: it is killed, so that it never sends again, and the
/// motors are set to failsafe.
fn watch(
    mut child: Child,
    outputs: &OwnedFd,
    motors: &Motors,
    deadline: Duration,
    failsafe: Output,
) {
    let mut received = monotonic();
    let dead = loop {
        let mut fds = [PollFd::new(outputs, PollFlags::IN)];
        let left = Timespec {
            tv_sec: 0,
            tv_nsec: POLL_INTERVAL.min(deadline / 4).subsec_nanos().into(),
        };
        let _ = poll(&mut fds, Some(&left));
        let mut closed = false;
        loop {
            match Relay::read(outputs) {
                Ok(Some(applied)) => {
                    received = monotonic();
                    motors.push(applied);
                }
                Ok(None) => break,
                Err(_) => {
                    closed = true;
                    break;
                }
            }
        }
        if motors.shared.end.load(Ordering::Acquire) {
            break false;
        }
        if closed || monotonic().since(received) >= deadline {
            break true;
        }
    };
    if dead {
        let _ = child.kill();
        motors.push(Applied {
            at: monotonic(),
            output: failsafe,
        });
        motors.shared.failed.store(true, Ordering::Release);
        log::error!("the guard died or froze; the car is stopped");
    }
    // The guard was killed, or is ending because its connection is closed.
    if !ends_soon(&mut child) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

fn ends_soon(child: &mut Child) -> bool {
    for _ in 0..50 {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
