//! Matrix products over slices, with `ndarray`.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// A view of a slice as a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a>(ArrayView2<'a, f32>);

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` numbers each, row by row.
    ///
    /// # Panics
    /// When the slice is too short.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        match ArrayView2::from_shape((rows, columns), &data[..rows * columns]) {
            Ok(view) => Self(view),
            Err(error) => unreachable!("the slice was cut to the shape: {error}"),
        }
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        Self(self.0.reversed_axes())
    }
}

/// Computes `out = left * right`, or `out += left * right` when `add` is set. `out` has its rows
/// one after another. It uses one thread, so that the order of the sums depends only on the shapes
/// and the machine's instruction set.
///
/// # Panics
/// When the inner sizes differ or `out` is too short.
pub fn multiply(left: Matrix, right: Matrix, out: &mut [f32], add: bool) {
    let (rows, columns) = (left.0.nrows(), right.0.ncols());
    let out = &mut out[..rows * columns];
    match ArrayViewMut2::from_shape((rows, columns), out) {
        Ok(mut out) => {
            let keep = if add { 1.0 } else { 0.0 };
            general_mat_mul(1.0, &left.0, &right.0, keep, &mut out);
        }
        Err(error) => unreachable!("the slice was cut to the shape: {error}"),
    }
}
