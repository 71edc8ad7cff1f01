//! Differential drive: a car that steers with the speed difference between its sides.

use super::settings::Stop;
use super::targets::{Level, Target, Targets};
use crate::{Mode, Output};

/// A motor on an H-bridge behind a PWM chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Motor {
    /// The bridge's PWM input (TB6612). `None` if that is tied high: the inputs of the directions
    /// then set the speed.
    pub pwm: Option<u8>,
    /// High to drive ahead.
    pub ahead: u8,
    /// High to drive backwards.
    pub back: u8,
    /// The speed ahead at which trimming tries it, in thousandths; 0 for none.
    pub tried: u16,
}

impl Motor {
    /// The levels of the PWM input, and of those for ahead and back. `None` lets the motor coast.
    pub(super) fn levels(&self, speed: Option<f32>) -> [Level; 3] {
        let full = |speed: f32| match self.pwm {
            Some(_) => Level::High,
            None => Level::share(speed),
        };
        match speed {
            Some(speed) if speed > 0.0 => [Level::share(speed), full(speed), Level::Low],
            Some(speed) if speed < 0.0 => [Level::share(-speed), Level::Low, full(-speed)],
            // Both inputs high short the motor, which brakes it.
            Some(_) if self.pwm.is_some() => [Level::Low, Level::High, Level::High],
            // Without the PWM input a brake would pass through full speed: one input is set high
            // after the other, and the bus may fail in between.
            _ => [Level::Low; 3],
        }
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
            Mode::Failsafe | Mode::Brake => (self.failsafe.speed(), self.failsafe.speed()),
            Mode::Disarmed => (self.disarmed.speed(), self.disarmed.speed()),
        };
        let motors = [(self.left, left), (self.right, right)]
            .map(|(motor, speed)| match (output.mode, motor.tried) {
                (Mode::Drive, 1..) => (motor, Some(f32::from(motor.tried) / 1e3)),
                _ => (motor, speed),
            })
            .map(|(motor, speed)| (motor, motor.levels(speed)));
        let target = |channel, level| Target { channel, level };
        let mut targets = Targets::new();
        // Speed channels first: a bridge with its PWM input low brakes, whatever the direction
        // (TB6612).
        for (motor, [pwm, ..]) in motors {
            targets.extend(motor.pwm.map(|channel| target(channel, pwm)));
        }
        for (motor, [_, ahead, back]) in motors {
            targets.extend([target(motor.ahead, ahead), target(motor.back, back)]);
        }
        targets
    }
}

impl Stop {
    /// The speed to hold; `None` to coast.
    pub(super) const fn speed(self) -> Option<f32> {
        match self {
            Self::Brake => Some(0.0),
            Self::Coast => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels of the left motor's channels at this throttle; low for a channel that it lacks.
    fn left(pwm: bool, throttle: f32) -> [Level; 3] {
        let motor = |first: u8| Motor {
            pwm: pwm.then_some(first),
            ahead: first + 1,
            back: first + 2,
            tried: 0,
        };
        let differential = Differential {
            left: motor(0),
            right: motor(3),
            turn: 0.5,
            failsafe: Stop::Coast,
            disarmed: Stop::Coast,
        };
        let targets = differential.targets(&Output {
            mode: Mode::Drive,
            steering: 0.0,
            throttle,
        });
        [0, 1, 2].map(|channel| {
            let mut targets = targets.iter();
            let target = targets.find(|target| target.channel == channel);
            target.map_or(Level::Low, |target| target.level)
        })
    }

    #[test]
    fn a_motor_turns_ahead_and_back_and_brakes_at_rest() {
        let half = Level::share(0.5);
        assert_eq!(left(true, 0.5), [half, Level::High, Level::Low]);
        assert_eq!(left(true, -0.5), [half, Level::Low, Level::High]);
        assert_eq!(left(true, 0.0), [Level::Low, Level::High, Level::High]);
        assert_eq!(left(true, -0.0), [Level::Low, Level::High, Level::High]);
    }

    /// As Waveshare's JetBot board is driven in NVIDIA's jetbot/motor.py: the speed on one input,
    /// the other low, and both low to stop.
    #[test]
    fn a_motor_with_two_inputs_turns_ahead_and_back_and_coasts_at_rest() {
        let half = Level::share(0.5);
        assert_eq!(left(false, 0.5), [Level::Low, half, Level::Low]);
        assert_eq!(left(false, -0.5), [Level::Low, Level::Low, half]);
        for rest in [0.0, -0.0] {
            assert_eq!(left(false, rest), [Level::Low; 3]);
        }
    }
}
