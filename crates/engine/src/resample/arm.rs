//! The weighted sums on aarch64.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{
    BLACK, BLUE_OF_U, Columns, Epilogue, FRACTION, GREEN_OF_U, GREEN_OF_V, HALF, LEVEL_HALF,
    LEVEL_SHIFT, LUMA, NO_COLOUR, RED_OF_V, ROW_SHIFT, ROW_START, SAMPLES, YUV_HALF, YUV_SHIFT,
    finish,
};

/// [`Vectors::sum_rows`](super::Vectors::sum_rows), 16 columns at a time. Returns the number
/// of columns that are done: all or none.
///
/// # Safety
/// `rows` contains a row of `out`'s length for each weight. No weight is over 32,767, or the
/// sums are wrong.
pub(super) unsafe fn sum_rows(
    rows: &[u8],
    stride: usize,
    weights: &[u16],
    out: &mut [i16],
) -> usize {
    const WIDTH: usize = 16;
    if out.len() < WIDTH {
        return 0;
    }
    for start in (0..out.len()).step_by(WIDTH) {
        // The last vector overlaps the one before it, instead of a scalar loop.
        let start = start.min(out.len() - WIDTH);
        // SAFETY: NEON is part of aarch64; `rows` contains a row for each weight, and
        // `start + WIDTH` is at most `out.len()`, the length of a row.
        unsafe {
            let mut sums = [vdupq_n_s32(ROW_START); 4];
            for (k, &weight) in weights.iter().enumerate() {
                let bytes = vld1q_u8(rows.as_ptr().add(k * stride + start));
                let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
                let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
                let weight = weight.cast_signed();
                sums[0] = vmlal_n_s16(sums[0], vget_low_s16(low), weight);
                sums[1] = vmlal_high_n_s16(sums[1], low, weight);
                sums[2] = vmlal_n_s16(sums[2], vget_low_s16(high), weight);
                sums[3] = vmlal_high_n_s16(sums[3], high, weight);
            }
            let [a, b, c, d] = sums.map(|sum| vshrn_n_s32::<{ ROW_SHIFT as i32 }>(sum));
            let out = out.as_mut_ptr().add(start);
            vst1q_s16(out, vcombine_s16(a, b));
            vst1q_s16(out.add(8), vcombine_s16(c, d));
        }
    }
    out.len()
}

/// [`Columns::run`]. Returns the number of pixels that are done.
///
/// # Safety
/// `row` has [`Columns::row_len`] samples, and `out` the bytes of all pixels. No weight is
/// over 32,767, or the sums are wrong.
pub(super) unsafe fn sum_columns(columns: &Columns, row: &[i16], out: &mut [u8]) -> usize {
    let pixels = columns.starts.len();
    let channels = columns.finish.channels();
    let mut order = [0_u8; 16];
    for (place, bytes) in order.chunks_exact_mut(2).enumerate() {
        let sample = columns.order[place % SAMPLES];
        bytes.copy_from_slice(&[2 * sample, 2 * sample + 1]);
    }
    let start = columns.finish.start();
    // SAFETY: NEON is part of aarch64; `order` has 16 bytes and `start` 4 times 4 bytes.
    let (order, start) = unsafe { (vld1q_u8(order.as_ptr()), vld1q_s32(start.as_ptr())) };
    // The four sums of pixel `x`.
    let sums = |x: usize| {
        let mut sum = start;
        for load in 0..columns.loads {
            // SAFETY: NEON is part of aarch64; `x` is less than the number of pixels.
            // `Columns::new` computes `row_len` so that it includes every load of every pixel,
            // and stores eight weights for each load.
            unsafe {
                let first = columns.starts[x] as usize + load * columns.advance;
                let samples = vld1q_u8(row.as_ptr().add(first).cast());
                let samples = vreinterpretq_s16_u8(vqtbl1q_u8(samples, order));
                let place = Columns::weight(columns.loads, x, load);
                let weights = vld1q_s16(columns.weights.as_ptr().add(place).cast());
                let low = vmull_s16(vget_low_s16(samples), vget_low_s16(weights));
                let high = vmull_high_s16(samples, weights);
                sum = vaddq_s32(sum, vpaddq_s32(low, high));
            }
        }
        sum
    };
    match columns.finish {
        Epilogue::Three => {
            let whole = pixels - pixels % 4;
            for x in (0..whole).step_by(4) {
                let values = [0, 1, 2, 3].map(|i| {
                    // SAFETY: NEON is part of aarch64.
                    unsafe {
                        let rounded = vaddq_s32(sums(x + i), vdupq_n_s32(HALF));
                        vshrq_n_u32::<{ FRACTION as i32 }>(vreinterpretq_u32_s32(rounded))
                    }
                });
                store(values, &mut out[x * 3..]);
            }
            whole
        }
        Epilogue::Rgb | Epilogue::Bgr => {
            let whole = pixels - pixels % 4;
            for x in (0..whole).step_by(4) {
                let sums = [sums(x), sums(x + 1), sums(x + 2), sums(x + 3)];
                let [red, green, blue] = colours(sums);
                let [first, last] = match columns.finish {
                    Epilogue::Bgr => [blue, red],
                    _ => [red, blue],
                };
                // SAFETY: NEON is part of aarch64.
                let pixels = unsafe {
                    let green = vshlq_n_u32::<8>(green);
                    vorrq_u32(vorrq_u32(first, green), vshlq_n_u32::<16>(last))
                };
                // SAFETY: NEON is part of aarch64.
                store_three(unsafe { vreinterpretq_u8_u32(pixels) }, &mut out[x * 3..]);
            }
            whole
        }
        Epilogue::One | Epilogue::Luminance | Epilogue::Grey => {
            for (x, out) in out.chunks_exact_mut(channels).enumerate() {
                let mut four = [0_i32; 4];
                // SAFETY: NEON is part of aarch64; `four` has 4 times 4 bytes.
                unsafe { vst1q_s32(four.as_mut_ptr(), sums(x)) };
                finish(columns.finish, four, out);
            }
            pixels
        }
    }
}

