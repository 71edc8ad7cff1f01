//! The car's motion: forces, and their integration over time.

use super::brush::Brush;
use super::servo::Servo;
use super::{SingleTrack, TyreUse};
use crate::Pose;
use crate::lag::lag_fraction;

/// The longest step of the integration, s: 2 kHz.
const STEP: f64 = 0.5e-3;

/// A car that moves slower than this (m/s, and rad/s), with wheels that do not turn, is at rest.
const REST: f64 = 1e-4;

/// Slip angles are observed above this speed of the axle, m/s.
const OBSERVED_SPEED: f64 = 1.0;

/// A moving car with tyres. Velocities are in the car's frame.
#[derive(Debug, Clone)]
pub struct Motion {
    dynamics: SingleTrack,
    servo: Servo,
    /// The throttle behind the speed controller's lag.
    throttle: f64,
    /// Of the centre of gravity, ahead and to the left, m/s.
    velocity: [f64; 2],
    yaw_rate: f64,
    /// The speed of each axle's wheels at the tread, m/s.
    wheels: [f64; 2],
    /// The longitudinal acceleration that the loads follow, m/s2.
    pitch: f64,
    used: TyreUse,
}

/// The motion of an axle over the ground along and across its wheels, and the direction of these.
struct Axle {
    sin: f64,
    cos: f64,
    along: f64,
    across: f64,
}

impl Motion {
    /// At rest.
    pub fn new(dynamics: SingleTrack) -> Self {
        Self {
            dynamics,
            servo: Servo::new(dynamics.steering),
            throttle: 0.0,
            velocity: [0.0; 2],
            yaw_rate: 0.0,
            wheels: [0.0; 2],
            pitch: 0.0,
            used: TyreUse {
                friction: dynamics.friction,
                ..TyreUse::default()
            },
        }
    }

    /// Moves `pose`, that of the rear axle, by `dt` seconds with a command within -1..=1.
    pub fn advance(&mut self, pose: &mut Pose, steering: f64, throttle: f64, dt: f64) {
        if !(dt > 0.0 && dt.is_finite()) {
            return;
        }
        let count = libm::ceil(dt / STEP - 1e-6).max(1.0) as u32;
        let step = dt / f64::from(count);
        for _ in 0..count {
            self.step(pose, steering, throttle, step);
        }
    }

    fn step(&mut self, pose: &mut Pose, steering: f64, throttle: f64, dt: f64) {
        let dynamics = self.dynamics;
        let angle = self.servo.advance(steering, dt);
        self.throttle += (throttle - self.throttle) * lag_fraction(dt, dynamics.motor.lag);
        let axles = self.axles(angle);
        let loads = dynamics.loads(self.pitch);
        let pushes = self.pushes(loads);
        let mut total = [0.0, 0.0];
        let mut moment = 0.0;
        let mut slides = false;
        for index in [0, 1] {
            let axle = &axles[index];
            let (force, sliding) = self.tyres(index, axle, loads[index], pushes[index], dt);
            slides |= sliding;
            let across = force[0] * axle.sin + force[1] * axle.cos;
            total[0] += force[0] * axle.cos - force[1] * axle.sin;
            total[1] += across;
            let arm = [dynamics.axles[0], -dynamics.axles[1]][index];
            moment += arm * across;
        }
        if slides {
            self.used.sliding_seconds += dt;
        }
        let lateral = (total[1] / dynamics.mass).abs();
        self.used.peak_lateral_acceleration = self.used.peak_lateral_acceleration.max(lateral);
        self.integrate(pose, total, moment, dt);
    }

    /// The motion of both axles at the front wheels' `angle`.
    fn axles(&mut self, angle: f64) -> [Axle; 2] {
        let [ahead, left] = self.velocity;
        let [front, rear] = self.dynamics.axles;
        let axle = |left: f64, angle: f64| {
            let (sin, cos) = libm::sincos(angle);
            Axle {
                sin,
                cos,
                along: ahead * cos + left * sin,
                across: left * cos - ahead * sin,
            }
        };
        let axles = [
            axle(left + front * self.yaw_rate, angle),
            axle(left - rear * self.yaw_rate, 0.0),
        ];
        for axle in &axles {
            if libm::hypot(axle.along, axle.across) > OBSERVED_SPEED {
                let slip = libm::atan2(axle.across.abs(), axle.along.abs());
                self.used.peak_slip_angle = self.used.peak_slip_angle.max(slip);
            }
        }
        axles
    }

    /// For each axle the motor's force at the wheels, and the force of brakes and rolling resistance
    /// that holds them, N.
    fn pushes(&self, loads: [f64; 2]) -> [(f64, f64); 2] {
        let SingleTrack { motor, brakes, .. } = &self.dynamics;
        let shares = [motor.front, 1.0 - motor.front];
        // The differential between the axles turns at the mean of their speeds, weighted so that no
        // power is lost or made.
        let speed = shares[0] * self.wheels[0] + shares[1] * self.wheels[1];
        let duty = motor.duty(self.throttle);
        // Against the motion everything brakes, also with locked wheels; reverse is for later.
        let against = duty * self.velocity[0] < 0.0;
        let (push, brake, hold) = if against {
            let brake = brakes.forces_at(duty);
            (0.0, brake, motor.hold_at(duty, speed))
        } else {
            (motor.force_at(duty, speed), [0.0; 2], 0.0)
        };
        [0, 1].map(|axle| {
            let rolling = self.dynamics.rolling * loads[axle];
            let hold = brake[axle] + shares[axle] * hold + rolling;
            (shares[axle] * push, hold)
        })
    }

