//! The dry run: no motors, only log messages.

use pilotage_vehicle::Time;

use crate::{Actuator, ActuatorError, Mode, Output};

/// Accepts every output and moves nothing. Logs when the car would start to drive and when it would
/// stop.
#[derive(Debug, Default)]
pub struct DryRun {
    last: Option<Mode>,
}

impl Actuator for DryRun {
    fn name(&self) -> &str {
        "dry run"
    }

    fn write(&mut self, _now: Time, output: &Output) -> Result<(), ActuatorError> {
        if self.last.replace(output.mode) != Some(output.mode) {
            let action = match output.mode {
                Mode::Disarmed => "be disarmed",
                Mode::Failsafe => "stop",
                Mode::Brake => "brake",
                Mode::Drive => "drive",
            };
            log::info!("dry run: the car would {action}");
        }
        Ok(())
    }
}
