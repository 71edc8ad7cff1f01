//! The pictures of the worst frames.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage, imageops};
use pilotage_dataset::Recording;

use super::compare::Pair;
use crate::plot::{self, PlotError, SheetFrame, SheetSection};

/// The width of pictures in the report, pixels, and their JPEG quality.
const WIDTH: u32 = 320;
const QUALITY: u8 = 85;

/// The worst frames of one engine.
pub(crate) struct Worst<'a> {
    pub engine: &'a str,
    pub title: &'static str,
    pub is_lateral: bool,
    /// The largest first.
    pub frames: Vec<Pair>,
}

/// Writes a contact sheet.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(
    file: &Path,
    recording: &Recording,
    worst: &[Worst<'_>],
) -> Result<(), PlotError> {
    let sections: Vec<SheetSection> = worst
        .iter()
        .map(|worst| SheetSection {
            title: format!(
                "{}: the {} worst frames ({})",
                worst.engine,
                worst.frames.len(),
                worst.title
            ),
            largest: worst.frames.iter().fold(0.0, |largest: f64, pair| {
                largest.max(pair.recorded.abs()).max(pair.predicted.abs())
            }),
            frames: worst
                .frames
                .iter()
                .map(|pair| SheetFrame {
                    name: name(recording, pair),
                    picture: picture(recording, pair),
                    recorded: pair.recorded,
                    predicted: pair.predicted,
                    is_lateral: worst.is_lateral,
                })
                .collect(),
        })
        .collect();
    plot::sheet_picture(file, &sections)
}

pub(crate) fn name(recording: &Recording, pair: &Pair) -> String {
    let picture = &recording.records()[pair.index].picture;
    picture.display().to_string()
}

fn picture(recording: &Recording, pair: &Pair) -> Option<RgbImage> {
    let decoded = recording.decode(&recording.records()[pair.index]).ok()?;
    RgbImage::from_raw(decoded.width, decoded.height, decoded.rgb)
}

/// The picture as the address of a page's image: a JPEG of at most 320 pixels' width.
pub(crate) fn data_uri(recording: &Recording, pair: &Pair) -> Option<String> {
    let full = picture(recording, pair)?;
    let small = match full.width() > WIDTH {
        true => {
            let height = u64::from(full.height()) * u64::from(WIDTH) / u64::from(full.width());
            imageops::thumbnail(&full, WIDTH, (height as u32).max(1))
        }
        false => full,
    };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    let (width, height) = small.dimensions();
    encoder
        .write_image(&small, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}
