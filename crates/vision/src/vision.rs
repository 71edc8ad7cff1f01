//! The pass itself.

use crate::frame::PixelFormat;
use crate::resample::{Axis, GREATEST_SHRINK, WEIGHT_BITS};
use crate::{ColourOrder, Crop, FrameView, Layout, Preprocess};

/// Why a frame cannot become an input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// The frame's sides are out of range.
    #[error("a frame of {width} x {height} pixels: each side must be 1 to 16384")]
    FrameSize {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The frame's bytes do not fit its size.
    #[error("a frame of {got} bytes where its size and format need {expected}")]
    FrameLength {
        /// Bytes its size and format need.
        expected: usize,
        /// Bytes it has.
        got: usize,
    },
    /// The frame is not of the kind the tables were built for.
    #[error(
        "a {got_width} x {got_height} {got:?} frame where {width} x {height} {format:?} was set up: \
         the camera changed its mode; start again"
    )]
    FrameKind {
        /// Pixels in a row, as set up.
        width: u32,
        /// Rows, as set up.
        height: u32,
        /// The format, as set up.
        format: PixelFormat,
        /// Pixels in a row of this frame.
        got_width: u32,
        /// Rows of this frame.
        got_height: u32,
        /// The format of this frame.
        got: PixelFormat,
    },
    /// The input's sides are out of range.
    #[error("`width` and `height` of the input must be 1 to 4096, not {width} x {height}")]
    OutputSize {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The crop leaves the frame.
    #[error(
        "`crop` of {} x {} at ({}, {}) does not lie within the {width} x {height} frame",
        crop.width, crop.height, crop.x, crop.y
    )]
    CropOutside {
        /// The crop.
        crop: Crop,
        /// Pixels in a row of the frame.
        width: u32,
        /// Rows of the frame.
        height: u32,
    },
    /// The resize shrinks too much to stay exact.
    #[error(
        "resizing {from} pixels to {to} shrinks more than {GREATEST_SHRINK} times: \
         crop less of the frame or give the network a larger input"
    )]
    Shrink {
        /// Pixels of the crop along the axis.
        from: u32,
        /// Pixels of the input along the axis.
        to: u32,
    },
    /// The scale is zero or not finite.
    #[error("`scale` must be a finite number other than zero, not {0}")]
    Scale(f32),
    /// A mean is not finite.
    #[error("`mean` must be finite numbers, not {0}")]
    Mean(f32),
    /// A deviation is zero or not finite.
    #[error("`std` divides, so it must be finite numbers other than zero, not {0}")]
    Deviation(f32),
    /// The caller's memory has the wrong length.
    #[error("memory for {got} values where the input has {expected}")]
    OutputLength {
        /// Values of the input.
        expected: usize,
        /// Values the memory holds.
        got: usize,
    },
}

/// Fractional bits kept between the vertical and the horizontal sum.
const BETWEEN_BITS: u32 = 8;

/// Turns frames of one size and format into inputs of one network.
#[derive(Debug, Clone)]
pub struct Vision {
    format: PixelFormat,
    source: (u32, u32),
    crop: Crop,
    shape: [usize; 4],
    layout: Layout,
    pixels: Pixels,
    rows: Axis,
    columns: Axis,
    /// A channel's f32 value for each of the 256 grey levels.
    values: Vec<[f32; 256]>,
    /// One row of the crop after the vertical sum, `BETWEEN_BITS` of fraction.
    between: Vec<u16>,
    /// One row of the input, interleaved.
    row: Vec<u8>,
}

