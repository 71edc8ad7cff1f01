//! The guard of a physical or dry-running car: the service's guard if it runs, else one that the
//! pilot starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_guard::{
    ConnectError, GUARD_PROGRAM, GuardedCar, ProcessId, ProgramError, SocketLink, ended_within,
    failsafe_by_program, program_beside,
};
use pilotage_vehicle::Domain;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::GuardedError;

/// How long a started guard may take until it listens.
const START: Duration = Duration::from_secs(5);
/// How long a guard may take to end after its pilot has ended.
const END: Duration = Duration::from_millis(500);
/// How long the watcher of a dead guard may take to write failsafe, or to report why it could not.
const WATCHER: Duration = Duration::from_secs(2);
/// The guard is asked for its status at least this often.
const ASK: Duration = Duration::from_secs(1);
/// How long a guard may take to end after its connection has closed.
const SILENT: Duration = Duration::from_millis(10);

/// The connection to a car's guard.
pub struct GuardConnection {
    /// The guard, if the pilot started it. When this is dropped, the guard ends, provided that the
    /// link was dropped before.
    pub own: Option<OwnGuard>,
    /// The connection to the guard; nothing has been sent yet.
    pub link: SocketLink,
}

impl GuardConnection {
    /// Connects to the guard of `car`, which `file` describes. If no guard listens, one is started.
    ///
    /// # Errors
    /// Fails if this user may not connect to the guard, or if it cannot be started.
    pub fn reach(car: &GuardedCar, file: &Path) -> Result<Self, GuardedError> {
        match SocketLink::connect(&car.socket) {
            Ok(link) => Ok(Self { own: None, link }),
            Err(ConnectError::Unreachable {
                reason: Errno::NOENT | Errno::CONNREFUSED,
                ..
            }) => OwnGuard::start(car, file),
            Err(error) => Err(error.into()),
        }
    }
}

/// The program `pilotage-guard` in the folder of this program, with the same version.
///
/// # Errors
/// Fails if it does not exist, or has another version.
pub fn guard_program() -> Result<PathBuf, GuardedError> {
    program_beside(GUARD_PROGRAM).map_err(|error| match error {
        ProgramError::Itself(reason) => GuardedError::Itself(reason),
        ProgramError::Missing(program) => GuardedError::NoProgram { program },
        ProgramError::Start { program, reason } => GuardedError::Start { program, reason },
        ProgramError::OtherVersion {
            program,
            found,
            wanted,
        } => GuardedError::OtherVersion {
            program,
            found,
            wanted,
        },
    })
}

/// Writes failsafe to the motors of the car of `file`, whose guard is dead.
///
/// # Errors
/// As [`failsafe_by_program`].
pub fn write_failsafe(file: &Path) -> io::Result<()> {
    failsafe_by_program(file, false)
}

/// A guard that the pilot started, with its watcher. A thread of the pilot watches both: it kills a
/// guard that does not answer, and writes failsafe if neither guard nor watcher has.
#[derive(Debug)]
pub struct OwnGuard {
    end: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl OwnGuard {
    fn start(car: &GuardedCar, file: &Path) -> Result<GuardConnection, GuardedError> {
        let mut command = command(car)?;
        let program = PathBuf::from(command.get_program());
        let failed = |reason: io::Error| GuardedError::Start {
            program: program.clone(),
            reason,
        };
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|reason| failed(reason.into()))?;
        command
            .arg("--car")
            .arg(file)
            .arg("--pilot-on-stdin")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        let heartbeat = match listens(&car.socket, &mut child) {
            Ok(heartbeat) if is_guard_of(&heartbeat, &child) => heartbeat,
            // Another program has started a guard in the meantime.
            Ok(link) => {
                drop(ours);
                let _ = ended_within(&mut child, START);
                return Ok(GuardConnection { own: None, link });
            }
            Err(error) => {
                // The child's connection to this pilot closes, so it ends in order.
                drop(ours);
                if !ended_well(&mut child, END) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                return Err(error);
            }
        };
        let end = Arc::new(AtomicBool::new(false));
        let watch = {
            let (end, car) = (Arc::clone(&end), car.clone());
            let name = std::thread::Builder::new().name("guard-watch".to_owned());
            name.spawn(move || watch(child, heartbeat, &car, &end))
                .map_err(failed)?
        };
        Ok(GuardConnection {
            own: Some(Self {
                end,
                watch: Some(watch),
            }),
            link: SocketLink::over(ours),
        })
    }
}

