//! Metrics of a run.
//!
//! Names and formulas follow JdeRobot's Behavior Metrics
//! (<https://github.com/JdeRobot/BehaviorMetrics>, `metrics_gazebo.py` and the brains'
//! `suddenness_distance`), so that the results can be compared.

use serde::Serialize;

use crate::circuit::{self, CircuitError};
use crate::spline::Cubic;
use crate::{PathPoint, TyreUse, World};

/// The timing that the control loop measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoopTiming {
    /// Mean seconds of work per iteration of the loop, without sleep.
    pub loop_seconds: f64,
    /// Mean seconds of inference.
    pub inference_seconds: f64,
    /// Simulated seconds per second of wall clock.
    pub real_time_factor: f64,
}

/// The report on one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The number of finished laps.
    pub laps: usize,
    /// Mean simulated seconds of a finished lap.
    pub lap_time: Option<f64>,
    /// Simulated seconds from the start to the end of the run.
    pub time: f64,
    /// Metres driven.
    pub distance: f64,
    /// Progress along the line in per cent of one lap; 200 after two laps.
    pub percentage_completed: f64,
    /// Distance driven divided by simulated time, m/s.
    pub average_speed: f64,
    /// Mean distance from the line over the path at 20 Hz, metres.
    pub deviation_mean: f64,
    /// 95th percentile of that distance, metres.
    pub deviation_p95: f64,
    /// Largest distance from the line at any millisecond, metres.
    pub deviation_max: f64,
    /// Mean over the reference points of 1000^d, where d is the distance in metres from the point
    /// to the driven path; 1 is the best value. None before a lap is finished, and when there are
    /// no points.
    pub position_deviation_mae: Option<f64>,
    /// Mean L2 distance between consecutive pairs of normalized controls at 20 Hz.
    pub suddenness: f64,
    /// Iterations per second of the loop without sleep, 1/s.
    pub brain_iteration_frequency: Option<f64>,
    /// Mean seconds of inference.
    pub mean_inference_time: Option<f64>,
    /// Simulated seconds per second of wall clock.
    pub real_time_factor: Option<f64>,
    /// How near to the limits of its tyres the car was driven; none for a car
    /// model without tyre forces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tyres: Option<TyreUse>,
}

/// The minimum and the span of the speed, m/s: Behavior Metrics, and the training of its networks,
/// normalize it over 6.5 to 24 m/s.
pub const SPEED_MIN_AND_SPAN: (f64, f64) = (6.5, 17.5);
/// The minimum and the span of the yaw rate, rad/s: it is normalized over -7.1 to 7.1 rad/s.
pub const YAW_RATE_MIN_AND_SPAN: (f64, f64) = (-7.1, 14.2);

/// Distance between the points of the centre line when it is the reference, metres.
const REFERENCE_STEP: f64 = 0.5;

/// Points that are tested in each interval of the path before the nearest is refined.
const PIECES: usize = 4;

/// Reads a reference path from CSV: x and y in metres on each line.
///
/// # Errors
/// When a line has no point (the error states the line), when a point is not finite or is further
/// away than a circuit may be, or when there is no point at all.
pub fn reference_from_csv(text: &str) -> Result<Vec<[f64; 2]>, CircuitError> {
    let points = circuit::csv_points(text)?;
    if points.is_empty() {
        return Err(CircuitError::EmptyReference);
    }
    circuit::check_coordinates(&points)?;
    Ok(points)
}

impl World {
    /// The report on the run up to now. `reference` is the path to compare with; without it, the
    /// centre line. `timing` is the loop's measurement.
    pub fn metrics(&self, reference: Option<&[[f64; 2]]>, timing: Option<LoopTiming>) -> Metrics {
        let path = self.path();
        let time = path.last().map_or(0.0, |p| p.time);
        let laps = self.laps().len();
        let mut offsets: Vec<f64> = path.iter().map(|p| p.offset.abs()).collect();
        offsets.sort_by(f64::total_cmp);
        let finished = self.laps().last().copied();
        Metrics {
            laps,
            lap_time: finished.map(|seconds| seconds / laps as f64),
            time,
            distance: self.distance(),
            percentage_completed: 100.0 * self.lap_fraction(),
            average_speed: if time > 0.0 {
                self.distance() / time
            } else {
                0.0
            },
            deviation_mean: mean(offsets.iter().copied()),
            deviation_p95: percentile(&offsets, 0.95),
            deviation_max: self.widest(),
            position_deviation_mae: finished.and_then(|_| match reference {
                Some(points) => position_deviation(path, points),
                None => position_deviation(path, &self.centre_line()),
            }),
            suddenness: self.suddenness(),
            brain_iteration_frequency: timing
                .map(|t| t.loop_seconds)
                .filter(|&seconds| seconds > 0.0)
                .map(|seconds| 1.0 / seconds),
            mean_inference_time: timing.map(|t| t.inference_seconds),
            real_time_factor: timing.map(|t| t.real_time_factor),
            tyres: self.car().tyres(),
        }
    }

