//! A car with tyres: the dynamic single-track model.
//!
//! The two wheels of an axle are one (R. Rajamani, Vehicle Dynamics and Control, 2nd ed., 2.3; M.
//! Althoff, M. Koschi, S. Manzinger, CommonRoad: Composable Benchmarks for Motion Planning on
//! Roads, IV 2017, and its vehicle models, section "single-track model"), with longitudinal load
//! transfer, a speed of its own for each wheel, and a brush tyre with combined slip. docs/simulator.md
//! says what is modelled and what is not.

mod brush;
mod motion;
mod motor;
mod presets;
mod servo;

use pilotage_vehicle::{Mixer, MixerError};
use serde::Serialize;

use crate::random::Random;

pub(crate) use motion::Motion;
pub use presets::Preset;

/// Standard gravity, m/s2, as the F1TENTH gym rounds it.
pub(crate) const GRAVITY: f64 = 9.81;

/// The stream of [`Random`] that friction is drawn from.
const FRICTION_STREAM: u64 = 0x00f2_1c71;

/// The car that [`CarKind::Tyres`](crate::CarKind::Tyres) drives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TyreCar {
    /// Which car.
    pub preset: Preset,
    /// The coefficient of friction between tyres and ground. Below 0 and NaN count as 0, which is
    /// no grip at all.
    pub friction: f64,
}

impl TyreCar {
    /// The preset's car on the surface that its parameters were found on.
    pub fn new(preset: Preset) -> Self {
        Self {
            preset,
            friction: preset.friction(),
        }
    }

    /// The car's dynamics.
    pub fn dynamics(self) -> SingleTrack {
        SingleTrack {
            friction: self.friction.max(0.0),
            ..self.preset.dynamics()
        }
    }
}

/// A coefficient of friction between 0.7 (low grip) and 1.2 (high grip), the same for the same seed
/// in every release.
pub fn random_friction(seed: u64) -> f64 {
    Random::stream(seed, FRICTION_STREAM).range(0.7, 1.2)
}

/// The dynamics of a car with tyres. Pairs are of the front and the rear axle. Masses, lengths and
/// stiffnesses must be positive, the others 0 or more, and all finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SingleTrack {
    /// Mass with wheels, kg.
    pub mass: f64,
    /// Moment of inertia about the vertical axis, kg m2.
    pub yaw_inertia: f64,
    /// From the centre of gravity to each axle, m.
    pub axles: [f64; 2],
    /// Height of the centre of gravity, m.
    pub height: f64,
    /// Time constant with which the axles' loads follow the longitudinal acceleration: pitch of the
    /// body on its springs, s.
    pub pitch_lag: f64,
    /// Coefficient of friction between tyres and ground.
    pub friction: f64,
    /// Cornering stiffness of an axle's tyres divided by the axle's load, 1/rad.
    pub cornering_stiffness: [f64; 2],
    /// Longitudinal stiffness of an axle's tyres divided by the axle's load, per unit of slip.
    pub slip_stiffness: [f64; 2],
    /// Moment of inertia of an axle's wheels, with what turns with them, divided by the square of
    /// the tyre's radius, kg.
    pub wheel_mass: [f64; 2],
    /// Rolling resistance divided by load, with the friction of gears and bearings.
    pub rolling: f64,
    /// Density of air times drag coefficient times frontal area, divided by 2, kg/m.
    pub air_drag: f64,
    /// Motor and speed controller.
    pub motor: Motor,
    /// Service brakes.
    pub brakes: Brakes,
    /// The steering servo.
    pub steering: Steering,
}

/// Motor, speed controller and gears, as forces at the tyres. A differential between the axles
/// passes each its share of the force at any speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motor {
    /// Speed at full throttle without any load, m/s.
    pub no_load_speed: f64,
    /// Force for each m/s by which the speed is below its set value, N s/m: the slope of a DC
    /// motor's curve, or the gain of a speed controller.
    pub gain: f64,
    /// The largest driving force, N: the current limit.
    pub force: f64,
    /// The largest driving power, W.
    pub power: f64,
    /// The largest force by which the motor slows the car down to a lower throttle, N.
    pub drag_brake: f64,
    /// The front axle's share of the motor's force, 0 to 1.
    pub front: f64,
    /// The throttle up to which the speed controller does nothing, 0 to below 1.
    pub dead_zone: f64,
    /// Time constant of the speed controller, s.
    pub lag: f64,
}

/// Brakes that act when the throttle is opposite to the motion, in proportion to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brakes {
    /// The force of both axles at throttle -1, N.
    pub force: f64,
    /// The front axle's share, 0 to 1.
    pub front: f64,
}

/// The steering servo and its linkage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steering {
    /// The wheels' angle at full steering, rad.
    pub range: f64,
    /// The highest rate of the wheels' angle, rad/s.
    pub rate: f64,
    /// From a command to the first motion, s; at most 0.1.
    pub delay: f64,
    /// Play of the linkage, from end to end, rad of the wheels' angle.
    pub backlash: f64,
}

