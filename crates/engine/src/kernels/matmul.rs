//! Matrix products of two operands.
#![allow(unsafe_code)]

use super::tile::{Arithmetic, MOST_LANES, Tile, TileFunction, Tiling, function, most_pixels};
use super::tiled::divide;

/// Columns of the product that are computed together.
#[derive(Debug)]
struct Panel {
    /// First column.
    first: usize,
    /// Columns that are stored; the other lanes are padding.
    stored: usize,
    lanes: usize,
    /// First row and number of rows of each tile, with its function.
    tiles: Vec<(usize, usize, TileFunction)>,
}

/// Rows of a product from which on packing the second operand pays.
const WORTH_PACKING: usize = 4;

/// (.., M, K) by (.., K, N), leading axes broadcast.
#[derive(Debug)]
pub(crate) struct MatMul {
    rows: usize,
    depth: usize,
    columns: usize,
    /// Leading axes: the length, and for each operand the stride in matrices (0 where it
    /// is broadcast).
    lead: Vec<(usize, [usize; 2])>,
    /// Empty for plain loops.
    panels: Vec<Panel>,
}

impl MatMul {
    /// `a`, `b` and `output` are shapes of a validated plan.
    pub(crate) fn new(a: &[usize], b: &[usize], output: &[usize], arithmetic: Arithmetic) -> Self {
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
            panels: panels(rows, columns, arithmetic).unwrap_or_default(),
        }
    }

    /// The elements of scratch memory that it needs: the second operand, packed.
    pub(crate) fn scratch(&self) -> usize {
        let lanes: usize = self.panels.iter().map(|panel| panel.lanes).sum();
        lanes * self.depth
    }

    /// `scratch` has as many elements as [`scratch`](Self::scratch) returns.
    #[inline(always)]
    pub(crate) fn run(&self, a: &[f32], b: &[f32], output: &mut [f32], scratch: &mut [f32]) {
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
            let a = &a[a_at..][..self.rows * self.depth];
            let b = &b[b_at..][..self.depth * self.columns];
            match self.panels.is_empty() {
                true => self.plain(a, b, output),
                false => self.tiled(a, b, output, scratch),
            }
        }
    }

    #[inline(always)]
    fn plain(&self, a: &[f32], b: &[f32], output: &mut [f32]) {
        output.fill(0.0);
        for (row, output) in output.chunks_exact_mut(self.columns).enumerate() {
            for depth in 0..self.depth {
                let x = a[row * self.depth + depth];
                let b = &b[depth * self.columns..][..self.columns];
                output.iter_mut().zip(b).for_each(|(o, &y)| *o += x * y);
            }
        }
    }

    fn tiled(&self, a: &[f32], b: &[f32], output: &mut [f32], scratch: &mut [f32]) {
        const ZEROS: [f32; MOST_LANES] = [0.0; MOST_LANES];
        assert_eq!(a.len(), self.rows * self.depth);
        assert_eq!(b.len(), self.depth * self.columns);
        assert_eq!(output.len(), self.rows * self.columns);
        let mut packed = scratch;
        for panel in &self.panels {
            let (weights, rest) =
                std::mem::take(&mut packed).split_at_mut(panel.lanes * self.depth);
            packed = rest;
            let rows = b.chunks_exact(self.columns);
            for (to, from) in weights.chunks_exact_mut(panel.lanes).zip(rows) {
                let (to, padding) = to.split_at_mut(panel.stored);
                to.copy_from_slice(&from[panel.first..][..panel.stored]);
                padding.fill(0.0);
            }
            for &(row, rows, function) in &panel.tiles {
                debug_assert!(row + rows <= self.rows);
                let tile = Tile {
                    input: a.as_ptr().wrapping_add(row * self.depth),
                    pixel_stride: self.depth,
                    rows: 1,
                    row_stride: 0,
                    runs: 1,
                    run_stride: 0,
                    run: self.depth,
                    weights: weights.as_ptr(),
                    weights_stride: 0,
                    bias: ZEROS.as_ptr(),
                    output: (output.as_mut_ptr()).wrapping_add(row * self.columns + panel.first),
                    output_stride: self.columns,
                    stored: panel.stored,
                    low: f32::NEG_INFINITY,
                    high: f32::INFINITY,
                };
                // SAFETY: the function was chosen for an available instruction set and for `rows`
                // pixels of `lanes` lanes. `panels` divides the rows and columns of the product,
                // whose operands have the lengths that were checked above; `weights` has
                // `depth` times `lanes` elements, and no tile has more than `MOST_LANES` lanes.
                unsafe { function(&tile) };
            }
        }
    }
}

/// Divides a product of `rows` and `columns` into panels. `None` for plain loops.
fn panels(rows: usize, columns: usize, arithmetic: Arithmetic) -> Option<Vec<Panel>> {
    let tiling = Tiling::of(arithmetic, rows).filter(|_| rows >= WORTH_PACKING)?;
    let mut first = 0;
    let mut panels = Vec::new();
    for [vectors, half] in divide(columns, tiling.lanes, tiling.half, tiling.vectors) {
        let lanes = vectors * tiling.lanes + half * tiling.half;
        let stored = lanes.min(columns - first);
        let count = rows.div_ceil(most_pixels(arithmetic, vectors, half));
        let tiles = (0..count).map(|index| {
            let (from, to) = (rows * index / count, rows * (index + 1) / count);
            Some((
                from,
                to - from,
                function(arithmetic, to - from, vectors, half)?,
            ))
        });
        panels.push(Panel {
            first,
            stored,
            lanes,
            tiles: tiles.collect::<Option<_>>()?,
        });
        first += stored;
    }
    Some(panels)
}
