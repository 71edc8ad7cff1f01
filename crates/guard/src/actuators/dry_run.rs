//! The dry run: no motors, only log messages.

use pilotage_vehicle::Time;

use crate::{Actuator, ActuatorError, Mode, Output};

/// Accepts every output and moves nothing. Logs when the car would start to drive and when it would
/// stop.
#[derive(Debug, Default)]
pub struct DryRun {
    last: Option<Output>,
}

impl DryRun {
    /// The last output.
    pub const fn last(&self) -> Option<Output> {
        self.last
    }
}

impl Actuator for DryRun {
    fn name(&self) -> &str {
        "dry run"
    }

    fn write(&mut self, _now: Time, output: &Output) -> Result<(), ActuatorError> {
        if self.last.map(|last| last.mode) != Some(output.mode) {
            let action = match output.mode {
                Mode::Disarmed => "be disarmed",
                Mode::Failsafe => "stop",
                Mode::Drive => "drive",
            };
            log::info!("dry run: the car would {action}");
        }
        self.last = Some(*output);
        Ok(())
    }
}
