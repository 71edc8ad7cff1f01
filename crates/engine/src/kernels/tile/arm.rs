//! Tiles on aarch64.
//!
//! An element of the input is multiplied by vectors of weights. The instruction selects the element
//! in a vector: a load brings four elements of a pixel, and none has to be copied to all lanes. The
//! copying load (LD1R) needs one of the two or four vector units, which the products need too.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{MOST_LANES, Tile, TileFunction};
use crate::kernels::simd::Vector;

/// Adds to `sum` the products of `factor` and element `LANE` of `values`. With `EXACT`, products are
/// rounded before they are added.
///
/// # Safety
/// None beyond NEON, which is part of aarch64.
#[inline(always)]
unsafe fn multiply_add<const LANE: i32, const EXACT: bool>(
    sum: float32x4_t,
    factor: float32x4_t,
    values: float32x4_t,
) -> float32x4_t {
    // SAFETY: NEON is part of aarch64.
    unsafe {
        match EXACT {
            true => vaddq_f32(vmulq_laneq_f32::<LANE>(factor, values), sum),
            false => vfmaq_laneq_f32::<LANE>(sum, factor, values),
        }
    }
}

/// Adds the products of element `LANE` of each pixel's values, and returns the weights that follow.
///
/// # Safety
/// The weights of `Z` vectors are readable.
#[inline(always)]
unsafe fn add<const P: usize, const Z: usize, const LANE: i32, const EXACT: bool>(
    sums: &mut [[float32x4_t; Z]; P],
    values: &[float32x4_t; P],
    weights: *const f32,
) -> *const f32 {
    // SAFETY: NEON is part of aarch64; the caller guarantees the weights.
    unsafe {
        for z in 0..Z {
            let factor = vld1q_f32(weights.wrapping_add(z * 4));
            for (sums, &values) in sums.iter_mut().zip(values) {
                sums[z] = multiply_add::<LANE, EXACT>(sums[z], factor, values);
            }
        }
    }
    weights.wrapping_add(Z * 4)
}

/// Computes a tile of `P` pixels by `Z` vectors. With `EXACT`, products are rounded before they are
/// added.
///
/// # Safety
/// See [`TileFunction`].
unsafe fn neon<const P: usize, const Z: usize, const EXACT: bool>(tile: &Tile) {
    // SAFETY: NEON is part of aarch64; the caller guarantees that the tile's input, weights, bias and
    // output are in bounds. Four elements are read where four are left in a run. A tile with
    // padding lanes is stored in `buffer`, which has `MOST_LANES` elements, at least `Z * 4`.
    unsafe {
        let bias: [float32x4_t; Z] = std::array::from_fn(|z| vld1q_f32(tile.bias.add(z * 4)));
        let mut sums = [bias; P];
        let mut row = tile.input;
        let mut weights_row = tile.weights;
        for _ in 0..tile.rows {
            let mut start = row;
            let mut weights = weights_row;
            for _ in 0..tile.runs {
                let mut x = start;
                for _ in 0..tile.run / 4 {
                    let values: [float32x4_t; P] =
                        std::array::from_fn(|p| vld1q_f32(x.wrapping_add(p * tile.pixel_stride)));
                    weights = add::<P, Z, 0, EXACT>(&mut sums, &values, weights);
                    weights = add::<P, Z, 1, EXACT>(&mut sums, &values, weights);
                    weights = add::<P, Z, 2, EXACT>(&mut sums, &values, weights);
                    weights = add::<P, Z, 3, EXACT>(&mut sums, &values, weights);
                    x = x.wrapping_add(4);
                }
                for _ in 0..tile.run % 4 {
                    let values: [float32x4_t; P] = std::array::from_fn(|p| {
                        let value = *x.wrapping_add(p * tile.pixel_stride);
                        vsetq_lane_f32::<0>(value, vdupq_n_f32(0.0))
                    });
                    weights = add::<P, Z, 0, EXACT>(&mut sums, &values, weights);
                    x = x.wrapping_add(1);
                }
                start = start.wrapping_add(tile.run_stride);
            }
            row = row.wrapping_add(tile.row_stride);
            weights_row = weights_row.wrapping_add(tile.weights_stride);
        }
        let (low, high) = (vdupq_n_f32(tile.low), vdupq_n_f32(tile.high));
        for (p, sums) in sums.iter().enumerate() {
            let output = tile.output.add(p * tile.output_stride);
            // A tile with padding lanes is stored in a buffer, of which `stored` are copied.
            let mut buffer = [0.0_f32; MOST_LANES];
            let whole = tile.stored == Z * 4;
            let lanes = if whole { output } else { buffer.as_mut_ptr() };
            for (z, sum) in sums.iter().enumerate() {
                sum.clamp(low, high).store(lanes.add(z * 4));
            }
            if !whole {
                output.copy_from_nonoverlapping(buffer.as_ptr(), tile.stored);
            }
        }
    }
}

/// The function for a shape of tile: sums, a vector of values for each pixel, and two of weights have
/// to fit in 32 registers.
pub(super) fn function<const EXACT: bool>(pixels: usize, vectors: usize) -> Option<TileFunction> {
    /// Selects the instance of the tile function for a number of pixels.
    macro_rules! choose {
        ($vectors:literal, [$($count:literal)*]) => {
            match pixels {
                $($count => Some(neon::<$count, $vectors, EXACT> as TileFunction),)*
                _ => None,
            }
        };
    }
    match vectors {
        1 => choose!(1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(2, [1 2 3 4 5 6 7 8 9 10]),
        3 => choose!(3, [1 2 3 4 5 6 7]),
        4 => choose!(4, [1 2 3 4 5 6]),
        _ => None,
    }
}
