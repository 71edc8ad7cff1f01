//! What every [`Actuator`] and every [`Link`](crate::Link) must do, as suites that panic at
//! the first thing that is not so; and stand-ins for tests.

mod actuator;
mod link;
mod pca9685;

pub use actuator::actuator;
pub use link::{LinkRig, delayed_link, link};
pub use pca9685::{ModelPca9685, Out};

use pilotage_vehicle::Time;

use crate::{Actuator, ActuatorError, Output};

/// A stand-in for tests: keeps every write, moves nothing.
#[derive(Debug, Default)]
pub struct RecordingActuator {
    /// Every write it took, in order.
    pub writes: Vec<(Time, Output)>,
    /// Every write it did not take, in order.
    pub failed: Vec<(Time, Output)>,
    /// While true it takes no write.
    pub broken: bool,
}

/// More than any test's; a guard that never comes to rest must not fill the memory.
const MOST_WRITES: usize = 200_000;

impl RecordingActuator {
    /// What it was last told and took.
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
                source: std::io::ErrorKind::NotConnected.into(),
            });
        }
        self.writes.push((now, *output));
        Ok(())
    }
}
