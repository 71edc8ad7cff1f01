//! Matrix products over slices, checked, by the `gemm` crate's kernels.

/// A matrix within a slice: its element (row, column) is
/// `data[row * row_step + column * column_step]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` numbers, one after another.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(data.len() >= rows * columns, "the slice holds the matrix");
        Self {
            data,
            rows,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// `out = left * right`, or `out += left * right` when `add` is set; `out` holds
/// rows one after another. One thread: the sums' order depends on the shapes
/// and the machine's instruction set only.
#[allow(unsafe_code)]
pub fn multiply(left: Matrix, right: Matrix, out: &mut [f32], add: bool) {
    assert_eq!(left.columns, right.rows, "inner sizes agree");
    assert!(out.len() >= left.rows * right.columns, "the result fits");
    // SAFETY: `Matrix::new` checked that rows * columns elements lie in each
    // slice and a transpose reaches the same ones; `out` was checked above, is
    // exclusively borrowed, and so overlaps neither operand.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            right.columns as isize,
            add,
            left.data.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.data.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
