//! The weighted sums on x86-64.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{
    BLACK, BLUE_OF_U, Columns, Epilogue, FRACTION, GREEN_OF_U, GREEN_OF_V, HALF, LEVEL_HALF,
    LEVEL_SHIFT, LUMA, NO_COLOUR, PIXELS, RED_OF_V, ROW_SHIFT, ROW_START, SAMPLES, YUV_HALF,
    YUV_SHIFT, finish,
};

/// The weights of two rows, one in each half of a lane; the second is 0 after the last row.
fn pair(weights: &[u16], k: usize) -> i32 {
    let second = weights.get(k + 1).copied().unwrap_or(0);
    (u32::from(second) << 16 | u32::from(weights[k])).cast_signed()
}

/// [`Vectors::sum_rows`](super::Vectors::sum_rows), 32 columns at a time. Returns the number
/// of columns that are done: all or none.
///
/// # Safety
/// The machine has AVX2, and `rows` contains a row of `out`'s length for each weight. No
/// weight is over 32,767, or the sums are wrong.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sum_rows(
    rows: &[u8],
    stride: usize,
    weights: &[u16],
    out: &mut [i16],
) -> usize {
    const WIDTH: usize = 32;
    let zero = _mm256_setzero_si256();
    if out.len() < WIDTH {
        return 0;
    }
    for start in (0..out.len()).step_by(WIDTH) {
        // The last vector overlaps the one before it, instead of a scalar loop.
        let start = start.min(out.len() - WIDTH);
        let mut sums = [_mm256_set1_epi32(ROW_START); 4];
        for k in (0..weights.len()).step_by(2) {
            let factors = _mm256_set1_epi32(pair(weights, k));
            let next = if k + 1 < weights.len() { k + 1 } else { k };
            // SAFETY: `rows` contains both rows, and `start + WIDTH` is at most `out.len()`, the
            // length of a row.
            let [first, second] = [k, next].map(|row| unsafe {
                _mm256_loadu_si256(rows.as_ptr().add(row * stride + start).cast())
            });
            let low = _mm256_unpacklo_epi8(first, second);
            let high = _mm256_unpackhi_epi8(first, second);
            let quarters = [
                _mm256_unpacklo_epi8(low, zero),
                _mm256_unpackhi_epi8(low, zero),
                _mm256_unpacklo_epi8(high, zero),
                _mm256_unpackhi_epi8(high, zero),
            ];
            for (sum, quarter) in sums.iter_mut().zip(quarters) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(quarter, factors));
            }
        }
        let [a, b, c, d] = sums.map(|sum| _mm256_srai_epi32::<{ ROW_SHIFT as i32 }>(sum));
        let (low, high) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let halves = [
            _mm256_permute2x128_si256::<0x20>(low, high),
            _mm256_permute2x128_si256::<0x31>(low, high),
        ];
        for (half, sums) in halves.into_iter().enumerate() {
            // SAFETY: `start + WIDTH` is at most `out.len()`.
            unsafe {
                _mm256_storeu_si256(out.as_mut_ptr().add(start + half * WIDTH / 2).cast(), sums);
            }
        }
    }
    out.len()
}

