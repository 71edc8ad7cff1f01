//! Packs frames losslessly into one PNG, stacked vertically. This takes about a third of their
//! size.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngDecoder, PngEncoder};
use image::error::{ParameterError, ParameterErrorKind};
use image::{ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, Limits};

/// Memory that a decoder may use in addition to the pixels: for rows, and zlib's window.
const ROOM: u64 = 1 << 20;

/// Packs frames of one size: rows of `width` pixels with one or three channels.
///
/// # Errors
/// If the frames do not have that size, or are too many for one image.
pub(crate) fn pack(frames: &[&[u8]], (width, height): (u32, u32)) -> Result<Vec<u8>, ImageError> {
    let pixels = frames.concat();
    let total = height.saturating_mul(u32::try_from(frames.len()).unwrap_or(u32::MAX));
    let area = u64::from(width) * u64::from(total);
    let colour = match pixels.len() as u64 {
        length if area > 0 && length == area => ExtendedColorType::L8,
        length if area > 0 && length.is_multiple_of(3) && length / 3 == area => {
            ExtendedColorType::Rgb8
        }
        _ => {
            let kind = ParameterErrorKind::DimensionMismatch;
            return Err(ImageError::Parameter(ParameterError::from_kind(kind)));
        }
    };
    let mut png = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&pixels, width, total, colour)?;
    Ok(png)
}

/// Unpacks the pixels of all frames, concatenated, if there are exactly `length` bytes. Allocates
/// no memory for an image of another size.
pub(crate) fn unpack(png: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut limits = Limits::default();
    limits.max_alloc = Some((length as u64).saturating_add(ROOM));
    let decoder = PngDecoder::with_limits(Cursor::new(png), limits).ok()?;
    if decoder.total_bytes() != length as u64 {
        return None;
    }
    let mut pixels = vec![0; length];
    decoder.read_image(&mut pixels).ok()?;
    Some(pixels)
}

#[cfg(test)]
mod tests;
