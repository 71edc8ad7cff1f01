//! Failures of a device, and how they are retried and logged.

use std::io;
use std::sync::Arc;

use arrayvec::ArrayString;
use pilotage_vehicle::Time;

use super::retry::Retry;
use crate::ActuatorError;

/// A setting's value as text, possibly truncated.
pub(crate) type Text = ArrayString<16>;

/// Why an attempt failed. It is `Copy`, so that it can be reported again until the next attempt is
/// due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    /// The system's error number.
    System(i32),
    /// An error without a system number.
    Kind(io::ErrorKind),
    /// A register does not have the expected value.
    Register {
        register: u8,
        written: u8,
        holds: u8,
    },
    /// A setting of a pin does not have the expected value.
    Setting {
        setting: &'static str,
        written: Text,
        holds: Text,
    },
    /// A pin is inverted, and its polarity cannot be changed.
    Polarity { holds: Text },
    /// A servo controller's channel does not have the expected position, in quarters of a
    /// microsecond.
    Position {
        channel: u8,
        written: u16,
        holds: u16,
    },
    /// The error register of a servo controller.
    Errors(u16),
    /// A bridge puts out a radio transmitter's pulses.
    Overridden,
    /// A bridge has lost the radio transmitter.
    RemoteLost,
    /// A bridge has stopped the car by itself.
    Held,
    /// No answer for this many milliseconds.
    Silent { millis: u64 },
    /// The device's path does not exist.
    Gone,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => Self::Gone,
            // When a device is opened again: another process holds the lock.
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
    /// Whether a serial port has to be opened again: it failed, and was not only late.
    pub(crate) fn ends_port(self) -> bool {
        match self {
            Self::Kind(kind) => kind != io::ErrorKind::TimedOut,
            Self::System(_) | Self::Gone => true,
            _ => false,
        }
    }

    /// Converts to an error of `device`.
    pub(crate) fn of(self, device: &Arc<str>) -> ActuatorError {
        let device = Arc::clone(device);
        let reason = match self {
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
            Self::Position {
                channel,
                written,
                holds,
            } => {
                let micros = |quarters| f32::from(quarters) / 4.0;
                return ActuatorError::Moved {
                    device,
                    channel,
                    written: micros(written),
                    holds: micros(holds),
                };
            }
            Self::Errors(register) => return ActuatorError::Reported { device, register },
            Self::Overridden => return ActuatorError::Overridden { device },
            Self::RemoteLost => return ActuatorError::RemoteLost { device },
            Self::Held => return ActuatorError::Held { device },
            Self::Silent { millis } => return ActuatorError::Silent { device, millis },
            Self::Gone => return ActuatorError::Gone { device },
            Self::System(code) => io::Error::from_raw_os_error(code),
            Self::Kind(kind) => kind.into(),
        };
        ActuatorError::Write { device, reason }
    }

    /// Whether both failures have the same reason. The duration of a silence is ignored, and where
    /// another program has moved a channel to.
    fn has_same_reason(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Silent { .. }, Self::Silent { .. }) => true,
            (Self::Position { channel: one, .. }, Self::Position { channel: other, .. }) => {
                one == other
            }
            _ => self == other,
        }
    }
}

/// Attempts to write to a device: when the next one is due, and how the last one failed.
#[derive(Debug)]
pub(crate) struct Attempts {
    device: Arc<str>,
    retry: Retry,
    /// The failure of the last attempt, if it failed.
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
    /// The last attempt's failure, until the next attempt is due.
    pub(crate) fn due(&self, now: Time) -> Result<(), ActuatorError> {
        match self.last {
            Some(failure) if !self.retry.due(now) => Err(failure.of(&self.device)),
            _ => Ok(()),
        }
    }

    /// Records an attempt. A failure is logged with `note` appended if its reason is new.
    ///
    /// # Errors
    /// The attempt's failure.
    pub(crate) fn ended(
        &mut self,
        now: Time,
        result: Result<(), Failure>,
        note: &str,
    ) -> Result<(), ActuatorError> {
        match result {
            Ok(()) => {
                self.succeeded();
                Ok(())
            }
            Err(failure) => Err(self.failed(now, failure, note)),
        }
    }

    fn succeeded(&mut self) {
        self.last = None;
        if self.retry.succeeded() {
            log::warn!("{}: works again, and was set up anew", self.device);
        }
    }

    fn failed(&mut self, now: Time, failure: Failure, note: &str) -> ActuatorError {
        let error = failure.of(&self.device);
        if self.is_news(now, failure) {
            log::error!("{error}{note}");
        }
        error
    }

    /// Whether the failure is the first one, or has another reason than the last one.
    fn is_news(&mut self, now: Time, failure: Failure) -> bool {
        let first = self.retry.failed(now);
        let last = self.last.replace(failure);
        first || !last.is_some_and(|last| last.has_same_reason(&failure))
    }

    /// Sets the device of the following failures.
    pub(crate) fn set_device(&mut self, device: &Arc<str>) {
        self.device = Arc::clone(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Failure = Failure::Silent { millis: 100 };

    #[test]
    fn a_failure_is_news_once_until_its_reason_changes_or_it_is_over() {
        let mut attempts = Attempts::new("a device".into());
        let mut now = Time::ZERO;
        let mut next = || {
            now = now + std::time::Duration::from_secs(10);
            now
        };
        assert!(attempts.is_news(next(), SILENT));
        assert!(!attempts.is_news(next(), SILENT));
        assert!(!attempts.is_news(next(), Failure::Silent { millis: 200 }));
        assert!(attempts.is_news(next(), Failure::Gone));
        assert!(!attempts.is_news(next(), Failure::Gone));
        assert!(attempts.is_news(next(), SILENT));
        let moved = |channel, holds| Failure::Position {
            channel,
            written: 6000,
            holds,
        };
        assert!(attempts.is_news(next(), moved(0, 4000)));
        assert!(!attempts.is_news(next(), moved(0, 4100)));
        assert!(attempts.is_news(next(), moved(1, 4100)));
        assert!(attempts.is_news(next(), Failure::Errors(0x20)));
        assert!(attempts.is_news(next(), Failure::Errors(0x10)));
        attempts.succeeded();
        assert!(attempts.is_news(next(), SILENT));
    }

    #[test]
    fn a_device_that_works_again_is_due_at_once() {
        let mut attempts = Attempts::new("a device".into());
        let now = Time::from_nanos(1);
        assert!(attempts.due(now).is_ok());
        // The second failure in a row makes the next attempt wait.
        for _ in 0..3 {
            attempts.failed(now, Failure::Gone, "");
        }
        assert!(attempts.due(now).is_err());
        attempts.succeeded();
        assert!(attempts.due(now).is_ok());
    }
}