    /// Turns the wheels of an axle, and returns the force of its tyres along and across the wheels,
    /// N, and whether they slide. `push` is of [`pushes`](Self::pushes).
    ///
    /// The tyre's response to slip is fixed during the step, and the wheels' speed is solved for its
    /// end. A light wheel at low speed follows the ground within microseconds, for which an explicit
    /// step would be far too long. Brakes hold like dry friction: they stop a wheel and never turn
    /// it back.
    fn tyres(
        &mut self,
        index: usize,
        axle: &Axle,
        load: f64,
        (push, hold): (f64, f64),
        dt: f64,
    ) -> ([f64; 2], bool) {
        let dynamics = &self.dynamics;
        let brush = Brush {
            grip: dynamics.friction * load,
            stiffness: [
                dynamics.slip_stiffness[index] * load,
                dynamics.cornering_stiffness[index] * load,
            ],
        };
        let before = self.wheels[index];
        let response = brush.response(before, [before - axle.along, axle.across]);
        let [along, across] = response.damping;
        let mass = dynamics.wheel_mass[index];
        let inertia = mass + dt * along;
        let free = (mass * before + dt * (push + along * axle.along)) / inertia;
        let wheel = (free.abs() - dt * hold / inertia).max(0.0).copysign(free);
        self.wheels[index] = wheel;
        let force = [along * (wheel - axle.along), -across * axle.across];
        let (force, share) = brush.within(force);
        self.used.largest_friction_share = self.used.largest_friction_share.max(share);
        (force, response.slides)
    }

    /// Integrates `force` (N) and `moment` (N m) of the tyres, and the drag of the air.
    fn integrate(&mut self, pose: &mut Pose, force: [f64; 2], moment: f64, dt: f64) {
        let dynamics = &self.dynamics;
        let [ahead, left] = self.velocity;
        let drag = dynamics.air_drag * libm::hypot(ahead, left);
        let acceleration = [
            (force[0] - drag * ahead) / dynamics.mass,
            (force[1] - drag * left) / dynamics.mass,
        ];
        let share = lag_fraction(dt, dynamics.pitch_lag);
        self.pitch += (force[0] / dynamics.mass - self.pitch) * share;
        let rate = self.yaw_rate + moment / dynamics.yaw_inertia * dt;
        let turn = 0.5 * (self.yaw_rate + rate) * dt;
        self.yaw_rate = rate;
        // In the middle of the step, the position's rate is the mean velocity.
        let mean = [
            ahead + 0.5 * acceleration[0] * dt,
            left + 0.5 * acceleration[1] * dt,
        ];
        let centre = pose.ahead(dynamics.axles[1], 0.0);
        let (sin, cos) = libm::sincos(pose.heading);
        let centre = [
            centre[0] + (mean[0] * cos - mean[1] * sin) * dt,
            centre[1] + (mean[0] * sin + mean[1] * cos) * dt,
        ];
        pose.heading = crate::pose::wrap_angle(pose.heading + turn);
        let (sin, cos) = libm::sincos(pose.heading);
        pose.x = centre[0] - dynamics.axles[1] * cos;
        pose.y = centre[1] - dynamics.axles[1] * sin;
        // The car's frame turns under the velocity. A rotation keeps its length, so that no energy
        // comes from it.
        let (sin, cos) = libm::sincos(turn);
        let [ahead, left] = [ahead + acceleration[0] * dt, left + acceleration[1] * dt];
        self.velocity = [ahead * cos + left * sin, left * cos - ahead * sin];
        self.rest();
    }

    /// Ends a motion that only decays.
    fn rest(&mut self) {
        let slow = |value: f64| value.abs() < REST;
        if self.wheels == [0.0; 2] && self.velocity.into_iter().all(slow) && slow(self.yaw_rate) {
            self.velocity = [0.0; 2];
            self.yaw_rate = 0.0;
        }
    }

    /// Rolls straight ahead at `speed` (m/s), with the throttle that holds it.
    pub fn roll(&mut self, speed: f64) {
        self.velocity = [speed, 0.0];
        self.yaw_rate = 0.0;
        self.wheels = [speed; 2];
        let throttle = self.dynamics.steady_throttle(speed.abs()).min(1.0);
        self.throttle = if speed == 0.0 {
            0.0
        } else {
            throttle.copysign(speed)
        };
    }

    /// Metres per second, forward positive.
    pub fn speed(&self) -> f64 {
        self.velocity[0]
    }

    /// Radians per second, left positive.
    pub fn yaw_rate(&self) -> f64 {
        self.yaw_rate
    }

    /// How near to the limits the car was driven.
    pub fn used(&self) -> TyreUse {
        self.used
    }

    /// Puts the car into a slide, its wheels rolling.
    #[cfg(test)]
    pub fn slide(&mut self, velocity: [f64; 2], yaw_rate: f64) {
        self.velocity = velocity;
        self.yaw_rate = yaw_rate;
        self.wheels = [velocity[0]; 2];
    }

    /// The kinetic energy of car and wheels, J.
    #[cfg(test)]
    pub fn energy(&self) -> f64 {
        let dynamics = &self.dynamics;
        let square = |value: f64| value * value;
        let wheels = dynamics.wheel_mass[0] * square(self.wheels[0])
            + dynamics.wheel_mass[1] * square(self.wheels[1]);
        let body = dynamics.mass * (square(self.velocity[0]) + square(self.velocity[1]));
        0.5 * (body + wheels + dynamics.yaw_inertia * square(self.yaw_rate))
    }
}
