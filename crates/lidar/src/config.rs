//! A lidar, as car.toml describes it.

use std::path::PathBuf;

use pilotage_vehicle::Rays;

/// A lidar and its place on the car.
#[derive(Debug, Clone, PartialEq)]
pub struct LidarConfig {
    /// The serial port.
    pub port: PathBuf,
    /// The angle, as the lidar counts, of the direction ahead; degrees, clockwise seen from its top.
    pub forward: f64,
    /// Whether it is mounted with its top down.
    pub is_upside_down: bool,
    /// The rays of a scan, over a full turn.
    pub rays: usize,
    /// Where the lidar sees the car itself.
    pub mask: Vec<Sector>,
}

/// A sector of directions, degrees: 0 is ahead, left is positive. It extends to the left from `from` to
/// `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sector {
    /// The first direction.
    pub from: f64,
    /// The last direction.
    pub to: f64,
}

impl LidarConfig {
    /// The directions of a scan's rays: from behind the car over its right side and ahead to its left.
    pub fn directions(&self) -> Rays {
        Rays::around(self.rays)
    }

    /// Whether a direction is in a masked sector.
    pub fn masks(&self, angle: f64) -> bool {
        let mut sectors = self.mask.iter();
        sectors.any(|it| (angle - it.from).rem_euclid(360.0) <= (it.to - it.from).rem_euclid(360.0))
    }
}
