//! The simulated cars.

use pilotage_vehicle::Mixer;

use crate::Pose;

/// How a car answers its commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CarKind {
    /// Speed and yaw rate act at once, as with Gazebo's planar-move plugin.
    #[default]
    Unicycle,
    /// Steered front wheels and a motor, both with a delay.
    Ackermann,
}

/// The dynamics of the Ackermann car.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ackermann {
    /// How fast the wheels turn at most, rad/s of wheel angle. A tenth-scale
    /// servo takes about 0.1 s from the middle to one side.
    pub steering_rate: f64,
    /// Time constant of the motor and its controller, s.
    pub throttle_lag: f64,
    /// Drag of motor and rolling wheels: the share of speed lost a second when
    /// coasting, 1/s.
    pub drag: f64,
    /// Most the tyres accelerate the car, m/s2.
    pub acceleration: f64,
    /// Most the tyres brake the car, m/s2.
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

/// A car in the plane; its pose is that of the middle of the rear axle.
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
        /// The throttle as the motor has it by now.
        throttle: f64,
    },
}

impl Car {
    /// A car at rest at `pose`.
    pub fn new(kind: CarKind, mixer: Mixer, pose: Pose) -> Self {
        match kind {
            CarKind::Unicycle => Self::with(Drive::Unicycle, mixer, pose),
            CarKind::Ackermann => Self::ackermann(Ackermann::default(), mixer, pose),
        }
    }

    /// An Ackermann car with dynamics of its own, at rest at `pose`.
    pub fn ackermann(dynamics: Ackermann, mixer: Mixer, pose: Pose) -> Self {
        let drive = Drive::Ackermann {
            dynamics,
            angle: 0.0,
            throttle: 0.0,
        };
        Self::with(drive, mixer, pose)
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

    /// Moves the car by `dt` seconds under a command, both parts within -1..=1.
    /// What is not a number counts as zero, what is out of range as the nearest
    /// value within it: this is the actuator's last resort, not the guard.
    pub fn step(&mut self, steering: f32, throttle: f32, dt: f64) {
        let steering = sane(steering);
        let throttle = sane(throttle);
        match &mut self.drive {
            Drive::Unicycle => {
                (self.speed, self.yaw_rate) = self.mixer.twist(steering, throttle);
            }
            Drive::Ackermann {
                dynamics,
                angle,
                throttle: motor,
            } => {
                let asked = f64::from(steering) * self.mixer.steering_range();
                let most = dynamics.steering_rate * dt;
                *angle += (asked - *angle).clamp(-most, most);
                *motor += (f64::from(throttle) - *motor) * share(dt, dynamics.throttle_lag);
                // Drive and linear drag balance where the mixer's curve says.
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
        }
        // Second order in dt: along the direction in the middle of the step.
        let middle = self.pose.heading + 0.5 * self.yaw_rate * dt;
        let (sin, cos) = libm::sincos(middle);
        self.pose.x += self.speed * cos * dt;
        self.pose.y += self.speed * sin * dt;
        self.pose.heading = crate::pose::wrap_angle(self.pose.heading + self.yaw_rate * dt);
    }

    /// Puts the car elsewhere without changing how it moves.
    pub fn place(&mut self, pose: Pose) {
        self.pose = pose;
    }

    /// Lets the car roll at `speed` (m/s) from now on, its motor in step.
    pub fn roll(&mut self, speed: f64) {
        self.speed = speed;
        if let Drive::Ackermann { throttle, .. } = &mut self.drive {
            *throttle = self.mixer.throttle(speed);
        }
    }

    /// Where the car is.
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

    /// The mixer the car is driven through.
    pub fn mixer(&self) -> &Mixer {
        &self.mixer
    }
}

/// How much of the way to its end a first-order lag goes in `dt`.
fn share(dt: f64, constant: f64) -> f64 {
    if constant > 0.0 {
        1.0 - libm::exp(-dt / constant)
    } else {
        1.0
    }
}

fn sane(command: f32) -> f32 {
    if command.is_nan() {
        0.0
    } else {
        command.clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests;
