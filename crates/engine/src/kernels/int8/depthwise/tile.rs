//! The inner loop of INT8 depthwise convolutions.
//!
//! A vector has one byte for each of a block of channels. Four rows of a column of the input
//! are interleaved, so that a channel's four taps are adjacent, and multiplied at once. The
//! interleaved taps have four times as many bytes as a vector: four quarters, in the order of
//! [`channel`]. Columns are read once, from left to right, and multiplied for every output pixel
//! whose window has them: the sums of these pixels are in registers. Nothing here takes a vector
//! through a closure or `array::map`: they have no instructions enabled, and may not be inlined.
#![allow(unsafe_code)]

use crate::kernels::convolution::WindowAxis;

/// Rows of the window that are multiplied at once.
pub(super) const GROUP: usize = 4;

/// The channel of a lane of a quarter's sums. Interleaving works within 16 bytes, so that each
/// 16 channels contribute four to each quarter.
pub(super) fn channel(quarter: usize, lane: usize) -> usize {
    lane / 4 * 16 + quarter * 4 + lane % 4
}

/// What is stored of the sums.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    Quantized(Limits),
    /// The sums times their multipliers, in f32.
    Floats,
    /// The i32 sums.
    Sums,
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
    /// Columns of the output.
    pub(super) width: usize,
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
    pub(super) stored: Stored,
}

/// Computes a row. [`function`](super::function) chooses one whose instructions the machine has.
///
/// # Safety
/// - The block's channels of every pixel of the picture, the weights of every tap, and a bias
///   and a multiplier for each lane are readable.
/// - The block's channels of each output pixel of the row are writable.
pub(super) type RowFunction = unsafe fn(&Row);

