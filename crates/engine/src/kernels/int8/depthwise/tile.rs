//! The inner loop of INT8 depthwise convolutions.
//!
//! A vector has one byte for each of a block of channels. Four rows of a column of the window
//! are interleaved, so that a channel's four taps are adjacent, and multiplied at once. The
//! interleaved taps have four times as many bytes as a vector: four quarters, in the order of
//! [`channel`]. A quarter of a column is multiplied for every output pixel whose window has the
//! column before the next column is read.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::kernels::convolution::WindowAxis;

/// Rows of the window that are multiplied at once.
pub(super) const GROUP: usize = 4;

/// The channel of a lane of a quarter's sums. Interleaving works within 16 bytes, so that each
/// 16 channels contribute four to each quarter.
pub(super) fn channel(quarter: usize, lane: usize) -> usize {
    lane / 4 * 16 + quarter * 4 + lane % 4
}

/// Quantized outputs: the limits, and what is added to the bits of each value: 0x80 for outputs
/// that are stored plus 128.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) low: i8,
    pub(super) high: i8,
    pub(super) flip: u8,
}

/// A row of output pixels of one block of channels.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The block's first channel in the first pixel of the picture.
    pub(super) input: *const u8,
    /// Bytes of a pixel of the input.
    pub(super) pixel: usize,
    /// Bytes of value 0 in the input's format, at least as many as a vector has.
    pub(super) zeros: *const u8,
    /// What the bits of the input are combined with (exclusive or) before they are multiplied.
    pub(super) flip: u8,
    pub(super) down: WindowAxis,
    pub(super) across: WindowAxis,
    /// The row of the output.
    pub(super) y: usize,
    /// Columns of the output, and those of them whose window is inside the input from left to
    /// right.
    pub(super) width: usize,
    pub(super) inner: Range<usize>,
    /// Channels of the block: as many as a vector has, or fewer.
    pub(super) channels: usize,
    /// Four taps for each lane: (groups of rows, columns, quarters, lanes, taps).
    pub(super) weights: *const i8,
    /// For each quarter and lane.
    pub(super) bias: *const i32,
    pub(super) multiplier: *const f32,
    /// The block's first channel in the row's first output pixel.
    pub(super) output: *mut u8,
    /// Bytes of a pixel of the output.
    pub(super) output_pixel: usize,
    /// `None` stores the i32 sums.
    pub(super) limits: Option<Limits>,
}

/// Computes a row. [`function`](super::function) chooses one whose instructions the machine has.
///
/// # Safety
/// - The block's channels of every pixel of the picture, the weights of every tap, and a bias
///   and a multiplier for each lane are readable.
/// - The block's channels of each output pixel of the row are writable.
/// - The window of each output column in `inner` is inside the input from left to right.
pub(super) type RowFunction = unsafe fn(&Row);

/// A register of one byte for each channel, or of the 32-bit sums of a quarter of them.
///
/// # Safety
/// An implementation guarantees that `load` reads and `store` writes exactly `BYTES` bytes,
/// that `quantize` reads `BYTES` multipliers, and that no other function accesses memory.
///
/// A caller of any function guarantees that the machine has the implementation's instruction
/// set, and that this memory is accessible. No pointer has to be aligned to the register.
pub(super) unsafe trait Register: Copy {
    const BYTES: usize;

    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    unsafe fn splat(byte: u8) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// The sums of four quarters as quantized values of all channels, in order: multiplied,
    /// rounded half to even and clamped. Each product fits i32.
    unsafe fn quantize(sums: [Self; 4], multiplier: *const f32, low: Self, high: Self) -> Self;
}

/// The product of four rows of a column with their weights.
///
/// # Safety
/// An implementation guarantees that `dot` reads `R::BYTES * WEIGHT_BYTES` bytes of weights and
/// that `interleave` accesses no memory. A caller guarantees that the machine has the
/// instructions of the implementation and of `R`, and that the weights are readable.
pub(super) unsafe trait Multiply<R: Register> {
    /// Bytes of a weight.
    const WEIGHT_BYTES: usize;
    /// Four taps of each channel of a quarter.
    type Taps: Copy;

    unsafe fn interleave(rows: [R; GROUP]) -> [Self::Taps; 4];
    /// Adds the products of each channel of a quarter to its sum, exactly.
    unsafe fn dot(sums: R, taps: Self::Taps, weights: *const i8) -> R;
}

