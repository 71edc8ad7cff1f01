//! A lidar's scan as a JSON message with Foxglove's schema, which JSON tools and Foxglove read.

use pilotage_vehicle::{Rays, Scan};
use serde::{Deserialize, Serialize};

/// A message of the schema `foxglove.LaserScan`, with the scan's number and time besides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaserScan {
    timestamp: Stamp,
    frame_id: String,
    pose: Pose,
    start_angle: f64,
    end_angle: f64,
    ranges: Vec<f64>,
    intensities: Vec<f64>,
    /// The number of the scan, which records name.
    pub number: u64,
    /// When the scan was complete, milliseconds on the drive's clock.
    pub taken_ms: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Stamp {
    sec: u64,
    nsec: u64,
}

/// The lidar in its own frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Pose {
    position: Position,
    orientation: Orientation,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    x: f64,
    y: f64,
    z: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Orientation {
    x: f64,
    y: f64,
    z: f64,
    w: f64,
}

impl Default for Orientation {
    fn default() -> Self {
        let (x, y, z, w) = (0.0, 0.0, 0.0, 1.0);
        Self { x, y, z, w }
    }
}

impl LaserScan {
    /// The schema's name.
    pub const SCHEMA_NAME: &str = "foxglove.LaserScan";
    /// The schema, as text.
    pub const SCHEMA: &str = include_str!("../schemas/laser_scan.json");

    /// The message of `scan`, complete at `taken_ms` on the drive's clock and `taken_ns` nanoseconds since
    /// 1970-01-01 UTC.
    pub fn of(scan: &Scan, number: u64, (taken_ms, taken_ns): (f64, u64)) -> Self {
        let radians = |degrees: f32| f64::from(degrees).to_radians();
        let distances = scan.millimetres.iter();
        Self {
            timestamp: Stamp {
                sec: taken_ns / 1_000_000_000,
                nsec: taken_ns % 1_000_000_000,
            },
            frame_id: "lidar".to_owned(),
            pose: Pose::default(),
            start_angle: radians(scan.rays.start()),
            end_angle: radians(scan.rays.end()),
            ranges: distances.map(|&it| f64::from(it) / 1000.0).collect(),
            intensities: Vec::new(),
            number,
            taken_ms,
        }
    }

    /// The scan, if the number of distances and the directions are those of one.
    pub fn scan(&self) -> Option<Scan> {
        let degrees = |radians: f64| radians.to_degrees() as f32;
        let (start, end) = (degrees(self.start_angle), degrees(self.end_angle));
        // A cast saturates, and gives 0 for what is no number.
        let millimetres = |metres: &f64| (metres * 1000.0).round() as u16;
        Some(Scan {
            rays: Rays::new(self.ranges.len(), start, end)?,
            millimetres: self.ranges.iter().map(millimetres).collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_distance_and_direction_is_read_as_it_was_written() {
        for (start, end) in [(-135.0, 135.0), (180.0, -179.0), (0.1, 0.3), (-0.25, 359.7)] {
            for first in (0..=u16::MAX).step_by(4096) {
                let scan = Scan {
                    rays: Rays::new(4096, start, end).unwrap(),
                    millimetres: (first..=first + 4095).collect(),
                };
                let message = LaserScan::of(&scan, 7, (12.5, 1_700_000_000_123_456_789));
                let text = serde_json::to_string(&message).unwrap();
                let read: LaserScan = serde_json::from_str(&text).unwrap();
                // The last digit of a number may differ, which rounding takes away.
                assert!(read.scan() == Some(scan), "{start} to {end} from {first}");
                assert_eq!((read.number, read.taken_ms), (7, 12.5));
            }
        }
    }

    #[test]
    fn what_is_no_scan_is_none() {
        let rays = Rays::new(3, -90.0, 90.0).unwrap();
        let millimetres = vec![1000; 3];
        let good = LaserScan::of(&Scan { rays, millimetres }, 1, (0.0, 0));
        let with = |change: fn(&mut LaserScan)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.scan()
        };
        assert_eq!(with(|it| it.ranges.truncate(1)), None);
        assert_eq!(with(|it| it.ranges.resize(5000, 1.0)), None);
        assert_eq!(with(|it| it.end_angle = 1e300), None);
        assert_eq!(with(|it| it.start_angle = it.end_angle), None);
        let odd = with(|it| it.ranges = vec![-1.0, 1e9, f64::NAN]).unwrap();
        assert_eq!(odd.millimetres, [0, u16::MAX, 0]);
    }
}
