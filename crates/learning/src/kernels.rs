//! The operators' arithmetic, forward and backward, over slices.

pub(crate) mod binary;
pub(crate) mod convolution;
pub(crate) mod linear;
pub(crate) mod moves;
pub(crate) mod normalization;
pub(crate) mod pool;
pub(crate) mod quantized;
pub(crate) mod reduce;
pub(crate) mod unary;

/// Whether a gradient is the first contribution to its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accumulate {
    /// Replaces what the buffer holds.
    Set,
    /// Adds to it.
    Add,
}

impl Accumulate {
    /// Prepares a buffer that contributions are added to.
    pub(crate) fn start(self, to: &mut [f32]) {
        if self == Self::Set {
            to.fill(0.0);
        }
    }

    /// Stores one contribution.
    #[inline(always)]
    pub(crate) fn put(self, to: &mut f32, value: f32) {
        match self {
            Self::Set => *to = value,
            Self::Add => *to += value,
        }
    }
}

/// Adds a row to every row.
pub(crate) fn add_row(rows: &mut [f32], row: &[f32]) {
    if row.is_empty() {
        return;
    }
    for values in rows.chunks_exact_mut(row.len()) {
        for (value, add) in values.iter_mut().zip(row) {
            *value += add;
        }
    }
}

/// The sum of all rows.
pub(crate) fn sum_rows(rows: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    if sums.is_empty() {
        return;
    }
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
