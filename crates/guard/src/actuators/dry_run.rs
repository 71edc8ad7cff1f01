//! No motors: what would be done is said.

use pilotage_vehicle::Time;

use crate::{Actuator, ActuatorError, Mode, Output};

/// Takes every output and moves nothing. Says in the log when it would begin to drive and
/// when it would stop.
#[derive(Debug, Default)]
pub struct DryRun {
    last: Option<Output>,
}

impl DryRun {
    /// What it was last told.
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
            let does = match output.mode {
                Mode::Disarmed => "be disarmed",
                Mode::Failsafe => "stand",
                Mode::Drive => "drive",
            };
            log::info!("dry run: the car would {does}");
        }
        self.last = Some(*output);
        Ok(())
    }
}