/// What a car can do on its surface.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CarLimits {
    /// Coefficient of friction.
    pub friction: f64,
    /// The largest lateral acceleration of steady cornering, m/s2.
    pub lateral: f64,
    /// The largest acceleration from rest, m/s2.
    pub acceleration: f64,
    /// The largest deceleration straight ahead, m/s2, without the drag of the air.
    pub braking: f64,
    /// The highest steady speed on a straight, m/s.
    pub top_speed: f64,
}

/// How near to the limits of its tyres a car was driven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct TyreUse {
    /// Coefficient of friction of the drive.
    pub friction: f64,
    /// The largest lateral acceleration, m/s2.
    pub peak_lateral_acceleration: f64,
    /// The largest slip angle of an axle above 1 m/s, rad. Below, it says nothing about the drive.
    pub peak_slip_angle: f64,
    /// The largest force of an axle's tyres as a share of the friction circle's radius, 0 to 1.
    pub largest_friction_share: f64,
    /// How long the tyres of either axle slid over their whole contact, s.
    pub sliding_seconds: f64,
}

/// Points of the calibrated curve between rest and top speed.
const CURVE_POINTS: u32 = 8;

/// The speed of the curve's first point above rest, m/s.
const CREEP: f64 = 0.05;

impl SingleTrack {
    /// The distance between the axles, m.
    pub fn wheelbase(&self) -> f64 {
        self.axles[0] + self.axles[1]
    }

    /// The axles' loads at the longitudinal acceleration `ahead` (m/s2), N. An axle that would
    /// leave the ground has none.
    pub fn loads(&self, ahead: f64) -> [f64; 2] {
        let weight = self.mass * GRAVITY;
        let front = self.mass * (GRAVITY * self.axles[1] - ahead * self.height) / self.wheelbase();
        let front = front.clamp(0.0, weight);
        [front, weight - front]
    }

    /// The understeer gradient of the linear model at constant speed, rad of the wheels' angle per
    /// m/s2 of lateral acceleration (R. Rajamani, 3.3). The loads cancel out, because the
    /// stiffness is proportional to the load.
    pub fn understeer_gradient(&self) -> f64 {
        let [front, rear] = self.cornering_stiffness;
        (1.0 / front - 1.0 / rear) / GRAVITY
    }

    /// What the car can do.
    pub fn limits(&self) -> CarLimits {
        let motor = &self.motor;
        let share = |force: f64, front: f64| [force * front, force * (1.0 - front)];
        let push = share(motor.force, motor.front);
        let [motor_brake, service] = [
            share(motor.drag_brake, motor.front),
            share(self.brakes.force, self.brakes.front),
        ];
        let brake = [0, 1].map(|axle| motor_brake[axle] + service[axle]);
        CarLimits {
            friction: self.friction,
            lateral: self.friction * GRAVITY,
            acceleration: self.within_grip(push, 1.0),
            braking: self.within_grip(brake, -1.0),
            top_speed: self.top_speed(),
        }
    }

    /// The acceleration by `forces`, each at most the axle's grip under the loads that the
    /// acceleration makes, in the direction `sign`, m/s2.
    fn within_grip(&self, forces: [f64; 2], sign: f64) -> f64 {
        let mut acceleration = 0.0;
        // A contraction: friction times height is less than the wheelbase.
        for _ in 0..100 {
            let loads = self.loads(sign * acceleration);
            let grip = [0, 1].map(|axle| forces[axle].min(self.friction * loads[axle]));
            acceleration = (grip[0] + grip[1]) / self.mass;
        }
        acceleration
    }

    /// The force that a steady speed needs, N.
    fn resistance(&self, speed: f64) -> f64 {
        self.rolling * self.mass * GRAVITY + self.air_drag * speed * speed
    }

    /// The throttle that holds `speed` (m/s), without the slip of the tyres.
    fn steady_throttle(&self, speed: f64) -> f64 {
        let motor = &self.motor;
        let set = (speed + self.resistance(speed) / motor.gain) / motor.no_load_speed;
        motor.dead_zone + (1.0 - motor.dead_zone) * set
    }

    fn top_speed(&self) -> f64 {
        let reachable = |speed: f64| {
            let needed = self.resistance(speed);
            self.steady_throttle(speed) <= 1.0
                && needed <= self.motor.force
                && needed * speed <= self.motor.power
        };
        let (mut low, mut high) = (0.0, self.motor.no_load_speed);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if reachable(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The mixer that a calibration of this car would find: its wheelbase, its range of steering,
    /// and the throttle that holds each speed on a straight.
    ///
    /// # Errors
    /// If the car does not move at full throttle, or its wheels turn by more than 1.5 rad.
    pub fn mixer(&self) -> Result<Mixer, MixerError> {
        let top = self.top_speed();
        let creep = CREEP.min(0.1 * top);
        let speeds = (1..=CURVE_POINTS).map(|i| top * f64::from(i) / f64::from(CURVE_POINTS));
        let points = std::iter::once(creep).chain(speeds);
        let points = points.map(|speed| (speed, self.steady_throttle(speed).min(1.0)));
        let curve = std::iter::once((0.0, 0.0)).chain(points).collect();
        Mixer::new(self.wheelbase(), self.steering.range, curve)
    }
}

#[cfg(test)]
mod tests;
