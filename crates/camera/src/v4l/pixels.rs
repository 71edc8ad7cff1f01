//! Converts a buffer's bytes to a frame's.

use pilotage_vision::{PixelFormat, VisionError};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Mode;
use crate::fourcc::Fourcc;

/// The end of a JPEG picture.
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// Converts buffers of one mode to frames.
pub(super) enum Pixels {
    Raw(Rows),
    Jpeg(Jpeg),
}

/// Rows of pixels, which may have padding between them.
pub(super) struct Rows {
    /// Bytes from one row to the next in a buffer.
    stride: usize,
    /// Bytes of a row without padding, as in a frame.
    row: usize,
    /// Rows of all planes.
    rows: usize,
}

/// Compressed pictures.
pub(super) struct Jpeg {
    width: usize,
    height: usize,
    /// The newest picture so far. It is decoded only when it is known to be the newest.
    compressed: Vec<u8>,
}

impl Pixels {
    /// For buffers with `stride` bytes from one row to the next; 0 if there are no rows.
    ///
    /// # Errors
    /// Fails if the mode's size does not fit its format.
    pub fn new(mode: &Mode, stride: u32) -> Result<Self, VisionError> {
        let pixels = mode.format.pixels();
        let len = pixels.frame_len(mode.width, mode.height)?;
        let (width, height) = (mode.width as usize, mode.height as usize);
        if mode.format == Fourcc::Mjpg {
            return Ok(Self::Jpeg(Jpeg {
                width,
                height,
                // A JPEG is shorter than its pixels, except for noise.
                compressed: Vec::with_capacity(len),
            }));
        }
        let rows = match pixels {
            // The second plane has half as many rows of the same length.
            PixelFormat::Nv12 => height + height / 2,
            _ => height,
        };
        let row = len / rows;
        Ok(Self::Raw(Rows {
            stride: row.max(stride as usize),
            row,
            rows,
        }))
    }

    /// Copies a buffer's bytes into `frame`, or stores them for [`finish`](Self::finish). Returns
    /// false, and changes nothing, if they are no complete frame.
    pub fn put(&mut self, bytes: &[u8], frame: &mut [u8]) -> bool {
        match self {
            Self::Raw(rows) => rows.copy(bytes, frame),
            Self::Jpeg(jpeg) => jpeg.keep(bytes),
        }
    }

    /// Completes `frame` from the latest [`put`](Self::put). Returns false if the bytes are no
    /// valid frame.
    pub fn finish(&mut self, frame: &mut [u8]) -> bool {
        match self {
            Self::Raw(_) => true,
            Self::Jpeg(jpeg) => jpeg.decode(frame),
        }
    }
}

impl Rows {
    fn copy(&self, bytes: &[u8], frame: &mut [u8]) -> bool {
        // The padding after the last row may be missing.
        let needed = self.stride * (self.rows - 1) + self.row;
        let Some(bytes) = bytes.get(..needed) else {
            return false;
        };
        if self.stride == self.row {
            frame.copy_from_slice(bytes);
        } else {
            let rows = frame.chunks_exact_mut(self.row);
            for (to, from) in rows.zip(bytes.chunks(self.stride)) {
                to.copy_from_slice(&from[..self.row]);
            }
        }
        true
    }
}

impl Jpeg {
    fn keep(&mut self, bytes: &[u8]) -> bool {
        // Cameras append padding to the picture; a truncated picture would be grey after its end.
        let end = bytes.windows(2).rposition(|two| two == END_OF_IMAGE);
        let Some(end) = end else {
            return false;
        };
        self.compressed.clear();
        self.compressed.extend_from_slice(&bytes[..end + 2]);
        true
    }

    fn decode(&self, frame: &mut [u8]) -> bool {
        let options = DecoderOptions::default()
            .set_max_width(self.width)
            .set_max_height(self.height)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&self.compressed), options);
        let size = (self.width, self.height);
        if decoder.decode_headers().is_err() || decoder.dimensions() != Some(size) {
            return false;
        }
        // After a lost packet the codes often fit no longer; by default the rest of the picture would
        // be grey. The headers may have quirks: only the pixels are strict.
        decoder.set_options(options.set_strict_mode(true));
        decoder.output_buffer_size() == Some(frame.len()) && decoder.decode_into(frame).is_ok()
    }
}
