//! Random pictures, and the definition of each output pixel in f64.

use super::*;

/// The index of a pixel's sample. Channels are numbered in the order of the format, or luma, blue
/// chroma, red chroma.
pub(super) fn byte_of(frame: &Frame, x: usize, y: usize, channel: usize) -> usize {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let pixel = y * width + x;
    match frame.format() {
        PixelFormat::Rgb8 | PixelFormat::Bgr8 => pixel * 3 + channel,
        PixelFormat::Grey8 => pixel,
        PixelFormat::Yuyv => pixel / 2 * 4 + [x % 2 * 2, 1, 3][channel],
        PixelFormat::Uyvy => pixel / 2 * 4 + [x % 2 * 2 + 1, 0, 2][channel],
        PixelFormat::Nv12 if channel == 0 => pixel,
        PixelFormat::Nv12 => width * height + y / 2 * width + x / 2 * 2 + channel - 1,
    }
}

/// The reference resize in f64: the triangle filter over both axes, on one channel of a picture.
fn reference(frame: &Frame, crop: Crop, size: (u32, u32), at: (u32, u32), channel: usize) -> f64 {
    let weights = |from: u32, to: u32, i: u32| {
        let shrink = f64::from(from) / f64::from(to);
        let support = shrink.max(1.0);
        let centre = (f64::from(i) + 0.5) * shrink;
        (0..from)
            .map(|p| (1.0 - (f64::from(p) + 0.5 - centre).abs() / support).max(0.0))
            .collect::<Vec<_>>()
    };
    let across = weights(crop.width, size.0, at.0);
    let down = weights(crop.height, size.1, at.1);
    let (mut sum, mut total) = (0.0, 0.0);
    for (y, v) in down.iter().enumerate() {
        for (x, h) in across.iter().enumerate() {
            let (column, row) = (crop.x as usize + x, crop.y as usize + y);
            let index = byte_of(frame, column, row, channel);
            sum += v * h * f64::from(frame.data()[index]);
            total += v * h;
        }
    }
    sum / total
}

pub(super) fn formats() -> impl Strategy<Value = PixelFormat> {
    prop_oneof![
        Just(PixelFormat::Rgb8),
        Just(PixelFormat::Bgr8),
        Just(PixelFormat::Grey8),
        Just(PixelFormat::Yuyv),
        Just(PixelFormat::Uyvy),
        Just(PixelFormat::Nv12)
    ]
}

/// The size, rounded up to even where the format needs it.
pub(super) fn even(format: PixelFormat, width: u32, height: u32) -> (u32, u32) {
    let up = |side: u32| side.next_multiple_of(2);
    match format {
        PixelFormat::Yuyv | PixelFormat::Uyvy => (up(width), height),
        PixelFormat::Nv12 => (up(width), up(height)),
        _ => (width, height),
    }
}

/// Red, green and blue of an output pixel, exactly.
pub(super) fn colours_of(frame: &Frame, crop: Crop, size: (u32, u32), at: (u32, u32)) -> [f64; 3] {
    let channel = |channel| reference(frame, crop, size, at, channel);
    match frame.format() {
        PixelFormat::Rgb8 => [channel(0), channel(1), channel(2)],
        PixelFormat::Bgr8 => [channel(2), channel(1), channel(0)],
        PixelFormat::Grey8 => [channel(0); 3],
        PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Nv12 => {
            // ITU-R BT.601: kr 0.299, kb 0.114, 219 steps of luma, 224 of chroma.
            let luma = (channel(0) - 16.0) * 255.0 / 219.0;
            let blue = (channel(1) - 128.0) * 255.0 / 224.0 * 2.0 * (1.0 - 0.114);
            let red = (channel(2) - 128.0) * 255.0 / 224.0 * 2.0 * (1.0 - 0.299);
            let green = -(0.299 * red + 0.114 * blue) / 0.587;
            [luma + red, luma + green, luma + blue].map(|level| level.clamp(0.0, 255.0))
        }
    }
}

/// The exact luminance of an output pixel.
pub(super) fn grey_of(frame: &Frame, crop: Crop, size: (u32, u32), at: (u32, u32)) -> f64 {
    match frame.format() {
        PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Nv12 => {
            let luma = reference(frame, crop, size, at, 0);
            ((luma - 16.0) * 255.0 / 219.0).clamp(0.0, 255.0)
        }
        _ => {
            let [red, green, blue] = colours_of(frame, crop, size, at);
            0.299 * red + 0.587 * green + 0.114 * blue
        }
    }
}

/// A frame of noise, or of black and white only (the worst case for rounded weights), and a crop
/// within it.
pub(super) fn pictures() -> impl Strategy<Value = (Frame, Crop)> {
    let start = (formats(), 1..48_u32, 1..48_u32, any::<bool>());
    start.prop_flat_map(|(format, width, height, black_and_white)| {
        let (width, height) = even(format, width, height);
        let len = format.frame_len(width, height).unwrap();
        let data = proptest::collection::vec(any::<u8>(), len);
        let crop = (0..width, 0..height)
            .prop_flat_map(move |(x, y)| (Just(x), Just(y), 1..=width - x, 1..=height - y));
        (data, crop).prop_map(move |(mut data, (x, y, w, h))| {
            if black_and_white {
                data.iter_mut()
                    .for_each(|p| *p = if *p < 128 { 0 } else { 255 });
            }
            let crop = Crop {
                x,
                y,
                width: w,
                height: h,
            };
            (frame(format, width, height, &data), crop)
        })
    })
}

pub(super) fn orders() -> impl Strategy<Value = ColourOrder> {
    prop_oneof![
        Just(ColourOrder::Rgb),
        Just(ColourOrder::Bgr),
        Just(ColourOrder::Grey)
    ]
}
