//! Conformance suites for every [`Actuator`] and every [`OperatorLink`](crate::OperatorLink), which panic at the
//! first violation, and stand-ins for tests.

mod actuator;
mod link;
mod pca9685;

pub use actuator::actuator;
pub use link::{LinkRig, delayed_link, link};
pub use pca9685::{ModelPca9685, Out};

use pilotage_vehicle::Time;

use crate::{Actuator, ActuatorError, Output};

/// A stand-in for tests, which records every write and moves nothing.
#[derive(Debug, Default)]
pub struct RecordingActuator {
    /// The successful writes, in order.
    pub writes: Vec<(Time, Output)>,
    /// The failed writes, in order.
    pub failed: Vec<(Time, Output)>,
    /// While true, every write fails.
    pub broken: bool,
}

/// More writes than any test makes. A guard that never stops writing must not fill the memory.
const MOST_WRITES: usize = 200_000;

impl RecordingActuator {
    /// The output of the last successful write.
    pub fn last(&self) -> Option<Output> {
        self.writes.last().map(|&(_, output)| output)
    }
}

impl Actuator for RecordingActuator {
    fn name(&self) -> &str {
        "recording stand-in"
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        assert!(
            self.writes.len() + self.failed.len() < MOST_WRITES,
            "the guard writes without end"
        );
        if self.broken {
            self.failed.push((now, *output));
            return Err(ActuatorError::Write {
                device: "recording stand-in".into(),
                reason: std::io::ErrorKind::NotConnected.into(),
            });
        }
        self.writes.push((now, *output));
        Ok(())
    }
}
