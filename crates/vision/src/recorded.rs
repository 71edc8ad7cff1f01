//! Pictures of a recording, for calibration and training.

use pilotage_vehicle::Time;

use crate::{FrameView, PixelFormat, Preprocess, Vision, VisionError};

/// The preprocessing of recorded pictures of `width` and `height` pixels: a picture of the input's own
/// size that the crop does not fit was cropped and resized when it was recorded, and is used as it
/// is.
pub fn for_recorded(preprocess: &Preprocess, (width, height): (u32, u32)) -> Preprocess {
    let is_outside = (preprocess.crop).is_some_and(|crop| !crop.lies_within((width, height)));
    let mut recorded = preprocess.clone();
    if is_outside && (width, height) == (preprocess.width, preprocess.height) {
        recorded.crop = None;
    }
    recorded
}

/// Whether recorded pictures of `width` and `height` pixels are used as they are: they have the
/// input's size, and no crop selects a part of them. Such pictures do not show the size of the
/// camera's frames, because they may have been cropped and resized when they were recorded.
pub fn resized_already(preprocess: &Preprocess, (width, height): (u32, u32)) -> bool {
    let crop = for_recorded(preprocess, (width, height)).crop;
    let is_whole = crop.is_none_or(|crop| (crop.width, crop.height) == (width, height));
    is_whole && (width, height) == (preprocess.width, preprocess.height)
}

/// Converts a recorded picture to the network's input, as [`Vision::resize_to_u8`]: rows of
/// interleaved channels, 0 to 255. `rgb` has the `width * height` pixels of the picture. A picture
/// that was cropped already is used as it is; see [`for_recorded`].
///
/// # Errors
/// When the picture does not fit `preprocess`.
pub fn resize_recorded(
    preprocess: &Preprocess,
    (width, height): (u32, u32),
    rgb: &[u8],
) -> Result<Vec<u8>, VisionError> {
    let format = PixelFormat::Rgb8;
    let preprocess = for_recorded(preprocess, (width, height));
    let mut vision = Vision::new(&preprocess, width, height, format)?;
    let mut pixels = vec![0; vision.output_len()];
    let frame = FrameView {
        format,
        width,
        height,
        data: rgb,
        captured: Time::ZERO,
        sequence: 0,
    };
    vision.resize_to_u8(frame, &mut pixels)?;
    Ok(pixels)
}