impl Row {
    /// Where the input rows of a group of taps are, and the bytes from one of their pixels to the
    /// next. Rows outside the input, and those after the last, are zeros.
    #[inline(always)]
    fn rows(&self, group: usize) -> [(*const u8, usize); GROUP] {
        std::array::from_fn(|index| {
            let tap = group * GROUP + index;
            let place =
                (self.y * self.down.stride + tap * self.down.dilation).wrapping_sub(self.down.pad);
            if tap < self.down.kernel && place < self.down.size {
                let start = place * self.across.size * self.pixel;
                (self.input.wrapping_add(start), self.pixel)
            } else {
                (self.zeros, 0)
            }
        })
    }
}

/// Computes a row: `P` pixels at once where the window is inside the input and has `W` columns
/// without dilation and the stride `S`, and the others one by one. A `W` of 0 is any window.
///
/// # Safety
/// The machine has the instructions of `R` and `M`; the rest as for [`RowFunction`].
#[inline(always)]
pub(super) unsafe fn row<R, M, const P: usize, const W: usize, const S: usize>(row: &Row)
where
    R: Register,
    M: Multiply<R>,
{
    let whole = row.channels == R::BYTES;
    // SAFETY: the caller guarantees the contract of `RowFunction`, which is that of `tile` for
    // pixels in `inner`, and that of `pixel` for all pixels. `whole` says whether loads and
    // stores of a whole register are within the block.
    unsafe {
        if W == 0 || row.inner.len() < P || !whole {
            for x in 0..row.width {
                match whole {
                    true => pixel::<R, M, true>(row, x),
                    false => pixel::<R, M, false>(row, x),
                }
            }
            return;
        }
        for x in (0..row.inner.start).chain(row.inner.end..row.width) {
            pixel::<R, M, true>(row, x);
        }
        let mut x = row.inner.start;
        while x < row.inner.end {
            // The last pixels may be computed twice.
            tile::<R, M, P, W, S>(row, x.min(row.inner.end - P));
            x += P;
        }
    }
}

/// Computes `P` adjacent pixels.
///
/// # Safety
/// As for [`row`]; the pixels from `x` on are in `row.inner`, and the block has `R::BYTES`
/// channels.
#[inline(always)]
unsafe fn tile<R, M, const P: usize, const W: usize, const S: usize>(row: &Row, x: usize)
where
    R: Register,
    M: Multiply<R>,
{
    // SAFETY: the caller guarantees the instructions, and that the columns of the windows are
    // inside the input; `Row::rows` gives rows that are inside it, or zeros. Weights, biases and
    // multipliers are there for every tap and lane, and the output for every pixel.
    unsafe {
        let flip = R::splat(row.flip);
        let mut sums = [start::<R>(row); P];
        let mut weights = row.weights;
        let quarter = R::BYTES * M::WEIGHT_BYTES;
        let first = x * S - row.across.pad;
        for group in 0..row.down.kernel.div_ceil(GROUP) {
            let mut rows = row.rows(group);
            for (from, step) in &mut rows {
                *from = from.wrapping_add(first * *step);
            }
            for column in 0..(P - 1) * S + W {
                let taps = M::interleave(rows.map(|(from, _)| R::load(from).xor(flip)));
                for (from, step) in &mut rows {
                    *from = from.wrapping_add(*step);
                }
                for (p, sums) in sums.iter_mut().enumerate() {
                    if column < p * S || column >= p * S + W {
                        continue;
                    }
                    let weights = weights.wrapping_add((column - p * S) * 4 * quarter);
                    for (q, (sum, &taps)) in sums.iter_mut().zip(&taps).enumerate() {
                        *sum = M::dot(*sum, taps, weights.wrapping_add(q * quarter));
                    }
                }
            }
            weights = weights.wrapping_add(W * 4 * quarter);
        }
        for (p, &sums) in sums.iter().enumerate() {
            store::<R, true>(row, x + p, sums);
        }
    }
}

