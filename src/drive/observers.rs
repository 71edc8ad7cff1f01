//! The observers of a drive: the tap that the loop fills for them, the program that serves the page
//! of `--watch`, and the drive log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pilotage_drivelog::End;
use pilotage_guard::{ProgramError, Status, ended_within, program_beside};
use pilotage_tap::{
    CreateError, Drive, FrameRecord, PictureView, PixelFormat, ServeError, Tap, TapServer, flags,
};
use pilotage_vehicle::{MOST_RAYS, Scan, Time};
use pilotage_vision::FrameView;

use super::Request;
use super::driver::Driver;
use super::log::DriveLog;
use super::setting::Setting;
use super::watch::say;
use crate::sensors::Lidar;

/// The program that serves the page. It is another process, so that nothing with a network socket
/// can delay the loop.
const PROGRAM: &str = "pilotage-watch";
/// How long that program may take to end after the drive: longer than the longest stop that may be
/// under way from the page (a guard that has to be killed, then failsafe). Usually 0.3 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the drive log may take to be written after the drive.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

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

/// Shows a drive on the page, and logs it. Only their start and their end are waited for.
pub struct Observers {
    tap: Tap,
    /// `None` at the end: page and log end when their connections are closed.
    server: Option<TapServer>,
    page: Option<Child>,
    log: Option<DriveLog>,
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
    /// Starts what `request` asks for: the page, whose program prints its address, the log, and the socket
    /// of the tap. The drive is that of `driver` in `setting`; the page writes its operator's hand to
    /// `hand`, and sets high-level commands at the socket `commands`. `None` if there is none of them. A log that cannot be kept
    /// is reported, and the drive goes on without it.
    ///
    /// # Errors
    /// Fails if a page is requested, and its program does not exist or does not start, or there is
    /// no memory.
    pub fn start(
        request: &Request,
        setting: &Setting,
        driver: &dyn Driver,
        (hand, commands): (Option<OwnedFd>, Option<&Path>),
    ) -> Result<Option<Self>, ObserversError> {
        let is_asked = request.watch || request.tap.is_some();
        if !is_asked && request.log.is_none() {
            return Ok(None);
        }
        match Self::start_requested(request, setting, driver, (hand, commands)) {
            Err(error) if !request.watch => {
                say(&format!(
                    "no drive log is written, and no observer can connect: {error}"
                ));
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    fn start_requested(
        request: &Request,
        setting: &Setting,
        driver: &dyn Driver,
        (hand, commands): (Option<OwnedFd>, Option<&Path>),
    ) -> Result<Self, ObserversError> {
        let program = request.watch.then(|| program_beside(PROGRAM)).transpose()?;
        let limits = request.car.limits.spec();
        let drive = Drive {
            name: request.car.name.clone(),
            simulated: setting.is_simulated(),
            deadline: limits.deadline,
            frame_period: limits.frame_period,
            track: setting.track(),
            inputs: driver.inputs(),
            lidar_rays: match driver.lidar() {
                Some(Lidar::Rays(rays)) => rays.count(),
                Some(Lidar::Recorded) => MOST_RAYS,
                None => 0,
            },
        };
        // A physical car that is driven by hand has no camera here.
        let none = (PixelFormat::Grey8, 1, 1);
        let format = driver
            .frame_format()
            .and_then(|(camera, width, height)| Some((format(camera)?, width, height)))
            .unwrap_or(none);
        let (tap, source) = Tap::create(&drive, format)?;
        let (page_here, page_there) = TapServer::pair().map_err(ObserversError::Start)?;
        let (log_here, log_there) = TapServer::pair().map_err(ObserversError::Start)?;
        let mut here = Vec::new();
        if program.is_some() {
            here.push(page_here);
        }
        if request.log.is_some() {
            here.push(log_here);
        }
        let server = TapServer::start(source, request.tap.as_deref(), here)?;
        let car_file = request.file.as_deref().filter(|_| !drive.simulated);
        let page = program.map(|program| {
            let options = (car_file, request.listen, commands);
            spawn(&program, page_there, options, hand)
        });
        let page = page.transpose().map_err(ObserversError::Start)?;
        let log = request.log.as_ref();
        Ok(Self {
            tap,
            server: Some(server),
            page,
            log: log.and_then(|log| DriveLog::start(log, request, setting, driver, log_there)),
        })
    }

    /// The log, if the drive is logged.
    pub fn log(&mut self) -> Option<&mut DriveLog> {
        self.log.as_mut()
    }

    /// A record at `now` of `frame`, if the driver has one, with the guard's `status`.
    pub fn record(now: Time, status: &Status, frame: Option<FrameView<'_>>) -> FrameRecord {
        let (sequence, captured) =
            frame.map_or((0, Time::ZERO), |frame| (frame.sequence, frame.captured));
        let mut record = FrameRecord::new(sequence, captured);
        record.published = now.as_nanos();
        record.set_guard(status.state, status.output);
        if status.stop_held {
            record.flags |= flags::STOP_HELD;
        }
        if status.failure.is_some() {
            record.flags |= flags::ACTUATOR_FAILED;
        }
        record
    }

    /// Shows a record, the lidar's `scan` with its age, and `frame` if an observer wants a picture now.
    /// Allocates nothing and never waits.
    pub fn show(
        &mut self,
        mut record: FrameRecord,
        frame: Option<FrameView<'_>>,
        scan: Option<(&Scan, Duration)>,
    ) {
        if let Some((scan, age)) = scan {
            // It was read with the frame.
            let read = match record.arrived.max(record.captured) {
                0 => record.published,
                read => read,
            };
            let taken = Time::from_nanos(read) - age;
            record.scan = self.tap.offer_scan(scan, taken);
        }
        self.tap.publish(&record);
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

    /// Whether an observer has requested a stop since the last call. `pilotage-watch` requests it
    /// here for a simulated car only; it sends the stop of any other car to that car's guard.
    pub fn take_stop(&self) -> bool {
        self.tap.take_stop()
    }

    /// Shows the last state, and waits until the log is written and the page's program has ended.
    pub fn end(mut self, last: &FrameRecord, end: End) {
        self.tap.publish(last);
        if let Some(log) = &self.log {
            log.end(end);
        }
        self.server = None;
        if let Some(log) = self.log {
            log.finish(LOG_PATIENCE);
        }
        if let Some(mut page) = self.page
            && ended_within(&mut page, PATIENCE).is_none()
        {
            let _ = page.kill();
            let _ = page.wait();
        }
    }
}

fn spawn(
    program: &Path,
    connection: OwnedFd,
    (car, listen, commands): (Option<&Path>, Option<SocketAddr>, Option<&Path>),
    hand: Option<OwnedFd>,
) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg("--pilot-on-stdin")
        .stdin(Stdio::from(connection))
        // Ctrl-C ends the drive, and the page after it.
        .process_group(0);
    match hand {
        Some(hand) => command.arg("--hand-on-stdout").stdout(Stdio::from(hand)),
        // The report on standard output may be JSON.
        None => command.stdout(Stdio::from(rustix::io::dup(rustix::stdio::stderr())?)),
    };
    if let Some(car) = car {
        command.arg("--car").arg(car);
    }
    if let Some(commands) = commands {
        command.arg("--commands").arg(commands);
    }
    if let Some(address) = listen {
        command.arg("--listen").arg(address.to_string());
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