/// [`sum_rows`], 64 columns and four rows at a time.
///
/// # Safety
/// As for [`sum_rows`], and the machine has AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(super) unsafe fn sum_rows_wide(
    rows: &[u8],
    stride: usize,
    weights: &[u16],
    out: &mut [i16],
) -> usize {
    const WIDTH: usize = 64;
    /// Bits of the lower part of a weight. Weights are split so that both parts fit a signed
    /// byte.
    const PARTS: u32 = 7;
    /// Maximum number of rows, in fours: those of the strongest downscaling there is. More rows
    /// use [`sum_rows`].
    const FOURS: usize = 17;
    let small = weights.iter().all(|&weight| weight >> PARTS <= 127);
    if out.len() < WIDTH || weights.len() > 4 * FOURS || !small {
        // SAFETY: this function enables AVX2; the caller guarantees the rest of the contract,
        // which is that of `sum_rows`.
        return unsafe { sum_rows(rows, stride, weights, out) };
    }
    let mut factors = [[0_i32; 2]; FOURS];
    for (factors, four) in factors.iter_mut().zip(weights.chunks(4)) {
        let mut parts = [[0_u8; 4]; 2];
        for (row, &weight) in four.iter().enumerate() {
            parts[0][row] = (weight >> PARTS) as u8;
            parts[1][row] = (weight & 127) as u8;
        }
        *factors = parts.map(i32::from_le_bytes);
    }
    let factors = &factors[..weights.len().div_ceil(4)];
    for start in (0..out.len()).step_by(WIDTH) {
        let start = start.min(out.len() - WIDTH);
        let mut whole = [_mm512_setzero_si512(); 4];
        let mut rest = [_mm512_set1_epi32(ROW_START); 4];
        for (k, factors) in factors.iter().enumerate() {
            let [high, low] = factors.map(|factors| _mm512_set1_epi32(factors));
            // After the last row the weights are 0, and the last row is read again.
            let row = |row: usize| {
                let row = (4 * k + row).min(weights.len() - 1);
                // SAFETY: `rows` contains the row, and `start + WIDTH` is at most `out.len()`,
                // the length of a row.
                unsafe { _mm512_loadu_si512(rows.as_ptr().add(row * stride + start).cast()) }
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ef, gh) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let quarters = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ef, gh),
                _mm512_unpackhi_epi16(ef, gh),
            ];
            for ((whole, rest), quarter) in whole.iter_mut().zip(&mut rest).zip(quarters) {
                *whole = _mm512_dpbusd_epi32(*whole, quarter, high);
                *rest = _mm512_dpbusd_epi32(*rest, quarter, low);
            }
        }
        let sum = |i: usize| {
            let sum = _mm512_add_epi32(_mm512_slli_epi32::<PARTS>(whole[i]), rest[i]);
            _mm512_srai_epi32::<ROW_SHIFT>(sum)
        };
        let even = _mm512_packs_epi32(sum(0), sum(1));
        let odd = _mm512_packs_epi32(sum(2), sum(3));
        // The 128-bit lanes of eight columns alternate between the two.
        let halves = [
            _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
            _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15),
        ];
        for (half, order) in halves.into_iter().enumerate() {
            let sums = _mm512_permutex2var_epi64(even, order, odd);
            // SAFETY: `start + WIDTH` is at most `out.len()`.
            unsafe {
                let out = out.as_mut_ptr().add(start + half * WIDTH / 2);
                _mm512_storeu_si512(out.cast(), sums);
            }
        }
    }
    out.len()
}

/// [`Columns::run`]. Returns the number of pixels that are done.
///
/// # Safety
/// The machine has AVX2, `row` has [`Columns::row_len`] samples, and `out` the bytes of all
/// pixels. No weight is over 32,767, or the sums are wrong.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sum_columns(columns: &Columns, row: &[i16], out: &mut [u8]) -> usize {
    // Loops with a constant number of iterations are much faster.
    // SAFETY: `sum_loads` has the contract of this function.
    unsafe {
        match columns.loads {
            2 => sum_loads::<2>(columns, row, out),
            3 => sum_loads::<3>(columns, row, out),
            4 => sum_loads::<4>(columns, row, out),
            _ => sum_loads::<0>(columns, row, out),
        }
    }
}

/// [`sum_columns`] for `LOADS` loads; 0 is any number.
///
/// # Safety
/// As for [`sum_columns`]; `LOADS` is 0 or `columns.loads`.
#[target_feature(enable = "avx2")]
unsafe fn sum_loads<const LOADS: usize>(columns: &Columns, row: &[i16], out: &mut [u8]) -> usize {
    let whole = columns.starts.len() / PIXELS * PIXELS;
    let channels = columns.finish.channels();
    let loads = if LOADS == 0 { columns.loads } else { LOADS };
    let mut order = [0_u8; 16];
    for (place, bytes) in order.chunks_exact_mut(2).enumerate() {
        let sample = columns.order[place % SAMPLES];
        bytes.copy_from_slice(&[2 * sample, 2 * sample + 1]);
    }
    // SAFETY: `order` has 16 bytes and the start values 4 times 4 bytes.
    let [order, start] = unsafe {
        [
            _mm_loadu_si128(order.as_ptr().cast()),
            _mm_loadu_si128(columns.finish.start().as_ptr().cast()),
        ]
    }
    .map(|half| _mm256_broadcastsi128_si256(half));
    // The four sums of the pixels `x` and `x` + 4.
    let sums = |x: usize| {
        let mut sum = start;
        // SAFETY: `x` and `x + 4` are less than `whole`, which is at most the number of pixels.
        // `Columns::new` computes `row_len` so that it includes every load of every pixel, and
        // stores eight weights for each load.
        unsafe {
            let first = *columns.starts.get_unchecked(x) as usize;
            let second = *columns.starts.get_unchecked(x + 4) as usize;
            let weights = columns.weights.as_ptr().add(Columns::weight(loads, x, 0));
            for load in 0..loads {
                let ahead = row.as_ptr().add(load * columns.advance);
                let both = _mm256_inserti128_si256::<1>(
                    _mm256_castsi128_si256(_mm_loadu_si128(ahead.add(first).cast())),
                    _mm_loadu_si128(ahead.add(second).cast()),
                );
                let both = _mm256_shuffle_epi8(both, order);
                let weights = _mm256_loadu_si256(weights.add(load * 2 * SAMPLES).cast());
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(both, weights));
            }
        }
        sum
    };
    for x in (0..whole).step_by(PIXELS) {
        let sums = [sums(x), sums(x + 1), sums(x + 2), sums(x + 3)];
        let out = &mut out[x * channels..];
        let bytes = match columns.finish {
            Epilogue::Three => three(sums),
            Epilogue::Rgb => colours(sums, false),
            Epilogue::Bgr => colours(sums, true),
            Epilogue::One | Epilogue::Luminance | Epilogue::Grey => {
                for (i, sums) in sums.into_iter().enumerate() {
                    let mut both = [0_i32; 8];
                    // SAFETY: `both` has 8 times 4 bytes.
                    unsafe { _mm256_storeu_si256(both.as_mut_ptr().cast(), sums) };
                    let [a, b, c, d, e, f, g, h] = both;
                    finish(columns.finish, [a, b, c, d], &mut out[i..=i]);
                    finish(columns.finish, [e, f, g, h], &mut out[i + 4..=i + 4]);
                }
                continue;
            }
        };
        store(_mm256_castsi256_si128(bytes), out, 12);
        store(_mm256_extracti128_si256::<1>(bytes), &mut out[12..], 12);
    }
    whole
}

