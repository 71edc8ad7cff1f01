//! The teacher: it sees the true state and the circuit, and says what the
//! network should have answered.

use pilotage_simulator::{Circuit, Pose};

/// How the expert drives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expert {
    /// Most speed, m/s.
    pub top_speed: f64,
    /// Lateral acceleration it plans for, m/s2.
    pub lateral: f64,
    /// Deceleration it plans for ahead of a bend, m/s2.
    pub braking: f64,
    /// How far it looks for bends, metres: what the picture can show.
    pub sight: f64,
    /// Least look-ahead of its steering, metres.
    pub look_ahead: f64,
    /// Look-ahead for every metre per second, seconds.
    pub look_ahead_time: f64,
    /// How long after the picture its steering will take effect, seconds.
    pub delay: f64,
}

impl Default for Expert {
    fn default() -> Self {
        Self {
            top_speed: 15.5,
            lateral: 12.5,
            braking: 16.0,
            sight: 6.5,
            look_ahead: 1.4,
            look_ahead_time: 0.32,
            delay: 0.038,
        }
    }
}

/// Tightest curvature it steers, 1/m.
const TIGHTEST: f64 = 1.2;
/// Offset (m) and heading error (rad) at either of which it halves its speed.
const HALVING: [f64; 2] = [0.6, 0.5];
/// What a bend out of sight may be like, metres.
const SMALLEST_RADIUS: f64 = 2.0;
/// Distance between the curvatures it looks at, metres.
const STEP: f64 = 0.25;

impl Expert {
    /// The speed (m/s) and yaw rate (rad/s) to drive at `pose`, whose nearest
    /// point of the line lies at `s`, with a camera that shows the road up to
    /// `sight` metres ahead.
    ///
    /// Neither depends on the car's present speed, which a single picture does
    /// not show: the yaw rate is that of the planned speed.
    pub fn drive(&self, circuit: &Circuit, s: f64, pose: Pose, sight: f64) -> (f64, f64) {
        let line = circuit.pose(s, 0.0, 0.0);
        let (sin, cos) = libm::sincos(line.heading);
        let offset = cos * (pose.y - line.y) - sin * (pose.x - line.x);
        let heading = libm::remainder(pose.heading - line.heading, std::f64::consts::TAU);
        let planned = self.planned_speed(circuit, s, sight.min(self.sight));
        let off = square(offset / HALVING[0]) + square(heading / HALVING[1]);
        let speed = (planned / (1.0 + off)).max(planned.min(2.5));

        // Pure pursuit (Coulter, CMU-RI-TR-92-01) towards one point from where the
        // car is, less the same from where it should be, leaves the pull back to
        // the line; the line's own curvature then needs no look-ahead.
        let target = circuit.point(s + self.look_ahead.max(self.look_ahead_time * planned));
        let pull = pursuit(pose, target) - pursuit(line, target);
        let curvature = pull + self.curvature_at_effect(circuit, s, speed);
        (speed, speed * curvature.clamp(-TIGHTEST, TIGHTEST))
    }

    /// The fastest speed from which every bend in sight can still be braked for,
    /// and the tightest one just beyond it.
    fn planned_speed(&self, circuit: &Circuit, s: f64, sight: f64) -> f64 {
        let steps = (sight / STEP) as usize;
        let squares = (0..=steps).map(|step| {
            let distance = step as f64 * STEP;
            let curvature = circuit.curvature(s + distance).abs().max(1e-6);
            self.lateral / curvature + 2.0 * self.braking * distance
        });
        let beyond = self.lateral * SMALLEST_RADIUS + 2.0 * self.braking * sight;
        let least = squares.fold(square(self.top_speed).min(beyond), f64::min);
        libm::sqrt(least)
    }

    /// The line's mean curvature over the stretch driven while the answer acts.
    fn curvature_at_effect(&self, circuit: &Circuit, s: f64, speed: f64) -> f64 {
        let shares = [0.25, 0.75, 1.25, 1.75];
        let ahead = shares.map(|share| circuit.curvature(s + share * self.delay * speed));
        ahead.iter().sum::<f64>() / ahead.len() as f64
    }
}

/// The curvature of the arc from `pose` through `target`.
fn pursuit(pose: Pose, [x, y]: [f64; 2]) -> f64 {
    let (sin, cos) = libm::sincos(pose.heading);
    let [dx, dy] = [x - pose.x, y - pose.y];
    let left = cos * dy - sin * dx;
    2.0 * left / (dx * dx + dy * dy).max(0.25)
}

fn square(x: f64) -> f64 {
    x * x
}
