//! A layer's input as its tiles read it: padded all around, in the form that
//! the multiply instruction wants.
#![allow(unsafe_code)]

use std::ops::Range;

use super::Target;
use crate::kernels::convolution::ConvolutionShape;

/// How a level is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is: i8.
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

/// Elements past the end that a tile may read, and multiplies by 0.
pub(crate) const SLACK: usize = 16;

/// Sizes of the input as tiles read it. A window of every output pixel lies inside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    batch: usize,
    /// Input height, width.
    input: [usize; 2],
    /// Rows above, columns before.
    pads: [usize; 2],
    /// Height, width.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    form: Form,
    /// How the input is held: plain, or already as tiles read it.
    held: Form,
    /// Whether the input itself is read.
    in_place: bool,
}

impl Stage {
    /// `None` where the padded input would be much larger than input and output.
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
            held: Form::Plain,
            in_place: false,
        })
    }

    /// Has the input in this form, plain or this stage's, and [`SLACK`] bytes behind it
    /// that may be read. True where tiles then read the input itself.
    pub(crate) fn hold(&mut self, held: Form) -> bool {
        self.held = held;
        let padded = (0..2).any(|axis| self.pads[axis] > 0 || self.size[axis] > self.input[axis]);
        self.in_place = held == self.form && !padded;
        if self.in_place {
            self.size = self.input;
        }
        self.in_place
    }

    pub(crate) fn in_place(&self) -> bool {
        self.in_place
    }

    /// Bytes of memory for what [`fill`](Self::fill) makes.
    pub(crate) fn bytes(&self) -> usize {
        let elements = self.rows() * self.size[1] * self.channels + SLACK;
        usize::from(!self.in_place) * elements * self.form.bytes()
    }

    /// Rows to fill, of all pictures.
    pub(crate) fn rows(&self) -> usize {
        self.batch * self.size[0]
    }

    /// Fills some rows of `staged`, which has [`bytes`](Self::bytes) bytes.
    ///
    /// # Safety
    /// Nothing else reads or writes these rows meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, input: &[i8], staged: Target, rows: Range<usize>) {
        // SAFETY: the caller's word.
        unsafe {
            match (self.form, self.held) {
                (Form::Plain, _) | (Form::Offset, Form::Offset) => {
                    let zero = if self.form == Form::Offset { 0x80 } else { 0 };
                    self.fill_as::<1>(input, staged, rows, [zero], |x| [x.cast_unsigned()]);
                }
                (Form::Offset, _) => {
                    self.fill_as::<1>(input, staged, rows, [0x80], |x| [x.cast_unsigned() ^ 0x80]);
                }
                (Form::Wide, _) => {
                    self.fill_as::<2>(input, staged, rows, [0; 2], |x| i16::from(x).to_ne_bytes());
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
        staged: Target,
        rows: Range<usize>,
        zero: [u8; B],
        form: impl Fn(i8) -> [u8; B],
    ) {
        let [height, width] = self.size;
        let line = width * self.channels;
        if rows.end == self.rows() {
            // SAFETY: behind the last row, which is the caller's.
            let slack = unsafe { staged.part(self.rows() * line * B, SLACK * B) };
            slack.as_chunks_mut::<B>().0.fill(zero);
        }
        if line == 0 {
            return;
        }
        let before = self.pads[1] * self.channels;
        let held = (width - self.pads[1]).min(self.input[1]) * self.channels;
        for row in rows {
            // SAFETY: the row is the caller's.
            let staged = unsafe { staged.part(row * line * B, line * B) };
            let (staged, _) = staged.as_chunks_mut::<B>();
            let (batch, y) = (row / height, row % height);
            let y = y.wrapping_sub(self.pads[0]);
            if y >= self.input[0] {
                staged.fill(zero);
                continue;
            }
            let start = (batch * self.input[0] + y) * self.input[1] * self.channels;
            staged[..before].fill(zero);
            let input = &input[start..start + held];
            for (to, &x) in staged[before..before + held].iter_mut().zip(input) {
                *to = form(x);
            }
            staged[before + held..].fill(zero);
        }
    }
}
