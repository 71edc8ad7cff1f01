//! The best possible time of each layer on this machine, and how near the engine is to it.

use pilotage_engine::plan::Layer;
use pilotage_engine::{CpuError, CpuOptions, InstructionSet, Numbers, peak, read_speed};
use serde::Serialize;

use super::passes::LayerTimes;

/// Larger than any cache, bytes.
const MOST_READ: usize = 1 << 28;

/// The measured limits of the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Limits {
    pub(super) arithmetic: Vec<Arithmetic>,
    pub(super) reading: Vec<Reading>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Arithmetic {
    /// `int8` or `fp32`.
    pub(super) precision: &'static str,
    pub(super) threads: usize,
    /// `None` for plain loops, whose instructions the compiler chooses.
    pub(super) multiply_adds_per_second: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Reading {
    /// As large as the plan's weights in memory, or larger than any cache.
    pub(super) bytes: usize,
    pub(super) threads: usize,
    pub(super) bytes_per_second: f64,
}

impl Limits {
    /// Measures the limits that the `layers` need with `options`: on one thread, and on all if
    /// there are several.
    pub(super) fn measure(layers: &[Layer], options: CpuOptions) -> Result<Self, CpuError> {
        let set = options.instruction_set.unwrap_or_else(InstructionSet::best);
        let mut threads = vec![1, options.threads];
        threads.dedup();
        let weights = layers.iter().map(bytes_in_memory);
        let bytes = weights.fold(0, usize::saturating_add).min(MOST_READ);
        let mut limits = Self {
            arithmetic: Vec::new(),
            reading: Vec::new(),
        };
        for threads in threads {
            for (numbers, precision) in [(Numbers::Int8, "int8"), (Numbers::Float32, "fp32")] {
                if layers
                    .iter()
                    .any(|layer| arithmetic(layer) == Some(precision))
                {
                    limits.arithmetic.push(Arithmetic {
                        precision,
                        threads,
                        multiply_adds_per_second: peak(set, numbers, threads)?,
                    });
                }
            }
            if bytes > 0 {
                limits.reading.push(Reading {
                    bytes,
                    threads,
                    bytes_per_second: read_speed(set, bytes, threads)?,
                });
            }
        }
        Ok(limits)
    }

    fn peak(&self, precision: &str, threads: usize) -> Option<f64> {
        let mut all = self.arithmetic.iter();
        all.find(|peak| peak.precision == precision && peak.threads == threads)?
            .multiply_adds_per_second
    }

    fn read_speed(&self, threads: usize) -> Option<f64> {
        let mut all = self.reading.iter();
        let found = all.find(|reading| reading.threads == threads)?;
        Some(found.bytes_per_second)
    }
}

/// The precision of a layer's multiplications: `int8` or `fp32`; `None` if it has none.
fn arithmetic(layer: &Layer) -> Option<&'static str> {
    match (layer.multiply_adds, layer.precision) {
        (0, _) => None,
        (_, "int8" | "int8-dynamic") => Some("int8"),
        _ => Some("fp32"),
    }
}

/// Weights in fp16 are converted to a wider type when the engine is made.
fn bytes_in_memory(layer: &Layer) -> usize {
    match layer.precision {
        "fp16" => layer.weight_bytes.saturating_mul(2),
        _ => layer.weight_bytes,
    }
}

/// A measured layer. Times are microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MeasuredLayer {
    #[serde(flatten)]
    pub(super) layer: Layer,
    pub(super) fastest_us: f64,
    pub(super) median_us: f64,
    /// Multiply-adds per second at its fastest, in billions.
    pub(super) gmacs: Option<f64>,
    /// `gmacs` as a share of the measured peak: 0 to about 1.
    pub(super) of_peak: Option<f64>,
    /// The longer of the time for its multiply-adds at the peak rate and the time to read its
    /// weights.
    pub(super) bound_us: Option<f64>,
    /// Whether the bound is the time to read its weights.
    pub(super) bound_by_reading: bool,
    /// The bound as a share of its fastest time: 1 is optimal.
    pub(super) of_bound: Option<f64>,
    /// Share of the sum of medians.
    pub(super) share: f64,
}

/// All layers together. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Total {
    pub(super) multiply_adds: u64,
    pub(super) weight_bytes: usize,
    /// The sum of the layers' fastest times.
    pub(super) fastest_us: f64,
    pub(super) median_us: f64,
    /// Layers without multiplications count as zero. `None` if a peak is unknown.
    pub(super) bound_us: Option<f64>,
}

/// Compares the measured times with the limits.
pub(super) fn layers(
    layers: Vec<Layer>,
    measured: &[LayerTimes],
    limits: &Limits,
    threads: usize,
) -> Vec<MeasuredLayer> {
    let sum: f64 = measured.iter().map(|layer| layer.times.p50_us).sum();
    let layers = layers.into_iter().zip(measured);
    layers
        .map(|(layer, LayerTimes { times, shared })| {
            let threads = if *shared { threads } else { 1 };
            let precision = arithmetic(&layer);
            let peak = precision.and_then(|precision| limits.peak(precision, threads));
            let fastest = times.fastest_us;
            let adds = layer.multiply_adds as f64;
            let computing = peak.map(|peak| adds / peak * 1e6);
            let reading = match bytes_in_memory(&layer) {
                0 => Some(0.0),
                bytes => (limits.read_speed(threads)).map(|speed| bytes as f64 / speed * 1e6),
            };
            let bound = computing.zip(reading).map(|(a, b)| a.max(b));
            let measurable = fastest > 0.0;
            let gmacs = (precision.is_some() && measurable).then(|| adds / fastest * 1e-3);
            MeasuredLayer {
                fastest_us: fastest,
                median_us: times.p50_us,
                gmacs,
                of_peak: gmacs.zip(peak).map(|(gmacs, peak)| gmacs * 1e9 / peak),
                bound_us: bound,
                bound_by_reading: computing.zip(reading).is_some_and(|(a, b)| b > a),
                of_bound: bound.filter(|_| measurable).map(|bound| bound / fastest),
                share: times.p50_us / sum.max(f64::MIN_POSITIVE),
                layer,
            }
        })
        .collect()
}

/// The sums of `layers`.
pub(super) fn total(layers: &[MeasuredLayer]) -> Total {
    let multiplying = layers.iter().filter(|layer| layer.layer.multiply_adds > 0);
    Total {
        multiply_adds: (layers.iter()).fold(0, |sum, layer| {
            sum.saturating_add(layer.layer.multiply_adds)
        }),
        weight_bytes: (layers.iter())
            .fold(0, |sum, layer| sum.saturating_add(layer.layer.weight_bytes)),
        fastest_us: layers.iter().map(|layer| layer.fastest_us).sum(),
        median_us: layers.iter().map(|layer| layer.median_us).sum(),
        bound_us: multiplying.map(|layer| layer.bound_us).sum(),
    }
}
