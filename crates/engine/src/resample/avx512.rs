//! The weighted sums along a row with AVX-512, sixteen pixels at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{
    BLACK, BLUE_OF_U, Columns, Epilogue, FRACTION, GREEN_OF_U, GREEN_OF_V, HALF, LEVEL_HALF,
    LEVEL_SHIFT, LUMA, NO_COLOUR, RED_OF_V, SAMPLES, YUV_HALF, YUV_SHIFT,
};

/// Pixels whose samples are in one load.
const FOUR: usize = 4;
/// Pixels that are converted to bytes together.
const SIXTEEN: usize = 4 * FOUR;
/// Samples of a load.
const LOADED: usize = 32;

/// A vector of weights, or of indices of samples.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u16; LOADED]);

/// The tables of [`Columns`], arranged for vectors that hold the samples of four pixels.
#[derive(Debug, Clone)]
pub(super) struct Fours {
    /// The first sample of the first load, for each four pixels.
    starts: Vec<u32>,
    /// The permutation of the samples of a load, for each four pixels.
    order: Vec<Line>,
    /// The weights, for each load of each four pixels.
    weights: Vec<Line>,
}

impl Fours {
    /// `None` if the samples of four pixels are not always within one load, if there are
    /// fewer than sixteen pixels, or if a pixel does not have three channels.
    pub(super) fn new(columns: &Columns) -> Option<Self> {
        let fours = columns.starts.len() / FOUR;
        let three = matches!(
            columns.finish,
            Epilogue::Three | Epilogue::Rgb | Epilogue::Bgr
        );
        if !three || fours * FOUR < SIXTEEN {
            return None;
        }
        let mut this = Self {
            starts: Vec::with_capacity(fours),
            order: Vec::with_capacity(fours),
            weights: Vec::with_capacity(fours * columns.loads),
        };
        for (four, starts) in columns.starts.chunks_exact(FOUR).enumerate() {
            let start = starts.iter().copied().min().unwrap_or(0);
            let mut order = Line([0; LOADED]);
            for (pixel, &first) in starts.iter().enumerate() {
                for (place, &sample) in columns.order.iter().enumerate() {
                    let at = (first - start) as usize + usize::from(sample);
                    let shares = (0..columns.loads).map(|load| {
                        let weights = Columns::weight(columns.loads, four * FOUR + pixel, load);
                        columns.weights[weights + place]
                    });
                    // A sample without weight may be outside the load.
                    if at < LOADED {
                        order.0[pixel * SAMPLES + place] = at as u16;
                    } else if shares.into_iter().any(|weight| weight > 0) {
                        return None;
                    }
                }
            }
            for load in 0..columns.loads {
                let mut weights = Line([0; LOADED]);
                for (pixel, weights) in weights.0.chunks_exact_mut(SAMPLES).enumerate() {
                    let first = Columns::weight(columns.loads, four * FOUR + pixel, load);
                    weights.copy_from_slice(&columns.weights[first..][..SAMPLES]);
                }
                this.weights.push(weights);
            }
            this.starts.push(start);
            this.order.push(order);
        }
        Some(this)
    }

    /// Number of samples that a row must have.
    pub(super) fn row_len(&self, columns: &Columns) -> usize {
        let last = self.starts.iter().copied().max().unwrap_or(0) as usize;
        last + columns.loads.saturating_sub(1) * columns.advance + LOADED
    }
}

/// [`Columns::run`]. Returns the number of pixels that are done.
///
/// # Safety
/// The machine has AVX-512 F, BW and VNNI, `fours` was created from `columns`, `row` has
/// [`Fours::row_len`] samples, and `out` the bytes of all pixels.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn sum_columns(
    columns: &Columns,
    fours: &Fours,
    row: &[i16],
    out: &mut [u8],
) -> usize {
    // Loops with a constant number of iterations are much faster.
    // SAFETY: `sum_loads` has the contract of this function.
    unsafe {
        match columns.loads {
            2 => sum_loads::<2>(columns, fours, row, out),
            3 => sum_loads::<3>(columns, fours, row, out),
            4 => sum_loads::<4>(columns, fours, row, out),
            _ => sum_loads::<0>(columns, fours, row, out),
        }
    }
}

