//! A camera's picture as JPEG.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageError, RgbImage};
use pilotage_tap::{Picture, PixelFormat};

/// Encodes `picture` with a JPEG quality of 1 to 100. A picture that is wider than `widest` pixels
/// is thinned to every n-th pixel.
///
/// # Errors
/// When the encoder fails.
pub fn jpeg(picture: &Picture, widest: u32, quality: u8) -> Result<Vec<u8>, ImageError> {
    let step = picture.width.div_ceil(widest.max(1)).max(1);
    let (width, height) = (picture.width / step, (picture.height / step).max(1));
    let image = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb(pixel(picture, x * step, y * step))
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&image)?;
    Ok(bytes)
}

/// The colour at column `x` and row `y`; black outside the data.
fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let (x, y) = (x as usize, y as usize);
    let (width, height) = (picture.width as usize, picture.height as usize);
    let at = |index: usize| picture.data.get(index).copied().unwrap_or_default();
    let index = y * width + x;
    match picture.format {
        PixelFormat::Rgb8 => [at(3 * index), at(3 * index + 1), at(3 * index + 2)],
        PixelFormat::Bgr8 => [at(3 * index + 2), at(3 * index + 1), at(3 * index)],
        PixelFormat::Grey8 => [at(index); 3],
        PixelFormat::Yuyv => {
            let pair = index / 2 * 4;
            colour(at(2 * index), at(pair + 1), at(pair + 3))
        }
        PixelFormat::Uyvy => {
            let pair = index / 2 * 4;
            colour(at(2 * index + 1), at(pair), at(pair + 2))
        }
        PixelFormat::Nv12 => {
            let chroma = width * height + y / 2 * width + x / 2 * 2;
            colour(at(index), at(chroma), at(chroma + 1))
        }
    }
}

/// ITU-R BT.601, limited range: luma 16 to 235, chroma 16 to 240.
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let y = 255.0 / 219.0 * (f32::from(luma) - 16.0);
    let scaled = |chroma: u8| 255.0 / 224.0 * (f32::from(chroma) - 128.0);
    let (blue, red) = (scaled(blue), scaled(red));
    [
        y + 1.402 * red,
        y - 0.344_136 * blue - 0.714_136 * red,
        y + 1.772 * blue,
    ]
    // A cast saturates.
    .map(|channel| channel.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(format: PixelFormat, data: &[u8]) -> Picture {
        Picture {
            format,
            width: 2,
            height: 2,
            data: data.to_vec(),
            ..Picture::default()
        }
    }

    /// The primaries and white in BT.601, limited range, from the standard's table.
    #[test]
    fn colours() {
        for ((luma, blue, red), expected) in [
            ((16, 128, 128), [0, 0, 0]),
            ((235, 128, 128), [255, 255, 255]),
            ((81, 90, 240), [254, 0, 0]),
            ((145, 54, 34), [0, 255, 1]),
            ((41, 240, 110), [0, 0, 255]),
        ] {
            let found = colour(luma, blue, red);
            let near = found.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 1);
            assert!(near, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn the_same_picture_in_every_format() {
        // The lower left pixel is white, the others black.
        let black_white = [16, 16, 235, 16];
        let mut nv12 = black_white.to_vec();
        nv12.extend([128, 128]);
        let yuyv: Vec<u8> = black_white.iter().flat_map(|&y| [y, 128]).collect();
        let uyvy: Vec<u8> = black_white.iter().flat_map(|&y| [128, y]).collect();
        let grey = [0, 0, 255, 0];
        let rgb: Vec<u8> = grey.iter().flat_map(|&y| [y; 3]).collect();
        for (format, data) in [
            (PixelFormat::Rgb8, &rgb[..]),
            (PixelFormat::Bgr8, &rgb),
            (PixelFormat::Grey8, &grey),
            (PixelFormat::Yuyv, &yuyv),
            (PixelFormat::Uyvy, &uyvy),
            (PixelFormat::Nv12, &nv12),
        ] {
            let picture = picture(format, data);
            let places = [(0, 0), (1, 0), (0, 1), (1, 1)];
            let found = places.map(|(x, y)| pixel(&picture, x, y));
            assert_eq!(found, [[0; 3], [0; 3], [255; 3], [0; 3]], "{format:?}");
        }
        let red_blue = picture(PixelFormat::Bgr8, &[0, 0, 255, 255, 0, 0]);
        assert_eq!(pixel(&red_blue, 0, 0), [255, 0, 0]);
        assert_eq!(pixel(&red_blue, 1, 0), [0, 0, 255]);
    }

    #[test]
    fn a_wide_picture_is_thinned() {
        let wide = Picture {
            format: PixelFormat::Grey8,
            width: 1300,
            height: 4,
            data: vec![200; 5200],
            ..Picture::default()
        };
        let bytes = jpeg(&wide, 640, 70).unwrap();
        let decoded = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(decoded.dimensions(), (433, 1));
        assert!(decoded.get_pixel(5, 0).0[0].abs_diff(200) < 5);
    }
}
