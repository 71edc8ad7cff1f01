//! Matrix products over slices, with `ndarray`, which computes them with `matrixmultiply`.
//!
//! Each product runs on one thread, so that the order of its sums depends only on the shapes and
//! the machine's instruction set.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, s};

/// A view of a slice as a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a>(ArrayView2<'a, f32>);

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` elements, row by row.
    ///
    /// # Panics
    /// If the slice is too short.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        match ArrayView2::from_shape((rows, columns), &data[..rows * columns]) {
            Ok(view) => Self(view),
            Err(error) => unreachable!("the slice was cut to the shape: {error}"),
        }
    }

    /// The columns from `first` on, `count` of them.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        Self(self.0.slice_move(s![.., first..first + count]))
    }

    /// The transposed matrix.
    pub(crate) fn transposed(self) -> Self {
        Self(self.0.reversed_axes())
    }

    /// The transposed matrix if `transpose` is set.
    pub(crate) fn transposed_if(self, transpose: bool) -> Self {
        if transpose { self.transposed() } else { self }
    }
}

/// The target of a product: `count` columns from `first` on of a matrix of `width` columns.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) width: usize,
    pub(crate) first: usize,
}

/// Computes `out = factor * left * right + keep * out`. The rows of `out` are consecutive.
///
/// # Panics
/// If the inner sizes differ or `out` is too short.
pub(crate) fn multiply(factor: f32, left: Matrix, right: Matrix, keep: f32, out: &mut [f32]) {
    let width = right.0.ncols();
    let target = Target {
        data: out,
        width,
        first: 0,
    };
    multiply_into(factor, left, right, keep, target);
}

/// As [`multiply`], into some columns of a matrix.
///
/// # Panics
/// If the inner sizes differ or the target is too small.
pub(crate) fn multiply_into(factor: f32, left: Matrix, right: Matrix, keep: f32, out: Target<'_>) {
    let (rows, columns) = (left.0.nrows(), right.0.ncols());
    let data = &mut out.data[..rows * out.width];
    match ArrayViewMut2::from_shape((rows, out.width), data) {
        Ok(whole) => {
            let mut part = whole.slice_move(s![.., out.first..out.first + columns]);
            general_mat_mul(factor, &left.0, &right.0, keep, &mut part);
        }
        Err(error) => unreachable!("the slice was cut to the shape: {error}"),
    }
}
