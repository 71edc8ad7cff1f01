//! Scans of a lidar.

/// The most rays of a scan.
pub const MOST_RAYS: usize = 4096;
/// How much farther apart than the wanted rays those of a lidar may be: roundings.
const COARSEST: f64 = 1.01;

/// The directions of a lidar's rays: evenly spaced, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rays {
    count: usize,
    start: f32,
    end: f32,
}

impl Rays {
    /// `count` rays from `start` to `end`, degrees: 0 is ahead, left is positive. `None` if there are
    /// fewer than 2 or more than [`MOST_RAYS`], or they cover nothing or more than 360 degrees.
    pub fn new(count: usize, start: f32, end: f32) -> Option<Self> {
        let angles = [start, end].iter().all(|it| it.abs() <= 360.0);
        let field = (end - start).abs();
        let fits = (2..=MOST_RAYS).contains(&count) && angles && field > 0.0 && field <= 360.0;
        fits.then_some(Self { count, start, end })
    }

    /// `count` rays of a full turn, from behind the car over its right side and ahead to its left; at
    /// least 2 and at most [`MOST_RAYS`].
    pub fn around(count: usize) -> Self {
        let count = count.clamp(2, MOST_RAYS);
        Self {
            count,
            start: -180.0,
            end: 180.0 - 360.0 / count as f32,
        }
    }

    /// The number of rays.
    pub const fn count(self) -> usize {
        self.count
    }

    /// The first ray's direction, degrees.
    pub const fn start(self) -> f32 {
        self.start
    }

    /// The last ray's direction, degrees.
    pub const fn end(self) -> f32 {
        self.end
    }

    /// From each ray to the next, degrees; negative to the right.
    fn step(self) -> f64 {
        (f64::from(self.end) - f64::from(self.start)) / (self.count.max(2) - 1) as f64
    }

    /// The direction of a ray, degrees.
    pub fn angle(self, ray: usize) -> f64 {
        f64::from(self.start) + self.step() * ray as f64
    }

    /// The ray nearest to a direction in degrees, if one is within half the distance between rays.
    pub fn nearest(self, angle: f64) -> Option<usize> {
        let step = self.step();
        let turn = ((angle - f64::from(self.start)) * step.signum()).rem_euclid(360.0);
        let place = (turn / step.abs()).round() as usize;
        if place < self.count {
            return Some(place);
        }
        // From the other side, the first ray may be near.
        ((360.0 - turn) / step.abs() <= 0.5).then_some(0)
    }

    /// Whether there is a ray for each of the `wanted` directions, and the rays are not farther apart
    /// than these.
    pub fn cover(self, wanted: Self) -> bool {
        let is_fine = self.step().abs() <= COARSEST * wanted.step().abs();
        is_fine && (0..wanted.count).all(|ray| self.nearest(wanted.angle(ray)).is_some())
    }
}

/// A scan: how far the nearest obstacle is along each ray.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// The directions.
    pub rays: Rays,
    /// The distance along each ray, millimetres; 0 if no echo came back. A scan with another number
    /// of distances than rays is not used.
    pub millimetres: Vec<u16>,
}

impl Default for Scan {
    /// No scan, with memory for the largest.
    fn default() -> Self {
        Self {
            rays: Rays {
                count: 2,
                start: 0.0,
                end: 1.0,
            },
            millimetres: Vec::with_capacity(MOST_RAYS),
        }
    }
}

impl Scan {
    /// Whether there is a distance for each ray.
    pub fn is_whole(&self) -> bool {
        self.millimetres.len() == self.rays.count
    }

    /// The direction (degrees, left positive) and the distance (mm) of the nearest echo.
    pub fn nearest_echo(&self) -> Option<(f64, u16)> {
        let echoes = self.millimetres.iter().enumerate();
        let nearest = echoes.filter(|(_, it)| **it > 0).min_by_key(|(_, it)| **it);
        nearest.map(|(ray, &millimetres)| (self.rays.angle(ray), millimetres))
    }

