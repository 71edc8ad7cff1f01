//! Pure pursuit: R. C. Coulter, Implementation of the Pure Pursuit Path Tracking Algorithm, Carnegie
//! Mellon University, CMU-RI-TR-92-01, 1992.

use serde::{Deserialize, Serialize};

use super::NoPath;

/// A path must reach this share of the look-ahead distance.
const LEAST_REACH: f64 = 0.5;

/// How a path is followed: the car drives the arc through the point of the path that lies one
/// look-ahead distance from its rear axle. With the point `y` to the left at distance `d`, the arc's
/// curvature is `2 y / d^2` (Coulter's equation 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pursuit {
    /// The look-ahead distance at a standstill, metres.
    pub look_ahead: f32,
    /// How much the distance grows with the speed: metres for each m/s.
    pub look_ahead_time: f32,
    /// How many points ahead of the car a path must have.
    pub least_points: usize,
}

/// Finds the point to drive to among points that come one by one, the nearest first.
#[derive(Debug)]
pub(super) struct Follower {
    look_ahead: f64,
    least: usize,
    /// The latest point within the look-ahead distance.
    latest: Option<[f64; 2]>,
    goal: Option<[f64; 2]>,
    found: usize,
    behind: usize,
}

impl Follower {
    /// For a car at `speed` metres per second.
    pub(super) fn new(pursuit: &Pursuit, speed: f64) -> Self {
        let grown = f64::from(pursuit.look_ahead_time) * speed.max(0.0);
        Self {
            look_ahead: f64::from(pursuit.look_ahead) + grown,
            least: pursuit.least_points.max(1),
            latest: None,
            goal: None,
            found: 0,
            behind: 0,
        }
    }

    /// Takes the next point. Points behind the rear axle are skipped up to the first ahead of it.
    pub(super) fn push(&mut self, point: [f64; 2]) {
        if self.found == 0 && point[0] <= 0.0 {
            self.behind += 1;
            return;
        }
        self.found += 1;
        if self.goal.is_some() {
            return;
        }
        if libm::hypot(point[0], point[1]) >= self.look_ahead {
            // If no point is nearer, nothing is known of the path before this one.
            let crossing = |latest| crossing(latest, point, self.look_ahead);
            self.goal = Some(self.latest.map_or(point, crossing));
        } else {
            self.latest = Some(point);
        }
    }

    /// The curvature of the arc to the point, 1/m, left positive.
    pub(super) fn curvature(&self) -> Result<f64, NoPath> {
        match (self.found, self.behind) {
            (0, 0) => return Err(NoPath::Empty),
            (0, _) => return Err(NoPath::Behind),
            (found, _) if found < self.least => {
                let least = self.least;
                return Err(NoPath::TooFew { found, least });
            }
            _ => {}
        }
        let Some([x, y]) = self.goal.or(self.latest) else {
            return Err(NoPath::Empty);
        };
        let distance = libm::hypot(x, y);
        if distance < LEAST_REACH * self.look_ahead {
            return Err(NoPath::Short {
                reach: distance,
                look_ahead: self.look_ahead,
            });
        }
        let curvature = 2.0 * y / (distance * distance);
        match (x > 0.0, curvature.is_finite()) {
            (false, _) => Err(NoPath::Behind),
            (true, false) => Err(NoPath::NotFinite),
            (true, true) => Ok(curvature),
        }
    }
}

/// The point between `from`, which is nearer than `distance`, and `to`, which is not, at that distance
/// of the origin.
fn crossing(from: [f64; 2], to: [f64; 2], distance: f64) -> [f64; 2] {
    let step = [to[0] - from[0], to[1] - from[1]];
    let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
    // |from + t step| = distance: a t^2 + 2 b t + c = 0, with c <= 0 and one root from 0 to 1.
    let (a, b) = (dot(step, step), dot(from, step));
    let c = dot(from, from) - distance * distance;
    let root = libm::sqrt((b * b - a * c).max(0.0));
    // The form without cancellation.
    let t = match b > 0.0 {
        true => -c / (b + root),
        false => (root - b) / a,
    };
    let t = t.clamp(0.0, 1.0);
    [from[0] + t * step[0], from[1] + t * step[1]]
}
