//! What can be wrong with a frame or a recipe's input.

use crate::resample::GREATEST_SHRINK;
use crate::{Crop, PixelFormat};

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
    /// The frame's sides do not fit its format.
    #[error(
        "a {format:?} frame of {width} x {height} pixels: two neighbours share a colour, so {needs}"
    )]
    Odd {
        /// The format.
        format: PixelFormat,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// What has to be even.
        needs: &'static str,
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
