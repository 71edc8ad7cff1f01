//! INT8 multiply-accumulate with NEON alone, as on the Cortex-A57 and A72.
//!
//! A product of two bytes fits 16 bits, and so do two of them unless both weights are -128: they are
//! added before they are widened, so that 16 products take three instructions and not four. One of
//! the two vector units multiplies, and the other adds.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::arm::{Neon, choose, settled};
use super::tile::{Sums, Tile, TileFunction, store};

/// Computes a tile of `P` pixels by `Z` times four channels.
///
/// # Safety
/// See [`TileFunction`].
unsafe fn neon<const P: usize, const Z: usize>(tile: &Tile) {
    // SAFETY: NEON is part of aarch64; the caller guarantees that the tile's input, weights, bias,
    // multipliers and output are in bounds: a step reads 2 bytes of each pixel, and 8 weights for each
    // vector.
    unsafe {
        let bias: [Neon; Z] = std::array::from_fn(|z| Neon::load(tile.bias.add(z * 4)));
        let mut sums = [bias; P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                let pairs = if tile.pairs { tile.steps / 2 } else { 0 };
                for _ in 0..pairs {
                    let factors = |step: usize| -> [int8x8_t; Z] {
                        let of = weights.wrapping_add(step * Z * 8);
                        std::array::from_fn(|z| vld1_s8(of.wrapping_add(z * 8)))
                    };
                    let (first, second) = (factors(0), factors(1));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let x = x.wrapping_add(p * tile.pixel_stride);
                        let values = [Neon::value(x), Neon::value(x.wrapping_add(2))];
                        for (z, sum) in sums.iter_mut().enumerate() {
                            *sum = sum.dot_pair(values, [first[z], second[z]]);
                        }
                    }
                    weights = weights.wrapping_add(2 * Z * 8);
                    x = x.wrapping_add(4);
                }
                for _ in 2 * pairs..tile.steps {
                    let factors: [int8x8_t; Z] =
                        std::array::from_fn(|z| vld1_s8(weights.wrapping_add(z * 8)));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let value = Neon::value(x.wrapping_add(p * tile.pixel_stride));
                        for (sum, &factor) in sums.iter_mut().zip(&factors) {
                            *sum = sum.dot(value, factor);
                        }
                    }
                    weights = weights.wrapping_add(Z * 8);
                    x = x.wrapping_add(2);
                }
            }
        }
        for (p, sums) in settled(sums).iter().enumerate() {
            let output = tile.output.wrapping_add(p * tile.output_stride);
            for (z, &sum) in sums.iter().enumerate() {
                store(tile, sum, output, z * 4);
            }
        }
    }
}

/// The function for a shape of tile: sums, two vectors of weights for each of channels, two values and
/// some products have to fit in 32 registers.
pub(super) fn function(pixels: usize, vectors: usize) -> Option<TileFunction> {
    match vectors {
        1 => choose!(neon, pixels, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(neon, pixels, 2, [1 2 3 4 5 6 7 8 9 10]),
        3 => choose!(neon, pixels, 3, [1 2 3 4 5 6]),
        4 => choose!(neon, pixels, 4, [1 2 3 4]),
        5 => choose!(neon, pixels, 5, [1]),
        6 => choose!(neon, pixels, 6, [1]),
        7 => choose!(neon, pixels, 7, [1]),
        8 => choose!(neon, pixels, 8, [1]),
        _ => None,
    }
}
