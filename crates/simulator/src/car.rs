//! The simulated cars.

use pilotage_vehicle::Mixer;

use crate::Pose;
use crate::lag::lag_fraction;
use crate::single_track::{Motion, SingleTrack, TyreCar, TyreUse};

/// How a car responds to its commands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum CarKind {
    /// Speed and yaw rate take effect at once, as with Gazebo's planar-move plugin.
    #[default]
    Unicycle,
    /// Steered front wheels and a motor, which both respond with a delay.
    Ackermann,
    /// Tyres that slip and slide, with the motor and the servo of a known car.
    Tyres(TyreCar),
}

/// The dynamics of the Ackermann car.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ackermann {
    /// The highest rate of the wheel angle, rad/s. A tenth-scale servo takes about 0.1 s from the
    /// middle to one side.
    pub steering_rate: f64,
    /// Time constant of the motor and its controller, s.
    pub throttle_lag: f64,
    /// Drag of motor and rolling wheels: the fraction of speed lost per second when coasting, 1/s.
    pub drag: f64,
    /// The highest acceleration that the tyres allow, m/s2.
    pub acceleration: f64,
    /// The highest deceleration that the tyres allow, m/s2.
    pub braking: f64,
}

impl Default for Ackermann {
    fn default() -> Self {
        Self {
            steering_rate: 5.0,
            throttle_lag: 0.06,
            drag: 5.0,
            acceleration: 10.0,
            braking: 15.0,
        }
    }
}

/// A car in the plane. Its pose is that of the middle of the rear axle.
#[derive(Debug, Clone)]
pub struct Car {
    mixer: Mixer,
    pose: Pose,
    speed: f64,
    yaw_rate: f64,
    drive: Drive,
}

#[derive(Debug, Clone)]
enum Drive {
    Unicycle,
    Ackermann {
        dynamics: Ackermann,
        /// Wheel angle, radians, left positive.
        angle: f64,
        /// The throttle after the motor's lag.
        throttle: f64,
    },
    Tyres(Box<Motion>),
}

impl Car {
    /// A car at rest at `pose`. The mixer is the pilot's view of the car, and the geometry of the
    /// first two kinds; a car with tyres has its own ([`SingleTrack::mixer`] is the mixer that fits
    /// it).
    pub fn new(kind: CarKind, mixer: Mixer, pose: Pose) -> Self {
        match kind {
            CarKind::Unicycle => Self::with(Drive::Unicycle, mixer, pose),
            CarKind::Ackermann => Self::ackermann(Ackermann::default(), mixer, pose),
            CarKind::Tyres(car) => Self::single_track(car.dynamics(), mixer, pose),
        }
    }

    /// An Ackermann car with the given dynamics, at rest at `pose`.
    pub fn ackermann(dynamics: Ackermann, mixer: Mixer, pose: Pose) -> Self {
        let drive = Drive::Ackermann {
            dynamics,
            angle: 0.0,
            throttle: 0.0,
        };
        Self::with(drive, mixer, pose)
    }

    /// A car with tyres and the given dynamics, at rest at `pose`.
    pub fn single_track(dynamics: SingleTrack, mixer: Mixer, pose: Pose) -> Self {
        Self::with(Drive::Tyres(Box::new(Motion::new(dynamics))), mixer, pose)
    }

    fn with(drive: Drive, mixer: Mixer, pose: Pose) -> Self {
        Self {
            mixer,
            pose,
            speed: 0.0,
            yaw_rate: 0.0,
            drive,
        }
    }

    /// Moves the car by `dt` seconds with a command, both parts within -1..=1. NaN counts as zero,
    /// and a value out of range is clamped. This is the actuator's last check; it does not replace
    /// the guard.
    pub fn step(&mut self, steering: f32, throttle: f32, dt: f64) {
        let steering = clamped(steering);
        let throttle = clamped(throttle);
        match &mut self.drive {
            Drive::Unicycle => {
                (self.speed, self.yaw_rate) = self.mixer.twist(steering, throttle);
            }
            Drive::Ackermann {
                dynamics,
                angle,
                throttle: motor,
            } => {
                let target = f64::from(steering) * self.mixer.steering_range();
                let most = dynamics.steering_rate * dt;
                *angle += (target - *angle).clamp(-most, most);
                *motor += (f64::from(throttle) - *motor) * lag_fraction(dt, dynamics.throttle_lag);
                // At the speed of the mixer's curve, drive and linear drag balance.
                let pull = dynamics.drag * (self.mixer.speed(*motor) - self.speed);
                let (forwards, backwards) = if self.speed >= 0.0 {
                    (dynamics.acceleration, dynamics.braking)
                } else {
                    (dynamics.braking, dynamics.acceleration)
                };
                self.speed += pull.clamp(-backwards, forwards) * dt;
                if throttle == 0.0 && self.speed.abs() < 0.01 {
                    self.speed = 0.0;
                }
                self.yaw_rate = self.speed * libm::tan(*angle) / self.mixer.wheelbase();
            }
            Drive::Tyres(motion) => {
                motion.advance(&mut self.pose, f64::from(steering), f64::from(throttle), dt);
                (self.speed, self.yaw_rate) = (motion.speed(), motion.yaw_rate());
                return;
            }
        }
        // Second order in dt: along the heading in the middle of the step.
        let middle = self.pose.heading + 0.5 * self.yaw_rate * dt;
        let (sin, cos) = libm::sincos(middle);
        self.pose.x += self.speed * cos * dt;
        self.pose.y += self.speed * sin * dt;
        self.pose.heading = crate::pose::wrap_angle(self.pose.heading + self.yaw_rate * dt);
    }

    /// Moves the car to another pose without changing its speed.
    pub fn place(&mut self, pose: Pose) {
        self.pose = pose;
    }

    /// Sets the car's speed to `speed` (m/s), with the motor's throttle to match.
    pub fn roll(&mut self, speed: f64) {
        self.speed = speed;
        match &mut self.drive {
            Drive::Unicycle => {}
            Drive::Ackermann { throttle, .. } => *throttle = self.mixer.throttle(speed),
            Drive::Tyres(motion) => motion.roll(speed),
        }
    }

    /// The car's pose.
    pub fn pose(&self) -> Pose {
        self.pose
    }

    /// Metres per second, forward positive.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Radians per second, left positive.
    pub fn yaw_rate(&self) -> f64 {
        self.yaw_rate
    }

    /// How near to the limits of its tyres the car was driven; none for a car without tyres.
    pub fn tyres(&self) -> Option<TyreUse> {
        match &self.drive {
            Drive::Tyres(motion) => Some(motion.used()),
            Drive::Unicycle | Drive::Ackermann { .. } => None,
        }
    }

    /// The mixer that converts between the car's commands and its speed and yaw rate.
    pub fn mixer(&self) -> &Mixer {
        &self.mixer
    }
}

fn clamped(command: f32) -> f32 {
    if command.is_nan() {
        0.0
    } else {
        command.clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests;
