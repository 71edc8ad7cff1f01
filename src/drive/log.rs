//! The drive log: what is kept of a drive, where, and what the loop adds to the tap's records.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pilotage_drivelog::{End, Entry, Inputs, Keep, Level, Logger, Message, Settings, Start, Store};
use pilotage_guard::{FailureText, Status};
use pilotage_tap::FaultDetail;
use pilotage_vehicle::Time;

use super::Request;
use super::driver::Driver;
use super::setting::Setting;
use super::watch::say;
use crate::pilot::StepError;
use crate::simulation::{Latency, Pace};

/// Where the installed pilot keeps its logs.
const SERVICE: &str = "/var/lib/pilotage/logs";

/// What is kept of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The folder, and its limits.
    pub store: Store,
    /// What is kept.
    pub keep: Keep,
}

/// The folder for logs if none is named: `pilotage/logs` in $XDG_STATE_HOME or in
/// ~/.local/state. `None` without a home.
pub fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("pilotage/logs"))
}

/// The folders whose logs are read if none is named: the user's, and that of the installed pilot.
pub fn folders_to_read() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = default_folder().into_iter().collect();
    if !folders.iter().any(|folder| folder.as_os_str() == SERVICE) {
        folders.push(PathBuf::from(SERVICE));
    }
    folders
}

/// The log of a running drive. Nothing here waits.
pub struct DriveLog {
    logger: Logger,
    fault: Option<FaultDetail>,
    failure: Option<FailureText>,
}

impl DriveLog {
    /// Starts the log of a drive that is observed at `connection`; `None` with a message if there
    /// is no thread for it.
    pub fn start(
        log: &LogRequest,
        request: &Request,
        setting: &Setting,
        driver: &dyn Driver,
        connection: OwnedFd,
    ) -> Option<Self> {
        let settings = settings(log, request, setting, driver);
        let report = |reason: &str| say(&format!("no drive log is written: {reason}"));
        match Logger::start(connection, settings, report) {
            Ok(logger) => Some(Self {
                logger,
                fault: None,
                failure: None,
            }),
            Err(error) => {
                report(&error.to_string());
                None
            }
        }
    }

    /// Adds the messages of an iteration: those of a fault that is new. Allocates nothing without
    /// one.
    pub fn iteration(&mut self, now: Time, status: &Status, error: Option<&StepError>) {
        let fault = error.map(StepError::detail);
        if let Some(error) = error
            && fault != self.fault
        {
            self.note(now, Level::Error, error.to_string());
        }
        self.fault = fault;
        if status.failure != self.failure {
            self.failure = status.failure;
            match status.failure {
                Some(failure) => self.note(now, Level::Error, failure.to_string()),
                None => self.note(now, Level::Info, "the motors take writes again".to_owned()),
            }
        }
    }

    /// Adds a message.
    pub fn note(&self, now: Time, level: Level, text: String) {
        self.logger.note(Entry::Message(Message {
            time_ms: now.as_secs_f64() * 1e3,
            level,
            text,
        }));
    }

    /// Adds the end of the drive.
    pub fn end(&self, end: End) {
        self.logger.note(Entry::End(end));
    }

    /// Waits until the log is written, at most for `patience`.
    pub fn finish(self, patience: Duration) {
        if !self.logger.finish(patience) {
            say("the drive log is not written yet, and the program ends: the disk is too slow");
        }
    }
}

fn settings(
    log: &LogRequest,
    request: &Request,
    setting: &Setting,
    driver: &dyn Driver,
) -> Settings {
    let car = &request.car;
    let simulator = (car.simulator.pace, car.simulator.latency);
    let on_wall_clock = !setting.is_simulated() || simulator == (Pace::Real, Latency::Measured);
    let limits = car.limits.spec();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let started_ns = nanos(wall.unwrap_or_default());
    Settings {
        store: log.store.clone(),
        keep: log.keep,
        on_wall_clock,
        start: Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            car: car.name.clone(),
            simulated: setting.is_simulated(),
            driver: driver.name(),
            started_ns,
            epoch_ns: started_ns.saturating_sub(driver.now().as_nanos()),
            deadline_ms: limits.deadline.as_secs_f64() * 1e3,
            frame_period_ms: limits.frame_period.as_secs_f64() * 1e3,
            wheelbase: car.mixer.wheelbase(),
            steering_range: car.mixer.steering_range(),
            speed_to_throttle: car.mixer.curve().to_vec(),
            whole_drive: log.keep == Keep::Drive,
            inputs: Inputs::from(&driver.inputs()),
        },
    }
}
