//! Finds the range of every value to be quantized, from frames.

mod histogram;

pub use histogram::{BINS, Histogram};

use std::collections::BTreeMap;

use pilotage_engine::TensorRef;
use pilotage_graph::{Graph, ValueId};

use crate::cache::Rows;
use crate::network::{Network, NetworkError};
use crate::progress::Run;
use crate::recipe::{CalibrationMethod, CalibrationRecipe};

/// How a limit is chosen from a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The largest magnitude.
    MinMax,
    /// The magnitude that the given percentage of values does not exceed.
    Percentile(f64),
    /// The limit with the least Kullback-Leibler divergence.
    Entropy,
    /// The limit with the least squared error.
    Mse,
}

impl Method {
    /// The method that a recipe selects, or the default.
    pub fn of(recipe: &CalibrationRecipe) -> Self {
        Self::named(recipe.method.unwrap_or_default(), recipe)
    }

    /// This method, with the recipe's percentage.
    pub(crate) fn named(method: CalibrationMethod, recipe: &CalibrationRecipe) -> Self {
        match method {
            CalibrationMethod::MinMax => Self::MinMax,
            CalibrationMethod::Percentile => Self::Percentile(recipe.percentile),
            CalibrationMethod::Entropy => Self::Entropy,
            CalibrationMethod::Mse => Self::Mse,
        }
    }

    /// The limit for a histogram, greater than 0.
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

/// The range of a value and the distribution that it was chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// The largest magnitude that the range covers: 127 times the scale.
    pub limit: f32,
    /// The observed distribution.
    pub histogram: Histogram,
}

impl Range {
    /// The range of the same distribution by another method.
    pub(crate) fn by(&self, method: Method) -> Self {
        Self {
            limit: method.limit(&self.histogram),
            histogram: self.histogram.clone(),
        }
    }

    /// The scale of the quantized values.
    pub fn scale(&self) -> f32 {
        self.limit / 127.0
    }
}

/// Why calibration found no ranges.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The network could not be run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A value is infinite or NaN on some frame.
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
         driving, or check this part of the model"
    )]
    Zero {
        /// The value's name in the model.
        value: String,
        /// How many frames there were.
        frames: usize,
    },
}

/// Finds the ranges of `values` on `frames` (rows of interleaved channels).
///
/// Runs over the frames twice: for the largest magnitudes, then for histograms of [`BINS`] bins.
/// This way the memory use does not grow with the number of frames.
///
/// # Errors
/// If the graph cannot be run on the frames, or a value has no range.
pub fn calibrate(
    graph: &Graph,
    channels_last: bool,
    values: &[ValueId],
    frames: &[&[u8]],
    method: Method,
    run: Run<'_>,
) -> Result<BTreeMap<ValueId, Range>, CalibrateError> {
    let network = Network::measuring(graph, channels_last, values.to_vec())?;
    let limits = limits(&network, values.len(), frames, run)?;
    for (&value, &limit) in values.iter().zip(&limits) {
        let name = || graph.value(value).name.clone();
        if !limit.is_finite() {
            return Err(CalibrateError::NotFinite { value: name() });
        }
        if !has_range(limit) {
            return Err(CalibrateError::Zero {
                value: name(),
                frames: frames.len(),
            });
        }
    }
    let ranges = ranges(&network, &limits, frames, method, run)?;
    Ok(values.iter().copied().zip(ranges).collect())
}

/// Like [`calibrate`], but leaves out values without a range.
///
/// # Errors
/// If the graph cannot be run on the frames.
pub(crate) fn seen(
    graph: &Graph,
    channels_last: bool,
    values: &[ValueId],
    frames: &[&[u8]],
    method: Method,
    run: Run<'_>,
) -> Result<BTreeMap<ValueId, Range>, CalibrateError> {
    let network = Network::measuring(graph, channels_last, values.to_vec())?;
    let limits = limits(&network, values.len(), frames, run)?;
    let found = values.iter().copied().zip(limits);
    let (values, limits): (Vec<ValueId>, Vec<f32>) =
        found.filter(|&(_, limit)| has_range(limit)).unzip();
    let network = Network::measuring(graph, channels_last, values.clone())?;
    let ranges = ranges(&network, &limits, frames, method, run)?;
    Ok(values.into_iter().zip(ranges).collect())
}

