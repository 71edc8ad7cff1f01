//! Camera pictures.

/// The layout of a picture's pixels in memory, as `pilotage_vision::PixelFormat`. Rows follow one
/// another without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Red, green, blue; one byte each.
    Rgb8,
    /// Blue, green, red; one byte each.
    Bgr8,
    /// One byte of luminance.
    Grey8,
    /// Luma, blue chroma, luma, red chroma for two pixels; ITU-R BT.601, limited range.
    Yuyv,
    /// As `Yuyv`, with chroma before luma.
    Uyvy,
    /// A plane of luma, then a plane of blue and red chroma for two by two pixels.
    Nv12,
}

/// The greatest width and height of a picture, in pixels.
const LONGEST_SIDE: u32 = 16_384;

impl PixelFormat {
    /// The code in the shared memory; never 0, never reused.
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Rgb8 => 1,
            Self::Bgr8 => 2,
            Self::Grey8 => 3,
            Self::Yuyv => 4,
            Self::Uyvy => 5,
            Self::Nv12 => 6,
        }
    }

    pub(crate) const fn of_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Rgb8),
            2 => Some(Self::Bgr8),
            3 => Some(Self::Grey8),
            4 => Some(Self::Yuyv),
            5 => Some(Self::Uyvy),
            6 => Some(Self::Nv12),
            _ => None,
        }
    }

    /// The number of bytes of a picture of `width` x `height` pixels; `None` if a side is zero,
    /// longer than 16,384 pixels, or odd where pixels share chroma.
    pub fn bytes(self, width: u32, height: u32) -> Option<usize> {
        let fits = 1..=LONGEST_SIDE;
        let odd = match self {
            Self::Yuyv | Self::Uyvy => width % 2 == 1,
            Self::Nv12 => width % 2 == 1 || height % 2 == 1,
            Self::Rgb8 | Self::Bgr8 | Self::Grey8 => false,
        };
        if !fits.contains(&width) || !fits.contains(&height) || odd {
            return None;
        }
        let pixels = width as usize * height as usize;
        Some(match self {
            Self::Rgb8 | Self::Bgr8 => pixels * 3,
            Self::Yuyv | Self::Uyvy => pixels * 2,
            Self::Nv12 => pixels / 2 * 3,
            Self::Grey8 => pixels,
        })
    }
}

/// One picture that borrows its bytes, as the pilot offers it.
#[derive(Debug, Clone, Copy)]
pub struct PictureView<'a> {
    /// The format of `data`.
    pub format: PixelFormat,
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels; the topmost row comes first.
    pub height: u32,
    /// The pixels: [`PixelFormat::bytes`] bytes.
    pub data: &'a [u8],
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the camera took the frame, nanoseconds.
    pub captured: u64,
}

/// One picture, as an observer receives it. It is reused for many pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The format of `data`.
    pub format: PixelFormat,
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels; the topmost row comes first.
    pub height: u32,
    /// The pixels: [`PixelFormat::bytes`] bytes.
    pub data: Vec<u8>,
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the camera took the frame, nanoseconds.
    pub captured: u64,
}

impl Default for Picture {
    /// No picture yet.
    fn default() -> Self {
        Self {
            format: PixelFormat::Grey8,
            width: 0,
            height: 0,
            data: Vec::new(),
            sequence: 0,
            captured: 0,
        }
    }
}
