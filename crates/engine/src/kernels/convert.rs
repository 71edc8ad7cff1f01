//! Casts, quantization and dequantization.

/// An element type that a cast converts from or to.
pub(crate) trait Number: Copy {
    /// ONNX's Cast to f32.
    fn to_f32(self) -> f32;
    /// To an integer: truncates toward zero and saturates; NaN becomes 0.
    fn to_i64(self) -> i64;
    /// From f32, likewise.
    fn from_f32(value: f32) -> Self;
    /// From a wider integer: drops the higher bits, as numpy does.
    fn from_i64(value: i64) -> Self;
    /// The same.
    fn from_i32(value: i32) -> Self;
    /// The distance from a zero point, as f32.
    fn above(self, zero_point: i32) -> f32;
}

macro_rules! integer {
    ($($kind:ty, $wide:ty;)*) => {$(
        impl Number for $kind {
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_i64(self) -> i64 {
                self as i64
            }
            fn from_f32(value: f32) -> Self {
                value as Self
            }
            fn from_i64(value: i64) -> Self {
                value as Self
            }
            fn from_i32(value: i32) -> Self {
                value as Self
            }
            fn above(self, zero_point: i32) -> f32 {
                (self as $wide).wrapping_sub(zero_point as $wide) as f32
            }
        }
    )*};
}
// 8 bits less a zero point of 8 bits fit in 32, which are vectorised.
integer!(i64, i64; i32, i64; u8, i32; i8, i32;);

impl Number for f32 {
    fn to_f32(self) -> f32 {
        self
    }
    fn to_i64(self) -> i64 {
        self as i64
    }
    fn from_f32(value: f32) -> Self {
        value
    }
    fn from_i64(value: i64) -> Self {
        value as Self
    }
    fn from_i32(value: i32) -> Self {
        value as Self
    }
    fn above(self, zero_point: i32) -> f32 {
        self - zero_point as f32
    }
}

/// A cast, through f32 if `from_float` and through i64 otherwise: the choice that loses
/// nothing of the input.
pub(crate) fn cast<A: Number, B: Number>(from_float: bool, input: &[A], output: &mut [B]) {
    let both = output.iter_mut().zip(input);
    if from_float {
        both.for_each(|(o, &x)| *o = B::from_f32(x.to_f32()));
    } else {
        both.for_each(|(o, &x)| *o = B::from_i64(x.to_i64()));
    }
}

/// A cast to bool: every value other than zero is true.
pub(crate) fn cast_bool<A: Number + Default + PartialEq>(input: &[A], output: &mut [u8]) {
    let zero = A::default();
    let both = output.iter_mut().zip(input);
    both.for_each(|(o, &x)| *o = u8::from(x != zero));
}

/// saturate(round_half_even(x / scale) + zero_point)
#[inline(always)]
pub(crate) fn quantize<T: Number>(
    (scale, zero_point): (f32, i32),
    least: i32,
    most: i32,
    x: &[f32],
    output: &mut [T],
) {
    let bounds = [least, most].map(|limit| limit.saturating_sub(zero_point));
    if bounds.iter().any(|bound| bound.unsigned_abs() > WHOLE) {
        for (o, &x) in output.iter_mut().zip(x) {
            // The cast to i32 and the addition saturate, so that nothing wraps.
            let quantized = (x / scale).round_ties_even() as i32;
            let quantized = quantized.saturating_add(zero_point).clamp(least, most);
            *o = T::from_i64(i64::from(quantized));
        }
        return;
    }
    let bounds = bounds.map(|bound| bound as f32);
    for (o, &x) in output.iter_mut().zip(x) {
        *o = T::from_i32(rounded(x / scale, bounds).wrapping_add(zero_point));
    }
}

/// The nearest whole number between the bounds, half to even, and 0 for NaN; without a cast that
/// saturates, so that it is vectorised. The bounds are whole numbers up to [`WHOLE`]: clamping
/// before rounding gives the same result as clamping after. [`ROUNDER`] is so large that a sum with it
/// has no bits for a fraction: the addition rounds half to even.
#[inline(always)]
fn rounded(x: f32, [low, high]: [f32; 2]) -> i32 {
    let x = if x.is_nan() { 0.0 } else { x };
    let x = if x < low { low } else { x };
    let x = if x > high { high } else { x };
    let bits = (x + ROUNDER).to_bits().cast_signed();
    bits.wrapping_sub(ROUNDER.to_bits().cast_signed())
}

/// The sum of two tensors, quantized: [`Operation::QuantizedAdd`](crate::plan::Operation).
#[derive(Debug)]
pub(crate) struct QuantizedAdd {
    /// Of the inputs; 1 for f32.
    pub(crate) scales: [f32; 2],
    /// Of the output.
    pub(crate) scale: f32,
    /// The least and the most: whole numbers within i8.
    pub(crate) limits: [f32; 2],
}

impl QuantizedAdd {
    #[inline(always)]
    pub(crate) fn run<A: Number, B: Number>(&self, a: &[A], b: &[B], output: &mut [i8]) {
        let [first, second] = self.scales;
        for ((o, &a), &b) in output.iter_mut().zip(a).zip(b) {
            let sum = a.to_f32() * first + b.to_f32() * second;
            *o = i8::from_i32(rounded(sum / self.scale, self.limits));
        }
    }
}

/// 1.5 * 2^23.
const ROUNDER: f32 = 12_582_912.0;
/// Sums of [`ROUNDER`] and numbers up to this magnitude are exact but for the fraction.
const WHOLE: u32 = 1 << 21;

/// Scales along one axis.
#[derive(Debug)]
pub(crate) struct Scales {
    scale: Vec<f32>,
    zero_point: Vec<i32>,
    /// Elements from one index of the axis to the next.
    inner: usize,
}

impl Scales {
    /// One scale, or one for each index of `axis`.
    pub(crate) fn new(
        shape: &[usize],
        axis: usize,
        scale: &[f32],
        zero_point: Option<Vec<i32>>,
    ) -> Self {
        Self {
            scale: scale.to_vec(),
            zero_point: zero_point.unwrap_or_else(|| vec![0; scale.len()]),
            inner: match scale {
                [_] => shape.iter().product(),
                _ => shape[axis + 1..].iter().product(),
            },
        }
    }

    fn runs(&self) -> impl Iterator<Item = (f32, i32)> {
        self.scale
            .iter()
            .copied()
            .zip(self.zero_point.iter().copied())
            .cycle()
    }

    /// saturate(round_half_even(x / scale) + zero_point)
    #[inline(always)]
    pub(crate) fn quantize<T: Number>(&self, least: i32, most: i32, x: &[f32], output: &mut [T]) {
        if output.is_empty() {
            return;
        }
        let rows = x.chunks(self.inner).zip(output.chunks_mut(self.inner));
        for ((x, output), (scale, zero_point)) in rows.zip(self.runs()) {
            quantize((scale, zero_point), least, most, x, output);
        }
    }

    /// (x - zero_point) * scale
    #[inline(always)]
    pub(crate) fn dequantize<T: Number>(&self, x: &[T], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let rows = x.chunks(self.inner).zip(output.chunks_mut(self.inner));
        for ((x, output), (scale, zero_point)) in rows.zip(self.runs()) {
            for (o, &x) in output.iter_mut().zip(x) {
                *o = x.above(zero_point) * scale;
            }
        }
    }
}
