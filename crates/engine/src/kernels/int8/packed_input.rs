//! The packed input: a layer's input as its tiles read it, with the padding, in the storage
//! format of the multiply instruction.
#![allow(unsafe_code)]

use std::ops::Range;

use super::Target;
use crate::kernels::convolution::ConvolutionShape;

/// The storage format of a quantized value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// i8, unchanged.
    Plain,
    /// Plus 128: u8, for instructions that multiply u8 by i8.
    Offset,
    /// i16.
    Wide,
}

impl Form {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Plain | Self::Offset => 1,
            Self::Wide => 2,
        }
    }
}

/// Elements past the end that a tile may read; it multiplies them by 0.
pub(crate) const SLACK: usize = 16;

/// The sizes of the packed input. It contains the window of every output pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedInput {
    batch: usize,
    /// Input height, width.
    input: [usize; 2],
    /// Rows of padding above, columns of padding at the left.
    pads: [usize; 2],
    /// Height, width.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    /// The format that the tiles read.
    form: Form,
    /// The format of the input: plain or `form`.
    input_form: Form,
    /// Whether the tiles read the input in place.
    in_place: bool,
}

impl PackedInput {
    /// `None` if the packed input would be much larger than the input.
    pub(crate) fn new(shape: &ConvolutionShape, form: Form) -> Option<Self> {
        let channels = shape.depth * shape.groups;
        let size = [0, 1].map(|axis| {
            let window = &shape.axes[axis];
            let last = shape.output[axis].saturating_sub(1);
            let reach = window.kernel.saturating_sub(1);
            last.saturating_mul(window.stride)
                .saturating_add(reach.saturating_mul(window.dilation))
                .saturating_add(1)
        });
        let [height, width] = [0, 1].map(|axis| shape.axes[axis].size);
        let elements = [shape.batch, size[0], size[1], channels]
            .into_iter()
            .fold(1, usize::saturating_mul);
        let input = shape.batch * height * width * channels;
        let most = input.saturating_mul(4).saturating_add(1 << 16);
        (elements <= most).then_some(Self {
            batch: shape.batch,
            input: [height, width],
            pads: [0, 1].map(|axis| shape.axes[axis].pad.min(size[axis])),
            size,
            channels,
            form,
            input_form: Form::Plain,
            in_place: false,
        })
    }

    /// Sets the format of the input: plain or that of the tiles. Returns true if the tiles
    /// then read the input in place, and [`SLACK`] bytes behind it.
    pub(crate) fn hold(&mut self, input_form: Form) -> bool {
        self.input_form = input_form;
        let padded = (0..2).any(|axis| self.pads[axis] > 0 || self.size[axis] > self.input[axis]);
        self.in_place = input_form == self.form && !padded;
        if self.in_place {
            self.size = self.input;
        }
        self.in_place
    }

    pub(crate) fn in_place(&self) -> bool {
        self.in_place
    }

    /// Bytes that [`fill`](Self::fill) writes.
    pub(crate) fn bytes(&self) -> usize {
        let elements = self.rows() * self.size[1] * self.channels + SLACK;
        usize::from(!self.in_place) * elements * self.form.bytes()
    }

    /// Number of rows to fill, of the whole batch.
    pub(crate) fn rows(&self) -> usize {
        self.batch * self.size[0]
    }

    /// Fills some rows of `packed`, which has [`bytes`](Self::bytes) bytes.
    ///
    /// # Safety
    /// During the call nothing else reads or writes these rows, or the slack behind the last
    /// row if it is one of them.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, input: &[i8], packed: Target, rows: Range<usize>) {
        // SAFETY: `fill_as` has the contract of this function.
        unsafe {
            match (self.form, self.input_form) {
                (Form::Plain, _) | (Form::Offset, Form::Offset) => {
                    let zero = if self.form == Form::Offset { 0x80 } else { 0 };
                    self.fill_as::<1>(input, packed, rows, [zero], |x| [x.cast_unsigned()]);
                }
                (Form::Offset, _) => {
                    self.fill_as::<1>(input, packed, rows, [0x80], |x| [x.cast_unsigned() ^ 0x80]);
                }
                (Form::Wide, _) => {
                    self.fill_as::<2>(input, packed, rows, [0; 2], |x| i16::from(x).to_ne_bytes());
                }
            }
        }
    }

    /// # Safety
    /// See [`fill`](Self::fill).
    #[inline(always)]
    unsafe fn fill_as<const B: usize>(
        &self,
        input: &[i8],
        packed: Target,
        rows: Range<usize>,
        zero: [u8; B],
        convert: impl Fn(i8) -> [u8; B],
    ) {
        let [height, width] = self.size;
        let row_len = width * self.channels;
        if rows.end == self.rows() {
            // SAFETY: the slack is behind the last row, which is one of `rows`; the caller
            // guarantees that nothing else accesses it.
            let slack = unsafe { packed.part(self.rows() * row_len * B, SLACK * B) };
            slack.as_chunks_mut::<B>().0.fill(zero);
        }
        if row_len == 0 {
            return;
        }
        let before = self.pads[1] * self.channels;
        let copied = (width - self.pads[1]).min(self.input[1]) * self.channels;
        for row in rows {
            // SAFETY: the caller guarantees that nothing else accesses the row.
            let packed = unsafe { packed.part(row * row_len * B, row_len * B) };
            let (packed, _) = packed.as_chunks_mut::<B>();
            let (batch, y) = (row / height, row % height);
            let y = y.wrapping_sub(self.pads[0]);
            if y >= self.input[0] {
                packed.fill(zero);
                continue;
            }
            let start = (batch * self.input[0] + y) * self.input[1] * self.channels;
            packed[..before].fill(zero);
            let input = &input[start..start + copied];
            for (to, &x) in packed[before..before + copied].iter_mut().zip(input) {
                *to = convert(x);
            }
            packed[before + copied..].fill(zero);
        }
    }
}
