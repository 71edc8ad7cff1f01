//! The sensors of a simulated car: its own speed, yaw rate and acceleration, late and with noise.

use pilotage_vehicle::{Measurement, Measurements};

use crate::{Car, Random};

/// The longest delay, in steps of the world (milliseconds).
const LONGEST: usize = 200;
/// An inertial unit's low-pass filter: accelerations are means over so many milliseconds.
const FILTER: usize = 20;
/// Standard deviation of the noise: m/s, rad/s and m/s2, of the order of a wheel encoder's and a small
/// inertial unit's.
const NOISE: [f64; 4] = [0.02, 0.02, 0.2, 0.2];

/// How good the sensors of a simulated car are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SensorSpec {
    /// From a motion until its numbers can be read, milliseconds, at most 200.
    pub delay_ms: u32,
    /// Factor on the noise: 0 for none.
    pub noise: f64,
}

impl Default for SensorSpec {
    fn default() -> Self {
        Self {
            delay_ms: 10,
            noise: 1.0,
        }
    }
}

impl SensorSpec {
    /// The longest delay, milliseconds.
    pub const LONGEST_MS: u32 = LONGEST as u32;
}

/// What the car did in the last fraction of a second.
#[derive(Debug, Clone)]
pub(crate) struct Sensors {
    spec: SensorSpec,
    /// Speed and yaw rate after each step, as a ring.
    past: Vec<[f64; 2]>,
    /// The place of the latest step.
    latest: usize,
}

impl Sensors {
    pub(crate) fn new(spec: SensorSpec) -> Self {
        Self {
            spec,
            past: vec![[0.0; 2]; LONGEST + FILTER + 1],
            latest: 0,
        }
    }

    pub(crate) fn spec(&self) -> SensorSpec {
        self.spec
    }

    /// The car has always moved like this.
    pub(crate) fn begin(&mut self, car: &Car) {
        self.past.fill([car.speed(), car.yaw_rate()]);
    }

    /// Adds the motion of a step.
    pub(crate) fn add(&mut self, car: &Car) {
        self.latest = (self.latest + 1) % self.past.len();
        self.past[self.latest] = [car.speed(), car.yaw_rate()];
    }

    fn at(&self, steps_ago: usize) -> [f64; 2] {
        let length = self.past.len();
        self.past[(self.latest + length - steps_ago.min(length - 1)) % length]
    }

    /// What can be read now. The noise depends on `seed`.
    pub(crate) fn read(&self, mut random: Random) -> Measurements {
        let delay = (self.spec.delay_ms as usize).min(LONGEST);
        let ([speed, yaw_rate], [before, _]) = (self.at(delay), self.at(delay + FILTER));
        let acceleration = (speed - before) / (FILTER as f64 * 1e-3);
        let mut measured = Measurements::default();
        let exact = [speed, yaw_rate, acceleration, speed * yaw_rate];
        for ((measurement, exact), noise) in Measurement::ALL.into_iter().zip(exact).zip(NOISE) {
            let number = exact + self.spec.noise * noise * random.normal();
            measured.set(measurement, Some(number as f32));
        }
        measured
    }
}
