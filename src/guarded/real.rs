//! The guard of a physical or dry-running car: the service's where it runs, else one of the
//! pilot's own.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_guard::{ConnectError, Domain, GuardedCar, ProcessId, SocketLink};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::GuardedError;

/// A guard that was started listens by then.
const START: Duration = Duration::from_secs(5);
/// A guard whose pilot has ended is done with its own end by then.
const END: Duration = Duration::from_millis(500);
/// The watcher of a guard that died has written failsafe by then, or reported why not.
const WATCHER: Duration = Duration::from_secs(2);
/// Failsafe is written by then, or the motors cannot be reached.
const FAILSAFE: Duration = Duration::from_secs(3);
/// The guard is asked for its status at least this often.
const ASK: Duration = Duration::from_secs(1);
/// A connection that closes is that of a guard that has ended, or is about to.
const SILENT: Duration = Duration::from_millis(10);

/// The program that alone writes to motors.
const PROGRAM: &str = "pilotage-guard";

/// The way to a car's guard.
pub struct RealGuard {
    /// The guard, where the pilot started it; dropped, it ends, once the link is dropped.
    pub own: Option<OwnGuard>,
    /// To the guard; nothing was sent yet.
    pub link: SocketLink,
}

impl RealGuard {
    /// Connects to the guard of `car`, which `file` describes; where none listens, it is
    /// started.
    ///
    /// # Errors
    /// When this user may not connect to it, or it cannot be started.
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

/// The program `pilotage-guard` that lies beside this one, and is of its version.
///
/// # Errors
/// When it is not there, or of another version.
pub fn guard_program() -> Result<PathBuf, GuardedError> {
    let own = std::env::current_exe().map_err(GuardedError::Itself)?;
    let program = own.with_file_name(PROGRAM);
    if !program.exists() {
        return Err(GuardedError::NoProgram { program });
    }
    let version = Command::new(&program).arg("--version").output();
    let version = version.map_err(|reason| GuardedError::Start {
        program: program.clone(),
        reason,
    })?;
    let found = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let wanted = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    match found == wanted {
        true => Ok(program),
        false => Err(GuardedError::OtherVersion {
            program,
            found,
            wanted,
        }),
    }
}

/// Writes failsafe to the motors of the car of `file`, whose guard is dead: the program
/// `pilotage-guard` does, as nothing else opens motors.
///
/// # Errors
/// When it is not there, or reports why the motors did not take it.
pub fn write_failsafe(file: &Path) -> io::Result<()> {
    run_failsafe(file, &[])
}

/// The same for a guard that died: where another guard of these motors runs, nothing is done.
fn write_failsafe_if_dead(file: &Path) -> io::Result<()> {
    run_failsafe(file, &["--if-dead"])
}

fn run_failsafe(file: &Path, more: &[&str]) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name(PROGRAM);
    let mut command = Command::new(&program);
    command.arg("--failsafe").args(more).arg("--car").arg(file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let program = program.display();
        io::Error::new(
            error.kind(),
            format!("{program} cannot be started: {error}"),
        )
    })?;
    // A bus that hangs in the kernel must not hang who waits for it.
    let Some(status) = ended_with(&mut child, FAILSAFE) else {
        let _ = child.kill();
        let reason = format!("the motors cannot be reached: no answer for {FAILSAFE:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
    };
    if status.success() {
        return Ok(());
    }
    let mut message = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut message);
    }
    let message = message.trim().trim_start_matches("error: ").to_owned();
    Err(io::Error::other(message))
}

/// A guard that the pilot started, with its watcher. A thread here watches over both: where
/// the guard falls silent it is killed, and where neither wrote failsafe, that is done.
#[derive(Debug)]
pub struct OwnGuard {
    end: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl OwnGuard {
    fn start(car: &GuardedCar, file: &Path) -> Result<RealGuard, GuardedError> {
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
        let beat = match listens(&car.socket, &mut child) {
            Ok(beat) if is_of(&beat, &child) => beat,
            // Another program has started its guard meanwhile.
            Ok(link) => {
                drop(ours);
                let _ = ended_with(&mut child, START);
                return Ok(RealGuard { own: None, link });
            }
            Err(error) => {
                // Its connection to this pilot closes: it ends in order.
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
            name.spawn(move || watch(child, beat, &car, &end))
                .map_err(failed)?
        };
        Ok(RealGuard {
            own: Some(Self {
                end,
                watch: Some(watch),
            }),
            link: SocketLink::over(ours),
        })
    }
}

/// The guard's program: `pilotage-guard`, or, for a car that moves nothing, this one where
/// that was not built.
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

/// Whether the guard at the other end is `child`, or was started by it, its watcher.
fn is_of(link: &SocketLink, child: &Child) -> bool {
    let Some(guard) = link.process() else {
        return false;
    };
    let guard = guard.as_raw_nonzero().get();
    let stat = fs::read_to_string(format!("/proc/{guard}/stat")).unwrap_or_default();
    // "number (name) state parent ...", and the name may hold anything.
    let parent = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(1));
    u32::try_from(guard) == Ok(child.id()) || parent == Some(child.id().to_string().as_str())
}

/// Waits until the guard listens, or has reported on standard error why it does not.
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

/// Asks the guard for its status until it does not answer or the pilot ends. However it
/// ended, if that was not in order, failsafe is written.
fn watch(mut child: Child, mut beat: SocketLink, car: &GuardedCar, end: &AtomicBool) {
    let deadline = car.limits.spec().deadline;
    let guard = beat.process().and_then(ProcessId::of);
    let ended = || end.load(Ordering::Acquire);
    while !ended() && answers(&mut beat, car, deadline) {
        std::thread::park_timeout((deadline / 4).min(ASK));
    }
    // Asked to end, it takes a moment; one that fell silent has had its time.
    let patience = if ended() { END } else { SILENT };
    if ended_well(&mut child, patience) {
        return;
    }
    if let Some(guard) = guard {
        // Its watcher writes failsafe then.
        let _ = guard.kill(Duration::ZERO);
    }
    let watched = ended_with(&mut child, WATCHER);
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
    match write_failsafe_if_dead(&car.file) {
        Ok(()) => log::error!("the guard died or froze: failsafe was written"),
        Err(error) => log::error!("the guard died or froze, and {error}"),
    }
}

/// Whether the guard answers within `deadline`. A guard that has closed this connection, to
/// make room for others, is asked over a new one.
fn answers(beat: &mut SocketLink, car: &GuardedCar, deadline: Duration) -> bool {
    if beat.refresh_within(deadline).is_ok() {
        return true;
    }
    if !beat.is_gone() {
        return false;
    }
    let Ok(again) = SocketLink::connect(&car.socket) else {
        return false;
    };
    if again.process() != beat.process() {
        return false;
    }
    *beat = again;
    beat.refresh_within(deadline).is_ok()
}

fn ended_well(child: &mut Child, patience: Duration) -> bool {
    ended_with(child, patience).is_some_and(|status| status.success())
}

/// The exit status of a process that ends within `patience`.
fn ended_with(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if began.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(None) | Err(_) => return None,
        }
    }
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