/// Computes one pixel of any window. `WHOLE` states that the block has `R::BYTES` channels.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn pixel<R, M, const WHOLE: bool>(row: &Row, x: usize)
where
    R: Register,
    M: Multiply<R>,
{
    // SAFETY: the caller guarantees the instructions; `Row::rows` gives rows that are inside the
    // input, or zeros, of which only columns inside the input are read. Without `WHOLE` only the
    // channels of the block are read. The rest is as in `tile`.
    unsafe {
        let flip = R::splat(row.flip);
        let mut sums = start::<R>(row);
        let mut weights = row.weights;
        let quarter = R::BYTES * M::WEIGHT_BYTES;
        for group in 0..row.down.kernel.div_ceil(GROUP) {
            let rows = row.rows(group);
            for column in 0..row.across.kernel {
                let place = (x * row.across.stride + column * row.across.dilation)
                    .wrapping_sub(row.across.pad);
                let inside = place < row.across.size;
                let taps = M::interleave(rows.map(|(from, step)| {
                    let from = match inside {
                        true => from.wrapping_add(place * step),
                        false => row.zeros,
                    };
                    load::<R, WHOLE>(from, row.channels).xor(flip)
                }));
                for (q, (sum, &taps)) in sums.iter_mut().zip(&taps).enumerate() {
                    *sum = M::dot(*sum, taps, weights.wrapping_add(q * quarter));
                }
                weights = weights.wrapping_add(4 * quarter);
            }
        }
        store::<R, WHOLE>(row, x, sums);
    }
}

/// The most bytes of a register.
const MOST: usize = 64;

/// The biases, with which the sums start.
///
/// # Safety
/// The machine has the instructions of `R`, and there is a bias for each lane.
#[inline(always)]
unsafe fn start<R: Register>(row: &Row) -> [R; 4] {
    // SAFETY: the caller guarantees the instructions and four quarters of biases.
    std::array::from_fn(|q| unsafe { R::load(row.bias.cast::<u8>().wrapping_add(q * R::BYTES)) })
}

/// A register of channels; without `WHOLE` only the first `channels` are read.
///
/// # Safety
/// The machine has the instructions of `R`, and these channels are readable.
#[inline(always)]
unsafe fn load<R: Register, const WHOLE: bool>(from: *const u8, channels: usize) -> R {
    // SAFETY: the caller guarantees the instructions and the channels; `buffer` has at least
    // `R::BYTES` bytes, of which `channels` is at most as many.
    unsafe {
        if WHOLE {
            return R::load(from);
        }
        let mut buffer = [0; MOST];
        from.copy_to_nonoverlapping(buffer.as_mut_ptr(), channels);
        R::load(buffer.as_ptr())
    }
}

/// Stores a pixel; without `WHOLE` only the channels of the block.
///
/// # Safety
/// The machine has the instructions of `R`; there is a multiplier for each lane, and the block's
/// channels of the output pixel are writable.
#[inline(always)]
unsafe fn store<R: Register, const WHOLE: bool>(row: &Row, x: usize, sums: [R; 4]) {
    let to = row.output.wrapping_add(x * row.output_pixel);
    // SAFETY: the caller guarantees the instructions, the multipliers and the output; without
    // `WHOLE`, `buffer` has at least `R::BYTES` bytes, of which `row.channels` is at most as many.
    unsafe {
        let Some(limits) = row.limits else {
            return store_sums(row, to.cast(), sums);
        };
        let [low, high] = [limits.low, limits.high].map(|limit| R::splat(limit.cast_unsigned()));
        let values = R::quantize(sums, row.multiplier, low, high).xor(R::splat(limits.flip));
        if WHOLE {
            return values.store(to);
        }
        let mut buffer = [0; MOST];
        values.store(buffer.as_mut_ptr());
        to.copy_from_nonoverlapping(buffer.as_ptr(), row.channels);
    }
}

/// Stores a pixel's sums in the order of the channels.
///
/// # Safety
/// The machine has the instructions of `R`, and an i32 is writable for each channel of the block.
#[inline(always)]
unsafe fn store_sums<R: Register>(row: &Row, to: *mut i32, sums: [R; 4]) {
    let mut lanes = [0_i32; MOST / 4];
    let count = R::BYTES / 4;
    for (quarter, sums) in sums.into_iter().enumerate() {
        // SAFETY: the caller guarantees the instructions and the output; `lanes` has at least
        // `R::BYTES` bytes. Only the block's channels are written.
        unsafe {
            sums.store(lanes.as_mut_ptr().cast());
            for (lane, &sum) in lanes[..count].iter().enumerate() {
                let channel = channel(quarter, lane);
                if channel < row.channels {
                    to.add(channel).write(sum);
                }
            }
        }
    }
}
