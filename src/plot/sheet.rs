//! A contact sheet: frames with what was recorded and predicted.

use std::path::Path;

use image::{RgbImage, imageops};

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ANSWERS, ASPHALT, BACKGROUND, Colour, FIGURE, MUTED, RECORDED, TROUBLE};
use super::{MARGIN, PlotError, WIDTH};

/// Frames of one engine.
#[derive(Debug, Clone)]
pub struct SheetSection {
    /// What the frames are.
    pub title: String,
    /// A full bar.
    pub largest: f64,
    /// The frames, in the order in which they are shown.
    pub frames: Vec<SheetFrame>,
}

/// A frame of a contact sheet.
#[derive(Debug, Clone)]
pub struct SheetFrame {
    /// Its name.
    pub name: String,
    /// The picture; `None` is drawn as a red field.
    pub picture: Option<RgbImage>,
    /// Left positive, or ahead.
    pub recorded: f64,
    /// As `recorded`.
    pub predicted: f64,
    /// Whether bars go from the middle to the steered side, else from the left.
    pub is_lateral: bool,
}

const ACROSS: u32 = 5;
const SPACE: u32 = 16;
const CELL: u32 = (WIDTH as u32 - 2 * MARGIN as u32 - (ACROSS - 1) * SPACE) / ACROSS;
/// Below a picture: two bars and two lines of text.
const CAPTION: u32 = 78;
const TITLE: u32 = 70;

/// Writes a PNG: the frames in rows of five, each with a bar and a number for what was recorded
/// (white) and predicted (amber).
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn sheet_picture(file: &Path, sections: &[SheetSection]) -> Result<(), PlotError> {
    let heights: Vec<u32> = sections.iter().map(picture_height).collect();
    let rows = |section: &SheetSection| (section.frames.len() as u32).div_ceil(ACROSS);
    let total: u32 = sections
        .iter()
        .zip(&heights)
        .map(|(section, height)| TITLE + rows(section) * (height + CAPTION + SPACE))
        .sum();
    let height = f64::from(total) + MARGIN;
    let mut canvas = Canvas::new(WIDTH, height, BACKGROUND)?;
    let mut top = MARGIN as u32 / 2;
    for (section, height) in sections.iter().zip(heights) {
        let (left, bold) = (Align::Left, Weight::Bold);
        let place = [MARGIN, f64::from(top) + 8.0];
        canvas.text(&section.title, place, 26.0, bold, left, FIGURE)?;
        top += TITLE;
        for frames in section.frames.chunks(ACROSS as usize) {
            for (column, frame) in (0..).zip(frames) {
                let x = MARGIN as u32 + column * (CELL + SPACE);
                draw_frame(&mut canvas, frame, (x, top), height, section.largest)?;
            }
            top += height + CAPTION + SPACE;
        }
    }
    canvas.save(file)
}

/// Refuses a contact sheet whose name does not say PNG.
pub(crate) fn is_contact_sheet(file: &Path) -> Result<(), PlotError> {
    let extension = file.extension();
    match extension.is_some_and(|it| it.eq_ignore_ascii_case("png")) {
        true => Ok(()),
        false => Err(PlotError::NotPng(file.to_owned())),
    }
}

/// The height of the tallest picture at the width of a cell.
fn picture_height(section: &SheetSection) -> u32 {
    let heights = section.frames.iter().filter_map(|frame| {
        let picture = frame.picture.as_ref()?;
        Some(scaled(picture.width(), picture.height()))
    });
    heights.max().unwrap_or(CELL * 3 / 4)
}

fn scaled(width: u32, height: u32) -> u32 {
    let scaled = u64::from(height) * u64::from(CELL) / u64::from(width.max(1));
    // A picture may be a column of pixels.
    (scaled as u32).clamp(1, 2 * CELL)
}

fn draw_frame(
    canvas: &mut Canvas,
    frame: &SheetFrame,
    (x, y): (u32, u32),
    height: u32,
    largest: f64,
) -> Result<(), PlotError> {
    match &frame.picture {
        Some(picture) => {
            let height = scaled(picture.width(), picture.height());
            let small = imageops::thumbnail(picture, CELL, height);
            let (size, place) = (small.dimensions(), [x, y].map(f64::from));
            canvas.image(&small, size, place, f64::from(CELL), f64::from(height));
        }
        None => {
            let ([left, top], [right, low]) =
                ([x, y].map(f64::from), [x + CELL, y + height].map(f64::from));
            canvas.polygon(
                &[[left, top], [right, top], [right, low], [left, low]],
                TROUBLE,
            )?;
        }
    }
    let (left, mut top) = (f64::from(x), f64::from(y + height) + 5.0);
    for (value, colour) in [(frame.recorded, RECORDED), (frame.predicted, ANSWERS[0])] {
        draw_bar(
            canvas,
            [left, top],
            value / largest.max(1e-9),
            frame.is_lateral,
            colour,
        )?;
        top += 10.0;
    }
    let (regular, start) = (Weight::Regular, Align::Left);
    let values = format!(
        "{:+.3} recorded, {:+.3} predicted",
        frame.recorded, frame.predicted
    );
    let mut line =
        |text: &str, top, colour| canvas.text(text, [left, top], 16.0, regular, start, colour);
    line(&values, top + 4.0, FIGURE)?;
    let name: String = frame.name.chars().take(36).collect();
    line(&name, top + 26.0, MUTED)
}

fn draw_bar(
    canvas: &mut Canvas,
    [left, top]: [f64; 2],
    share: f64,
    is_lateral: bool,
    colour: Colour,
) -> Result<(), PlotError> {
    let width = f64::from(CELL);
    let mut block = |from: f64, to: f64, colour| {
        let (from, to, low) = (left + from, left + to, top + 7.0);
        canvas.polygon(&[[from, top], [to, top], [to, low], [from, low]], colour)
    };
    block(0.0, width, ASPHALT)?;
    let share = share.clamp(-1.0, 1.0);
    // Left is positive.
    let (from, to) = match is_lateral {
        true => (0.5 * width, 0.5 * width * (1.0 - share)),
        false => (0.0, width * share.max(0.0)),
    };
    block(from.min(to) - 1.0, from.max(to) + 1.0, colour)
}
