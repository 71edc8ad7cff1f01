//! The durations of a loop's iterations.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::pilot::Step;

/// Collects the duration of each iteration of the loop. Recording allocates nothing.
#[derive(Debug, Clone)]
pub struct LoopTiming {
    vision: Series,
    inference: Series,
    device: Series,
    thinking: Series,
    reaction: Series,
    missed: u64,
    fallbacks: u64,
    /// The durations of inference without those at the ends.
    middle: Middle,
}

impl LoopTiming {
    /// Without any iterations.
    pub fn new() -> Self {
        Self {
            vision: Series::new(),
            inference: Series::new(),
            device: Series::new(),
            thinking: Series::new(),
            reaction: Series::new(),
            missed: 0,
            fallbacks: 0,
            middle: Middle::default(),
        }
    }

    /// Adds one iteration of the loop.
    pub fn record(&mut self, step: &Step) {
        self.vision.record(step.vision);
        self.inference.record(step.inference);
        self.middle.record(step.inference);
        self.thinking.record(step.thinking);
        self.missed += step.missed;
        self.fallbacks += u64::from(step.fallback);
        if let Some(device) = step.device {
            self.device.record(device);
        }
        if let Some(reaction) = step.reaction {
            self.reaction.record(reaction);
        }
    }

    /// The 99th percentile of the time from frame to command so far.
    pub fn thinking_p99(&self) -> Duration {
        Duration::from_nanos(self.thinking.nanos(0.99))
    }

    /// The averages for the simulator's metrics, with the run's real-time factor (simulated seconds
    /// per second of wall clock).
    pub fn averages(&self, real_time_factor: f64) -> pilotage_simulator::LoopTiming {
        pilotage_simulator::LoopTiming {
            loop_seconds: self.thinking.mean() * 1e-9,
            inference_seconds: self.inference.mean() * 1e-9,
            real_time_factor,
        }
    }

    /// Mean seconds of inference without the first [`ENDS`] and the last ones. `None` if none is
    /// left.
    pub(super) fn inference_without_ends(&self) -> Option<f64> {
        let count = self.middle.count.checked_sub(2 * ENDS as u64)?;
        (count > 0).then(|| self.middle.sum as f64 / count as f64 * 1e-9)
    }

    /// The figures for the report.
    pub fn summary(&self) -> TimingSummary {
        TimingSummary {
            frames: self.thinking.histogram.len(),
            missed_frames: self.missed,
            thinking: self.thinking.spread(),
            vision: self.vision.spread(),
            inference: self.inference.spread(),
            device: self.device.known(),
            reaction: self.reaction.known(),
            reactions: self.reaction.histogram.len(),
            fallback_frames: self.fallbacks,
        }
    }
}

impl Default for LoopTiming {
    fn default() -> Self {
        Self::new()
    }
}

/// The durations that Behavior Metrics leaves out of its mean, at the start and at the end.
const ENDS: usize = 10;

/// The sum of all durations but the first [`ENDS`] and the last ones, which are not known to be the
/// last before the end.
#[derive(Debug, Clone, Copy, Default)]
struct Middle {
    count: u64,
    /// Nanoseconds of the latest ones, in a ring.
    latest: [u64; ENDS],
    sum: u64,
}

impl Middle {
    fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = (self.count % ENDS as u64) as usize;
        // The one that leaves the ring is of the middle, unless it is one of the first.
        if self.count >= 2 * ENDS as u64 {
            self.sum = self.sum.saturating_add(self.latest[place]);
        }
        self.latest[place] = nanos;
        self.count += 1;
    }
}

/// One kind of duration: a histogram with three significant digits, the exact sum and maximum.
#[derive(Debug, Clone)]
struct Series {
    histogram: Histogram<u64>,
    sum: u64,
    max: u64,
}

/// The least value that hdrhistogram distinguishes, nanoseconds. Its unit is the power of two below
/// this, so the resolution is half a microsecond.
const LEAST: u64 = 1_000;
/// Longer durations count as this, nanoseconds; the maximum stays exact.
pub(super) const MOST: u64 = 10_000_000_000;
const DIGITS: u8 = 3;

impl Series {
    fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants, and every test of this module constructs them"
        )]
        let histogram = Histogram::new_with_bounds(LEAST, MOST, DIGITS)
            .expect("the bounds of the loop's histogram are valid");
        Self {
            histogram,
            sum: 0,
            max: 0,
        }
    }

    fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos.min(MOST));
        self.sum = self.sum.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    fn nanos(&self, quantile: f64) -> u64 {
        // The histogram returns the upper end of a bucket, which may exceed the maximum.
        self.histogram.value_at_quantile(quantile).min(self.max)
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.histogram.len().max(1) as f64
    }

    /// The spread, if there is any duration.
    fn known(&self) -> Option<Spread> {
        (!self.histogram.is_empty()).then(|| self.spread())
    }

    fn spread(&self) -> Spread {
        let micros = |nanos: u64| nanos as f64 * 1e-3;
        Spread {
            mean_us: self.mean() * 1e-3,
            p50_us: micros(self.nanos(0.5)),
            p99_us: micros(self.nanos(0.99)),
            p999_us: micros(self.nanos(0.999)),
            max_us: micros(self.max),
        }
    }
}

/// The durations of the loop's parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingSummary {
    /// Iterations of the loop: the frames that were taken.
    pub frames: u64,
    /// Frames that were missed.
    pub missed_frames: u64,
    /// From frame to command, waiting not counted.
    pub thinking: Spread,
    /// From frame to the network's input.
    pub vision: Spread,
    /// The engine's own time.
    pub inference: Spread,
    /// The part of it on the device, where that differs (a GPU).
    pub device: Option<Spread>,
    /// From a frame's capture until the guard acts on its command.
    pub reaction: Option<Spread>,
    /// Commands whose reaction is known: the guard had not yet acted on a newer one.
    pub reactions: u64,
    /// Frames that the fallback answered in the engine's place.
    pub fallback_frames: u64,
}

/// The spread of a duration, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
    /// The 99.9th percentile.
    pub p999_us: f64,
    /// The maximum.
    pub max_us: f64,
}
