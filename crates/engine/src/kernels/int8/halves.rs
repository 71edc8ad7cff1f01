//! Tiles of 21 to 24 channels with AVX-512 VNNI: see [`Width::HALVES`](super::width::Width).
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::tile::{Levels, Sums, Tile, TileFunction};
use super::vnni512::Vnni512;

/// Vectors of sums of a pixel.
const VECTORS: usize = 3;
/// Channels of each vector.
const CHANNELS: usize = 8;
/// Vectors of sums whose quantized values fill a vector.
const TOGETHER: usize = 8;
/// Vectors of sums of the largest tile.
const MOST: usize = 8 * VECTORS;

/// Computes a tile of `P` pixels.
///
/// # Safety
/// See [`TileFunction`]; the machine has AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn halves<const P: usize>(tile: &Tile) {
    // SAFETY: this function enables the instructions. The caller guarantees that the tile's
    // input, weights, bias, multipliers and output are in bounds; the last pair of groups of
    // a run may read past the run into the slack behind the packed input, where the weights
    // are 0. `buffer` has `MOST` vectors, and the first `end` are written before they are read.
    unsafe {
        let bias = [0, 1, 2].map(|z| _mm512_loadu_si512(tile.bias.add(z * 16).cast()));
        let mut sums = [bias; P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                // The weights are 0 beyond the run.
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
        // The epilogue reads the sums from memory, so that they stay in registers above.
        let mut buffer = [MaybeUninit::<__m512i>::uninit(); MOST];
        for (p, sums) in sums.iter().enumerate() {
            for (z, &sum) in sums.iter().enumerate() {
                buffer[p * VECTORS + z].write(sum);
            }
        }
        let end = (P * VECTORS).next_multiple_of(TOGETHER);
        for rest in &mut buffer[P * VECTORS..end] {
            rest.write(_mm512_setzero_si512());
        }
        let buffer = buffer.as_ptr().cast();
        match tile.levels {
            Some(levels) if tile.dense && tile.stored == VECTORS * CHANNELS => {
                store_dense(tile, levels, buffer, P * VECTORS);
            }
            _ => store_each(tile, buffer, P),
        }
    }
}

/// Stores `pixels` times [`VECTORS`] vectors of sums, pixel by pixel.
///
/// # Safety
/// As for [`halves`]; `sums` points to as many readable vectors.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn store_each(tile: &Tile, sums: *const __m512i, pixels: usize) {
    for p in 0..pixels {
        let output = tile.output.wrapping_add(p * tile.output_stride);
        for z in 0..VECTORS {
            let first = z * CHANNELS;
            let stored = tile.stored.saturating_sub(first).min(CHANNELS);
            // SAFETY: this function enables the instructions. The caller guarantees the vectors
            // of sums, the tile's multipliers, and that `tile.stored` channels of each pixel
            // are writable; `stored` is limited to those from `first` on.
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

/// Stores the quantized values of all pixels contiguously, 64 at a time, from `count` vectors
/// of sums. A sum is rounded before it is clamped: every sum times its multiplier has to fit
/// i32.
///
/// # Safety
/// As for [`halves`]; `tile.dense` and `tile.stored == VECTORS * CHANNELS` hold, and `sums`
/// points to `count` readable vectors, followed by zeros up to a multiple of [`TOGETHER`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn store_dense(tile: &Tile, levels: Levels, sums: *const __m512i, count: usize) {
    // SAFETY: this function enables the instructions. The caller guarantees the vectors of
    // sums and the multipliers, which `Packed` extends by three vectors for this width, and
    // that `count * CHANNELS` bytes of output are writable: the pixels are contiguous. The
    // mask limits the last store to these.
    unsafe {
        let [low, high] = levels.limits.map(|limit| _mm512_set1_epi8(limit as i8));
        let flip = _mm512_set1_epi8(if levels.offset { -128 } else { 0 });
        // Each quarter has two channels of each of the eight vectors.
        let order = _mm512_set_epi16(
            31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12, 4, 27, 19, 11, 3, 26, 18, 10,
            2, 25, 17, 9, 1, 24, 16, 8, 0,
        );
        let multipliers = tile.multiplier.add(VECTORS * 16);
        for first in (0..count).step_by(TOGETHER) {
            let rounded = |two: usize| {
                let of = |at: usize| _mm512_castsi512_ps(sums.add(first + at).read());
                let (a, b) = (of(2 * two), of(2 * two + 1));
                let sum = _mm512_add_epi32(
                    _mm512_castps_si512(_mm512_shuffle_ps::<0b10_00_10_00>(a, b)),
                    _mm512_castps_si512(_mm512_shuffle_ps::<0b11_01_11_01>(a, b)),
                );
                let by = _mm512_loadu_ps(multipliers.add((first / 2 + two) % VECTORS * 16));
                _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), by))
            };
            let words = _mm512_packs_epi32(rounded(0), rounded(1));
            let bytes = _mm512_packs_epi16(words, _mm512_packs_epi32(rounded(2), rounded(3)));
            let clamped = _mm512_min_epi8(_mm512_max_epi8(bytes, low), high);
            let stored = _mm512_permutexvar_epi16(order, _mm512_xor_si512(clamped, flip));
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

/// The function for a number of pixels: sums, weights and one value have to fit in 32
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
