//! From a camera's frame to a network's input in one pass: crop, resize, colours,
//! layout, scale.
//!
//! A recipe says what the network was trained on ([`Preprocess`]); [`Vision`]
//! builds its tables for one kind of frame and then turns [`FrameView`]s into
//! input tensors. Training and the runtime run this very code.
//!
//! The resize is the antialiased triangle filter with half-pixel centres that
//! Pillow calls `BILINEAR`: `image.crop(box).resize(size, BILINEAR)`, to within
//! one grey level. Nothing outside the crop is ever seen. The arithmetic is on
//! integers, so every machine gives the same bytes. Frames of luma and chroma are
//! resized as they are, neighbours that share a colour as if each had it, and only
//! what is left becomes red, green and blue.
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
mod resample;
mod vision;

pub use error::VisionError;
pub use frame::{Frame, FrameView, PixelFormat};
pub use preprocess::{ColourOrder, Crop, Layout, Preprocess};
pub use vision::Vision;
