//! First-order lags.

/// The fraction of the way to its final value that a first-order lag covers in `dt`.
pub(crate) fn lag_fraction(dt: f64, constant: f64) -> f64 {
    if constant > 0.0 {
        1.0 - libm::exp(-dt / constant)
    } else {
        1.0
    }
}
