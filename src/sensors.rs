//! The sources of numbers that are measured on the car.

mod car;
pub mod iio;
mod imu;

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use pilotage_engine::InputRules;
use pilotage_simulator::World;
use pilotage_vehicle::{Measurement, Measurements};

pub use car::{CarSensors, GuardSpeed};
pub use imu::{Axis, Imu, ImuConfig, ImuError, read_once};

/// A source of measurements.
pub trait Sensors {
    /// What measures, in words.
    fn describe(&self) -> String;

    /// Whether the source gives this number.
    fn measures(&self, measurement: Measurement) -> bool;

    /// The latest numbers, and how long ago they were measured. Neither waits nor allocates.
    fn read(&mut self) -> (Measurements, Duration);

    /// Where the speed that the guard reports has to be put before each [`read`](Self::read), if this
    /// source gives it.
    fn guard_speed(&self) -> Option<&GuardSpeed> {
        None
    }
}

/// A network gets a number that nothing on the car measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engine gets `{}` (`[[measurement]]` in its recipe), and no sensor of this car gives it: name one in \
     car.toml (`[imu]`, or `erpm_per_mps` of a VESC: docs/car.md), or set `missing` in that table to a number and compile the engine \
     again, or drive with an engine that does not need it", measurement.name()
)]
pub struct NoSensor {
    /// The number.
    pub measurement: Measurement,
}

/// Checks that `sensors` give each number that `rules` name. Returns a note for each number without a
/// sensor that the rule replaces.
///
/// # Errors
/// The first number that no sensor gives, if the car would stop for it.
pub fn check(rules: &InputRules, sensors: Option<&dyn Sensors>) -> Result<Vec<String>, NoSensor> {
    let mut notes = Vec::new();
    for rule in &rules.measurements {
        for &measurement in &rule.values {
            if sensors.is_some_and(|sensors| sensors.measures(measurement)) {
                continue;
            }
            let Some(number) = rule.missing.number() else {
                return Err(NoSensor { measurement });
            };
            notes.push(format!(
                "no sensor of this car gives `{}`: the engine always gets {number} (`missing` in its recipe)",
                measurement.name()
            ));
        }
    }
    Ok(notes)
}

/// The sensors of the simulated car.
pub struct SimulatedSensors {
    world: Rc<RefCell<World>>,
    age: Duration,
}

impl SimulatedSensors {
    /// The sensors of the car of `world`.
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        let age = Duration::from_millis(u64::from(world.borrow().sensors().delay_ms));
        Self { world, age }
    }
}

impl Sensors for SimulatedSensors {
    fn describe(&self) -> String {
        let spec = self.world.borrow().sensors();
        let mut text = format!("simulated, {} ms late", spec.delay_ms);
        if spec.noise == 0.0 {
            text.push_str(", without noise");
        } else if spec.noise != 1.0 {
            // Writing to a String does not fail.
            let _ = write!(text, ", noise times {}", spec.noise);
        }
        text
    }

    fn measures(&self, _: Measurement) -> bool {
        true
    }

    fn read(&mut self) -> (Measurements, Duration) {
        (self.world.borrow().measured(), self.age)
    }
}

/// The numbers of a recording, which its reader puts here for each picture.
#[derive(Debug, Clone, Default)]
pub struct RecordedSensors(Rc<Cell<Measurements>>);

impl RecordedSensors {
    /// Sets the numbers of the next picture.
    pub fn set(&self, measured: Measurements) {
        self.0.set(measured);
    }
}

impl Sensors for RecordedSensors {
    fn describe(&self) -> String {
        "the numbers of a recording".to_owned()
    }

    fn measures(&self, _: Measurement) -> bool {
        true
    }

    fn read(&mut self) -> (Measurements, Duration) {
        (self.0.get(), Duration::ZERO)
    }
}
