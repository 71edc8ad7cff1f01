//! The range of every value that is to be quantised, from frames.

mod histogram;

pub use histogram::{BINS, Histogram};

use std::collections::BTreeMap;

use pilotage_graph::{Graph, ValueId};

use crate::network::{Buffer, Network, NetworkError};
use crate::recipe::{CalibrationMethod, CalibrationRecipe};

/// How a limit is chosen from a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The largest magnitude.
    MinMax,
    /// The magnitude that so many percent do not exceed.
    Percentile(f64),
    /// Least Kullback-Leibler divergence.
    Entropy,
    /// Least squared error.
    Mse,
}

impl Method {
    /// What a recipe asks for.
    pub fn of(recipe: &CalibrationRecipe) -> Self {
        match recipe.method {
            CalibrationMethod::MinMax => Self::MinMax,
            CalibrationMethod::Percentile => Self::Percentile(recipe.percentile),
            CalibrationMethod::Entropy => Self::Entropy,
            CalibrationMethod::Mse => Self::Mse,
        }
    }

    /// The limit it chooses, above 0.
    pub fn limit(self, histogram: &Histogram) -> f32 {
        let limit = match self {
            Self::MinMax => histogram.limit,
            Self::Percentile(percent) => histogram.percentile(percent),
            Self::Entropy => histogram.least_divergence(),
            Self::Mse => histogram.least_squares(),
        };
        limit.min(histogram.limit)
    }
}

/// What was seen of one value, and what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// The largest magnitude kept: 127 levels of one scale.
    pub limit: f32,
    /// What was seen.
    pub histogram: Histogram,
}

impl Range {
    /// The size of one level.
    pub fn scale(&self) -> f32 {
        self.limit / 127.0
    }
}

/// Why there are no ranges.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The network gave no answers.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A value is infinite or not a number on some frame.
    #[error(
        "`{value}` is infinite or not a number on a calibration frame; the model cannot be \
         trusted with such pictures: look at the frames, or train it again"
    )]
    NotFinite {
        /// The value's name in the model.
        value: String,
    },
    /// A value is 0 on all frames.
    #[error(
        "`{value}` is 0 on all {frames} calibration frames, so it has no range; use frames of \
         driving, or check that this part of the model is alive"
    )]
    Zero {
        /// The value's name in the model.
        value: String,
        /// How many frames there were.
        frames: usize,
    },
}

/// The ranges of `values` on `frames` (rows of interleaved channels).
///
/// Goes over the frames twice: for the largest magnitudes, then for histograms
/// of [`BINS`] bins, so that memory does not grow with the frames.
///
/// # Errors
/// When the graph cannot be run on such frames, or a value has no range.
pub fn calibrate(
    graph: &Graph,
    channels_last: bool,
    values: &[ValueId],
    frames: &[&[u8]],
    method: Method,
) -> Result<BTreeMap<ValueId, Range>, CalibrateError> {
    let mut tapped = graph.clone();
    tapped.outputs = values.to_vec();
    let network = Network::new(&tapped, channels_last)?;

    let new = || vec![0.0_f32; values.len()];
    let parts = network.accumulate(frames, new, |limits, _, outputs| {
        for (limit, output) in limits.iter_mut().zip(outputs) {
            *limit = largest(*limit, output);
        }
    })?;
    let mut limits = new();
    for part in parts {
        for (limit, other) in limits.iter_mut().zip(part) {
            // A NaN wins over everything.
            *limit = match other > *limit || other.is_nan() {
                true => other,
                false => *limit,
            };
        }
    }
    for (&value, limit) in values.iter().zip(&limits) {
        let name = || graph.value(value).name.clone();
        if !limit.is_finite() {
            return Err(CalibrateError::NotFinite { value: name() });
        }
        // A scale that is no normal number would lose what it is to keep.
        if !(limit / 127.0).is_normal() {
            return Err(CalibrateError::Zero {
                value: name(),
                frames: frames.len(),
            });
        }
    }

    let new = || -> Vec<Histogram> { limits.iter().map(|&limit| Histogram::new(limit)).collect() };
    let parts = network.accumulate(frames, new, |histograms, _, outputs| {
        for (histogram, output) in histograms.iter_mut().zip(outputs) {
            histogram.add(output.as_f32());
        }
    })?;
    let mut histograms = new();
    for part in &parts {
        for (histogram, other) in histograms.iter_mut().zip(part) {
            histogram.merge(other);
        }
    }
    let ranges = histograms.into_iter().map(|histogram| Range {
        limit: method.limit(&histogram),
        histogram,
    });
    Ok(values.iter().copied().zip(ranges).collect())
}

/// The larger of `limit` and the magnitudes of `output`; NaN where any is.
fn largest(limit: f32, output: &Buffer) -> f32 {
    output.as_f32().iter().fold(limit, |most, x| {
        let x = x.abs();
        if x > most || x.is_nan() { x } else { most }
    })
}

#[cfg(test)]
mod tests;
