//! A layer's input as its tiles read it: padded all around, in the form that
//! the multiply instruction wants.

use crate::kernels::convolution::ConvolutionShape;

/// How a level is held for the multiply instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is: i8.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "for NEON"))]
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
const SLACK: usize = 16;

/// Sizes of the staged input. A window of every output pixel lies inside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    batch: usize,
    /// Input height, width.
    input: [usize; 2],
    /// Rows above, columns before.
    pads: [usize; 2],
    /// Staged height, width.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    form: Form,
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
        })
    }

    /// Bytes needed.
    pub(crate) fn bytes(&self) -> usize {
        let [height, width] = self.size;
        (self.batch * height * width * self.channels + SLACK) * self.form.bytes()
    }

    /// Fills `staged`, which has [`bytes`](Self::bytes) bytes.
    #[inline(always)]
    pub(crate) fn fill(&self, input: &[i8], staged: &mut [u8]) {
        match self.form {
            Form::Plain => self.fill_as::<1>(input, staged, |x| [x.cast_unsigned()]),
            Form::Offset => self.fill_as::<1>(input, staged, |x| [x.cast_unsigned() ^ 0x80]),
            Form::Wide => self.fill_as::<2>(input, staged, |x| i16::from(x).to_ne_bytes()),
        }
    }

    #[inline(always)]
    fn fill_as<const B: usize>(
        &self,
        input: &[i8],
        staged: &mut [u8],
        form: impl Fn(i8) -> [u8; B],
    ) {
        let (staged, _) = staged.as_chunks_mut::<B>();
        let zero = form(0);
        let [height, width] = self.size;
        let line = width * self.channels;
        let (body, slack) = staged.split_at_mut(self.batch * height * line);
        slack.fill(zero);
        if line == 0 {
            return;
        }
        let before = self.pads[1] * self.channels;
        let held = (width - self.pads[1]).min(self.input[1]) * self.channels;
        for (index, staged) in body.chunks_exact_mut(line).enumerate() {
            let (batch, y) = (index / height, index % height);
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
