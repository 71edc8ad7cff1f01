//! Tiles on x86-64.
#![allow(unsafe_code)]

use std::arch::x86_64::{__m256, __m512};

use super::{MOST_LANES, Tile, TileFunction};
use crate::kernels::simd::Vector;

/// Computes a tile of `P` pixels by `Z` full vectors and `H` narrower ones. With `EXACT`,
/// products are rounded before they are added.
///
/// # Safety
/// The machine has the instructions of `V` and `N`; the rest as for [`TileFunction`].
#[inline(always)]
unsafe fn tile<
    V: Vector,
    N: Vector,
    const P: usize,
    const Z: usize,
    const H: usize,
    const EXACT: bool,
>(
    tile: &Tile,
) {
    // SAFETY: the caller guarantees the instructions of `V` and `N`, and that the tile's input,
    // weights, bias and output are in bounds. A tile with padding lanes is stored in `buffer`,
    // which has `MOST_LANES` elements, at least `width`.
    unsafe {
        let width = Z * V::LANES + H * N::LANES;
        let narrow = Z * V::LANES;
        let mut full = [[V::splat(0.0); Z]; P];
        let mut half = [[N::splat(0.0); H]; P];
        for (full, half) in full.iter_mut().zip(&mut half) {
            for (z, sum) in full.iter_mut().enumerate() {
                *sum = V::load(tile.bias.add(z * V::LANES));
            }
            for sum in half {
                *sum = N::load(tile.bias.add(narrow));
            }
        }
        let mut row = tile.input;
        let mut weights_row = tile.weights;
        for _ in 0..tile.rows {
            let mut start = row;
            let mut weights = weights_row;
            for _ in 0..tile.runs {
                let mut x = start;
                let end = x.add(tile.run);
                while x < end {
                    let mut factors = [V::splat(0.0); Z];
                    let mut narrow_factors = [N::splat(0.0); H];
                    for (z, factor) in factors.iter_mut().enumerate() {
                        *factor = V::load(weights.add(z * V::LANES));
                    }
                    for factor in &mut narrow_factors {
                        *factor = N::load(weights.add(narrow));
                    }
                    for (p, (full, half)) in full.iter_mut().zip(&mut half).enumerate() {
                        let value = *x.add(p * tile.pixel_stride);
                        for (sum, &factor) in full.iter_mut().zip(&factors) {
                            *sum = multiply_add::<V, EXACT>(V::splat(value), factor, *sum);
                        }
                        for (sum, &factor) in half.iter_mut().zip(&narrow_factors) {
                            *sum = multiply_add::<N, EXACT>(N::splat(value), factor, *sum);
                        }
                    }
                    x = x.add(1);
                    weights = weights.add(width);
                }
                start = start.wrapping_add(tile.run_stride);
            }
            row = row.wrapping_add(tile.row_stride);
            weights_row = weights_row.wrapping_add(tile.weights_stride);
        }
        let (low, high) = (V::splat(tile.low), V::splat(tile.high));
        let (narrow_low, narrow_high) = (N::splat(tile.low), N::splat(tile.high));
        for (p, (full, half)) in full.iter().zip(&half).enumerate() {
            let output = tile.output.add(p * tile.output_stride);
            // A tile with padding lanes is stored in a buffer, of which `stored` are copied.
            let mut buffer = [0.0_f32; MOST_LANES];
            let whole = tile.stored == width;
            let lanes = if whole { output } else { buffer.as_mut_ptr() };
            for (z, sum) in full.iter().enumerate() {
                sum.clamp(low, high).store(lanes.add(z * V::LANES));
            }
            for sum in half {
                sum.clamp(narrow_low, narrow_high).store(lanes.add(narrow));
            }
            if !whole {
                output.copy_from_nonoverlapping(buffer.as_ptr(), tile.stored);
            }
        }
    }
}

/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn multiply_add<V: Vector, const EXACT: bool>(value: V, factor: V, sum: V) -> V {
    // SAFETY: the caller guarantees that the machine has the instructions of `V`.
    unsafe {
        match EXACT {
            true => value.mul_then_add(factor, sum),
            false => value.mul_add(factor, sum),
        }
    }
}

/// Selects the instance of a tile function for a number of pixels.
macro_rules! choose {
    (
        $function:ident, $pixels:expr, $vectors:literal, $half:literal, $exact:expr,
        [$($count:literal)*]
    ) => {
        match $pixels {
            $($count => Some($function::<$count, $vectors, $half, { $exact }> as TileFunction),)*
            _ => None,
        }
    };
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn wide<const P: usize, const Z: usize, const H: usize, const EXACT: bool>(t: &Tile) {
    // SAFETY: this function enables AVX-512 F and VL, AVX2 and FMA; the caller guarantees
    // the rest of the contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<__m512, __m256, P, Z, H, EXACT>(t) }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "avx2,fma")]
unsafe fn narrow<const P: usize, const Z: usize, const H: usize, const EXACT: bool>(t: &Tile) {
    // SAFETY: this function enables AVX2 and FMA; the caller guarantees the rest of the
    // contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<__m256, __m256, P, Z, H, EXACT>(t) }
}

// Sums, weights and one value have to fit in 32 registers.
pub(super) fn avx512<const EXACT: bool>(
    pixels: usize,
    vectors: usize,
    half: usize,
) -> Option<TileFunction> {
    match (vectors, half) {
        (0, 1) => choose!(wide, pixels, 0, 1, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
        (1, 0) => choose!(wide, pixels, 1, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
        (1, 1) => choose!(wide, pixels, 1, 1, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
        (2, 0) => choose!(wide, pixels, 2, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
        (2, 1) => choose!(wide, pixels, 2, 1, EXACT, [1 2 3 4 5 6 7 8]),
        (3, 0) => choose!(wide, pixels, 3, 0, EXACT, [1 2 3 4 5 6 7 8]),
        (3, 1) => choose!(wide, pixels, 3, 1, EXACT, [1 2 3 4 5 6]),
        (4, 0) => choose!(wide, pixels, 4, 0, EXACT, [1 2 3 4 5 6]),
        _ => None,
    }
}

// Sums, weights and one value have to fit in 16 registers.
pub(super) fn avx2<const EXACT: bool>(
    pixels: usize,
    vectors: usize,
    half: usize,
) -> Option<TileFunction> {
    match (vectors, half) {
        (1, 0) => choose!(narrow, pixels, 1, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
        (2, 0) => choose!(narrow, pixels, 2, 0, EXACT, [1 2 3 4 5 6]),
        (3, 0) => choose!(narrow, pixels, 3, 0, EXACT, [1]),
        (4, 0) => choose!(narrow, pixels, 4, 0, EXACT, [1]),
        _ => None,
    }
}
