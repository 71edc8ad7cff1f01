//! INT8 multiply-accumulate on x86-64.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::Target;
use super::packed_input::PackedInput;
use super::tile::{Levels, Sums, Tile, TileFunction, no_split, tile};
pub(crate) use super::vnni512::Vnni512;
use super::width::Width;
use crate::instruction_set::{Available, InstructionSet};

/// Quantizes eight sums: multiplies, clamps and rounds them. For AVX-VNNI and AVX2.
///
/// # Safety
/// The machine has AVX2, and eight multipliers are readable.
#[inline(always)]
unsafe fn requantize(sums: __m256i, multiplier: *const f32, limits: [f32; 2]) -> __m256i {
    // SAFETY: the caller guarantees AVX2 and eight readable multipliers.
    unsafe {
        let x = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(multiplier));
        let x = _mm256_max_ps(x, _mm256_set1_ps(limits[0]));
        _mm256_cvtps_epi32(_mm256_min_ps(x, _mm256_set1_ps(limits[1])))
    }
}

/// Stores the first `stored` of eight quantized values.
///
/// # Safety
/// The machine has AVX2, `stored` is at most 8, and `stored` bytes at `to` are writable.
#[inline(always)]
unsafe fn store_quantized(values: __m256i, offset: bool, to: *mut i8, stored: usize) {
    // Adding 128 to an i8 flips its highest bit.
    let flip = if offset { 0x8080_8080_8080_8080 } else { 0 };
    // SAFETY: the caller guarantees AVX2 and `stored` writable bytes; at most `stored` are
    // written.
    unsafe {
        let low = _mm256_castsi256_si128(values);
        let words = _mm_packs_epi32(low, _mm256_extracti128_si256(values, 1));
        let bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).cast_unsigned() ^ flip;
        let bytes = bytes.to_le_bytes();
        if stored == 8 {
            to.cast::<[u8; 8]>().write_unaligned(bytes);
        } else {
            for (lane, &byte) in bytes.iter().enumerate().take(stored) {
                *to.add(lane) = byte.cast_signed();
            }
        }
    }
}

/// Stores the first `stored` of eight sums.
///
/// # Safety
/// The machine has AVX2, and `stored` i32 are writable.
#[inline(always)]
unsafe fn store_sums(sums: __m256i, to: *mut i32, stored: usize) {
    // SAFETY: the caller guarantees AVX2 and `stored` writable i32; the mask limits the store
    // to these.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(stored as i32), lanes);
        _mm256_maskstore_epi32(to, mask, sums);
    }
}

/// AVX-VNNI: like [`Vnni512`], with half as many lanes.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(__m256i);

/// AVX2: two taps of i16 by i16 for each lane; neither products nor sums saturate.
#[derive(Clone, Copy)]
pub(crate) struct Madd(__m256i);