/// Stores four pixels of three values each.
fn store(values: [uint32x4_t; 4], out: &mut [u8]) {
    let [a, b, c, d] = values;
    // SAFETY: NEON is part of aarch64.
    let bytes = unsafe {
        let first = vcombine_u16(vmovn_u32(a), vmovn_u32(b));
        let second = vcombine_u16(vmovn_u32(c), vmovn_u32(d));
        vcombine_u8(vmovn_u16(first), vmovn_u16(second))
    };
    store_three(bytes, out);
}

/// Stores the first three bytes of each four at the start of `out`.
fn store_three(bytes: uint8x16_t, out: &mut [u8]) {
    const ORDER: [u8; 16] = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255];
    let mut buffer = [0_u8; 16];
    // SAFETY: NEON is part of aarch64; `ORDER` and `buffer` have 16 bytes.
    unsafe {
        let bytes = vqtbl1q_u8(bytes, vld1q_u8(ORDER.as_ptr()));
        vst1q_u8(buffer.as_mut_ptr(), bytes);
    }
    out[..12].copy_from_slice(&buffer[..12]);
}

/// Converts four pixels of luma and chroma to red, green and blue.
fn colours(sums: [int32x4_t; 4]) -> [uint32x4_t; 3] {
    let [a, b, c, d] = sums;
    // SAFETY: NEON is part of aarch64.
    unsafe {
        // A transposition of four by four.
        let (ab, cd) = (vzip1q_s32(a, b), vzip1q_s32(c, d));
        let luma = vaddq_s32(low(ab, cd), high(ab, cd));
        let (ab, cd) = (vzip2q_s32(a, b), vzip2q_s32(c, d));
        let (u, v) = (low(ab, cd), high(ab, cd));
        let round_yuv = |sum: int32x4_t, zero: i32| {
            let rounded = vaddq_s32(sum, vdupq_n_s32(YUV_HALF));
            vsubq_s32(
                vshrq_n_s32::<{ YUV_SHIFT as i32 }>(rounded),
                vdupq_n_s32(zero),
            )
        };
        let clamp = |sum: int32x4_t| {
            let value = vaddq_s32(sum, vdupq_n_s32(LEVEL_HALF));
            let value = vshrq_n_s32::<{ LEVEL_SHIFT as i32 }>(value);
            let value = vminq_s32(vmaxq_s32(value, vdupq_n_s32(0)), vdupq_n_s32(255));
            vreinterpretq_u32_s32(value)
        };
        let (u, v) = (round_yuv(u, NO_COLOUR), round_yuv(v, NO_COLOUR));
        let luma = vmulq_n_s32(round_yuv(luma, BLACK), LUMA);
        [
            clamp(vmlaq_n_s32(luma, v, RED_OF_V)),
            clamp(vmlaq_n_s32(vmlaq_n_s32(luma, u, GREEN_OF_U), v, GREEN_OF_V)),
            clamp(vmlaq_n_s32(luma, u, BLUE_OF_U)),
        ]
    }
}

/// The lower halves of two vectors.
fn low(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: NEON is part of aarch64.
    unsafe {
        vreinterpretq_s32_s64(vzip1q_s64(
            vreinterpretq_s64_s32(a),
            vreinterpretq_s64_s32(b),
        ))
    }
}

/// The upper halves of two vectors.
fn high(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: NEON is part of aarch64.
    unsafe {
        vreinterpretq_s32_s64(vzip2q_s64(
            vreinterpretq_s64_s32(a),
            vreinterpretq_s64_s32(b),
        ))
    }
}
