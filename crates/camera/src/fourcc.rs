use std::fmt;
use std::str::FromStr;

use pilotage_vision::PixelFormat;

/// The supported pixel formats, by their FourCC codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fourcc {
    /// [`PixelFormat::Yuyv`]
    Yuyv,
    /// [`PixelFormat::Uyvy`]
    Uyvy,
    /// [`PixelFormat::Nv12`]
    Nv12,
    /// [`PixelFormat::Bgr8`]
    Bgr3,
    /// [`PixelFormat::Rgb8`]
    Rgb3,
    /// JPEG pictures, decoded to [`PixelFormat::Rgb8`].
    Mjpg,
    /// [`PixelFormat::Grey8`]
    Grey,
}

/// A format that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{0}`: name one of YUYV, UYVY, NV12, BGR3, RGB3, MJPG, GREY")]
pub struct UnknownFourcc(String);

impl Fourcc {
    /// All formats: the cheapest to convert first, and colours before grey.
    pub const ALL: [Self; 7] = [
        Self::Yuyv,
        Self::Uyvy,
        Self::Nv12,
        Self::Bgr3,
        Self::Rgb3,
        Self::Mjpg,
        Self::Grey,
    ];

    /// The FourCC code.
    pub const fn letters(self) -> [u8; 4] {
        match self {
            Self::Yuyv => *b"YUYV",
            Self::Uyvy => *b"UYVY",
            Self::Nv12 => *b"NV12",
            Self::Bgr3 => *b"BGR3",
            Self::Rgb3 => *b"RGB3",
            Self::Mjpg => *b"MJPG",
            Self::Grey => *b"GREY",
        }
    }

    /// The pixel format of a converted frame.
    pub const fn pixels(self) -> PixelFormat {
        match self {
            Self::Yuyv => PixelFormat::Yuyv,
            Self::Uyvy => PixelFormat::Uyvy,
            Self::Nv12 => PixelFormat::Nv12,
            Self::Bgr3 => PixelFormat::Bgr8,
            Self::Rgb3 | Self::Mjpg => PixelFormat::Rgb8,
            Self::Grey => PixelFormat::Grey8,
        }
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&letters(self.letters()))
    }
}

impl FromStr for Fourcc {
    type Err = UnknownFourcc;

    fn from_str(name: &str) -> Result<Self, UnknownFourcc> {
        let found = Self::ALL
            .into_iter()
            .find(|format| format.letters() == name.as_bytes());
        found.ok_or_else(|| UnknownFourcc(name.to_owned()))
    }
}

/// A FourCC code as text; unprintable letters are question marks.
pub(super) fn letters(code: [u8; 4]) -> String {
    let letter = |byte: u8| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    };
    code.into_iter().map(letter).collect()
}
