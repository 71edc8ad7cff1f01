//! Fake quantization in the engine's arithmetic (`Epilogue` in `pilotage_engine::plan`).
//!
//! A layer multiplies integers that are stored as f32. All partial sums stay below 2^24 (see
//! [`exact_parts`]), so that f32 holds them exactly and their order does not matter. What follows
//! is the engine's epilogue, operation for operation: the sums with the bias are those of int32,
//! converted to f32, multiplied by one f32, rounded half to even and clamped.
//!
//! Gradients pass through the rounding unchanged (Bengio, Léonard, Courville, 2013) and end at
//! the limits. The gradient of a scale is that of LSQ (Esser et al., "Learned Step Size
//! Quantization", ICLR 2020).

/// f32 holds every integer up to this.
const EXACT: f32 = 16_777_216.0;
/// The largest magnitude of an int8.
const LARGEST: f32 = 128.0;

/// 1.5 * 2^23: an f32 of this magnitude has no fraction.
const NO_FRACTION: f32 = 12_582_912.0;

/// Rounds half to even, for magnitudes below 2^22. Unlike `round_ties_even`, this is no call of a
/// function where the processor's baseline has no instruction for it.
#[inline(always)]
fn round(x: f32) -> f32 {
    (x + NO_FRACTION) - NO_FRACTION
}

/// How a layer's sums become its outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Epilogue {
    /// One for each unit.
    pub(crate) bias: Vec<i32>,
    /// One for each unit.
    pub(crate) multiplier: Vec<f32>,
    /// The output's scale and limits in quantized values; `None` for float outputs.
    pub(crate) rounded: Option<Rounding>,
    /// Whether negative float outputs become 0.
    pub(crate) relu: bool,
}

/// Rounding to integers between limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rounding {
    pub(crate) scale: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// What a step observed about the scale of its output.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Observed {
    /// The largest magnitude before rounding, in the value's own units.
    pub(crate) largest: f32,
    /// The loss's gradient by the scale.
    pub(crate) gradient: f64,
}

impl Rounding {
    /// The limits of int8.
    pub(crate) fn int8(scale: f32) -> Self {
        Self {
            scale,
            low: -128.0,
            high: 127.0,
        }
    }

    /// The quantized value of a quotient by the scale.
    #[inline(always)]
    fn quantized(self, quotient: f32) -> f32 {
        // The limits are integers, so clamping may come first. The engine turns NaN to 0.
        let rounded = round(quotient.clamp(self.low, self.high));
        if rounded.is_nan() { 0.0 } else { rounded }
    }

    /// The magnitude of a quotient as far as the range should include it: below a lower limit of
    /// 0, nothing.
    #[inline(always)]
    fn reach(self, quotient: f32) -> f32 {
        if self.low < 0.0 {
            quotient.abs()
        } else {
            quotient
        }
    }

    /// Masks the gradient of one element and returns its gradient by the scale.
    #[inline(always)]
    fn pull(self, quotient: f32, gradient: &mut f32) -> f32 {
        let g = *gradient;
        if quotient < self.low {
            *gradient = 0.0;
            g * self.low
        } else if quotient > self.high {
            *gradient = 0.0;
            g * self.high
        } else {
            g * (round(quotient) - quotient)
        }
    }

    /// Rounds `x` to multiples of the scale. Returns the largest magnitude.
    pub(crate) fn forward(self, x: &[f32], y: &mut [f32]) -> f32 {
        let mut largest = 0.0_f32;
        for (y, x) in y.iter_mut().zip(x) {
            largest = largest.max(x.abs());
            *y = self.quantized(x / self.scale) * self.scale;
        }
        largest
    }

    /// Masks the gradients of [`forward`](Self::forward) and returns the scale's gradient.
    pub(crate) fn backward(self, x: &[f32], gradient: &mut [f32]) -> f64 {
        let both = gradient.iter_mut().zip(x);
        both.map(|(g, x)| f64::from(self.pull(x / self.scale, g)))
            .sum()
    }
}

impl Epilogue {
    /// Turns exact sums of products into outputs, in place. `sums` are the parts of the sums; the
    /// outputs replace the first part, and `quotients` receives the outputs before rounding,
    /// divided by the scale. Returns the largest magnitude before rounding.
    pub(crate) fn forward(&self, sums: &mut [Vec<f32>], len: usize, quotients: &mut [f32]) -> f32 {
        let units = self.multiplier.len();
        let Some((first, others)) = sums.split_first_mut() else {
            return 0.0;
        };
        let mut largest = 0.0_f32;
        if units == 0 {
            return largest;
        }
        for start in (0..len).step_by(units) {
            let outputs = &mut first[start..start + units];
            let quotients = &mut quotients[start..start + units];
            let numbers = self.bias.iter().zip(&self.multiplier);
            let values = outputs.iter_mut().zip(quotients);
            for (unit, ((y, quotient), (&bias, &multiplier))) in values.zip(numbers).enumerate() {
                // Sums of integers, which are exact.
                let mut sum = *y as i32;
                for part in others.iter() {
                    sum = sum.wrapping_add(part[start + unit] as i32);
                }
                let value = sum.wrapping_add(bias) as f32 * multiplier;
                *quotient = value;
                *y = match self.rounded {
                    Some(rounding) => {
                        largest = largest.max(rounding.reach(value));
                        rounding.quantized(value) * rounding.scale
                    }
                    None if self.relu && value < 0.0 => 0.0,
                    None => value,
                };
            }
        }
        match self.rounded {
            Some(rounding) => largest * rounding.scale,
            None => largest,
        }
    }

    /// Masks the gradients of the outputs and returns the scale's gradient.
    pub(crate) fn backward(&self, outputs: &[f32], quotients: &[f32], gradient: &mut [f32]) -> f64 {
        match self.rounded {
            Some(rounding) => {
                let both = gradient.iter_mut().zip(quotients);
                both.map(|(g, &q)| f64::from(rounding.pull(q, g))).sum()
            }
            None if self.relu => {
                let both = gradient.iter_mut().zip(outputs);
                both.for_each(|(g, &y)| *g = if y > 0.0 { *g } else { 0.0 });
                0.0
            }
            None => 0.0,
        }
    }
}

/// The integers behind multiples of a scale.
pub(crate) fn integers(values: &[f32], scale: f32, to: &mut Vec<f32>) {
    to.clear();
    to.extend(values.iter().map(|x| round(x / scale)));
}

/// Splits integer weights, `taps` for each unit, into parts whose sums of products with int8 stay
/// exact in f32 in any order. Weights of other parts are 0. There is usually one part.
pub(crate) fn exact_parts(weights: &[f32], taps: usize) -> Vec<Vec<f32>> {
    let mut parts = vec![vec![0.0; weights.len()]];
    for (unit, row) in weights.chunks(taps.max(1)).enumerate() {
        let (mut part, mut sum) = (0, 0.0);
        for (tap, weight) in row.iter().enumerate() {
            let most = weight.abs() * LARGEST;
            if sum + most > EXACT {
                (part, sum) = (part + 1, 0.0);
                if part == parts.len() {
                    parts.push(vec![0.0; weights.len()]);
                }
            }
            sum += most;
            parts[part][unit * taps + tap] = *weight;
        }
    }
    parts
}
