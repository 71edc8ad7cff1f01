//! The lidar of a simulated car: rays to the walls at both borders of the road.

mod walls;

use pilotage_vehicle::{Rays, Scan};

use crate::{Circuit, Pose, Random, SensorSpec};
use walls::Borders;

/// Scans that are kept until their delay is over.
const KEPT: u64 = 16;
/// Standard deviation of a distance, metres.
const NOISE: f64 = 0.01;
/// The shortest distance that a lidar measures, metres.
const LEAST: f64 = 0.02;

/// What the lidar of a simulated car is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LidarSpec {
    /// The number of rays, 2 to 4096.
    pub rays: u32,
    /// The angle between the first ray, at the right, and the last, degrees; 360 for all directions, whose
    /// last ray is one step before the first.
    pub field: f64,
    /// The largest distance with an echo, metres, at most 65.
    pub range: f64,
    /// Scans per second, 10 to 40: one lasts so long, and its rays are measured one after the other.
    pub rate: u32,
}

impl Default for LidarSpec {
    /// That of many F1TENTH cars.
    fn default() -> Self {
        Self {
            rays: 1081,
            field: 270.0,
            range: 10.0,
            rate: 40,
        }
    }
}

impl LidarSpec {
    /// The directions of the rays, from right to left.
    pub fn directions(&self) -> Rays {
        let (count, field) = (self.rays.clamp(2, 4096), self.field.clamp(1.0, 360.0));
        let last = match field >= 360.0 {
            true => field * (0.5 - 1.0 / f64::from(count)),
            false => 0.5 * field,
        };
        let rays = Rays::new(count as usize, -0.5 * field as f32, last as f32);
        rays.unwrap_or(Scan::default().rays)
    }
}

/// A lidar at the car's rear axle.
#[derive(Debug, Clone)]
pub(crate) struct Lidar {
    spec: LidarSpec,
    sensors: SensorSpec,
    borders: Borders,
    rays: Rays,
    seed: u64,
    /// Rays that were measured since the start.
    measured: u64,
    /// The latest scans, and the one that is measured.
    scans: Vec<Vec<u16>>,
    /// What was read last.
    seen: Scan,
}

impl Lidar {
    pub(crate) fn new(spec: LidarSpec, sensors: SensorSpec, circuit: &Circuit) -> Self {
        let rays = spec.directions();
        Self {
            spec,
            sensors,
            borders: Borders::of(circuit),
            rays,
            seed: 0,
            measured: 0,
            scans: vec![vec![0; rays.count()]; KEPT as usize],
            seen: Scan::default(),
        }
    }

    pub(crate) fn spec(&self) -> LidarSpec {
        self.spec
    }

    /// The car has always stood here.
    pub(crate) fn begin(&mut self, pose: Pose, seed: u64) {
        (self.seed, self.measured) = (seed, 0);
        // Whole scans before the start: the first of the drive has the next place.
        for scan in 0..KEPT {
            for ray in 0..self.rays.count() {
                let before = scan * self.rays.count() as u64 + ray as u64;
                self.scans[scan as usize][ray] = self.distance(pose, ray, !before);
            }
        }
    }

    /// Measures the rays that are due after so many milliseconds.
    pub(crate) fn advance(&mut self, milliseconds: u64, pose: Pose) {
        let count = self.rays.count() as u64;
        let due = milliseconds * count * u64::from(self.spec.rate) / 1000;
        while self.measured < due {
            let (scan, ray) = (self.measured / count, (self.measured % count) as usize);
            self.scans[(scan % KEPT) as usize][ray] = self.distance(pose, ray, self.measured);
            self.measured += 1;
        }
    }

    fn distance(&self, pose: Pose, ray: usize, number: u64) -> u16 {
        let angle = pose.heading + self.rays.angle(ray).to_radians();
        let Some(metres) = (self.borders).distance([pose.x, pose.y], angle, self.spec.range) else {
            return 0;
        };
        // Another stream than those of the camera and the other sensors.
        let mut random = Random::stream(self.seed ^ 0x6c69_6461_7200_0000, number);
        let noise = self.sensors.noise * NOISE * random.normal();
        libm::round((metres + noise).max(LEAST) * 1e3).min(f64::from(u16::MAX)) as u16
    }

    /// The latest scan that can be read after so many milliseconds, and how long before it was complete.
    pub(crate) fn read(&mut self, milliseconds: u64) -> (&Scan, u64) {
        let delay = u64::from(self.sensors.delay_ms.min(SensorSpec::LONGEST_MS));
        let rate = u64::from(self.spec.rate.max(1));
        // Scans that were complete before the delay; the longest delay has fewer than are kept.
        let complete = milliseconds.saturating_sub(delay) * rate / 1000;
        let latest = (complete + KEPT - 1) % KEPT;
        self.seen.rays = self.rays;
        self.seen.millimetres.clear();
        self.seen
            .millimetres
            .extend_from_slice(&self.scans[latest as usize]);
        let at = (complete * 1000).div_ceil(rate);
        (&self.seen, milliseconds.saturating_sub(at).max(delay))
    }
}

#[cfg(test)]
mod tests;
