//! What a camera gives.

use pilotage_vehicle::Time;

use crate::VisionError;

/// The longest side of a frame, in pixels; larger ones are refused.
pub(crate) const LONGEST_SIDE: u32 = 16_384;

/// How a camera lays pixels out in memory. Rows follow one another without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue; one byte each.
    Rgb8,
    /// Blue, green, red; one byte each.
    Bgr8,
    /// One byte of luminance.
    Grey8,
    /// Two pixels in four bytes: luma, blue chroma, luma, red chroma, of the limited
    /// range (16 to 235 and 240) by ITU-R BT.601, as USB cameras give them. V4L2 calls
    /// it `YUYV`.
    Yuyv,
    /// As [`Yuyv`](Self::Yuyv), chroma first. V4L2 calls it `UYVY`.
    Uyvy,
    /// A plane of luma, then one of blue and red chroma by turns, each for two by two
    /// pixels; range and colours as [`Yuyv`](Self::Yuyv). V4L2 calls it `NV12`.
    Nv12,
}

impl PixelFormat {
    /// Bytes in a frame of `width` x `height` pixels.
    ///
    /// # Errors
    /// When a side is zero or longer than 16,384 pixels, or odd where pixels share
    /// their colour.
    pub fn frame_len(self, width: u32, height: u32) -> Result<usize, VisionError> {
        let fits = 1..=LONGEST_SIDE;
        if !fits.contains(&width) || !fits.contains(&height) {
            return Err(VisionError::FrameSize { width, height });
        }
        let needs = match self {
            Self::Yuyv | Self::Uyvy if width % 2 == 1 => "its width must be even",
            Self::Nv12 if width % 2 == 1 || height % 2 == 1 => "width and height must be even",
            _ => "",
        };
        if !needs.is_empty() {
            return Err(VisionError::Odd {
                format: self,
                width,
                height,
                needs,
            });
        }
        let pixels = width as usize * height as usize;
        Ok(match self {
            Self::Rgb8 | Self::Bgr8 => pixels * 3,
            Self::Yuyv | Self::Uyvy => pixels * 2,
            Self::Nv12 => pixels / 2 * 3,
            Self::Grey8 => pixels,
        })
    }
}

/// One picture, borrowed from whoever holds its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// How `data` is laid out.
    pub format: PixelFormat,
    /// Pixels in a row.
    pub width: u32,
    /// Rows, the topmost first.
    pub height: u32,
    /// The pixels: [`PixelFormat::frame_len`] bytes.
    pub data: &'a [u8],
    /// When the picture was taken.
    pub captured: Time,
    /// The picture's number; it only ever rises.
    pub sequence: u64,
}

/// One picture with its own memory, meant to be filled again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    format: PixelFormat,
    width: u32,
    height: u32,
    data: Vec<u8>,
    /// When the picture was taken.
    pub captured: Time,
    /// The picture's number; it only ever rises.
    pub sequence: u64,
}

impl Frame {
    /// A black frame.
    ///
    /// # Errors
    /// As [`PixelFormat::frame_len`].
    pub fn new(format: PixelFormat, width: u32, height: u32) -> Result<Self, VisionError> {
        Ok(Self {
            format,
            width,
            height,
            data: vec![0; format.frame_len(width, height)?],
            captured: Time::ZERO,
            sequence: 0,
        })
    }

    /// How [`data`](Self::data) is laid out.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, the topmost row first.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, to be filled.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Makes this frame a copy of `view`. Allocates only when `view` is larger
    /// than any frame held here before.
    ///
    /// # Errors
    /// When `view`'s data is not as long as its size and format say; the frame
    /// is then as it was.
    pub fn copy_from(&mut self, view: FrameView<'_>) -> Result<(), VisionError> {
        let expected = view.format.frame_len(view.width, view.height)?;
        if view.data.len() != expected {
            return Err(VisionError::FrameLength {
                expected,
                got: view.data.len(),
            });
        }
        self.data.clear();
        self.data.extend_from_slice(view.data);
        self.format = view.format;
        self.width = view.width;
        self.height = view.height;
        self.captured = view.captured;
        self.sequence = view.sequence;
        Ok(())
    }

    /// This frame, borrowed.
    pub fn view(&self) -> FrameView<'_> {
        FrameView {
            format: self.format,
            width: self.width,
            height: self.height,
            data: &self.data,
            captured: self.captured,
            sequence: self.sequence,
        }
    }
}