    /// Makes this scan a copy of another. Allocates nothing if there is memory for as many rays.
    pub fn copy_from(&mut self, other: &Self) {
        self.rays = other.rays;
        self.millimetres.clear();
        self.millimetres.extend_from_slice(&other.millimetres);
    }

    /// Forgets the scan.
    pub fn clear(&mut self) {
        self.millimetres.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_ray_is_found_in_both_directions_and_round_the_back() {
        let front = Rays::new(1081, -135.0, 135.0).unwrap();
        for (angle, ray) in [(-135.0, 0), (0.0, 540), (0.13, 541), (135.0, 1080)] {
            assert_eq!(front.nearest(angle), Some(ray), "{angle}");
        }
        assert_eq!(front.nearest(-135.1), Some(0));
        assert_eq!(front.nearest(135.1), Some(1080));
        assert_eq!(front.nearest(180.0), None);
        assert_eq!(front.nearest(-136.0), None);
        let clockwise = Rays::new(5, 90.0, -90.0).unwrap();
        assert_eq!(clockwise.nearest(90.0), Some(0));
        assert_eq!(clockwise.nearest(-45.0), Some(3));
        let round = Rays::new(360, -180.0, 179.0).unwrap();
        assert_eq!(round.nearest(180.0), Some(0));
        assert_eq!(round.nearest(179.6), Some(0));
        assert_eq!(round.nearest(-90.0), Some(90));
        assert!(front.cover(clockwise) && !front.cover(round));
    }

    #[test]
    fn a_lidar_with_fewer_rays_than_wanted_does_not_cover_them() {
        let wanted = Rays::new(181, -90.0, 90.0).unwrap();
        for (count, covers) in [
            (541, true),
            (271, true),
            (268, false),
            (136, false),
            (2, false),
        ] {
            let ahead = Rays::new(count, -135.0, 135.0).unwrap();
            let clockwise = Rays::new(count, 135.0, -135.0).unwrap();
            assert_eq!(ahead.cover(wanted), covers, "{count}");
            assert_eq!(clockwise.cover(wanted), covers, "{count}");
        }
    }

    #[test]
    fn rays_of_a_full_turn_have_one_ray_for_each_direction() {
        for (count, rays) in [(360, 360), (450, 450), (1, 2), (9999, MOST_RAYS)] {
            let around = Rays::around(count);
            assert_eq!(around.count(), rays);
            assert_eq!(Rays::new(rays, around.start(), around.end()), Some(around));
            let wanted = Rays::new(2, -180.0, 180.0).unwrap();
            assert!(around.cover(wanted), "{count}");
            assert_eq!(around.nearest(180.0), Some(0));
            assert_eq!(around.nearest(0.0), Some(rays / 2));
        }
        assert_eq!(Rays::around(360).nearest(90.0), Some(270));
    }

    #[test]
    fn rays_that_cover_nothing_are_refused() {
        for (count, start, end) in [
            (1, -90.0, 90.0),
            (MOST_RAYS + 1, -90.0, 90.0),
            (9, 90.0, 90.0),
            (9, -200.0, 170.0),
            (9, f32::NAN, 90.0),
            (9, 0.0, f32::INFINITY),
        ] {
            assert_eq!(Rays::new(count, start, end), None, "{count} {start} {end}");
        }
    }

    #[test]
    fn a_scan_is_copied_without_memory() {
        let mut scan = Scan::default();
        assert!(!scan.is_whole());
        let other = Scan {
            rays: Rays::new(3, -1.0, 1.0).unwrap(),
            millimetres: vec![1, 0, 3],
        };
        let memory = scan.millimetres.as_ptr();
        scan.copy_from(&other);
        assert_eq!((scan.millimetres.as_ptr(), &scan), (memory, &other));
        scan.millimetres.pop();
        assert!(!scan.is_whole());
    }
}
