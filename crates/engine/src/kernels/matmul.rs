//! Matrix products of two operands made at run time.

use super::binary;

/// (.., M, K) by (.., K, N), leading axes broadcast.
#[derive(Debug)]
pub(crate) struct MatMul {
    rows: usize,
    depth: usize,
    columns: usize,
    /// Offset of each product's operands, in elements.
    products: Vec<[usize; 2]>,
}

impl MatMul {
    /// Shapes of a validated plan.
    pub(crate) fn new(a: &[usize], b: &[usize], output: &[usize]) -> Self {
        let lead = output.len() - 2;
        let (rows, columns) = (output[lead], output[lead + 1]);
        let depth = a[a.len() - 1];
        let products = binary::offsets(&a[..a.len() - 2], &b[..b.len() - 2], &output[..lead])
            .into_iter()
            .map(|[a, b]| [a * rows * depth, b * depth * columns])
            .collect();
        Self {
            rows,
            depth,
            columns,
            products,
        }
    }

    #[inline(always)]
    pub(crate) fn run(&self, a: &[f32], b: &[f32], output: &mut [f32]) {
        output.fill(0.0);
        if output.is_empty() {
            return;
        }
        for (output, &[a_at, b_at]) in output
            .chunks_exact_mut(self.rows * self.columns)
            .zip(&self.products)
        {
            for (row, output) in output.chunks_exact_mut(self.columns).enumerate() {
                for depth in 0..self.depth {
                    let x = a[a_at + row * self.depth + depth];
                    let b = &b[b_at + depth * self.columns..][..self.columns];
                    output.iter_mut().zip(b).for_each(|(o, &y)| *o += x * y);
                }
            }
        }
    }
}
