//! Packs frames losslessly into one PNG, stacked vertically. This takes about a third of their
//! size.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter, Limits};

/// Memory that a decoder may use in addition to the pixels: for rows, and zlib's window.
const ROOM: usize = 1 << 20;

/// Why validation frames cannot be packed into an engine file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The frames differ in size, or are too many for one picture.
    #[error("{bytes} bytes are not {count} frames of {width} x {height} pixels")]
    Size {
        /// The number of frames.
        count: usize,
        /// The width of a frame.
        width: u32,
        /// The height of a frame.
        height: u32,
        /// The size of all frames.
        bytes: usize,
    },
    /// The picture cannot be encoded.
    #[error(transparent)]
    Png(#[from] png::EncodingError),
}

/// Packs frames of one size: rows of `width` pixels with one or three channels.
///
/// # Errors
/// If the frames do not have that size, or are too many for one image.
pub(super) fn pack(frames: &[&[u8]], (width, height): (u32, u32)) -> Result<Vec<u8>, PackError> {
    let pixels = frames.concat();
    let total = height.saturating_mul(u32::try_from(frames.len()).unwrap_or(u32::MAX));
    let area = u64::from(width) * u64::from(total);
    let colour = match pixels.len() as u64 {
        length if area > 0 && length == area => ColorType::Grayscale,
        length if area > 0 && length.is_multiple_of(3) && length / 3 == area => ColorType::Rgb,
        _ => {
            return Err(PackError::Size {
                count: frames.len(),
                width,
                height,
                bytes: pixels.len(),
            });
        }
    };
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, width, total);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(png)
}

/// The pictures one after the other, of `count` pictures whose channels lie side by side in each
/// pixel.
pub(super) fn unwoven(pixels: &[u8], count: usize, channels: usize) -> Vec<u8> {
    if count <= 1 {
        return pixels.to_vec();
    }
    let side_by_side = (count * channels).max(1);
    let picture = |at: usize| {
        let all = pixels.chunks_exact(side_by_side);
        all.flat_map(move |pixel| pixel[at * channels..][..channels].iter().copied())
    };
    (0..count).flat_map(picture).collect()
}

/// The reverse of [`unwoven`].
pub(super) fn woven(pictures: &[u8], count: usize, channels: usize) -> Vec<u8> {
    if count <= 1 {
        return pictures.to_vec();
    }
    let size = (pictures.len() / count).max(1);
    let pixel = |start: usize| {
        let all = pictures.chunks_exact(size);
        all.flat_map(move |picture| picture.iter().skip(start).take(channels).copied())
    };
    (0..size).step_by(channels.max(1)).flat_map(pixel).collect()
}

/// Unpacks the pixels of all frames, concatenated, if there are exactly `length` bytes, and the number
/// of channels. Allocates no memory for an image of another size.
pub(super) fn unpack(png: &[u8], length: usize) -> Option<(Vec<u8>, usize)> {
    let limits = Limits {
        bytes: length.saturating_add(ROOM),
    };
    let decoder = Decoder::new_with_limits(Cursor::new(png), limits);
    let mut reader = decoder.read_info().ok()?;
    let (colour, depth) = reader.output_color_type();
    let is_packed = matches!(colour, ColorType::Grayscale | ColorType::Rgb);
    if !is_packed || depth != BitDepth::Eight || reader.output_buffer_size() != Some(length) {
        return None;
    }
    let mut pixels = vec![0; length];
    reader.next_frame(&mut pixels).ok()?;
    Some((pixels, colour.samples()))
}

#[cfg(test)]
mod tests;
