//! The sensors of a physical car: the inertial unit of car.toml, and the speed that its motors' electronics
//! measure. Only the guard reads these electronics: it reports the speed with its status, and what is connected to
//! the guard puts it into [`GuardSpeed`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_vehicle::{MeasuredSpeed, Measurement, Measurements, monotonic};

use super::{Imu, Sensors};

/// The sensors of a physical car.
#[derive(Debug, Clone)]
pub struct CarSensors {
    imu: Option<Imu>,
    speed: Option<GuardSpeed>,
}

/// A speed older than this is not known: the guard's newest is 25 ms old.
const SPEED_FRESH: Duration = Duration::from_millis(100);

impl CarSensors {
    /// The sensors that `imu` and `speed` have, if any.
    pub fn new(imu: Option<Imu>, speed: Option<GuardSpeed>) -> Option<Self> {
        (imu.is_some() || speed.is_some()).then_some(Self { imu, speed })
    }
}

impl Sensors for CarSensors {
    fn describe(&self) -> String {
        let speed = self
            .speed
            .as_ref()
            .map(|_| "speed by the motors".to_owned());
        let imu = self.imu.as_ref().map(Sensors::describe);
        let parts: Vec<String> = imu.into_iter().chain(speed).collect();
        parts.join(", ")
    }

    fn measures(&self, measurement: Measurement) -> bool {
        match measurement {
            Measurement::Speed => self.speed.is_some(),
            other => self.imu.as_ref().is_some_and(|imu| imu.measures(other)),
        }
    }

    fn read(&mut self) -> (Measurements, Duration) {
        let (mut measured, mut oldest) = self.imu.as_mut().map(Sensors::read).unwrap_or_default();
        if let Some(speed) = self.speed.as_ref().and_then(GuardSpeed::get) {
            let now = monotonic();
            let age = now.since(speed.at);
            if speed.at <= now && age <= SPEED_FRESH {
                measured.set(Measurement::Speed, Some(speed.mps));
                oldest = oldest.max(age);
            }
        }
        (measured, oldest)
    }

    fn guard_speed(&self) -> Option<&GuardSpeed> {
        self.speed.as_ref()
    }
}

/// The speed of the guard's latest report, shared with the thread that records. Neither side waits.
#[derive(Debug, Clone, Default)]
pub struct GuardSpeed(Arc<Mutex<Option<MeasuredSpeed>>>);

impl GuardSpeed {
    /// Sets the speed that a guard reports.
    pub fn set(&self, speed: Option<MeasuredSpeed>) {
        if let Ok(mut latest) = self.0.try_lock() {
            *latest = speed;
        }
    }

    fn get(&self) -> Option<MeasuredSpeed> {
        self.0.try_lock().ok().and_then(|latest| *latest)
    }
}

#[cfg(test)]
mod tests {
    use pilotage_vehicle::Time;

    use super::*;

    #[test]
    fn a_speed_is_known_only_while_it_is_fresh() {
        assert!(CarSensors::new(None, None).is_none());
        let speed = GuardSpeed::default();
        let mut sensors = CarSensors::new(None, Some(speed.clone())).unwrap();
        assert!(sensors.measures(Measurement::Speed));
        assert!(!sensors.measures(Measurement::YawRate));
        assert!(sensors.read().0.is_empty());
        let mut read = |at: Time| {
            speed.set(Some(MeasuredSpeed { at, mps: 1.5 }));
            sensors.read().0.get(Measurement::Speed)
        };
        let now = monotonic();
        assert_eq!(read(now), Some(1.5));
        let before = |age: Duration| Time::ZERO + (now.since(Time::ZERO).saturating_sub(age));
        assert_eq!(read(before(2 * SPEED_FRESH)), None);
        // The clock does not go back; a time in the future is no measurement.
        assert_eq!(read(now + Duration::from_secs(60)), None);
        speed.set(None);
        assert!(sensors.read().0.is_empty());
    }
}
