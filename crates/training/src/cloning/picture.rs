//! A picture of a training: the learning curve, and recorded against predicted values of the
//! control that turns the car, as a scatter and over time.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use image::{ExtendedColorType, ImageError, ImageFormat};
use pilotage_config::{WriteError, write_atomically};
use plotters::backend::BitMapBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Text};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, register_font};

use super::state::EpochError;

/// Width and height, pixels.
const SIZE: (u32, u32) = (1600, 1200);
const FONT: &str = "Inter";
const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(225, 228, 232);
const RECORDED: RGBColor = RGBColor(110, 118, 129);
const PREDICTED: RGBColor = RGBColor(9, 105, 218);
const BEST: RGBColor = RGBColor(191, 57, 37);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The embedded font did not load.
    #[error("the embedded font cannot be used; this build of pilotage-training is damaged")]
    Font,
    /// Drawing failed.
    #[error("the picture could not be drawn: {0}")]
    Draw(String),
    /// The picture could not be encoded.
    #[error("the picture could not be encoded: {0}")]
    Encode(ImageError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] WriteError),
}

/// What the picture shows.
#[derive(Debug, Clone)]
pub struct Content<'a> {
    /// The errors of every pass.
    pub history: &'a [EpochError],
    /// The index of the pass whose weights are used.
    pub best: usize,
    /// The control's name and unit.
    pub control: String,
    /// Parts of the held-back frames without a pause: (recorded, predicted) values.
    pub parts: Vec<Vec<(f32, f32)>>,
    /// The time between two frames, seconds.
    pub period: f64,
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Writes the picture as PNG.
///
/// # Errors
/// When it cannot be drawn or written.
pub fn draw(file: &Path, content: &Content<'_>) -> Result<(), PictureError> {
    load_font()?;
    let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        area.fill(&BACKGROUND).map_err(drawing)?;
        let (top, bottom) = area.split_vertically(SIZE.1 / 2);
        let (left, right) = top.split_horizontally(SIZE.0 / 2);
        learning_curve(&left, content)?;
        scatter(&right, content)?;
        over_time(&bottom, content)?;
        area.present().map_err(drawing)?;
    }
    let mut png = Cursor::new(Vec::new());
    let colour = ExtendedColorType::Rgb8;
    image::write_buffer_with_format(&mut png, &pixels, SIZE.0, SIZE.1, colour, ImageFormat::Png)
        .map_err(PictureError::Encode)?;
    Ok(write_atomically(file, png.get_ref())?)
}

fn learning_curve(area: &Area<'_>, content: &Content<'_>) -> Result<(), PictureError> {
    let history = content.history;
    let errors = history.iter().flat_map(|e| [e.learned, e.held_back]);
    let most = errors.fold(1.0, f64::max);
    let last = history.len().max(2) as f64;
    let title = "Error by pass (1: that of the mean)";
    let mut chart = axes(
        area,
        title,
        "pass",
        "error",
        0.5..last + 0.5,
        0.0..1.05 * most,
    )?;
    for (colour, name, value) in [
        (RECORDED, "learned frames, augmented", 0),
        (PREDICTED, "held-back frames", 1),
    ] {
        let points = history.iter().enumerate().map(|(index, errors)| {
            let error = [errors.learned, errors.held_back][value];
            (index as f64 + 1.0, error)
        });
        let points: Vec<_> = points.collect();
        line(&mut chart, points.clone(), colour)?;
        let dots = points.into_iter();
        let dots = dots.map(|at| Circle::new(at, 3, colour.filled()));
        chart.draw_series(dots).map_err(drawing)?;
        label(area, name, value as i32, colour)?;
    }
    if let Some(best) = history.get(content.best) {
        let at = (content.best as f64 + 1.0, best.held_back);
        let ring = Circle::new(at, 8, BEST.stroke_width(2));
        chart.draw_series([ring]).map_err(drawing)?;
        label(area, "the weights that are used", 2, BEST)?;
    }
    Ok(())
}

fn scatter(area: &Area<'_>, content: &Content<'_>) -> Result<(), PictureError> {
    let range = range(content);
    let title = format!("{}, held-back frames", content.control);
    let axis = range.clone();
    let mut chart = axes(area, &title, "recorded", "predicted", axis, range.clone())?;
    let ends = [range.start, range.end];
    line(&mut chart, ends.map(|end| (end, end)).to_vec(), RECORDED)?;
    let dots = content
        .parts
        .iter()
        .flatten()
        .map(|&(recorded, predicted)| {
            let at = (f64::from(recorded), f64::from(predicted));
            Circle::new(at, 2, PREDICTED.mix(0.4).filled())
        });
    chart.draw_series(dots).map_err(drawing)?;
    Ok(())
}

fn over_time(area: &Area<'_>, content: &Content<'_>) -> Result<(), PictureError> {
    let frames: usize = content.parts.iter().map(Vec::len).sum();
    let seconds = frames.max(2) as f64 * content.period;
    let title = format!(
        "{} over time, held-back parts one after another",
        content.control
    );
    let mut chart = axes(area, &title, "s", "", 0.0..seconds, range(content))?;
    let mut start = 0.0;
    for part in &content.parts {
        for (colour, value) in [(RECORDED, 0), (PREDICTED, 1)] {
            let points = part.iter().enumerate().map(|(index, pair)| {
                let value = [pair.0, pair.1][value];
                (start + index as f64 * content.period, f64::from(value))
            });
            line(&mut chart, points.collect(), colour)?;
        }
        start += part.len() as f64 * content.period;
    }
    label(area, "recorded", 0, RECORDED)?;
    label(area, "predicted", 1, PREDICTED)
}

/// The range of all values, with a margin.
fn range(content: &Content<'_>) -> Range<f64> {
    let values = content.parts.iter().flatten();
    let values = values.flat_map(|&(recorded, predicted)| [recorded, predicted].map(f64::from));
    let least = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.fold((-0.01, 0.01), least);
    let margin = 0.05 * (high - low);
    low - margin..high + margin
}

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    below: &str,
    left: &str,
    x: Range<f64>,
    y: Range<f64>,
) -> Result<Chart<'a, 'b>, PictureError> {
    let font = |size: u32| (FONT, size).into_font();
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(24).color(&INK))
        .margin(24)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(FAINT)
        .light_line_style(BACKGROUND)
        .label_style(font(16).color(&INK))
        .x_label_formatter(&|value| format!("{}", (value * 1000.0).round() / 1000.0))
        .axis_desc_style(font(18).color(&INK))
        .x_desc(below)
        .y_desc(left)
        .draw()
        .map_err(drawing)?;
    Ok(chart)
}

fn line(
    chart: &mut Chart<'_, '_>,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
) -> Result<(), PictureError> {
    let path = PathElement::new(points, colour.stroke_width(2));
    chart.draw_series([path]).map_err(drawing)?;
    Ok(())
}

/// A line of the legend, at the upper right.
fn label(area: &Area<'_>, text: &str, row: i32, colour: RGBColor) -> Result<(), PictureError> {
    let (width, _) = area.dim_in_pixel();
    let at = (width as i32 - 290, 70 + 24 * row);
    let style = (FONT, 18).into_font().color(&colour);
    area.draw(&Text::new(text.to_owned(), at, style))
        .map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> PictureError {
    PictureError::Draw(error.to_string())
}

fn load_font() -> Result<(), PictureError> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let bytes = include_bytes!("../../../../assets/fonts/Inter-Regular.ttf");
    let loaded = LOADED.get_or_init(|| register_font(FONT, FontStyle::Normal, bytes).is_ok());
    loaded.then_some(()).ok_or(PictureError::Font)
}