/// The functions of [`Sums`] that are the same for both.
macro_rules! eight_lanes {
    () => {
        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            // SAFETY: the caller guarantees AVX2 and 8 readable i32.
            unsafe { Self(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn value(from: *const u8) -> __m256i {
            // SAFETY: the caller guarantees AVX2 and 4 readable bytes.
            unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }
        no_split!();
        #[inline(always)]
        unsafe fn store(self, to: *mut i32, stored: usize) {
            // SAFETY: the caller guarantees AVX2 and `stored` writable i32.
            unsafe { store_sums(self.0, to, stored) }
        }
        #[inline(always)]
        unsafe fn levels(self, multiplier: *const f32, levels: Levels, to: *mut i8, stored: usize) {
            // SAFETY: the caller guarantees AVX2, 8 readable multipliers, and `stored` writable
            // bytes (at most 8).
            unsafe {
                let values = requantize(self.0, multiplier, levels.limits);
                store_quantized(values, levels.offset, to, stored);
            }
        }
    };
}

// SAFETY: eight lanes of four taps: `value` reads 4 bytes, `weights` 32. The instruction sets
// are AVX2 and AVX-VNNI.
unsafe impl Sums for AvxVnni {
    const COUNT: usize = 8;
    const GROUP: usize = 4;
    const STEP: usize = 4;
    type Value = __m256i;
    type Weights = __m256i;

    eight_lanes!();
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m256i {
        // SAFETY: the caller guarantees AVX2 and 32 readable bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(self, value: __m256i, weights: __m256i) -> Self {
        // SAFETY: the caller guarantees AVX-VNNI.
        unsafe { Self(_mm256_dpbusd_avx_epi32(self.0, value, weights)) }
    }
}

// SAFETY: eight lanes of two taps: `value` reads two i16 (4 bytes), `weights` 16 bytes. The
// instruction set is AVX2.
unsafe impl Sums for Madd {
    const COUNT: usize = 8;
    const GROUP: usize = 2;
    const STEP: usize = 4;
    type Value = __m256i;
    type Weights = __m256i;

    eight_lanes!();
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m256i {
        // SAFETY: the caller guarantees AVX2 and 16 readable bytes.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(self, value: __m256i, weights: __m256i) -> Self {
        // SAFETY: the caller guarantees AVX2.
        unsafe { Self(_mm256_add_epi32(self.0, _mm256_madd_epi16(value, weights))) }
    }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
unsafe fn vnni512<const P: usize, const Z: usize, const S: usize>(t: &Tile) {
    // SAFETY: this function enables the instructions of `Vnni512`; the caller guarantees the
    // rest of the contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<Vnni512, P, Z, S>(t) }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn avx_vnni<const P: usize, const Z: usize, const S: usize>(t: &Tile) {
    // SAFETY: this function enables the instructions of `AvxVnni`; the caller guarantees the
    // rest of the contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<AvxVnni, P, Z, S>(t) }
}

/// # Safety
/// See [`TileFunction`].
#[target_feature(enable = "avx2")]
unsafe fn madd<const P: usize, const Z: usize, const S: usize>(t: &Tile) {
    // SAFETY: this function enables the instructions of `Madd`; the caller guarantees the
    // rest of the contract of `TileFunction`, which is that of `tile`.
    unsafe { tile::<Madd, P, Z, S>(t) }
}

/// Selects the instance of a tile function for a number of pixels.
macro_rules! choose {
    ($function:ident, $pixels:expr, $vectors:tt, $split:tt, [$($count:literal)*]) => {
        match $pixels {
            $($count => Some($function::<$count, $vectors, $split> as TileFunction),)*
            _ => None,
        }
    };
}

/// Tiles without a split vector. Sums, weights and one value have to fit in 32 registers.
fn tiles_of_32(pixels: usize, vectors: usize) -> Option<TileFunction> {
    match vectors {
        1 => choose!(vnni512, pixels, 1, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(vnni512, pixels, 2, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
        3 => choose!(vnni512, pixels, 3, 1, [1 2 3 4 5 6 7 8]),
        4 => choose!(vnni512, pixels, 4, 1, [1 2 3 4 5 6]),
        5 => choose!(vnni512, pixels, 5, 1, [1]),
        6 => choose!(vnni512, pixels, 6, 1, [1]),
        7 => choose!(vnni512, pixels, 7, 1, [1]),
        8 => choose!(vnni512, pixels, 8, 1, [1]),
        _ => None,
    }
}

/// Tiles with a split vector after `vectors` full ones. Sums, weights and one value have to fit
/// in 32 registers.
fn split_of_32<const S: usize>(pixels: usize, vectors: usize) -> Option<TileFunction> {
    match vectors {
        0 => choose!(vnni512, pixels, 0, S, [1 2 3 4 5 6 7 8 9 10 11 12]),
        1 => choose!(vnni512, pixels, 1, S, [1 2 3 4 5 6 7 8 9 10 11 12]),
        2 => choose!(vnni512, pixels, 2, S, [1 2 3 4 5 6 7 8]),
        3 => choose!(vnni512, pixels, 3, S, [1 2 3 4 5 6]),
        4 => choose!(vnni512, pixels, 4, S, [1]),
        5 => choose!(vnni512, pixels, 5, S, [1]),
        6 => choose!(vnni512, pixels, 6, S, [1]),
        7 => choose!(vnni512, pixels, 7, S, [1]),
        _ => None,
    }
}

/// Tiles without a split vector. Sums, weights and one value have to fit in 16 registers; with
/// one pixel, each weight is used once and need not stay in a register.
macro_rules! tiles_of_16 {
    ($function:ident, $pixels:expr, $vectors:expr) => {
        match $vectors {
            1 => choose!($function, $pixels, 1, 1, [1 2 3 4 5 6 7 8 9 10 11 12]),
            2 => choose!($function, $pixels, 2, 1, [1 2 3 4 5 6]),
            3 => choose!($function, $pixels, 3, 1, [1 2 3 4]),
            4 => choose!($function, $pixels, 4, 1, [1 2]),
            5 => choose!($function, $pixels, 5, 1, [1]),
            6 => choose!($function, $pixels, 6, 1, [1]),
            7 => choose!($function, $pixels, 7, 1, [1]),
            8 => choose!($function, $pixels, 8, 1, [1]),
            _ => None,
        }
    };
}

/// The function that computes tiles of `pixels` by `width`, if there is one.
pub(super) fn function(
    instruction_set: Available,
    pixels: usize,
    width: Width,
) -> Option<TileFunction> {
    if width == Width::HALVES {
        return super::halves::function(pixels);
    }
    match (instruction_set.set(), width.split) {
        (InstructionSet::Avx512Vnni, 1) => tiles_of_32(pixels, width.full),
        (InstructionSet::Avx512Vnni, 2) => split_of_32::<2>(pixels, width.full),
        (InstructionSet::Avx512Vnni, 4) => split_of_32::<4>(pixels, width.full),
        (InstructionSet::AvxVnni, 1) => tiles_of_16!(avx_vnni, pixels, width.full),
        (_, 1) => tiles_of_16!(madd, pixels, width.full),
        _ => None,
    }
}

/// [`PackedInput::fill`], compiled for AVX2.
///
/// # Safety
/// As for [`PackedInput::fill`], and the machine has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn fill(stage: &PackedInput, input: &[i8], packed: Target, rows: Range<usize>) {
    // SAFETY: the caller guarantees the contract of `PackedInput::fill`.
    unsafe { stage.fill(input, packed, rows) }
}
