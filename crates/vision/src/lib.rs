//! Converts a camera's frame to a network's input in one pass: crop, resize, colour conversion,
//! layout, scale.
//!
//! A recipe describes the input that the network was trained on ([`Preprocess`]). [`Vision`]
//! builds tables for frames of one size and format, and then converts [`FrameView`]s to input
//! tensors. Training and the runtime use the same code.
//!
//! The resize uses the antialiased triangle filter with half-pixel centres that Pillow calls
//! `BILINEAR`. The result equals `image.crop(box).resize(size, BILINEAR)` to within one grey
//! level. Pixels outside the crop have no influence. The arithmetic is in integers, so the result
//! is the same on every machine. Luma and chroma are resized before the conversion to RGB, each
//! pixel with the chroma that it shares with its neighbours.
//!
//! ```
//! use pilotage_vision::{Crop, Frame, PixelFormat, Preprocess, Vision};
//!
//! let mut preprocess = Preprocess::new(200, 66);
//! preprocess.crop = Some(Crop { x: 0, y: 240, width: 640, height: 240 });
//! let mut vision = Vision::new(&preprocess, 640, 480, PixelFormat::Rgb8)?;
//!
//! let frame = Frame::new(PixelFormat::Rgb8, 640, 480)?;
//! let mut input = vec![0.0; vision.output_len()];
//! vision.run(frame.view(), &mut input)?;
//! # Ok::<(), pilotage_vision::VisionError>(())
//! ```

mod error;
mod frame;
mod planes;
mod preprocess;
mod recorded;
mod resample;
mod vision;

pub use error::VisionError;
pub use frame::{Frame, FrameView, PixelFormat};
pub use preprocess::{ColourOrder, Crop, Layout, Preprocess};
pub use recorded::{for_recorded, resize_recorded, resized_already};
pub use vision::Vision;
