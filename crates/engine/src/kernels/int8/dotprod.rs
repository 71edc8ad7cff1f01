//! INT8 multiply-accumulate with the dot product of Armv8.2, four taps of each of four channels in
//! one instruction.
//!
//! The taps of a pixel are one element of a vector, and the instruction selects the element: a load
//! brings 16 taps, and none has to be copied to all lanes. The copying load (LD1R) needs one of the
//! two or four vector units, which the products need too.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::arm::{Dotprod, choose, settled};
use super::tile::{Sums, Tile, TileFunction, store};

/// Adds to each of four sums the products of its four weights and the four taps of element `LANE`.
///
/// # Safety
/// The machine has dotprod.
#[inline(always)]
unsafe fn dot<const LANE: usize>(
    mut sums: int32x4_t,
    values: int8x16_t,
    weights: int8x16_t,
) -> int32x4_t {
    // `vdotq_laneq_s32` is not stable yet.
    // SAFETY: the caller guarantees dotprod; the instruction accesses only its registers.
    unsafe {
        std::arch::asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]",
            inout(vreg) sums, in(vreg) weights, in(vreg) values, const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds the products of the taps in element `LANE` of each pixel's values, and returns the weights
/// that follow.
///
/// # Safety
/// The machine has dotprod, and the weights of `Z` vectors are readable.
#[inline(always)]
unsafe fn add<const P: usize, const Z: usize, const LANE: usize>(
    sums: &mut [[int32x4_t; Z]; P],
    values: &[int8x16_t; P],
    weights: *const i8,
) -> *const i8 {
    // SAFETY: the caller guarantees dotprod and the weights.
    unsafe {
        for z in 0..Z {
            let factors = vld1q_s8(weights.wrapping_add(z * 16));
            for (sums, &values) in sums.iter_mut().zip(values) {
                sums[z] = dot::<LANE>(sums[z], values, factors);
            }
        }
    }
    weights.wrapping_add(Z * 16)
}

/// Computes a tile of `P` pixels by `Z` times four channels.
///
/// # Safety
/// The machine has dotprod; the rest as for [`TileFunction`].
#[inline(always)]
unsafe fn tile<const P: usize, const Z: usize>(tile: &Tile) {
    // SAFETY: the caller guarantees dotprod, and that the tile's input, weights, bias, multipliers
    // and output are in bounds: 16 bytes of a pixel are read for four steps, 4 for one.
    unsafe {
        let bias: [int32x4_t; Z] = std::array::from_fn(|z| vld1q_s32(tile.bias.add(z * 4)));
        let mut sums = [bias; P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                for _ in 0..tile.steps / 4 {
                    let values: [int8x16_t; P] = std::array::from_fn(|p| {
                        vld1q_s8(x.wrapping_add(p * tile.pixel_stride).cast())
                    });
                    weights = add::<P, Z, 0>(&mut sums, &values, weights);
                    weights = add::<P, Z, 1>(&mut sums, &values, weights);
                    weights = add::<P, Z, 2>(&mut sums, &values, weights);
                    weights = add::<P, Z, 3>(&mut sums, &values, weights);
                    x = x.wrapping_add(16);
                }
                for _ in 0..tile.steps % 4 {
                    let values: [int8x16_t; P] = std::array::from_fn(|p| {
                        Dotprod::value(x.wrapping_add(p * tile.pixel_stride))
                    });
                    weights = add::<P, Z, 0>(&mut sums, &values, weights);
                    x = x.wrapping_add(4);
                }
            }
        }
        for (p, sums) in settled(sums).iter().enumerate() {
            let output = tile.output.wrapping_add(p * tile.output_stride);
            for (z, &sum) in sums.iter().enumerate() {
                store(tile, Dotprod(sum), output, z * 4);
            }
        }
    }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "dotprod")]
unsafe fn dotprod<const P: usize, const Z: usize>(t: &Tile) {
    // SAFETY: this function enables dotprod; the caller guarantees the rest of the contract of
    // `TileFunction`, which is that of `tile`.
    unsafe { tile::<P, Z>(t) }
}

/// The function for a shape of tile: sums, a vector of values for each pixel, and two of weights have
/// to fit in 32 registers.
pub(super) fn function(pixels: usize, vectors: usize) -> Option<TileFunction> {
    match vectors {
        1 => choose!(dotprod, pixels, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(dotprod, pixels, 2, [1 2 3 4 5 6 7 8 9 10]),
        3 => choose!(dotprod, pixels, 3, [1 2 3 4 5 6 7]),
        4 => choose!(dotprod, pixels, 4, [1 2 3 4 5 6]),
        5 => choose!(dotprod, pixels, 5, [1]),
        6 => choose!(dotprod, pixels, 6, [1]),
        7 => choose!(dotprod, pixels, 7, [1]),
        8 => choose!(dotprod, pixels, 8, [1]),
        _ => None,
    }
}
