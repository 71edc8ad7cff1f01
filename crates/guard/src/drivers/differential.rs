//! Differential drive: a car that steers with the speed difference between its sides.

use super::settings::Stop;
use super::targets::{Level, Target, Targets};
use crate::{Mode, Output};

/// A motor on an H-bridge (TB6612) behind a PWM chip: one channel for the speed, two for the
/// direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Motor {
    /// The bridge's PWM input.
    pub pwm: u8,
    /// High to drive ahead.
    pub ahead: u8,
    /// High to drive backwards.
    pub back: u8,
}

impl Motor {
    /// The channels of this motor.
    pub const fn channels(&self) -> [u8; 3] {
        [self.pwm, self.ahead, self.back]
    }
}

/// Two motors, one on each side.
///
/// The speed difference scales with throttle, so that the curvature of the path does not depend on
/// the speed, as on a car with steered wheels. With throttle at 0 both motors are stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Differential {
    /// On the left.
    pub left: Motor,
    /// On the right.
    pub right: Motor,
    /// The relative speed difference of each side at full steering, 0 to 1.
    pub turn: f32,
    /// What the motors do when stopped, and while armed without a command.
    pub failsafe: Stop,
    /// What the motors do while disarmed.
    pub disarmed: Stop,
}

impl Differential {
    /// The speeds of the left and the right side, -1 to 1. If one side exceeds 1, both are scaled
    /// down, so that the path stays the same.
    pub fn speeds(&self, steering: f32, throttle: f32) -> (f32, f32) {
        let left = throttle * (1.0 - self.turn * steering);
        let right = throttle * (1.0 + self.turn * steering);
        let excess = left.abs().max(right.abs()).max(1.0);
        (left / excess, right / excess)
    }

    pub(crate) fn targets(&self, output: &Output) -> Targets {
        let (left, right) = match output.mode {
            Mode::Drive => {
                let (left, right) = self.speeds(output.steering, output.throttle);
                (Some(left), Some(right))
            }
            Mode::Failsafe => (self.failsafe.speed(), self.failsafe.speed()),
            Mode::Disarmed => (self.disarmed.speed(), self.disarmed.speed()),
        };
        let [left, right] = [(self.left, left), (self.right, right)].map(|(motor, speed)| {
            let (pwm, ahead, back) = match speed {
                Some(speed) if speed > 0.0 => (Level::share(speed), Level::High, Level::Low),
                Some(speed) if speed < 0.0 => (Level::share(-speed), Level::Low, Level::High),
                // Both inputs high short the motor, which brakes it.
                Some(_) => (Level::Low, Level::High, Level::High),
                None => (Level::Low, Level::Low, Level::Low),
            };
            let target = |channel, level| Target { channel, level };
            [
                target(motor.pwm, pwm),
                target(motor.ahead, ahead),
                target(motor.back, back),
            ]
        });
        // Speed channels first: a bridge with its PWM input low brakes, whatever the direction
        // (TB6612).
        let mut targets = Targets::new();
        targets.extend([left[0], right[0]]);
        targets.extend([left[1], left[2], right[1], right[2]]);
        targets
    }
}

impl Stop {
    /// The speed to hold; `None` to coast.
    const fn speed(self) -> Option<f32> {
        match self {
            Self::Brake => Some(0.0),
            Self::Coast => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels of the left motor's channels at this throttle.
    fn left(throttle: f32) -> [Level; 3] {
        let motor = |first| Motor {
            pwm: first,
            ahead: first + 1,
            back: first + 2,
        };
        let differential = Differential {
            left: motor(0),
            right: motor(3),
            turn: 0.5,
            failsafe: Stop::Brake,
            disarmed: Stop::Coast,
        };
        let targets = differential.targets(&Output {
            mode: Mode::Drive,
            steering: 0.0,
            throttle,
        });
        [0, 1, 2].map(|channel| {
            let mut targets = targets.iter();
            let target = targets.find(|target| target.channel == channel).unwrap();
            target.level
        })
    }

    #[test]
    fn a_motor_turns_ahead_and_back_and_brakes_at_rest() {
        let half = Level::share(0.5);
        assert_eq!(left(0.5), [half, Level::High, Level::Low]);
        assert_eq!(left(-0.5), [half, Level::Low, Level::High]);
        assert_eq!(left(0.0), [Level::Low, Level::High, Level::High]);
        assert_eq!(left(-0.0), [Level::Low, Level::High, Level::High]);
    }
}