/// The guard's program: `pilotage-guard`. For a car that moves nothing this program is used if
/// `pilotage-guard` was not built.
fn command(car: &GuardedCar) -> Result<Command, GuardedError> {
    match guard_program() {
        Ok(program) => Ok(Command::new(program)),
        Err(GuardedError::NoProgram { .. }) if car.limits.spec().actuator == Domain::Simulated => {
            let own = std::env::current_exe().map_err(GuardedError::Itself)?;
            let mut command = Command::new(own);
            command.arg("guard");
            Ok(command)
        }
        Err(error) => Err(error),
    }
}

/// Whether the process at the other end is `child`, or was started by `child`, which is then its
/// watcher.
fn is_guard_of(link: &SocketLink, child: &Child) -> bool {
    let Some(guard) = link.process() else {
        return false;
    };
    let guard = guard.as_raw_nonzero().get();
    let stat = fs::read_to_string(format!("/proc/{guard}/stat")).unwrap_or_default();
    // "number (name) state parent ..."; the name may contain any character.
    let parent = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(1));
    u32::try_from(guard) == Ok(child.id()) || parent == Some(child.id().to_string().as_str())
}

/// Waits until the guard listens, or ends; it reports the reason on standard error.
fn listens(socket: &Path, child: &mut Child) -> Result<SocketLink, GuardedError> {
    let until = Instant::now() + START;
    loop {
        match SocketLink::connect(socket) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(GuardedError::Ended(status));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks the guard for its status until it does not answer or the pilot ends. If the guard did not
/// end in order, failsafe is written.
fn watch(mut child: Child, mut heartbeat: SocketLink, car: &GuardedCar, end: &AtomicBool) {
    let deadline = car.limits.spec().deadline;
    let guard = heartbeat.process().and_then(ProcessId::of);
    let ended = || end.load(Ordering::Acquire);
    while !ended() && answers(&mut heartbeat, car, deadline) {
        std::thread::park_timeout((deadline / 4).min(ASK));
    }
    // A guard that was asked to end needs a moment, and ends a brake first; one that did not answer
    // has had its time.
    let patience = match ended() {
        true => END + car.limits.spec().brake,
        false => SILENT,
    };
    if ended_well(&mut child, patience) {
        return;
    }
    if let Some(guard) = guard {
        // The guard's watcher then writes failsafe.
        let _ = guard.kill(Duration::ZERO);
    }
    let watched = ended_within(&mut child, WATCHER);
    if watched.is_some_and(|status| status.code() == Some(1)) {
        // The watcher has reported that it wrote failsafe.
        return;
    }
    let _ = child.kill();
    let _ = child.wait();
    if car.limits.spec().actuator == Domain::Simulated {
        log::error!("the guard died or froze");
        return;
    }
    match failsafe_by_program(&car.file, true) {
        Ok(()) => log::error!("the guard died or froze: failsafe was written"),
        Err(error) => log::error!("the guard died or froze, and {error}"),
    }
}

/// Whether the guard answers within `deadline`. If the guard closed this connection to make room
/// for others, it is asked over a new connection.
fn answers(heartbeat: &mut SocketLink, car: &GuardedCar, deadline: Duration) -> bool {
    if heartbeat.refresh_within(deadline).is_ok() {
        return true;
    }
    if !heartbeat.is_gone() {
        return false;
    }
    let Ok(again) = SocketLink::connect(&car.socket) else {
        return false;
    };
    if again.process() != heartbeat.process() {
        return false;
    }
    *heartbeat = again;
    heartbeat.refresh_within(deadline).is_ok()
}

fn ended_well(child: &mut Child, patience: Duration) -> bool {
    ended_within(child, patience).is_some_and(|status| status.success())
}

impl Drop for OwnGuard {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(watch) = self.watch.take() {
            watch.thread().unpark();
            let _ = watch.join();
        }
    }
}
