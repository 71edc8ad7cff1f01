//! One drive session: the same loop, endings and report for an engine and for an operator, in the
//! simulator and with a physical or dry-run car.
//!
//! [`run`] is `pilotage drive` and `pilotage record`; [`Session::step`] is one iteration.

mod assemble;
mod driver;
mod ending;
mod hand;
mod live;
mod log;
mod observers;
mod pad;
mod recording;
mod session;
mod setting;
mod trace;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;

use crate::car::Car;
use crate::recorder::Encoding;

pub use self::log::{LogRequest, default_folder, folders_to_read};
pub(crate) use assemble::{kind, reference as read_reference};
pub use ending::Ending;
pub use session::Session;
pub use trace::{Span, Trace};

/// A drive, as requested on the command line.
#[derive(Debug)]
pub struct Request {
    /// The car, with the command line's changes.
    pub car: Car,
    /// The car's file; `None` for the default car. A physical car has one.
    pub file: Option<PathBuf>,
    /// An operator drives with the gamepad, and no engine.
    pub by_hand: bool,
    /// The high-level command at the start; `None` for the engine's default.
    pub command: Option<String>,
    /// The number of frames after which the drive ends: recorded ones by hand, else taken ones.
    pub frames: Option<u64>,
    /// Where the simulated car starts.
    pub start: Option<Start>,
    /// The share of the simulated frames that are dropped, 0 to 0.9.
    pub dropped: f64,
    /// The seed of the simulated camera's noise and of the frames that are dropped; `None` for the
    /// simulator's, which a random circuit is made from, too.
    pub noise: Option<u64>,
    /// A CSV of the points that the simulated car's position is compared with.
    pub reference: Option<PathBuf>,
    /// Where and how frames and commands are recorded.
    pub recording: Option<RecordingRequest>,
    /// The file of the picture that is drawn after the drive.
    pub plot: Option<PathBuf>,
    /// The file that the simulated car's path is written to after the drive.
    pub path: Option<PathBuf>,
    /// Whether the report is JSON. No status line is shown then.
    pub json: bool,
    /// Whether the drive is not announced: it is one of many.
    pub quiet: bool,
    /// Whether a page shows the drive.
    pub watch: bool,
    /// Where the page is served; `None` for this computer only.
    pub listen: Option<SocketAddr>,
    /// Whether the operator drives with that page, and not with a gamepad.
    pub by_page: bool,
    /// Where other observers may connect, such as the terminal view; `None` for none.
    pub tap: Option<PathBuf>,
    /// The drive log, if one is kept.
    pub log: Option<LogRequest>,
    /// The start of the program.
    pub born: Instant,
}

impl Request {
    /// A request in which the engine of `car` drives, and nothing is recorded, logged or drawn.
    pub fn new(car: Car) -> Self {
        Self {
            car,
            file: None,
            by_hand: false,
            command: None,
            frames: None,
            start: None,
            dropped: 0.0,
            noise: None,
            reference: None,
            recording: None,
            plot: None,
            path: None,
            json: false,
            quiet: false,
            watch: false,
            listen: None,
            by_page: false,
            tap: None,
            log: None,
            born: Instant::now(),
        }
    }
}

/// The simulated car's start, relative to the circuit's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start {
    /// Metres to the left of the line.
    pub offset: f64,
    /// Degrees to the left of the line's direction.
    pub heading: f64,
}

/// What is recorded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingRequest {
    /// A new folder, or a recording to continue.
    pub folder: PathBuf,
    /// The pictures' format.
    pub encoding: Encoding,
    /// Whether frames are recorded even while the car is not driven.
    pub always: bool,
}

/// Drives as requested, and reports. The exit status is 0 if the drive ended as it should: with all
/// laps driven, after the requested frames, after a folder's last picture, or by a signal. A signal
/// is a failure if an engine drives in the simulator, and so is a picture that cannot be drawn.
///
/// # Errors
/// Fails if something that is needed does not exist or is not valid; nothing has moved then.
pub fn run(request: Request) -> anyhow::Result<ExitCode> {
    let signalled = catch_signals()?;
    for path in [&request.plot, &request.path].into_iter().flatten() {
        // Fail before the drive and not after it.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let mut session = Session::start(request)?;
    let ending = loop {
        if signalled.load(Ordering::Relaxed) {
            break Ending::Signal;
        }
        if let Some(ending) = session.step() {
            break ending;
        }
    };
    session.finish(&ending)
}

/// A flag that Ctrl-C, SIGTERM and the end of the terminal set from now on.
///
/// # Errors
/// Fails if the signals cannot be caught.
pub(crate) fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let signalled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&signalled);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("Ctrl-C and SIGTERM cannot be caught")?;
    Ok(signalled)
}