/// [`sum_columns`] for `LOADS` loads; 0 is any number.
///
/// # Safety
/// As for [`sum_columns`]; `LOADS` is 0 or `columns.loads`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_loads<const LOADS: usize>(
    columns: &Columns,
    fours: &Fours,
    row: &[i16],
    out: &mut [u8],
) -> usize {
    /// Bytes of sixteen pixels.
    const BYTES: usize = 3 * SIXTEEN;
    let loads = if LOADS == 0 { columns.loads } else { LOADS };
    let start = start(columns.finish);
    // The four sums of each of four pixels.
    let sums = |four: usize| {
        let mut sum = start;
        // SAFETY: `four` is less than `count`. The row has `Fours::row_len` samples, which
        // include every load, and `Fours::new` stores weights for each load. `order` and
        // `weights` are arrays of `Line`, which is aligned to 64 bytes.
        unsafe {
            let first = *fours.starts.get_unchecked(four) as usize;
            let order = _mm512_load_si512(fours.order.as_ptr().add(four).cast());
            let weights = fours.weights.as_ptr().add(four * loads);
            for load in 0..loads {
                let samples = row.as_ptr().add(first + load * columns.advance);
                let samples = _mm512_permutexvar_epi16(order, _mm512_loadu_si512(samples.cast()));
                let weights = _mm512_load_si512(weights.add(load).cast());
                sum = _mm512_dpwssd_epi32(sum, samples, weights);
            }
        }
        sum
    };
    let count = fours.starts.len();
    for four in (0..count).step_by(4) {
        // The last sixteen pixels overlap those before, instead of a scalar loop.
        let four = four.min(count - 4);
        let sums = [sums(four), sums(four + 1), sums(four + 2), sums(four + 3)];
        let bytes = match columns.finish {
            Epilogue::Bgr => colours(sums, true),
            Epilogue::Rgb => colours(sums, false),
            _ => three(sums),
        };
        let out = &mut out[3 * FOUR * four..][..BYTES];
        // SAFETY: `out` has `BYTES` bytes, and the mask limits the store to these.
        unsafe { _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), (1 << BYTES) - 1, bytes) };
    }
    count * FOUR
}

/// The initial values of the sums of each pixel: those of [`Epilogue::start`], plus a half for
/// rounding, minus the luma of black and the chroma of grey. Luma has two sums; only the
/// first includes the half and the luma of black.
#[target_feature(enable = "avx512f")]
fn start(finish: Epilogue) -> __m512i {
    let [a, b, c, d] = finish.start();
    let [a, b, c, d] = match finish {
        Epilogue::Rgb | Epilogue::Bgr => [
            a + YUV_HALF - (BLACK << YUV_SHIFT),
            b,
            c + YUV_HALF - (NO_COLOUR << YUV_SHIFT),
            d + YUV_HALF - (NO_COLOUR << YUV_SHIFT),
        ],
        _ => [a + HALF, b + HALF, c + HALF, d],
    };
    _mm512_set4_epi32(d, c, b, a)
}

/// Converts four pixels of three sums in each vector to the bytes of all pixels, in order.
#[target_feature(enable = "avx512f,avx512bw")]
fn three(sums: [__m512i; 4]) -> __m512i {
    let [a, b, c, d] = sums.map(|sum| _mm512_srli_epi32::<FRACTION>(sum));
    let (ab, cd) = (_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    in_order(_mm512_packus_epi16(ab, cd))
}

/// Converts pixels of four bytes to pixels of three bytes, in order. Quarter q of the input
/// has pixels q, 4 + q, 8 + q and 12 + q.
#[target_feature(enable = "avx512f,avx512bw")]
fn in_order(pixels: __m512i) -> __m512i {
    let transposed = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let three = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    let packed = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
    let pixels = _mm512_permutexvar_epi32(transposed, pixels);
    let pixels = _mm512_shuffle_epi8(pixels, _mm512_broadcast_i32x4(three));
    _mm512_permutexvar_epi32(packed, pixels)
}

/// Converts four pixels of luma and chroma in each vector to the bytes of all pixels, in
/// order.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn colours(sums: [__m512i; 4], blue_first: bool) -> __m512i {
    let [a, b, c, d] = sums;
    // A transposition of four by four.
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let luma = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    let (u, v) = (_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    // Luma in the low half of each lane, chroma in the high half.
    let luma = _mm512_srai_epi32::<YUV_SHIFT>(luma);
    let beside = |chroma: __m512i| {
        let high = _mm512_srai_epi32::<{ YUV_SHIFT - 16 }>(chroma);
        _mm512_mask_blend_epi16(0xaaaa_aaaa, luma, high)
    };
    let (u, v) = (beside(u), beside(v));
    let add = |sum: __m512i, both: __m512i, luma: i32, chroma: i32| {
        _mm512_dpwssd_epi32(sum, both, _mm512_set1_epi32(chroma << 16 | luma))
    };
    let half = _mm512_set1_epi32(LEVEL_HALF);
    let red = add(half, v, LUMA, RED_OF_V);
    let green = add(add(half, u, LUMA, GREEN_OF_U), v, 0, GREEN_OF_V);
    let blue = add(half, u, LUMA, BLUE_OF_U);
    let (first, last) = if blue_first { (blue, red) } else { (red, blue) };
    let [first, green, last] =
        [first, green, last].map(|sum| _mm512_srai_epi32::<LEVEL_SHIFT>(sum));
    // The packs saturate to 0 to 255.
    let low = _mm512_packs_epi32(first, green);
    let bytes = _mm512_packus_epi16(low, _mm512_packs_epi32(last, last));
    let by_pixel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    in_order(_mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(by_pixel)))
}
