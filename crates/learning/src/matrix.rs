//! Matrix products over slices, with `faer`.
//!
//! Each product runs on one thread, so that the order of its sums depends only on the shapes and
//! the machine's instruction set.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::kernels::Accumulate;

/// A view of a slice as a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a>(MatRef<'a, f32>);

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` elements, row by row.
    ///
    /// # Panics
    /// If the slice is too short.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let data = &data[..rows * columns];
        Self(MatRef::from_row_major_slice(data, rows, columns))
    }

    /// The columns from `first` on, `count` of them.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        Self(self.0.subcols(first, count))
    }

    /// The transposed matrix.
    pub(crate) fn transposed(self) -> Self {
        Self(self.0.transpose())
    }

    /// The transposed matrix if `transpose` is set.
    pub(crate) fn transposed_if(self, transpose: bool) -> Self {
        if transpose { self.transposed() } else { self }
    }
}

/// The target of a product: columns from `first` on of a matrix of `width` columns.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) width: usize,
    pub(crate) first: usize,
}

/// Computes `out = factor * left * right`, or adds the product to `out`. The rows of `out` are
/// consecutive.
///
/// # Panics
/// If the inner sizes differ or `out` is too short.
pub(crate) fn multiply(
    factor: f32,
    left: Matrix,
    right: Matrix,
    accumulate: Accumulate,
    out: &mut [f32],
) {
    let width = right.0.ncols();
    let target = Target {
        data: out,
        width,
        first: 0,
    };
    multiply_into(factor, left, right, accumulate, target);
}

/// As [`multiply`], into some columns of a matrix.
///
/// # Panics
/// If the inner sizes differ or the target is too small.
pub(crate) fn multiply_into(
    factor: f32,
    left: Matrix,
    right: Matrix,
    accumulate: Accumulate,
    out: Target<'_>,
) {
    let (rows, columns) = (left.0.nrows(), right.0.ncols());
    let data = &mut out.data[..rows * out.width];
    let whole = MatMut::from_row_major_slice_mut(data, rows, out.width);
    let part = whole.subcols_mut(out.first, columns);
    let accumulate = match accumulate {
        Accumulate::Set => Accum::Replace,
        Accumulate::Add => Accum::Add,
    };
    matmul(part, accumulate, left.0, right.0, factor, Par::Seq);
}
