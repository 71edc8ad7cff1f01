//! The expert: it knows the true state and the circuit, and gives the answer that the network
//! should have given.

use pilotage_simulator::{Circuit, Pose};

/// The parameters of the expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expert {
    /// The highest speed, m/s.
    pub top_speed: f64,
    /// The planned lateral acceleration, m/s2.
    pub lateral: f64,
    /// The planned deceleration ahead of a bend, m/s2.
    pub braking: f64,
    /// The distance up to which it considers bends, metres: what the picture can show.
    pub sight: f64,
    /// The smallest look-ahead distance for steering, metres.
    pub look_ahead: f64,
    /// The look-ahead time for steering, seconds.
    pub look_ahead_time: f64,
    /// The time from the picture to the effect of the steering, seconds.
    pub delay: f64,
    /// Whether it answers for the place where its command takes effect, which it computes from the
    /// commands in flight, rather than for the place of the picture.
    pub foresees: bool,
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
            foresees: false,
        }
    }
}

impl Expert {
    /// The expert for a known latency: it answers for the place where its command takes effect, and
    /// for the time of a frame from there.
    pub fn foreseeing() -> Self {
        Self {
            delay: 0.025,
            foresees: true,
            ..Self::default()
        }
    }
}

/// The highest curvature that it steers, 1/m.
const TIGHTEST: f64 = 1.2;
/// The offset (m) and the heading error (rad), either of which halves the speed.
const HALVING: [f64; 2] = [0.6, 0.5];
/// The smallest radius that is assumed for a bend out of sight, metres.
const SMALLEST_RADIUS: f64 = 2.0;
/// The distance between the curvatures that it considers, metres.
const STEP: f64 = 0.25;

impl Expert {
    /// The speed (m/s) and yaw rate (rad/s) to drive at `pose`, whose nearest point of the line is
    /// at `s`, with a camera that shows the road up to `sight` metres ahead.
    ///
    /// Both are independent of the car's present speed, which a single picture does not show: the
    /// yaw rate is for the planned speed.
    pub fn drive(&self, circuit: &Circuit, s: f64, pose: Pose, sight: f64) -> (f64, f64) {
        let line = circuit.pose(s, 0.0, 0.0);
        let (sin, cos) = libm::sincos(line.heading);
        let offset = cos * (pose.y - line.y) - sin * (pose.x - line.x);
        let heading = libm::remainder(pose.heading - line.heading, std::f64::consts::TAU);
        let planned = self.planned_speed(circuit, s, sight.min(self.sight));
        let deviation = square(offset / HALVING[0]) + square(heading / HALVING[1]);
        let speed = (planned / (1.0 + deviation)).max(planned.min(2.5));

        // The difference of pure pursuit (Coulter, CMU-RI-TR-92-01) towards one point from the
        // car's pose and from the line gives the correction back to the line. The line's own
        // curvature then needs no look-ahead.
        let target = circuit.point(s + self.look_ahead.max(self.look_ahead_time * planned));
        let correction = pursuit(pose, target) - pursuit(line, target);
        let curvature = correction + self.curvature_at_effect(circuit, s, speed);
        (speed, speed * curvature.clamp(-TIGHTEST, TIGHTEST))
    }

    /// The highest speed from which the car can still brake for every bend in sight, and for the
    /// tightest bend just beyond it.
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

    /// The line's mean curvature over the stretch that is driven while the answer is in effect.
    fn curvature_at_effect(&self, circuit: &Circuit, s: f64, speed: f64) -> f64 {
        let fractions = [0.25, 0.75, 1.25, 1.75];
        let ahead = fractions.map(|fraction| circuit.curvature(s + fraction * self.delay * speed));
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