impl Vision {
    /// Builds the tables for frames of `width` x `height` in `format`.
    ///
    /// # Errors
    /// When the recipe does not fit such frames; see [`VisionError`].
    pub fn new(
        preprocess: &Preprocess,
        width: u32,
        height: u32,
        format: PixelFormat,
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
            crop,
            shape: preprocess.shape(),
            layout: preprocess.layout,
            pixels: Pixels::between(format, preprocess.colour),
            rows: Axis::triangle(crop.height, preprocess.height),
            columns: Axis::triangle(crop.width, preprocess.width),
            values: (0..channels)
                .map(|channel| std::array::from_fn(|level| value(channel, level)))
                .collect(),
            between: vec![0; crop.width as usize * format.channels()],
            row: vec![0; preprocess.width as usize * channels],
        })
    }

    /// The shape of the input, batch of one, in the recipe's layout.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// How many values the input has.
    pub fn output_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The whole pass: `frame` to the network's float input, in its layout.
    /// Allocates nothing.
    ///
    /// # Errors
    /// When `frame` is not of the kind given to [`new`](Self::new), or `out` does
    /// not hold [`output_len`](Self::output_len) values.
    pub fn run(&mut self, frame: FrameView<'_>, out: &mut [f32]) -> Result<(), VisionError> {
        self.check(&frame, out.len())?;
        // Taken out so that `self` can be borrowed beside it; nothing is allocated.
        let mut row = std::mem::take(&mut self.row);
        for y in 0..self.rows.len() {
            self.resize_row(frame.data, y, &mut row);
            self.scale_row(&row, y, out);
        }
        self.row = row;
        Ok(())
    }

    /// The pass up to the scale: pixels 0..=255 as rows of interleaved channels
    /// (NHWC whatever the recipe's layout), in the recipe's colour order.
    /// Allocates nothing. [`run`](Self::run) is this followed by
    /// [`scale`](Self::scale), to the bit.
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
            self.resize_row(frame.data, y, row);
        }
        Ok(())
    }

    /// The whole pass for an INT8 engine: `frame` to pixels less 128, in the
    /// layout of the recipe, without scale, mean and deviation (which such an
    /// engine has in its first layer). Allocates nothing.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_i8(&mut self, frame: FrameView<'_>, out: &mut [i8]) -> Result<(), VisionError> {
        self.check(&frame, out.len())?;
        // As in `run`.
        let mut row = std::mem::take(&mut self.row);
        for y in 0..self.rows.len() {
            self.resize_row(frame.data, y, &mut row);
            self.place_row(&row, y, out, |_, level| centred(level));
        }
        self.row = row;
        Ok(())
    }

    /// The rest of the pass: what [`resize_to_u8`](Self::resize_to_u8) gave to
    /// float values in the recipe's layout.
    ///
    /// # Errors
    /// When a slice does not hold [`output_len`](Self::output_len) values.
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

    /// Row `y` of the input: vertical sum over the crop's rows, then horizontal.
    fn resize_row(&mut self, data: &[u8], y: usize, out: &mut [u8]) {
        let channels = self.format.channels();
        let stride = self.source.0 as usize * channels;
        let left = self.crop.x as usize * channels;
        let (first, weights) = self.rows.taps(y);
        let top = self.crop.y as usize + first;
        sum_rows(
            &data[top * stride + left..],
            stride,
            weights,
            &mut self.between,
        );
        match self.pixels {
            Pixels::Grey => sum_columns::<1, 1>(&self.columns, &self.between, out, |p| p),
            Pixels::Same => sum_columns::<3, 3>(&self.columns, &self.between, out, |p| p),
            Pixels::Swapped => {
                sum_columns::<3, 3>(&self.columns, &self.between, out, |[a, b, c]| [c, b, a]);
            }
            Pixels::Spread => {
                sum_columns::<1, 3>(&self.columns, &self.between, out, |[p]| [p; 3]);
            }
            Pixels::RgbToGrey => {
                sum_columns::<3, 1>(&self.columns, &self.between, out, |[r, g, b]| {
                    [luminance(r, g, b)]
                });
            }
            Pixels::BgrToGrey => {
                sum_columns::<3, 1>(&self.columns, &self.between, out, |[b, g, r]| {
                    [luminance(r, g, b)]
                });
            }
        }
    }

    /// Row `y` of the input from interleaved grey levels to values in place.
    fn scale_row(&self, row: &[u8], y: usize, out: &mut [f32]) {
        self.place_row(row, y, out, |channel, level| {
            self.values[channel][usize::from(level)]
        });
    }

    /// Row `y` of the input, each level as `value` makes it of channel and level.
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
                let plane = self.rows.len() * width;
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

