//! A contact sheet: pictures of a recording in one.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};
use pilotage_dataset::{Recording, evenly};

/// Pictures on a sheet, and in a row.
const PICTURES: usize = 60;
const ACROSS: u32 = 10;
/// Each picture's width, the strip below it and the space around it, pixels.
const WIDTH: u32 = 160;
const STRIP: u32 = 10;
const SPACE: u32 = 6;

const BACKGROUND: Rgb<u8> = Rgb([0x12, 0x16, 0x1c]);
const TRACK: Rgb<u8> = Rgb([0x29, 0x2f, 0x38]);
const STEERING: Rgb<u8> = Rgb([0xfb, 0xab, 0x3c]);
const MISSING: Rgb<u8> = Rgb([0xff, 0x5a, 0x4f]);

/// Writes a PNG of at most 60 pictures, chosen evenly, in the order of the recording. The bar below
/// a picture goes from the middle to the steered side. A bad picture is a red field.
pub(super) fn write(file: &Path, recording: &Recording) -> anyhow::Result<()> {
    let records = recording.records();
    let chosen = evenly(records.len(), PICTURES);
    let pictures: Vec<_> = chosen
        .iter()
        .map(|&index| picture(recording, index))
        .collect();
    let heights = pictures.iter().map(RgbImage::height);
    let height = heights.max().unwrap_or(WIDTH);
    let (cell_width, cell_height) = (WIDTH + SPACE, height + STRIP + SPACE);
    let across = ACROSS.min(chosen.len() as u32);
    let down = (chosen.len() as u32).div_ceil(ACROSS);
    let size = (across * cell_width + SPACE, down * cell_height + SPACE);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, BACKGROUND);
    for (place, (picture, index)) in pictures.iter().zip(chosen).enumerate() {
        let place = place as u32;
        let x = SPACE + place % ACROSS * cell_width;
        let y = SPACE + place / ACROSS * cell_height;
        imageops::replace(&mut sheet, picture, x.into(), y.into());
        strip(&mut sheet, x, y + height + 2, records[index].steering);
    }
    sheet.save_with_format(file, image::ImageFormat::Png)?;
    Ok(())
}

/// A picture, scaled to the sheet's width.
fn picture(recording: &Recording, index: usize) -> RgbImage {
    let decoded = recording.decode(&recording.records()[index]).ok();
    let full = decoded.and_then(|it| RgbImage::from_raw(it.width, it.height, it.rgb));
    match full {
        Some(full) => {
            let scaled = u64::from(full.height()) * u64::from(WIDTH) / u64::from(full.width());
            // A picture may be a column of pixels.
            let height = (scaled as u32).clamp(1, 4 * WIDTH);
            imageops::thumbnail(&full, WIDTH, height)
        }
        None => RgbImage::from_pixel(WIDTH, WIDTH * 3 / 4, MISSING),
    }
}

fn strip(sheet: &mut RgbImage, x: u32, y: u32, steering: Option<f64>) {
    let mut fill = |from: u32, to: u32, colour| {
        for x in from..to {
            for y in y..y + STRIP - 4 {
                sheet.put_pixel(x, y, colour);
            }
        }
    };
    fill(x, x + WIDTH, TRACK);
    let middle = x + WIDTH / 2;
    if let Some(steering) = steering {
        let length = (steering.abs() * f64::from(WIDTH / 2 - 1)).round() as u32;
        match steering > 0.0 {
            true => fill(middle - 1 - length, middle + 1, STEERING),
            false => fill(middle - 1, middle + 1 + length, STEERING),
        }
    }
}
