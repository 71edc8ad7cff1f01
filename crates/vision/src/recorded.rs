//! Pictures of a recording, for calibration and training.

use pilotage_vehicle::Time;

use crate::{FrameView, PixelFormat, Preprocess, Vision, VisionError};

/// Converts a recorded picture to the network's input, as [`Vision::resize_to_u8`]: rows of
/// interleaved channels, 0 to 255. `rgb` has the `width * height` pixels of the picture. A picture
/// of the input's own size that the crop does not fit was cropped and resized when it was recorded,
/// and is used as it is.
///
/// # Errors
/// When the picture does not fit `preprocess`.
pub fn resize_recorded(
    preprocess: &Preprocess,
    (width, height): (u32, u32),
    rgb: &[u8],
) -> Result<Vec<u8>, VisionError> {
    let format = PixelFormat::Rgb8;
    let is_input = (width, height) == (preprocess.width, preprocess.height);
    let mut vision = match Vision::new(preprocess, width, height, format) {
        Err(VisionError::CropOutside { .. }) if is_input => {
            let whole = Preprocess {
                crop: None,
                ..preprocess.clone()
            };
            Vision::new(&whole, width, height, format)
        }
        vision => vision,
    }?;
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