    fn centre_line(&self) -> Vec<[f64; 2]> {
        let count = (self.circuit().length() / REFERENCE_STEP) as u32;
        (0..count)
            .map(|i| self.circuit().point(f64::from(i) * REFERENCE_STEP))
            .collect()
    }

    fn suddenness(&self) -> f64 {
        let mixer = self.car().mixer();
        // The first entry is the start, before any command.
        let controls: Vec<[f64; 2]> = self
            .path()
            .iter()
            .skip(1)
            .map(|p| {
                let (speed, yaw_rate) = mixer.twist(p.steering, p.throttle);
                [
                    (speed - SPEED_MIN_AND_SPAN.0) / SPEED_MIN_AND_SPAN.1,
                    (yaw_rate - YAW_RATE_MIN_AND_SPAN.0) / YAW_RATE_MIN_AND_SPAN.1,
                ]
            })
            .collect();
        mean(
            controls
                .windows(2)
                .map(|pair| libm::hypot(pair[1][0] - pair[0][0], pair[1][1] - pair[0][1])),
        )
    }
}

/// Mean over `reference` of 1000^d, where d is the distance in metres from the reference point to
/// the natural cubic spline through the path, whose knots are the indices of the path's points.
/// None when there is nothing to compare.
fn position_deviation(path: &[PathPoint], reference: &[[f64; 2]]) -> Option<f64> {
    if path.len() < 2 || reference.is_empty() {
        return None;
    }
    let knots: Vec<f64> = (0..path.len()).map(|i| i as f64).collect();
    let axis = |value: fn(&PathPoint) -> f64| {
        Cubic::natural(&knots, &path.iter().map(value).collect::<Vec<_>>())
    };
    let (x, y) = (axis(|p| p.x), axis(|p| p.y));
    let at = |t: f64| {
        let interval = (t as usize).min(path.len() - 2);
        [x.at(interval, t)[0], y.at(interval, t)[0]]
    };
    let last = (path.len() - 1) * PIECES;
    let coarse: Vec<[f64; 2]> = (0..=last).map(|i| at(i as f64 / PIECES as f64)).collect();
    Some(mean(reference.iter().map(|&point| {
        let square = |p: [f64; 2]| (p[0] - point[0]).powi(2) + (p[1] - point[1]).powi(2);
        let mut best = (f64::INFINITY, 0);
        for (i, &p) in coarse.iter().enumerate() {
            let d = square(p);
            if d < best.0 {
                best = (d, i);
            }
        }
        let low = best.1.saturating_sub(1) as f64 / PIECES as f64;
        let high = (best.1 + 1).min(last) as f64 / PIECES as f64;
        let nearest = minimum(low, high, |t| square(at(t))).min(best.0);
        libm::pow(1000.0, libm::sqrt(nearest))
    })))
}

/// The minimum of `value` between `low` and `high`, where it is unimodal, by golden-section search.
fn minimum(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let mut inner = [high - RATIO * (high - low), low + RATIO * (high - low)];
    let mut values = inner.map(&value);
    for _ in 0..32 {
        if values[0] < values[1] {
            high = inner[1];
            inner = [high - RATIO * (high - low), inner[0]];
            values = [value(inner[0]), values[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + RATIO * (high - low)];
            values = [values[1], value(inner[1])];
        }
    }
    values[0].min(values[1])
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count.max(1) as f64
}

/// Nearest-rank percentile of sorted values: the smallest value that at least `share` of the values
/// are less than or equal to.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = libm::ceil(share * sorted.len() as f64) as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