/// A register of one byte for each channel, or of the 32-bit sums of a quarter of them.
///
/// # Safety
/// An implementation guarantees that `load` reads and `store` writes exactly `BYTES` bytes,
/// that `quantize` reads `BYTES` multipliers and `scale` a quarter of them, and that no other function accesses memory.
///
/// A caller of any function guarantees that the machine has the implementation's instruction
/// set, and that this memory is accessible. No pointer has to be aligned to the register.
pub(super) unsafe trait Register: Copy {
    const BYTES: usize;

    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    unsafe fn splat(byte: u8) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// The sums of a quarter times their multipliers, as the bits of f32.
    unsafe fn scale(self, multiplier: *const f32) -> Self;
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

/// Computes a row whose window has `W` columns without dilation and the stride `S`, of which each
/// column is in `L` windows at most. A `W` of 0 is any window.
///
/// # Safety
/// The machine has the instructions of `R` and `M`; the rest as for [`RowFunction`].
#[inline(always)]
pub(super) unsafe fn row<R, M, const W: usize, const S: usize, const L: usize>(row: &Row)
where
    R: Register,
    M: Multiply<R>,
{
    let whole = row.channels == R::BYTES;
    // SAFETY: the caller guarantees the contract of `RowFunction`, which is that of `columns` and
    // `pixel`. `whole` says whether loads and stores of a whole register are within the block.
    unsafe {
        if W > 0 && whole && row.down.kernel <= GROUP * GROUPS {
            return columns::<R, M, W, S, L>(row);
        }
        for x in 0..row.width {
            match whole {
                true => pixel::<R, M, true>(row, x),
                false => pixel::<R, M, false>(row, x),
            }
        }
    }
}

/// The most groups of rows of a window that is computed column by column.
const GROUPS: usize = 2;

/// Computes a row column by column. Step `i` adds the `S` columns that are the first of the
/// window of pixel `i` to that pixel and to the `L - 1` before it, and completes the earliest.
///
/// # Safety
/// As for [`row`]; the block has `R::BYTES` channels, and the window at most [`GROUPS`] groups of
/// rows.
#[inline(always)]
unsafe fn columns<R, M, const W: usize, const S: usize, const L: usize>(row: &Row)
where
    R: Register,
    M: Multiply<R>,
{
    // SAFETY: the caller guarantees the instructions. `Row::rows` gives rows that are inside the
    // input, or zeros, of which only columns inside the input are read. Weights, biases and
    // multipliers are there for every tap and lane, and the output for every pixel.
    unsafe {
        let groups = row.down.kernel.div_ceil(GROUP);
        let rows: [_; GROUPS] = std::array::from_fn(|group| row.rows(group));
        let flip = R::splat(row.flip);
        let outside = M::interleave([R::load(row.zeros).xor(flip); GROUP]);
        let quarter = R::BYTES * M::WEIGHT_BYTES;
        let mut sums = [start::<R>(row); L];
        for i in 0..row.width + L - 1 {
            for s in 0..S {
                let place = (i * S + s).wrapping_sub(row.across.pad);
                for (group, rows) in rows.iter().enumerate().take(groups) {
                    let taps = match place < row.across.size {
                        true => {
                            let [a, b, c, d] = *rows;
                            let at =
                                |(from, step): (*const u8, usize)| from.wrapping_add(place * step);
                            M::interleave([
                                R::load(at(a)).xor(flip),
                                R::load(at(b)).xor(flip),
                                R::load(at(c)).xor(flip),
                                R::load(at(d)).xor(flip),
                            ])
                        }
                        false => outside,
                    };
                    for (l, sums) in sums.iter_mut().enumerate() {
                        let tap = l * S + s;
                        if tap >= W {
                            continue;
                        }
                        for (q, (sum, &taps)) in sums.iter_mut().zip(&taps).enumerate() {
                            let at = ((group * W + tap) * 4 + q) * quarter;
                            *sum = M::dot(*sum, taps, row.weights.wrapping_add(at));
                        }
                    }
                }
            }
            if i + 1 >= L {
                store::<R, true>(row, i + 1 - L, sums[L - 1]);
            }
            // One by one: a copy of several would keep the sums in memory.
            let first = start::<R>(row);
            for q in 0..4 {
                for l in (1..L).rev() {
                    sums[l][q] = sums[l - 1][q];
                }
                sums[0][q] = first[q];
            }
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
    // channels of the block are read. The rest is as in `columns`.
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
                let at = |(from, step): (*const u8, usize)| match inside {
                    true => from.wrapping_add(place * step),
                    false => row.zeros,
                };
                let [a, b, c, d] = rows;
                let taps = M::interleave([
                    load::<R, WHOLE>(at(a), row.channels).xor(flip),
                    load::<R, WHOLE>(at(b), row.channels).xor(flip),
                    load::<R, WHOLE>(at(c), row.channels).xor(flip),
                    load::<R, WHOLE>(at(d), row.channels).xor(flip),
                ]);
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
    let from = row.bias.cast::<u8>();
    // SAFETY: the caller guarantees the instructions and four quarters of biases.
    unsafe {
        [
            R::load(from),
            R::load(from.wrapping_add(R::BYTES)),
            R::load(from.wrapping_add(2 * R::BYTES)),
            R::load(from.wrapping_add(3 * R::BYTES)),
        ]
    }
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
        let limits = match row.stored {
            Stored::Quantized(limits) => limits,
            Stored::Floats => {
                let by = |quarter: usize| row.multiplier.wrapping_add(quarter * R::BYTES / 4);
                let [a, b, c, d] = sums;
                let scaled = [
                    a.scale(by(0)),
                    b.scale(by(1)),
                    c.scale(by(2)),
                    d.scale(by(3)),
                ];
                return store_sums(row, to.cast(), scaled);
            }
            Stored::Sums => return store_sums(row, to.cast(), sums),
        };
        let low = R::splat(limits.low.cast_unsigned());
        let high = R::splat(limits.high.cast_unsigned());
        let values = R::quantize(sums, row.multiplier, low, high).xor(R::splat(limits.flip));
        if WHOLE {
            return values.store(to);
        }
        let mut buffer = [0; MOST];
        values.store(buffer.as_mut_ptr());
        to.copy_from_nonoverlapping(buffer.as_ptr(), row.channels);
    }
}

/// Stores a pixel's sums, or as many f32, in the order of the channels.
///
/// # Safety
/// The machine has the instructions of `R`, and an i32 is writable for each channel of the block.
#[inline(always)]
unsafe fn store_sums<R: Register>(row: &Row, to: *mut i32, sums: [R; 4]) {
    let mut lanes = [0_i32; MOST / 4];
    for (quarter, sums) in sums.into_iter().enumerate() {
        // SAFETY: the caller guarantees the instructions and the output; `lanes` has at least
        // `R::BYTES` bytes. Only the block's channels are written.
        unsafe {
            sums.store(lanes.as_mut_ptr().cast());
            for first in (0..R::BYTES / 4).step_by(4) {
                // Four lanes are adjacent channels.
                let channel = channel(quarter, first);
                let count = row.channels.saturating_sub(channel);
                let from = lanes.as_ptr().add(first);
                match count {
                    0 => {}
                    1..4 => to.add(channel).copy_from_nonoverlapping(from, count),
                    _ => to.add(channel).copy_from_nonoverlapping(from, 4),
                }
            }
        }
    }
}
