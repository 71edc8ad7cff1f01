//! Averages whose definition differs in JdeRobot's Behavior Metrics
//! (<https://github.com/JdeRobot/BehaviorMetrics>), for comparison with published tables.

use serde::{Deserialize, Serialize};

use super::LoopTiming;

/// The averages of a drive as Behavior Metrics computes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BehaviorMetricsAverages {
    /// Metres driven, divided by the difference of the simulated clock's whole seconds at the end
    /// and at the start, m/s (`get_average_speed` in `utils/metrics.py`, which reads `clock.secs`).
    /// Up to a second's length above the true average. `None` within the first second.
    pub average_speed: Option<f64>,
    /// Mean seconds of inference without the first ten and the last ten (`inference_times[10:-10]`
    /// in `pilot.py`). `None` with at most twenty.
    pub mean_inference_time: Option<f64>,
}

impl BehaviorMetricsAverages {
    /// The averages of a drive of `distance` metres in `time` simulated seconds.
    pub fn of(distance: f64, time: f64, timing: Option<&LoopTiming>) -> Self {
        let seconds = time.floor();
        Self {
            average_speed: (seconds >= 1.0).then(|| distance / seconds),
            mean_inference_time: timing.and_then(LoopTiming::inference_without_ends),
        }
    }
}
