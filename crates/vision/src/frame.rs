//! Frames and their pixel formats.

use pilotage_vehicle::Time;

use crate::VisionError;

/// The greatest width and height of a frame, in pixels.
pub(crate) const LONGEST_SIDE: u32 = 16_384;

/// The layout of a frame's pixels in memory. Rows follow one another without gaps.
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
    /// Two pixels in four bytes: luma, blue chroma, luma, red chroma. The colours are those of
    /// ITU-R BT.601 with limited range (luma 16 to 235, chroma 16 to 240), as USB cameras send
    /// them. V4L2's name is `YUYV`.
    Yuyv,
    /// As [`Yuyv`](Self::Yuyv), with chroma before luma. V4L2's name is `UYVY`.
    Uyvy,
    /// A plane of luma, then a plane of interleaved blue and red chroma, one pair for two by two
    /// pixels. Range and colours are as in [`Yuyv`](Self::Yuyv). V4L2's name is `NV12`.
    Nv12,
}

impl PixelFormat {
    /// The number of bytes of a frame of `width` x `height` pixels.
    ///
    /// # Errors
    /// When a side is zero or longer than 16,384 pixels, or is odd along an axis where pixels share
    /// chroma.
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

/// One picture that borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// The format of `data`.
    pub format: PixelFormat,
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels. The topmost row comes first.
    pub height: u32,
    /// The pixels: [`PixelFormat::frame_len`] bytes.
    pub data: &'a [u8],
    /// The capture time.
    pub captured: Time,
    /// The sequence number, which increases with every frame of a camera.
    pub sequence: u64,
}

/// One picture that owns its bytes, and is reused for many frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    format: PixelFormat,
    width: u32,
    height: u32,
    data: Vec<u8>,
    /// The capture time.
    pub captured: Time,
    /// The sequence number, which increases with every frame of a camera.
    pub sequence: u64,
}

impl Frame {
    /// Creates a frame whose bytes are zero.
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

    /// The format of [`data`](Self::data).
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// The width, in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height, in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, the topmost row first.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, for writing.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Copies `view` to this frame. Allocates only if `view` is larger than every frame that was
    /// stored here before.
    ///
    /// # Errors
    /// When the length of `view`'s data does not match its size and format. The frame is then
    /// unchanged.
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

    /// A view of this frame.
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
