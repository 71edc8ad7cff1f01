//! The exponential function and those that derive from it, in f32.
//!
//! They have neither branches nor calls, so that the compiler vectorises a loop over them, and use
//! only operations that IEEE 754 defines to the bit: every instruction set gives the same bits.
//! No multiply-add is fused. `tests::errors_are_within_the_bounds` measures the errors that the
//! functions state.

/// 2^n and e^r - 1, for x = n ln 2 + r with a whole number n and |r| at most about ln 2 / 2.
/// `x` is at least [`LEAST`] and at most 88, or NaN, which then is the second result.
#[inline(always)]
fn parts(x: f32) -> (f32, f32) {
    /// ln 2, of which the first part times any n is exact (Cody and Waite).
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// 1.5 * 2^23. A sum with it has no bits for a fraction: n is in its lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let sum = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = sum - ROUNDER;
    let r = x - n * LN_2[0] - n * LN_2[1];
    // (e^r - 1 - r) / r^2, with a relative error of e^r - 1 of 1.5e-8.
    let q = 1.385_81e-3;
    let q = q * r + 8.366_74e-3;
    let q = q * r + 4.166_76e-2;
    let q = q * r + 0.166_665_42;
    let q = q * r + 0.499_999_97;
    let power = f32::from_bits((sum.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    (power, r * r * q + r)
}

/// The least argument whose exponential is not subnormal.
const LEAST: f32 = -87.0;

/// A limit; a NaN remains a NaN.
#[inline(always)]
fn at_least_the_least(x: f32) -> f32 {
    if x < LEAST { LEAST } else { x }
}

/// e^x - 1 for x of at most 0. The relative error is at most 2e-7.
#[inline(always)]
pub(super) fn expm1_of_negative(x: f32) -> f32 {
    let (power, rest) = parts(at_least_the_least(x));
    power * rest + (power - 1.0)
}

/// 1 / (1 + e^-x). The relative error is at most 3e-7; below -87 the result is at most 1.7e-38.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let (power, rest) = parts(at_least_the_least(-x.abs()));
    // e^-|x|
    let small = power * rest + power;
    let numerator = if x < 0.0 { small } else { 1.0 };
    numerator / (1.0 + small)
}

/// The hyperbolic tangent. The relative error is at most 3e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let small = expm1_of_negative(-2.0 * x.abs());
    (-small / (small + 2.0)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over a part of all f32 of at least `least` in magnitude that is
    /// spread evenly over their bits.
    fn error(function: fn(f32) -> f32, exact: fn(f64) -> f64, inside: impl Fn(f32) -> bool) -> f64 {
        let floats = (0..=u32::MAX).step_by(1013).map(f32::from_bits);
        let errors = floats.filter(|x| !x.is_nan() && inside(*x)).map(|x| {
            let exact = exact(x.into());
            let error = (f64::from(function(x)) - exact).abs();
            if error == 0.0 {
                0.0
            } else {
                error / exact.abs()
            }
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_within_the_bounds() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let normal = |x: f32| x == 0.0 || x.abs() > 1e-37;
        assert!(error(sigmoid, logistic, |x| x >= LEAST) < 3e-7);
        assert!(error(tanh, f64::tanh, normal) < 3e-7);
        let expm1 = error(expm1_of_negative, f64::exp_m1, |x| x <= 0.0 && normal(x));
        assert!(expm1 < 2e-7, "{expm1}");
    }

    #[test]
    fn limits_and_special_values_are_kept() {
        for function in [sigmoid, tanh, expm1_of_negative] {
            assert!(function(f32::NAN).is_nan());
        }
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(0.0), 0.5);
        for x in [-87.5, -1e10, f32::NEG_INFINITY] {
            assert!((0.0..1.7e-38).contains(&sigmoid(x)), "{x}");
        }
        for x in [10.0, 1e30, f32::INFINITY] {
            assert_eq!(tanh(x), 1.0);
            assert_eq!(tanh(-x), -1.0);
            assert_eq!(expm1_of_negative(-10.0 * x), -1.0);
        }
        for x in [0.0, -0.0, 1e-30, -1e-30] {
            assert_eq!(tanh(x).to_bits(), x.to_bits());
        }
        assert_eq!(expm1_of_negative(0.0).to_bits(), 0);
    }
}
