//! The sources of numbers and scans that are measured on the car.

mod car;
pub mod iio;
mod imu;

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pilotage_engine::InputRules;
use pilotage_simulator::World;
use pilotage_vehicle::{Measurement, Measurements, Rays, Scan};

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

    /// The directions of the lidar's rays, if there is a lidar and they are known.
    fn lidar(&self) -> Option<Lidar> {
        None
    }

    /// Writes the lidar's latest scan to `scan`, which has memory for the largest, and returns how long
    /// ago it was complete. Without one, `scan` is not whole. Neither waits nor allocates.
    fn scan(&mut self, scan: &mut Scan) -> Duration {
        scan.clear();
        Duration::ZERO
    }
}

/// The lidar of a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lidar {
    /// One with these rays.
    Rays(Rays),
    /// That of a recording, whose reader has checked each scan.
    Recorded,
}

/// Why a car's sensors do not fit an engine.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A number is not measured.
    #[error(transparent)]
    Measurement(#[from] NoSensor),
    /// There is no lidar.
    #[error(
        "the engine gets a lidar's scan (`[scan]` in its recipe), and this car has no lidar. The simulated car has \
         one; name one in car.toml (`[lidar]`: docs/car.md); for a car without, set `missing` in that table to a distance and compile the engine again, or drive \
         with an engine that does not need it"
    )]
    NoLidar,
    /// The lidar does not see what the engine gets.
    #[error(
        "the engine gets a scan of {} rays from {} to {} degrees (`[scan]` in its recipe), and the lidar's {} \
         rays from {} to {} do not cover it; change `lidar_field` and `lidar_rays` of [simulator] in car.toml, or `rays` of [lidar]",
        wanted.count(), wanted.start(), wanted.end(), found.count(), found.start(), found.end()
    )]
    Field {
        /// The engine's.
        wanted: Rays,
        /// The lidar's.
        found: Rays,
    },
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

/// Checks that `sensors` give each number and the scan that `rules` name. Returns a note for each without
/// a sensor that the rule replaces.
///
/// # Errors
/// The first that no sensor gives, if the car would stop for it.
pub fn check(rules: &InputRules, sensors: Option<&dyn Sensors>) -> Result<Vec<String>, Unfit> {
    let mut notes = Vec::new();
    for rule in &rules.measurements {
        for &measurement in &rule.values {
            if sensors.is_some_and(|sensors| sensors.measures(measurement)) {
                continue;
            }
            let Some(number) = rule.missing.number() else {
                return Err(NoSensor { measurement }.into());
            };
            notes.push(format!(
                "no sensor of this car gives `{}`: the engine always gets {number} (`missing` in its recipe)",
                measurement.name()
            ));
        }
    }
    if let Some(rule) = &rules.scan {
        match (
            sensors.and_then(Sensors::lidar),
            rule.directions(),
            rule.missing.number(),
        ) {
            (Some(Lidar::Rays(found)), Some(wanted), _) if !found.cover(wanted) => {
                return Err(Unfit::Field { wanted, found });
            }
            (Some(_), ..) => {}
            (None, _, None) => return Err(Unfit::NoLidar),
            (None, _, Some(number)) => notes.push(format!(
                "this car has no lidar: the engine always gets {number} m for each ray (`missing` in its recipe)"
            )),
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
        if let Some(lidar) = self.world.borrow().lidar() {
            let (rays, field, rate) = (lidar.rays, lidar.field, lidar.rate);
            let _ = write!(
                text,
                ", lidar of {rays} rays over {field} degrees at {rate} Hz"
            );
        }
        text
    }

    fn measures(&self, _: Measurement) -> bool {
        true
    }

    fn read(&mut self) -> (Measurements, Duration) {
        (self.world.borrow().measured(), self.age)
    }

    fn lidar(&self) -> Option<Lidar> {
        let lidar = self.world.borrow().lidar()?;
        Some(Lidar::Rays(lidar.directions()))
    }

    fn scan(&mut self, scan: &mut Scan) -> Duration {
        match self.world.borrow_mut().scan() {
            Some((latest, age)) => {
                scan.copy_from(latest);
                Duration::from_millis(age)
            }
            None => {
                scan.clear();
                Duration::ZERO
            }
        }
    }
}

/// The numbers and scans of a recording, which its reader puts here for each picture.
#[derive(Debug, Clone, Default)]
pub struct RecordedSensors {
    measured: Rc<Cell<Measurements>>,
    scan: Rc<RefCell<Option<Arc<Scan>>>>,
}

impl RecordedSensors {
    /// Sets the numbers and the scan of the next picture.
    pub fn set(&self, measured: Measurements, scan: Option<Arc<Scan>>) {
        self.measured.set(measured);
        self.scan.replace(scan);
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
        (self.measured.get(), Duration::ZERO)
    }

    fn lidar(&self) -> Option<Lidar> {
        Some(Lidar::Recorded)
    }

    fn scan(&mut self, scan: &mut Scan) -> Duration {
        match &*self.scan.borrow() {
            Some(recorded) => scan.copy_from(recorded),
            None => scan.clear(),
        }
        Duration::ZERO
    }
}
