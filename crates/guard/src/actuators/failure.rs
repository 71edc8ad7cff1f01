//! Why a device failed, and what is logged of it.

use std::io;
use std::sync::Arc;

use arrayvec::ArrayString;
use pilotage_vehicle::Time;

use super::retry::Retry;
use crate::ActuatorError;

/// A setting's value as text, or the beginning of it.
pub(crate) type Text = ArrayString<16>;

/// Why an attempt failed, small enough to be reported again while the next one waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    /// The system's number.
    System(i32),
    /// What the system has no number for.
    Kind(io::ErrorKind),
    /// A register holds something else.
    Register {
        register: u8,
        written: u8,
        holds: u8,
    },
    /// A pin's setting holds something else.
    Setting {
        setting: &'static str,
        written: Text,
        holds: Text,
    },
    /// A pin is inverted, and stays so.
    Polarity { holds: Text },
    /// No answer for so many milliseconds.
    Silent { millis: u64 },
    /// There is no device of that name.
    Gone,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => Self::Gone,
            // A lock that another holds, when a device is opened again.
            (io::ErrorKind::WouldBlock, _) => Self::Kind(io::ErrorKind::ResourceBusy),
            (_, Some(code)) => Self::System(code),
            (kind, None) => Self::Kind(kind),
        }
    }
}

impl From<io::ErrorKind> for Failure {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

impl Failure {
    /// As an error of `device`.
    pub(crate) fn of(self, device: &Arc<str>) -> ActuatorError {
        let device = Arc::clone(device);
        let source = match self {
            Self::Register {
                register,
                written,
                holds,
            } => {
                return ActuatorError::Changed {
                    device,
                    register,
                    written,
                    holds,
                };
            }
            Self::Setting {
                setting,
                written,
                holds,
            } => {
                return ActuatorError::Overwritten {
                    device,
                    setting,
                    written,
                    holds,
                };
            }
            Self::Polarity { holds } => return ActuatorError::Polarity { device, holds },
            Self::Silent { millis } => return ActuatorError::Silent { device, millis },
            Self::Gone => return ActuatorError::Gone { device },
            Self::System(code) => io::Error::from_raw_os_error(code),
            Self::Kind(kind) => kind.into(),
        };
        ActuatorError::Write { device, source }
    }

    /// Whether it is the same reason; for how long a device has been silent is none.
    fn is_as(&self, other: &Self) -> bool {
        let silent = |failure: &Self| matches!(failure, Self::Silent { .. });
        self == other || (silent(self) && silent(other))
    }
}

/// Attempts at a device: when the next one is due, and how the last one failed.
#[derive(Debug)]
pub(crate) struct Attempts {
    device: Arc<str>,
    retry: Retry,
    /// Of the last attempt, if it failed.
    last: Option<Failure>,
}

impl Attempts {
    pub(crate) fn new(device: Arc<str>) -> Self {
        Self {
            device,
            retry: Retry::default(),
            last: None,
        }
    }

    /// # Errors
    /// While the next attempt waits: how the last one failed.
    pub(crate) fn due(&self, now: Time) -> Result<(), ActuatorError> {
        match self.last {
            Some(failure) if !self.retry.due(now) => Err(failure.of(&self.device)),
            _ => Ok(()),
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.last = None;
        if self.retry.succeeded() {
            log::warn!("{}: works again, and was set up anew", self.device);
        }
    }

    /// Takes the failure of `device`, a part of this one perhaps, and logs it where its reason
    /// is a new one. `note` goes behind that.
    pub(crate) fn failed(&mut self, now: Time, failure: Failure, note: &str) -> ActuatorError {
        let error = failure.of(&self.device);
        let first = self.retry.failed(now);
        if first || !self.last.is_some_and(|last| last.is_as(&failure)) {
            log::error!("{error}{note}");
        }
        self.last = Some(failure);
        error
    }

    /// The failures from now on are of this device.
    pub(crate) fn blame(&mut self, device: &Arc<str>) {
        self.device = Arc::clone(device);
    }
}