/// The largest magnitude of each of `values`, for pixels minus `centre`. NaN if any element is
/// NaN.
pub(crate) fn magnitudes(
    graph: &Graph,
    channels_last: bool,
    centre: u8,
    values: &[ValueId],
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<f32>, NetworkError> {
    let mut network = Network::measuring(graph, channels_last, values.to_vec())?;
    network.centre = centre;
    // A check of an engine is never that of an earlier one.
    limits(&network, values.len(), frames, run.anew())
}

/// Whether the scale for this limit is a normal number. A subnormal scale would lose precision.
fn has_range(limit: f32) -> bool {
    (limit / 127.0).is_normal()
}

/// The largest magnitude of each of `count` outputs. NaN if any element is NaN.
fn limits(
    network: &Network,
    count: usize,
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<f32>, NetworkError> {
    let fits = |rows: &Rows| matches!(&rows[..], [row] if row.len() == count);
    let rows = network.measured(("magnitudes", &[]), frames, run, fits, || {
        let limits = measure_limits(network, count, frames, run)?;
        Ok(vec![
            limits.iter().map(|limit| limit.to_bits().into()).collect(),
        ])
    })?;
    let limits = rows.iter().flatten();
    Ok(limits.map(|&bits| f32::from_bits(bits as u32)).collect())
}

fn measure_limits(
    network: &Network,
    count: usize,
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<f32>, NetworkError> {
    let new = || vec![0_u32; count];
    let parts = network.observe(frames, run, new, |largest, output, _, data| {
        largest[output] = largest[output].max(largest_bits(data));
    })?;
    let mut largest = new();
    for part in parts {
        for (largest, other) in largest.iter_mut().zip(part) {
            *largest = other.max(*largest);
        }
    }
    Ok(largest.into_iter().map(f32::from_bits).collect())
}

/// The ranges of outputs with the given largest magnitudes.
fn ranges(
    network: &Network,
    limits: &[f32],
    frames: &[&[u8]],
    method: Method,
    run: Run<'_>,
) -> Result<Vec<Range>, NetworkError> {
    let more: Vec<u8> = limits.iter().flat_map(|x| x.to_le_bytes()).collect();
    let fits = |rows: &Rows| rows.len() == limits.len() && rows.iter().all(|row| is_counts(row));
    let rows = network.measured(("histograms", &more), frames, run, fits, || {
        let histograms = measure_histograms(network, limits, frames, run)?;
        Ok(histograms.into_iter().map(|it| it.counts).collect())
    })?;
    let ranges = rows.into_iter().zip(limits).map(|(counts, &limit)| {
        let histogram = Histogram { limit, counts };
        Range {
            limit: method.limit(&histogram),
            histogram,
        }
    });
    Ok(ranges.collect())
}

/// Whether these are the counts of a histogram. Their sums cannot overflow.
fn is_counts(row: &[u64]) -> bool {
    row.len() == BINS && row.iter().all(|&count| count < 1 << 48)
}

fn measure_histograms(
    network: &Network,
    limits: &[f32],
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<Histogram>, NetworkError> {
    let new = || -> Vec<Histogram> { limits.iter().map(|&limit| Histogram::new(limit)).collect() };
    let parts = network.observe(frames, run, new, |histograms, output, _, data| {
        if let TensorRef::F32(data) = data {
            histograms[output].add(data);
        }
    })?;
    let mut histograms = new();
    for part in &parts {
        for (histogram, other) in histograms.iter_mut().zip(part) {
            histogram.merge(other);
        }
    }
    Ok(histograms)
}

/// The bits of the largest magnitude of `data`. Magnitudes are ordered as their bits are, and a NaN is
/// beyond all numbers.
fn largest_bits(data: TensorRef<'_>) -> u32 {
    let TensorRef::F32(data) = data else { return 0 };
    // Signed, because all of x86-64 compares these in vectors.
    let magnitude = |x: &f32| (x.to_bits() & i32::MAX as u32) as i32;
    data.iter().map(magnitude).fold(0, i32::max) as u32
}

#[cfg(test)]
mod tests;
