//! The errors of a frame or a recipe's `[input]`.

use crate::resample::GREATEST_SHRINK;
use crate::{Crop, PixelFormat};

/// Why a frame cannot be converted to a network's input.
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
    /// The frame's width or height is odd, and its format needs an even one.
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
        /// Which side must be even.
        needs: &'static str,
    },
    /// The frame's length in bytes does not match its size and format.
    #[error("a frame of {got} bytes where its size and format need {expected}")]
    FrameLength {
        /// The bytes that the size and format need.
        expected: usize,
        /// The frame's bytes.
        got: usize,
    },
    /// The frame's size or format differs from those that the tables were built for.
    #[error(
        "a {got_width} x {got_height} {got:?} frame where {width} x {height} {format:?} was set up: \
         the camera changed its mode; start again"
    )]
    FrameKind {
        /// The expected width, in pixels.
        width: u32,
        /// The expected height, in pixels.
        height: u32,
        /// The expected format.
        format: PixelFormat,
        /// The frame's width.
        got_width: u32,
        /// The frame's height.
        got_height: u32,
        /// The frame's format.
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
    /// The crop extends beyond the frame.
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
    /// The resize shrinks so much that the rounding of the weights would be visible.
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
    /// The caller's buffer has the wrong length.
    #[error("memory for {got} values where the input has {expected}")]
    OutputLength {
        /// The number of values of the input.
        expected: usize,
        /// The buffer's length, in values.
        got: usize,
    },
}
