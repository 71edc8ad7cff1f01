//! INT8 multiply-accumulate with the matrix product of Armv8.6: eight taps of two pixels by
//! eight taps of two channels in one instruction.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::arm::{Dotprod, settled};
use super::tile::{Tile, TileFunction, store};

/// Adds eight products to each of four sums. The sums are, in order, those of (pixel 0,
/// channel 0), (pixel 0, channel 1), (pixel 1, channel 0) and (pixel 1, channel 1).
///
/// # Safety
/// The machine has i8mm.
#[inline(always)]
pub(crate) unsafe fn multiply(
    mut sums: int32x4_t,
    values: int8x16_t,
    weights: int8x16_t,
) -> int32x4_t {
    // `vmmlaq_s32` is not stable yet.
    // SAFETY: the caller guarantees i8mm; the instruction accesses only its registers.
    unsafe {
        std::arch::asm!(
            "smmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) values, in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Computes a tile of `P` pixels, in `Q` pairs, by `Z` times four channels. If `P` is odd,
/// the last pixel is paired with itself.
///
/// # Safety
/// The machine has i8mm and dotprod; the rest as for [`TileFunction`].
#[inline(always)]
unsafe fn tile<const P: usize, const Q: usize, const Z: usize>(tile: &Tile) {
    // SAFETY: the caller guarantees i8mm and dotprod, and that the tile's input, weights,
    // bias, multipliers and output are in bounds. `p.min(P - 1)` keeps the second pixel of
    // the last pair inside the tile.
    unsafe {
        let bias: [[int32x4_t; 2]; Z] = std::array::from_fn(|z| {
            [0, 2].map(|half| {
                let two = vld1_s32(tile.bias.add(z * 4 + half));
                vcombine_s32(two, two)
            })
        });
        let mut sums = [bias; Q];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                for _ in 0..tile.steps {
                    let values: [int8x16_t; Q] = std::array::from_fn(|q| {
                        let of = |p: usize| x.wrapping_add(p.min(P - 1) * tile.pixel_stride);
                        vcombine_s8(vld1_s8(of(2 * q).cast()), vld1_s8(of(2 * q + 1).cast()))
                    });
                    for z in 0..Z {
                        for half in 0..2 {
                            let factors = vld1q_s8(weights);
                            for (sums, &values) in sums.iter_mut().zip(&values) {
                                sums[z][half] = multiply(sums[z][half], values, factors);
                            }
                            weights = weights.wrapping_add(16);
                        }
                    }
                    x = x.wrapping_add(8);
                }
            }
        }
        let sums = settled(sums);
        for p in 0..P {
            let output = tile.output.wrapping_add(p * tile.output_stride);
            for (z, &[a, b]) in sums[p / 2].iter().enumerate() {
                let four = match p % 2 {
                    0 => vcombine_s32(vget_low_s32(a), vget_low_s32(b)),
                    _ => vcombine_s32(vget_high_s32(a), vget_high_s32(b)),
                };
                store(tile, Dotprod(four), output, z * 4);
            }
        }
    }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "i8mm,dotprod")]
unsafe fn i8mm<const P: usize, const Q: usize, const Z: usize>(t: &Tile) {
    // SAFETY: this function enables i8mm and dotprod; the caller guarantees the rest of the
    // contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<P, Q, Z>(t) }
}

/// Selects the instance of the tile function for a number of pixels.
macro_rules! choose {
    ($pixels:expr, $vectors:literal, [$($count:literal)*]) => {
        match $pixels {
            $($count => {
                Some(i8mm::<$count, { usize::div_ceil($count, 2) }, $vectors> as TileFunction)
            })*
            _ => None,
        }
    };
}

/// The function for a shape of tile: sums, values and one weight have to fit in 32
/// registers.
pub(super) fn function(pixels: usize, vectors: usize) -> Option<TileFunction> {
    match vectors {
        1 => choose!(pixels, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(pixels, 2, [1 2 3 4 5 6 7 8 9 10 11 12]),
        3 => choose!(pixels, 3, [1 2 3 4 5 6 7 8]),
        4 => choose!(pixels, 4, [1 2 3 4 5 6]),
        _ => None,
    }
}
