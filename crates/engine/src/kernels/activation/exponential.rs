//! The exponential function, those that derive from it and the error function, in f32.
//!
//! They have neither branches nor calls, so that the compiler vectorises a loop over them, and use
//! only operations that IEEE 754 defines to the bit: every instruction set gives the same bits.
//! No multiply-add is fused. `tests::errors_are_within_the_bounds` measures the errors that the
//! functions state.

/// 1.5 * 2^23. A sum with it has no bits for a fraction: an integer is in its lowest bits.
const ROUNDER: f32 = 12_582_912.0;

/// [`ROUNDER`] plus n, and e^r - 1, for x = n ln 2 + r with a whole number n and |r| at most about
/// ln 2 / 2. `x` is at most 150 in magnitude, or NaN, which then is the second result.
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    /// ln 2, of which the first part times any n is exact (Cody and Waite).
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let sum = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = sum - ROUNDER;
    let r = x - n * LN_2[0] - n * LN_2[1];
    // (e^r - 1 - r) / r^2, with a relative error of e^r - 1 of 1.5e-8.
    let q = 1.385_81e-3;
    let q = q * r + 8.366_74e-3;
    let q = q * r + 4.166_76e-2;
    let q = q * r + 0.166_665_42;
    let q = q * r + 0.499_999_97;
    (sum, r * r * q + r)
}

/// 2^n and e^r - 1, as in [`reduced`]. `x` is at least [`LEAST`] and at most 88, or NaN.
#[inline(always)]
fn parts(x: f32) -> (f32, f32) {
    let (sum, rest) = reduced(x);
    (power_of_two(sum.to_bits()), rest)
}

/// 2 to the power of the integer in the lowest bits, which is from -126 to 127.
#[inline(always)]
fn power_of_two(exponent: u32) -> f32 {
    f32::from_bits((exponent << 23).wrapping_add(1.0_f32.to_bits()))
}

/// e^x. The relative error is at most 2e-7 where the result is not subnormal.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Beyond these limits the result is 0 or infinity.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let (sum, rest) = reduced(x);
    // In two factors: the power itself may be subnormal or beyond the largest number.
    let n = sum.to_bits().wrapping_sub(ROUNDER.to_bits()).cast_signed();
    let half = n >> 1;
    let (first, second) = (half.cast_unsigned(), (n - half).cast_unsigned());
    let first = power_of_two(first);
    (rest * first + first) * power_of_two(second)
}

/// The error function. The relative error is at most 4e-7. The polynomials are those of
/// N. Juffa, <https://stackoverflow.com/q/35148198>.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    // Beyond 4 the result is 1.
    let t = if x.abs() > 4.0 { 4.0 } else { x.abs() };
    let s = t * t;
    // ln(1 - erf(t)) + t
    let r = -1.728_534_7e-5 * t + 3.831_971_3e-4;
    let u = -3.883_964_4e-3 * t + 2.425_462_2e-2;
    let r = r * s + u;
    let r = r * t - 0.106_777_88;
    let r = r * t - 0.634_846_7;
    let r = r * t - 0.128_717_51;
    let large = (-expm1_of_negative(r * t - t)).copysign(x);
    let p = -5.967_617e-4;
    let p = p * s + 4.991_194_2e-3;
    let p = p * s - 2.676_813_5e-2;
    let p = p * s + 0.112_819_925;
    let p = p * s - 0.376_125_34;
    let p = p * s + 0.128_379_17;
    let small = p * x + x;
    if t > 0.927_734_4 { large } else { small }
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
        let exp = error(exp, f64::exp, |x| (LEAST..88.7).contains(&x));
        assert!(exp < 2e-7, "{exp}");
        let erf = error(erf, libm::erf, normal);
        assert!(erf < 4e-7, "{erf}");
    }

    #[test]
    fn limits_and_special_values_are_kept() {
        for function in [sigmoid, tanh, expm1_of_negative, exp, erf] {
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
        assert_eq!(exp(0.0), 1.0);
        for x in [88.8, 1e10, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY);
            assert_eq!(exp(-2.0 * x), 0.0);
        }
        // Subnormal results are within one step.
        for x in [-87.5_f32, -95.0, -103.0] {
            let expected = f64::from(x).exp() as f32;
            assert!(exp(x).to_bits().abs_diff(expected.to_bits()) <= 1, "{x}");
        }
        for x in [4.0, 1e30, f32::INFINITY] {
            assert_eq!([erf(x), erf(-x)], [1.0, -1.0]);
        }
        assert_eq!(
            [erf(0.0), erf(-0.0)].map(f32::to_bits),
            [0.0, -0.0].map(f32::to_bits)
        );
    }
}
