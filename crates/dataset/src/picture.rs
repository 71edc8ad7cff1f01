//! Decoding of one picture, with checks.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::PictureProblem;
use crate::file::{self, Refused};
use crate::limits::LARGEST_SIDE;

/// The largest picture file, bytes.
const LARGEST_FILE: u64 = 256 << 20;

impl From<Refused> for PictureProblem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::System(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Refused::System(error) => Self::Unreadable(error),
            Refused::NotRegular(kind) => Self::NotRegular(kind),
            Refused::Outside => Self::Outside,
        }
    }
}

/// A decoded picture, as it is looked at: the orientation of its EXIF data is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Rows from the top, each with its pixels from the left, each as red, green, blue.
    pub rgb: Vec<u8>,
    /// Whether the EXIF orientation turned or mirrored the pixels of the file.
    pub turned: bool,
}

/// Reads the bytes of `folder`/`name`, a picture.
pub(crate) fn read(folder: &Path, name: &Path) -> Result<Vec<u8>, PictureProblem> {
    read_open(file::open(folder, name)?)
}

fn read_open(file: File) -> Result<Vec<u8>, PictureProblem> {
    let mut bytes = Vec::new();
    let mut limited = file.take(LARGEST_FILE + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(PictureProblem::Unreadable)?;
    match bytes.len() as u64 {
        0 => Err(PictureProblem::Empty),
        length if length > LARGEST_FILE => Err(PictureProblem::TooLarge),
        _ => Ok(bytes),
    }
}

/// Decodes a PNG or JPEG file to RGB. A JPEG must have its end marker and all of its data; a PNG
/// must have correct checksums.
///
/// # Errors
/// When the picture is not whole, or larger than [`LARGEST_SIDE`].
pub fn decode(bytes: &[u8]) -> Result<Picture, PictureProblem> {
    if bytes.is_empty() {
        return Err(PictureProblem::Empty);
    }
    let (image, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg(bytes)?,
        Ok(ImageFormat::Png) => png(bytes)?,
        _ => return Err(PictureProblem::Format),
    };
    let mut image = image;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    Ok(Picture {
        width: image.width(),
        height: image.height(),
        rgb: image.into_raw(),
        turned: orientation != Orientation::NoTransforms,
    })
}

/// The crate `image` reads JPEG files leniently: what is missing becomes grey. The decoder that it
/// uses has a strict mode, which reports missing data.
fn jpeg(bytes: &[u8]) -> Result<(DynamicImage, Orientation), PictureProblem> {
    let has_end = bytes.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
    if !has_end {
        return Err(PictureProblem::CutOff);
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(LARGEST_SIDE as usize)
        .set_max_height(LARGEST_SIDE as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(jpeg_problem)?;
    let damaged = || PictureProblem::Damaged("no size".to_owned());
    let (width, height) = decoder.dimensions().ok_or_else(damaged)?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let pixels = decoder.decode().map_err(jpeg_problem)?;
    let image = RgbImage::from_raw(width as u32, height as u32, pixels).ok_or_else(damaged)?;
    Ok((image.into(), orientation))
}

fn jpeg_problem(error: zune_jpeg::errors::DecodeErrors) -> PictureProblem {
    use zune_jpeg::errors::DecodeErrors;
    match error {
        DecodeErrors::ExhaustedData => PictureProblem::CutOff,
        DecodeErrors::LargeDimensions(_) => PictureProblem::TooLarge,
        DecodeErrors::FormatStatic(text) if text.contains("end of buffer") => {
            PictureProblem::CutOff
        }
        DecodeErrors::Format(text) if text.contains("end of buffer") => PictureProblem::CutOff,
        error => PictureProblem::Damaged(one_line(&format!("{error:?}"))),
    }
}

fn png(bytes: &[u8]) -> Result<(DynamicImage, Orientation), PictureProblem> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    reader.limits(limits);
    let problem = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => PictureProblem::TooLarge,
        image::ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            PictureProblem::CutOff
        }
        error => PictureProblem::Damaged(one_line(&error.to_string())),
    };
    let mut decoder = reader.into_decoder().map_err(problem)?;
    let orientation = decoder.orientation().map_err(problem)?;
    let image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    Ok((image, orientation))
}

/// A decoder's message as part of a line.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(120).collect()
}
