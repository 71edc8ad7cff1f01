//! The sensors of a physical car: the inertial unit and the lidar of car.toml, and the speed that its motors' electronics
//! measure. Only the guard reads these electronics. It reports the speed with its status, and the loop puts it
//! into [`GuardSpeed`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_vehicle::{MeasuredSpeed, Measurement, Measurements, Scan, Time, monotonic};

use super::{Imu, Lidar, Sensors};

/// The sensors of a physical car.
#[derive(Debug, Clone)]
pub struct CarSensors {
    imu: Option<Imu>,
    lidar: Option<pilotage_lidar::Lidar>,
    speed: Option<GuardSpeed>,
    latest_speed: Option<MeasuredSpeed>,
}

/// A number that was measured longer ago is not known, whatever the recipe allows: so a sensor that hangs
/// leaves no number in a recording, and does not make those of another sensor look old.
const RECENT: Duration = Duration::from_millis(150);
/// The same of a scan, which takes up to 200 ms itself.
const RECENT_SCAN: Duration = Duration::from_millis(500);

impl CarSensors {
    /// The sensors that `imu`, `lidar` and `speed` have, if any.
    pub fn new(
        imu: Option<Imu>,
        lidar: Option<pilotage_lidar::Lidar>,
        speed: Option<GuardSpeed>,
    ) -> Option<Self> {
        (imu.is_some() || lidar.is_some() || speed.is_some()).then_some(Self {
            imu,
            lidar,
            speed,
            latest_speed: None,
        })
    }
}

impl Sensors for CarSensors {
    fn describe(&self) -> String {
        let imu = self.imu.as_ref().map(Imu::describe);
        let lidar = self.lidar.as_ref().map(pilotage_lidar::Lidar::describe);
        let speed = self.speed.as_ref().map(|_| "speed by the motors");
        let parts: Vec<&str> = imu.into_iter().chain(lidar).chain(speed).collect();
        parts.join(", ")
    }

    fn measures(&self, measurement: Measurement) -> bool {
        match measurement {
            Measurement::Speed => self.speed.is_some(),
            other => self.imu.as_ref().is_some_and(|imu| imu.measures(other)),
        }
    }

    fn read(&mut self) -> (Measurements, Duration) {
        let now = monotonic();
        let (mut measured, mut oldest) = (Measurements::default(), Duration::ZERO);
        let age = |at: Time| Some(now.since(at)).filter(|age| at <= now && *age <= RECENT);
        if let Some(latest) = self.imu.as_mut().and_then(Imu::latest)
            && let Some(age) = age(latest.at)
        {
            (measured, oldest) = (latest.measured, age);
        }
        if let Some(Some(latest)) = self.speed.as_ref().map(GuardSpeed::get) {
            self.latest_speed = latest;
        }
        if let Some(speed) = self.latest_speed
            && let Some(age) = age(speed.at)
        {
            measured.set(Measurement::Speed, Some(speed.mps));
            oldest = oldest.max(age);
        }
        (measured, oldest)
    }

    fn guard_speed(&self) -> Option<&GuardSpeed> {
        self.speed.as_ref()
    }

    fn lidar(&self) -> Option<Lidar> {
        self.lidar.as_ref().map(|lidar| Lidar::Rays(lidar.rays()))
    }

    fn scan(&mut self, scan: &mut Scan) -> Duration {
        let latest = self.lidar.as_mut().and_then(|lidar| lidar.latest(scan));
        let now = monotonic();
        let age = latest.map(|at| now.since(at));
        match age.filter(|age| *age <= RECENT_SCAN) {
            Some(age) => age,
            None => {
                scan.clear();
                Duration::ZERO
            }
        }
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

    /// The speed, or `None` while the other side sets it.
    fn get(&self) -> Option<Option<MeasuredSpeed>> {
        self.0.try_lock().ok().map(|latest| *latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_known_only_while_it_is_recent() {
        assert!(CarSensors::new(None, None, None).is_none());
        let speed = GuardSpeed::default();
        let mut sensors = CarSensors::new(None, None, Some(speed.clone())).unwrap();
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
        assert_eq!(read(before(2 * RECENT)), None);
        // The clock does not go back; a time in the future is no measurement.
        assert_eq!(read(now + Duration::from_secs(60)), None);
        speed.set(None);
        assert!(sensors.read().0.is_empty());
    }
}
