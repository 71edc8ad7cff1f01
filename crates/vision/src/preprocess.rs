//! A recipe's description of a network's input.

use pilotage_engine::PictureForm;
use serde::{Deserialize, Serialize};

use crate::VisionError;

/// The greatest width and height of a network's input, in pixels.
const LONGEST_OUTPUT_SIDE: u32 = 4_096;

/// How a frame is converted to a network's input.
///
/// The value of a channel is `(pixel * scale - mean) / std`, computed in f32 from the resized pixel
/// after it was rounded to 0..=255. Therefore a channel has at most 256 different values, in float
/// as in INT8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// The part of the frame that is used. Default: the whole frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// The input's width, in pixels.
    pub width: u32,
    /// The input's height, in pixels.
    pub height: u32,
    /// The network's channels and their order.
    #[serde(default)]
    pub colour: ColourOrder,
    /// The input's layout in memory.
    #[serde(default)]
    pub layout: Layout,
    /// The factor for a pixel of 0..=255. Default: 1/255.
    #[serde(default = "one_over_255")]
    pub scale: f32,
    /// Subtracted after the scale, for each channel in the order of `colour`. Grey uses the first.
    /// Default: zeros.
    #[serde(default)]
    pub mean: [f32; 3],
    /// The final divisor, for each channel as `mean`. Default: ones.
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// A rectangle of a frame, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// The number of columns left of the rectangle.
    pub x: u32,
    /// The number of rows above the rectangle.
    pub y: u32,
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
}

impl Crop {
    /// The column and the row behind the rectangle: the size of the smallest frame that contains it.
    pub const fn end(self) -> (u32, u32) {
        (
            self.x.saturating_add(self.width),
            self.y.saturating_add(self.height),
        )
    }

    /// Whether the rectangle lies within a frame of this width and height.
    pub const fn lies_within(self, (width, height): (u32, u32)) -> bool {
        let (right, bottom) = self.end();
        right <= width && bottom <= height
    }
}

/// A network's channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as in OpenCV.
    Bgr,
    /// One channel: 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601).
    Grey,
}

impl ColourOrder {
    /// The number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// The order of a tensor's axes. The last axis is contiguous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, row, column: PyTorch, ONNX.
    #[default]
    Nchw,
    /// Batch, row, column, channel: Keras, TensorFlow.
    Nhwc,
}

impl Preprocess {
    /// How a picture lies in the network's input.
    pub fn picture_form(&self) -> PictureForm {
        let channels = self.colour.channels();
        PictureForm {
            len: self.width as usize * self.height as usize * channels,
            channels,
            interleaved: self.layout == Layout::Nhwc,
        }
    }

    /// Converts the whole frame to `width` x `height`, RGB, NCHW, values 0 to 1.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            crop: None,
            width,
            height,
            colour: ColourOrder::default(),
            layout: Layout::default(),
            scale: one_over_255(),
            mean: [0.0; 3],
            std: ones(),
        }
    }

    /// For a network that gets no picture: its engine has an input of one grey pixel that nothing reads.
    pub fn none() -> Self {
        Self {
            colour: ColourOrder::Grey,
            layout: Layout::Nhwc,
            scale: 1.0,
            ..Self::new(1, 1)
        }
    }

    /// Whether the network gets no picture.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// The shape of the input, with a batch size of one.
    pub fn shape(&self) -> [usize; 4] {
        let (width, height) = (self.width as usize, self.height as usize);
        let channels = self.colour.channels();
        match self.layout {
            Layout::Nchw => [1, channels, height, width],
            Layout::Nhwc => [1, height, width, channels],
        }
    }

    /// Validates the settings for frames of `width` x `height`, and returns the crop.
    ///
    /// # Errors
    /// When the crop does not lie within the frame, the input's size is out of range, or a scale,
    /// mean or deviation is invalid.
    pub fn validate(&self, width: u32, height: u32) -> Result<Crop, VisionError> {
        let fits = 1..=LONGEST_OUTPUT_SIDE;
        if !fits.contains(&self.width) || !fits.contains(&self.height) {
            return Err(VisionError::OutputSize {
                width: self.width,
                height: self.height,
            });
        }
        if !(self.scale.is_finite() && self.scale != 0.0) {
            return Err(VisionError::Scale(self.scale));
        }
        if let Some(&mean) = self.mean.iter().find(|m| !m.is_finite()) {
            return Err(VisionError::Mean(mean));
        }
        if let Some(&std) = self.std.iter().find(|s| !s.is_normal()) {
            return Err(VisionError::Deviation(std));
        }
        let crop = self.crop.unwrap_or(Crop {
            x: 0,
            y: 0,
            width,
            height,
        });
        let within = |start: u32, len: u32, size: u32| {
            len > 0 && start.checked_add(len).is_some_and(|end| end <= size)
        };
        if !within(crop.x, crop.width, width) || !within(crop.y, crop.height, height) {
            return Err(VisionError::CropOutside {
                crop,
                width,
                height,
            });
        }
        Ok(crop)
    }
}

fn one_over_255() -> f32 {
    1.0 / 255.0
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}
