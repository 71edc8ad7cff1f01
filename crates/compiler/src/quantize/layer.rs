//! The integers of one layer.

/// The largest product of two 8-bit integers.
const LARGEST_PRODUCT: i64 = 128 * 128;

/// A layer's weights and bias in integers, with a scale for each unit (output channel).
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// The weights' scale for each unit.
    pub scales: Vec<f32>,
    /// The weights in their original order, -127 to 127.
    pub weights: Vec<i8>,
    /// The bias with the scale input scale times weight scale.
    pub bias: Option<Vec<i32>>,
}

impl QuantizedLayer {
    /// Quantizes weights of `shape`, whose units are along `axis`. `bias` has one element for each
    /// unit; with it comes the scale of the layer's input. A unit's scale is its largest weight
    /// divided by 127; it is larger if the unit's sums would not fit 32 bits otherwise. With
    /// `one_scale`, all units have the largest scale of them, so that weights that are equal stay
    /// equal: a layer of few different weights has no more different integers.
    ///
    /// # Panics
    /// If `axis` is outside `shape`, or the sizes do not match `shape`.
    pub fn new(
        weights: &[f32],
        (shape, axis): (&[usize], usize),
        bias: Option<(&[f32], f32)>,
        one_scale: bool,
    ) -> Self {
        let units = shape[axis];
        let depth = weights.len().checked_div(units).unwrap_or(0);
        let inner: usize = shape[axis + 1..].iter().product();
        // Runs of weights of one unit.
        let runs = || weights.chunks(inner.max(1)).zip((0..units).cycle());

        let mut largest = vec![0.0_f32; units];
        for (run, unit) in runs() {
            let most = |most: f32, weight: &f32| most.max(weight.abs());
            largest[unit] = run.iter().fold(largest[unit], most);
        }
        if one_scale {
            let most = largest.iter().copied().fold(0.0, f32::max);
            largest.fill(most);
        }
        let room = (i64::from(i32::MAX) - LARGEST_PRODUCT * depth as i64).max(1);
        let mut scales: Vec<f32> = (largest.iter().enumerate())
            .map(|(unit, &largest)| {
                let mut scale = match (largest / 127.0).is_normal() {
                    true => largest / 127.0,
                    // All weights of the unit are zero or subnormal.
                    false => 1.0,
                };
                // A unit with small weights and a large bias: widen its scale so that its sums
                // fit 32 bits.
                if let Some((bias, input)) = bias {
                    let least = f64::from(bias[unit].abs()) / f64::from(input) / room as f64;
                    scale = scale.max((least * 1.001) as f32);
                }
                scale
            })
            .collect();
        if one_scale {
            let most = scales.iter().copied().fold(0.0, f32::max);
            scales.fill(most);
        }
        let mut quantized = Vec::with_capacity(weights.len());
        for (run, unit) in runs() {
            let scale = scales[unit];
            quantized.extend(run.iter().map(|weight| {
                let quantized = (weight / scale).round_ties_even();
                quantized.clamp(-127.0, 127.0) as i8
            }));
        }
        let bias = bias.map(|(bias, input)| {
            let each = bias.iter().zip(&scales).map(|(&bias, &scale)| {
                // The scales were chosen so that this fits 32 bits. The cast saturates.
                let unit = f64::from(input) * f64::from(scale);
                (f64::from(bias) / unit).round_ties_even() as i32
            });
            each.collect()
        });
        Self {
            scales,
            weights: quantized,
            bias,
        }
    }
}
