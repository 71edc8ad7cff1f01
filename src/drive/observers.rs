//! The page of `--watch`: the tap that the loop fills for it, and the program that serves it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pilotage_guard::Status;
use pilotage_tap::{
    CreateError, Drive, FrameRecord, PictureView, PixelFormat, ServeError, Tap, TapServer, flags,
};
use pilotage_vehicle::Time;
use pilotage_vision::FrameView;

use super::setting::Setting;
use crate::car::Car;

/// The program that serves the page. It is another process, so that nothing with a network socket
/// can delay the loop.
const PROGRAM: &str = "pilotage-watch";
/// How long that program may take to end after the drive: longer than the longest stop that may be
/// under way from the page (a guard that has to be killed, then failsafe). Usually 0.3 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Why a drive cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum ObserversError {
    /// The program that serves the page is not in this program's folder.
    #[error(
        "{} does not exist, and --watch needs it: build it with `cargo build --release --package \
         pilotage-watch`", .0.display()
    )]
    NoProgram(PathBuf),
    /// It has another version.
    #[error("{} is `{found}`, and this is `{wanted}`: build both anew", program.display())]
    OtherVersion {
        /// The program.
        program: PathBuf,
        /// Its name and version.
        found: String,
        /// This program's version, and that program's name.
        wanted: String,
    },
    /// It cannot be started.
    #[error("{PROGRAM}: {0}")]
    Start(io::Error),
    /// The memory that observers read cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Observers cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Shows a drive on the page. Nothing here waits for the page, but for its start and its end.
pub struct Observers {
    tap: Tap,
    /// `None` at the end. The page ends when its connection is closed.
    server: Option<TapServer>,
    page: Child,
    /// The frame of the latest record.
    latest: (u64, Time),
}

impl Observers {
    /// Starts the page for a drive of `car` in `setting`, whose driver has frames like `frame`.
    /// The page's program prints its address.
    ///
    /// # Errors
    /// Fails if that program does not exist or does not start, or there is no memory.
    pub fn start(
        car: &Car,
        file: Option<&Path>,
        setting: &Setting,
        frame: Option<FrameView<'_>>,
    ) -> Result<Self, ObserversError> {
        let program = program()?;
        let limits = car.limits.spec();
        let drive = Drive {
            name: car.name.clone(),
            simulated: setting.is_simulated(),
            deadline: limits.deadline,
            frame_period: limits.frame_period,
            track: setting.track(),
        };
        // Where an operator drives a physical car, the loop takes no pictures.
        let none = (PixelFormat::Grey8, 1, 1);
        let format = frame
            .and_then(|frame| Some((format(frame.format)?, frame.width, frame.height)))
            .unwrap_or(none);
        let (tap, source) = Tap::create(&drive, format)?;
        let (own_end, pages_end) = TapServer::pair().map_err(ObserversError::Start)?;
        let server = TapServer::start(source, None, vec![own_end])?;
        let car_file = file.filter(|_| !setting.is_simulated());
        let page = spawn(&program, pages_end, car_file).map_err(ObserversError::Start)?;
        Ok(Self {
            tap,
            server: Some(server),
            page,
            latest: (0, Time::ZERO),
        })
    }

    /// Notes the frame of the following record.
    pub const fn frame(&mut self, sequence: u64, captured: Time) {
        self.latest = (sequence, captured);
    }

    /// A record of the latest frame with the guard's `status`.
    pub fn record(&self, status: &Status) -> FrameRecord {
        let (sequence, captured) = self.latest;
        let mut record = FrameRecord::new(sequence, captured);
        record.set_guard(status.state, status.output);
        if status.stop_held {
            record.flags |= flags::STOP_HELD;
        }
        if status.failure.is_some() {
            record.flags |= flags::ACTUATOR_FAILED;
        }
        record
    }

    /// Shows a record, and `frame` if the page wants a picture now. Allocates nothing and never
    /// waits.
    pub fn show(&mut self, record: &FrameRecord, frame: Option<FrameView<'_>>) {
        self.tap.publish(record);
        if let Some(frame) = frame
            && let Some(format) = format(frame.format)
        {
            self.tap.offer_picture(&PictureView {
                format,
                width: frame.width,
                height: frame.height,
                data: frame.data,
                sequence: record.sequence,
                captured: record.captured,
            });
        }
    }

    /// Whether somebody pressed STOP on the page of a simulated drive since the last call. The stop
    /// of any other car goes from the page's program to its guard.
    pub fn take_stop(&self) -> bool {
        self.tap.take_stop()
    }

    /// Shows the last state, and waits until the page's program has ended.
    pub fn end(mut self, status: &Status) {
        let record = self.record(status);
        self.tap.publish(&record);
        self.server = None;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match self.page.try_wait() {
                Ok(None) => std::thread::sleep(POLL),
                _ => return,
            }
        }
        let _ = self.page.kill();
        let _ = self.page.wait();
    }
}

/// The program in this program's folder, with the same version.
fn program() -> Result<PathBuf, ObserversError> {
    let own = std::env::current_exe().map_err(ObserversError::Start)?;
    let program = own.with_file_name(PROGRAM);
    if !program.exists() {
        return Err(ObserversError::NoProgram(program));
    }
    let version = Command::new(&program).arg("--version").output();
    let version = version.map_err(ObserversError::Start)?;
    let found = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let wanted = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    match found == wanted {
        true => Ok(program),
        false => Err(ObserversError::OtherVersion {
            program,
            found,
            wanted,
        }),
    }
}

fn spawn(program: &Path, connection: OwnedFd, car: Option<&Path>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg("--pilot-on-stdin")
        .stdin(Stdio::from(connection))
        // The report on standard output may be JSON.
        .stdout(Stdio::from(rustix::io::dup(rustix::stdio::stderr())?))
        // Ctrl-C ends the drive, and the page after it.
        .process_group(0);
    if let Some(car) = car {
        command.arg("--car").arg(car);
    }
    command.spawn()
}

const fn format(format: pilotage_vision::PixelFormat) -> Option<PixelFormat> {
    use pilotage_vision::PixelFormat as Camera;
    Some(match format {
        Camera::Rgb8 => PixelFormat::Rgb8,
        Camera::Bgr8 => PixelFormat::Bgr8,
        Camera::Grey8 => PixelFormat::Grey8,
        Camera::Yuyv => PixelFormat::Yuyv,
        Camera::Uyvy => PixelFormat::Uyvy,
        Camera::Nv12 => PixelFormat::Nv12,
        _ => return None,
    })
}