/// Stores the first `count` bytes at the start of `out`. If there is room it stores all 16;
/// the next pixels overwrite the rest.
#[target_feature(enable = "avx2")]
fn store(bytes: __m128i, out: &mut [u8], count: usize) {
    if out.len() >= 16 {
        // SAFETY: `out` has at least 16 bytes.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
    } else {
        let mut buffer = [0_u8; 16];
        // SAFETY: `buffer` has 16 bytes.
        unsafe { _mm_storeu_si128(buffer.as_mut_ptr().cast(), bytes) };
        out[..count].copy_from_slice(&buffer[..count]);
    }
}

/// Converts four pixels of three sums in each half to twelve bytes in each half.
#[target_feature(enable = "avx2")]
fn three(sums: [__m256i; 4]) -> __m256i {
    let [a, b, c, d] = sums.map(|sum| {
        let rounded = _mm256_add_epi32(sum, _mm256_set1_epi32(HALF));
        _mm256_srli_epi32::<{ FRACTION as i32 }>(rounded)
    });
    let (ab, cd) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    without_fourth(_mm256_packus_epi16(ab, cd))
}

/// Removes the fourth byte of each four, in each half.
#[target_feature(enable = "avx2")]
fn without_fourth(bytes: __m256i) -> __m256i {
    let order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order))
}

/// Converts four pixels of luma and chroma in each half to twelve bytes in each half.
#[target_feature(enable = "avx2")]
fn colours(sums: [__m256i; 4], blue_first: bool) -> __m256i {
    let [a, b, c, d] = sums;
    // A transposition of four by four.
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let luma = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    let (ab, cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let (u, v) = (_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    let round_yuv = |sum: __m256i, zero: i32| {
        let rounded = _mm256_add_epi32(sum, _mm256_set1_epi32(YUV_HALF));
        let shifted = _mm256_srai_epi32::<{ YUV_SHIFT as i32 }>(rounded);
        _mm256_sub_epi32(shifted, _mm256_set1_epi32(zero))
    };
    let times = |x: __m256i, factor: i32| _mm256_mullo_epi32(x, _mm256_set1_epi32(factor));
    let (u, v) = (round_yuv(u, NO_COLOUR), round_yuv(v, NO_COLOUR));
    let luma = times(round_yuv(luma, BLACK), LUMA);
    let clamp = |sum: __m256i| {
        let value = _mm256_add_epi32(sum, _mm256_set1_epi32(LEVEL_HALF));
        let value = _mm256_srai_epi32::<{ LEVEL_SHIFT as i32 }>(value);
        let value = _mm256_max_epi32(value, _mm256_setzero_si256());
        _mm256_min_epi32(value, _mm256_set1_epi32(255))
    };
    let red = clamp(_mm256_add_epi32(luma, times(v, RED_OF_V)));
    let chroma = _mm256_add_epi32(times(u, GREEN_OF_U), times(v, GREEN_OF_V));
    let green = clamp(_mm256_add_epi32(luma, chroma));
    let blue = clamp(_mm256_add_epi32(luma, times(u, BLUE_OF_U)));
    let (first, last) = if blue_first { (blue, red) } else { (red, blue) };
    let pixels = _mm256_or_si256(
        _mm256_or_si256(first, _mm256_slli_epi32::<8>(green)),
        _mm256_slli_epi32::<16>(last),
    );
    without_fourth(pixels)
}
