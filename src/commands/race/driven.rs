//! One drive of a race, and its result.

use std::sync::atomic::{AtomicBool, Ordering};

use pilotage_simulator::PathPoint;
use serde::{Deserialize, Serialize};

use crate::drive::{Request, Session};
use crate::machine::Machine;
use crate::report::{BehaviorMetricsAverages, DriveReport};

/// The result of one drive, in SI units unless a name states another unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Driven {
    /// Whether every lap was driven.
    pub finished: bool,
    /// How the drive ended, in words: where the car left the road.
    pub outcome: String,
    pub circuit_length: f64,
    /// Of one lap.
    pub percentage_completed: f64,
    pub lap_time: Option<f64>,
    /// Simulated seconds.
    pub time: f64,
    pub distance: f64,
    pub average_speed: f64,
    pub deviation_mean: f64,
    pub deviation_p95: f64,
    pub deviation_max: f64,
    pub position_deviation_mae: Option<f64>,
    pub brain_iteration_frequency: Option<f64>,
    pub mean_inference_time: Option<f64>,
    pub real_time_factor: Option<f64>,
    /// The averages as Behavior Metrics computes them.
    pub behavior_metrics: BehaviorMetricsAverages,
    /// From frame to command on this machine, which is charged to the car if the latency is
    /// measured.
    pub thinking_p50_us: f64,
    pub thinking_p99_us: f64,
    pub frames: u64,
    /// Frames that the loop did not get: dropped, or passed over while it was busy.
    pub frames_missed: u64,
    pub stops: u64,
    /// What ran the engine, and on which processor.
    pub backend: String,
    pub processor: String,
}

impl Driven {
    /// `None` if the report lacks what a simulated drive of an engine has.
    fn of(report: &DriveReport, processor: &str) -> Option<Self> {
        let (metrics, timing) = (report.metrics.as_ref()?, report.timing.as_ref()?);
        let finite = |value: Option<f64>| value.filter(|it| it.is_finite());
        Some(Self {
            finished: report.completed?,
            outcome: report.outcome.clone(),
            circuit_length: report.circuit.as_ref()?.circuit_length,
            percentage_completed: metrics.percentage_completed,
            lap_time: metrics.lap_time,
            time: metrics.time,
            distance: metrics.distance,
            average_speed: metrics.average_speed,
            deviation_mean: metrics.deviation_mean,
            deviation_p95: metrics.deviation_p95,
            deviation_max: metrics.deviation_max,
            // 1000 to the distance overflows where the car was far away.
            position_deviation_mae: finite(metrics.position_deviation_mae),
            brain_iteration_frequency: finite(metrics.brain_iteration_frequency),
            mean_inference_time: finite(metrics.mean_inference_time),
            real_time_factor: finite(metrics.real_time_factor),
            behavior_metrics: report.behavior_metrics.unwrap_or_default(),
            thinking_p50_us: timing.thinking.p50_us,
            thinking_p99_us: timing.thinking.p99_us,
            frames: timing.frames,
            frames_missed: timing.missed_frames,
            stops: report.guard.stops,
            backend: report.engine.as_ref()?.backend.clone(),
            processor: processor.to_owned(),
        })
    }
}

/// Drives as requested. `None` if the drive was interrupted: then there is no result.
///
/// # Errors
/// Fails if something that the drive needs does not exist or is not valid.
pub(super) fn drive(
    request: Request,
    interrupted: &AtomicBool,
) -> anyhow::Result<Option<(Driven, Vec<PathPoint>)>> {
    let processor = Machine::here().processor;
    let mut session = Session::start(request)?;
    let ending = loop {
        if interrupted.load(Ordering::Relaxed) {
            // The guard of a simulated car ends with the session.
            return Ok(None);
        }
        if let Some(ending) = session.step() {
            break ending;
        }
    };
    let report = session.conclude(&ending)?;
    Ok(Driven::of(&report, &processor).map(|driven| (driven, session.path())))
}
