//! Tiles of 21 to 24 channels with AVX-512 VNNI: see [`Width::HALVES`](super::tiling::Width).
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::tile::{Levels, Sums, Tile, TileFunction};
use super::vnni512::Vnni512;

/// Vectors of sums of a pixel.
const VECTORS: usize = 3;
/// Channels of each.
const CHANNELS: usize = 8;
/// Vectors of sums whose levels fill a vector.
const TOGETHER: usize = 8;
/// Vectors of sums of the most pixels.
const MOST: usize = 8 * VECTORS;

/// `P` pixels.
///
/// # Safety
/// See [`TileFunction`]; the machine has AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn halves<const P: usize>(tile: &Tile) {
    // SAFETY: the caller vouches for everything read and written.
    unsafe {
        let bias = [0, 1, 2].map(|z| _mm512_loadu_si512(tile.bias.add(z * 16).cast()));
        let mut sums = [bias; P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                // Beyond the run the factors are 0.
                for _ in 0..tile.steps.div_ceil(2) {
                    let [a, b, c] =
                        [0, 1, 2].map(|z| _mm512_loadu_si512(weights.wrapping_add(z * 64).cast()));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let taps = x.wrapping_add(p * tile.pixel_stride);
                        let taps = _mm512_set1_epi64(taps.cast::<i64>().read_unaligned());
                        sums[0] = _mm512_dpbusd_epi32(sums[0], taps, a);
                        sums[1] = _mm512_dpbusd_epi32(sums[1], taps, b);
                        sums[2] = _mm512_dpbusd_epi32(sums[2], taps, c);
                    }
                    weights = weights.wrapping_add(VECTORS * 64);
                    x = x.wrapping_add(2 * Vnni512::STEP);
                }
            }
        }
        // Through memory, so that the sums above stay in registers.
        let mut aside = [MaybeUninit::<__m512i>::uninit(); MOST];
        for (p, sums) in sums.iter().enumerate() {
            for (z, &sum) in sums.iter().enumerate() {
                aside[p * VECTORS + z].write(sum);
            }
        }
        let end = (P * VECTORS).next_multiple_of(TOGETHER);
        for rest in &mut aside[P * VECTORS..end] {
            rest.write(_mm512_setzero_si512());
        }
        let aside = aside.as_ptr().cast();
        match tile.levels {
            Some(levels) if tile.dense && tile.stored == VECTORS * CHANNELS => {
                store_dense(tile, levels, aside, P * VECTORS);
            }
            _ => store_each(tile, aside, P),
        }
    }
}

/// `pixels` times [`VECTORS`] vectors of sums, pixel by pixel.
///
/// # Safety
/// See [`halves`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn store_each(tile: &Tile, sums: *const __m512i, pixels: usize) {
    for p in 0..pixels {
        let output = tile.output.wrapping_add(p * tile.output_stride);
        for z in 0..VECTORS {
            let first = z * CHANNELS;
            let stored = tile.stored.saturating_sub(first).min(CHANNELS);
            // SAFETY: the caller vouches for everything read and written.
            unsafe {
                let sums = Vnni512(sums.add(p * VECTORS + z).read()).gather::<2>();
                match tile.levels {
                    Some(levels) => {
                        let to = output.cast::<i8>().wrapping_add(first);
                        sums.levels(tile.multiplier.add(first), levels, to, stored);
                    }
                    None => sums.store(output.cast::<i32>().wrapping_add(first), stored),
                }
            }
        }
    }
}

/// All pixels' levels, one after the other, 64 at a time, of `count` vectors of sums and
/// zeros up to the next eight.
///
/// # Safety
/// See [`halves`]; no sum times its multiplier leaves i32, so that it is rounded before
/// it is held between the limits.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn store_dense(tile: &Tile, levels: Levels, sums: *const __m512i, count: usize) {
    // SAFETY: the caller vouches for everything read and written.
    unsafe {
        let [low, high] = levels.limits.map(|limit| _mm512_set1_epi8(limit as i8));
        let flip = _mm512_set1_epi8(if levels.offset { -128 } else { 0 });
        // Each quarter has two channels of all eight vectors.
        let order = _mm512_set_epi16(
            31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12, 4, 27, 19, 11, 3, 26, 18, 10,
            2, 25, 17, 9, 1, 24, 16, 8, 0,
        );
        let multipliers = tile.multiplier.add(VECTORS * 16);
        for first in (0..count).step_by(TOGETHER) {
            let whole = |two: usize| {
                let of = |at: usize| _mm512_castsi512_ps(sums.add(first + at).read());
                let (a, b) = (of(2 * two), of(2 * two + 1));
                let sum = _mm512_add_epi32(
                    _mm512_castps_si512(_mm512_shuffle_ps::<0b10_00_10_00>(a, b)),
                    _mm512_castps_si512(_mm512_shuffle_ps::<0b11_01_11_01>(a, b)),
                );
                let by = _mm512_loadu_ps(multipliers.add((first / 2 + two) % VECTORS * 16));
                _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), by))
            };
            let words = _mm512_packs_epi32(whole(0), whole(1));
            let bytes = _mm512_packs_epi16(words, _mm512_packs_epi32(whole(2), whole(3)));
            let held = _mm512_min_epi8(_mm512_max_epi8(bytes, low), high);
            let stored = _mm512_permutexvar_epi16(order, _mm512_xor_si512(held, flip));
            let left = (count - first) * CHANNELS;
            let mask = if left >= 64 {
                u64::MAX
            } else {
                (1 << left) - 1
            };
            let to = tile.output.wrapping_add(first * CHANNELS);
            _mm512_mask_storeu_epi8(to.cast(), mask, stored);
        }
    }
}

/// The function for so many pixels: sums, weights and one value have to fit in 32
/// registers.
pub(super) fn function(pixels: usize) -> Option<TileFunction> {
    macro_rules! choose {
        ($($count:literal)*) => {
            match pixels {
                $($count => Some(halves::<$count> as TileFunction),)*
                _ => None,
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8)
}
