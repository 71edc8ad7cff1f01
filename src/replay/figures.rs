//! The errors of predictions.

use serde::Serialize;

use super::compare::Pair;

/// The longest lag that is looked for, seconds; frames where there are no times.
const LONGEST_LAG: f64 = 1.0;
const LONGEST_LAG_FRAMES: usize = 20;
const MOST_LAGS: usize = 200;
/// A difference of correlations that is none.
const ROUNDING: f64 = 1e-9;
/// A longer interval, in usual ones, is a gap.
const GAP: f64 = 3.0;

/// How far predictions are from what was recorded, in the quantity's unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub unit: &'static str,
    /// Compared frames.
    pub frames: usize,
    /// Answers that are no numbers; the guard refuses such commands.
    pub not_finite: usize,
    #[serde(flatten)]
    pub errors: Errors,
    /// The mean of predicted minus recorded: positive is too far left, or too fast.
    pub bias: f64,
    /// The largest absolute error.
    pub largest: f64,
    /// Pearson's coefficient; `None` if one of them is constant.
    pub correlation: Option<f64>,
    /// `None` if the predictions follow the recording at no lag.
    pub lag: Option<Lag>,
    /// The errors of an engine that always answers 0; only where 0 is straight ahead.
    pub always_straight: Option<Errors>,
    /// The errors of an engine that always answers the mean of the recording.
    pub always_mean: Errors,
}

/// Mean absolute error, and the root of the mean squared error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Errors {
    pub mae: f64,
    pub rmse: f64,
}

/// How much later the predictions follow the recording: the lag at which both correlate best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Lag {
    /// Negative if the predictions come first.
    pub frames: i64,
    /// `None` if the recording has no times.
    pub ms: Option<f64>,
    /// The correlation at this lag.
    pub correlation: f64,
}

impl Errors {
    fn of(errors: impl ExactSizeIterator<Item = f64>) -> Self {
        let count = errors.len().max(1) as f64;
        let (mut absolute, mut squares) = (0.0, 0.0);
        for error in errors {
            absolute += error.abs();
            squares += error * error;
        }
        Self {
            mae: absolute / count,
            rmse: (squares / count).sqrt(),
        }
    }
}

impl Figures {
    /// `None` without pairs. `is_lateral`: 0 is straight ahead.
    pub fn of(
        pairs: &[Pair],
        not_finite: usize,
        unit: &'static str,
        is_lateral: bool,
    ) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let count = pairs.len() as f64;
        let mean = pairs.iter().map(|pair| pair.recorded).sum::<f64>() / count;
        let always = |value: f64| Errors::of(pairs.iter().map(move |pair| value - pair.recorded));
        let largest = pairs.iter().map(|pair| pair.error().abs());
        Some(Self {
            unit,
            frames: pairs.len(),
            not_finite,
            errors: Errors::of(pairs.iter().map(Pair::error)),
            bias: pairs.iter().map(Pair::error).sum::<f64>() / count,
            largest: largest.fold(0.0, f64::max),
            correlation: correlation(&[pairs], 0).map(|(it, _)| it),
            lag: lag(pairs),
            always_straight: is_lateral.then(|| always(0.0)),
            always_mean: always(mean),
        })
    }
}

/// The usual interval between frames, seconds.
pub(crate) fn period(pairs: &[Pair]) -> Option<f64> {
    let intervals = pairs
        .windows(2)
        .filter_map(|two| Some(two[1].time? - two[0].time?));
    let mut intervals: Vec<f64> = intervals.filter(|&it| it > 0.0).collect();
    intervals.sort_by(f64::total_cmp);
    intervals.get(intervals.len() / 2).copied()
}

/// Runs of frames without gaps.
pub(crate) fn runs(pairs: &[Pair]) -> Vec<&[Pair]> {
    let period = period(pairs);
    let is_next = |one: &Pair, next: &Pair| {
        let passed = match (one.time, next.time, period) {
            (Some(one), Some(next), Some(period)) => (next - one) / period,
            _ => 1.0,
        };
        next.index == one.index + 1 && (0.0..=GAP).contains(&passed)
    };
    pairs.chunk_by(is_next).collect()
}

fn lag(pairs: &[Pair]) -> Option<Lag> {
    let period = period(pairs);
    let longest = match period {
        Some(period) => (LONGEST_LAG / period).ceil() as usize,
        None => LONGEST_LAG_FRAMES,
    };
    let longest = longest.clamp(1, MOST_LAGS) as i64;
    let runs = runs(pairs);
    let at = |lag: i64| {
        // Few pairs correlate by chance.
        let found = correlation(&runs, lag).filter(|(_, count)| 2 * count >= pairs.len());
        found.map(|(correlation, _)| correlation)
    };
    let mut best: Option<(i64, f64)> = None;
    // Of equal ones the shortest.
    let lags = std::iter::once(0).chain((1..=longest).flat_map(|lag| [lag, -lag]));
    for lag in lags {
        let Some(correlation) = at(lag) else {
            continue;
        };
        if best.is_none_or(|(_, best)| correlation > best + ROUNDING) {
            best = Some((lag, correlation));
        }
    }
    let (frames, correlation) = best?;
    // Beyond the last lag there may be better ones.
    let is_peak = at(frames - 1).is_some() && at(frames + 1).is_some() && frames.abs() < longest;
    (correlation > 0.0 && is_peak).then(|| Lag {
        frames,
        ms: period.map(|period| frames as f64 * period * 1e3),
        correlation,
    })
}

/// The correlation of the recording with the predictions `lag` frames later, over all runs, and the
/// number of pairs. `None` if one of them is constant.
fn correlation(runs: &[&[Pair]], lag: i64) -> Option<(f64, usize)> {
    let skip = usize::try_from(lag.unsigned_abs()).ok()?;
    let pairs = || {
        let both = runs.iter().map(move |run| {
            let shorter = run.len().saturating_sub(skip);
            match lag >= 0 {
                true => (&run[..shorter], &run[run.len() - shorter..]),
                false => (&run[run.len() - shorter..], &run[..shorter]),
            }
        });
        both.flat_map(|(recorded, predicted)| {
            let recorded = recorded.iter().map(|pair| pair.recorded);
            recorded.zip(predicted.iter().map(|pair| pair.predicted))
        })
    };
    let (mut count, mut sums) = (0_usize, [0.0; 2]);
    for (recorded, predicted) in pairs() {
        count += 1;
        sums[0] += recorded;
        sums[1] += predicted;
    }
    let means = sums.map(|sum| sum / count.max(1) as f64);
    let (mut product, mut squares) = (0.0, [0.0; 2]);
    for (recorded, predicted) in pairs() {
        let (recorded, predicted) = (recorded - means[0], predicted - means[1]);
        product += recorded * predicted;
        squares[0] += recorded * recorded;
        squares[1] += predicted * predicted;
    }
    // Rounding leaves a little of constants.
    let varies = |axis: usize| {
        let size = means[axis].abs().max(1e-6);
        squares[axis] > count as f64 * (1e-9 * size) * (1e-9 * size)
    };
    let is_defined = count > 1 && varies(0) && varies(1);
    is_defined.then(|| (product / (squares[0] * squares[1]).sqrt(), count))
}

#[cfg(test)]
mod tests;
