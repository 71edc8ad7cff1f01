//! The conversion of a frame to a network's input.

use pilotage_engine::InstructionSet;
use pilotage_engine::resample::Vectors;

use crate::frame::PixelFormat;
use crate::planes::Planes;
use crate::resample::GREATEST_SHRINK;
use crate::{FrameView, Layout, Preprocess, VisionError};

/// Converts frames of one size and format to inputs of one network.
#[derive(Debug, Clone)]
pub struct Vision {
    format: PixelFormat,
    source: (u32, u32),
    shape: [usize; 4],
    layout: Layout,
    planes: Planes,
    /// A channel's f32 value for each of the 256 grey levels.
    values: Vec<[f32; 256]>,
    /// One row of the input, with interleaved channels.
    row: Vec<u8>,
}

impl Vision {
    /// Builds the tables for frames of `width` x `height` in `format`.
    ///
    /// # Errors
    /// When the recipe cannot be used for such frames; see [`VisionError`].
    pub fn new(
        preprocess: &Preprocess,
        width: u32,
        height: u32,
        format: PixelFormat,
    ) -> Result<Self, VisionError> {
        let best = InstructionSet::best();
        Self::with_instruction_set(preprocess, width, height, format, best)
    }

    /// As [`new`](Self::new), with the given instruction set, or with scalar code if the machine
    /// lacks it. The result is the same for all of them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_instruction_set(
        preprocess: &Preprocess,
        width: u32,
        height: u32,
        format: PixelFormat,
        instruction_set: InstructionSet,
    ) -> Result<Self, VisionError> {
        format.frame_len(width, height)?;
        let crop = preprocess.validate(width, height)?;
        for (from, to) in [
            (crop.width, preprocess.width),
            (crop.height, preprocess.height),
        ] {
            if from > to * GREATEST_SHRINK {
                return Err(VisionError::Shrink { from, to });
            }
        }
        let channels = preprocess.colour.channels();
        let value = |channel: usize, level: usize| {
            let scaled = level as f32 * preprocess.scale;
            (scaled - preprocess.mean[channel]) / preprocess.std[channel]
        };
        Ok(Self {
            format,
            source: (width, height),
            shape: preprocess.shape(),
            layout: preprocess.layout,
            planes: Planes::new(
                Vectors::of(instruction_set),
                format,
                (width, height),
                crop,
                preprocess,
            ),
            values: (0..channels)
                .map(|channel| std::array::from_fn(|level| value(channel, level)))
                .collect(),
            row: vec![0; preprocess.width as usize * channels],
        })
    }

    /// The shape of the input in the recipe's layout, with a batch size of one.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The number of values of the input.
    pub fn output_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Converts `frame` to the network's float input, in the recipe's layout. Does not allocate.
    ///
    /// # Errors
    /// When the size or format of `frame` differs from that given to [`new`](Self::new), or `out`
    /// does not have [`output_len`](Self::output_len) values.
    pub fn run(&mut self, frame: FrameView<'_>, out: &mut [f32]) -> Result<(), VisionError> {
        self.check(&frame, out.len())?;
        // Move the buffer out, so that `self` can be borrowed at the same time. This does not
        // allocate.
        let mut row = std::mem::take(&mut self.row);
        for y in 0..self.planes.rows() {
            self.planes.resize_row(frame.data, y, &mut row);
            self.scale_row(&row, y, out);
        }
        self.row = row;
        Ok(())
    }

    /// Converts `frame` without the scale: pixels 0..=255 as rows of interleaved channels (NHWC in
    /// every recipe's layout), in the recipe's colour order. Does not allocate.
    /// [`run`](Self::run) equals this followed by [`scale`](Self::scale), bit for bit.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn resize_to_u8(
        &mut self,
        frame: FrameView<'_>,
        out: &mut [u8],
    ) -> Result<(), VisionError> {
        self.check(&frame, out.len())?;
        let row_len = self.row.len();
        for (y, row) in out.chunks_exact_mut(row_len).enumerate() {
            self.planes.resize_row(frame.data, y, row);
        }
        Ok(())
    }

    /// Converts `frame` for an INT8 engine: pixels minus 128 in the recipe's layout, without scale,
    /// mean and deviation, which such an engine has in its first layer. Does not allocate.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_i8(&mut self, frame: FrameView<'_>, out: &mut [i8]) -> Result<(), VisionError> {
        self.check(&frame, out.len())?;
        // As in `run`.
        let mut row = std::mem::take(&mut self.row);
        for y in 0..self.planes.rows() {
            self.planes.resize_row(frame.data, y, &mut row);
            match self.layout {
                // The usual layout has its own code, because one loop is much faster.
                Layout::Nhwc => {
                    let out = &mut out[y * row.len()..][..row.len()];
                    for (out, &level) in out.iter_mut().zip(&row) {
                        *out = centred(level);
                    }
                }
                Layout::Nchw => self.place_row(&row, y, out, |_, level| centred(level)),
            }
        }
        self.row = row;
        Ok(())
    }

    /// Converts the pixels of [`resize_to_u8`](Self::resize_to_u8) to float values in the recipe's
    /// layout.
    ///
    /// # Errors
    /// When a slice does not have [`output_len`](Self::output_len) values.
    pub fn scale(&self, pixels: &[u8], out: &mut [f32]) -> Result<(), VisionError> {
        self.check_len(pixels.len())?;
        self.check_len(out.len())?;
        for (y, row) in pixels.chunks_exact(self.row.len()).enumerate() {
            self.scale_row(row, y, out);
        }
        Ok(())
    }

    fn check(&self, frame: &FrameView<'_>, out_len: usize) -> Result<(), VisionError> {
        if (frame.width, frame.height) != self.source || frame.format != self.format {
            return Err(VisionError::FrameKind {
                width: self.source.0,
                height: self.source.1,
                format: self.format,
                got_width: frame.width,
                got_height: frame.height,
                got: frame.format,
            });
        }
        let expected = self.format.frame_len(frame.width, frame.height)?;
        if frame.data.len() != expected {
            return Err(VisionError::FrameLength {
                expected,
                got: frame.data.len(),
            });
        }
        self.check_len(out_len)
    }

    fn check_len(&self, got: usize) -> Result<(), VisionError> {
        let expected = self.output_len();
        if got == expected {
            Ok(())
        } else {
            Err(VisionError::OutputLength { expected, got })
        }
    }

    /// Converts row `y` of interleaved pixels to float values, and stores them in `out` in the
    /// recipe's layout.
    fn scale_row(&self, row: &[u8], y: usize, out: &mut [f32]) {
        self.place_row(row, y, out, |channel, level| {
            self.values[channel][usize::from(level)]
        });
    }

    /// Stores row `y` of interleaved pixels in `out` in the recipe's layout. `value` converts a
    /// channel's number and level.
    fn place_row<T>(&self, row: &[u8], y: usize, out: &mut [T], value: impl Fn(usize, u8) -> T) {
        let channels = self.values.len();
        let width = row.len() / channels;
        match self.layout {
            Layout::Nhwc => {
                let out = &mut out[y * row.len()..][..row.len()];
                for (pixel, out) in row
                    .chunks_exact(channels)
                    .zip(out.chunks_exact_mut(channels))
                {
                    for (channel, (out, &level)) in out.iter_mut().zip(pixel).enumerate() {
                        *out = value(channel, level);
                    }
                }
            }
            Layout::Nchw => {
                let plane = self.planes.rows() * width;
                for channel in 0..channels {
                    let out = &mut out[channel * plane + y * width..][..width];
                    for (out, pixel) in out.iter_mut().zip(row.chunks_exact(channels)) {
                        *out = value(channel, pixel[channel]);
                    }
                }
            }
        }
    }
}

/// A grey level minus 128, computed with one exclusive or.
fn centred(level: u8) -> i8 {
    (level ^ 0x80).cast_signed()
}

#[cfg(test)]
mod tests;
