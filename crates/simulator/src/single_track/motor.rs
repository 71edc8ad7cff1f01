//! What motor and brakes do at a throttle.

use super::{Brakes, Motor};

impl Motor {
    /// The throttle behind the dead zone, -1..=1.
    pub fn duty(&self, throttle: f64) -> f64 {
        let beyond = (throttle.abs() - self.dead_zone) / (1.0 - self.dead_zone);
        beyond.max(0.0).copysign(throttle)
    }

    /// The force by which the motor would follow its set value without limits, N.
    fn wanted(&self, duty: f64, speed: f64) -> f64 {
        self.gain * (duty * self.no_load_speed - speed)
    }

    /// The force at the duty cycle `duty` and the speed `speed` of the wheels (m/s), N.
    pub fn force_at(&self, duty: f64, speed: f64) -> f64 {
        let wanted = self.wanted(duty, speed);
        let most = if wanted * speed < 0.0 {
            self.drag_brake
        } else if speed == 0.0 {
            self.force
        } else {
            self.force.min(self.power / speed.abs())
        };
        wanted.clamp(-most, most)
    }

    /// The force by which the motor holds its wheels, at a duty cycle against the motion, N.
    pub fn hold_at(&self, duty: f64, speed: f64) -> f64 {
        self.wanted(duty, speed).abs().min(self.drag_brake)
    }
}

impl Brakes {
    /// The forces that hold the wheels of each axle, at a duty cycle against the motion, N.
    pub fn forces_at(&self, duty: f64) -> [f64; 2] {
        let force = self.force * duty.abs();
        [force * self.front, force * (1.0 - self.front)]
    }
}
