//! The page of `--watch`: the tap that the loop fills for it, and the program that serves it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pilotage_guard::{ProgramError, Status, ended_within, program_beside};
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

/// Shows a drive on the page. Only its start and its end wait for the page.
pub struct Observers {
    tap: Tap,
    /// `None` at the end: the page ends when its connection is closed.
    server: Option<TapServer>,
    page: Child,
}

impl From<ProgramError> for ObserversError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Missing(program) => Self::NoProgram(program),
            ProgramError::Itself(reason) | ProgramError::Start { reason, .. } => {
                Self::Start(reason)
            }
            ProgramError::OtherVersion {
                program,
                found,
                wanted,
            } => Self::OtherVersion {
                program,
                found,
                wanted,
            },
        }
    }
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
        let program = program_beside(PROGRAM)?;
        let limits = car.limits.spec();
        let drive = Drive {
            name: car.name.clone(),
            simulated: setting.is_simulated(),
            deadline: limits.deadline,
            frame_period: limits.frame_period,
            track: setting.track(),
        };
        // By hand there is no frame at the start. The memory then has no room for pictures.
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
        })
    }

    /// A record of `frame`, if the driver has one, with the guard's `status`.
    pub fn record(status: &Status, frame: Option<FrameView<'_>>) -> FrameRecord {
        let (sequence, captured) =
            frame.map_or((0, Time::ZERO), |frame| (frame.sequence, frame.captured));
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

    /// Whether STOP was pressed on the page of a simulated drive since the last call. The stop
    /// of any other car goes from the page's program to its guard.
    pub fn take_stop(&self) -> bool {
        self.tap.take_stop()
    }

    /// Shows the last state, and waits until the page's program has ended.
    pub fn end(mut self, last: &FrameRecord) {
        self.tap.publish(last);
        self.server = None;
        if ended_within(&mut self.page, PATIENCE).is_none() {
            let _ = self.page.kill();
            let _ = self.page.wait();
        }
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
