//! Matrix products of two operands.

/// (.., M, K) by (.., K, N), leading axes broadcast.
#[derive(Debug)]
pub(crate) struct MatMul {
    rows: usize,
    depth: usize,
    columns: usize,
    /// Leading axes: the length, and for each operand the stride in matrices (0 where it
    /// is broadcast).
    lead: Vec<(usize, [usize; 2])>,
}

impl MatMul {
    /// `a`, `b` and `output` are shapes of a validated plan.
    pub(crate) fn new(a: &[usize], b: &[usize], output: &[usize]) -> Self {
        let lead = output.len() - 2;
        let (rows, columns) = (output[lead], output[lead + 1]);
        let depth = a[a.len() - 1];
        let mut strides = [1, 1];
        let mut axes: Vec<_> = (0..lead)
            .rev()
            .map(|axis| {
                let step = [a, b].map(|shape| {
                    // Shapes are aligned at the last axis; missing leading axes are 1.
                    (axis + shape.len())
                        .checked_sub(output.len())
                        .map_or(1, |axis| shape[axis])
                });
                let found = [0, 1].map(|side| if step[side] == 1 { 0 } else { strides[side] });
                strides = [0, 1].map(|side| strides[side] * step[side]);
                (output[axis], found)
            })
            .collect();
        axes.reverse();
        Self {
            rows,
            depth,
            columns,
            lead: axes,
        }
    }

    #[inline(always)]
    pub(crate) fn run(&self, a: &[f32], b: &[f32], output: &mut [f32]) {
        output.fill(0.0);
        if output.is_empty() {
            return;
        }
        let products = output.chunks_exact_mut(self.rows * self.columns);
        for (product, output) in products.enumerate() {
            let [mut a_at, mut b_at, mut rest] = [0, 0, product];
            for &(length, [a, b]) in self.lead.iter().rev() {
                a_at += rest % length * a * self.rows * self.depth;
                b_at += rest % length * b * self.depth * self.columns;
                rest /= length;
            }
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