/// A grey level less 128: one exclusive or.
fn centred(level: u8) -> i8 {
    (level ^ 0x80).cast_signed()
}

/// How a camera's channels become the network's.
#[derive(Debug, Clone, Copy)]
enum Pixels {
    Grey,
    Same,
    Swapped,
    Spread,
    RgbToGrey,
    BgrToGrey,
}

impl Pixels {
    fn between(format: PixelFormat, colour: ColourOrder) -> Self {
        match (format, colour) {
            (PixelFormat::Grey8, ColourOrder::Grey) => Self::Grey,
            (PixelFormat::Grey8, _) => Self::Spread,
            (PixelFormat::Rgb8, ColourOrder::Rgb) | (PixelFormat::Bgr8, ColourOrder::Bgr) => {
                Self::Same
            }
            (PixelFormat::Rgb8, ColourOrder::Bgr) | (PixelFormat::Bgr8, ColourOrder::Rgb) => {
                Self::Swapped
            }
            (PixelFormat::Rgb8, ColourOrder::Grey) => Self::RgbToGrey,
            (PixelFormat::Bgr8, ColourOrder::Grey) => Self::BgrToGrey,
        }
    }
}

/// The weighted sum of rows `stride` apart, to [`BETWEEN_BITS`] of fraction.
fn sum_rows(rows: &[u8], stride: usize, weights: &[u16], out: &mut [u16]) {
    /// Sums held in registers at a time.
    const BLOCK: usize = 32;
    const SHIFT: u32 = WEIGHT_BITS - BETWEEN_BITS;
    const HALF: u32 = 1 << (SHIFT - 1);
    let len = out.len();
    let whole = len - len % BLOCK;
    let (blocks, rest) = out.split_at_mut(whole);
    for (i, block) in blocks.chunks_exact_mut(BLOCK).enumerate() {
        let mut sums = [HALF; BLOCK];
        for (k, &weight) in weights.iter().enumerate() {
            let pixels = &rows[k * stride + i * BLOCK..][..BLOCK];
            for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                *sum += u32::from(weight) * u32::from(pixel);
            }
        }
        for (out, sum) in block.iter_mut().zip(sums) {
            *out = (sum >> SHIFT) as u16;
        }
    }
    for (i, out) in rest.iter_mut().enumerate() {
        let mut sum = HALF;
        for (k, &weight) in weights.iter().enumerate() {
            sum += u32::from(weight) * u32::from(rows[k * stride + whole + i]);
        }
        *out = (sum >> SHIFT) as u16;
    }
}

/// The weighted sums along one row of `IN` channels, turned into `OUT` channels by
/// `convert` (still with 23 bits of fraction) and rounded to grey levels.
fn sum_columns<const IN: usize, const OUT: usize>(
    columns: &Axis,
    row: &[u16],
    out: &mut [u8],
    convert: impl Fn([u32; IN]) -> [u32; OUT],
) {
    const FRACTION: u32 = WEIGHT_BITS + BETWEEN_BITS;
    const HALF: u32 = 1 << (FRACTION - 1);
    for (x, out) in out.chunks_exact_mut(OUT).enumerate() {
        let (first, weights) = columns.taps(x);
        let pixels = &row[first * IN..][..weights.len() * IN];
        let mut sums = [0_u32; IN];
        for (pixel, &weight) in pixels.chunks_exact(IN).zip(weights) {
            for (sum, &level) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(weight) * u32::from(level);
            }
        }
        for (out, sum) in out.iter_mut().zip(convert(sums)) {
            *out = ((sum + HALF) >> FRACTION) as u8;
        }
    }
}

/// Luminance by ITU-R BT.601, in Pillow's 16-bit weights (`src/libImaging/Convert.c`).
fn luminance(red: u32, green: u32, blue: u32) -> u32 {
    let sum = u64::from(red) * 19_595 + u64::from(green) * 38_470 + u64::from(blue) * 7_471;
    (sum >> 16) as u32
}

#[cfg(test)]
mod tests;
