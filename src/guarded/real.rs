//! The guard of a real car: the service's where it runs, else one of the pilot's own.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_guard::{ConnectError, GuardedCar, SocketLink, failsafe};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::GuardedError;

/// A guard that was started listens by then.
const START: Duration = Duration::from_secs(5);
/// A guard whose pilot has ended is over with it by then.
const END: Duration = Duration::from_millis(500);
/// A line that closes is that of a guard that has ended, as good as.
const SILENT: Duration = Duration::from_millis(10);

/// The way to a car's guard.
pub struct RealGuard {
    /// To the guard; nothing was said yet.
    pub link: SocketLink,
    /// The guard, where the pilot started it; dropped, it ends.
    pub own: Option<OwnGuard>,
}

impl RealGuard {
    /// Connects to the guard of `car`, which `file` describes; where none listens, it is
    /// started.
    ///
    /// # Errors
    /// When it may not be spoken to, or cannot be started.
    pub fn reach(car: &GuardedCar, file: &Path) -> Result<Self, GuardedError> {
        match SocketLink::connect(&car.socket) {
            Ok(link) => Ok(Self { link, own: None }),
            Err(ConnectError::Unreachable {
                reason: Errno::NOENT | Errno::CONNREFUSED,
                ..
            }) => OwnGuard::start(car, file),
            Err(error) => Err(error.into()),
        }
    }
}

/// A guard that the pilot started. A thread watches over it: where it dies or freezes, it is
/// killed and failsafe is written in its place.
#[derive(Debug)]
pub struct OwnGuard {
    end: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl OwnGuard {
    fn start(car: &GuardedCar, file: &Path) -> Result<RealGuard, GuardedError> {
        // The same entry as `pilotage-guard`'s, of the same build for certain.
        let program = std::env::current_exe().map_err(GuardedError::Itself)?;
        let mut command = Command::new(&program);
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
            .args(["guard", "--car"])
            .arg(file)
            .arg("--pilot-on-stdin")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        let beat = match listens(&car.socket, &mut child) {
            Ok(beat) => beat,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
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
            link: SocketLink::over(ours),
            own: Some(Self {
                end,
                watch: Some(watch),
            }),
        })
    }
}

/// Waits until the guard listens, or has said on standard error why it does not.
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

/// Asks the guard how it is, until it does not say or the pilot ends. However it ended, if
/// that was not by itself, failsafe written, the motors get failsafe in its place.
fn watch(mut child: Child, mut beat: SocketLink, car: &GuardedCar, end: &AtomicBool) {
    let deadline = car.limits.spec().deadline;
    let ended = || end.load(Ordering::Acquire);
    while !ended() && beat.refresh_within(deadline).is_ok() {
        std::thread::sleep(deadline / 4);
    }
    // Told to end, it takes a moment; one that fell silent has had its time.
    let patience = if ended() { END } else { SILENT };
    if ended_well(&mut child, patience) {
        return;
    }
    let _ = child.kill();
    let _ = child.wait();
    match failsafe(car) {
        Ok(()) => log::error!("the guard died or froze; its motors got failsafe"),
        Err(error) => log::error!("the guard died or froze, and {error}"),
    }
}

fn ended_well(child: &mut Child, patience: Duration) -> bool {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if began.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(None) | Err(_) => return false,
        }
    }
}

impl Drop for OwnGuard {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}
