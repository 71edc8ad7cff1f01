//! DC motors that all drive alike, on a PWM chip of their own: the wheels of a car with a steering
//! servo on another chip, such as Waveshare's JetRacer.

use arrayvec::ArrayVec;

use super::differential::Motor;
use super::settings::Stop;
use super::targets::{Target, Targets};
use crate::{Mode, Output};

/// Most motors of a car.
pub(crate) const MOST_MOTORS: usize = 4;

/// Motors that all turn at the throttle's speed.
#[derive(Debug, Clone, PartialEq)]
pub struct MotorBank {
    /// The motors.
    pub motors: ArrayVec<Motor, MOST_MOTORS>,
    /// What they do when stopped, and while armed without a command.
    pub failsafe: Stop,
    /// What they do while disarmed.
    pub disarmed: Stop,
    /// The speed ahead at which trimming tries them, in thousandths; 0 for none.
    pub tried: u16,
}

impl MotorBank {
    pub(crate) fn targets(&self, output: &Output) -> Targets {
        let speed = match (output.mode, self.tried) {
            (Mode::Drive, 1..) => Some(f32::from(self.tried) / 1e3),
            (Mode::Drive, 0) => Some(output.throttle),
            (Mode::Failsafe | Mode::Brake, _) => self.failsafe.speed(),
            (Mode::Disarmed, _) => self.disarmed.speed(),
        };
        let target = |channel, level| Target { channel, level };
        let levels = self.motors.iter().map(|motor| (motor, motor.levels(speed)));
        let mut targets = Targets::new();
        // Speed channels first, as with a differential drive.
        for (motor, [pwm, ..]) in levels.clone() {
            targets.extend(motor.pwm.map(|channel| target(channel, pwm)));
        }
        for (motor, [_, ahead, back]) in levels {
            targets.extend([target(motor.ahead, ahead), target(motor.back, back)]);
        }
        targets
    }
}
